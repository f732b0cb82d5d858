"""A Program as a module of LLVM IR: one function for each pass, one to pack matrices, one for each sum over rows.

What a caller must know of the kernels (which buffers, how large, how rows may be split) is known before any IR is
written, so that code from the cache is run without writing it again.
"""

import ctypes
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from llvmlite import ir

from gatewright.backends.llvm.codegen import buffers, row_sums
from gatewright.backends.llvm.codegen.buffers import Bound, BufferId, Memory
from gatewright.backends.llvm.codegen.pack_panels import emit_packing
from gatewright.backends.llvm.codegen.pairs import RoundedBuffer, emit_line_pairs, line_pairs
from gatewright.backends.llvm.codegen.panels import PairedForm, Panel, panels_of
from gatewright.backends.llvm.codegen.passes import PassEmitter, flipped
from gatewright.backends.llvm.codegen.row_sums import SUM_ARGUMENTS, OperandLines, SumDesign, SumResult
from gatewright.backends.llvm.codegen.rows import ListedRows, StepRows
from gatewright.backends.llvm.codegen.stage import Design, StageEmitter
from gatewright.backends.llvm.codegen.tiles import UNROLL, Tile, TileWork, bundle, choose
from gatewright.backends.llvm.codegen.unpacked import unpacked_tile
from gatewright.backends.llvm.emit.bfloat16 import LEAST_LANES, dot
from gatewright.backends.llvm.emit.emitter import INDEX, POINTER, Emitter, Index
from gatewright.backends.llvm.emit.native import NativeModule
from gatewright.backends.llvm.emit.vector_type import Dtype, Products, Value
from gatewright.backends.llvm.jit.machine_code import Signature
from gatewright.backends.llvm.jit.target import Target
from gatewright.backends.llvm.parallel.thread_context import ThreadContext
from gatewright.backends.llvm.parallel.unit_partition import StageTiles, UnitPartition, partition_units
from gatewright.backends.llvm.parallel.work_partition import PassCost, RunCost
from gatewright.schedule.program import Phase, Program, RowSum, Stage, Storage
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
PASS: Signature = (ctypes.c_void_p, *[ctypes.c_int64] * 4, ctypes.c_void_p, ctypes.c_int64)

_PER_WORD: Mapping[Products, int] = {None: 1, "bfloat16": 2, "int8": 4}
"""How many numbers the words of panels hold."""
LOOP = Phase.LOOP
PACK = "pack"
PAIR = "pair"
WHOLE = "whole"
_OPERATIONS_PER_EQUATION = 16
_PASSED_ON = (Storage.INPUT, Storage.STATE, Storage.SEQUENCE)  # buffers with room for every step


@dataclass(frozen=True)
class Kernels:
    """The kernels of a Program bound to sizes, for `rows` rows a step or more, and `lines` rows over all steps or
    more. Those for `ragged` batches are told which lines they go through, and take any number of rows.

    With bfloat16 `products` matrices are packed in that dtype. If the target multiplies its numbers, the other operands
    of products are rounded to it too, those of outer products included. Sums are float32.

    With int8 `products` matrices are packed as whole numbers with a scale for each row, and vectors rounded to whole
    numbers too; see `gatewright.int8`.

    Kernels that do not `pack` read matrices where their caller holds them, and take any number of rows of a single
    step: `rows` and `lines` do not matter. They have no bfloat16 products.
    """

    program: Program
    sizes: Mapping[str, int]
    dtype: Dtype
    target: Target
    backwards: bool
    rows: int
    lines: int
    ragged: bool = False
    products: Products = None
    packs: bool = True

    @cached_property
    def bound(self) -> Bound:
        """The Program with its sizes and its table of buffers, in a fixed order."""
        bound = Bound(self.program, self.sizes, self.backwards)
        keys = [*buffers.outside_buffers(self.program), *buffers.inside_buffers(self.program)]
        keys += [*(panel.key for panel in self.panels), *map(buffers.sum_buffer, self.program.row_sums)]
        keys += self.rounded
        keys += (buffers.LINES, buffers.STARTS) if self.ragged else ()
        for key in keys:
            bound.slot(key)
        return bound

    @cached_property
    def designs(self) -> Mapping[str, tuple[Design, ...]]:
        """The stages of every pass that has any."""
        return {
            name: tuple(self._design(stage, f"{name}{index}", name) for index, stage in enumerate(stages))
            for name, stages in self.program.passes()
            if stages
        }

    @property
    def panels(self) -> list[Panel]:
        """All packed matrices."""
        if not self.packs:
            return []
        return [panel for designs in self.designs.values() for design in designs for panel in design.panels]

    @property
    def rounds_vectors(self) -> bool:
        """Whether operands of products that are not packed are rounded to bfloat16."""
        return self.products == "bfloat16" and self.target.has_bfloat16_dot

    @cached_property
    def rounded(self) -> Mapping[BufferId, RoundedBuffer]:
        """The buffers for operands that are rounded to words."""
        rounded: dict[BufferId, RoundedBuffer] = {}
        for name, designs in self.designs.items():
            each = "row" if name == LOOP else "line"
            for panel in (panel for design in designs for panel in design.panels):
                if panel.operand:
                    rounded[panel.operand] = RoundedBuffer(panel.vector, panel.length, each)
        return rounded | {line_pairs(value): buffer for value, buffer in self.paired.items()}

    @cached_property
    def paired(self) -> Mapping[Var, RoundedBuffer]:
        """The operands of outer products that are rounded to bfloat16."""
        sums = zip(self.program.row_sums, self.sums, strict=True)
        operands = (value for row_sum, design in sums if design.has_pairs for value in (row_sum.left, row_sum.right))
        widths = Bound(self.program, self.sizes, self.backwards)
        return {value: RoundedBuffer(value, widths.width(value), "pair") for value in operands if value}

    @property
    def groups(self) -> int:
        """The groups of all panels together."""
        return sum(panel.groups for panel in self.panels)

    @cached_property
    def units(self) -> Mapping[str, UnitPartition]:
        """How threads share the units of each pass."""
        return {
            name: partition_units(
                self.program,
                self.sizes,
                [
                    StageTiles(
                        design.stage,
                        design.lanes,
                        design.tile.blocks if design.panels else None,
                        rounds=any(panel.operand for panel in design.panels),
                    )
                    for design in designs
                ],
                repeats=name == LOOP,
            )
            for name, designs in self.designs.items()
        }

    @cached_property
    def cost(self) -> RunCost:
        """What a run costs, for those who partition it."""
        sums = sum(2 * design.height * design.width for design in self.sums)
        return RunCost({name: self._pass_cost(name) for name in self.designs}, sums)

    def _pass_cost(self, name: str) -> PassCost:
        designs = self.designs[name]
        equations = sum(len(design.stage.equations) for design in designs) * max(self.sizes.values())
        products = sum(2 * panel.size for design in designs for panel in design.panels)  # packed or not
        return PassCost(
            operations=products + _OPERATIONS_PER_EQUATION * equations,
            # Tiles overlap, but reach back to no other part.
            min_rows=max(design.tile.rows for design in designs),
            units=self.units[name],
            in_loop=name == LOOP,
        )

    def line_bytes(self, key: BufferId) -> int:
        """The size of one row at one step in a buffer that has room for every step, else 0."""
        return self.bound.width_of(key.name) * np.dtype(self.dtype).itemsize if key.kind in _PASSED_ON else 0

    @property
    def sum_names(self) -> list[str]:
        """The name of each sum's kernel."""
        return [f"sum{number}" for number in range(len(self.sums))]

    @cached_property
    def layout(self) -> str:
        """Every choice of lanes and tiles, as text: `loop0 16 lanes, 4x2x1 of 3; ...` has tiles of 4 rows, 2 blocks and
        1 chain of each of 3 products; `by 1` says that the inner loop is not unrolled."""
        stages = [
            f"{name}{index} {design.lanes} lanes, {tile.rows}x{tile.blocks}x{tile.chains} of {design.bundle}"
            + (f" by {tile.unroll}" if tile.unroll != UNROLL else "")
            for name, designs in self.designs.items()
            for index, design in enumerate(designs)
            for tile in [design.tile]
        ]
        outer = [f"{design.name} {design.tile.rows}x{design.tile.blocks}" for design in self.sums if design.tile]
        are_rounded = self.rounds_vectors or self.products == "int8"
        rounded = [f"{self.products} {'products' if are_rounded else 'matrices'}"] if self.products else []
        return "; ".join([*stages, *outer, *(["ragged"] if self.ragged else []), *rounded])

        rounded = [f"{self.products} {'products' if self.rounds_vectors else 'matrices'}"] if self.products else []
        return "; ".join(
            [*stages, *outer, *(["ragged"] if self.ragged else []), *rounded, *([] if self.packs else ["unpacked"])]
        )

    @property
    def functions(self) -> Mapping[str, Signature]:
        """The names of all kernels, and what they are called with."""
        others = [*([PACK] if self.panels else []), *([PAIR] if self.paired else [])]
        return dict.fromkeys((*self.designs, *others, *self.sum_names, WHOLE), PASS)

    @cached_property
    def sums(self) -> tuple[SumDesign, ...]:
        """How each sum over rows is done: sums of one shape share one kernel."""
        return tuple(map(self._sum_design, self.program.row_sums))

    def emit(self) -> str:
        """The module as LLVM IR."""
        writer = _ModuleWriter(self)
        for name, designs in self.designs.items():
            writer.write_pass(name, designs)
        if self.panels:
            writer.write_packing()
        if self.paired:
            writer.write_pairing()
        for design in dict.fromkeys(self.sums):
            writer.write_sum_code(design)
        for name, row_sum, design in zip(self.sum_names, self.program.row_sums, self.sums, strict=True):
            writer.write_sum(name, row_sum, design)
        writer.write_whole()
        return str(writer.module)

    def _design(self, stage: Stage, name: str, of_pass: str) -> Design:
        sizes = Bound(self.program, self.sizes, self.backwards)
        lanes = self._lanes(stage, sizes)
        if not stage.products:
            return Design(stage, lanes, Tile(1, 1), 0, ())
        units = sizes.width(stage.products[0].target)
        if not self.packs:
            return self._unpacked_design(stage, name, sizes, lanes)
        terms = [sizes.width(term.vector) for product in stage.products for term in product.terms]
        work = TileWork(
            products=bundle(len(stage.products), self.target.vector_registers),
            depth=max(1, sum(-(-term // _PER_WORD[self.products]) for term in terms) // len(stage.products)),
            blocks=-(-units // lanes),
            rows=self.rows if of_pass == LOOP else self.lines,
        )
        tile = choose(work, self.target.vector_registers, self.target.vector_bytes)
        words = self._words(of_pass, lanes)
        panels = panels_of(sizes, stage, name, words, blocks=tile.blocks, lanes=lanes, bundled=work.products)
        return Design(stage, lanes, tile, work.products, panels)

    def _words(self, of_pass: str, lanes: int) -> PairedForm | None:
        """The words that the panels of a pass consist of, if not of elements."""
        if self.products == "int8":
            return PairedForm(of_pass, rounds_vectors=True, has_whole_numbers=True, has_dot=self.target.has_int8_dot)
        return PairedForm(of_pass, self.rounds_vectors and lanes >= LEAST_LANES) if self.products else None

    def _unpacked_design(self, stage: Stage, name: str, sizes: Bound, lanes: int) -> Design:
        """A stage with matrices that are read where they are. Its panels say what is multiplied, but are not made."""
        units, count = sizes.width(stage.products[0].target), len(stage.products)
        registers = self.target.vector_registers
        tile = unpacked_tile(registers, self.target.lanes(self.dtype), units // lanes)
        panels = panels_of(sizes, stage, name, None, blocks=tile.blocks, lanes=lanes, bundled=count)
        return Design(stage, lanes, Tile(1, tile.blocks), count, panels, tile)

    def _sum_design(self, total: RowSum) -> SumDesign:
        bound = Bound(self.program, self.sizes, self.backwards)
        height = bound.width(total.left)
        if total.right is None:
            return SumDesign(f"total_{height}", height, 1, self.lanes_of(height), None)
        width = bound.width(total.right)
        return row_sums.design_outer(height, width, self.lanes_of(width), self.target, rounds=self.rounds_vectors)

    def _lanes(self, stage: Stage, bound: Bound) -> int:
        if stage.reductions:
            return min(self.lanes_of(bound.width(reduction.vector)) for reduction in stage.reductions)
        return self.lanes_of(self.sizes[stage.axis]) if stage.axis else 1

    def lanes_of(self, units: int) -> int:
        """The widest vector that `units` fill at least once."""
        lanes = self.target.lanes(self.dtype)
        while lanes > max(units, 1):
            lanes //= 2
        return lanes


class _ModuleWriter:
    def __init__(self, kernels: Kernels) -> None:
        self.kernels, self.bound = kernels, kernels.bound
        self.module = NativeModule(ir.Module(name=kernels.program.trace.name))

    def _function(self, name: str, arguments: Mapping[str, Any]) -> AbstractContextManager[tuple[Emitter, Any]]:
        """A function that `whole` calls, and needs no copy of."""
        return self.module.function(name, inline=False, dtype=self.kernels.dtype, **arguments)

    def write_pass(self, name: str, designs: tuple[Design, ...]) -> None:
        """One pass: the loop goes through the steps, the others take all rows of all steps as one step's."""
        with self._function(name, PASS_ARGUMENTS) as (scalar, args):
            memory = Memory(scalar, self.bound, args.table)
            stages = [StageEmitter(scalar, memory, design) for design in designs]
            context = ThreadContext(scalar, args.context)
            emitter = PassEmitter(scalar, stages, context, self.kernels.units[name])
            zero, batch = scalar.index(0), args.batch
            active = [memory.pointer(key) for key in (buffers.LINES, buffers.STARTS)] if self.kernels.ragged else []
            if name == LOOP:
                with scalar.loop(0, args.steps, 1, "step", {"descending": zero}) as loop:
                    time = self._time(scalar, loop.index, args.steps)
                    following = scalar.add_index(time, -1 if self.kernels.backwards else 1)
                    lines = [scalar.index(scalar.mul_index(step, batch, "line")) for step in (time, following)]
                    rows = self._rows_of_step(scalar, args, lines, time, active)
                    emitter.emit_step(rows, loop.values["descending"])
                    loop.carry({"descending": flipped(scalar, loop.values["descending"])})
            else:
                span = (args.first, args.last, batch, zero)
                rows = ListedRows(*span, lines=active[0], first_line=zero) if active else StepRows(*span)
                emitter.emit_step(rows, zero)

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
                multiply = partial(dot, wide) if design.has_pairs else wide.fma
                row_sums.emit_outer(wide, left, right, result, design.tile, args.lines, span, multiply)

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
            for name in self.kernels.designs:
                call(name, args.batch if name == LOOP else lines)
            if self.kernels.paired:
                call(PAIR, lines)
            for name, design in zip(self.kernels.sum_names, self.kernels.sums, strict=True):
                call(name, design.height)

    def _lines(self, e: Emitter, memory: Memory, args: Any) -> Value:
        """How many rows there are over all steps."""
        if self.kernels.ragged:
            return e.load_index(memory.pointer(buffers.STARTS), args.steps, "lines")
        return e.index(e.mul_index(args.steps, args.batch, "lines"))

    def _operand(self, e: Emitter, memory: Memory, value: Var, batch: Any) -> Any:
        """Where the first line of a value lies that is summed."""
        shift = self.bound.shift(value) * self.bound.width(value)
        return e.address(memory.pointer(self.bound.buffer_of(value)), e.mul_index(batch, shift))
