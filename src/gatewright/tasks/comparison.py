"""What a comparison says: a row for each cell, as CSV and as Markdown."""

import csv
import io
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gatewright.files import write_atomically
from gatewright.tasks.compare import Outcome, headline
from gatewright.tasks.compare_curves import draw_comparison
from gatewright.tasks.history import read_rows
from gatewright.tasks.numbers import spell
from gatewright.tasks.train import Result


@dataclass(frozen=True)
class Row:
    """A cell: the mean over its seeds, and how far they are apart."""

    cell: str
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
    rows: tuple[Row, ...]
    problems: Mapping[str, str]  # by run: why it has no result

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)


def comparison(outcomes: Sequence[Outcome]) -> Comparison:
    """What came of the runs, cell by cell."""
    by_cell: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        by_cell.setdefault(outcome.run.made.cell, []).append(outcome)
    made = outcomes[0].run.made
    result = next((one.result for one in outcomes if one.result is not None), None)
    part, metric = headline(made, result) if result is not None else ("", made.objective().headline)
    return Comparison(
        recipe=made.name,
        measure=f"{part} {metric}".strip(),
        items=made.objective().items,
        rows=tuple(_row(found, part, metric) for found in by_cell.values()),
        problems={one.run.title: one.problem for one in outcomes if one.problem is not None},
    )


def _row(outcomes: Sequence[Outcome], part: str, metric: str) -> Row:
    made, results = outcomes[0].run.made, [one.result for one in outcomes if one.result is not None]
    values = [one.metrics[part][metric] for one in results]
    return Row(
        cell=made.cell,
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


def keep(outcomes: Sequence[Outcome], out: Path) -> list[Path]:
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
            curves.setdefault(one.run.made.cell, []).append(rows)
    if curves:
        made = outcomes[0].run.made
        files[out / "curves.png"] = draw_comparison(curves, made.objective().headline, title=f"{made.name}, by cell")
    for path, content in files.items():
        write_atomically(path, content)
    return list(files)


def as_csv(found: Comparison) -> str:
    """A line for each cell."""
    lines = [
        {
            "cell": row.cell,
            "hidden": row.hidden,
            "parameters": row.parameters,
            "runs": row.runs,
            f"{found.measure} mean": row.mean,
            f"{found.measure} standard deviation": row.spread,
            "seconds": row.seconds,
            f"{found.items} per second": row.speed,
        }
        for row in found.rows
    ]
    return _csv(lines)


def runs_as_csv(outcomes: Sequence[Outcome]) -> str:
    """A line for each run that came to its end, with everything that was measured."""
    lines: list[dict[str, Any]] = []
    for result in (one.result for one in outcomes if one.result is not None):
        measured = {f"{part} {name}": value for part, one in result.metrics.items() for name, value in one.items()}
        own = {"cell": result.cell, "seed": result.seed, "hidden": result.settings["hidden"]}
        run = {"parameters": result.parameters, "epochs": result.epochs, "best epoch": result.best_epoch}
        lines.append({**own, **run, **measured, "seconds": result.seconds, **result.speed})
    return _csv(lines)


def _csv(lines: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(dict.fromkeys(name for line in lines for name in line)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def as_markdown(found: Comparison) -> str:
    """The table, then what each cell's first run wrote."""
    speed = f"{found.items}/s"
    lines = [
        f"| cell | units | parameters | {found.measure} | seconds | {speed} |",
        "|---|---:|---:|---:|---:|---:|",
        *(f"| `{row.cell}` | " + " | ".join(numbers(row)) + " |" for row in found.rows),
    ]
    for row in found.rows:
        for prompt, text in row.samples.items():
            lines += [
                "",
                f"`{row.cell}`, {prompt.strip() or 'sample'}:",
                "",
                *(f"    {one}" for one in text.split("\n")),
            ]
    return "\n".join(lines) + "\n"


def numbers(row: Row) -> tuple[str, ...]:
    """The row's numbers as a person reads them."""
    if row.parameters is None or row.seconds is None or row.speed is None:
        return str(row.hidden), "", row.measured, "", ""
    return str(row.hidden), f"{row.parameters:,}", row.measured, f"{row.seconds:,.0f}", f"{row.speed:,.0f}"
