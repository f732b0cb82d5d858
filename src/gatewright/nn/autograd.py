"""Autograd over the compiled engine: a Trace over a sequence as one differentiable operation.

The gradient of a sequence is a sequence run the other way, so that it is the same operation with another Trace, and
can be differentiated again. Where nobody asks for that, the gradient is run with what the forward run has saved.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import (  # pyright: ignore[reportMissingImports]
    is_functorch_wrapped_tensor,  # pyright: ignore[reportPrivateUsage]
)

from gatewright.nn import transforms
from gatewright.nn.backward import Backward
from gatewright.nn.batched_gradients import has_batches, run_batches
from gatewright.nn.differentiable import Differentiable, run_engine, tensors_of


def run(spec: Differentiable, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Run a sequence: its states by name, (time + 1, batch, ...), then what it emits and sums, by name.

    `values` are the inputs (time, batch, ...), parameters, and states (batch, ...) by name.
    """
    tensors = [values[name] for name in spec.given]
    if has_batches(tensors):
        return run_batches(run, spec, values)
    if not (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)):
        return tensors_of(spec, run_engine(spec.alone, values, spec.dtype))
    return dict(zip(spec.results, _Sequence.apply(spec, *tensors), strict=True))


class _Sequence(torch.autograd.Function):
    """A Trace over a sequence."""

    @staticmethod
    def forward(ctx: Any, spec: Differentiable, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Run the kernels, and save what the gradient needs."""
        halves = spec.halves(spec.first)
        outcome = run_engine(halves.forward, dict(zip(spec.given, tensors, strict=True)), spec.dtype)
        ctx.spec, ctx.saved_names = spec, halves.pair.saved
        ctx.set_materialize_grads(False)
        # a saved value may be a view of a state, which is a result: it would keep this node, and so itself, alive
        saved = (outcome.emits[name].detach() for name in halves.pair.saved)
        ctx.save_for_backward(*tensors, *outcome.states.values(), *saved)
        results = tensors_of(spec, outcome)
        return tuple(results[name] for name in spec.results)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """Run the gradient: by its kernels, or, where it is to be differentiated itself, as this operation again."""
        spec: Differentiable = ctx.spec
        names = (*spec.given, *(f"after {state.name}" for state in spec.trace.states), *ctx.saved_names)
        held = dict(zip(names, ctx.saved_tensors, strict=True))
        values = {name: held[name] for name in spec.given}
        states = {state.name: held[f"after {state.name}"] for state in spec.trace.states}
        call = Backward(spec, values, states, grads)
        results = _gradient(call, {name: held[name] for name in ctx.saved_names})
        wanted = zip(spec.given, ctx.needs_input_grad[1:], strict=True)
        return (None, *(results.get(name) if needed else None for name, needed in wanted))


def _gradient(call: Backward, saved: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The gradient by everything that went in: by kernels, or in whatever way can be differentiated or mapped."""
    grads = call.grads.values()
    if has_batches(grads):
        return call.differentiable(run)
    if any(map(is_functorch_wrapped_tensor, grads)):  # torch.func.vmap over torch.autograd.grad
        return call.differentiable(transforms.run)
    return call.differentiable(run) if torch.is_grad_enabled() else call.fast(saved)
