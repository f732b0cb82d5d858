"""The role of each weight and bias of a cell, read from its equations."""

from collections.abc import Iterator
from dataclasses import dataclass

from gatewright.backends.formulas import unicode
from gatewright.backends.formulas.cell_lines import cell_lines, written_names
from gatewright.backends.formulas.tree import Apply, Line, Name, Tree
from gatewright.backends.formulas.typeset import write
from gatewright.lang.ops import Op
from gatewright.trace import Trace

_LONGEST = 16  # of a formula within a sentence


@dataclass(frozen=True, slots=True)
class ParameterUse:
    """The symbol of a parameter in formulas, and its role in a few words."""

    symbol: str
    text: str


def roles(trace: Trace) -> dict[str, ParameterUse]:
    """The role of every parameter by name: "weights of xₜ in rₜ"."""
    names, lines = written_names(trace), cell_lines(trace)
    by_name: dict[str, ParameterUse] = {}
    for param in trace.params:
        uses = dict.fromkeys(use for line in lines for use in _uses(names[param.name], line))
        by_name[param.name] = ParameterUse(unicode.spell(names[param.name]), _joined(list(uses)))
    return by_name


def _joined(uses: list[tuple[str, str]]) -> str:
    """Uses as text. One kind of use in several equations is named once: "bias of rₜ, zₜ"."""
    places: dict[str, list[str]] = {}
    for what, where in uses:
        places.setdefault(what, []).append(where)
    return "; ".join(f"{what} {', '.join(where)}" for what, where in places.items())


def _uses(param: Name, line: Line) -> Iterator[tuple[str, str]]:
    """Every use of a parameter in a line, and the line's left side."""
    left = unicode.spell(line.left)
    if line.right == param:
        yield "is", left
    for operation in _around(param, line.right):
        match operation:
            case Apply(op=Op.MATMUL, args=(matrix, vector)) if matrix == param:
                yield f"weights of {_short(vector) or 'what they multiply'} in", left
            case Apply(op=Op.TRANSPOSE):
                yield "weights, transposed, in", left
            case Apply(op=Op.ADD | Op.SUB):
                yield "bias of", left
            case Apply(op=Op.MUL, args=(a, b)) if param.shape:
                other = b if a == param else a
                short = _short(other)
                yield (f"weights of {short}, one a unit, in" if short else "weights of the units of"), left
            case _:
                short = _short(operation)
                yield (f"used as {short} in" if short else "used in"), left


def _around(param: Name, tree: Tree) -> Iterator[Apply]:
    """Every operation with the parameter as an operand."""
    if isinstance(tree, Apply):
        if param in tree.args:
            yield tree
        for arg in tree.args:
            yield from _around(param, arg)


def _short(tree: Tree) -> str:
    """A formula as text if it is short enough for a sentence, else ""."""
    text = write(tree, unicode.NOTATION).text
    return text if len(text) <= _LONGEST else ""
