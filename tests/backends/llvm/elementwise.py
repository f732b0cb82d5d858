"""Functions of the emitter as functions of NumPy arrays, and how far their results are off."""

import ctypes
from collections.abc import Callable, Mapping

import numpy as np
from llvmlite import ir

from gatewright.backends.llvm.emit.emitter import INDEX, POINTER, Emitter
from gatewright.backends.llvm.emit.vector_type import Dtype, Value
from gatewright.backends.llvm.jit.machine_code import Library, emit_object
from gatewright.backends.llvm.jit.target import Target

Function = Callable[[Emitter, Value], Value]
KERNEL = {"apply": (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)}


def kernel(emit: Callable[[Emitter, Value, Value, Value], None], dtype: Dtype, width: int) -> str:
    """A module with one function, `apply(source, target, count)`."""
    module = ir.Module()
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [POINTER, POINTER, INDEX]), "apply")
    for argument, name in zip(function.args, ("source", "target", "count"), strict=True):
        argument.name = name
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    emit(Emitter(builder, dtype, width), *function.args)
    builder.ret_void()
    return str(module)


def elementwise(function: Function, dtype: Dtype, width: int) -> str:
    """A module that applies a function to as many whole vectors as there are."""

    def emit(e: Emitter, source: Value, target: Value, count: Value) -> None:
        with e.loop(0, count, width, "at") as at:
            x = e.load(e.address(source, at.index, "source.at"), "x")
            e.store(function(e, x), e.address(target, at.index, "target.at"))

    return kernel(emit, dtype, width)


def loaded(module: str, target: Target, functions: Mapping[str, tuple[type, ...]] = KERNEL) -> Library:
    return Library(module, functions, emit_object(module, functions, target), target, from_cache=False)


def applied(function: Function, x: np.ndarray, target: Target, width: int | None = None) -> np.ndarray:
    """What a function of the emitter gives for every number of an array."""
    width = width or target.lanes(x.dtype)
    padded = np.concatenate([x, np.ones(-len(x) % width, x.dtype)])
    result = np.full_like(padded, np.nan)
    library = loaded(elementwise(function, x.dtype.name, width), target)
    library["apply"](padded.ctypes.data, result.ctypes.data, len(padded))
    return result[: len(x)]


def ulps(got: np.ndarray, want: np.ndarray) -> np.ndarray:
    """How far results are from the truth, in units of the last place of the truth, rounded to the results' dtype.

    `want` has more digits than `got`. What should not be finite, and is what it should be, is not off at all.
    """
    limits = np.finfo(got.dtype)
    with np.errstate(all="ignore"):
        rounded = want.astype(got.dtype)
        exponent = np.where(want == 0, limits.minexp, np.maximum(np.frexp(want)[1] - 1, limits.minexp))
        error = np.abs(got.astype(want.dtype) - want) / np.ldexp(want.dtype.type(1), exponent - limits.nmant)
    right = (got == rounded) | (np.isnan(got) & np.isnan(rounded))
    return np.where(np.isfinite(rounded) & np.isfinite(got), error, np.where(right, 0, np.inf))
