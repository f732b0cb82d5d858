"""From the text of a kernel to a Triton function, which compiles itself at its first launch."""

import linecache
from functools import cache
from hashlib import sha256
from threading import Lock
from typing import Any

from gatewright.backends.triton.kernel_text import KernelText


def kernel(text: KernelText) -> Any:
    """The Triton function of a text. One text has one function, so that it is compiled once.

    It is launched by `kernel(text)[grid](*pointers, T, B, **constants)`.
    """
    function = _functions(text.text)[text.name]
    return InterpretedKernel(function) if is_interpreted() else function


class InterpretedKernel:
    """A kernel in Triton's interpreter. Threads take turns: while a kernel runs, the interpreter has other functions
    in the places of those of triton.language, for all threads.
    """

    _turn = Lock()

    def __init__(self, function: Any) -> None:
        self._function = function

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        """What launches the kernel over a grid."""

        def launch(*arguments: Any, **constants: Any) -> None:
            with self._turn:
                self._function[grid](*arguments, **constants)

        return launch


def is_interpreted() -> bool:
    """Whether kernels run in Triton's interpreter: on the CPU, with products of bfloat16 and tf32 emulated."""
    from triton import knobs  # pyright: ignore[reportMissingTypeStubs]

    return bool(knobs.runtime.interpret)


@cache
def _functions(source: str) -> dict[str, Any]:
    """Everything that a text defines. No file is written: Triton reads a function's source through `linecache`."""
    file = f"<gatewright kernel {sha256(source.encode()).hexdigest()[:16]}>"
    # without a time of change the entry stays when linecache looks for files that have changed
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    namespace: dict[str, Any] = {"__name__": file}
    exec(compile(source, file, "exec"), namespace)
    return namespace
