"""From LLVM's language to the machine's: check, emit, and load as functions that can be called and freed.

LLVM's optimisation passes are not run. The generator writes vectors, hoists and unrolls by itself: the passes made no
kernel faster, but took a tenth of the compile time, and many times that where they unrolled short loops. Loop strength
reduction, a pass of LLVM's code generator, takes a quarter of its time. It is left out for x86: one instruction adds a
base, a scaled index and an offset, so that a loop needs no counter for each address. Kernels are as fast without it.
"""

import ctypes
import os
import struct
import weakref
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache, cached_property
from threading import RLock, Thread
from typing import Any

import llvmlite.binding as llvm
from llvmlite.binding import ffi

from gatewright.backends.llvm.jit.target import Target, is_x86, machine_for
from gatewright.errors import GatewrightError
from gatewright.threads import processors

Signature = Sequence[type[Any]]
"""The ctypes of a function's arguments; kernels return nothing."""

_LLVM_TYPES = {
    ctypes.c_void_p: "ptr",
    ctypes.c_int64: "i64",
    ctypes.c_int32: "i32",
    ctypes.c_float: "float",
    ctypes.c_double: "double",
}

# LLVM itself turns loops and large copies into calls of these. Kernels call nothing else from outside: a mathematical
# function would be taken from whatever library the process has loaded, with its numbers.
_ALLOWED_CALLS = frozenset({"memcpy", "memmove", "memset"})
_SYMBOL = struct.Struct("<IBBHQQ")  # of ELF with 64 bits: name, info, other, section, value, size


class CompileError(GatewrightError, RuntimeError):
    """A module that LLVM refuses, or that does not hold the functions that it should."""


def emit_object(
    ir: str, functions: Mapping[str, Signature], target: Target, *, meanwhile: Callable[[], object] | None = None
) -> bytes:
    """Object code of a module that defines these functions. `meanwhile` is called in another thread while LLVM works.

    Raises CompileError where LLVM refuses the module, where one of the functions is missing or of another type, and
    where the module calls what kernels may not call.
    """
    with _parsed(ir, target) as module:
        for name, signature in functions.items():
            _require_function(module, name, spell(signature))
        with _other_thread(meanwhile) as start, _generator_options(target):
            start()
            code: bytes = machine_for(target).emit_object(module)
    _require_complete(code, target)
    return code


def emit_assembly(ir: str, target: Target) -> str:
    """The machine's instructions for a module, as text."""
    with _parsed(ir, target) as module, _generator_options(target):
        return machine_for(target).emit_assembly(module)


@contextmanager
def _generator_options(target: Target) -> Generator[None]:
    """Leave loop strength reduction out of what LLVM does for x86.

    LLVM knows this as an option of the whole process. So the lock of all calls of LLVM is held meanwhile: code that
    another library compiles in another thread is not generated with it.
    """
    if not is_x86(target):
        yield
        return
    lock: Any = ffi.lib._lock  # pyright: ignore[reportPrivateUsage]
    with lock:
        llvm.set_option("", "-disable-lsr=true")
        try:
            yield
        finally:
            llvm.set_option("", "-disable-lsr=false")


_other_work = RLock()
"""Held by a thread that works while LLVM compiles: a fork waits for it."""


@contextmanager
def _other_thread(work: Callable[[], object] | None) -> Generator[Callable[[], None]]:
    """A function that starts work in another thread, which has ended when the block is left.

    The thread is started right before the one long call of LLVM, in which this thread does without Python's lock. After
    a shorter call this thread would wait milliseconds until the other one gives that lock away. The thread is joined
    after LLVM's lock was released, since the work may need it.

    Errors of the work are dropped: whoever needs its result computes it again, and gets the error.
    """
    threads: list[Thread] = []

    def run(own: Callable[[], object]) -> None:
        with _other_work, suppress(Exception):
            own()

    def start() -> None:
        if work is not None and processors() > 1:
            threads.append(Thread(target=run, args=(work,), name="gatewright: next kernels", daemon=True))
            threads[0].start()

    try:
        yield start
    finally:
        for thread in threads:
            thread.join()


def spell(signature: Signature) -> str:
    """A signature as LLVM writes it: "void (ptr, i64)"."""
    return f"void ({', '.join(_LLVM_TYPES[kind] for kind in signature)})"


@cache
def _layout(target: Target) -> str:
    """How values of each type lie in memory, as LLVM writes it."""
    return str(machine_for(target).target_data)


@contextmanager
def _parsed(ir: str, target: Target) -> Generator[llvm.ModuleRef, None, None]:
    """A module in a context of its own, so that its memory is freed. The module must be freed before its context, also
    when an error still refers to it."""
    try:
        with llvm.create_context() as context, llvm.parse_assembly(ir, context) as module:
            module.triple = target.triple
            module.data_layout = _layout(target)
            module.verify()
            yield module
    except CompileError:
        raise
    except RuntimeError as error:
        raise CompileError(f"LLVM refuses the code that was generated for {target.name!r}", got=str(error)) from error


def _require_function(module: llvm.ModuleRef, name: str, expected: str) -> None:
    try:
        function = module.get_function(name)
    except NameError:
        function = None
    if function is None or function.is_declaration:
        defined = [other.name for other in module.functions if not other.is_declaration]
        raise CompileError(
            f"the code that was generated lacks the function {name!r}", got=", ".join(defined) or "no function"
        )
    if str(function.global_value_type) != expected:
        raise CompileError(
            f"the function {name!r} that was generated has another type than its caller uses",
            expected=expected,
            got=str(function.global_value_type),
        )


def _require_complete(code: bytes, target: Target) -> None:
    """Check that object code calls nothing outside itself but what it may. Code that is not ELF is not checked."""
    unknown = sorted(_undefined(code) - _ALLOWED_CALLS)
    if unknown:
        raise CompileError(
            f"the code that was generated for {target.name!r} calls what is not part of it", got=", ".join(unknown)
        )


def _undefined(code: bytes) -> set[str]:
    with llvm.ObjectFileRef.from_data(code) as file:
        sections = {section.name(): section.data() for section in file.sections()}
    names, symbols = sections.get(b".strtab", b""), sections.get(b".symtab", b"")
    starts = [name for name, _, _, section, _, _ in _SYMBOL.iter_unpack(symbols) if name and not section]
    return {names[start : names.index(0, start)].decode() for start in starts}


Source = str | Callable[[], str]
"""A module as LLVM IR, or a function that makes it, called only if it is needed."""


class Library:
    """Compiled functions by name; each is a ctypes function that lets other threads run while it does.

    The code stays in memory for as long as the library or one of its functions is referred to, so a function can
    always be called. Raises CompileError where the code calls what is not there.
    """

    def __init__(
        self, source: Source, functions: Mapping[str, Signature], code: bytes, target: Target, *, from_cache: bool
    ) -> None:
        self._source = source
        self.target = target
        self.from_cache = from_cache
        try:
            loaded = _LoadedCode(code, list(functions), target)
        except RuntimeError as error:
            raise CompileError(
                f"the code that was generated for {target.name!r} cannot be loaded", got=str(error)
            ) from error
        self._functions = {name: loaded.function(name, signature) for name, signature in functions.items()}

    def __getitem__(self, name: str) -> Callable[..., None]:
        return self._functions[name]

    @cached_property
    def ir(self) -> str:
        """The module as the code generator wrote it."""
        return self._source if isinstance(self._source, str) else self._source()

    @cached_property
    def assembly(self) -> str:
        """The machine's instructions. They are made when they are first asked for."""
        return emit_assembly(self.ir, self.target)


class _Linker:
    """LLVM's linker for the object code of one target. It is freed after all code that it has linked."""

    def __init__(self, target: Target) -> None:
        self._jit = llvm.create_lljit_compiler(machine_for(target), use_jit_link=True, suppress_errors=True)
        self._numbers = iter(range(_MOST_LINKED))

    def link(self, code: bytes, names: list[str]) -> llvm.ResourceTracker | None:
        """Load object code; None where so much was loaded already that another linker has to do it."""
        number = next(self._numbers, None)
        if number is None:
            return None
        builder = llvm.JITLibraryBuilder().add_object_img(code).add_current_process()
        for name in names:
            builder.export_symbol(name)
        return builder.link(self._jit, f"kernels {number}")


_MOST_LINKED = 8
"""A linker takes half a millisecond to make, so several libraries share one. It keeps some memory of a library that was
freed, until it is freed itself: so they are few."""
_linkers: dict[Target, _Linker] = {}
"""The linker of each target that was made last."""


def _link(code: bytes, names: list[str], target: Target) -> tuple[llvm.ResourceTracker, _Linker]:
    linker = _linkers.get(target)
    tracker = linker.link(code, names) if linker is not None else None
    if linker is None or tracker is None:
        linker = _linkers[target] = _Linker(target)
        tracker = linker.link(code, names)
        assert tracker is not None
    return tracker, linker


class _LoadedCode:
    """Object code in executable memory, for as long as this object lives."""

    def __init__(self, code: bytes, names: list[str], target: Target) -> None:
        self._tracker, linker = _link(code, names, target)
        weakref.finalize(self, _unload, self._tracker, linker).atexit = False

    def function(self, name: str, signature: Signature) -> Any:
        """A function of this code, which keeps it loaded."""
        function: Any = ctypes.CFUNCTYPE(None, *signature)(self._tracker[name])
        function.code = self
        return function


def _unload(tracker: llvm.ResourceTracker, linker: _Linker) -> None:
    """Free the code. That its linker is an argument keeps it until then: LLVM frees a linker with all of its code."""
    del linker
    tracker.close()


def address_of(function: Callable[..., None]) -> int:
    """Where the code of a compiled function begins."""
    address = ctypes.cast(function, ctypes.c_void_p).value  # pyright: ignore[reportArgumentType]
    assert address is not None
    return address


def _finish_before_forks() -> None:
    """Let a fork wait until LLVM and the threads beside it are idle: locks that they hold would stay locked in the
    child."""
    lock: Any = ffi.lib._lock  # pyright: ignore[reportPrivateUsage]

    def acquire() -> None:
        _other_work.acquire()  # first: who holds it may wait for LLVM's lock
        lock.__enter__()

    def release() -> None:
        lock.__exit__()
        _other_work.release()

    os.register_at_fork(before=acquire, after_in_parent=release, after_in_child=release)


if hasattr(os, "register_at_fork"):
    _finish_before_forks()
