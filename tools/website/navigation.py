"""The sections of the site, and the pages of each in the order in which they are read.

A page is named by its path in docs/; COPIED are pages that lie elsewhere in the project. Every page of docs/ stands in
one section: a test says which is missing.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.paths import ROOT

DOCS = ROOT / "docs"
LINK = re.compile(r"\]\(([\w./-]+\.md)\b")


@dataclass(frozen=True)
class Page:
    """A page under a short title; without one, its first heading is the title."""

    path: str
    title: str = ""


@dataclass(frozen=True)
class Folder:
    """All pages of a folder: its index.md, then the pages in the order of the links there, then all others by name."""

    path: str

    def pages(self) -> Iterator[Page]:
        """The pages that are there now."""
        index = DOCS / self.path / "index.md"
        text = index.read_text(encoding="utf-8") if index.exists() else ""
        linked = [index, *((index.parent / name).resolve() for name in LINK.findall(text))]
        present = sorted((DOCS / self.path).rglob("*.md"))
        ordered = dict.fromkeys([*(path for path in linked if path in present), *present])
        return (Page(path.relative_to(DOCS).as_posix()) for path in ordered)


COPIED = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""Pages from outside docs/, and what they are called in the site."""

NAVIGATION: dict[str, tuple[Page | Folder, ...]] = {
    "Start": (
        Page("index.md", "What it is"),
        Page("start/install.md"),
        Page("start/torch-model.md"),
        Page("start/own-csv.md"),
    ),
    "Learn": (
        Folder("learn"),
        Page("follow-one-gru.md"),
    ),
    "Guides": (
        Page("guides/own-cell.md"),
        Page("guides/speed-up.md"),
        Page("guides/ragged-and-streaming.md"),
        Page("guides/convert-weights.md"),
        Page("guides/deploy.md"),
        Page("guides/own-data.md", "Your own data"),
        Page("guides/read-gates.md"),
        Page("inside.md"),
        Page("guides/many-machines.md"),
        Page("guides/troubleshoot.md"),
        Page("data.md", "Tables"),
        Page("tagging.md", "Labels for steps"),
        Page("sounds.md", "Sounds"),
        Page("resets.md", "Resets"),
        Page("quantised.md", "Weights in eight bits"),
        Page("c99.md", "C files"),
        Page("dynamics.md", "What the state does"),
    ),
    "Reference": (
        Folder("reference"),
        Page("commands.md", "The commands in use"),
        Page("conventions.md"),
        Page("rosetta.md", "Layouts of weights"),
    ),
    "Benchmarks": (Page("benchmarks.md"),),
    "Results": (
        Page("results.md"),
        Page("exercises.md"),
    ),
    "Design": (
        Page("system.md"),
        Page("parallel.md"),
        Page("gpu.md"),
        Page("decisions.md"),
        Page("contributing.md", "Contributing"),
        Page("changelog.md", "Changes"),
    ),
}


def sections() -> dict[str, list[Page]]:
    """The pages of each section, with those of folders."""
    return {
        title: [page for entry in entries for page in (entry.pages() if isinstance(entry, Folder) else (entry,))]
        for title, entries in NAVIGATION.items()
    }


def source(page: str) -> Path:
    """The file of a page of the site."""
    copied = {name: path for path, name in COPIED.items()}
    return ROOT / copied[page] if page in copied else DOCS / page
