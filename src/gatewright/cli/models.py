"""`gatewright evaluate`, `generate` and `add`: what a saved model can do."""

from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gatewright.cli.results import print_line, show_metrics
from gatewright.cli.shell import Command, messages, out, print_json
from gatewright.errors import OptionError
from gatewright.untrusted.printable import print_text

if TYPE_CHECKING:
    from gatewright.tasks.model import Model

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
    prompt: Annotated[
        str | None, typer.Option(help="What the model continues; otherwise a beginning of its own text.")
    ] = None,
    length: Annotated[int, typer.Option(min=0, help="Characters or words to write.")] = 200,
    finish: Annotated[bool, typer.Option("--finish", help="Write on to the end of the sentence.")] = False,
    temperature: Annotated[
        float | None, typer.Option(min=0, help="Below 1 plays safe, 0 takes the most probable.", show_default="1.0")
    ] = None,
    top_k: Annotated[int | None, typer.Option(min=1, help="Choose among the k most probable.")] = None,
    top_p: Annotated[
        float | None, typer.Option(min=0, max=1, help="Choose among the fewest that hold this share.")
    ] = None,
    beam: Annotated[int | None, typer.Option(min=1, help="Search with so many beams instead of drawing.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the choices.", show_default="0")] = None,
    as_json: AsJson = False,
) -> None:
    """Let a model of a text write on from a prompt; the text appears as it is written."""
    drawing = {"finish": finish or None, "temperature": temperature, "top_k": top_k, "top_p": top_p, "seed": seed}
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

    loaded = load_model(model)
    writer = Writer(loaded)
    prompt = _prompt(loaded) if prompt is None else prompt
    unknown = writer.unknown(prompt)
    if beam is not None:
        pieces = iter([writer.search(prompt, length=length, beams=beam)])
    else:
        pieces = writer.stream(prompt, length=length, **chosen)
    if as_json:
        print_json({"prompt": prompt, "text": "".join(pieces), "unknown": unknown})
        return
    if unknown:
        print_line(messages(), f"the model does not know {', '.join(map(repr, unknown))}, and reads it as unknown")
    waiting = ""  # a line may end with two characters, which come one by one
    for piece in chain([prompt], pieces):
        text = waiting + piece
        waiting = "\r" if text.endswith("\r") else ""
        print_text(text.removesuffix("\r"), end="")
    print_text(waiting)


def _prompt(model: "Model") -> str:
    if not model.prompts:
        raise OptionError("the model has no prompt of its own", do="give one with --prompt")
    return model.prompts[0]


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
    Command(
        generate,
        (
            'gatewright generate runs/text --prompt "The " --length 500 --temperature 0.7',
            "gatewright generate runs/text --finish",
            'gatewright generate runs/text --prompt "If " --beam 4',
        ),
    ),
    Command(add, ("gatewright add runs/adding 1024 16",)),
)
