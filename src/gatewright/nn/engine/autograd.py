"""Helpers of autograd functions: in-place changes noticed, gradients by those operands that need one, full shapes."""

from collections.abc import Iterable, Sequence
from functools import cache

import torch
from torch import Tensor


class ChangeMarks:
    """Tells whether any of some tensors was changed in place since this was made, as `F.relu(output, inplace=True)`
    does, without keeping their memory.

    torch counts the changes of a tensor together with those of everything detach() has made of it. It goes on counting
    for a detached tensor whose data was exchanged: so an empty tensor serves as the counter.
    """

    __slots__ = ("_counters", "_versions")

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._counters: list[Tensor] = []
        self._versions: list[int] = []
        for tensor in tensors:
            counter = tensor.detach()
            counter.data = _no_data(counter.device)
            self._counters.append(counter)
            self._versions.append(counter._version)  # pyright: ignore[reportPrivateUsage]

    @property
    def changed(self) -> bool:
        """Whether one was changed."""
        return [counter._version for counter in self._counters] != self._versions  # pyright: ignore[reportPrivateUsage]


@cache
def _no_data(device: torch.device) -> Tensor:
    return torch.empty(0, device=device)


def views_of(operands: Iterable[Tensor | None]) -> list[Tensor | None]:
    """A view of each operand, for a run that is differentiated by its operands.

    One operand may have been computed from another. No gradient flows from one view into another.
    """
    return [operand if operand is None else operand.view_as(operand) for operand in operands]


def gradients_where_needed(
    results: Sequence[Tensor],
    grads: Sequence[Tensor | None],
    operands: Sequence[Tensor | None],
    needed: Sequence[bool],
    *,
    create_graph: bool,
    retain_graph: bool,
) -> list[Tensor | None]:
    """The gradient by every operand that needs one, else None; `grads` are by the results, None is zero."""
    flows = [(result, grad) for result, grad in zip(results, grads, strict=True) if grad is not None]
    wanted = [operand for operand, need in zip(operands, needed, strict=True) if need and operand is not None]
    if not flows:
        return [None] * len(operands)
    gradients = iter(
        torch.autograd.grad(
            [result for result, _ in flows],
            wanted,
            [grad for _, grad in flows],
            retain_graph=retain_graph,
            create_graph=create_graph,
            allow_unused=True,
        )
    )
    return [next(gradients) if need else None for need in needed]


def widened(value: Tensor, shape: torch.Size | tuple[int, ...]) -> Tensor:
    """A value in the shape that it would have with all axes: it is the same along those that it lacks at the end."""
    if value.shape == shape:
        return value
    return value[(..., *(None,) * (len(shape) - value.dim()))].expand(shape)
