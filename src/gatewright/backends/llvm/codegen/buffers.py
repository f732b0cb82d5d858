"""Where values lie: one table of pointers for all kernels of a Program, and the address of a value within its
buffer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, NamedTuple

from gatewright.axes import bind
from gatewright.backends.llvm.emit.emitter import POINTER, Emitter, Index
from gatewright.backends.llvm.emit.vector_type import Value
from gatewright.schedule.narrow import Narrow, NarrowForm
from gatewright.schedule.program import Program, RowSum, Storage, Store
from gatewright.trace.ir import Var


class BufferId(NamedTuple):
    """A buffer: what kind it is (a Storage, "panel", "sum" or "active"), and the name of what it holds."""

    kind: str
    name: str


def outside_buffers(program: Program) -> list[BufferId]:
    """The buffers that a caller gives, first in the table: what goes in, the states, and what is emitted."""
    kinds = (Storage.INPUT, Storage.RANDOM, Storage.SHARED, Storage.STATE)
    names = [name for name, storage in program.storage.items() if storage in kinds]
    return [BufferId(program.storage[name], name) for name in (*names, *_emitted(program))]


def inside_buffers(program: Program) -> list[BufferId]:
    """The buffers that only kernels use, next in the table; after them come panels and sums."""
    emitted, own = set(_emitted(program)), (Storage.SEQUENCE, Storage.ROW)
    return [BufferId(kind, name) for name, kind in program.storage.items() if kind in own and name not in emitted]


def sum_buffer(total: RowSum) -> BufferId:
    """The buffer that a sum goes to."""
    return BufferId("sum", total.target.name)


NARROW_BYTES = 2
"""The size of a number that lies in memory as bfloat16."""
LINES = BufferId("active", "lines")
"""The numbers of the lines that kernels for ragged batches go through, step by step; after all others in the table."""
STARTS = BufferId("active", "starts")
"""Where in LINES each step begins, and where the last one ends."""


def _emitted(program: Program) -> list[str]:
    values = dict.fromkeys(value.name for _, value in program.trace.emits if isinstance(value, Var))
    return [name for name in values if program.storage[name] is Storage.SEQUENCE]


@dataclass(slots=True)
class Bound:
    """A Program with the sizes of its axes, and the table of the buffers that its kernels use."""

    program: Program
    sizes: Mapping[str, int]
    backwards: bool
    narrow: Narrow = field(default_factory=dict[str, NarrowForm])  # values that lie in memory as bfloat16
    rounds: bool = False  # whether the target has an instruction that rounds to bfloat16
    slots: dict[BufferId, int] = field(default_factory=dict[BufferId, int])

    def width(self, value: Var) -> int:
        """How many elements one row of a value has."""
        return prod(bind(value.shape, self.sizes))

    def width_of(self, name: str) -> int:
        """How many elements one row of the value of that name has."""
        return prod(bind(self.program.shapes[name], self.sizes))

    def slot(self, key: BufferId) -> int:
        """The place of a buffer in the table of pointers."""
        return self.slots.setdefault(key, len(self.slots))

    def buffer_of(self, value: Var) -> BufferId:
        """The buffer that a value is read from."""
        storage = self.program.storage[value.name]
        if storage is Storage.NEW:
            return BufferId(Storage.STATE, self.program.new_values[value.name])
        return BufferId(storage, value.name)

    def shift(self, value: Var) -> int:
        """How many steps a value lies ahead in its buffer: states have a slot before the first step."""
        storage = self.program.storage[value.name]
        if storage is Storage.STATE:
            return 1 if self.backwards else 0
        return self.new_shift if storage is Storage.NEW else 0

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

    def pointer(self, key: BufferId) -> Value:
        """The start of a buffer. Ask for all of them before the first loop begins: they are loaded where first asked
        for."""
        slot = self.bound.slot(key)
        if slot not in self._pointers:
            self._pointers[slot] = self._scalar.load_entry(POINTER, self._table, slot, " ".join(key))
        return self._pointers[slot]

    def pointer_among(self, keys: Sequence[BufferId], number: Index) -> Value:
        """The start of one of several buffers, by its number among them. They follow one another in the table."""
        slots = [self.bound.slot(key) for key in keys]
        assert slots == list(range(slots[0], slots[0] + len(slots)))
        return self._scalar.load_entry(POINTER, self._table, self._scalar.add_index(number, slots[0]), keys[0].kind)

    def of(self, value: Var, cursor: Cursor, column: Index) -> Value:
        """Where a value lies."""
        storage = self.bound.program.storage[value.name]
        pointer = self.pointer(self.bound.buffer_of(value))
        if storage is Storage.SHARED:
            return self._scalar.address(pointer, column)
        start = self._in_row(storage, self.bound.shift(value), self.bound.width(value), cursor, column)
        return self._address(value.name, pointer, start)

    def of_store(self, store: Store, width: int, cursor: Cursor, column: Index) -> Value:
        """Where a value is stored."""
        pointer = self.pointer(BufferId(store.storage, store.name))
        shift = self.bound.new_shift if store.storage is Storage.STATE else 0
        return self._address(store.name, pointer, self._in_row(store.storage, shift, width, cursor, column))

    def _address(self, name: str, pointer: Value, element: Index) -> Value:
        address = self._scalar.half_address if name in self.bound.narrow else self._scalar.address
        return address(pointer, element)

    def _in_row(self, storage: Storage, shift: int, width: int, cursor: Cursor, column: Index) -> Index:
        key = (storage is Storage.ROW, shift, width, column if isinstance(column, int) else f"value {id(column)}")
        if key not in cursor.offsets:
            cursor.offsets[key] = self._scalar.add_index(self._start(storage, shift, width, cursor), column)
        return cursor.offsets[key]

    def _start(self, storage: Storage, shift: int, width: int, cursor: Cursor) -> Index:
        """Where a row begins."""
        line: Index = cursor.row if storage is Storage.ROW else cursor.line
        if shift:
            line = self._scalar.add_index(line, cursor.batch)
        return self._scalar.mul_index(line, width)
