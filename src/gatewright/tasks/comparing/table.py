"""What a comparison says: a row for each cell, as CSV and as Markdown."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gatewright.errors import OptionError
from gatewright.files import write_atomically
from gatewright.tasks.comparing.pictures import Points, draw_comparison, draw_over
from gatewright.tasks.comparing.runs import RunOutcome, headline
from gatewright.tasks.formatting import csv_text, spell
from gatewright.tasks.training.history import read_rows
from gatewright.tasks.training.session import Result


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

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)


def comparison(outcomes: Sequence[RunOutcome]) -> Comparison:
    """What came of the runs, cell by cell."""
    groups: dict[str, list[RunOutcome]] = {}
    for outcome in outcomes:
        groups.setdefault(outcome.run.group, []).append(outcome)
    made = outcomes[0].run.made
    result = next((one.result for one in outcomes if one.result is not None), None)
    part, metric = ("", made.objective().headline) if result is None else headline(outcomes[0].run, result)
    _check_measured(outcomes[0].run.measure, f"{part} {metric}", result)
    return Comparison(
        recipe=made.name,
        measure=f"{part} {metric}".strip(),
        items=made.objective().items,
        over=outcomes[0].run.over,
        rows=tuple(_row(found, part, metric) for found in groups.values()),
        problems={one.run.title: one.problem for one in outcomes if one.problem is not None},
        remarks=tuple(dict.fromkeys(filter(None, map(_remark, outcomes)))),
    )


def _remark(outcome: RunOutcome) -> str:
    """What the run's settings are in the end, where they are not what was asked for."""
    made, result = outcome.run.made, outcome.result
    differing = {} if result is None else {k: v for k, v in result.settings.items() if v != getattr(made, k)}
    return made.told_of(differing)


def _check_measured(wanted: str | None, found: str, result: Result | None) -> None:
    """What was asked for was measured, or nothing was."""
    if result is not None and wanted not in (None, found):
        measured = [f"{part} {name}" for part, one in result.metrics.items() for name in one]
        raise OptionError(
            f"{wanted!r} is not measured by recipe {result.recipe!r}",
            expected="one of " + ", ".join(measured),
            do="give the same command with another --measure; finished runs are kept",
        )


def _row(outcomes: Sequence[RunOutcome], part: str, metric: str) -> ComparisonRow:
    made, results = outcomes[0].run.made, [one.result for one in outcomes if one.result is not None]
    values = [one.metrics[part][metric] for one in results]
    return ComparisonRow(
        cell=made.cell,
        value=outcomes[0].run.value,
        hidden=made.hidden,
        parameters=results[0].parameters if results else None,
        runs=len(results),
        mean=statistics.fmean(values) if values else None,
        spread=statistics.stdev(values) if len(values) > 1 else None,
        seconds=statistics.fmean(one.seconds for one in results) if results else None,
        speed=statistics.fmean(_speed(one) for one in results) if results else None,
        samples=results[0].samples if results else {},
    )


def _speed(result: Result) -> float:
    return next(iter(result.speed.values()))


def keep(outcomes: Sequence[RunOutcome], out: Path) -> list[Path]:
    """Write the table and the curves into the folder, and say which files those are."""
    found = comparison(outcomes)
    files = {
        out / "comparison.csv": as_csv(found).encode(),
        out / "comparison.md": as_markdown(found).encode(),
        out / "runs.csv": runs_as_csv(outcomes).encode(),
    }
    curves: dict[str, list[list[dict[str, float]]]] = {}
    for one in outcomes:
        if rows := read_rows(one.run.folder.metrics):
            curves.setdefault(one.run.group, []).append(rows)
    title = f"{found.recipe}, by cell"
    if curves:
        files[out / "curves.png"] = draw_comparison(curves, outcomes[0].run.made.objective().headline, title=title)
    if found.over is not None:
        for kind in ("png", "svg"):
            files[out / f"over.{kind}"] = draw_over(points(outcomes), found.over, found.measure, title=title, kind=kind)
    for path, content in files.items():
        write_atomically(path, content)
    return list(files)


def points(outcomes: Sequence[RunOutcome]) -> Points:
    """By cell and value of what is varied, what each run that came to its end has measured."""
    found: dict[str, dict[Any, list[float]]] = {}
    for run, result in ((one.run, one.result) for one in outcomes if one.result is not None):
        part, metric = headline(run, result)
        found.setdefault(run.made.cell, {}).setdefault(run.value, []).append(result.metrics[part][metric])
    return found


def as_csv(found: Comparison) -> str:
    """A line for each cell."""
    lines = [
        {
            "cell": row.cell,
            "hidden": row.hidden,
            **({} if found.over is None else {found.over: row.value}),
            "parameters": row.parameters,
            "runs": row.runs,
            f"{found.measure} mean": row.mean,
            f"{found.measure} standard deviation": row.spread,
            "seconds": row.seconds,
            f"{found.items} per second": row.speed,
        }
        for row in found.rows
    ]
    return csv_text(lines, list(dict.fromkeys(name for line in lines for name in line)))


def runs_as_csv(outcomes: Sequence[RunOutcome]) -> str:
    """A line for each run that came to its end, with everything that was measured."""
    lines: list[dict[str, Any]] = []
    for run, result in ((one.run, one.result) for one in outcomes if one.result is not None):
        varied = {} if run.over is None else {run.over: run.value}
        measured = {f"{part} {name}": value for part, one in result.metrics.items() for name, value in one.items()}
        own = {"cell": result.cell, "seed": result.seed, "hidden": result.settings["hidden"], **varied}
        length = {"parameters": result.parameters, "epochs": result.epochs, "best epoch": result.best_epoch}
        lines.append({**own, **length, **measured, "seconds": result.seconds, **result.speed})
    return csv_text(lines, list(dict.fromkeys(name for line in lines for name in line)))


def as_markdown(found: Comparison) -> str:
    """The table, then what each cell's first run wrote."""
    head = columns(found)
    lines = [
        "| " + " | ".join(head) + " |",
        "|---|" + "---:|" * (len(head) - 1),
        *(f"| `{row.cell}` | " + " | ".join(numbers(found, row)) + " |" for row in found.rows),
    ]
    for row in found.rows:
        for prompt, text in row.samples.items():
            lines += [
                "",
                f"`{called(found, row)}`, {prompt.strip() or 'sample'}:",
                "",
                *(f"    {one}" for one in text.split("\n")),
            ]
    return "\n".join(lines) + "\n"


def columns(found: Comparison) -> tuple[str, ...]:
    """The head of the table."""
    over = () if found.over is None or found.over == "hidden" else (found.over,)
    return "cell", *over, "units", "parameters", found.measure, "seconds", f"{found.items}/s"


def numbers(found: Comparison, row: ComparisonRow) -> tuple[str, ...]:
    """The row's numbers as a person reads them, under the columns after the first."""
    own = (str(row.hidden),) if found.over in (None, "hidden") else (str(row.value), str(row.hidden))
    if row.parameters is None or row.seconds is None or row.speed is None:
        return *own, "", row.measured, "", ""
    return *own, f"{row.parameters:,}", row.measured, f"{row.seconds:,.0f}", f"{row.speed:,.0f}"


def called(found: Comparison, row: ComparisonRow) -> str:
    """What to call the row's samples: the cell, and the value of what is varied."""
    return row.cell if found.over is None else f"{row.cell}, {found.over}={row.value}"
