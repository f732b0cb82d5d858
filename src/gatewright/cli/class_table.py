"""Precision, recall and F1 by class, as a person reads them."""

from typing import TYPE_CHECKING

from rich.table import Table

from gatewright.terminal import Terminal

if TYPE_CHECKING:
    from gatewright.tasks.answers.class_report import ClassReport

_MOST_ROWS = 12
_LONGEST, _LONGEST_OTHER = 20, 12  # letters of names, so that the table has 80 columns at most


def show_classes(console: Terminal, report: "ClassReport", part: str) -> None:
    """A row for each class and one for their averages; of many classes those with the lowest F1."""
    from gatewright.tasks.formatting import spell

    names = list(report.scores)
    if len(names) > _MOST_ROWS:
        names = sorted(names, key=lambda name: report.scores[name]["f1"])[: _MOST_ROWS - 2]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(part, no_wrap=True)
    for title in ("precision", "recall", "F1", "examples"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("most often taken for", no_wrap=True)
    for name in names:
        scores, (mistaken, times) = report.scores[name], report.mistaken_for(name)
        confused_with = f"{_short(mistaken, _LONGEST_OTHER)} ({times:,})" if times else ""
        values = (spell(scores[score]) for score in ("precision", "recall", "f1"))
        table.add_row(_short(name), *values, f"{int(scores['examples']):,}", confused_with)
    averages = (spell(report.macro[score]) for score in ("precision", "recall", "f1"))
    table.add_row(
        "macro average", *averages, f"{sum(int(scores['examples']) for scores in report.scores.values()):,}", ""
    )
    console.print(table)
    if len(names) < len(report.classes):
        console.print(f"shown are the {len(names)} classes of {len(report.scores)} with the lowest F1")


def _short(name: str, longest: int = _LONGEST) -> str:
    text = " ".join(name.split())
    return text if len(text) <= longest else text[: longest - 1] + "…"
