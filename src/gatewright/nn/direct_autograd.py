"""Autograd over the short way: a packed cell over a sequence as one differentiable operation."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import (  # pyright: ignore[reportMissingImports]
    is_functorch_wrapped_tensor,  # pyright: ignore[reportPrivateUsage]
    maybe_current_level,  # pyright: ignore[reportPrivateUsage]
)

from gatewright.nn import autograd, transforms
from gatewright.nn.batched_gradients import has_batches
from gatewright.nn.direct import Direct, Given
from gatewright.nn.in_place import ChangeMarks
from gatewright.nn.ragged import Ragged


def run(direct: Direct, given: Given, ragged: Ragged | None = None) -> tuple[Tensor, ...]:
    """The output (time, batch, ...), and each state after the last step, (1, batch, ...)."""
    if torch.is_grad_enabled() and any(one is not None and one.requires_grad for one in given):
        return _Sequence.apply(direct, ragged, *given)
    return direct.results(direct.forward(given, ragged, saves=False)[:-1], ragged)


class _Sequence(torch.autograd.Function):
    """A packed cell over a sequence."""

    @staticmethod
    def forward(ctx: Any, direct: Direct, ragged: Ragged | None, *given: Tensor | None) -> tuple[Tensor, ...]:
        """Run the kernels, and keep what the gradient needs."""
        kept = direct.forward(given, ragged, saves=True)
        ctx.direct, ctx.ragged = direct, ragged
        ctx.set_materialize_grads(False)
        output, *finals = direct.results(kept[:-1], ragged)
        # no view, which autograd would not let anybody change in place
        output = output.new_empty(0).set_(output)  # pyright: ignore[reportArgumentType]
        ctx.output = ChangeMarks([output])
        ctx.save_for_backward(*given, *kept)
        return (output, *finals)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """Run the kernels of the gradient, or go the long way where it is to be derived or mapped itself."""
        direct: Direct = ctx.direct
        ragged: Ragged | None = ctx.ragged
        tensors = ctx.saved_tensors  # asked for once: a checkpoint computes them then
        given, kept = tensors[: direct.count], tensors[direct.count :]
        needed: tuple[bool, ...] = ctx.needs_input_grad[2:]
        if torch.is_grad_enabled() or has_batches(grads) or any(map(_is_mapped, grads)):
            return (None, None, *_derived(direct, ragged, given, needed, grads))
        if ctx.output.changed:  # the output is a part of what is kept: it is computed again
            kept = direct.forward(given, ragged, saves=True)
        return (None, None, *direct.backward(given, kept, grads, needed, ragged))


def _is_mapped(grad: Tensor | None) -> bool:
    return grad is not None and is_functorch_wrapped_tensor(grad)


def _derived(
    direct: Direct, ragged: Ragged | None, given: Given, needed: Sequence[bool], grads: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """The gradients by operations that can be derived again and mapped: the run is repeated for them."""
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        # views, so that nothing is derived by a tensor that another one was made of
        fresh = [one.view_as(one) if one is not None and need else one for one, need in zip(given, needed, strict=True)]
        run = autograd.run if maybe_current_level() is None else transforms.run
        results = run(direct.spec if ragged is None else direct.masked, direct.named(fresh, ragged))
        outputs = direct.results([results[state.name] for state in direct.spec.trace.states])
        if ragged is not None:
            outputs = (ragged.fill_padding(outputs[0]), *outputs[1:])
        seen = [(output, grad) for output, grad in zip(outputs, grads, strict=True) if grad is not None]
        wanted = [one for one, need in zip(fresh, needed, strict=True) if one is not None and need]
        if not seen:
            return [None] * direct.count
        flows = [grad for _, grad in seen]
        found = iter(
            torch.autograd.grad([one for one, _ in seen], wanted, flows, create_graph=again, allow_unused=True)
        )
    return [next(found) if need else None for need in needed]
