"""Where values lie: one table of pointers for all kernels of a Program, and the address of a value within its
buffer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

from gatewright.axes import bind
from gatewright.backends.llvm.emit.emitter import Emitter, Index
from gatewright.backends.llvm.emit.vector_type import Value
from gatewright.schedule.program import Place, Program, RowSum, Store
from gatewright.trace.ir import Var

Key = tuple[str, str]
"""A buffer: what kind it is, and its name."""


def outside_keys(program: Program) -> list[Key]:
    """The buffers that a caller gives, first in the table: what goes in, the states, and what is emitted."""
    given = [name for name, place in program.places.items() if place in (Place.INPUT, Place.SHARED, Place.STATE)]
    return [(program.places[name], name) for name in (*given, *_emitted(program))]


def inside_keys(program: Program) -> list[Key]:
    """The buffers that only kernels use, next in the table; behind them come panels and sums."""
    emitted, own = set(_emitted(program)), (Place.SEQUENCE, Place.ROW)
    return [(place, name) for name, place in program.places.items() if place in own and name not in emitted]


def sum_key(one: RowSum) -> Key:
    """The buffer that a sum goes to."""
    return ("sum", one.target.name)


def sum_keys(program: Program) -> list[Key]:
    """The buffers of all sums."""
    return [sum_key(one) for one in program.row_sums]


LINES: Key = ("active", "lines")
"""The numbers of the lines that kernels for ragged batches go through, step by step; behind all others in the table."""
STARTS: Key = ("active", "starts")
"""Where in LINES each step begins, and where the last one ends."""


def _emitted(program: Program) -> list[str]:
    values = (value.name for _, value in program.trace.emits if isinstance(value, Var))
    return [name for name in dict.fromkeys(values) if program.places[name] is Place.SEQUENCE]


@dataclass(slots=True)
class Bound:
    """A Program with the sizes of its axes, and the table of the buffers that its kernels use."""

    program: Program
    sizes: Mapping[str, int]
    backwards: bool
    slots: dict[Key, int] = field(default_factory=dict[Key, int])

    def width(self, value: Var) -> int:
        """How many elements one row of a value has."""
        return prod(bind(value.shape, self.sizes))

    def width_of(self, name: str) -> int:
        """How many elements one row of the value of that name has."""
        return prod(bind(self.program.shapes[name], self.sizes))

    def slot(self, key: Key) -> int:
        """The place of a buffer in the table of pointers."""
        return self.slots.setdefault(key, len(self.slots))

    def key(self, value: Var) -> Key:
        """The buffer that a value is read from."""
        place = self.program.places[value.name]
        if place is Place.NEW:
            return (Place.STATE, self.program.news[value.name])
        return (place, value.name)

    def shift(self, value: Var) -> int:
        """How many steps a value lies ahead in its buffer: states have a slot before the first step."""
        place = self.program.places[value.name]
        if place is Place.STATE:
            return 1 if self.backwards else 0
        return self.new_shift if place is Place.NEW else 0

    @property
    def new_shift(self) -> int:
        """The slot that a step writes states to, counted from its own number."""
        return 0 if self.backwards else 1


@dataclass(slots=True)
class Cursor:
    """One row at one step: `line` counts rows over all steps, `row` within the step."""

    line: Value
    row: Value
    batch: Value
    offsets: dict[tuple[Any, ...], Index] = field(default_factory=dict[tuple[Any, ...], Index])
    """What was computed already: buffers of one width share their offsets, so that there is less code to compile."""


class Memory:
    """The addresses of values, for a kernel that is being emitted."""

    def __init__(self, emitter: Emitter, bound: Bound, table: Value) -> None:
        self.bound = bound
        self._scalar = emitter.with_width(1)
        self._table = table
        self._pointers: dict[int, Value] = {}

    def pointer(self, key: Key) -> Value:
        """The start of a buffer. Ask for all of them before the first loop begins: they are loaded where first asked
        for."""
        slot = self.bound.slot(key)
        if slot not in self._pointers:
            self._pointers[slot] = self._scalar.load_pointer(self._table, slot, " ".join(key))
        return self._pointers[slot]

    def of(self, value: Var, cursor: Cursor, column: Index) -> Value:
        """Where a value lies."""
        place = self.bound.program.places[value.name]
        pointer = self.pointer(self.bound.key(value))
        if place is Place.SHARED:
            return self._scalar.address(pointer, column)
        return self._in_row(pointer, place, self.bound.shift(value), self.bound.width(value), cursor, column)

    def of_store(self, store: Store, width: int, cursor: Cursor, column: Index) -> Value:
        """Where a value is stored."""
        pointer = self.pointer((store.place, store.name))
        shift = self.bound.new_shift if store.place is Place.STATE else 0
        return self._in_row(pointer, store.place, shift, width, cursor, column)

    def _in_row(self, pointer: Value, place: Place, shift: int, width: int, cursor: Cursor, column: Index) -> Value:
        key = (place is Place.ROW, shift, width, column if isinstance(column, int) else f"value {id(column)}")
        if key not in cursor.offsets:
            cursor.offsets[key] = self._scalar.add_index(self._start(place, shift, width, cursor), column)
        return self._scalar.address(pointer, cursor.offsets[key])

    def _start(self, place: Place, shift: int, width: int, cursor: Cursor) -> Index:
        """Where a row begins."""
        line: Index = cursor.row if place is Place.ROW else cursor.line
        if shift:
            line = self._scalar.add_index(line, cursor.batch)
        return self._scalar.mul_index(line, width)
