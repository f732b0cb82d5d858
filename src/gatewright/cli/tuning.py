"""`gatewright tune`."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from gatewright.cli.options import AsJson, Assignments, CellText, DataSource, Quick, RecipeName
from gatewright.cli.results import print_line, stopping
from gatewright.cli.shell import Command, messages, out, print_json
from gatewright.errors import OptionError
from gatewright.tasks.formatting import spell
from gatewright.terminal import Terminal

if TYPE_CHECKING:
    from gatewright.tasks.tuning.study import FrozenTrial, Search, Study

_SHOWN = 10  # trials in the table; all are in trials.csv


def tune(
    recipe: RecipeName,
    *,
    trials: Annotated[int, typer.Option(min=1, help="Number of trials, including those of earlier calls.")] = 20,
    space: Annotated[
        str | None,
        typer.Option("--search", help="Values to try: 'rate=log:1e-4..1e-1 hidden=64,128'; default: the recipe's own."),
    ] = None,
    cell: CellText = None,
    data: DataSource = None,
    assignments: Assignments = None,
    storage: Annotated[
        str | None, typer.Option(help="A database for many machines; default: study.db in the folder.")
    ] = None,
    study: Annotated[str | None, typer.Option(help="Name of the study in the database.", show_default="RECIPE")] = None,
    out_folder: Annotated[
        Path | None, typer.Option("--out", help="Folder for the runs; default: runs/tune-RECIPE.")
    ] = None,
    quick: Quick = False,
    as_json: AsJson = False,
) -> None:
    """Search for the settings with the best validation result; poor trials are pruned early.

    The same command continues a search that was stopped. With the same --storage it can run on many machines, or
    several times on one. The folder gets a folder for each trial and trials.csv; after four complete trials also
    importance.png.
    """
    console = messages(quiet=as_json)
    with console.status("starting"):
        from gatewright.tasks import recipes
        from gatewright.tasks.tuning import study as tuning
        from gatewright.tasks.tuning.space import read_space

        configured = recipes.get(recipe).configured(assignments or [], quick=quick, cell=cell)
        searched = read_space(type(configured), space or configured.search)
        chosen = [assignment.partition("=")[0].strip() for assignment in assignments or []]
        if twice := [name for name in (*chosen, *(["cell"] if cell is not None else [])) if name in searched]:
            raise OptionError(f"{twice[0]} is both set and searched", do="give it a value, or name it in --search")
        folder = out_folder or Path("runs") / f"tune-{configured.name}"
        search = tuning.Search(configured, searched, data, folder, storage, study or configured.name)
    with stopping(console, "stopped; the same command goes on"):
        finished = tuning.tune(search, trials, console)
    _report(out(), search, finished, as_json=as_json)


def _report(console: Terminal, search: "Search", study: "Study", *, as_json: bool) -> None:
    from gatewright.tasks.tuning import report as tuned
    from gatewright.tasks.tuning.study import command, is_complete

    trials, importance, files = tuned.ranked(study), tuned.importance(study), tuned.keep(search, study)
    best = trials[0] if is_complete(trials[0]) else None
    line = shlex.join(command(search, best.params)) if best is not None else None
    if as_json:
        about = {"recipe": search.recipe.name, "measure": search.measure, "command": line}
        rows = [tuned.row(search, trial) for trial in trials]
        print_json({**about, "importance": importance, "trials": rows, "folder": str(search.out)})
    else:
        _show(console, search, trials, importance)
        for path in files:
            print_line(console, str(path))
        if line is not None:
            print_line(console, f"best:\n{line}")
    if best is None:
        messages(quiet=as_json).print("no trial has come to its end; try other ranges with --search")
        raise typer.Exit(1)


def _show(console: Terminal, search: "Search", trials: "list[FrozenTrial]", importance: dict[str, float]) -> None:
    from gatewright.tasks.tuning.report import LEAST
    from gatewright.tasks.tuning.study import is_complete, outcome, spelled

    table = Table("trial", *search.space, box=None, pad_edge=False, header_style="bold")
    table.add_column(search.measure, justify="right")
    for trial in trials[:_SHOWN]:
        value = spell(trial.value or 0.0) if is_complete(trial) else outcome(trial)
        settings = (spelled(trial.params[name]) if name in trial.params else "" for name in search.space)
        table.add_row(str(trial.number), *settings, value)
    console.print(table)
    pruned = sum(not is_complete(trial) for trial in trials)
    shown = f"the best {_SHOWN} of " if len(trials) > _SHOWN else ""
    console.print(f"{shown}{len(trials)} trials, {pruned} of them pruned")
    if importance:
        console.print("importance: " + ", ".join(f"{name} {share:.0%}" for name, share in importance.items()))
    else:
        console.print(f"importance: unknown until {LEAST} trials are complete with different results")


COMMANDS = (
    Command(
        tune,
        (
            "gatewright tune digits --trials 30",
            "gatewright tune text --search 'rate=log:1e-3..1e-2 hidden=128,256'",
            "gatewright tune text --storage postgresql://user@host/name --study mine",
        ),
    ),
)
