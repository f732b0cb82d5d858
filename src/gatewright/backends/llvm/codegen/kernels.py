"""What is known of the kernels of a Program before they are written: their buffers, their tiles, how rows may be split.

So code from the cache is run without writing it again.
"""

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from gatewright.backends.llvm.codegen import buffers, row_sums
from gatewright.backends.llvm.codegen.amx_products import amx_bundle, amx_tile
from gatewright.backends.llvm.codegen.buffers import NARROW_BYTES, Bound, BufferId
from gatewright.backends.llvm.codegen.overlap import LoopOverlap, overlap_of, overlap_tile, split_by_product
from gatewright.backends.llvm.codegen.pairs import RoundedBuffer, line_pairs
from gatewright.backends.llvm.codegen.panels import PairedForm, Panel, panels_of
from gatewright.backends.llvm.codegen.row_sums import SumDesign
from gatewright.backends.llvm.codegen.stage import Design
from gatewright.backends.llvm.codegen.tiles import UNROLL, Tile, TileWork, bundle, choose
from gatewright.backends.llvm.codegen.unpacked import unpacked_tile
from gatewright.backends.llvm.emit.amx import TILE_ROWS, TILE_WORDS, AmxTiles
from gatewright.backends.llvm.emit.bfloat16 import LEAST_LANES
from gatewright.backends.llvm.emit.vector_type import Dtype, Products, VectorType
from gatewright.backends.llvm.jit.machine_code import Signature
from gatewright.backends.llvm.jit.target import Target
from gatewright.backends.llvm.parallel.unit_partition import StageTiles, UnitPartition, partition_units
from gatewright.backends.llvm.parallel.work_partition import PassCost, RunCost
from gatewright.schedule.narrow import Narrow, NarrowForm
from gatewright.schedule.program import Phase, Program, RowSum, Stage, Storage
from gatewright.trace.ir import Var

PASS: Signature = (ctypes.c_void_p, *[ctypes.c_int64] * 4, ctypes.c_void_p, ctypes.c_int64)

_PER_WORD: Mapping[Products, int] = {None: 1, "bfloat16": 2, "int8": 4}
"""How many numbers the words of panels hold."""
BEFORE = Phase.BEFORE
LOOP = Phase.LOOP
OVERLAPPED = "overlapped"
PACK = "pack"
PAIR = "pair"
WHOLE = "whole"
_OPERATIONS_PER_EQUATION = 16
_PASSED_ON = (Storage.INPUT, Storage.RANDOM, Storage.STATE, Storage.SEQUENCE)  # buffers with room for every step


@dataclass(frozen=True)
class Kernels:
    """The kernels of a Program bound to sizes, for `rows` rows a step or more, and `lines` rows over all steps or
    more. Those for `ragged` batches are told which lines they go through, and take any number of rows.

    With bfloat16 `products` matrices are packed in that dtype. If the target multiplies its numbers, the other operands
    of products are rounded to it too, those of outer products included. Sums are float32.

    With int8 `products` matrices are packed as whole numbers with a scale for each row, and vectors rounded to whole
    numbers too; see `gatewright.int8`.

    Values that are `narrow` lie in the caller's memory as bfloat16; see `schedule.narrow`.

    Kernels that do not `pack` read matrices where their caller holds them, and take any number of rows of a single
    step: `rows` and `lines` do not matter. They have no bfloat16 products.

    With `amx`, products of bfloat16 numbers use its tiles where there are rows and units to fill them.
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
    narrow: Narrow = field(default_factory=dict[str, NarrowForm])
    amx: type[AmxTiles] | None = None

    @cached_property
    def bound(self) -> Bound:
        """The Program with its sizes and its table of buffers, in a fixed order."""
        bound = Bound(self.program, self.sizes, self.backwards, self.narrow, self.rounds_vectors)
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
        designs = {str(name): self._designs(name, stages) for name, stages in self.program.passes() if stages}
        return designs | {str(BEFORE): self.overlap.designs} if self.overlap else designs

    @cached_property
    def overlap(self) -> LoopOverlap | None:
        """Which products of the pass before the loop are computed inside it, where one thread runs a single row.

        Not those of a gradient: its loop goes backwards, and what it multiplies comes from the loop itself.
        """
        is_plain = self.packs and not self.ragged and self.products is None and not self.backwards
        if not is_plain or self.rows > 1 or len(self.program.before) != 1:
            return None
        stages = split_by_product(self.program.before[0])
        if stages is None:
            return None
        loop = self._designs(LOOP, self.program.loop)
        streamed = next((number for number, design in enumerate(loop) if design.is_streamed), None)
        if streamed is None:
            return None
        tile = overlap_tile(loop[streamed], self.target.vector_registers)
        if tile is None:
            return None
        before = self._designs(BEFORE, stages, tile)
        overlap = overlap_of(loop, streamed, before, np.dtype(self.dtype).itemsize)
        return overlap if overlap and self.lines >= 2 * overlap.steps else None

    def _designs(self, name: Phase, stages: Sequence[Stage], tile: Tile | None = None) -> tuple[Design, ...]:
        return tuple(self._design(stage, f"{name}{index}", name, tile) for index, stage in enumerate(stages))

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
        if key.kind not in _PASSED_ON:
            return 0
        itemsize = NARROW_BYTES if key.name in self.narrow else np.dtype(self.dtype).itemsize
        return self.bound.width_of(key.name) * itemsize

    @property
    def sum_names(self) -> list[str]:
        """The name of each sum's kernel."""
        return [f"sum{number}" for number in range(len(self.sums))]

    @cached_property
    def layout(self) -> str:
        """Every choice of lanes and tiles, as text: `loop0 16 lanes, 4x2x1 of 3; ...` has tiles of 4 rows, 2 blocks and
        1 chain of each of 3 products; `by 1` says that the inner loop is not unrolled, `in AMX tiles` that AMX computes
        them. `before in loop0` says that a single row's products of the pass before are computed inside that stage."""
        stages = [
            f"{name}{index} {design.lanes} lanes, {tile.rows}x{tile.blocks}x{tile.chains} of {design.bundle}"
            + (f" by {tile.unroll}" if tile.unroll != UNROLL else "")
            + (f" in {self.amx.label}" if self.amx and design.is_amx else "")
            for name, designs in self.designs.items()
            for index, design in enumerate(designs)
            for tile in [design.tile]
        ]
        outer = [
            f"{design.name} {tile.rows}x{tile.blocks}" + (f" in panels of {design.panel}" if design.panel else "")
            for design in self.sums
            if (tile := design.tile)
        ]
        overlapped = [f"{BEFORE} in {LOOP}{self.overlap.stage}"] if self.overlap else []
        are_rounded = self.rounds_vectors or self.products == "int8"
        rounded = [f"{self.products} {'products' if are_rounded else 'matrices'}"] if self.products else []
        return "; ".join(
            [
                *stages,
                *overlapped,
                *outer,
                *(["ragged"] if self.ragged else []),
                *rounded,
                *([] if self.packs else ["unpacked"]),
            ]
        )

    @property
    def functions(self) -> Mapping[str, Signature]:
        """The names of all kernels, and what they are called with."""
        others = [
            *([OVERLAPPED] if self.overlap else []),
            *([PACK] if self.panels else []),
            *([PAIR] if self.paired else []),
        ]
        return dict.fromkeys((*self.designs, *others, *self.sum_names, WHOLE), PASS)

    @cached_property
    def sums(self) -> tuple[SumDesign, ...]:
        """How each sum over rows is done: sums of one shape share one kernel."""
        return tuple(map(self._sum_design, self.program.row_sums))

    def _design(self, stage: Stage, name: str, of_pass: str, tile: Tile | None = None) -> Design:
        sizes = Bound(self.program, self.sizes, self.backwards)
        lanes = self._lanes(stage, sizes)
        if not stage.products:
            return Design(stage, lanes, Tile(1, 1), 0, ())
        units = sizes.width(stage.products[0].target)
        if not self.packs:
            return self._unpacked_design(stage, name, sizes, lanes)
        if self._fills_amx(of_pass, lanes):
            count = amx_bundle(len(stage.products))
            tile = amx_tile(count, -(-units // lanes))
            words = PairedForm(of_pass, rounds_vectors=True, multiple=TILE_WORDS)
            panels = panels_of(sizes, stage, name, words, blocks=tile.blocks, lanes=lanes, bundled=count)
            return Design(stage, lanes, tile, count, panels, is_amx=True)
        terms = [sizes.width(term.vector) for product in stage.products for term in product.terms]
        work = TileWork(
            products=bundle(len(stage.products), self.target.vector_registers),
            depth=max(1, sum(-(-term // _PER_WORD[self.products]) for term in terms) // len(stage.products)),
            blocks=-(-units // lanes),
            rows=self.rows if of_pass == LOOP else self.lines,
        )
        tile = tile or choose(work, self.target.vector_registers, self.target.vector_bytes)
        words = self._words(of_pass, lanes)
        panels = panels_of(sizes, stage, name, words, blocks=tile.blocks, lanes=lanes, bundled=work.products)
        return Design(stage, lanes, tile, work.products, panels)

    def _fills_amx(self, of_pass: str, lanes: int) -> bool:
        """Whether the products of a pass are computed by AMX: there are rows and units for whole tiles. The rows of a
        ragged batch may lie anywhere, so that no tile can load them."""
        rows = self.rows if of_pass == LOOP else self.lines
        is_full = rows >= TILE_ROWS and lanes == TILE_WORDS
        return self.amx is not None and self.rounds_vectors and is_full and not self.ragged

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
        vector = VectorType(self.dtype, self.lanes_of(width))
        return row_sums.design_outer(height, width, vector, self.target, rounds=self.rounds_vectors)

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
