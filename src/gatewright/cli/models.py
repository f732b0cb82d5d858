"""`gatewright evaluate` and `add`: what a saved model can do."""

from pathlib import Path
from typing import Annotated

import typer

from gatewright.cli.results import show_metrics
from gatewright.cli.shell import Command, messages, out, print_json
from gatewright.untrusted.printable import print_text

ModelPath = Annotated[Path, typer.Argument(metavar="MODEL", help="A model.safetensors, or a run's folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")]


def evaluate(
    model: ModelPath,
    *,
    data: Annotated[str | None, typer.Option(help="Other data, by name or path.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure a saved model, on the data that it was trained for or on other data."""
    with messages(quiet=as_json).status("measuring"):
        from gatewright.tasks.evaluate import evaluate as measured
        from gatewright.tasks.model import load_model

        metrics = measured(load_model(model), data)
    if as_json:
        print_json(metrics)
    else:
        show_metrics(out(), metrics)


def add(
    model: ModelPath,
    first: Annotated[int, typer.Argument(min=0, help="A number of any size.")],
    second: Annotated[int, typer.Argument(min=0, help="Another.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Add two numbers with a network that learned it; the exit code is 1 where it is wrong."""
    from gatewright.tasks.addition import add as added
    from gatewright.tasks.model import load_model

    answer, truth = added(load_model(model), first, second), first + second
    if as_json:
        print_json({"answer": answer, "right": answer == truth})
    else:
        print_text(str(answer))
    if answer != truth:
        messages(quiet=as_json).print(f"the network is wrong: {first} + {second} = {truth}")
        raise typer.Exit(1)


COMMANDS = (
    Command(evaluate, ("gatewright evaluate runs/text", "gatewright evaluate runs/text --data other.txt")),
    Command(add, ("gatewright add runs/adding 1024 16",)),
)
