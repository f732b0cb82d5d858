"""Whether kernels use AMX in this process: Linux has to give the tiles, and their first product has to be right.

The kernels for AMX were written without a processor that has it. So each process compares one product of theirs with
the same one by vectors before it uses them. If they differ by more than rounding, AMX is off.
"""

import ctypes
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np

from gatewright.axes import HIDDEN, INPUT
from gatewright.backends.llvm.codegen.kernels import WHOLE, Kernels
from gatewright.backends.llvm.codegen.module import emit_module
from gatewright.backends.llvm.emit.amx import AmxTiles
from gatewright.backends.llvm.jit.amx_permission import request_tiles
from gatewright.backends.llvm.jit.compile import compile_module
from gatewright.backends.llvm.jit.machine_code import CompileError
from gatewright.backends.llvm.jit.target import Target, runnable
from gatewright.lang import cell
from gatewright.schedule.plan import plan
from gatewright.trace import trace_cell

VARIABLE = "GATEWRIGHT_AMX"
"""The environment variable that turns AMX off, if it is "off"."""

_ROWS, _SIZES = 19, {INPUT: 75, HIDDEN: 41}  # neither fills whole tiles
_ROOM = 2**15  # numbers, more than any buffer of this product needs
_ROUNDING = 2e-6
"""By how much sums of about a hundred products differ in another order, as a part of the largest one."""


@dataclass(frozen=True, slots=True)
class AmxSupport:
    """What kernels use, and the reason where the processor has AMX but they do not use it."""

    tiles: type[AmxTiles] | None
    obstacle: str = ""


def amx_support(target: Target) -> AmxSupport:
    """Whether kernels for a target use AMX in this process; found out at the first call."""
    if not target.has_amx or not runnable(target):
        return AmxSupport(None)
    if os.environ.get(VARIABLE) == "off":
        return AmxSupport(None, f"the environment variable {VARIABLE} is off")
    return _support_of(target)


@cache
def _support_of(target: Target) -> AmxSupport:
    return decide(target, AmxTiles, request_tiles)


def decide(target: Target, tiles: type[AmxTiles], request: Callable[[], str]) -> AmxSupport:
    """Ask for the tiles, then compare a product by them with the same one by vectors."""
    obstacle = request() or _difference(target, tiles)
    return AmxSupport(None, obstacle) if obstacle else AmxSupport(tiles)


@cell
def _two_products(x: Any, h: Any, W: Any, U: Any) -> Any:
    """Two vectors of different lengths in one sum."""
    return W.n @ x + U.n @ h


def _difference(target: Target, tiles: type[AmxTiles]) -> str:
    """What is wrong with a product by AMX, else an empty text."""
    try:
        by_tiles, by_vectors = (_product(target, amx) for amx in (tiles, None))
    except CompileError as error:
        return f"LLVM does not compile kernels for it: {error}"
    largest, scale = float(np.abs(by_tiles - by_vectors).max()), float(np.abs(by_vectors).max())
    if largest <= _ROUNDING * scale:  # false for NaN
        return ""
    return f"a product differs from the one by vectors by {largest / scale:.1e} of its largest number"


def _product(target: Target, amx: type[AmxTiles] | None) -> np.ndarray:
    """The new states of one step on random numbers."""
    rng = np.random.default_rng(0)
    kernels = Kernels(
        plan(trace_cell(_two_products)), _SIZES, "float32", target, backwards=False, rows=_ROWS, lines=_ROWS,
        products="bfloat16", amx=amx,
    )  # fmt: skip
    states = np.full((2, _ROWS, _SIZES[HIDDEN]), np.nan, np.float32)  # before the step, and after it
    states[0] = rng.standard_normal(states[0].shape)
    shapes = {"x": (_ROWS, _SIZES[INPUT])} | {f"{m}.n": (_SIZES[HIDDEN], _SIZES[a]) for m, a in _COLUMNS.items()}
    arrays = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    _run(kernels, arrays | {"h": states})
    return states[1]


_COLUMNS = {"W": INPUT, "U": HIDDEN}


def _run(kernels: Kernels, arrays: Mapping[str, np.ndarray]) -> None:
    """Run all kernels for one step. Buffers that only they use begin as NaN, so that a wrong read is seen."""
    source, key = partial(emit_module, kernels), f"AMX and vectors compared {kernels.layout}"
    library = compile_module(source, kernels.functions, key=key, target=kernels.target)
    buffers = [
        arrays[slot.name] if slot.name in arrays else np.full(_ROOM, np.nan, np.float32) for slot in kernels.bound.slots
    ]
    table = (ctypes.c_void_p * len(buffers))(*(buffer.ctypes.data for buffer in buffers))
    library[WHOLE](ctypes.addressof(table), 1, _ROWS, 0, _ROWS, 0, 0)
