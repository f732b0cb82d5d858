"""Products of one vector with several matrices, and sums of outer products, as one batched product of torch.

Parameters of one space lie one below the other in a packed tensor, and so do sequences that are allocated together.
Where several matrices are adjacent in this way, their batch is a view, and nothing is copied.
"""

from collections.abc import Generator, Hashable, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from threading import RLock
from typing import TypeVar

import torch
from torch import Tensor

from gatewright.backends.triton.kernel_precision import KernelPrecision

Key = TypeVar("Key", bound=Hashable)


def adjacent(tensors: Sequence[Tensor]) -> Tensor | None:
    """A view (count, ...) of contiguous tensors of one shape that lie one behind the other in memory; else None."""
    first = tensors[0]
    if not all(tensor.is_contiguous() and tensor.shape == first.shape for tensor in tensors):
        return None
    storage, size = first.untyped_storage().data_ptr(), first.numel()
    for number, tensor in enumerate(tensors):
        is_next = tensor.storage_offset() == first.storage_offset() + number * size
        if not is_next or tensor.untyped_storage().data_ptr() != storage:
            return None
    return first.as_strided((len(tensors), *first.shape), (size, *first.stride()))


def stacked(tensors: Sequence[Tensor]) -> Tensor:
    """The tensors (count, ...), copied only where they are not adjacent."""
    view = adjacent(tensors)
    return torch.stack(list(tensors)) if view is None else view


def multiply(vectors: Tensor, matrices: Tensor, precision: KernelPrecision, *, transposed: bool) -> Tensor:
    """Every vector (..., columns) times each of the matrices (count, rows, columns): (count, ..., rows).

    With `transposed` the vectors are (..., rows), and the results (count, ..., columns). Each result is contiguous.
    """
    count, leading = len(matrices), vectors.shape[:-1]
    left = rounded(vectors.reshape(prod(leading), vectors.shape[-1]), precision)
    right = rounded(matrices, precision)
    result = _bmm(left.expand(count, *left.shape), right if transposed else right.transpose(1, 2), precision)
    return result.view(count, *leading, result.shape[-1])


def sum_outer(lefts: Tensor, right: Tensor, precision: KernelPrecision) -> Tensor:
    """The sums over all steps and rows of the outer products of each left (count, time, batch, m) with right
    (time, batch, n): (count, m, n)."""
    lines = right.shape[0] * right.shape[1]
    left = rounded(lefts.reshape(len(lefts), lines, lefts.shape[-1]), precision)
    flat = rounded(right.reshape(lines, right.shape[-1]), precision)
    return _bmm(left.transpose(1, 2), flat.expand(len(lefts), *flat.shape), precision)


def rounded(operand: Tensor, precision: KernelPrecision) -> Tensor:
    """An operand of products in the dtype that it is rounded to. On a CPU it returns to the dtype of sums: torch's
    products of narrow operands have narrow results there."""
    if precision.operands == precision.numbers:
        return operand
    narrow = operand.to(getattr(torch, precision.operands))
    return narrow if operand.is_cuda else narrow.to(getattr(torch, precision.numbers))


def converted_together(tensors: Mapping[Key, Tensor], dtype: torch.dtype) -> dict[Key, Tensor]:
    """Tensors in another dtype; those of one shape are one conversion."""
    groups: dict[torch.Size, list[Key]] = {}
    for key, tensor in tensors.items():
        groups.setdefault(tensor.shape, []).append(key)
    results: dict[Key, Tensor] = {}
    for keys in groups.values():
        whole = stacked([tensors[key] for key in keys]).to(dtype)
        results |= zip(keys, whole.unbind(0), strict=True)
    return results


def _bmm(left: Tensor, right: Tensor, precision: KernelPrecision) -> Tensor:
    numbers: torch.dtype = getattr(torch, precision.numbers)
    if left.dtype != numbers:
        return torch.bmm(left, right, out_dtype=numbers)  # pyright: ignore[reportCallIssue] (not in torch's stubs)
    if not left.is_cuda or precision.mode != "tf32":
        return torch.bmm(left, right)
    with tf32_products():
        return torch.bmm(left, right)


_switching = RLock()


@contextmanager
def tf32_products() -> Generator[None]:
    """Let torch multiply float32 matrices in tf32, as its own recurrent layers do with all of their products.

    torch has one switch for those layers and another one, off by default, for all other products of matrices. It is of
    the whole process, and is set back before any other thread may set it here.
    """
    switch = torch.backends.cuda.matmul
    with _switching:  # before the switch is read: it may be on for the products of another thread alone
        before = getattr(switch, "fp32_precision", None)  # older versions of torch have the older switch alone
        if switch.allow_tf32 if before is None else before == "tf32":
            yield
            return
        switch.allow_tf32 = True  # this sets the newer switch too
        try:
            yield
        finally:
            switch.allow_tf32 = False
            if before is not None:
                switch.fp32_precision = before
