"""Makes text that comes from a server fit for one line of a log, without the API key."""

from __future__ import annotations

import re

__all__ = ["MAX_SHOWN", "Show", "cut"]

MAX_SHOWN = 300
"""Characters of Lucca's own text in a message."""


class Show:
    """
    Makes text fit for one line of a log: without the API key and control characters, and not too long.

    The key is found in any case and however its characters are escaped in JSON, in an address or in HTML.

    :param secret: the API key
    """

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._pattern = re.compile("".join(map(_any_form, secret)), re.IGNORECASE)

    def __call__(self, text: str, *, is_cut: bool = False, most: int = MAX_SHOWN) -> str:
        """
        Return the start of a text.

        :param is_cut: whether more would have followed, so that it may end with a part of the key
        :param most: characters that are kept
        """
        # Before anything is shortened: what is cut off may end with a part of the key that is not found any more.
        text = self._pattern.sub("***", text)
        if is_cut:
            text = self._without_part_of_key(text)
        return cut(" ".join("".join(c if c.isprintable() else " " for c in text).split()), most)

    def _without_part_of_key(self, text: str) -> str:
        for length in range(len(self._secret) - 1, 0, -1):
            if text.lower().endswith(self._secret[:length].lower()):
                return text[:-length]
        return text


def _any_form(c: str) -> str:
    code = ord(c)
    return rf"(?:\\?{re.escape(c)}|\\u00{code:02x}|%{code:02x}|&#{code};|&#x{code:x};)"


def cut(line: str, most: int = MAX_SHOWN) -> str:
    """
    Return the start of a line.

    :param line: where the key is no more
    :param most: characters that are kept
    """
    return line if len(line) <= most else line[:most] + "…"
