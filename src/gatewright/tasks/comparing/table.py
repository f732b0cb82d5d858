"""The table of a comparison: a row for each cell, as CSV and as Markdown."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gatewright.errors import OptionError
from gatewright.files import write_atomically
from gatewright.tasks.comparing.pictures import Points, draw_comparison, draw_over
from gatewright.tasks.comparing.runs import RunOutcome, headline
from gatewright.tasks.formatting import csv_text, spell
from gatewright.tasks.training.history import read_rows


@dataclass(frozen=True)
class ComparisonRow:
    """A cell, at one value of what is varied: the mean over its seeds, and how far they are apart."""

    cell: str
    value: Any  # of the setting that is varied; None where none is
    hidden: int
    parameters: int | None  # None where no run has come to its end
    runs: int
    mean: float | None
    spread: float | None  # the standard deviation over the seeds; None of fewer than two
    seconds: float | None
    speed: float | None  # items a second, in training
    samples: Mapping[str, str]  # of the first seed

    @property
    def measured(self) -> str:
        """The mean with its spread, as a person reads it."""
        if self.mean is None:
            return "failed"
        return spell(self.mean) if self.spread is None else f"{spell(self.mean)} ± {self.spread:.2g}"


@dataclass(frozen=True)
class Comparison:
    """All rows, and what their numbers are of."""

    recipe: str
    measure: str  # such as "test accuracy"
    items: str  # what is counted in the speed
    over: str | None  # the setting that is varied, where one is
    rows: tuple[ComparisonRow, ...]
    problems: Mapping[str, str]  # by run: why it has no result
    remarks: tuple[str, ...] = ()  # of sizes that were smaller than asked for


def comparison(outcomes: Sequence[RunOutcome]) -> Comparison:
    """What came of the runs, cell by cell."""
    groups: dict[str, list[RunOutcome]] = {}
    for outcome in outcomes:
        groups.setdefault(outcome.run.group, []).append(outcome)
    recipe = outcomes[0].run.recipe
    result = next((outcome.result for outcome in outcomes if outcome.result is not None), None)
    part, metric = ("", recipe.objective().headline) if result is None else headline(outcomes[0].run, result)
    wanted = outcomes[0].run.measure
    if result is not None and wanted not in (None, f"{part} {metric}"):
        raise OptionError(
            f"{wanted!r} is not measured by recipe {result.recipe!r}",
            expected="one of "
            + ", ".join(f"{part} {name}" for part, values in result.metrics.items() for name in values),
            do="name another measure; finished runs are kept",
            shell="give the same command with another --measure; finished runs are kept",
        )
    return Comparison(
        recipe=recipe.name,
        measure=f"{part} {metric}".strip(),
        items=recipe.objective().items,
        over=outcomes[0].run.over,
        rows=tuple(_row(group, part, metric) for group in groups.values()),
        problems={outcome.run.title: outcome.problem for outcome in outcomes if outcome.problem is not None},
        remarks=tuple(dict.fromkeys(filter(None, map(_remark, outcomes)))),
    )


def _remark(outcome: RunOutcome) -> str:
    """What the run's settings are in the end, where they are not what was asked for."""
    recipe, result = outcome.run.recipe, outcome.result
    differing = {} if result is None else {k: v for k, v in result.settings.items() if v != getattr(recipe, k)}
    return recipe.fitted_remark(differing)


def _row(outcomes: Sequence[RunOutcome], part: str, metric: str) -> ComparisonRow:
    recipe, results = outcomes[0].run.recipe, [outcome.result for outcome in outcomes if outcome.result is not None]
    values = [result.metrics[part][metric] for result in results]
    return ComparisonRow(
        cell=recipe.cell,
        value=outcomes[0].run.value,
        hidden=recipe.hidden,
        parameters=results[0].parameters if results else None,
        runs=len(results),
        mean=statistics.fmean(values) if values else None,
        spread=statistics.stdev(values) if len(values) > 1 else None,
        seconds=statistics.fmean(result.seconds for result in results) if results else None,
        speed=statistics.fmean(next(iter(result.speed.values())) for result in results) if results else None,
        samples=results[0].samples if results else {},
    )


def keep(outcomes: Sequence[RunOutcome], out: Path) -> list[Path]:
    """Write the table and the curves into the folder, and say which files those are."""
    table = comparison(outcomes)
    files = {
        out / "comparison.csv": as_csv(table).encode(),
        out / "comparison.md": as_markdown(table).encode(),
        out / "runs.csv": runs_as_csv(outcomes).encode(),
    }
    curves: dict[str, list[list[dict[str, float]]]] = {}
    for outcome in outcomes:
        if rows := read_rows(outcome.run.folder.metrics):
            curves.setdefault(outcome.run.group, []).append(rows)
    title = f"{table.recipe}, by cell"
    if curves:
        files[out / "curves.png"] = draw_comparison(curves, outcomes[0].run.recipe.objective().headline, title=title)
    if table.over is not None:
        for kind in ("png", "svg"):
            files[out / f"over.{kind}"] = draw_over(points(outcomes), table.over, table.measure, title=title, kind=kind)
    for path, content in files.items():
        write_atomically(path, content)
    return list(files)


def points(outcomes: Sequence[RunOutcome]) -> Points:
    """By cell and value of what is varied, what each run that came to its end has measured."""
    values: dict[str, dict[Any, list[float]]] = {}
    for run, result in ((outcome.run, outcome.result) for outcome in outcomes if outcome.result is not None):
        part, metric = headline(run, result)
        values.setdefault(run.recipe.cell, {}).setdefault(run.value, []).append(result.metrics[part][metric])
    return values


def as_csv(table: Comparison) -> str:
    """A line for each cell."""
    return _lines(
        {
            "cell": row.cell,
            "hidden": row.hidden,
            **({} if table.over is None else {table.over: row.value}),
            "parameters": row.parameters,
            "runs": row.runs,
            f"{table.measure} mean": row.mean,
            f"{table.measure} standard deviation": row.spread,
            "seconds": row.seconds,
            f"{table.items} per second": row.speed,
        }
        for row in table.rows
    )


def _lines(rows: Iterable[Mapping[str, Any]]) -> str:
    """The rows as CSV, with a column for each entry that one of them has."""
    rows = list(rows)
    return csv_text(rows, list(dict.fromkeys(name for row in rows for name in row)))


def runs_as_csv(outcomes: Sequence[RunOutcome]) -> str:
    """A line for each run that came to its end, with everything that was measured."""
    lines: list[dict[str, Any]] = []
    for run, result in ((outcome.run, outcome.result) for outcome in outcomes if outcome.result is not None):
        varied = {} if run.over is None else {run.over: run.value}
        measured = {
            f"{part} {name}": value for part, measures in result.metrics.items() for name, value in measures.items()
        }
        own = {"cell": result.cell, "seed": result.seed, "hidden": result.settings["hidden"], **varied}
        length = {"parameters": result.parameters, "epochs": result.epochs, "best epoch": result.best_epoch}
        lines.append({**own, **length, **measured, "seconds": result.seconds, **result.speed})
    return _lines(lines)


def as_markdown(table: Comparison) -> str:
    """The table, then what each cell's first run wrote."""
    head = columns(table)
    lines = [
        "| " + " | ".join(head) + " |",
        "|---|" + "---:|" * (len(head) - 1),
        *(f"| `{row.cell}` | " + " | ".join(numbers(table, row)) + " |" for row in table.rows),
    ]
    for row in table.rows:
        for prompt, text in row.samples.items():
            lines += [
                "",
                f"`{called(table, row)}`, {prompt.strip() or 'sample'}:",
                "",
                *(f"    {line}" for line in text.split("\n")),
            ]
    return "\n".join(lines) + "\n"


def columns(table: Comparison) -> tuple[str, ...]:
    """The head of the table."""
    over = () if table.over is None or table.over == "hidden" else (table.over,)
    return "cell", *over, "units", "parameters", table.measure, "seconds", f"{table.items}/s"


def numbers(table: Comparison, row: ComparisonRow) -> tuple[str, ...]:
    """The row's numbers as a person reads them, under the columns after the first."""
    own = (str(row.hidden),) if table.over in (None, "hidden") else (str(row.value), str(row.hidden))
    if row.parameters is None or row.seconds is None or row.speed is None:
        return *own, "", row.measured, "", ""
    return *own, f"{row.parameters:,}", row.measured, f"{row.seconds:,.0f}", f"{row.speed:,.0f}"


def called(table: Comparison, row: ComparisonRow) -> str:
    """What to call the row's samples: the cell, and the value of what is varied."""
    return row.cell if table.over is None else f"{row.cell}, {table.over}={row.value}"
