"""The result of a run on the terminal: tables of measures, samples, and the next command."""

import shlex
import signal
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

import typer
from rich.table import Table

from gatewright.tasks.formatting import spell
from gatewright.terminal import Terminal

if TYPE_CHECKING:
    from gatewright.tasks.answers.class_report import ClassReport
    from gatewright.tasks.recipe import Recipe
    from gatewright.tasks.training.session import Result

_WIDTH = 80
_LONGEST_TITLE = 40  # of a sample; a longer one has a line of its own
_UNBOUNDED = 10_000  # columns
_MOST_ROWS = 12
_LONGEST, _LONGEST_OTHER = 20, 12  # letters of names, so that the table has 80 columns at most


def show_result(console: Terminal, result: "Result", folder: Path) -> None:
    """How a run ended, what it leaves, and a command to try."""
    from gatewright.tasks.answers.class_report import ClassReport
    from gatewright.tasks.recipes import get
    from gatewright.tasks.training.run_folder import RunFolder

    recipe, run = get(result.recipe).reopened(result.settings), RunFolder(folder)
    speed = ", ".join(f"{value:,} {unit}" for unit, value in result.speed.items())
    console.print(f"{result.iterations:,} iterations in {result.seconds:,.0f} s, {speed}")
    console.print(_kept(result, recipe.monitored()[0]))
    show_metrics(console, result.metrics)
    if result.baselines:
        _show_by_measure(console, "baseline", result.baselines)
    if (expected := recipe.expectation()) is not None and run.read(run.run)["data"] is None:
        value = result.metrics[expected.part][expected.metric]
        reached = "reached" if expected.met(value) else "not reached"
        console.print(f"{reached}: {expected}; it is {spell(value)}")
    for part, report in list(result.classes.items())[-1:]:
        show_classes(console, ClassReport.restored(report), part)
    show_samples(console, result.samples)
    for name, path in (("model", run.model), ("curves", run.curves), ("confusion", run.confusion)):
        if path.exists():
            print_line(console, f"{name + ':':<8}{' ' * (len(name) > 6)}{path}")
    command = _next_command(recipe, argument(run.model), run.read(run.run)["data"])
    if command is not None:
        print_line(console, f"next:   {command}")


def _next_command(recipe: "Recipe", model: str, source: str | None) -> str | None:
    """What to try with the model; None where that needs data that nothing has but the process that trained it."""
    from gatewright.tasks.data.published.sources import IN_MEMORY

    if source == IN_MEMORY:
        return None
    source = recipe.default_source() if source is None else source
    if source is None and "{data}" in recipe.next_command:
        return f"gatewright evaluate {model}"
    return recipe.next_command.format(model=model, data=argument(source or ""))


def _kept(result: "Result", measure: str) -> str:
    if result.best_epoch is None:
        return f"kept the network of the last epoch, {result.epochs}"
    value = "" if result.best_score is None else f" {spell(result.best_score)}"
    return f"kept the network of epoch {result.best_epoch} of {result.epochs}, the best by validation {measure}{value}"


def show_metrics(console: Terminal, metrics: Mapping[str, Mapping[str, float]]) -> None:
    """A table: a row for each part of the data, or for each measure where there are many."""
    names = dict.fromkeys(name for measured in metrics.values() for name in measured)
    table = Table("part", *names, box=None, pad_edge=False, header_style="bold")
    for part, measured in metrics.items():
        table.add_row(part, *(spell(measured[name]) if name in measured else "" for name in names))
    if console.measure(table, options=console.options.update_width(_UNBOUNDED)).maximum > console.width:
        _show_by_measure(console, "measure", metrics)  # numbers would be cut
    else:
        console.print(table)


def _show_by_measure(console: Terminal, title: str, parts: Mapping[str, Mapping[str, float]]) -> None:
    """A table: a row for each measure, a column for each part of the data."""
    names = dict.fromkeys(name for reached in parts.values() for name in reached)
    table = Table(title, *parts, box=None, pad_edge=False, header_style="bold")
    for name in names:
        table.add_row(name, *(spell(reached[name]) if name in reached else "" for reached in parts.values()))
    console.print(table)


def show_classes(console: Terminal, report: "ClassReport", part: str) -> None:
    """A row for each class and one for their averages; of many classes those with the lowest F1."""
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
    examples = sum(int(scores["examples"]) for scores in report.scores.values())
    table.add_row("macro average", *averages, f"{examples:,}", "")
    console.print(table)
    if len(names) < len(report.scores):
        console.print(f"shown are the {len(names)} classes of {len(report.scores)} with the lowest F1")


def _short(name: str, longest: int = _LONGEST) -> str:
    text = " ".join(name.split())
    return text if len(text) <= longest else text[: longest - 1] + "…"


def show_samples(console: Terminal, samples: Mapping[str, str]) -> None:
    """What a model made up, beside what it is of; each line of a sample stands under the one before."""
    for title, text in samples.items():
        for line in _beside(title, text):
            print_line(console, line)


def _beside(title: str, text: str) -> Iterator[str]:
    first = title.replace("\n", "\\n")
    if len(first) > _LONGEST_TITLE:
        yield first
        first = "  "
    for line in text.split("\n"):
        pieces = wrap(line, _WIDTH - len(first) - 1, drop_whitespace=False) or [""]
        yield f"{first}|{pieces[0]}"
        first = " " * len(first)
        yield from (f"{first} {piece.lstrip()}" for piece in pieces[1:])


@contextmanager
def stopping(console: Terminal, advice: str) -> Generator[None]:
    """Where the work is stopped, say how it goes on, and end with the exit code of the signal."""
    from gatewright.tasks.training.checkpoints import Interrupted

    try:
        yield
    except Interrupted as stop:
        print_line(console, advice)
        raise typer.Exit(128 + (stop.signal_number or signal.SIGINT)) from None


def print_line(console: Terminal, line: str) -> None:
    """A line as it is, however long: a path or a command can be copied from it."""
    console.print(line, soft_wrap=True)


def argument(path: Path | str) -> str:
    """A path as a word of a command line, which no shell and no command takes for something else."""
    text = str(path)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)
