"""
What MkDocs needs beside the pages in ``docs/``, which stay as a forge shows them.

The README becomes the first page. A link to a file of the repository leads to a page with its source. The API reference
has a page for each group of modules. A picture in Mermaid's language becomes an SVG, drawn while the site is built.
"""

from __future__ import annotations

import functools
import posixpath
import re
from pathlib import Path
from typing import Any

import mermaidx
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
TOP = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "SECURITY.md": "security.md"}
"""Pages at the top of the repository, and what they are called in the site."""
REFERENCE = {
    "operators": ("operators.purchases", "operators.reports"),
    "sensors": ("sensors.purchases",),
    "hooks": ("hooks.lucca", "hooks.client"),
    "policies": ("policies.retry",),
    "links": ("links.lucca", "assets.lucca", "triggers.lucca"),
    "exceptions": ("exceptions",),
    "reports": ("reports", "outcomes", "checking.check"),
    "sandbox": ("sandbox", "sandbox.settings", "sandbox.fixtures"),
}
"""Pages of the API reference, and the modules that each shows."""

_LINK = re.compile(r"(\]\()([^)\s]+)(\))")
_FENCE = re.compile(r"^```(\w+) (\S.*)$", re.MULTILINE)
_MERMAID = re.compile(r"^```mermaid\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: Any) -> Files:
    """
    Add the pages that are not in ``docs/``.

    :param files: those that are
    :param config: MkDocs' configuration
    """

    def add(name: str, content: str) -> None:
        files.append(File.generated(config, name, content=content))

    for source, name in TOP.items():
        add(name, _as_in_docs((ROOT / source).read_text()))
    for name, modules in REFERENCE.items():
        blocks = "\n\n".join(f"::: lucca_provider.{module}" for module in modules)
        add(f"reference/{name}.md", f"# {name.capitalize()}\n\n{blocks}\n")
    add("site.css", ".mermaid-picture { overflow-x: auto } .mermaid-picture svg { background: #fff }\n")
    pages = {file.src_uri: file.content_string for file in files if file.src_uri.endswith(".md")}
    for name in sorted({name for text in pages.values() for name in _sources(text)}):
        add(f"source/{name}.md", _source_page(name))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """
    Return a page as MkDocs wants it.

    :param markdown: its text
    :param page: the page
    :param config: MkDocs' configuration
    :param files: all files of the site
    """
    if page.file.src_uri.startswith(("source/", "reference/")):
        return markdown
    parts = _CODE.split(markdown)
    text = "".join(part if part.startswith("```") else _LINK.sub(_in_site, part) for part in parts)
    # What else a fence says is the name of a file, or the Airflow that the block is for.
    text = _FENCE.sub(r'```\1 title="\2"', text)
    return _MERMAID.sub(lambda found: f'<div class="mermaid-picture">{draw(found[1])}</div>', text)


@functools.cache
def draw(picture: str) -> str:
    """
    Return a picture as SVG.

    :param picture: it, in Mermaid's language
    """
    return str(mermaidx.render(picture).svg())


def _as_in_docs(text: str) -> str:
    """Write the links of a page at the top of the repository as if it were in ``docs/``."""

    def move(found: re.Match[str]) -> str:
        target = found[2]
        if target.startswith(("#", "https:")):
            return found[0]
        return f"{found[1]}{target.removeprefix('docs/') if target.startswith('docs/') else '../' + target}{found[3]}"

    return "".join(part if part.startswith("```") else _LINK.sub(move, part) for part in _CODE.split(text))


def _outside(target: str) -> str | None:
    """Return the path in the repository of what a page in ``docs/`` links to, if that is no page of it."""
    path = target.partition("#")[0]
    is_outside = path.startswith("../") or (path.endswith("/") and ":" not in path)
    return posixpath.normpath(posixpath.join("docs", path)) if is_outside else None


def _sources(text: str) -> set[str]:
    """Return the files and folders of the repository that a page links to and that are no pages."""
    paths = (_outside(found[2]) for part in _CODE.split(text) if part[:3] != "```" for found in _LINK.finditer(part))
    return {path for path in paths if path is not None and path not in TOP}


def _in_site(found: re.Match[str]) -> str:
    path = _outside(found[2])
    if path is None:
        return found[0]
    anchor = found[2].partition("#")[1:]
    return f"{found[1]}{TOP.get(path, f'source/{path}.md')}{''.join(anchor)}{found[3]}"


def _source_page(name: str) -> str:
    path = ROOT / name
    if path.is_dir():
        entries = sorted(entry.name + "/" * entry.is_dir() for entry in path.iterdir() if entry.name[0] not in "._")
        return f"# {name}/\n\n" + "\n".join(f"- `{entry}`" for entry in entries)
    language = {".py": "python", ".cfg": "ini", ".toml": "toml"}.get(path.suffix, "text")
    language = "makefile" if path.name == "Makefile" else language
    return f"# {name}\n\n````{language}\n{path.read_text()}````\n"
