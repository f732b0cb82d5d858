"""A Program as a module of LLVM IR: one function for each pass, one to pack matrices, one for each sum over rows."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from llvmlite import ir

from gatewright.backends.llvm.codegen import buffers, row_sums
from gatewright.backends.llvm.codegen.buffers import BufferId, Memory
from gatewright.backends.llvm.codegen.kernels import BEFORE, LOOP, OVERLAPPED, PACK, PAIR, WHOLE, Kernels
from gatewright.backends.llvm.codegen.overlap import LoopOverlap, ProductsAhead
from gatewright.backends.llvm.codegen.pack_panels import emit_packing
from gatewright.backends.llvm.codegen.pairs import emit_line_pairs, line_pairs
from gatewright.backends.llvm.codegen.passes import PassEmitter, flipped
from gatewright.backends.llvm.codegen.row_sums import SUM_ARGUMENTS, OperandLines, SumDesign, SumResult
from gatewright.backends.llvm.codegen.rows import ListedRows, StepRows
from gatewright.backends.llvm.codegen.stage import Design, StageEmitter
from gatewright.backends.llvm.emit.bfloat16 import dot
from gatewright.backends.llvm.emit.emitter import INDEX, POINTER, Emitter, Index
from gatewright.backends.llvm.emit.native import NativeModule
from gatewright.backends.llvm.emit.vector_type import Value
from gatewright.backends.llvm.parallel.thread_context import ThreadContext
from gatewright.schedule.program import RowSum, Storage
from gatewright.trace.ir import Var

PASS_ARGUMENTS = {
    "table": POINTER,
    "steps": INDEX,
    "batch": INDEX,
    "first": INDEX,
    "last": INDEX,
    "context": POINTER,
    "adds": INDEX,
}
"""What every kernel is called with: the table of buffers, the extent, the rows to compute, the context of this thread
where threads share the units of these rows, and whether sums are added to what is there.

Packing is given groups of panels in place of rows, a sum the rows of its result. `whole` is given in place of `first`
whether the panels are packed already."""


def emit_module(kernels: Kernels) -> str:
    """The kernels as LLVM IR."""
    writer = _ModuleWriter(kernels)
    for name, designs in kernels.designs.items():
        writer.write_pass(name, designs)
    if kernels.overlap:
        writer.write_pass(LOOP, kernels.designs[LOOP], kernels.overlap)
    if kernels.panels:
        writer.write_packing()
    if kernels.paired:
        writer.write_pairing()
    for design in dict.fromkeys(kernels.sums):
        writer.write_sum_code(design)
    for name, row_sum, design in zip(kernels.sum_names, kernels.program.row_sums, kernels.sums, strict=True):
        writer.write_sum(name, row_sum, design)
    writer.write_whole()
    return str(writer.module)


class _ModuleWriter:
    def __init__(self, kernels: Kernels) -> None:
        self.kernels, self.bound = kernels, kernels.bound
        self.module = NativeModule(ir.Module(name=kernels.program.trace.name))

    def _function(self, name: str, arguments: Mapping[str, Any]) -> AbstractContextManager[tuple[Emitter, Any]]:
        """A function that `whole` calls, and needs no copy of."""
        return self.module.function(name, inline=False, dtype=self.kernels.dtype, **arguments)

    def write_pass(self, name: str, designs: tuple[Design, ...], overlap: LoopOverlap | None = None) -> None:
        """One pass: the loop goes through the steps, the others take all rows of all steps as one step's.

        With an `overlap`, the loop of a single row also computes the products of the pass before it, all but those of
        the first block of steps.
        """
        with self._function(OVERLAPPED if overlap else name, PASS_ARGUMENTS) as (scalar, args):
            memory = Memory(scalar, self.bound, args.table)
            tiles = self.kernels.amx(scalar) if self.kernels.amx and any(d.is_amx for d in designs) else None
            if tiles:
                tiles.configure()
            stages = [StageEmitter(scalar, memory, design, tiles) for design in designs]
            context = ThreadContext(scalar, args.context)
            ahead = None
            if overlap:
                ahead = ProductsAhead(scalar, memory, overlap, args.steps, args.batch)
            streamed = (stages[overlap.stage], ahead) if overlap and ahead else None
            emitter = PassEmitter(scalar, stages, context, self.kernels.units[name], streamed)
            zero, batch = scalar.index(0), args.batch
            active = [memory.pointer(key) for key in (buffers.LINES, buffers.STARTS)] if self.kernels.ragged else []
            if name == LOOP:
                with scalar.loop(0, args.steps, 1, "step", {"descending": zero}) as loop:
                    time = self._time(scalar, loop.index, args.steps)
                    following = scalar.add_index(time, -1 if self.kernels.backwards else 1)
                    lines = [scalar.index(scalar.mul_index(step, batch, "line")) for step in (time, following)]
                    rows = self._rows_of_step(scalar, args, lines, time, active)
                    if ahead:
                        ahead.begin_step(loop.index)
                    emitter.emit_step(rows, loop.values["descending"])
                    loop.carry({"descending": flipped(scalar, loop.values["descending"])})
            else:
                span = (args.first, args.last, batch, zero)
                rows = ListedRows(*span, lines=active[0], first_line=zero) if active else StepRows(*span)
                emitter.emit_step(rows, zero)
            if tiles:
                tiles.release()

    def _rows_of_step(
        self, e: Emitter, args: Any, lines: Sequence[Value], time: Index, active: Sequence[Value]
    ) -> StepRows:
        first, last, batch = args.first, args.last, args.batch
        if not active:
            return StepRows(first, last, batch, *lines)
        start, end = (e.load_index(active[1], e.add_index(time, ahead), "start") for ahead in (0, 1))
        count = e.add_index(end, e.mul_index(start, -1), "count")
        last = e.smaller_index(last, count, "last")
        return ListedRows(first, last, batch, *lines, lines=active[0], first_line=start)

    def _time(self, e: Emitter, index: Any, steps: Any) -> Any:
        if not self.kernels.backwards:
            return index
        return e.add_index(e.add_index(steps, -1), e.mul_index(index, -1), "time")

    def write_packing(self) -> None:
        """The copy of matrices into their panels, for a range of the groups of all."""
        with self._function(PACK, PASS_ARGUMENTS) as (scalar, args):
            memory = Memory(scalar, self.bound, args.table)
            panels = self.kernels.panels
            targets = [memory.pointer(panel.key) for panel in panels]
            names = [[part.matrix for part in panel.parts] for panel in panels]
            sources = [{name: memory.pointer(BufferId(Storage.SHARED, name)) for name in own} for own in names]
            before = 0
            for panel, matrices, target in zip(panels, sources, targets, strict=True):
                first = scalar.larger_index(scalar.add_index(args.first, -before), 0)
                last = scalar.smaller_index(scalar.add_index(args.last, -before), panel.groups)
                wide, native = scalar.with_width(panel.lanes), self.kernels.rounds_vectors
                emit_packing(wide, panel, matrices, target, (first, last), native=native)
                before += panel.groups

    def write_pairing(self) -> None:
        """The rounding of the operands of outer products, for a range of lines that begins at an even one."""
        with self._function(PAIR, PASS_ARGUMENTS) as (scalar, args):
            memory, paired = Memory(scalar, self.bound, args.table), self.kernels.paired
            active = memory.pointer(buffers.LINES) if self.kernels.ragged else None
            sources = [self._operand(scalar, memory, value, args.batch) for value in paired]
            targets = [memory.pointer(line_pairs(value)) for value in paired]
            for buffer, source, target in zip(paired.values(), sources, targets, strict=True):
                lines, wide = OperandLines(scalar, source, buffer.width, active), self.kernels.lanes_of(buffer.width)
                emit_line_pairs(scalar.with_width(wide), lines, target, (args.first, args.last))

    def write_sum_code(self, design: SumDesign) -> None:
        """The code of all sums of one shape over all rows of all steps."""
        is_listed = self.kernels.ragged and not design.has_pairs  # pairs are of the lines that there are
        lines = {"active": POINTER} if is_listed else {}  # which lines of a ragged batch there are
        with self._function(design.name, SUM_ARGUMENTS | lines) as (scalar, args):
            wide, active = scalar.with_width(design.lanes), getattr(args, "active", None)
            left = OperandLines(scalar, args.left, design.height, active)
            result = SumResult(args.result, args.adds)
            if design.tile is None:
                row_sums.emit_sum(wide, left, result, args.lines)
            else:
                right, span = OperandLines(scalar, args.right, design.width, active), (args.first, args.last)
                multiply = dot if design.has_pairs else Emitter.fma
                row_sums.emit_outer(wide, left, right, result, design, args.lines, span, multiply)

    def write_sum(self, name: str, row_sum: RowSum, design: SumDesign) -> None:
        """One sum, with its operands and its result out of the table."""
        with self._function(name, PASS_ARGUMENTS) as (scalar, args):
            memory, batch = Memory(scalar, self.bound, args.table), args.batch
            lines = self._lines(scalar, memory, args)
            active = [memory.pointer(buffers.LINES)] if self.kernels.ragged and not design.has_pairs else []
            if design.has_pairs and row_sum.right is not None:
                left, right = (memory.pointer(line_pairs(value)) for value in (row_sum.left, row_sum.right))
                lines = scalar.div_index(scalar.add_index(lines, 1), 2, "pairs")
            else:
                left = self._operand(scalar, memory, row_sum.left, batch)
                right = left if row_sum.right is None else self._operand(scalar, memory, row_sum.right, batch)
            span = (lines, args.first, args.last)
            operands = (left, right, memory.pointer(buffers.sum_buffer(row_sum)))
            scalar.call(self.module[design.name], [*operands, *span, args.adds, *active])

    def write_whole(self) -> None:
        """All kernels one after the other, for all rows, by one thread."""
        with self._function(WHOLE, PASS_ARGUMENTS) as (scalar, args):
            table, zero = args.table, scalar.index(0)
            memory = Memory(scalar, self.bound, table)
            lines = self._lines(scalar, memory, args)

            def call(name: str, rows: Index) -> None:
                arguments = [table, args.steps, args.batch, zero, rows, args.context, args.adds]
                scalar.call(self.module[name], arguments)

            if self.kernels.panels:
                with scalar.when(scalar.compare_index("==", args.first, 0), "packing"):
                    call(PACK, self.kernels.groups)
            overlap = self.kernels.overlap
            if overlap:
                self._call_overlapped(scalar, overlap, args, lines, call)
            for name in self.kernels.designs:
                if not overlap or name not in (BEFORE, LOOP):
                    call(name, args.batch if name == LOOP else lines)
            if self.kernels.paired:
                call(PAIR, lines)
            for name, design in zip(self.kernels.sum_names, self.kernels.sums, strict=True):
                call(name, design.height)

    def _call_overlapped(
        self, e: Emitter, overlap: LoopOverlap, args: Any, lines: Value, call: Callable[[str, Index], None]
    ) -> None:
        """The loop and the pass before it; of a single row of two blocks of steps or more, only the first block is
        computed before the loop."""
        steps = e.choose_index(e.compare_index("==", args.batch, 1), args.steps, 0, "steps_of_one_row")
        is_overlapped = e.compare_index(">=", steps, 2 * overlap.steps, "is_overlapped")
        call(BEFORE, e.choose_index(is_overlapped, overlap.steps, lines))
        with e.when(is_overlapped, OVERLAPPED):
            call(OVERLAPPED, args.batch)
        with e.when(e.compare_index("<", steps, 2 * overlap.steps), "one_after_the_other"):
            call(LOOP, args.batch)

    def _lines(self, e: Emitter, memory: Memory, args: Any) -> Value:
        """How many rows there are over all steps."""
        if self.kernels.ragged:
            return e.load_index(memory.pointer(buffers.STARTS), args.steps, "lines")
        return e.index(e.mul_index(args.steps, args.batch, "lines"))

    def _operand(self, e: Emitter, memory: Memory, value: Var, batch: Any) -> Any:
        """Where the first line of a value lies that is summed."""
        shift = self.bound.shift(value) * self.bound.width(value)
        return e.address(memory.pointer(self.bound.buffer_of(value)), e.mul_index(batch, shift))
