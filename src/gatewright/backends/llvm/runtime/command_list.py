"""Kernel calls as a command list: they are written down once, and run without Python in between."""

import ctypes
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from gatewright.backends.llvm.emit.emitter import INDEX, POINTER
from gatewright.backends.llvm.emit.native import NULL, NativeModule, StructMemory
from gatewright.backends.llvm.jit.compile import compile_module
from gatewright.backends.llvm.jit.machine_code import Signature, address_of

_FUNCTIONS: dict[str, Signature] = {
    "bind": (ctypes.c_void_p, ctypes.c_int64),
    "perform": (),
    "repeat": (ctypes.c_int64, *[ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64] * 2),
    "copy": (ctypes.c_void_p, *[ctypes.c_int64] * 4, ctypes.c_void_p, ctypes.c_int64),
}


class KernelCall(ctypes.Structure):
    """One call of a kernel by one thread; see `kernels.PASS_ARGUMENTS`."""

    _fields_ = [
        ("kernel", ctypes.c_void_p),
        ("table", ctypes.c_void_p),
        *[(name, ctypes.c_int64) for name in ("steps", "batch", "first", "last")],
    ]


class MemoryCopy:
    """A copy of memory between the calls of a command list."""

    def __init__(self, target: int, source: int, size: int) -> None:
        self.target, self.source, self.size = target, source, size

    def as_call(self, copy: int) -> KernelCall:
        """The copy in the form of a kernel's call."""
        return KernelCall(copy, self.target, self.source, self.size, 0, 0)


class CommandList:
    """Kernel calls, one after the other, by one call from Python.

    `perform()` runs them once. With `keep_lock` it keeps Python's lock meanwhile: giving it up and taking it again
    costs more than a small kernel, and milliseconds where another thread takes it in between.

    `repeat(times, input, sources, input_bytes, targets, output, output_bytes)` runs them again and again without that
    lock: before each turn the next part of `sources` is copied to `input`, and after it `output` to the next part of
    `targets`; all are addresses.

    The memory and code that the calls use have to live for as long as one of the two functions; `keep` are objects that
    they hold on to for that purpose.
    """

    def __init__(self, calls: Sequence[KernelCall | MemoryCopy], *, keep_lock: bool, keep: Sequence[object]) -> None:
        # A call without arguments costs half as much as one with a single argument, so every command list has this
        # module for itself, and is bound to it.
        library = compile_module(_source, _FUNCTIONS, key="command list")
        copy = address_of(library["copy"])
        entries = [call.as_call(copy) if isinstance(call, MemoryCopy) else call for call in calls]
        array = (KernelCall * len(entries))(*entries)
        library["bind"](ctypes.addressof(array), len(entries))
        perform: Any = library["perform"]
        repeat: Any = library["repeat"]
        if keep_lock:
            locked: Any = ctypes.PYFUNCTYPE(None)(address_of(perform))
            locked.code, perform = perform, locked
        perform.keep = repeat.keep = (array, *keep)
        self.perform: Callable[[], None] = perform
        self.repeat: Callable[..., None] = repeat


@cache
def _source() -> str:
    module = NativeModule()
    calls, count = (module.variable(name, kind) for name, kind in (("calls", POINTER), ("count", INDEX)))
    with module.function("bind", first=POINTER, number=INDEX) as (e, given):
        e.store_word(given.first, calls)
        e.store_word(given.number, count)
    unused = {"unused_last": INDEX, "unused_context": POINTER, "unused_adds": INDEX}
    with module.function("copy", to=POINTER, source=INDEX, size=INDEX, unused_first=INDEX, **unused) as (e, given):
        e.copy_memory(given.to, e.as_pointer(given.source), given.size)
    with module.function("perform") as (e, _):
        first = e.load_word(calls, POINTER, "first")
        with e.loop(0, e.load_word(count, INDEX, "count"), 1, "call") as loop:
            at = e.byte(first, e.mul_index(loop.index, ctypes.sizeof(KernelCall)))
            call = StructMemory(e, KernelCall, at)
            numbers = [call.load(name) for name in ("table", "steps", "batch", "first", "last")]
            e.call_pointer(call.load("kernel"), [*numbers, NULL, e.index(0)])
    places = {"input": POINTER, "sources": POINTER, "input_bytes": INDEX}
    places |= {"targets": POINTER, "output": POINTER, "output_bytes": INDEX}
    with module.function("repeat", times=INDEX, **places) as (e, given), e.loop(0, given.times, 1, "turn") as turn:
        source = e.byte(given.sources, e.mul_index(turn.index, given.input_bytes))
        e.copy_memory(given.input, source, given.input_bytes)
        e.call(module["perform"], [])
        target = e.byte(given.targets, e.mul_index(turn.index, given.output_bytes))
        e.copy_memory(target, given.output, given.output_bytes)
    return str(module)
