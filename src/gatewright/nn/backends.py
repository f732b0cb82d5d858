"""Which backend runs a layer: chosen with a reason that can be read, never fallen back to in silence."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import NoReturn

import torch
from torch import Tensor
from torch.torch_version import TorchVersion

from gatewright.backends.triton.chips import OnChip
from gatewright.backends.triton.newton import MOST_STATES_OF_A_KERNEL, Newton
from gatewright.backends.triton.support import device_obstacle, obstacle_on_every_gpu
from gatewright.errors import OptionError, TraceError
from gatewright.nn.engine.schedules import simplified_and_planned
from gatewright.nn.modes import (
    exports_onnx,
    is_derived_by_transform,
    is_eager,
    is_forward_mode,
    is_simulated,
    is_transformed,
    is_watched,
)
from gatewright.nn.precision import Precision
from gatewright.nn.torch_fused import Fused
from gatewright.schedule.linearized import unit_recurrence
from gatewright.trace import Trace

ENGINES = ("llvm", "triton")
"""The backends of compiled kernels."""
TENSORS: tuple[type, ...] = (Tensor, torch.nn.Parameter)
"""The types whose memory kernels read. A subclass may keep its numbers elsewhere."""
FUSED = ("torch-fused", "cudnn")
"""The backends that call torch's fused functions."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Which backend runs a layer, and why."""

    backend: str
    reason: str

    def __str__(self) -> str:
        return f"{self.backend}: {self.reason}"


def choose(
    asked: str,
    trace: Trace,
    like: Tensor | OnChip,
    find_fused: Callable[[], Fused | str],
    precision: Precision | str,
    newton: Newton | None = None,
) -> Plan:
    """The backend for a cell on tensors such as `like`.

    `find_fused` finds torch's function for the layer, or why it has none; it is called only if the engine does not run
    the cell. `precision` are the dtypes in which the engine computes it, or why it has none. With `newton` all steps
    are solved at once.

    Raises OptionError where one was asked for by name and cannot run it.
    """
    if exports_onnx():
        return Plan("onnx", "torch.onnx.export records ONNX's own operator, or a loop of the equations")
    if newton is not None:
        return _choose_newton(asked, trace, like, precision)
    if asked == "torch":
        return Plan("torch", "asked for by name; operation by operation, on any device")
    if asked in FUSED:
        fused = (_cudnn_obstacle(like) if asked == "cudnn" else None) or find_fused()
        if isinstance(fused, str):
            _refuse(asked, trace.name, fused)
        by_cudnn = _cudnn_obstacle(like) is None
        found = _by_cudnn(fused, trace, like, precision) if by_cudnn else _FUSED.format(fused.name)
        return Plan(asked, f"asked for by name: {found}")
    if asked == "triton" or (asked == "auto" and like.device.type == "cuda"):
        return _choose_for_gpu(asked, trace, like, find_fused, precision)
    return _choose_for_cpu(asked, trace, like, find_fused, precision)


def _choose_for_cpu(
    asked: str, trace: Trace, like: Tensor | OnChip, find_fused: Callable[[], Fused | str], precision: Precision | str
) -> Plan:
    """The compiled engine, else torch's fused functions, else its operations."""
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


def _choose_for_gpu(
    asked: str, trace: Trace, like: Tensor | OnChip, find_fused: Callable[[], Fused | str], precision: Precision | str
) -> Plan:
    """CuDNN where the equations are its own, else Triton's kernels, else torch's operations."""
    obstacle = _gpu_obstacle(trace, like, precision)
    if asked == "triton":
        if obstacle is not None:
            _refuse(asked, trace.name, obstacle)
        return Plan("triton", "; ".join([*_kernel_notes(like, precision), "asked for by name"]))
    if is_forward_mode():
        return Plan("torch", f"Triton's kernels cannot run this: {obstacle}")
    fused, no_cudnn = find_fused(), _cudnn_obstacle(like)
    if not isinstance(fused, str) and fused.name not in FASTER_THAN_CUDNN:
        if no_cudnn is None:
            reason = _by_cudnn(fused, trace, like, precision)
            return Plan("cudnn", f"{reason}; no Triton kernel has been measured to be faster")
        if obstacle is not None:
            return Plan("torch-fused", f"Triton's kernels cannot run this: {obstacle}; {_FUSED.format(fused.name)}")
    if obstacle is None:
        no_fused = fused if isinstance(fused, str) else no_cudnn
        why = [f"cuDNN cannot: {no_fused}"] if no_fused else []
        return Plan("triton", "; ".join([*_kernel_notes(like, precision), *why]))
    reason = f"Triton's kernels cannot run this: {obstacle}"
    return Plan("torch", f"{reason}; nor can cuDNN: {fused}" if isinstance(fused, str) else reason)


def _choose_newton(asked: str, trace: Trace, like: Tensor | OnChip, precision: Precision | str) -> Plan:
    """Newton's iterations by kernels where they can run, else by torch's operations."""
    obstacle = _newton_obstacle(asked, like, precision)
    without_kernels = None if isinstance(precision, str) else _place_obstacle(like, precision.dtype)
    if asked == "triton" and obstacle is None:
        obstacle = without_kernels
    if obstacle is not None or isinstance(precision, str):
        _refuse_newton(trace.name, obstacle or "")
    if without_kernels is not None:
        return Plan("newton", f"all steps at once, by torch's operations; Triton's kernels cannot: {without_kernels}")
    states = unit_recurrence(trace).states
    notes = _kernel_notes(like, precision)
    if len(states) > MOST_STATES_OF_A_KERNEL:
        notes.append(f"iterations by torch's operations: {len(states)} states of a unit do not stay in registers")
    return Plan("newton", "; ".join(["all steps at once", *notes]))


def _newton_obstacle(asked: str, like: Tensor | OnChip, precision: Precision | str) -> str | None:
    """Why Newton's iterations cannot be done in a call; None where they can."""
    if asked not in ("auto", "triton"):
        return f"backend {asked!r}"
    if isinstance(precision, str):
        return precision
    if precision.products == "int8":
        return "products in int8"
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or (is_watched() and not is_transformed()):
        return "torch.compile, torch.jit.trace or a TorchDispatchMode, whose graphs hold no iterations"
    return _mode_obstacle(like)


@torch.compiler.assume_constant_result
def _refuse_newton(name: str, obstacle: str) -> NoReturn:
    raise OptionError(
        f"the layer of {name!r} was made with newton=, which cannot be done here",
        expected="backend 'auto' or 'triton', outside torch.compile, forward mode and TorchDispatchModes",
        got=obstacle,
        do="set layer.newton = None",
    )


FASTER_THAN_CUDNN: frozenset[str] = frozenset()
"""The functions of torch's that Triton's kernels were measured to be faster than on a GPU. None was measured yet, so
that cuDNN is the floor: no layer that takes the place of torch.nn's is slower than that."""


def _kernel_notes(like: Tensor | OnChip, precision: Precision | str) -> list[str]:
    place = "this GPU" if like.device.type == "cuda" else "Triton's interpreter"
    place = like.chip.name if isinstance(like, OnChip) else place
    if isinstance(precision, str):
        return [f"kernels for {place}"]
    note, mode = precision.note, precision.products
    if isinstance(like, OnChip) and mode in ("tf32", "tf32x3") and like.chip.product_mode(mode) != mode:
        note = f"products in float32, since {place} has none in {mode}"
    return [f"kernels for {place}", *([note] if note else [])]


def differentiable_backend(trace: Trace, like: Tensor | OnChip, precision: Precision | str) -> str:
    """What computes a gradient of one of torch's functions that is to be differentiated itself: cuDNN has none."""
    return "triton" if like.device.type == "cuda" and _gpu_obstacle(trace, like, precision) is None else "torch"


def _by_cudnn(fused: Fused, trace: Trace, like: Tensor | OnChip, precision: Precision | str) -> str:
    by_kernels = differentiable_backend(trace, like, precision) == "triton"
    second = "are Triton's kernels" if by_kernels else "go operation by operation"
    return f"torch.{fused.name} runs it by cuDNN; second derivatives {second}"


_FUSED = "torch.{} runs it (cuDNN on CUDA); masks, resets, gates and second derivatives go operation by operation"
_EXPECTED = {
    "llvm": "float32, float64, bfloat16 or float16 on the CPU, derivatives in reverse mode",
    "triton": "float32, bfloat16 or float16 on a GPU, with triton installed, derivatives in reverse mode",
    "cudnn": "the equations of torch.nn's RNN, GRU or LSTM on CUDA, called without a mask, resets or return_gates",
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


def _obstacle(trace: Trace, like: Tensor | OnChip, precision: Precision | str) -> str | None:
    """Why the compiled engine cannot run a cell on such tensors; None where it can."""
    if like.device.type != "cpu":
        return f"the tensors are on {like.device.type}"
    if isinstance(precision, str):
        return precision
    if precision.products in ("float16", "tf32", "tf32x3"):
        return f"products in {precision.products} are computed on a GPU"
    return _mode_obstacle(like) or _unplannable(trace)


def _gpu_obstacle(trace: Trace, like: Tensor | OnChip, precision: Precision | str) -> str | None:
    """Why Triton's kernels cannot run a cell on such tensors; None where they can."""
    if isinstance(precision, str):
        return precision
    if precision.products == "int8":
        return "layers of weights in int8 run on a CPU"
    return _place_obstacle(like, precision.dtype) or _mode_obstacle(like) or _unplannable(trace)


def _place_obstacle(like: Tensor | OnChip, dtype: torch.dtype) -> str | None:
    """Why kernels cannot run where tensors are; None where they can."""
    return obstacle_on_every_gpu(dtype) if isinstance(like, OnChip) else _device_obstacle(like.device, dtype)


@torch.compiler.assume_constant_result
def _device_obstacle(device: torch.device, dtype: torch.dtype) -> str | None:
    return device_obstacle(device, dtype)


def _cudnn_obstacle(like: Tensor | OnChip) -> str | None:
    """Why cuDNN computes nothing for such tensors; None where it may."""
    obstacle = None if isinstance(like, OnChip) else _cudnn_device_obstacle(like.device)
    return obstacle or _cudnn_dtype_obstacle(like.dtype)


@torch.compiler.assume_constant_result
def _cudnn_device_obstacle(device: torch.device) -> str | None:
    if device.type != "cuda":
        return f"the tensors are on {device.type}"
    if not torch.backends.cudnn.is_available():
        return "this torch has no cuDNN"
    return None if torch.backends.cudnn.enabled else "torch.backends.cudnn.enabled is False"


@torch.compiler.assume_constant_result
def _cudnn_dtype_obstacle(dtype: torch.dtype) -> str | None:
    """Why torch runs its functions step by step, without cuDNN, on tensors of a dtype: a silent change of speed."""
    if torch.version.hip is not None:
        takes = dtype in (torch.float32, torch.float16)
    else:
        takes = dtype != torch.bfloat16 or _cudnn_takes_bfloat16()
    return None if takes else f"this torch hands cuDNN no tensors in {str(dtype).removeprefix('torch.')}"


def _cudnn_takes_bfloat16() -> bool:
    version = torch.backends.cudnn.version()  # None on a machine without it: a plan is for another one then
    return TorchVersion(torch.__version__) >= "2.10" and (version is None or version >= 91300)


def _mode_obstacle(like: Tensor | OnChip) -> str | None:
    """Why kernels cannot run in the modes of torch that are at work; None where they can."""
    if torch.compiler.is_compiling():
        if is_derived_by_transform():
            return "torch.compile is tracing a derivative by torch.func"
    elif not isinstance(like, OnChip) and type(like) not in TENSORS and not is_simulated(like):
        return f"the tensors are {type(like).__name__}s"
    if is_forward_mode():
        return "forward-mode differentiation is at work"
    return None


def check_checkpoint(backend: str, trace: Trace, tensors: Iterable[Tensor]) -> None:
    """Raise OptionError unless an engine runs a checkpointed layer on such tensors, or no gradient is needed."""
    if backend == "onnx" or torch.jit.is_tracing() or torch.compiler.is_exporting() or not torch.is_grad_enabled():
        return
    if (backend not in (*ENGINES, "newton") or not is_eager()) and any(tensor.requires_grad for tensor in tensors):
        _refuse_checkpoint(backend, trace.name)


@torch.compiler.assume_constant_result
def _refuse_checkpoint(backend: str, name: str) -> NoReturn:
    raise OptionError(
        f"the layer of {name!r} was made with checkpoint=, which cannot be done here",
        expected="backend 'llvm' or 'triton', outside torch.compile, transforms of torch.func and TorchDispatchModes",
        got=f"backend {backend!r}" if backend not in (*ENGINES, "newton") else "a call that one of these records",
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
