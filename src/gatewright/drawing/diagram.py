"""`gw.diagram`: a cell drawn as textbooks draw it, with state lines, boxes with weights, and operators between."""

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

from gatewright import cells as catalogue
from gatewright.backends.formulas import unicode
from gatewright.backends.formulas.naming import named
from gatewright.backends.formulas.tree import Name, StepIndex
from gatewright.drawing import math_text, place, svg
from gatewright.drawing.nodes import CellGraph, DiagramNode, NodeKind, graph_of, state_in, state_out
from gatewright.drawing.route import NoWayError, Router, SearchLimit, SearchLimitError, routed
from gatewright.drawing.torch_layers import cell_of_torch
from gatewright.errors import OptionError
from gatewright.files import write_atomically
from gatewright.lang import Cell
from gatewright.trace import Trace, trace_cell
from gatewright.trace.roles import gate_roles

_GAPS = (4, 6, 9, 14, 24)
_MOST_PLACES = 500_000  # ten times what the largest cell of the catalogue takes: a few seconds
_LARGE, _LARGEST = 60, 160  # nodes: above the first only one order is tried


class HasTrace(Protocol):
    """A layer, or whatever else has a trace."""

    trace: Trace


class TorchLayer(Protocol):
    """A recurrent layer of torch.nn."""

    input_size: int
    hidden_size: int
    bias: bool


@dataclass(frozen=True, slots=True)
class Diagram:
    """A drawn cell: its SVG text. A notebook shows it."""

    svg: str = field(repr=False)
    title: str = ""

    def _repr_svg_(self) -> str:
        return self.svg

    def save(self, path: str | PathLike[str]) -> Path:
        """Write the SVG file, as a whole or not at all.

        Raises OptionError for another ending than .svg, WriteError where it cannot be written.
        """
        target = Path(path)
        if target.suffix.lower() != ".svg":
            raise OptionError(f"a diagram is an SVG file, and {target} is not", do="give a path that ends in .svg")
        write_atomically(target, self.svg.encode())
        return target


def diagram(cell: Cell | Trace | HasTrace | TorchLayer | str) -> Diagram:
    """Draw one step of a cell, of the cell of that name in the catalogue, of a Trace, or of a layer.

    A layer is one of gatewright.nn, or torch.nn's RNN, GRU or LSTM.

    States enter on the left and leave on the right, inputs enter from below. A square box multiplies what enters it by
    its weights, adds biases and applies its function; a round one applies a function alone; circles work element by
    element. Lines under the picture say which gates keep or replace a state.

    Raises OptionError for what is none of these, for the Trace of a gradient, and for a cell that is too large.
    """
    cell, trace = _with_trace(cell)
    if trace.emits or trace.sums:
        raise OptionError("a gradient has no diagram", do="draw the cell that it is the gradient of")
    try:
        graph, text = graph_of(trace), unicode.equations(trace)
    except RecursionError:
        raise _too_large(len(trace.equations)) from None
    states = [state.name for state in trace.states]
    lines = place.state_lines(graph, states)
    try:
        layout, router = _routed(graph, lines)
    except SearchLimitError:
        raise _too_large(len(graph.nodes)) from None
    bold = {edge for state in states for edge in _line_edges(graph, state, lines.get(state))}
    about = cell.about.title if isinstance(cell, Cell) else ""
    title = about or trace.name or "cell"
    identifier = "gw-" + hashlib.sha256(math_text.safe(f"{title} {text}").encode()).hexdigest()[:10]
    return Diagram(
        svg.written(graph, layout, router.routes, bold, title, text, _notes(graph, trace), identifier), title
    )


def _with_trace(drawn: Any) -> tuple[Any, Trace]:
    """What is drawn, the cell of it where it is a name or a layer of torch.nn, and its Trace."""
    cell = catalogue.get(drawn) if isinstance(drawn, str) else drawn
    trace = trace_cell(cell) if isinstance(cell, Cell) else getattr(cell, "trace", cell)
    known = (cell, trace) if isinstance(trace, Trace) else cell_of_torch(cell)
    if known is None:
        raise OptionError(
            f"{type(cell).__name__} has no diagram",
            expected="a cell, the name of one, a Trace, or a recurrent layer of gw.nn or torch.nn",
        )
    return known


def _line_edges(graph: CellGraph, state: str, line: list[str] | None) -> list[tuple[str, str]]:
    if line is None:
        return []
    way = [state_in(state), *line, state_out(state)]
    return list(pairwise(way))


def _routed(graph: CellGraph, lines: dict[str, list[str]]) -> tuple[place.DiagramLayout, Router]:
    """The layout with all its lines, as narrow as it can be. Of two orders of the nodes the one with the best lines.

    Raises OptionError for a cell that is too large.
    """
    orders = [place.along_lines(graph, lines), place.as_written(graph, lines)]
    if len(graph.nodes) > _LARGEST:
        raise _too_large(len(graph.nodes))
    limit = SearchLimit(_MOST_PLACES)
    for gap in _GAPS:
        drawn: list[tuple[place.DiagramLayout, Router]] = []
        for order in orders if len(graph.nodes) <= _LARGE else orders[:1]:
            cells = place.columns_and_rows(graph, order, lines)
            layout = place.laid_out(graph, cells, lines, gap)
            with suppress(NoWayError):
                drawn.append((layout, _connected(graph, cells, lines, layout, limit)))
        if drawn:
            return min(drawn, key=lambda pair: pair[1].cost)
    raise OptionError("the lines of the cell's diagram have no room", do="gatewright show CELL prints its equations")


def _too_large(size: int) -> OptionError:
    return OptionError(
        f"the cell is too large to be drawn: {size} boxes and circles",
        expected=f"at most {_LARGEST}, or fewer where many lines cross",
        do="draw a part of it as a cell of its own",
    )


def _connected(
    graph: CellGraph,
    cells: place.Cells,
    lines: dict[str, list[str]],
    layout: place.DiagramLayout,
    limit: SearchLimit,
) -> Router:
    on_lines = [edge for state in lines for edge in _line_edges(graph, state, lines[state])]
    stacked = [
        (source, target)
        for source, target in graph.edges
        if source in cells.columns and cells.columns[source] == cells.columns.get(target)
    ]
    first = list(dict.fromkeys([*on_lines, *stacked]))
    inputs = {node.key for node in graph.of_kind(NodeKind.INPUT, NodeKind.STATE, NodeKind.JOIN)}

    def length(edge: tuple[str, str]) -> tuple[bool, int]:
        a, b = (layout.shapes[key] for key in edge)
        return edge[0] in inputs, abs(a.x - b.x) + abs(a.y - b.y)

    others = sorted((edge for edge in graph.edges if edge not in set(first)), key=length)
    return routed(Router(layout.frame, layout.shapes, limit), [*first, *others])


def _notes(graph: CellGraph, trace: Trace) -> list[str]:
    """What the gates do, and how boxes and bars are to be read."""
    drawn = named(trace)
    labels = {gate: graph.nodes[value.name].label for gate, value in drawn.gates if value.name in graph.nodes}
    symbols = {gate: labels.get(gate) or math_text.spell(Name(gate, (), StepIndex.NOW)) for gate, _ in drawn.gates}
    roles = gate_roles(trace)

    def line(gates: Iterable[str], one: str, several: str) -> list[str]:
        shown = [symbols.get(gate) or math_text.spell(Name(gate, (), StepIndex.NOW)) for gate in gates]
        return [f"{', '.join(shown)} {several if len(shown) > 1 else one}"] if shown else []

    joined = [
        f"Bar: {_listed([_symbol(graph.nodes[source]) for source in graph.sources(node.key)])} side by side; "
        "each box multiplies them by weights of its own."
        for node in graph.of_kind(NodeKind.JOIN)
    ]
    return [
        *line(roles.keeps, "near 1 keeps the old state.", "near 1 keep the old state."),
        *line(roles.replaces, "near 1 replaces the old state.", "near 1 replace the old state."),
        *line(roles.writes, "scales what is added to the state.", "scale what is added to the state."),
        *(["Square box: weights, biases and a function."] if graph.of_kind(NodeKind.BOX) else []),
        *joined,
    ]


def _listed(texts: list[str]) -> str:
    return f"{', '.join(texts[:-1])} and {texts[-1]}"


def _symbol(node: DiagramNode) -> str:
    return node.text if node.kind in (NodeKind.INPUT, NodeKind.STATE) else node.label or "what enters it"
