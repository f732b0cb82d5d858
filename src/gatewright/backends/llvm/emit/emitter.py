"""Emits one function of LLVM IR: arithmetic, memory, loops and branches, under names that a reader knows."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from llvmlite import ir

from gatewright.backends.llvm.emit.arithmetic import Arithmetic, Operand, Relation
from gatewright.backends.llvm.emit.vector_type import Value

Index = Value | int
"""A number of elements, or a place among them: a 64-bit integer."""

INDEX: Any = ir.IntType(64)
POINTER: Any = ir.PointerType()
_CACHE_LINE = 64


class Loop:
    """A loop that is being emitted: its index, and the values that it carries from one turn to the next.

    After the loop, `values` are what the last turn left, or the first ones where there was no turn.
    """

    def __init__(self, index: Value, values: Mapping[str, Value]) -> None:
        self.index = index
        self.values = values
        self.following: dict[str, Value] = {}

    def carry(self, values: Mapping[str, Value]) -> None:
        """Give, within the body, what the next turn starts from."""
        self.following |= values


class Emitter(Arithmetic):
    """Arithmetic, and what brings values from memory and back, again and again."""

    # Memory

    def address(self, pointer: Value, index: Index, name: str = "") -> Value:
        """Where element `index` lies, counted from `pointer`."""
        if index == 0:
            return pointer
        place, kind = [self.index(index)], self.vector.element
        return self._builder.gep(pointer, place, inbounds=True, name=self._name(name), source_etype=kind)

    def load(self, pointer: Value, name: str = "") -> Value:
        """As many elements as there are lanes; they need no alignment beyond an element's own."""
        align = self.vector.element_bytes
        return self._builder.load(pointer, self._name(name), align=align, typ=self.vector.numbers)

    def store(self, a: Operand, pointer: Value) -> None:
        self._builder.store(self._value(a), pointer, align=self.vector.element_bytes)

    def load_first(self, pointer: Value, lanes: int, name: str = "") -> Value:
        """Only as many elements as are asked for, and zero in the other lanes."""
        if lanes == self.vector.width:
            return self.load(pointer, name)
        arguments = (pointer, self._alignment(), self.vector.first(lanes), self.constant(0.0))
        return self.call_intrinsic(f"llvm.masked.load.{self.vector.suffix}.p0", self.vector.numbers, arguments, name)

    def store_first(self, a: Operand, pointer: Value, lanes: int) -> None:
        """Store only the first lanes."""
        if lanes == self.vector.width:
            self.store(a, pointer)
            return
        arguments = (self._value(a), pointer, self._alignment(), self.vector.first(lanes))
        self.call_intrinsic(f"llvm.masked.store.{self.vector.suffix}.p0", ir.VoidType(), arguments)

    def byte_address(self, pointer: Value, index: Index, name: str = "") -> Value:
        """Where byte `index` lies, counted from `pointer`."""
        place = [self.index(index)]
        return self._builder.gep(pointer, place, inbounds=True, name=self._name(name), source_etype=ir.IntType(8))

    def store_bytes(self, bits: Value, pointer: Value, lanes: int) -> None:
        """Store the lowest byte of each of the first lanes, one byte after the other."""
        width, byte = self.vector.width, ir.IntType(8)
        values = self._builder.trunc(bits, byte if width == 1 else ir.VectorType(byte, width))
        if lanes == width:
            self._builder.store(values, pointer, align=1)
            return
        arguments = (values, pointer, ir.Constant(ir.IntType(32), 1), self.vector.first(lanes))
        self.call_intrinsic(f"llvm.masked.store.v{width}i8.p0", ir.VoidType(), arguments)

    def half_address(self, pointer: Value, index: Index, name: str = "") -> Value:
        """Where number `index` of 16 bits lies, counted from `pointer`."""
        place = [self.index(index)]
        return self._builder.gep(pointer, place, inbounds=True, name=self._name(name), source_etype=ir.IntType(16))

    def load_halves(self, pointer: Value, name: str = "") -> Value:
        """As many numbers of 16 bits as there are lanes, each in the lower half of its lane."""
        halves = self._builder.load(pointer, align=2, typ=self.vector.halves)
        return self._builder.zext(halves, self.vector.integers, self._name(name))

    def lower_halves(self, bits: Value) -> Value:
        """The lower half of each lane, as a vector of numbers of 16 bits."""
        return self._builder.trunc(bits, self.vector.halves)

    def store_halves(self, halves: Value, pointer: Value) -> None:
        self._builder.store(halves, pointer, align=2)

    def prefetch(self, pointer: Value) -> None:
        """Have a line of memory brought to the second cache; it need not be memory of ours."""
        read, second, data = (ir.Constant(ir.IntType(32), number) for number in (0, 2, 1))
        self.call_intrinsic("llvm.prefetch.p0", ir.VoidType(), [pointer, read, second, data])

    def broadcast(self, pointer: Value, name: str = "") -> Value:
        """One element in every lane."""
        return self.splat(self.with_width(1).load(pointer, name), name)

    def reserve_numbers(self, count: int, name: str = "") -> Value:
        """Memory for so many numbers until the function returns. Ask for it before the first loop or branch."""
        memory = self._builder.alloca(ir.ArrayType(self.vector.element, count), name=self._name(name))
        memory.align = _CACHE_LINE
        return self._builder.inttoptr(self._builder.ptrtoint(memory, INDEX), POINTER)  # llvmlite gives it another type

    # Indices

    def index(self, index: Index) -> Value:
        """An index as IR knows it."""
        return index if isinstance(index, Value) else ir.Constant(INDEX, index)

    def add_index(self, a: Index, b: Index, name: str = "") -> Index:
        """The sum: a number where both are, and one of them where the other is 0."""
        if isinstance(a, int) and isinstance(b, int):
            return a + b
        if a == 0 or b == 0:
            return b if a == 0 else a
        return self._builder.add(self.index(a), self.index(b), self._name(name), flags=["nsw"])

    def mul_index(self, a: Index, b: Index, name: str = "") -> Index:
        """The product: a number where both are."""
        if isinstance(a, int) and isinstance(b, int):
            return a * b
        product = self._builder.mul(self.index(a), self.index(b), self._name(name), flags=["nsw"])
        return product if isinstance(a, int) or isinstance(b, int) else self._frozen(product, name)

    def compare_index(self, relation: Relation, a: Index, b: Index, name: str = "") -> Value:
        """A condition for `when`."""
        return self._builder.icmp_signed(relation, self.index(a), self.index(b), self._name(name))

    def smaller_index(self, a: Index, b: Index, name: str = "") -> Index:
        """The smaller one: a number where both are."""
        if isinstance(a, int) and isinstance(b, int):
            return min(a, b)
        return self.choose_index(self.compare_index("<", a, b), a, b, name)

    def larger_index(self, a: Index, b: Index, name: str = "") -> Index:
        """The larger one: a number where both are."""
        if isinstance(a, int) and isinstance(b, int):
            return max(a, b)
        return self.choose_index(self.compare_index(">", a, b), a, b, name)

    def choose_index(self, condition: Value, a: Index, b: Index, name: str = "") -> Value:
        """The first number where a condition holds, else the second."""
        return self._builder.select(condition, self.index(a), self.index(b), self._name(name))

    def div_index(self, a: Index, b: Index, name: str = "") -> Value:
        """The whole part of a quotient."""
        return self._builder.sdiv(self.index(a), self.index(b), self._name(name))

    def load_entry(self, kind: Any, table: Value, entry: Index, name: str = "") -> Value:
        """The number (INDEX) or the address (POINTER) that a table holds at an entry."""
        place = self._builder.gep(table, [self.index(entry)], inbounds=True, source_etype=kind)
        return self._builder.load(place, self._name(name), typ=kind)

    def load_index(self, table: Value, entry: Index, name: str = "") -> Value:
        """The number that a table of indices holds at an entry."""
        return self.load_entry(INDEX, table, entry, name)

    # Functions

    @property
    def module(self) -> Any:
        """The module that is being emitted."""
        return self._builder.module

    def call(self, function: Any, arguments: Sequence[Index]) -> None:
        """Call another function of the module, on pointers and numbers."""
        self._builder.call(function, [self.index(argument) for argument in arguments])

    def or_constant(self, pointer: Value, kind: Any, fields: tuple[Any, ...], name: str) -> Value:
        """A pointer, or where that is null, one to a structure with these fields."""
        constant: Any = ir.GlobalVariable(self._builder.module, kind, self._builder.module.get_unique_name(name))
        constant.linkage, constant.global_constant, constant.initializer = "internal", True, ir.Constant(kind, fields)
        null = self._builder.icmp_unsigned("==", pointer, ir.Constant(POINTER, None))
        return self._builder.select(null, constant, pointer, self._name(name))

    def load_field(self, pointer: Value, kind: Any, number: int, name: str = "") -> Value:
        """A field of a structure."""
        places = [ir.Constant(ir.IntType(32), 0), ir.Constant(ir.IntType(32), number)]
        place = self._builder.gep(pointer, places, inbounds=True, source_etype=kind)
        return self._builder.load(place, self._name(name), typ=kind.elements[number])

    def call_pointer(self, function: Any, arguments: Sequence[Any]) -> None:
        """Call a function that gives nothing back, by its address."""
        kind = ir.FunctionType(ir.VoidType(), [argument.type for argument in arguments])
        self._builder.call(_Called(function, kind), arguments)

    # Loops and branches

    @contextmanager
    def loop(
        self, start: Index, stop: Index, step: Index, name: str, carried: Mapping[str, Value] | None = None
    ) -> Generator[Loop]:
        """Do the body for start, start + step, ... below stop; not once where start is not below it.

        `carried` are the values that the first turn starts from, by name; `Loop.carry` sets those of the next.
        """
        first: dict[str, Any] = dict(carried or {})
        before = self._builder.block
        header = self._enter(f"{name}.loop")
        index = self._builder.phi(INDEX, self._name(name))
        phis = {key: self._builder.phi(value.type, self._name(key)) for key, value in first.items()}
        loop = Loop(index, phis)
        more = self.compare_index("<", index, stop, f"{name}.more")
        body = self._begin(f"{name}.body")
        yield loop
        if loop.following.keys() != first.keys():
            raise ValueError(f"loop {name!r} carries {sorted(first)}, but its body gave {sorted(loop.following)}")
        index.add_incoming(self.index(start), before)
        index.add_incoming(self.add_index(index, step, f"{name}.next"), self._builder.block)
        for key, phi in phis.items():
            phi.add_incoming(first[key], before)
            phi.add_incoming(loop.following[key], self._builder.block)
        self._builder.branch(header)
        self._fork(header, more, body, self._begin(f"{name}.end"))

    @contextmanager
    def when(self, condition: Value, name: str) -> Generator[None]:
        """Do the body only where a condition holds."""
        before = self._builder.block
        then = self._begin(name)
        yield
        self._fork(before, condition, then, self._enter(f"{name}.end"))

    def _frozen(self, value: Any, name: str) -> Value:
        """The same value, of which LLVM does not ask where it is from.

        It tries in how many ways an address in a loop may be written as a sum. Where products of two unknowns are
        among the terms, that takes as long as everything else together, and finds nothing.
        """
        frozen: Any = ir.Instruction(self._builder.block, value.type, "freeze", [value], self._name(name))
        self._builder._insert(frozen)
        return frozen

    def _alignment(self) -> Value:
        return ir.Constant(ir.IntType(32), self.vector.element_bytes)

    def _begin(self, name: str) -> Any:
        """A new block, where emission goes on. How it is reached is said later."""
        block = self._builder.append_basic_block(name)
        self._builder.position_at_end(block)
        return block

    def _enter(self, name: str) -> Any:
        """A new block that follows the present one."""
        before = self._builder.block
        block = self._begin(name)
        with self._builder.goto_block(before):
            self._builder.branch(block)
        return block

    def _fork(self, block: Any, condition: Value, then: Any, otherwise: Any) -> None:
        """End a block with a choice."""
        with self._builder.goto_block(block):
            self._builder.cbranch(condition, then, otherwise)


class _Called:
    """A pointer as what is called: llvmlite asks a function for its type, which a pointer does not tell."""

    def __init__(self, pointer: Any, kind: Any) -> None:
        self.type, self.function_type = pointer.type, kind
        self.get_reference = pointer.get_reference
