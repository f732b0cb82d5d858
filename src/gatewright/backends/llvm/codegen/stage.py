"""Emits one stage for some rows: sums accumulated in registers, and the cell's equations applied to them before
anything is stored."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gatewright.backends.llvm.codegen.accumulate import Accumulator, Sums, operand_of
from gatewright.backends.llvm.codegen.amx_products import AmxProducts
from gatewright.backends.llvm.codegen.buffers import BufferId, Cursor, Memory
from gatewright.backends.llvm.codegen.pairs import row_rounding
from gatewright.backends.llvm.codegen.panels import Panel, column_of
from gatewright.backends.llvm.codegen.tiles import UNROLL, Tile
from gatewright.backends.llvm.codegen.unpacked import UnpackedProducts, UnpackedTile
from gatewright.backends.llvm.codegen.whole_numbers import vector_rounding
from gatewright.backends.llvm.emit import bfloat16
from gatewright.backends.llvm.emit.amx import AmxTiles
from gatewright.backends.llvm.emit.emitter import Emitter, Index
from gatewright.backends.llvm.emit.rules import RULES
from gatewright.backends.llvm.emit.vector_type import Value
from gatewright.lang.ops import Op
from gatewright.schedule.narrow import NarrowForm
from gatewright.schedule.program import Reduction, Stage, Storage
from gatewright.trace.ir import Equation, Literal, Var

_FAR = (Storage.INPUT, Storage.RANDOM, Storage.SEQUENCE)
"""What is worth a prefetch: every step uses another part of it. States were just computed, and are in a cache."""


@dataclass(frozen=True, slots=True)
class Design:
    """How one stage is done."""

    stage: Stage
    lanes: int
    tile: Tile
    bundle: int  # products that are accumulated at the same time
    panels: tuple[Panel, ...]
    unpacked: UnpackedTile | None = None  # where the matrices of the panels are not packed
    is_amx: bool = False  # whether its products are computed by AMX

    @property
    def is_streamed(self) -> bool:
        """Whether one row reads matrices that do not stay in the first cache."""
        return bool(self.panels) and self.tile.rows == 1 and self.tile.unroll < UNROLL


class StageEmitter:
    """Emits a stage for the rows of one tile."""

    def __init__(self, scalar: Emitter, memory: Memory, design: Design, tiles: AmxTiles | None = None) -> None:
        self.emitter, self.bound, self.memory = scalar.with_width(design.lanes), memory.bound, memory
        self.stage, self.lanes, self.tile, self.panels = design.stage, design.lanes, design.tile, design.panels
        self.units = self.bound.sizes[self.stage.axis] if self.stage.axis else 1
        self.rounded = {panel.operand: panel for panel in self.panels if panel.operand}
        """The vectors that are rounded to words before they are multiplied, each by one of its panels."""
        self.unpacked: UnpackedProducts | None = None
        if design.unpacked:
            self.unpacked = UnpackedProducts(self.emitter, memory, self.stage, self.units, design.unpacked)
        self.amx: AmxProducts | None = None
        if design.is_amx and tiles:
            self.amx = AmxProducts(self.emitter, memory, self.stage, tiles, self.tile, self.panels)

    def prepare(self) -> None:
        """Load the pointers of all buffers that the stage uses."""
        if self.unpacked:
            self.unpacked.prepare()
        if self.amx:
            self.amx.prepare()
        for panel in () if self.unpacked else self.panels:
            self.memory.pointer(panel.key)
            if panel.operand:
                self.memory.pointer(panel.operand)
        for value in self.stage.reads():
            if isinstance(value, Var) and value.name in self.bound.program.storage:
                self.memory.pointer(self.bound.buffer_of(value))
        for store in self.stage.stores:
            self.memory.pointer(BufferId(store.storage, store.name))

    def emit_tile(
        self, columns: Sequence[Index], cursors: Sequence[Cursor], group: Value, meanwhile: Callable[[Index], None]
    ) -> None:
        """Emit a stage with products for a group of blocks of some rows; `meanwhile` emits what else is to be done for
        each row while sums are accumulated."""
        self.emit_equations(self.accumulator().sums(group, cursors, meanwhile), columns, cursors)

    def accumulator(self) -> Accumulator:
        """What emits the products of a tile."""
        return Accumulator(self.emitter, self.memory, self.tile, self.panels)

    def emit_equations(self, sums: Sums, columns: Sequence[Index], cursors: Sequence[Cursor]) -> None:
        """Emit what follows from the sums of a tile."""
        for j, column in enumerate(columns):
            shared = self._shared(column)
            for r, cursor in enumerate(cursors):
                own = {product.target.name: sums[p, r, j] for p, product in enumerate(self.stage.products)}
                self._finish({**shared, **own}, cursor, column)

    def emit_rounding(self, cursor: Cursor) -> None:
        """Round the vectors of a row to words."""
        for panel in self.rounded.values():
            source, target = (
                self.memory.of(panel.vector, cursor, 0),
                operand_of(self.emitter, self.memory, panel, cursor),
            )
            if panel.has_whole_numbers:
                rounding = vector_rounding(self.emitter, panel.depth)
            else:
                rounding = row_rounding(self.emitter, panel.depth, panel.words)
            self.emitter.call(rounding, [source, target])

    def emit_amx(self, products: AmxProducts, group: Value, rows: int, cursor_at: Callable[[Index], Cursor]) -> None:
        """Emit a stage with products by AMX for a group of blocks of so many rows."""
        e = self.emitter
        products.emit(group, cursor_at(0))
        with e.loop(0, products.blocks, 1, "block") as block:
            number = e.add_index(e.mul_index(group, products.blocks), block.index)
            column = column_of(e, number, self.lanes, self.units)
            shared = self._shared(column)
            with e.loop(0, rows, 1, "row") as row:
                self._finish({**shared, **products.load(row.index, block.index)}, cursor_at(row.index), column)

    def emit_unpacked(self, products: UnpackedProducts, first_unit: Index, cursor: Cursor, row: Index) -> None:
        """Emit the equations of one row for a group of units, with the products that were computed for its tile."""
        e = self.emitter
        with e.loop(0, products.tile.blocks, 1, "block") as block:
            column = e.add_index(first_unit, e.mul_index(block.index, self.lanes), "column")
            self._finish({**self._shared(column), **products.load(row, block.index)}, cursor, column)

    def emit_rows(self, cursors: Sequence[Cursor], blocks: tuple[Index, Index]) -> None:
        """Emit a stage without products for some rows and a range of blocks of units."""
        e = self.emitter
        for reduction in self.stage.reductions:
            self._reduce(reduction, cursors)
        if self.stage.reductions:
            return
        with e.loop(*blocks, 1, "block") as block:
            column = column_of(e, block.index, self.lanes, self.units)
            shared = self._shared(column)
            for cursor in cursors:
                self._finish(dict(shared), cursor, column)

    def emit_prefetch(self, cursor: Cursor, column: Index) -> None:
        """Have what the equations read and write at one place brought close."""
        read = [arg for equation in self.stage.equations for arg in equation.args]
        for value in dict.fromkeys([*read, *(store.value for store in self.stage.stores)]):
            if isinstance(value, Var) and value.shape and self.bound.program.storage.get(value.name) in _FAR:
                self.emitter.prefetch(self.memory.of(value, cursor, column))
        for store in self.stage.stores:
            if store.storage is not Storage.ROW and isinstance(store.value, Var) and store.value.shape:
                self.emitter.prefetch(self.memory.of_store(store, self.units, cursor, column))

    def _shared(self, column: Index) -> dict[str, Value]:
        """What is the same for all rows, loaded once for a block."""
        loaded: dict[str, Value] = {}
        for value in self.stage.reads():
            if isinstance(value, Var) and self.bound.program.storage.get(value.name) is Storage.SHARED:
                pointer = self.memory.pointer(self.bound.buffer_of(value))
                e = self.emitter
                loaded[value.name] = (
                    e.load(e.address(pointer, column), value.name) if value.shape else e.broadcast(pointer, value.name)
                )
        return loaded

    def _finish(self, values: dict[str, Value], cursor: Cursor, column: Index) -> None:
        for equation in self.stage.equations:
            values[equation.target.name] = self._compute(equation, values, cursor, column)
        for store in self.stage.stores:
            value = self._value(store.value, values, cursor, column)
            shape = store.value.shape if isinstance(store.value, Var) else self.bound.program.shapes[store.name]
            if not shape:  # a scalar of the row: all lanes hold it
                place = self.memory.of_store(store, 1, cursor, 0)
                self.emitter.with_width(1).store(self.emitter.lane(value, 0), place)
            elif store.name in self.bound.narrow:
                place = self.memory.of_store(store, self.units, cursor, column)
                if self.bound.narrow[store.name] is NarrowForm.FROM_ONE:
                    value = self.emitter.sub(1.0, value)
                bfloat16.store(self.emitter, value, place, native=self.bound.rounds)
            else:
                self.emitter.store(value, self.memory.of_store(store, self.units, cursor, column))

    def _compute(self, equation: Equation, values: dict[str, Value], cursor: Cursor, column: Index) -> Value:
        args = [self._value(arg, values, cursor, column) for arg in equation.args]
        with self.emitter.scope(equation.target.name):
            return RULES[equation.op](self.emitter, *args, **dict(equation.attrs))

    def _value(self, atom: Var | Literal, values: dict[str, Value], cursor: Cursor, column: Index) -> Value:
        e = self.emitter
        if isinstance(atom, Literal):
            return e.constant(atom.value)
        if atom.name not in values:
            if atom.name in self.bound.narrow:
                value = bfloat16.load(e, self.memory.of(atom, cursor, column), atom.name)
                is_complement = self.bound.narrow[atom.name] is NarrowForm.FROM_ONE
                values[atom.name] = e.sub(1.0, value) if is_complement else value
            elif atom.shape:
                values[atom.name] = e.load(self.memory.of(atom, cursor, column), atom.name)
            else:
                values[atom.name] = e.broadcast(self.memory.of(atom, cursor, 0), atom.name)
        return values[atom.name]

    def _reduce(self, reduction: Reduction, cursors: Sequence[Cursor]) -> None:
        """Sum the features of some rows: whole vectors, then what is left one by one."""
        e, scalar = self.emitter, self.emitter.with_width(1)
        width = self.bound.width(reduction.vector)
        whole = width - width % self.lanes
        rows = [self.memory.of(reduction.vector, cursor, 0) for cursor in cursors]
        with e.loop(0, whole, self.lanes, "feature", {f"total{r}": e.constant(0.0) for r in range(len(rows))}) as loop:
            vectors = [e.load(e.address(row, loop.index)) for row in rows]
            loop.carry({name: e.add(value, v) for (name, value), v in zip(loop.values.items(), vectors, strict=True)})
        for row, cursor, vector in zip(rows, cursors, loop.values.values(), strict=True):
            total = e.sum_lanes(vector)
            for index in range(whole, width):
                total = scalar.add(total, scalar.load(scalar.address(row, index)))
            if reduction.op is Op.MEAN:
                total = scalar.div(total, float(width))
            for store in self.stage.stores:
                if isinstance(store.value, Var) and store.value.name == reduction.target.name:
                    scalar.store(total, self.memory.of_store(store, 1, cursor, 0))
