"""Tables, for a terminal and for a document."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """A title, a head and rows of text; the first column is to the left, the others to the right."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()

    def text(self) -> str:
        """For a terminal."""
        lines = [self.head, *self.rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.head))]
        aligned = [
            " ".join(cell.rjust(width) if column else cell.ljust(width) for column, (cell, width) in enumerate(cells))
            for line in lines
            if (cells := list(zip(line, widths, strict=True)))
        ]
        return "\n".join([self.title, *(line.rstrip() for line in aligned), *self.notes])

    def markdown(self) -> str:
        """For a document, without the title."""
        rule = ["---", *["---:"] * (len(self.head) - 1)]
        table = [f"| {' | '.join(line)} |" for line in (self.head, rule, *self.rows)]
        return "\n".join([*table, *(f"\n{note}" for note in self.notes)])
