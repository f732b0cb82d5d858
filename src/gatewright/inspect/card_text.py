"""The card of a cell as text for a terminal."""

import re
from collections.abc import Iterable
from textwrap import wrap

from rich.text import Text

from gatewright.backends.formulas import unicode
from gatewright.inspect.card import Card, Gate, Option, Parameter, State
from gatewright.lang import Cell
from gatewright.trace import trace_cell

WIDTH = 80
_INDENT = "  "
_LEGEND = {
    "⊙": "⊙ multiplies number by number.",
    "σ(": "σ(a) = 1 / (1 + exp(−a)) lies between 0 and 1.",
    "tanh(": "tanh(a) lies between −1 and 1.",
    "ReLU(": "ReLU(a) = max(a, 0).",
    "Bernoulli(": "Bernoulli(p) draws 1 with probability p, else 0; in evaluation it is p.",
}
_PRODUCT = re.compile(r"(?<!\w)[A-Z]_\w+ \w+[ₜ₋₁]+")


def card_text(card: Card, width: int = WIDTH) -> Text:
    """The card as `gatewright show` prints it, `width` characters wide."""
    inner = width - len(_INDENT)
    summary = _flat(card.description.split("\n\n")[0])
    source = ". ".join(filter(None, (card.label, card.paper)))
    head = [card.title, *_filled([source, summary if summary != card.title else ""], width)]
    return Text("\n\n").join(
        [
            Text.assemble((head[0], "bold"), *(f"\n{line}" for line in head[1:])),
            section("One step", [*card.equations.split("\n"), "", *_filled([_legend(card)], inner)]),
            section(f"Weights and biases: {card.parameter_count:,} numbers", _parameters(card, inner)),
            *_sections(card, inner),
        ]
    )


def gradient_text(cell: Cell, width: int = WIDTH) -> Text:
    """The equations of a cell and of its gradient, `width` characters wide."""
    trace, inner = trace_cell(cell), width - len(_INDENT)
    return Text("\n\n").join(
        [
            Text.assemble((cell.about.title or cell.name, "bold"), f"\n{cell.label}"),
            section("One step", unicode.equations(trace, inner).split("\n")),
            section("Its gradient", unicode.gradient(trace, inner).split("\n")),
        ]
    )


def section(title: str, lines: Iterable[str]) -> Text:
    """Lines under a title."""
    return Text.assemble((title, "bold"), *(f"\n{_INDENT}{line}" if line else "\n" for line in lines))


def _sections(card: Card, width: int) -> list[Text]:
    sections = {
        "States": [line for state in card.states for line in _filled([_state(state)], width)],
        "Gates": _filled([", ".join(map(_gate, card.gates))], width),
        "Convention": _filled([card.convention], width),
        "What differs from the paper": _filled([card.differs], width),
        "Options": _options(card, width),
        "Cost": _filled(_cost(card), width),
    }
    return [section(title, lines) for title, lines in sections.items() if lines]


def _legend(card: Card) -> str:
    """The meaning of the letters and signs in the equations, for first-time readers."""
    (name, size), *others = card.inputs.items()
    first = card.states[0]
    after = f"{first.symbol} is the state after it, {_numbers(first.size)}, and {first.symbol}₋₁ the one before"
    sentences = [f"{name}ₜ is the input of step t, {_numbers(size)}; {after}."]
    sentences += [f"{other}ₜ is a further input, {_numbers(count)}." for other, count in others]
    if product := _PRODUCT.search(card.equations):
        sentences.append(f"{product[0]} is a matrix times a vector.")
    return " ".join([*sentences, *(text for sign, text in _LEGEND.items() if sign in card.equations)])


def _numbers(count: int) -> str:
    return "one number" if count == 1 else f"{count:,} numbers"


def _parameters(card: Card, width: int) -> list[str]:
    """A row for each weight and bias."""
    rows = [(p.symbol, " × ".join(map(str, p.shape)) or "1", f"{p.count:,}") for p in card.parameters]
    symbol, shape, count = (max((len(row[column]) for row in rows), default=0) for column in range(3))
    sizes = ", ".join(f"{axis} = {size:,}" for axis, size in card.sizes.items())
    lines = [*_filled([f"with {sizes}:"], width)]
    for (name, axes, numbers), parameter in zip(rows, card.parameters, strict=True):
        left = f"{name:<{symbol}}  {axes:>{shape}}  {numbers:>{count}}  "
        first, *others = wrap(_role(parameter), width - len(left))
        lines += [left + first, *(" " * len(left) + other for other in others)]
    return lines


def _role(parameter: Parameter) -> str:
    start = "" if parameter.starts_at is None else f"; starts at {parameter.starts_at:g}".replace("-", "−")
    return parameter.role + start


def _state(state: State) -> str:
    emitted = "; what a layer gives out at every step" if state.emitted else ""
    read = "" if state.read else "; no equation reads its old value"
    return f"{state.name}: {_numbers(state.size)}{emitted}{read}"


def _gate(gate: Gate) -> str:
    match gate.least, gate.largest:
        case None, None:
            return f"{gate.name} (any number)"
        case least, None:
            return f"{gate.name} ({least:g} or more)"
        case least, largest:
            return f"{gate.name} ({least:g} to {largest:g})".replace("-", "−")


def _options(card: Card, width: int) -> list[str]:
    """The options with their values, then the paragraphs of the cell's docstring about them."""
    if not card.options:
        return []
    broad = max(len(option.name) for option in card.options)
    lines = [f"{option.name:<{broad}} = {_choice(option)}" for option in card.options]
    for paragraph in card.description.split("\n\n")[1:]:
        lines.append("")
        for item in re.split(r"\n(?=- )", paragraph):
            lines += wrap(_flat(item), width, subsequent_indent="  " if item.startswith("- ") else "")
    return lines


def _choice(option: Option) -> str:
    quoted = [f'"{choice}"' if option.default.startswith('"') else choice for choice in option.choices]
    others = [choice for choice in quoted if choice != option.value]
    if not quoted and option.value != option.default:
        others = [option.default]
    return option.value + (f"   (or {', '.join(others)})" if others else "")


def _cost(card: Card) -> list[str]:
    time = (
        "All steps can be computed at once, by an associative scan."
        if card.parallel_in_time
        else f"One step is computed after the other: {card.why_not_parallel}."
    )
    return [f"{card.flops:,} floating-point operations for one step of one sequence. {time}"]


def _filled(paragraphs: list[str], width: int) -> list[str]:
    return [line for paragraph in paragraphs if paragraph for line in wrap(paragraph, width)]


def _flat(text: str) -> str:
    return text.replace("`", "").replace("\n", " ")
