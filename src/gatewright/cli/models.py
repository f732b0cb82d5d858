"""`gatewright evaluate`, `generate` and `add`: what a saved model can do."""

from pathlib import Path
from typing import Annotated, Any

import typer

from gatewright.cli.shell import Command, messages, out, print_json
from gatewright.cli.training import show_metrics
from gatewright.errors import OptionError

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


def generate(
    model: ModelPath,
    *,
    prompt: Annotated[str, typer.Option(help="What the model continues.")] = "The ",
    length: Annotated[int, typer.Option(help="Characters or words to write.")] = 200,
    temperature: Annotated[
        float | None, typer.Option(help="Below 1 plays safe, 0 takes the most probable.", show_default="1.0")
    ] = None,
    top_k: Annotated[int | None, typer.Option(help="Choose among the k most probable.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Choose among the fewest that hold this share.")] = None,
    beam: Annotated[int | None, typer.Option(help="Search with so many beams instead of drawing.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the choices.", show_default="0")] = None,
    as_json: AsJson = False,
) -> None:
    """Let a model of a text write on from a prompt; the text appears as it is written."""
    drawing = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "seed": seed}
    chosen: dict[str, Any] = {name: value for name, value in drawing.items() if value is not None}
    if beam is not None and chosen:
        raise OptionError(
            "a search with beams draws nothing",
            expected="--beam, or the options of drawing",
            got=", ".join(f"--{name.replace('_', '-')}" for name in chosen),
            do="leave one of the two out",
        )
    from gatewright.tasks.generate import Writer
    from gatewright.tasks.model import load_model

    writer = Writer(load_model(model))
    if beam is not None:
        pieces = iter([writer.search(prompt, length=length, beams=beam)])
    else:
        pieces = writer.stream(prompt, length=length, **chosen)
    if as_json:
        print_json({"prompt": prompt, "text": "".join(pieces)})
        return
    typer.echo(prompt, nl=False)
    for piece in pieces:
        typer.echo(piece, nl=False)
    typer.echo()


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
        typer.echo(answer)
    if answer != truth:
        messages(quiet=as_json).print(f"the network is wrong: {first} + {second} = {truth}")
        raise typer.Exit(1)


COMMANDS = (
    Command(evaluate, ("gatewright evaluate runs/text", "gatewright evaluate runs/text --data other.txt")),
    Command(
        generate,
        (
            'gatewright generate runs/text --prompt "The " --length 500 --temperature 0.7',
            'gatewright generate runs/text --prompt "If " --beam 4',
        ),
    ),
    Command(add, ("gatewright add runs/adding 1024 16",)),
)
