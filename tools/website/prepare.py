"""Writes what Zensical reads: pages with links that hold inside the site, and a configuration with the navigation."""

import os
import re
import shutil
from pathlib import Path, PurePosixPath

from tests.paths import ROOT
from tools.website.navigation import COPIED, DOCS, Page, sections, source

FENCE = re.compile(r"^(```.*?^```)$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?!https?:|#)([^)#\s]+)(#[^)\s]*)?\)")
TEMPLATE = Path(__file__).parent / "zensical.toml"


def prepare(folder: Path) -> Path:
    """Write the pages and the configuration into an empty folder; return the path of the configuration."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(DOCS, folder / "docs", ignore=shutil.ignore_patterns("*.md"))
    shutil.copytree(Path(__file__).parent / "assets", folder / "docs" / "assets")
    pages = sections()
    for page in (page for section in pages.values() for page in section):
        target = folder / "docs" / page.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(prepared(source(page.path).read_text(encoding="utf-8"), page.path), encoding="utf-8")
    config = folder / "zensical.toml"
    template = TEMPLATE.read_text(encoding="utf-8")
    template = template.replace("@SOURCE@", os.path.relpath(ROOT / "src", folder).replace(os.sep, "/"))
    config.write_text(template.replace("@NAVIGATION@", navigation(pages)), encoding="utf-8")
    return config


def navigation(pages: dict[str, list[Page]]) -> str:
    """The sections as TOML."""
    entries = {
        title: ", ".join(
            f"{{ {quoted(page.title)} = {quoted(page.path)} }}" if page.title else quoted(page.path) for page in section
        )
        for title, section in pages.items()
    }
    return "\n".join(f"  {{ {quoted(title)} = [{entry}] }}," for title, entry in entries.items())


def quoted(text: str) -> str:
    """A string of TOML."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def prepared(text: str, page: str) -> str:
    """A page as the site has it: links, expected output, line breaks."""
    pieces = FENCE.split(text)
    return "".join(
        re.sub(r"\A```output\n", "``` { .text .output }\n", piece) if number % 2 else prose(piece, page)
        for number, piece in enumerate(pieces)
    )


def prose(text: str, page: str) -> str:
    """Text between blocks of code: links to source files become plain text, a backslash at a line's end a break."""
    linked = LINK.sub(lambda match: link(match[1], match[2], match[3] or "", page), text)
    return linked.replace("\\\n", "<br>\n")


def link(text: str, target: str, fragment: str, page: str) -> str:
    """A link of a page; only its text where the target is no part of the site."""
    here = source(page).parent
    path = Path(os.path.normpath(here / target))
    if path.is_relative_to(DOCS):
        name = path.relative_to(DOCS).as_posix()
    else:
        name = COPIED.get(path.relative_to(ROOT).as_posix(), "")
    if not name:
        return text
    return f"[{text}]({os.path.relpath(name, PurePosixPath(page).parent).replace(os.sep, '/')}{fragment})"
