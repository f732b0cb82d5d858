"""Emits the rounding of matrices and vectors to whole numbers of eight bits; `gatewright.int8` says what they mean.

A panel of them has, behind the words of each group, a line of scales and one of what the offset of the vector's numbers
adds to the sums. A vector has its scale behind its words.
"""

from typing import Any

from gatewright.backends.llvm.codegen.panels import Panel
from gatewright.backends.llvm.codegen.transposes import transposed_square
from gatewright.backends.llvm.emit import int8
from gatewright.backends.llvm.emit.emitter import POINTER, Emitter, Index
from gatewright.backends.llvm.emit.native import NativeModule
from gatewright.backends.llvm.emit.vector_type import Value
from gatewright.int8 import LARGEST, LEAST

_MAGNITUDE = 0x7FFFFFFF  # a number's bits without its sign: as integers they have the order of magnitudes, NaN last


def vector_rounding(emitter: Emitter, depth: int) -> Any:
    """The function that rounds a vector of so many elements; a module has one for each depth."""
    module, name = NativeModule(emitter.module), f"round_to_bytes_{depth}"
    if name in module.module.globals:
        return module[name]
    dtype, lanes = emitter.vector.dtype, emitter.vector.width
    arguments = {"source": POINTER, "target": POINTER}
    with module.function(name, internal=True, inline=False, dtype=dtype, width=lanes, **arguments) as (e, args):
        scalar, whole = e.with_width(1), depth - depth % lanes
        with e.loop(0, whole, lanes, "k", {"largest": e.bits(0.0)}) as k:
            k.carry({"largest": _larger(e, k.values["largest"], e.load(e.address(args.source, k.index)))})
        largest = k.values["largest"]
        if whole < depth:
            largest = _larger(e, largest, e.load_first(e.address(args.source, whole), depth - whole))
        magnitude = scalar.from_bits(int8.largest_lane(e, largest), "magnitude")
        is_zero = scalar.compare("<", magnitude, LEAST)  # false for NaN, which is to reach the result
        inverse = e.splat(scalar.select(is_zero, 0.0, scalar.div(float(LARGEST), magnitude)), "inverse")

        def numbers(column: Index, count: int) -> None:
            rounded = e.to_whole(e.mul(e.load_first(e.address(args.source, column), count), inverse))
            e.store_bytes(e.add_bits(rounded, int8.OFFSET), e.byte_address(args.target, column), count)

        with e.loop(0, whole, lanes, "column") as column:
            numbers(column.index, lanes)
        if whole < depth:
            numbers(whole, depth - whole)
        scalar.store(scalar.mul(magnitude, 1 / LARGEST), scalar.address(args.target, -(-depth // int8.NUMBERS)))
    return module[name]


def _larger(e: Emitter, largest: Value, numbers: Value) -> Value:
    return e.larger_bits(largest, e.and_bits(e.bits(numbers), _MAGNITUDE))


def matrix_rounding(emitter: Emitter, panel: Panel, *, transposed: bool) -> Any:
    """The function that rounds as many lines of a matrix as there are lanes, and writes them to their block of a panel.

    Each lane has a line: its numbers in words, its scale, and what the offset adds to its sums.
    """
    module, lanes = NativeModule(emitter.module), emitter.vector.width
    name = f"round_lines_{lanes}_of_{panel.depth}_by_{panel.step}{'_transposed' if transposed else ''}"
    if name in module.module.globals:
        return module[name]
    arguments = {"lines": POINTER, "target": POINTER}
    dtype = emitter.vector.dtype
    with module.function(name, internal=True, inline=False, dtype=dtype, width=lanes, **arguments) as (e, args):
        _emit_lines(e, panel, _LineReader(e, args.lines, panel, transposed=transposed), args.target)
    return module[name]


class _LineReader:
    """Reads elements of the same number of as many lines as there are lanes."""

    def __init__(self, e: Emitter, lines: Value, panel: Panel, *, transposed: bool) -> None:
        self._e, self._lines, self._panel, self._is_transposed = e, lines, panel, transposed

    def columns(self, first: Index, count: int) -> list[Value]:
        """The elements `first` to `first + count`, a vector for each."""
        if self._is_transposed:
            places = (self._e.mul_index(self._e.add_index(first, k), self._panel.units) for k in range(count))
            return [self._e.load(self._e.address(self._lines, place)) for place in places]
        lanes = self._e.vector.width
        squares = [self._square(self._e.add_index(first, k), min(lanes, count - k)) for k in range(0, count, lanes)]
        return [column for square in squares for column in square]

    def _square(self, first: Index, count: int) -> list[Value]:
        e, depth = self._e, self._panel.depth
        places = [e.address(self._lines, e.add_index(first, line * depth)) for line in range(e.vector.width)]
        lines = [e.load(place) if count == e.vector.width else e.load_first(place, count) for place in places]
        return transposed_square(e, lines)[:count]


def _emit_lines(e: Emitter, panel: Panel, lines: _LineReader, target: Value) -> None:
    width = max(e.vector.width, int8.NUMBERS)  # columns that are read together: whole words of them
    whole = panel.depth - panel.depth % width

    def larger(largest: Value, first: Index, count: int) -> Value:
        for column in lines.columns(first, count):
            largest = _larger(e, largest, column)
        return largest

    with e.loop(0, whole, width, "k", {"largest": e.bits(0.0)}) as k:
        k.carry({"largest": larger(k.values["largest"], k.index, width)})
    largest = k.values["largest"]
    if whole < panel.depth:
        largest = larger(largest, whole, panel.depth - whole)
    magnitude = e.from_bits(largest)
    scale = e.select(e.compare("==", magnitude, 0.0), 1.0, e.div(magnitude, float(LARGEST)), "scale")

    def words(first: Index, word: Index, count: int, total: Value) -> Value:
        columns = lines.columns(first, count)
        for start in range(0, count, int8.NUMBERS):
            bits = e.bits(0.0)
            for place, column in enumerate(columns[start : start + int8.NUMBERS]):
                number = e.larger_bits(e.smaller_bits(e.whole_quotient(column, scale), LARGEST), -LARGEST)
                bits = e.or_bits(bits, e.shift_left(e.and_bits(number, 255), 8 * place))
                total = e.add_bits(total, number)
            line = e.mul_index(e.add_index(word, start // int8.NUMBERS), panel.step)
            e.store(e.from_bits(bits), e.address(target, line))
        return total

    with e.loop(0, whole, width, "column", {"total": e.bits(0.0)}) as k:
        first = e.div_index(k.index, int8.NUMBERS)
        k.carry({"total": words(k.index, first, width, k.values["total"])})
    total = k.values["total"]
    if whole < panel.depth:
        total = words(whole, whole // int8.NUMBERS, panel.depth - whole, total)
    e.store(scale, e.address(target, panel.words * panel.step))
    offset = e.from_bits(e.mul_bits(total, int8.OFFSET))
    e.store(offset, e.address(target, (panel.words + 1) * panel.step))
