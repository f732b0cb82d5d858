"""Which backend runs a layer: chosen with a reason that can be read, never fallen back to in silence."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import NoReturn

import torch
from torch import Tensor

from gatewright.errors import OptionError, TraceError
from gatewright.nn.engine.schedules import simplified_and_planned
from gatewright.nn.modes import exports_onnx, is_derived_by_transform, is_eager, is_forward_mode
from gatewright.nn.precision import Precision
from gatewright.nn.torch_fused import Fused
from gatewright.trace import Trace


@dataclass(frozen=True, slots=True)
class Plan:
    """Which backend runs a layer, and why."""

    backend: str
    reason: str

    def __str__(self) -> str:
        return f"{self.backend}: {self.reason}"


def choose(
    asked: str, trace: Trace, like: Tensor, find_fused: Callable[[], Fused | str], precision: Precision | str
) -> Plan:
    """The backend for a cell on tensors such as `like`.

    `find_fused` finds torch's function for the layer, or why it has none; it is called only if the engine does not run
    the cell. `precision` are the dtypes in which the engine computes it, or why it has none.

    Raises OptionError where one was asked for by name and cannot run it.
    """
    if exports_onnx():
        return Plan("onnx", "torch.onnx.export records ONNX's own operator, or a loop of the equations")
    if asked == "torch":
        return Plan("torch", "asked for by name; operation by operation, on any device")
    if asked == "torch-fused":
        fused = find_fused()
        if isinstance(fused, str):
            _refuse(asked, trace.name, fused)
        return Plan("torch-fused", f"asked for by name: {_FUSED.format(fused.name)}")
    obstacle = _obstacle(trace, like, precision)
    if obstacle is None:
        notes = [] if isinstance(precision, str) or not precision.note else [precision.note]
        notes += [] if asked == "auto" else ["asked for by name"]
        return Plan("llvm", "; ".join(["compiled for this processor", *notes]))
    if asked == "llvm":
        _refuse(asked, trace.name, obstacle)
    reason = f"the compiled engine cannot run this: {obstacle}"
    if is_forward_mode():
        return Plan("torch", reason)
    fused = find_fused()
    if isinstance(fused, str):
        return Plan("torch", f"{reason}; nor can torch's fused functions: {fused}")
    return Plan("torch-fused", f"{reason}; {_FUSED.format(fused.name)}")


_FUSED = "torch.{} runs it (cuDNN on CUDA); masks, resets, gates and second derivatives go operation by operation"
_EXPECTED = {
    "llvm": "float32, float64, bfloat16 or float16 on the CPU, derivatives in reverse mode",
    "torch-fused": "the equations of torch.nn's RNN, GRU or LSTM, called without a mask, resets or return_gates",
}


@torch.compiler.assume_constant_result  # torch.compile cannot follow how an error is made
def _refuse(asked: str, name: str, obstacle: str) -> NoReturn:
    raise OptionError(
        f"backend {asked!r} cannot run {name!r} here",
        expected=_EXPECTED[asked],
        got=obstacle,
        do="use backend='auto' or 'torch'",
    )


def _obstacle(trace: Trace, like: Tensor, precision: Precision | str) -> str | None:
    """Why the compiled engine cannot run a cell on such tensors; None where it can."""
    if like.device.type != "cpu":
        return f"the tensors are on {like.device.type}"
    if isinstance(precision, str):
        return precision
    if torch.compiler.is_compiling():
        if is_derived_by_transform():
            return "torch.compile is tracing a derivative by torch.func"
    elif type(like) not in (Tensor, torch.nn.Parameter):
        return f"the tensors are {type(like).__name__}s"
    if is_forward_mode():
        return "forward-mode differentiation is at work"
    return _unplannable(trace)


def check_checkpoint(backend: str, trace: Trace, tensors: Iterable[Tensor]) -> None:
    """Raise OptionError unless the engine runs a checkpointed layer on such tensors, or no gradient is needed."""
    if backend == "onnx" or torch.jit.is_tracing() or torch.compiler.is_exporting() or not torch.is_grad_enabled():
        return
    if (backend != "llvm" or not is_eager()) and any(tensor.requires_grad for tensor in tensors):
        _refuse_checkpoint(backend, trace.name)


@torch.compiler.assume_constant_result
def _refuse_checkpoint(backend: str, name: str) -> NoReturn:
    raise OptionError(
        f"the layer of {name!r} was made with checkpoint=, which cannot be done here",
        expected="backend 'llvm', outside torch.compile, transforms of torch.func and TorchDispatchModes",
        got=f"backend {backend!r}" if backend != "llvm" else "a call that one of these records",
        do="set layer.checkpoint = None, or wrap the call in torch.utils.checkpoint.checkpoint",
        shell="leave out --set gradient_checkpoint",
    )


@torch.compiler.assume_constant_result
def _unplannable(trace: Trace) -> str | None:
    return _plan_problem(trace)


@lru_cache(maxsize=256)
def _plan_problem(trace: Trace) -> str | None:
    try:
        simplified_and_planned(trace)
    except TraceError as error:
        return error.problem
    return None
