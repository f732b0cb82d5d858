"""Parts of documents that are made from the code: each stands between two marks, and everything else is left alone."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

END = "<!-- The end of what is made. -->"


@dataclass(frozen=True)
class Generated:
    """A document of which one part is made; `source` says what to change for another text."""

    document: Path
    make: Callable[[], str]
    source: str

    @property
    def begin(self) -> str:
        """The mark in front of the part."""
        return f"<!-- What follows is made by `make docs`: change {self.source}. -->"

    def renewed(self, text: str) -> str:
        """The document's text with the part as it should be."""
        before, begin, rest = text.partition(self.begin)
        _, end, after = rest.partition(END)
        if not (begin and end):
            sys.exit(f"{self.document.name} has no place for what is made:\n{self.begin}\n{END}")
        return f"{before}{begin}\n\n{self.make()}\n\n{end}{after}"

    def is_up_to_date(self) -> bool:
        """Whether the document is what it should be."""
        text = self.document.read_text(encoding="utf-8")
        return self.renewed(text) == text

    def main(self, description: str | None) -> None:
        """Write the part, or with --check fail where it is old."""
        parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("--check", action="store_true", help="compare with the file instead of writing it")
        if not parser.parse_args().check:
            text = self.document.read_text(encoding="utf-8")
            self.document.write_text(self.renewed(text), encoding="utf-8")
        elif not self.is_up_to_date():
            sys.exit(f"{self.document.name} is not up to date: make docs")
