"""Emits the rounding of matrices and vectors to whole numbers of eight bits; `gatewright.int8` says what they mean.

A panel of them has, behind the words of each group, a line of scales and one of what the offset of the vector's numbers
adds to the sums. A vector has its scale behind its words.
"""

from typing import Any

from gatewright.backends.llvm.codegen.panels import Panel
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

    It is done once for weights that do not change, so it goes from number to number.
    """
    module, lanes = NativeModule(emitter.module), emitter.vector.width
    name = f"round_lines_{lanes}_of_{panel.depth}_by_{panel.step}{'_transposed' if transposed else ''}"
    if name in module.module.globals:
        return module[name]
    arguments = {"lines": POINTER, "target": POINTER}
    along, across = (panel.units, 1) if transposed else (1, panel.depth)
    dtype = emitter.vector.dtype
    with (
        module.function(name, internal=True, inline=False, dtype=dtype, **arguments) as (e, args),
        e.loop(0, lanes, 1, "lane") as lane,
    ):
        line = e.address(args.lines, e.mul_index(lane.index, across))
        _emit_line(e, panel, line, along, e.address(args.target, lane.index))
    return module[name]


def _emit_line(e: Emitter, panel: Panel, line: Value, along: int, target: Value) -> None:
    """One line: its numbers in words, its scale, and what the offset adds to its sums."""

    def element(k: Index) -> Value:
        return e.load(e.address(line, e.mul_index(k, along)))

    with e.loop(0, panel.depth, 1, "k", {"largest": e.bits(0.0)}) as k:
        k.carry({"largest": _larger(e, k.values["largest"], element(k.index))})
    magnitude = e.from_bits(k.values["largest"])
    scale = e.select(e.compare("==", magnitude, 0.0), 1.0, e.div(magnitude, float(LARGEST)), "scale")

    def word(number: Index, count: int, total: Value) -> Value:
        bits = e.bits(0.0)
        for place in range(count):
            quotient = e.whole_quotient(element(e.add_index(e.mul_index(number, int8.NUMBERS), place)), scale)
            whole = e.larger_bits(e.smaller_bits(quotient, LARGEST), -LARGEST)
            bits = e.or_bits(bits, e.shift_left(e.and_bits(whole, 255), 8 * place))
            total = e.add_bits(total, whole)
        e.store(e.from_bits(bits), e.address(target, e.mul_index(number, panel.step)))
        return total

    with e.loop(0, panel.depth // int8.NUMBERS, 1, "word", {"total": e.bits(0.0)}) as words:
        words.carry({"total": word(words.index, int8.NUMBERS, words.values["total"])})
    total = words.values["total"]
    if panel.depth % int8.NUMBERS:
        total = word(panel.depth // int8.NUMBERS, panel.depth % int8.NUMBERS, total)
    e.store(scale, e.address(target, panel.words * panel.step))
    offset = e.from_bits(e.mul_bits(total, int8.OFFSET))
    e.store(offset, e.address(target, (panel.words + 1) * panel.step))
