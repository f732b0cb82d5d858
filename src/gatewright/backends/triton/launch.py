"""What launches need: the arrays of a kernel's pointers, the types of their elements, the device."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from gatewright.backends.triton.kernel_text import Argument, ArgumentKind


def element_type(dtype: torch.dtype) -> Any:
    """Triton's type of the elements of a tensor."""
    import triton.language as tl  # pyright: ignore[reportMissingTypeStubs]

    return getattr(tl, str(dtype).removeprefix("torch."))


def pointers(arguments: Iterable[Argument], arrays: Mapping[Argument, Tensor | None]) -> list[Tensor | None]:
    """The arrays of a kernel's pointers, in order. Only a START and LENGTHS may be absent: they are None then."""
    optional = (ArgumentKind.START, ArgumentKind.LENGTHS)
    return [arrays.get(argument) if argument.kind in optional else arrays[argument] for argument in arguments]


def on_device(tensor: Tensor) -> AbstractContextManager[object]:
    """Make a tensor's device the current one: kernels are launched there."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()
