"""Makes text that comes from a server fit for one line of a log, without the API key."""

from __future__ import annotations

import html
import json
import re
import unicodedata
from collections.abc import Iterator

__all__ = ["MAX_SHOWN", "Show", "cut"]

MAX_SHOWN = 300
"""Characters of Lucca's own text in a message."""
MAX_SEARCHED = 4096
"""Characters of a text in which the key is searched; what follows is not shown."""
MIN_PART = 8
"""Characters in a row of the key that are blotted out wherever they are. Fewer may be there by chance."""
MIN_END = 4
"""Characters of the key's start that are blotted out at the end of a text, which a server may have cut there."""
MIN_WHOLE = 16
"""Characters in a row of the key that an answer of any size does not hold by chance."""
MAX_ESCAPED = 4
"""Times that a text may have been escaped: a message in JSON, in JSON, in an address, in a web page."""
MAX_ESCAPE = 64
"""Characters of an escape that was cut, at most."""

Span = tuple[int, int]

_ESCAPE = re.compile(
    r"(?:\\(?:u00|x)|%)(?P<hex>[0-9a-f]{2})|\\(?P<char>.)|&(?:#[0-9]{1,7}|#x[0-9a-f]{1,6}|[a-z]\w{1,30});",
    re.IGNORECASE | re.DOTALL,
)
_BROKEN_ESCAPE = re.compile(r"(?:\\+(?:u[0-9a-f]{0,3}|x[0-9a-f]?)?|%[0-9a-f]?|&#?\w{0,30})\Z", re.IGNORECASE)


class Show:
    """
    Makes text fit for one line of a log: without the API key and control characters, and not too long.

    The key, and any part of it of :data:`MIN_PART` characters, is found in any case, however its characters are escaped
    in JSON, in an address or in HTML, several times over too, and whatever stands between its letters and digits.

    :param secret: the API key
    """

    def __init__(self, secret: str) -> None:
        self._secret = _lower(secret)
        self._size = min(MIN_PART, len(secret))
        # An escape that is a part of the key itself is not told from one that the server added.
        keys = [_lower(key) for key, _ in _readings(secret)]
        # A UUID is often written without its dashes.
        keys.append("".join(_plain(self._secret)))
        self._parts = {key[at : at + self._size] for key in keys for at in range(len(key) - self._size + 1)}
        whole = min(MIN_WHOLE, len(secret))
        self._long_parts = {key[at : at + whole] for key in keys for at in range(len(key) - whole + 1)}

    def __call__(self, text: str, *, is_cut: bool = False, most: int = MAX_SHOWN) -> str:
        """
        Return the start of a text.

        :param is_cut: whether more would have followed, so that it may end with a part of the key
        :param most: characters that are kept
        """
        if len(text) > MAX_SEARCHED:
            text, is_cut = text[:MAX_SEARCHED], True
        # Before anything is shortened: what is cut off may end with a part of the key that is not found any more.
        text = self._without_parts(self._without_start_at_end(text, is_cut=is_cut))
        return cut(" ".join("".join(c if c.isprintable() else " " for c in text).split()), most)

    def is_in(self, text: str, value: object) -> bool:
        """
        Return whether an answer holds the key, or at least half of one.

        :param text: the answer, of any size
        :param value: its JSON, whose texts may be escaped
        """
        lower = text.lower()
        if "\\" in lower and value is not None:
            lower += json.dumps(value, ensure_ascii=False).lower()
        return any(part in lower for part in self._long_parts)

    def _without_parts(self, text: str) -> str:
        kept, end = [], 0
        for start, stop in sorted(self._find_parts(text)):
            if start >= end:
                kept += [text[end:start], "***"]
            end = max(end, stop)
        return "".join([*kept, text[end:]])

    def _find_parts(self, text: str) -> Iterator[Span]:
        for reading, spans in _readings(text):
            yield from self._find_in(_lower(reading), spans)
            letters = [(c, span) for one, span in zip(reading, spans, strict=True) for c in _plain(one)]
            yield from self._find_in("".join(c for c, _ in letters), [span for _, span in letters])

    def _find_in(self, lower: str, spans: list[Span]) -> Iterator[Span]:
        for at in range(len(lower) - self._size + 1):
            if lower[at : at + self._size] in self._parts:
                yield spans[at][0], spans[at + self._size - 1][1]

    def _without_start_at_end(self, text: str, *, is_cut: bool) -> str:
        if is_cut:
            text = _without_broken_escape(text)
        ends = [len(text)]
        for reading, spans in _readings(text):
            lower = _lower(_without_broken_escape(reading) if is_cut else reading)
            end = len(lower) - self._length_at_end(lower, least=1 if is_cut else MIN_END)
            ends += [start for start, _ in spans[end : end + 1]]
        return text[: min(ends)]

    def _length_at_end(self, lower: str, *, least: int) -> int:
        """Return how many characters of the key's start a text ends with, 0 if there are fewer than ``least``."""
        lengths = range(len(self._secret) - 1, least - 1, -1)
        return next((length for length in lengths if lower.endswith(self._secret[:length])), 0)


def _without_broken_escape(text: str) -> str:
    # Of the end alone, since the search takes long among many backslashes.
    return text[:-MAX_ESCAPE] + _BROKEN_ESCAPE.sub("", text[-MAX_ESCAPE:])


def _lower(text: str) -> str:
    """Return a text in lower case, of the same length."""
    lower = text.lower()
    return lower if len(lower) == len(text) else "".join(c.lower() if c.isascii() else c for c in text)


def _plain(text: str) -> Iterator[str]:
    """Yield the letters and digits of a text in lower case, wide ones as plain ones."""
    return (c for c in unicodedata.normalize("NFKC", text).lower() if c.isalnum())


def _readings(text: str) -> Iterator[tuple[str, list[Span]]]:
    """Yield a text, and what it says if its escapes are resolved once, twice, …; with where each character is in it."""
    spans = [(at, at + 1) for at in range(len(text))]
    yield text, spans
    for _ in range(MAX_ESCAPED):
        resolved, spans = _resolve(text, spans)
        if resolved == text:
            return
        text = resolved
        yield text, spans


def _resolve(text: str, spans: list[Span]) -> tuple[str, list[Span]]:
    said: list[str] = []
    places: list[Span] = []
    end = 0
    for escape in _ESCAPE.finditer(text):
        start, stop = escape.span()
        meaning = chr(int(escape[1], 16)) if escape[1] else escape[2] or html.unescape(escape[0])
        said += [text[end:start], meaning]
        places += spans[end:start] + [(spans[start][0], spans[stop - 1][1])] * len(meaning)
        end = stop
    return "".join([*said, text[end:]]), places + spans[end:]


def cut(line: str, most: int = MAX_SHOWN) -> str:
    """
    Return the start of a line.

    :param line: where the key is no more
    :param most: characters that are kept
    """
    return line if len(line) <= most else line[:most] + "…"
