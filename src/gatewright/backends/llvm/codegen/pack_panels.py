"""Emits the copy of matrices into their panels; see `panels` for how these are laid out.

It is done at every call, since weights may have changed, and for one row of a short sequence it is a good part of all
the work. So matrices are read and panels written by whole vectors: squares of numbers are transposed in registers.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from gatewright.backends.llvm.codegen.panels import Panel, column_of
from gatewright.backends.llvm.emit.emitter import INDEX, POINTER, Emitter, Index
from gatewright.backends.llvm.emit.native import NativeModule
from gatewright.backends.llvm.emit.vector_type import Value

_Groups = tuple[Index, Index]
"""A range of the groups of a panel."""


def emit_packing(emitter: Emitter, panel: Panel, matrices: Mapping[str, Value], target: Value, groups: _Groups) -> None:
    """Emit the copy of a panel's matrices into their places, for a range of its groups."""
    for position, part in enumerate(panel.parts):
        source = matrices[part.matrix]
        if part.transposed:
            _emit_copies(emitter, panel, (position, source), target, groups)
        else:
            _emit_transposes(emitter, panel, (position, source), target, groups)


def _emit_copies(emitter: Emitter, panel: Panel, part: tuple[int, Value], target: Value, groups: _Groups) -> None:
    """The units lie side by side in memory already: every line of the matrix is dealt out to all groups."""
    position, source = part
    with emitter.loop(0, panel.depth, 1, "k") as k, emitter.loop(*groups, 1, "group") as group:
        line = emitter.address(source, emitter.mul_index(k.index, panel.units), "line")
        for block in range(panel.blocks):
            column, start = _places(emitter, panel, position, group.index, block)
            place = emitter.add_index(start, emitter.mul_index(k.index, panel.step))
            emitter.store(emitter.load(emitter.address(line, column)), emitter.address(target, place))


def _emit_transposes(emitter: Emitter, panel: Panel, part: tuple[int, Value], target: Value, groups: _Groups) -> None:
    """The lanes of a block are lines of the matrix."""
    position, source = part
    with emitter.loop(*groups, 1, "group") as group, emitter.loop(0, panel.blocks, 1, "block") as block:
        column, start = _places(emitter, panel, position, group.index, block.index)
        lines = emitter.address(source, emitter.mul_index(column, panel.depth), "lines")
        place = emitter.address(target, start, "place")
        if panel.depth >= panel.lanes:
            emitter.call(_transpose(emitter), [lines, place, panel.depth, panel.step])
        else:
            scalar = emitter.with_width(1)  # lines that are shorter than a vector
            with scalar.loop(0, panel.lanes, 1, "lane") as lane, scalar.loop(0, panel.depth, 1, "k") as k:
                at = scalar.add_index(scalar.mul_index(lane.index, panel.depth), k.index)
                to = scalar.add_index(lane.index, scalar.mul_index(k.index, panel.step))
                scalar.store(scalar.load(scalar.address(lines, at)), scalar.address(place, to))


def _places(emitter: Emitter, panel: Panel, position: int, group: Index, block: Index) -> tuple[Index, Index]:
    """The first unit of a block, and where the block begins in the panel."""
    number = emitter.add_index(emitter.mul_index(group, panel.blocks), block)
    first = emitter.add_index(block, position * panel.blocks)
    start = emitter.mul_index(group, panel.depth * panel.step)
    return column_of(emitter, number, panel.lanes, panel.units), emitter.add_index(
        start, emitter.mul_index(first, panel.lanes)
    )


def _transpose(emitter: Emitter) -> Any:
    """The function that transposes as many lines as there are lanes; a module has one for each width of vectors.

    The last square overlaps the one before it, so that no column is left over.
    """
    module, dtype, lanes = NativeModule(emitter.module), emitter.vector.dtype, emitter.vector.width
    name = f"transpose_{lanes}_lines"
    if name in module.module.globals:
        return module[name]
    arguments = {"lines": POINTER, "target": POINTER, "length": INDEX, "step": INDEX}
    # not inlined: it is called for every block of every matrix
    with (
        module.function(name, internal=True, inline=False, dtype=dtype, width=lanes, **arguments) as (e, given),
        e.loop(0, given.length, lanes, "k") as k,
    ):
        column = e.smaller_index(k.index, e.add_index(given.length, -lanes), "column")
        places = [e.add_index(e.mul_index(given.length, line), column) for line in range(lanes)]
        columns = transposed(e, [e.load(e.address(given.lines, place), "line") for place in places])
        for index, vector in enumerate(columns):
            place = e.mul_index(e.add_index(column, index), given.step)
            e.store(vector, e.address(given.target, place))
    return module[name]


def transposed(e: Emitter, lines: Sequence[Value]) -> list[Value]:
    """The columns of a square of as many lines as there are lanes.

    In each round half of every vector changes places with half of another one: first single numbers, then pairs, then
    fours.
    """
    lanes, vectors = e.vector.width, list(lines)
    distance = 1
    while distance < lanes:
        swapped = [lane ^ distance for lane in range(lanes)]
        for line_number in (line for line in range(lanes) if not line & distance):
            other = line_number | distance
            first, second = vectors[line_number], vectors[other]
            low = [lanes + swapped[lane] if lane & distance else lane for lane in range(lanes)]
            high = [lanes + lane if lane & distance else swapped[lane] for lane in range(lanes)]
            vectors[line_number], vectors[other] = (
                e.choose(first, second, low, "low"),
                e.choose(first, second, high, "high"),
            )
        distance *= 2
    return vectors
