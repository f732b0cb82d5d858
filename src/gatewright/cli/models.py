"""`gatewright evaluate` and `add`: what a saved model can do."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gatewright.cli.options import AnyScale, AsJson, ModelPath, Reading
from gatewright.cli.results import show_classes, show_metrics
from gatewright.cli.shell import Command, messages, out, print_json
from gatewright.errors import OptionError
from gatewright.untrusted.printable import print_text

if TYPE_CHECKING:
    from gatewright.tasks.model import Model


def read_model(path: Path, reading: list[str] | None) -> "Model":
    """The model of a file or folder, with the settings of columns and files that its new data needs."""
    from gatewright.tasks.model import load_model
    from gatewright.tasks.settings import from_texts

    model = load_model(path)
    return model.reading(from_texts(type(model.recipe), reading or []))


_PICTURES = (".png", ".svg")


def evaluate(
    model: ModelPath,
    *,
    data: Annotated[str | None, typer.Option(help="Other data, by name or path.")] = None,
    confusion: Annotated[
        Path | None, typer.Option(help="Classifiers: draw the confusion matrix into this file, .png or .svg.")
    ] = None,
    reading: Reading = None,
    any_scale: AnyScale = False,
    as_json: AsJson = False,
) -> None:
    """Measure a saved model, on the data of its training or on other data."""
    if confusion is not None and confusion.suffix.lower() not in _PICTURES:
        expected = " or ".join(_PICTURES)
        raise OptionError(f"--confusion {confusion} is no picture", expected=expected, got=confusion.suffix)
    with messages(quiet=as_json).status("measuring"):
        from gatewright.tasks.answers.evaluate import evaluate as measured

        evaluation = measured(read_model(model, reading), data, any_scale=any_scale)
    last = list(evaluation.reports.items())[-1:]  # the test, where there is one
    if confusion is not None:
        from gatewright.files import write_atomically
        from gatewright.tasks.answers.confusion import draw_confusion

        if not last:
            raise OptionError("the model tells no classes apart", do="leave out --confusion")
        part, report = last[0]
        write_atomically(confusion, draw_confusion(report, f"{model}\n{part}", confusion.suffix.lower()))
    if as_json:
        reports = {part: report.kept() for part, report in evaluation.reports.items()}
        print_json({part: {**measures, **reports.get(part, {})} for part, measures in evaluation.items()})
        return
    show_metrics(out(), evaluation)
    for part, report in last:
        show_classes(out(), report, part)


def add(
    model: ModelPath,
    first: Annotated[int, typer.Argument(min=0, help="A whole number of any size.")],
    second: Annotated[int, typer.Argument(min=0, help="Another whole number.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Add two numbers with a network that has learned to; the exit code is 1 if the sum is wrong."""
    from gatewright.tasks.model import load_model
    from gatewright.tasks.synthetic.addition import add as added

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
