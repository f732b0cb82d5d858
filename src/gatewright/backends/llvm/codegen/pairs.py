"""Emits the rounding of operands to words of two bfloat16 numbers; see `emit.bfloat16`.

A vector that is multiplied by a matrix has pairs of elements that follow one another. The operands of a sum over lines
have pairs of lines that follow one another.
"""

from dataclasses import dataclass
from typing import Any, Literal

from gatewright.backends.llvm.codegen.buffers import BufferId
from gatewright.backends.llvm.codegen.row_sums import OperandLines
from gatewright.backends.llvm.emit import bfloat16
from gatewright.backends.llvm.emit.emitter import POINTER, Emitter, Index
from gatewright.backends.llvm.emit.native import NativeModule
from gatewright.backends.llvm.emit.vector_type import Value
from gatewright.trace.ir import Var


@dataclass(frozen=True, slots=True)
class RoundedBuffer:
    """Memory for an operand of products that is rounded to words of two bfloat16 numbers.

    It has `width` words for each row of a step, each line of all steps, or each pair of lines.
    """

    value: Var
    width: int
    each: Literal["row", "line", "pair"]

    def words(self, steps: int, batch: int) -> int:
        """How many words there are for an extent."""
        lines = steps * batch
        return self.width * {"row": batch, "line": lines, "pair": -(-lines // 2)}[self.each]


def line_pairs(value: Var) -> BufferId:
    """The buffer for an operand of outer products that is rounded to pairs of lines."""
    return BufferId("pairs", value.name)


def load_neighbours(e: Emitter, pointer: Value, count: int, *, native: bool) -> Value:
    """Words of the next `count` numbers, at most two for each lane; 0 behind them."""
    lanes = e.vector.width
    first = e.load_first(pointer, min(count, lanes))
    second = e.load_first(e.address(pointer, lanes), count - lanes) if count > lanes else e.constant(0.0)
    return bfloat16.pair_neighbours(e, first, second, native=native)


def row_rounding(emitter: Emitter, depth: int, words: int) -> Any:
    """The function that rounds a vector of so many elements to so many words, zeros behind its own; a module has one
    for each depth."""
    filled = -(-depth // 2)
    module, name = NativeModule(emitter.module), f"round_{depth}" + (f"_to_{words}" if words > filled else "")
    if name in module.module.globals:
        return module[name]
    dtype, lanes = emitter.vector.dtype, emitter.vector.width
    arguments = {"source": POINTER, "target": POINTER}
    with module.function(name, internal=True, inline=False, dtype=dtype, width=lanes, **arguments) as (
        e,
        args,
    ):
        whole = depth - depth % (2 * lanes)
        with e.loop(0, whole, 2 * lanes, "k") as k:
            rounded = load_neighbours(e, e.address(args.source, k.index), 2 * lanes, native=True)
            e.store(rounded, e.address(args.target, e.div_index(k.index, 2)))
        if whole < depth:
            rounded = load_neighbours(e, e.address(args.source, whole), depth - whole, native=True)
            e.store_first(rounded, e.address(args.target, whole // 2), filled - whole // 2)
        for first in range(filled, words, lanes):
            e.store_first(e.constant(0.0), e.address(args.target, first), min(lanes, words - first))
    return module[name]


def emit_line_pairs(e: Emitter, operand: OperandLines, target: Value, span: tuple[Index, Index]) -> None:
    """Round the lines of a span, which begins at an even one; a last line without a partner is paired with zeros."""
    lanes, (first, last) = e.vector.width, span
    whole = operand.width - operand.width % lanes
    with e.loop(first, last, 2, "line") as line:
        partner = e.add_index(line.index, 1)
        is_there = e.compare_index("<", partner, last, "has_partner")
        partner = e.choose_index(is_there, partner, line.index)
        place = e.mul_index(e.div_index(line.index, 2), operand.width)

        def columns(column: Index, count: int) -> None:
            own, other = (e.load_first(operand.at(number, column), count) for number in (line.index, partner))
            words = bfloat16.pair(e, own, e.select(is_there, other, 0.0), native=True)
            e.store_first(words, e.address(target, e.add_index(place, column)), count)

        with e.loop(0, whole, lanes, "column") as column:
            columns(column.index, lanes)
        if whole < operand.width:
            columns(whole, operand.width - whole)
