"""Which of torch's modes and transforms are at work: they decide which path a call takes.

torch.compile evaluates the functions marked `assume_constant_result` while it compiles, since it cannot trace them.
"""

import torch
from torch import Tensor
from torch._C._functorch import (  # pyright: ignore[reportMissingImports]
    TransformType,  # pyright: ignore[reportPrivateUsage]
    get_interpreter_stack,  # pyright: ignore[reportPrivateUsage]
    maybe_current_level,  # pyright: ignore[reportPrivateUsage]
)
from torch._subclasses.fake_tensor import FakeTensor  # pyright: ignore[reportPrivateUsage]
from torch._subclasses.functional_tensor import FunctionalTensor  # pyright: ignore[reportPrivateUsage]


def is_eager() -> bool:
    """Whether operations run as they are called: nothing compiles, records, transforms or watches them."""
    return not (
        torch.compiler.is_compiling() or torch.jit.is_tracing() or maybe_current_level() is not None or is_watched()
    )


def is_plain(*, autocast: bool = False) -> bool:
    """Whether a call needs nothing but numbers and their gradient: no mode of torch changes or observes operations,
    unless it is `autocast` and the caller knows how to follow it.

    All tests are in one function: a layer of few units takes about as long as each Python call here.
    """
    return not (
        torch.compiler.is_compiling()
        or torch._C._is_tracing()  # pyright: ignore[reportPrivateUsage] (torch.jit.is_tracing() asks for scripting first)
        or maybe_current_level() is not None
        or (not autocast and torch.is_autocast_enabled("cpu"))
        or torch._C._len_torch_dispatch_stack() > 0  # pyright: ignore[reportPrivateUsage]
        or torch.autograd.forward_ad._current_level >= 0  # pyright: ignore[reportPrivateUsage]
    )


def is_watched() -> bool:
    """Whether a TorchDispatchMode is active, such as torch.utils.flop_counter.FlopCounterMode."""
    return torch._C._len_torch_dispatch_stack() > 0  # pyright: ignore[reportPrivateUsage]


def is_simulated(tensor: Tensor) -> bool:
    """Whether a TorchDispatchMode works with tensors that stand for others, as in AOTAutograd or FakeTensorMode: it
    takes the operator of a graph, and no kernel runs."""
    return isinstance(tensor, FakeTensor | FunctionalTensor) and is_watched() and not is_transformed()


def is_transformed() -> bool:
    """Whether a transform of torch.func is at work."""
    return maybe_current_level() is not None


def is_forward_mode() -> bool:
    """Whether forward-mode derivatives are being computed."""
    return torch.autograd.forward_ad._current_level >= 0  # pyright: ignore[reportPrivateUsage]


@torch.compiler.assume_constant_result
def is_derived_by_transform() -> bool:
    """Whether torch.compile is tracing a derivative by torch.func."""
    return any(level.key() != TransformType.Vmap for level in get_interpreter_stack() or ())


def exports_onnx() -> bool:
    """Whether torch.onnx.export records what is called."""
    return (torch.compiler.is_exporting() or torch.jit.is_tracing()) and _is_in_onnx_export()


@torch.compiler.assume_constant_result
def _is_in_onnx_export() -> bool:
    return torch.onnx.is_in_onnx_export()


def hooks_saved_tensors() -> bool:
    """Whether hooks watch what autograd saves, as torch.utils.checkpoint does.

    It needs the same tensors from a call and from its repetition. So a first call, which takes the generic path, must
    not be repeated on a fast path that saves others.
    """
    return torch._C._autograd._top_saved_tensors_default_hooks(True) is not None  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]
