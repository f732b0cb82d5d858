"""Where the nodes of a diagram stand: state lines on top, boxes with weights in a row below, what is between, between.

A node gets a column and a level. Level 0 is the row of the boxes; what reads one node only stands above it. A state
whose next value is reached by operators alone has a line of its own on top, and these operators stand on it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from gatewright.drawing import math_text
from gatewright.drawing.nodes import CellGraph, DiagramNode, NodeKind, state_in, state_out
from gatewright.drawing.route import Shape

UNIT = 14  # pixels between two neighbouring places that lines may run on
FONT, SMALL_FONT = 17, 15
RADIUS, BAR = 12.0, 5  # of a circle, and the width of a bar that joins lines, in pixels
_ON_LINES = frozenset({NodeKind.OPERATOR, NodeKind.FUNCTION})
_BORDERS = frozenset({NodeKind.INPUT, NodeKind.STATE, NodeKind.OUTPUT, NodeKind.JOIN})


@dataclass(slots=True)
class Cells:
    """Which column and row every inner node has. Rows of state lines are negative: -1 is the topmost."""

    columns: dict[str, int] = field(default_factory=dict[str, int])
    rows: dict[str, int] = field(default_factory=dict[str, int])
    taken: dict[tuple[int, int], str] = field(default_factory=dict[tuple[int, int], str])

    def put(self, key: str, column: int, row: int) -> None:
        """Give a node its place."""
        self.columns[key], self.rows[key], self.taken[column, row] = column, row, key

    def top(self, column: int) -> str | None:
        """The uppermost node of a column below the state lines; None where a node stands on a line."""
        rows = [row for taken, row in self.taken if taken == column]
        return None if not rows or min(rows) < 0 else self.taken[column, max(rows)]

    @property
    def width(self) -> int:
        """The number of columns."""
        return 1 + max(self.columns.values(), default=-1)


def state_lines(graph: CellGraph, states: Iterable[str]) -> dict[str, list[str]]:
    """The operators between the old and the new value of each state, for those states that operators alone connect."""
    taken: set[str] = set()
    lines: dict[str, list[str]] = {}
    for state in states:
        way = _way(graph, state_in(state), state_out(state), taken)
        if way is not None:
            lines[state] = way[1:-1]
            taken.update(way)
    return lines


def _way(graph: CellGraph, start: str, end: str, taken: set[str]) -> list[str] | None:
    """The shortest way over operators and functions."""
    ways = [[start]]
    seen = {start}
    for way in ways:
        for target in graph.targets(way[-1]):
            if target == end:
                return [*way, end]
            if target not in seen | taken and graph.nodes[target].kind in _ON_LINES:
                seen.add(target)
                ways.append([*way, target])
    return None


def along_lines(graph: CellGraph, lines: dict[str, list[str]]) -> list[str]:
    """The inner nodes, each after what it reads, in the order in which the state lines need them."""
    on_lines = {key for line in lines.values() for key in line}
    outputs = [node.key for node in graph.of_kind(NodeKind.OUTPUT)]
    return _ordered(graph, [*(key for line in lines.values() for key in line), *outputs], on_lines)


def as_written(graph: CellGraph, lines: dict[str, list[str]]) -> list[str]:
    """The inner nodes, each after what it reads, in the order of the equations."""
    return _ordered(graph, list(graph.nodes), set())


def _ordered(graph: CellGraph, keys: list[str], first: set[str]) -> list[str]:
    """Nodes and what they read, sources in `first` before others. An operator follows as soon as its operands exist."""
    order: dict[str, None] = {}

    def visit(key: str) -> None:
        if key in order:
            return
        for source in sorted(graph.sources(key), key=lambda source: source not in first):
            visit(source)
        append(key)

    def append(key: str) -> None:
        if key in order:
            return
        order[key] = None
        if graph.nodes[key].kind in _BORDERS:
            return
        for target in graph.targets(key):
            if graph.nodes[target].kind in _ON_LINES and all(
                source in order or graph.nodes[source].kind in _BORDERS for source in graph.sources(target)
            ):
                append(target)

    for key in keys:
        visit(key)
    return [key for key in order if graph.nodes[key].kind not in _BORDERS]


def columns_and_rows(graph: CellGraph, order: list[str], lines: dict[str, list[str]]) -> Cells:
    """Put the nodes into columns, in order."""
    cells = Cells()
    line_of = {key: -1 - index for index, line in enumerate(lines.values()) for key in line}
    for key in order:
        placed = [source for source in graph.sources(key) if source in cells.columns]
        last = max((cells.columns[source] for source in placed), default=-1)
        below = [source for source in placed if cells.columns[source] == last]
        stands_on = below[0] if len(below) == 1 and cells.top(last) == below[0] else None
        if key in line_of:
            row = line_of[key]
            # nothing on the way up may be in the way, and the line runs from left to right
            free = stands_on is not None and not any((last, other) in cells.taken for other in range(row, 0))
            cells.put(key, last if free else _free_column(cells, last, row), row)
        elif stands_on is not None and (graph.nodes[key].kind in _ON_LINES or len(graph.sources(key)) == 1):
            cells.put(key, last, cells.rows[stands_on] + 1)
        elif graph.nodes[key].kind not in _ON_LINES:
            cells.put(key, cells.width, 0)
        else:
            row = max([1, *(cells.rows[source] for source in placed)])
            cells.put(key, _free_column(cells, last, row), row)
    return cells


def _free_column(cells: Cells, after: int, row: int) -> int:
    """The first column after another whose place in a row is free, with nothing above it."""
    for column in range(after + 1, cells.width):
        rows = [taken for other, taken in cells.taken if other == column]
        if row < 0 and (column, row) not in cells.taken and min(rows, default=0) >= 0:
            return column
        if row > 0 and min(rows, default=0) >= 0 and max(rows, default=0) < row:
            return column
    return max(cells.width, after + 1)


@dataclass(slots=True)
class DiagramLayout:
    """The shapes of all nodes on a grid of `width` x `height` places, and the frame around the inner ones."""

    width: int
    height: int
    frame: tuple[int, int, int, int]  # left, top, right, bottom
    shapes: dict[str, Shape]


def laid_out(graph: CellGraph, cells: Cells, lines: dict[str, list[str]], gap: int) -> DiagramLayout:
    """Turn columns and rows into places on the grid; `gap` is the room between two columns and two rows."""
    shapes: dict[str, Shape] = {}
    joins = graph.of_kind(NodeKind.JOIN)
    states = [node for node in graph.of_kind(NodeKind.STATE) if graph.targets(node.key)]
    inputs = [node for node in graph.of_kind(NodeKind.INPUT) if graph.targets(node.key)]
    left = 4
    x = left + 3 + 3 * max(len(inputs), len(joins), 1)
    centres: list[int] = []
    for column in range(cells.width):
        nodes = [graph.nodes[key] for key, taken in cells.columns.items() if taken == column]
        half = max((_half_width(graph, node) for node in nodes), default=2)
        label = max((_units(node.label) + 1 - _half_width(graph, node) for node in nodes if node.label), default=0)
        centres.append(x + half)
        x += 2 * half + max(label, 1) + gap
    right = x
    levels = 1 + max(cells.rows.values(), default=0)
    top, pitch = 1, gap + 3
    line_rows = [top + 3 + pitch * index for index in range(len(lines))]
    base = (line_rows[-1] if lines else top) + pitch * levels
    rows = {level: base - pitch * level for level in range(levels)} | {-1 - i: y for i, y in enumerate(line_rows)}
    for key, column in cells.columns.items():
        shapes[key] = _shape(graph, graph.nodes[key], centres[column], rows[cells.rows[key]])
    y = base + 4
    for node in states:
        state = node.key.removeprefix("in ")
        if state in lines:
            shapes[node.key] = Shape(left, line_rows[list(lines).index(state)], port="right")
    for index, join in enumerate(joins):
        height = max(1, len(graph.sources(join.key)) // 2)
        shapes[join.key] = Shape(left + 3 + 3 * index, y, 1, height, inset=UNIT - BAR / 2, is_bar=True)
        y += 2 * height + 1
    for node in states:
        if node.key not in shapes:
            shapes[node.key] = Shape(left, y - 3 if joins else y, port="right")
            y += 2
    bottom = y + 1
    for index, node in enumerate(inputs):
        shapes[node.key] = Shape(left + 3 + 3 * index, bottom, port="up")
    taken: set[int] = set()
    for node in graph.of_kind(NodeKind.OUTPUT):
        state, (source,) = node.key.removeprefix("out "), graph.sources(node.key)
        wanted = line_rows[list(lines).index(state)] if state in lines else shapes[source].y
        wanted = next(row for row in _around(wanted) if not taken & {row - 1, row, row + 1})
        taken.add(wanted)
        shapes[node.key] = Shape(right, wanted, port="left")
    return DiagramLayout(right + 5, bottom + 3, (left, top, right, bottom), shapes)


def _around(wanted: int) -> Iterator[int]:
    yield wanted
    for distance in range(1, 1000):
        yield wanted + distance
        yield max(wanted - distance, 2)


def _units(marked: str) -> int:
    """How many units of the grid a label takes."""
    return -int(-math_text.width(marked, SMALL_FONT) // UNIT)


def _half_width(graph: CellGraph, node: DiagramNode) -> int:
    """Half the width of a node in units: room for its text, and below it for the lines that enter."""
    lines = len(graph.sources(node.key))
    if node.kind is NodeKind.OPERATOR and lines < 3 and len(math_text.plain(node.text)) <= 3:
        return 1
    return max(2, 1 + lines // 2, -int(-(math_text.width(node.text, FONT) + 10) // (2 * UNIT)))


def _shape(graph: CellGraph, node: DiagramNode, x: int, y: int) -> Shape:
    half = _half_width(graph, node)
    is_box = node.kind is NodeKind.BOX
    round_ = node.kind is NodeKind.OPERATOR and half == 1
    return Shape(x, y, half, 1, label=_units(node.label), inset=UNIT - RADIUS if round_ else 0.0, is_box=is_box)
