"""`gatewright cells` and `gatewright show`: what cells there are, and what each is."""

import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from gatewright.cli.options import AsJson, HiddenSize, InputSize
from gatewright.cli.shell import Command, out, print_json
from gatewright.errors import OptionError
from gatewright.untrusted.printable import print_text

if TYPE_CHECKING:
    from gatewright.inspect.card import Card
    from gatewright.lang import Cell

WIDTH = 80
WIDTHS = {"cell": 19, "states": 9, "gates": 15}
LONGEST = 26  # of a paper's authors and year


def cells(*, input_size: InputSize = 128, hidden_size: HiddenSize = 256, as_json: AsJson = False) -> None:
    """List the cells of the catalogue: their states, their gates, and their number of parameters."""
    from gatewright.cells import ALIASES, CATALOGUE, FAMILIES
    from gatewright.inspect.card import card

    cards = {name: card(cell, _sizes(input_size, hidden_size)) for name, cell in CATALOGUE.items()}
    if as_json:
        print_json({name: asdict(card) for name, card in cards.items()})
        return
    console, numbers = out(), max(len(f"{card.parameter_count:,}") for card in cards.values())
    console.print(_table((), numbers))
    for family, names in FAMILIES.items():
        console.print("", *wrap(family, WIDTH), sep="\n", style="bold")
        console.print(_table([cards[name] for name in names], numbers))
    aliases = ", ".join(f"{alias} is {name}" for alias, name in ALIASES.items())
    note = f"Numbers are the weights and biases with input = {input_size} and hidden = {hidden_size}; {aliases}."
    examples = ("gatewright show gru", "gatewright show 'zoneout(0.1)(lstm)'")
    console.print("", *wrap(note, WIDTH), "Everything about one, or about a variation of one:", sep="\n")
    console.print(*(f"    {example}" for example in examples), sep="\n")


def _table(cards: "Sequence[Card]", numbers: int) -> Table:
    """Cells under each other; without any, the header that stands above them all."""
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="italic", show_header=not cards)
    for name, width in WIDTHS.items():
        table.add_column(name, width=width)
    table.add_column("numbers", min_width=max(numbers, len("numbers")), justify="right")
    table.add_column("paper")
    for card in cards:
        states, gates = (" ".join(part.name for part in parts) for parts in (card.states, card.gates))
        table.add_row(card.name, states, gates, f"{card.parameter_count:,}", _who(card.paper))
    return table


def _who(paper: str) -> str:
    """A paper's authors and year in a few letters: Cho et al. 2014."""
    source, _, _ = paper.partition(":")
    authors, year, _ = re.split(r" (\d{4})\b|$", source, maxsplit=1)
    whole = " ".join(filter(None, (authors, year)))
    if len(whole) <= LONGEST and "," not in authors:
        return whole
    return " ".join(filter(None, (re.split(r",| &", authors)[0], "et al.", year)))


def show(
    cell: Annotated[
        str,
        typer.Argument(
            metavar="CELL", help="A cell: lstm, 'gru(reset=after)', 'zoneout(0.1)(lstm)', my_cells.py:my_cell."
        ),
    ],
    *,
    input_size: InputSize = 128,
    hidden_size: HiddenSize = 256,
    axes: Annotated[
        list[str] | None,
        typer.Option("--size", metavar="AXIS=N", help="The size of another axis, such as projection=64."),
    ] = None,
    latex: Annotated[bool, typer.Option("--latex", help="The equations as LaTeX.")] = False,
    trace: Annotated[bool, typer.Option("--trace", help="One step, operation by operation.")] = False,
    gradient: Annotated[bool, typer.Option("--gradient", help="The gradient, as derived from the equations.")] = False,
    diagram: Annotated[
        Path | None, typer.Option("--diagram", metavar="FILE.svg", help="Draw the cell, as an SVG file.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show a cell: its equations, each weight and bias, its number of parameters, its gates, options and cost.

    --gradient can be combined with --latex or --trace. --diagram writes a picture of the cell and nothing else.
    """
    if diagram is not None and (latex or trace or gradient or as_json):
        raise OptionError("--diagram writes a file, and the other options print text", do="ask for one of them")
    if latex and trace and not as_json:
        raise OptionError("--latex and --trace are two ways to write a cell", do="ask for one of them, or for --json")
    from gatewright.tasks.cell_spec import read_cell

    target, sizes = read_cell(cell), {**_sizes(input_size, hidden_size), **dict(map(_axis, axes or []))}
    if diagram is not None:
        from gatewright.drawing import diagram as drawn

        print_text(f"written: {drawn(target).save(diagram)}")
    elif as_json:
        print_json(_everything(target, sizes, trace=trace, gradient=gradient))
    elif latex or trace:
        text = _latex(target, gradient=gradient) if latex else _trace(target, gradient=gradient)
        print_text(text.removesuffix("\n"))
    else:
        from gatewright.inspect.card import card
        from gatewright.inspect.card_text import card_text, gradient_text

        out().print(gradient_text(target) if gradient else card_text(card(target, sizes)), soft_wrap=True)


def _sizes(input_size: int, hidden_size: int) -> dict[str, int]:
    return {"input": input_size, "hidden": hidden_size}


def _axis(assignment: str) -> tuple[str, int]:
    axis, equals, size = assignment.partition("=")
    if not equals or not size.isdecimal() or int(size) < 1:
        raise OptionError("--size gives an axis a size", expected="AXIS=N, as in projection=64", got=repr(assignment))
    return axis, int(size)


def _latex(cell: "Cell", *, gradient: bool) -> str:
    from gatewright.backends.formulas import latex
    from gatewright.trace import trace_cell

    return latex.gradient(trace_cell(cell)) if gradient else latex.equations(trace_cell(cell))


def _trace(cell: "Cell", *, gradient: bool) -> str:
    from gatewright.derive import vjp
    from gatewright.trace import trace_cell
    from gatewright.trace.text import to_text

    return to_text(vjp(trace_cell(cell)) if gradient else trace_cell(cell))


def _everything(cell: "Cell", sizes: dict[str, int], *, trace: bool, gradient: bool) -> dict[str, Any]:
    """The card, and what else was asked for, for JSON."""
    from gatewright.backends.formulas import unicode
    from gatewright.inspect.card import card
    from gatewright.trace import trace_cell

    content = asdict(card(cell, sizes))
    if trace:
        content["trace"] = _trace(cell, gradient=False)
    if gradient:
        content["gradient"] = unicode.gradient(trace_cell(cell))
        content["gradient_latex"] = _latex(cell, gradient=True)
    return content


COMMANDS = (
    Command(cells, ("gatewright cells", "gatewright cells --input 28 --hidden 128 --json")),
    Command(
        show,
        (
            "gatewright show gru --input 28 --hidden 256",
            "gatewright show 'gru(reset=after)' --latex",
            "gatewright show lstm --gradient",
            "gatewright show lstm --diagram lstm.svg",
            "gatewright show my_cells.py:my_cell --trace",
        ),
    ),
)
