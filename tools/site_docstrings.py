"""Lets the API reference, which is made of Markdown, read docstrings, which are reST."""

from __future__ import annotations

import re
import textwrap
from typing import Any

from griffe import Extension, Object

_ROLE = re.compile(r":(\w+):`~?\.*([^`]+)`")
_BLOCK = re.compile(r"^( *)\.\. code-block:: (\w+)\n\n((?:\1 +.*\n|\n)+)", re.MULTILINE)
_SEE_ALSO = re.compile(r"^( *)\.\. seealso:: ", re.MULTILINE)


class Markdown(Extension):
    """Rewrites what the two have different signs for: roles, blocks of code, and hints."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        """
        Rewrite the docstring of an object.

        :param obj: the object
        """
        if obj.docstring:
            obj.docstring.value = to_markdown(obj.docstring.value)


def to_markdown(text: str) -> str:
    """
    Return reST as Markdown, as far as this package's docstrings use it.

    :param text: a docstring
    """
    text = _BLOCK.sub(lambda found: f"```{found[2]}\n{textwrap.dedent(found[3]).strip()}\n```\n\n", text + "\n")
    text = _ROLE.sub(_link, text)
    return _SEE_ALSO.sub(r"\1See ", text).rstrip("\n")


def _link(found: re.Match[str]) -> str:
    role, target = found.groups()
    if role == "doc":
        name = target.rpartition("/")[2]
        return f"[{name}](../{name}.md)"
    return f"`{target.rpartition('.')[2] if role == 'meth' else target}`"
