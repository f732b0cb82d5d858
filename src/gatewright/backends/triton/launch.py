"""What launches need: the arrays of a kernel's pointers, the types of their elements, the device."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from math import prod
from typing import Any

import torch
from torch import Tensor

from gatewright.axes import bind
from gatewright.backends.triton.kernel_text import Argument, ArgumentKind
from gatewright.errors import ShapeError
from gatewright.schedule.program import Program, Storage

LARGEST_OFFSET = 2**31 - 1
"""Within one step, or within a parameter, kernels count elements in 32 bits. Steps are counted in 64 bits."""


def element_type(dtype: torch.dtype) -> Any:
    """Triton's type of the elements of a tensor."""
    import triton.language as tl  # pyright: ignore[reportMissingTypeStubs]

    return getattr(tl, str(dtype).removeprefix("torch."))


def pointers(arguments: Iterable[Argument], arrays: Mapping[Argument, Tensor | None]) -> list[Tensor | None]:
    """The arrays of a kernel's pointers, in order. A START, LENGTHS and SPANS may be absent: they are None then."""
    optional = (ArgumentKind.START, ArgumentKind.LENGTHS, ArgumentKind.SPANS)
    return [arrays.get(argument) if argument.kind in optional else arrays[argument] for argument in arguments]


def memory_of(arguments: Iterable[Argument], arrays: Mapping[Argument, Tensor | None]) -> dict[Argument, str | None]:
    """The dtypes of the arrays that a kernel is to run on."""
    found = {argument: arrays.get(argument) for argument in arguments}
    return {one: None if array is None else str(array.dtype).removeprefix("torch.") for one, array in found.items()}


def on_device(tensor: Tensor) -> AbstractContextManager[object]:
    """Make a tensor's device the current one: kernels are launched there."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()


def check_extents(program: Program, sizes: Mapping[str, int], batch: int) -> None:
    """Hold that kernels can count the elements of one step, for so many rows, and those of parameters.

    Raises ShapeError, which names the widest value.
    """
    elements = {
        name: prod(bind(program.shapes[name], sizes)) * (1 if storage is Storage.SHARED else batch)
        for name, storage in program.storage.items()
    }
    widest = max(elements, key=elements.__getitem__, default="")
    if elements.get(widest, 0) > LARGEST_OFFSET:
        raise ShapeError(
            f"{program.trace.name!r} is too large for a kernel: offsets within a step, or a parameter, have 32 bits",
            expected=f"at most {LARGEST_OFFSET} numbers",
            got=f"{elements[widest]} in {widest}, with {batch} rows",
            do="call the layer for some of the rows at a time, or with backend='torch'",
        )


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Have no autocast on a device: it would round results of torch's products, whose dtypes are decided."""
    is_on = device.type in ("cpu", "cuda") and torch.is_autocast_enabled(device.type)
    return torch.autocast(device.type, enabled=False) if is_on else nullcontext()
