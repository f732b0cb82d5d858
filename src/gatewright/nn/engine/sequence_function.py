"""Autograd over the compiled engine: a Trace over a sequence as one differentiable operation.

The gradient of a sequence is a sequence run the other way. Where nobody differentiates it further, it is run by kernels
with what the forward run has saved. Else it is this operation again, with another Trace: so derivatives of any order,
and any nesting of torch.func's transforms, come from one function. A graph of torch.compile or torch.export cannot
hold a Python function; it has the operator of gatewright.nn.graphs.custom_ops instead.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import (  # pyright: ignore[reportMissingImports]
    is_functorch_wrapped_tensor,  # pyright: ignore[reportPrivateUsage]
    maybe_current_level,  # pyright: ignore[reportPrivateUsage]
)
from torch.autograd import Function

from gatewright.nn.engine.autograd import ChangeMarks, gradients_where_needed, views_of
from gatewright.nn.engine.backward import Backward
from gatewright.nn.engine.batched_gradients import has_batches, run_batches
from gatewright.nn.engine.differentiable import Differentiable
from gatewright.nn.engine.mapped import mapped
from gatewright.nn.engine.operation import Given, Kept, SequenceOperation, operation_of_trace
from gatewright.nn.sequence import Ragged


def run(operation: SequenceOperation, given: Given, ragged: Ragged | None = None) -> tuple[Tensor, ...]:
    """The results of an operation on a layer's own tensors; see `SequenceOperation`."""
    if torch.is_grad_enabled():
        for tensor in given:
            if tensor is not None and tensor.requires_grad:
                return _apply(_Call(operation, ragged, saves=True), *given)
    return operation.results(operation.forward(given, ragged, saves=False), ragged)


def run_named(spec: Differentiable, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Run a sequence on values by name: its states at every time, (time + 1, batch, ...), what it emits, what it sums.

    `values` are the inputs (time, batch, ...), parameters, and states (batch, ...). Any transform of torch.func and any
    order of derivative may be at work.
    """
    given = [values[name] for name in spec.given]
    if has_batches(given):
        return run_batches(run_named, spec, values)
    operation = operation_of_trace(spec)
    if maybe_current_level() is None:
        results = run(operation, given)
    else:
        results = _SequenceFunction.apply(_Call(operation, None, saves=False), *given)
    return dict(zip(spec.results, results, strict=True))


@dataclass(eq=False, slots=True)
class _Call:
    """An operation that is called. What its run keeps for the gradient stays here until autograd has taken it."""

    operation: SequenceOperation
    ragged: Ragged | None
    saves: bool
    kept: Kept | None = None


class _SequenceFunction(Function):
    """A Trace over a sequence."""

    @staticmethod
    def forward(call: _Call, *given: Tensor | None) -> tuple[Tensor, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Run the kernels."""
        operation = call.operation
        kept = operation.forward(given, call.ragged, saves=call.saves)
        results = operation.results(kept, call.ragged)
        if call.saves:
            call.kept = kept
        if operation.whole_states:
            return results
        return tuple(map(_apart, results))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Keep what the gradient needs."""
        call, *given = inputs
        operation: SequenceOperation = call.operation
        ctx.call = call
        ctx.set_materialize_grads(False)
        if call.kept is None:
            ctx.save_for_backward(*given, *output[: len(operation.numbering.states)])
            return
        kept, call.kept = call.kept.for_gradient, None
        ctx.marks = None if operation.whole_states else ChangeMarks(output)
        ctx.save_for_backward(*given, *kept)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """Run the kernels of the gradient; where it is to be derived or mapped itself, this operation on its step."""
        call: _Call = ctx.call
        operation = call.operation
        tensors = ctx.saved_tensors  # asked for once: a checkpoint computes them then
        count = operation.count + len(operation.numbering.states)
        given, kept = tensors[:count], tensors[count:]
        needed: tuple[bool, ...] = ctx.needs_input_grad[1:]
        if not _is_plain(grads) or not call.saves or not operation.can_use_saved(grads):
            derive = _derived_named if operation.whole_states else _derived
            return (None, *derive(call, given, kept, needed, grads))
        if ctx.marks and ctx.marks.changed:  # a result that was changed is a part of what is kept: it is computed again
            kept = operation.forward(given, call.ragged, saves=True).for_gradient
        return (None, *operation.backward(given, kept, grads, needed, call.ragged))

    @staticmethod
    def vmap(  # pyright: ignore[reportIncompatibleMethodOverride]
        info: Any, in_dims: tuple[int | None, ...], call: _Call, *tensors: Tensor
    ) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        """Fold the axis into the batch, or run for each element."""
        results, dims = mapped(run_named, call.operation.spec, info.batch_size, in_dims[1:], tensors)
        return tuple(results), tuple(dims)


# `Function.apply` looks at the signature of `forward` in every call, which takes longer than a small kernel
_apply: Callable[..., tuple[Tensor, ...]] = getattr(super(Function, _SequenceFunction), "apply")  # noqa: B009 (unknown to the checker)


def _apart(result: Tensor) -> Tensor:
    """The same memory in a tensor that is no view, which autograd would not let anybody change in place."""
    return result.new_empty(0).set_(result)  # pyright: ignore[reportArgumentType]


def _is_plain(grads: Sequence[Tensor | None]) -> bool:
    """Whether a gradient is neither differentiated nor mapped."""
    if torch.is_grad_enabled() or has_batches(grads):
        return False
    return not any(grad is not None and is_functorch_wrapped_tensor(grad) for grad in grads)


def _derived_named(
    call: _Call, given: Given, kept: Sequence[Tensor], needed: Sequence[bool], grads: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """The gradients of an operation on values by name, by the derived step as such an operation."""
    spec = call.operation.spec
    values = {name: one for name, one in zip(spec.given, given, strict=True) if one is not None}
    states = dict(zip(call.operation.numbering.states, kept, strict=False))
    results = Backward(spec, values, states, grads).differentiable(run_named)
    return [results.get(name) if need else None for name, need in zip(spec.given, needed, strict=True)]


def _derived(
    call: _Call, given: Given, kept: Sequence[Tensor], needed: Sequence[bool], grads: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """The gradients of a layer's operation, through operations on values by name: the run is repeated as these."""
    operation, ragged = call.operation, call.ragged
    differentiated = torch.is_grad_enabled()
    with torch.enable_grad():
        views = views_of(given)
        spec = operation.spec if ragged is None else operation.spec.masked
        outputs = operation.results_of(run_named(spec, operation.named(views, ragged)), ragged)
        return gradients_where_needed(
            outputs, grads, views, needed, create_graph=differentiated, retain_graph=differentiated
        )
