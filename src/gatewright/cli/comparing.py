"""`gatewright compare`."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from gatewright.cli.options import AsJson, Assignments, DataSource, Quick, RecipeName
from gatewright.cli.results import print_line, show_samples, stopping
from gatewright.cli.shell import Command, messages, out, print_json
from gatewright.errors import OptionError
from gatewright.terminal import Terminal

if TYPE_CHECKING:
    from gatewright.tasks.comparing.table import Comparison


def compare(
    recipe: RecipeName,
    *,
    cells: Annotated[str, typer.Option(help="Cells, separated by commas: gru,lstm.")],
    seeds: Annotated[int, typer.Option(min=1, max=10_000, help="Runs of each cell, with the seeds 0, 1, ...")] = 3,
    match: Annotated[
        bool,
        typer.Option(
            "--match-parameters", help="Choose hidden sizes that give all cells as many parameters as the first."
        ),
    ] = False,
    over: Annotated[
        str | None, typer.Option(help="Also vary a setting, one row for each value: lag=50,100,200.")
    ] = None,
    measure: Annotated[
        str | None, typer.Option(help="Measure to compare, such as 'test accuracy'; default: the recipe's main one.")
    ] = None,
    data: DataSource = None,
    assignments: Assignments = None,
    out_folder: Annotated[
        Path | None, typer.Option("--out", help="Folder for the runs; default: runs/compare-RECIPE.")
    ] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Runs at the same time; default: one for each core.")] = None,
    engine: Annotated[str, typer.Option(help="What executes the runs: processes, ray or dask.")] = "processes",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Delete these runs in the folder first.")] = False,
    quick: Quick = False,
    as_json: AsJson = False,
) -> None:
    """Train a recipe with several cells and seeds, and compare the results.

    The same command given again keeps finished runs and continues stopped ones. The folder gets a folder for each
    run, comparison.md, comparison.csv, runs.csv and curves.png; with --over also a picture of the measure against
    the setting.
    """
    names, console = split_cells(cells), messages(quiet=as_json)
    with console.status("starting"):
        from gatewright.tasks import recipes
        from gatewright.tasks.comparing import engines
        from gatewright.tasks.comparing import runs as comparing
        from gatewright.tasks.comparing import table as comparison

        configured = recipes.get(recipe).configured(assignments or [], quick=quick)
        folder = out_folder or Path("runs") / f"compare-{configured.name}"
        varied = comparing.read_over(type(configured), over) if over else None
        runs = comparing.plan(
            configured, names, range(seeds), out=folder, source=data, match=match, over=varied, measure=measure
        )
        at_a_time = jobs or engines.default_jobs()
    with stopping(console, "stopped; the same command, without --overwrite, goes on"):
        outcomes = comparing.compare(
            runs, out=folder, jobs=at_a_time, console=console, where=engine, overwrite=overwrite
        )
    files, result = comparison.keep(outcomes, folder), comparison.comparison(outcomes)
    if as_json:
        print_json({**asdict(result), "folder": str(folder), "jobs": at_a_time})
    else:
        _show(out(), result, files, at_a_time)
    if result.problems:
        raise typer.Exit(1)


def split_cells(text: str) -> list[str]:
    """The cells of a text with commas between them; a comma inside of parentheses belongs to a cell."""
    parts, depth = [""], 0
    for letter in text:
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    cells = [part.strip() for part in parts]
    if depth or not all(cells):
        raise OptionError(
            "--cells cannot be read", expected="cells with commas between, as in gru,lstm", got=repr(text)
        )
    return cells


def _show(console: Terminal, result: "Comparison", files: list[Path], jobs: int) -> None:
    from gatewright.tasks.comparing.table import called, columns, numbers

    table = Table(box=None, pad_edge=False, header_style="bold")
    first, *others = columns(result)
    table.add_column(first, overflow="fold")
    for name in others:
        table.add_column(name, justify="right")
    for row in result.rows:
        table.add_row(row.cell, *numbers(result, row))
    console.print(table)
    runs = max(row.runs for row in result.rows)
    spread = f"mean ± standard deviation of {runs} runs" if runs > 1 else "one run each"
    console.print(f"{spread}; {jobs} at a time share the machine" if jobs > 1 else spread)
    for remark in result.remarks:
        print_line(console, remark)
    for row in result.rows:
        show_samples(console, {f"{called(result, row)}: {title}": text for title, text in row.samples.items()})
    for run, problem in result.problems.items():
        print_line(console, f"failed: {run}: {problem}")
    for path in files:
        print_line(console, str(path))


COMMANDS = (
    Command(
        compare,
        (
            "gatewright compare digits --cells elman,gru,lstm --seeds 3",
            "gatewright compare text --cells 'gru,gru(reset=after)' --match-parameters",
            "gatewright compare adding --cells gru,mgu --engine ray --jobs 8",
            "gatewright compare longlag --cells elman,gru,lstm --over lag=50,100,200 --measure 'test accuracy'",
        ),
    ),
)
