"""Numbers of things, in words."""

from __future__ import annotations

__all__ = ["say_count"]


def say_count(count: int, noun: str = "purchase", plural: str | None = None) -> str:
    """
    Say how many there are of something: ``1 purchase``, ``2 purchases``.

    :param count: how many
    :param noun: of what, in the singular
    :param plural: of the noun; ``None`` if that is the noun and an ``s``
    """
    return f"{count} {noun if count == 1 else plural or f'{noun}s'}"
