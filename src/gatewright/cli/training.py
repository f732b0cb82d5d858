"""`gatewright train` and `gatewright recipes`."""

import dataclasses
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from gatewright.cli.options import AsJson, Assignments, CellText, DataSource, Quick, RecipeName
from gatewright.cli.recipe_page import RecipeHelp, reach, show_recipe
from gatewright.cli.results import argument, print_line, show_result
from gatewright.cli.shell import Command, messages, out, print_json, show_error
from gatewright.errors import GatewrightError, OptionError
from gatewright.terminal import Terminal

if TYPE_CHECKING:
    from gatewright.tasks.recipe import Recipe
    from gatewright.tasks.training.processes import Processes
    from gatewright.tasks.training.session import Result


def train(
    recipe: RecipeName,
    *,
    cell: CellText = None,
    data: DataSource = None,
    assignments: Assignments = None,
    out_folder: Annotated[Path | None, typer.Option("--out", help="Folder for the run; default: runs/RECIPE.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of all random numbers.")] = None,
    precision: Annotated[
        str | None, typer.Option(help="bf16: products in bfloat16, weights in float32.", show_default="float32")
    ] = None,
    devices: Annotated[
        int | None, typer.Option(min=1, help="Processes on this machine; each trains on its share of a batch.")
    ] = None,
    nodes: Annotated[
        int | None, typer.Option(min=1, help="Number of machines; torchrun starts this command on each.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in the folder.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Measure gradients by layer, gate and step 100 times; see gradients.png.")
    ] = False,
    watch_every: Annotated[
        int | None, typer.Option(min=1, help="Measure gradients every so many iterations.", show_default="off")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Delete the run in the folder first.")] = False,
    quick: Quick = False,
    as_json: AsJson = False,
) -> None:
    """Train a recipe; save the model, its metrics and a picture of the curves.

    The folder gets model.safetensors, metrics.csv, curves.png, a TensorBoard log and checkpoints. Ctrl-C stops the
    run and keeps its state; --resume continues it with the same result as a run that was never stopped.
    `train RECIPE --help` lists the settings of a recipe and the forms of its data.
    """
    from gatewright.tasks.recipes import get

    configured = get(recipe).configured(assignments or [], quick=quick, cell=cell, seed=seed, precision=precision)
    folder = out_folder or _default_folder(configured)
    if resume and overwrite:
        raise OptionError("--resume keeps the run that --overwrite deletes", do="leave out one of them")
    console = messages(quiet=as_json)
    with console.status("starting"):
        from gatewright.tasks.training.processes import Processes

    processes = Processes(devices or 1, nodes or 1) if devices or nodes else None
    watching = watch_every or watch
    result = _run(
        configured,
        folder,
        data,
        processes,
        resuming=resume,
        overwrite=overwrite,
        watch=watching,
        console=console,
    )
    if as_json:
        print_json({**dataclasses.asdict(result), "folder": str(folder)})
    else:
        show_result(out(), result, folder)


def _default_folder(recipe: "Recipe") -> Path:
    own = next(field.default for field in dataclasses.fields(recipe) if field.name == "cell")
    name = "".join(letter if letter.isalnum() else "-" for letter in f"{recipe.name}-{recipe.cell}").rstrip("-")
    return Path("runs") / (recipe.name if recipe.cell == own else name)


def _run(
    recipe: "Recipe",
    folder: Path,
    data: str | None,
    processes: "Processes | None",
    *,
    resuming: bool,
    overwrite: bool,
    watch: bool | int,
    console: Terminal,
) -> "Result":
    from gatewright.tasks.training import session as training
    from gatewright.tasks.training.processes import is_helper

    try:
        if resuming:
            result = training.resume(
                folder, asked=recipe, source=data, processes=processes, console=console, watch=watch
            )
        else:
            several = processes or training.ALONE
            result = training.train(
                recipe,
                out=folder,
                source=data,
                overwrite=overwrite,
                processes=several,
                console=console,
                watch=watch,
            )
    except training.Interrupted as stop:
        if is_helper():
            raise typer.Exit from stop  # the first process says it, and has the exit code
        print_line(console, f"stopped; go on with: gatewright train {recipe.name} --resume --out {argument(folder)}")
        raise typer.Exit(128 + (stop.signal_number or signal.SIGINT)) from stop
    except GatewrightError as error:
        if not is_helper():
            raise
        show_error(error)
        raise typer.Exit from error
    if is_helper():
        raise typer.Exit
    return result


def recipes(
    recipe: Annotated[str | None, typer.Argument(help="The recipe to show with its settings.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """List the recipes, or show one with all its settings."""
    from gatewright.tasks.recipes import RECIPES, get

    if recipe is not None:
        show_recipe(get(recipe), as_json=as_json)
    elif as_json:
        print_json({name: kind.about for name, kind in RECIPES.items()})
    else:
        table = Table("recipe", "what it does", "what it reaches", box=None, pad_edge=False, header_style="bold")
        for name, kind in RECIPES.items():
            table.add_row(name, kind.about, reach(kind.expected.get("")))
        out().print(table)


COMMANDS = (
    Command(
        train,
        (
            "gatewright train adding",
            "gatewright train text --data notes.txt --set hidden=512 --out runs/notes",
            "gatewright train text --resume --out runs/notes",
            "gatewright train longlag --watch",
            "gatewright train text --devices 2 --precision bf16",
            "gatewright train texts --help",
        ),
        RecipeHelp,
    ),
    Command(recipes, ("gatewright recipes", "gatewright recipes text")),
)
