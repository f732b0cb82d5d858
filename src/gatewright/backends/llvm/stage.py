"""Emits one stage: sums accumulated in registers, and the cell's equations applied to them before anything is
stored."""

from gatewright.backends.llvm.accumulate import Accumulator
from gatewright.backends.llvm.buffers import Bound, Cursor, Memory
from gatewright.backends.llvm.emitter import Emitter, Index
from gatewright.backends.llvm.panels import Panel, column_of
from gatewright.backends.llvm.rules import RULES
from gatewright.backends.llvm.tiles import Tile
from gatewright.backends.llvm.vector_type import Value
from gatewright.lang.ops import Op
from gatewright.schedule.program import Place, Reduction, Stage
from gatewright.trace.ir import Equation, Literal, Var


class StageEmitter:
    """Emits a stage over a range of rows of one step."""

    def __init__(self, emitter: Emitter, bound: Bound, memory: Memory, stage: Stage) -> None:
        self.emitter, self.bound, self.memory, self.stage = emitter, bound, memory, stage
        self.units = bound.sizes[stage.axis] if stage.axis else 1
        self.lanes = emitter.vector.width

    def prepare(self, panels: tuple[Panel, ...]) -> None:
        """Load the pointers of all buffers that the stage uses."""
        for panel in panels:
            self.memory.pointer(panel.key)
        for value in self.stage.reads():
            if isinstance(value, Var) and value.name in self.bound.program.places:
                self.memory.pointer(self.bound.key(value))
        for store in self.stage.stores:
            self.memory.pointer((store.place, store.name))

    def emit(self, tile: Tile, panels: tuple[Panel, ...], first: Index, last: Index, step: "Step") -> None:
        """Emit the stage for rows first, ..., last - 1."""
        if self.stage.reductions:
            self._reduce(first, last, step)
        elif self.stage.products:
            self._tiles(tile, panels, first, last, step)
        else:
            self._rows(first, last, step)

    def _tiles(self, tile: Tile, panels: tuple[Panel, ...], first: Index, last: Index, step: "Step") -> None:
        e = self.emitter
        accumulator = Accumulator(e, self.memory, tile, panels)
        lowest = e.add_index(last, -tile.rows, "last_tile")
        with e.loop(0, panels[0].groups, 1, "group") as group:
            numbers = [e.add_index(e.mul_index(group.index, tile.blocks), j) for j in range(tile.blocks)]
            columns = [column_of(e, number, self.lanes, self.units) for number in numbers]
            with e.loop(first, last, tile.rows, "rows") as rows:
                # the last tile overlaps the one before it, so that no row is left over
                start = e.smaller_index(rows.index, lowest, "row")
                cursors = [step.cursor(e, e.add_index(start, r)) for r in range(tile.rows)]
                sums = accumulator.sums(group.index, cursors)
                for j, column in enumerate(columns):
                    shared = self._shared(column)
                    for r, cursor in enumerate(cursors):
                        own = {product.target.name: sums[p, r, j] for p, product in enumerate(self.stage.products)}
                        self._finish({**shared, **own}, cursor, column)

    def _rows(self, first: Index, last: Index, step: "Step") -> None:
        """A stage without products: each row from its beginning to its end."""
        e = self.emitter
        blocks = -(-self.units // self.lanes)
        with e.loop(first, last, 1, "row") as row:
            cursor = step.cursor(e, row.index)
            with e.loop(0, blocks, 1, "block") as block:
                column = column_of(e, block.index, self.lanes, self.units)
                self._finish(self._shared(column), cursor, column)

    def _shared(self, column: Index) -> dict[str, Value]:
        """What is the same for all rows, loaded once for a block."""
        found: dict[str, Value] = {}
        for value in self.stage.reads():
            if isinstance(value, Var) and self.bound.program.places.get(value.name) is Place.SHARED:
                pointer = self.memory.pointer(self.bound.key(value))
                e = self.emitter
                found[value.name] = (
                    e.load(e.address(pointer, column), value.name) if value.shape else e.broadcast(pointer, value.name)
                )
        return found

    def _finish(self, values: dict[str, Value], cursor: Cursor, column: Index) -> None:
        """Apply the equations to one row and block, and store what is kept."""
        for equation in self.stage.equations:
            values[equation.target.name] = self._compute(equation, values, cursor, column)
        for store in self.stage.stores:
            value = self._value(store.value, values, cursor, column)
            shape = store.value.shape if isinstance(store.value, Var) else self.bound.program.shapes[store.name]
            if not shape:
                place = self.memory.of_store(store, 1, cursor, 0)
                self.emitter.with_width(1).store(self.emitter.lane(value, 0), place)
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
            if atom.shape:
                values[atom.name] = e.load(self.memory.of(atom, cursor, column), atom.name)
            else:
                values[atom.name] = e.broadcast(self.memory.of(atom, cursor, 0), atom.name)
        return values[atom.name]

    def _reduce(self, first: Index, last: Index, step: "Step") -> None:
        e = self.emitter
        with e.loop(first, last, 1, "row") as row:
            cursor = step.cursor(e, row.index)
            for reduction in self.stage.reductions:
                self._reduce_row(reduction, cursor)

    def _reduce_row(self, reduction: Reduction, cursor: Cursor) -> None:
        """Sum the features of one row: whole vectors, then what is left one by one."""
        e, scalar = self.emitter, self.emitter.with_width(1)
        width = self.bound.width(reduction.vector)
        whole = width - width % self.lanes
        row = self.memory.of(reduction.vector, cursor, 0)
        with e.loop(0, whole, self.lanes, "feature", {"total": e.constant(0.0)}) as loop:
            loop.carry({"total": e.add(loop.values["total"], e.load(e.address(row, loop.index)), "total")})
        total = e.sum_lanes(loop.values["total"])
        for index in range(whole, width):
            total = scalar.add(total, scalar.load(scalar.address(row, index)))
        if reduction.op is Op.MEAN:
            total = scalar.div(total, float(width))
        for store in self.stage.stores:
            if isinstance(store.value, Var) and store.value.name == reduction.target.name:
                scalar.store(total, self.memory.of_store(store, 1, cursor, 0))


class Step:
    """Where a step's rows lie: `before` lines of other steps come first."""

    def __init__(self, before: Value, batch: Value) -> None:
        self.before, self.batch = before, batch

    def cursor(self, emitter: Emitter, row: Index) -> Cursor:
        """One row of the step."""
        row = emitter.index(row)
        return Cursor(line=emitter.index(emitter.add_index(self.before, row, "line")), row=row, batch=self.batch)
