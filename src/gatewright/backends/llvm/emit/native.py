"""Emits small functions on whole numbers, pointers and structures, for what Python would be too slow at.

Among these are the operations on memory that several threads share. A load of a shared word acquires, a change both
acquires and releases: what a thread wrote before its change is seen by every thread that has read the change.
"""

import ctypes
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from llvmlite import ir

from gatewright.backends.llvm.emit.emitter import INDEX, POINTER, Emitter, Index
from gatewright.backends.llvm.emit.vector_type import Dtype, Value

_BYTE = ir.IntType(8)
NULL: Any = ir.Constant(POINTER, None)


class NativeModule:
    """A module of such functions, or of kernels. Its text is `str(module)`."""

    def __init__(self, module: Any = None) -> None:
        self.module: Any = ir.Module() if module is None else module

    def __str__(self) -> str:
        return str(self.module)

    @contextmanager
    def function(
        self,
        name: str,
        *,
        internal: bool = False,
        inline: bool = True,
        dtype: Dtype = "float64",
        width: int = 1,
        **arguments: Any,
    ) -> Generator[tuple["NativeEmitter", Any]]:
        """Define a function without a result: gives its emitter, and its arguments by name.

        Each argument has an LLVM type, POINTER or INDEX. `internal` functions are called within the module only.
        """
        function: Any = ir.Function(self.module, ir.FunctionType(ir.VoidType(), [*arguments.values()]), name)
        for argument, key in zip(function.args, arguments, strict=True):
            argument.name = key
        if internal:
            function.linkage = "internal"
        if not inline:
            function.attributes.add("noinline")
        builder: Any = ir.IRBuilder(function.append_basic_block("entry"))
        yield NativeEmitter(builder, dtype, width), SimpleNamespace(**dict(zip(arguments, function.args, strict=True)))
        builder.ret_void()

    def variable(self, name: str, kind: Any) -> Value:
        """The address of a number (INDEX) or an address (POINTER) that belongs to the module, at first 0 or null."""
        variable: Any = ir.GlobalVariable(self.module, kind, name)
        variable.linkage, variable.initializer = "internal", ir.Constant(kind, None)
        return variable.ptrtoint(INDEX).inttoptr(POINTER)  # llvmlite gives it a pointer type of its own

    def __getitem__(self, name: str) -> Any:
        """A function that was defined before, as something to call or to point to."""
        return self.module.get_global(name)


class Repetition:
    """A body that is done again and again, and the values that it carries from one turn to the next."""

    def __init__(self, values: Mapping[str, Value]) -> None:
        self.values = values
        self.following: dict[str, Value] = {}
        self.exits: list[tuple[Any, Value, Any]] = []  # the block that may leave, the condition, the block that goes on

    def carry(self, **values: Value) -> None:
        """Give, within the body, what the next turn starts from."""
        self.following |= values


class NativeEmitter(Emitter):
    """Emits memory operations with an order between threads, and loops whose end is not known before."""

    def load_acquire(self, pointer: Value, name: str = "") -> Value:
        """A number that other threads may change."""
        return self._builder.load_atomic(pointer, "acquire", 8, self._name(name), typ=INDEX)

    def fetch_add(self, pointer: Value, number: Index, name: str = "") -> Value:
        """Add to a number that threads share; gives what it was before."""
        return self._builder.atomic_rmw("add", pointer, self.index(number), "acq_rel", self._name(name))

    def compare_exchange(self, pointer: Value, expected: Value, replacement: Index, name: str = "") -> Value:
        """Replace a number if it still is what was expected; gives the condition that it was replaced."""
        both = self._builder.cmpxchg(pointer, expected, self.index(replacement), "acq_rel", "acquire")
        return self._builder.extract_value(both, 1, self._name(name))

    @contextmanager
    def repeat(self, name: str, **carried: Index) -> Generator[Repetition]:
        """Do the body until a condition of `leave` holds.

        What the body computes before the first `leave` can be used after the loop.
        """
        before = self._builder.block
        header = self._enter(f"{name}.loop")
        phis = {key: self._builder.phi(INDEX, self._name(key)) for key in carried}
        turn = Repetition(phis)
        yield turn
        for key, phi in phis.items():
            phi.add_incoming(self.index(carried[key]), before)
            phi.add_incoming(turn.following[key], self._builder.block)
        self._builder.branch(header)
        end = self._begin(f"{name}.end")
        for block, condition, going_on in turn.exits:
            self._fork(block, condition, end, going_on)

    def leave(self, turn: Repetition, condition: Value) -> None:
        """End a repetition here where a condition holds."""
        block = self._builder.block
        turn.exits.append((block, condition, self._begin("again")))

    def is_given(self, pointer: Value) -> Value:
        """The condition that a pointer is not null."""
        return self._builder.icmp_unsigned("!=", pointer, NULL)

    def either(self, a: Value, b: Value, name: str = "") -> Value:
        """Whether one of two conditions holds."""
        return self._builder.or_(a, b, self._name(name))

    def sub_index(self, a: Index, b: Index, name: str = "") -> Value:
        """The difference."""
        return self._builder.sub(self.index(a), self.index(b), self._name(name), flags=["nsw"])

    def rem_index(self, a: Index, b: Index, name: str = "") -> Value:
        """The remainder of a quotient."""
        return self._builder.srem(self.index(a), self.index(b), self._name(name))

    def byte(self, pointer: Value, offset: Index, name: str = "") -> Value:
        """The address so many bytes after a pointer."""
        return self._builder.gep(pointer, [self.index(offset)], True, self._name(name), source_etype=_BYTE)

    def load_word(self, pointer: Value, kind: Any, name: str = "") -> Value:
        """A number (INDEX) or an address (POINTER)."""
        return self._builder.load(pointer, self._name(name), typ=kind)

    def store_index(self, number: Index, table: Value, entry: Index) -> None:
        """Set an entry of a table of numbers."""
        place = self._builder.gep(table, [self.index(entry)], inbounds=True, source_etype=INDEX)
        self._builder.store(self.index(number), place)

    def store_word(self, word: Index, pointer: Value) -> None:
        """Store a number or an address."""
        self._builder.store(self.index(word), pointer)

    def reserve(self, structure: type[ctypes.Structure], name: str) -> "StructMemory":
        """Memory for a structure until the function returns. Ask for it before the first loop or branch."""
        kind = ir.ArrayType(INDEX, -(-ctypes.sizeof(structure) // 8))
        memory = self._builder.alloca(kind, name=self._name(name))
        return StructMemory(self, structure, self.as_pointer(self._builder.ptrtoint(memory, INDEX)))

    def function_pointer(self, function: Any) -> Value:
        """The address of a function of the module."""
        return self.as_pointer(self._builder.ptrtoint(function, INDEX))

    def copy_memory(self, target: Value, source: Value, size: Index) -> None:
        """Copy so many bytes between places that do not overlap."""
        arguments = (target, source, self.index(size), ir.Constant(ir.IntType(1), 0))
        self.call_intrinsic("llvm.memcpy.p0.p0.i64", ir.VoidType(), arguments)

    def as_pointer(self, number: Value, name: str = "") -> Value:
        """An address that is held as a number."""
        return self._builder.inttoptr(number, POINTER, self._name(name))

    def pause(self, processor: str) -> None:
        """Tell the processor, by LLVM's name for its family, that this thread waits for another one's write."""
        if processor == "x86_64":
            self.call_intrinsic("llvm.x86.sse2.pause", ir.VoidType(), ())
        elif processor == "aarch64":
            self.call_intrinsic("llvm.aarch64.hint", ir.VoidType(), (ir.Constant(ir.IntType(32), 1),))


class StructMemory:
    """A structure in memory, laid out as ctypes lays it out."""

    def __init__(self, emitter: NativeEmitter, structure: type[ctypes.Structure], pointer: Value) -> None:
        self._emitter, self._structure, self.pointer = emitter, structure, pointer
        self._types = {field[0]: POINTER if field[1] is ctypes.c_void_p else INDEX for field in structure._fields_}

    def at(self, field: str) -> Value:
        """The address of a field."""
        return self._emitter.byte(self.pointer, getattr(self._structure, field).offset, f"{field}.at")

    def load(self, field: str) -> Value:
        """A number or a pointer."""
        return self._emitter.load_word(self.at(field), self._types[field], field)

    def store(self, field: str, value: Index) -> None:
        """Set a number or a pointer."""
        self._emitter.store_word(value, self.at(field))
