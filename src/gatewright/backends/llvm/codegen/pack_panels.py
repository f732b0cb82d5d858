"""Emits the copy of matrices into their panels; see `panels` for how these are laid out.

It is done at every call, since weights may have changed, and for one row of a short sequence it is a good part of all
the work. So matrices are read and panels written by whole vectors: squares of numbers are transposed in registers.
"""

from collections.abc import Mapping
from typing import Any

from gatewright.backends.llvm.codegen.pairs import load_neighbours
from gatewright.backends.llvm.codegen.panels import Panel, column_of
from gatewright.backends.llvm.codegen.transposes import transposed_square
from gatewright.backends.llvm.codegen.whole_numbers import matrix_rounding
from gatewright.backends.llvm.emit import bfloat16
from gatewright.backends.llvm.emit.emitter import INDEX, POINTER, Emitter, Index
from gatewright.backends.llvm.emit.native import NativeModule
from gatewright.backends.llvm.emit.vector_type import Value

_Groups = tuple[Index, Index]
"""A range of the groups of a panel."""


def emit_packing(
    emitter: Emitter, panel: Panel, matrices: Mapping[str, Value], target: Value, groups: _Groups, *, native: bool
) -> None:
    """Emit the copy of a panel's matrices into their places, for a range of its groups.

    `native` says that the processor has instructions for bfloat16.
    """
    for position, part in enumerate(panel.parts):
        source = matrices[part.matrix]
        if panel.has_whole_numbers:
            _emit_whole_numbers(emitter, panel, (position, source), target, groups, transposed=part.transposed)
        elif not part.transposed:
            _emit_transposes(emitter, panel, (position, source), target, groups, native=native)
        elif panel.has_pairs:
            _emit_pairs_of_lines(emitter, panel, (position, source), target, groups, native=native)
        else:
            _emit_copies(emitter, panel, (position, source), target, groups)
    if panel.words > panel.filled:
        _emit_padding(emitter, panel, target, groups)


def _emit_padding(emitter: Emitter, panel: Panel, target: Value, groups: _Groups) -> None:
    """Words of zeros behind the others."""
    with emitter.loop(*groups, 1, "group") as group:
        start = emitter.mul_index(group.index, panel.length * panel.step)
        with emitter.loop(panel.filled * panel.step, panel.words * panel.step, panel.lanes, "padding") as place:
            at = emitter.address(target, emitter.add_index(start, place.index))
            emitter.store(emitter.constant(0.0), at)


def _emit_copies(emitter: Emitter, panel: Panel, part: tuple[int, Value], target: Value, groups: _Groups) -> None:
    """The units lie side by side in memory already: every line of the matrix is dealt out to all groups."""
    position, source = part
    with emitter.loop(0, panel.depth, 1, "k") as k, emitter.loop(*groups, 1, "group") as group:
        line = emitter.address(source, emitter.mul_index(k.index, panel.units), "line")
        for block in range(panel.blocks):
            column, start = _places(emitter, panel, position, group.index, block)
            place = emitter.add_index(start, emitter.mul_index(k.index, panel.step))
            emitter.store(emitter.load(emitter.address(line, column)), emitter.address(target, place))


def _emit_whole_numbers(
    emitter: Emitter, panel: Panel, part: tuple[int, Value], target: Value, groups: _Groups, *, transposed: bool
) -> None:
    """Lines are rounded to whole numbers, each with a scale of its own."""
    position, source = part
    with emitter.loop(*groups, 1, "group") as group, emitter.loop(0, panel.blocks, 1, "block") as block:
        column, start = _places(emitter, panel, position, group.index, block.index)
        lines = emitter.address(source, column if transposed else emitter.mul_index(column, panel.depth), "lines")
        rounding = matrix_rounding(emitter, panel, transposed=transposed)
        emitter.call(rounding, [lines, emitter.address(target, start, "place")])


def _emit_pairs_of_lines(
    emitter: Emitter, panel: Panel, part: tuple[int, Value], target: Value, groups: _Groups, *, native: bool
) -> None:
    """The same for words: each holds numbers of two lines that follow one another."""
    position, source = part

    def pairs(word: Index, group: Index, others: Value | None) -> None:
        line = emitter.address(source, emitter.mul_index(word, 2 * panel.units), "line")
        for block in range(panel.blocks):
            column, start = _places(emitter, panel, position, group, block)
            place = emitter.add_index(start, emitter.mul_index(word, panel.step))
            first = emitter.load(emitter.address(line, column))
            second = (
                others
                if others is not None
                else emitter.load(emitter.address(line, emitter.add_index(column, panel.units)))
            )
            emitter.store(bfloat16.pair(emitter, first, second, native=native), emitter.address(target, place))

    with emitter.loop(0, panel.depth // 2, 1, "word") as word, emitter.loop(*groups, 1, "group") as group:
        pairs(word.index, group.index, None)
    if panel.depth % 2:
        with emitter.loop(*groups, 1, "group") as group:
            pairs(panel.depth // 2, group.index, emitter.constant(0.0))


def _emit_transposes(
    emitter: Emitter, panel: Panel, part: tuple[int, Value], target: Value, groups: _Groups, *, native: bool
) -> None:
    """The lanes of a block are lines of the matrix."""
    position, source = part
    with emitter.loop(*groups, 1, "group") as group, emitter.loop(0, panel.blocks, 1, "block") as block:
        column, start = _places(emitter, panel, position, group.index, block.index)
        lines = emitter.address(source, emitter.mul_index(column, panel.depth), "lines")
        place = emitter.address(target, start, "place")
        if panel.has_pairs:
            emitter.call(_transpose_pairs(emitter, panel.depth, native=native), [lines, place, panel.step])
        elif panel.depth >= panel.lanes:
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
    start = emitter.mul_index(group, panel.length * panel.step)
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
        columns = transposed_square(e, [e.load(e.address(given.lines, place), "line") for place in places])
        for index, vector in enumerate(columns):
            place = e.mul_index(e.add_index(column, index), given.step)
            e.store(vector, e.address(given.target, place))
    return module[name]


def _transpose_pairs(emitter: Emitter, depth: int, *, native: bool) -> Any:
    """The function that rounds as many lines as there are lanes to words of pairs, and transposes the words; a module
    has one for each depth and width of vectors."""
    module, dtype, lanes = NativeModule(emitter.module), emitter.vector.dtype, emitter.vector.width
    name = f"transpose_pairs_{lanes}_lines_of_{depth}"
    if name in module.module.globals:
        return module[name]
    arguments = {"lines": POINTER, "target": POINTER, "step": INDEX}
    with module.function(name, internal=True, inline=False, dtype=dtype, width=lanes, **arguments) as (e, args):

        def square(column: Index, count: int) -> None:
            places = [e.address(args.lines, e.add_index(column, depth * line), "line") for line in range(lanes)]
            words = transposed_square(e, [load_neighbours(e, place, count, native=native) for place in places])
            first = column // 2 if isinstance(column, int) else e.div_index(column, 2)
            for index, vector in enumerate(words[: -(-count // 2)]):
                place = e.mul_index(e.add_index(first, index), args.step)
                e.store(vector, e.address(args.target, place))

        whole = depth - depth % (2 * lanes)
        with e.loop(0, whole, 2 * lanes, "k") as k:
            square(k.index, 2 * lanes)
        if whole < depth:
            square(whole, depth - whole)
    return module[name]
