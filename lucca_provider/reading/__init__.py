"""What Lucca shows of purchases: their states, singly or by pages, and how old a reading is."""
