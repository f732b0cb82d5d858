"""Object code as functions that can be called, and freed."""

import ctypes
import weakref
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import llvmlite.binding as llvm

from gatewright.backends.llvm.jit.machine_code import CompileError, Signature, emit_assembly
from gatewright.backends.llvm.jit.target import Target, machine_for

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


class _LoadedCode:
    """Object code in executable memory, for as long as this object lives.

    Each has a linker of its own, although that takes a millisecond: a shared one does not free all memory of a library.
    """

    def __init__(self, code: bytes, names: list[str], target: Target) -> None:
        linker = llvm.create_lljit_compiler(machine_for(target), use_jit_link=True, suppress_errors=True)
        builder = llvm.JITLibraryBuilder().add_object_img(code).add_current_process()
        for name in names:
            builder.export_symbol(name)
        self._tracker = builder.link(linker, "kernels")
        weakref.finalize(self, _unload, self._tracker, linker).atexit = False

    def function(self, name: str, signature: Signature) -> Any:
        """A function of this code, which keeps it loaded."""
        function: Any = ctypes.CFUNCTYPE(None, *signature)(self._tracker[name])
        function.code = self
        return function


def _unload(tracker: llvm.ResourceTracker, linker: llvm.LLJIT) -> None:
    tracker.close()
    linker.close()


def address_of(function: Callable[..., None]) -> int:
    """Where the code of a compiled function begins."""
    address = ctypes.cast(function, ctypes.c_void_p).value  # pyright: ignore[reportArgumentType]
    assert address is not None
    return address
