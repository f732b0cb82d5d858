"""Autograd over the compiled engine: a Trace over a sequence as one differentiable operation.

The gradient of a sequence is a sequence run the other way. A gradient that is not differentiated itself is run by
kernels, with what the forward run has saved. Otherwise it is this operation again, with another Trace: so derivatives
of any order, and any nesting of torch.func's transforms, come from one function. A graph of torch.compile or
torch.export cannot hold a Python function; it has the operator of gatewright.nn.graphs.custom_ops instead.
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

from gatewright.backends.llvm.runtime.side_by_side import SideBySide
from gatewright.nn.engine.autograd import ChangeMarks, gradients_where_needed, views_of
from gatewright.nn.engine.backward import Backward
from gatewright.nn.engine.batched_gradients import has_batches, run_batches
from gatewright.nn.engine.differentiable import Differentiable
from gatewright.nn.engine.mapped import mapped
from gatewright.nn.engine.operation_of_trace import operation_of_trace
from gatewright.nn.engine.trace_operation import AskedGradient, Operands, RunOutputs, TraceOperation
from gatewright.nn.sequence import RaggedRows
from gatewright.packing import unpacked
from gatewright.trace.mask import MASK


def run(operation: TraceOperation, operands: Operands, ragged: RaggedRows | None = None) -> tuple[Tensor, ...]:
    """The results of an operation on a layer's own tensors; see `TraceOperation`."""
    if torch.is_grad_enabled():
        for tensor in operands:
            if tensor is not None and tensor.requires_grad:
                return _apply(SequenceCall(operation, ragged, saves=True), *operands)
    return operation.results(operation.forward(operands, ragged, saves=False), ragged)


def run_named(spec: Differentiable, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Run a sequence on values by name: its states at every time, (time + 1, batch, ...), what it emits, what it sums.

    `values` are the inputs (time, batch, ...), parameters, and states (batch, ...). Any transform of torch.func and any
    order of derivative may be at work.
    """
    operands = [values[name] for name in spec.operands]
    if has_batches(operands):
        return run_batches(run_named, spec, values)
    operation = operation_of_trace(spec)
    if maybe_current_level() is None:
        results = run(operation, operands)
    else:
        results = _SequenceFunction.apply(SequenceCall(operation, None, saves=False), *operands)
    return dict(zip(spec.results, results, strict=True))


@dataclass(eq=False, slots=True)
class SequenceCall:
    """An operation that is being called. `outputs` pass from forward to setup_context, where autograd saves them."""

    operation: TraceOperation
    ragged: RaggedRows | None
    saves: bool
    outputs: RunOutputs | None = None


class _SequenceFunction(Function):
    """A Trace over a sequence."""

    @staticmethod
    def forward(call: SequenceCall, *operands: Tensor | None) -> tuple[Tensor, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Run the kernels."""
        operation = call.operation
        outputs = operation.forward(operands, call.ragged, saves=call.saves)
        results = operation.results(outputs, call.ragged)
        if call.saves:
            call.outputs = outputs
        if operation.whole_states:
            return results
        return tuple(map(without_base, results))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Save what the gradient needs."""
        call, *operands = inputs
        operation: TraceOperation = call.operation
        ctx.call = call
        ctx.set_materialize_grads(False)
        ctx.marks = None
        if call.outputs is None:
            ctx.save_for_backward(*operands, *output[: len(operation.numbering.states)])
            return
        kept, call.outputs = call.outputs.for_gradient, None
        if not operation.whole_states:
            ctx.marks = ChangeMarks(output)
        ctx.save_for_backward(*operands, *kept)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """Run the kernels of the gradient; where it is differentiated or mapped itself, this operation on its step."""
        # `saved_tensors` is read once: an activation checkpoint computes them each time
        gradients = start_gradients(ctx.call, ctx.saved_tensors, ctx.needs_input_grad[1:], grads, ctx.marks)
        return (None, *gradients())

    @staticmethod
    def vmap(  # pyright: ignore[reportIncompatibleMethodOverride]
        info: Any, in_dims: tuple[int | None, ...], call: SequenceCall, *tensors: Tensor
    ) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        """Fold the axis into the batch, or run for each element."""
        results, dims = mapped(run_named, call.operation.spec, info.batch_size, in_dims[1:], tensors)
        return tuple(results), tuple(dims)


def start_gradients(
    call: SequenceCall,
    tensors: Sequence[Any],
    needed: tuple[bool, ...],
    grads: Sequence[Tensor | None],
    marks: ChangeMarks | None,
    beside: SideBySide | None = None,
) -> Callable[[], Sequence[Tensor | None]]:
    """Compute the gradients by the operands of a call, from the tensors that its forward run has saved; gives the
    function that completes them. With `beside`, kernels may run later, before that function is called."""
    operation = call.operation
    count = operation.count + len(operation.numbering.states)
    operands, kept = tensors[:count], tensors[count:]
    if not is_first_order(grads) or not call.saves or not operation.can_use_saved(grads):
        if operation.whole_states:
            derived = _derived_by_name(call, operands, kept, needed, grads)
        else:
            derived = derived_gradients(operation, operands, needed, grads, call.ragged)
        return lambda: derived
    if marks and marks.changed:  # the output is the first state: what is kept was changed with it
        kept = operation.forward(operands, call.ragged, saves=True).for_gradient
    return operation.start_backward(AskedGradient(operands, kept, grads, needed, call.ragged), beside)


# `Function.apply` inspects the signature of `forward` at every call, which takes longer than a small kernel
_apply: Callable[..., tuple[Tensor, ...]] = getattr(super(Function, _SequenceFunction), "apply")  # noqa: B009 (unknown to the checker)


def without_base(result: Tensor) -> Tensor:
    """The same memory in a tensor that is no view: autograd refuses to change returned views in place."""
    return result.new_empty(0).set_(result)  # pyright: ignore[reportArgumentType]


def is_first_order(grads: Sequence[Tensor | None]) -> bool:
    """Whether a gradient is neither differentiated nor mapped."""
    if torch.is_grad_enabled() or has_batches(grads):
        return False
    return not any(grad is not None and is_functorch_wrapped_tensor(grad) for grad in grads)


def _derived_by_name(
    call: SequenceCall,
    operands: Operands,
    kept: Sequence[Tensor],
    needed: Sequence[bool],
    grads: Sequence[Tensor | None],
) -> list[Tensor | None]:
    """The gradients of an operation on values by name: its derived step as another such operation."""
    spec = call.operation.spec
    values = {name: x for name, x in zip(spec.operands, operands, strict=True) if x is not None}
    states = dict(zip(call.operation.numbering.states, kept, strict=False))
    gradients = Backward(spec, values, states, grads).differentiable(run_named)
    return [gradients.get(name) if need else None for name, need in zip(spec.operands, needed, strict=True)]


def derived_gradients(
    operation: TraceOperation,
    operands: Operands,
    needed: Sequence[bool],
    grads: Sequence[Tensor | None],
    ragged: RaggedRows | None,
) -> list[Tensor | None]:
    """The gradients of a layer's operation: the run is repeated on values by name, and autograd follows it."""
    spec = operation.spec if ragged is None else operation.spec.masked
    differentiated = torch.is_grad_enabled()
    with torch.enable_grad():
        views = views_of(operands)
        named = run_named(spec, _by_name(operation, views, ragged))
        states = [named[name] for name in operation.numbering.states]
        emits = [named[name] for name, _ in operation.spec.trace.emits]
        output, *finals = operation.results(RunOutputs(states, [], [], []))
        if ragged is not None:
            output, *emits = map(ragged.fill_padding, (output, *emits))
        return gradients_where_needed(
            (output, *finals, *emits), grads, views, needed, create_graph=differentiated, retain_graph=differentiated
        )


def _by_name(operation: TraceOperation, operands: Operands, ragged: RaggedRows | None) -> dict[str, Tensor]:
    """The operands by the names in the equations, with a mask for a ragged batch; autograd follows."""
    spec, numbering, like = operation.spec, operation.numbering, operands[0]
    assert like is not None
    values: dict[str, Tensor] = {}
    for name, x in zip(operation.inputs, operands, strict=False):
        assert x is not None
        values[name] = x if ragged is None else ragged.fill_padding(x)
    if ragged is not None:
        values[MASK] = ragged.mask().to(like.dtype) * values.get(MASK, 1)
    packed = [tensor for tensor in operands[operation.parameters] if tensor is not None]
    params = unpacked(operation.layout, packed, spec.trace, spec.sizes)
    values |= {param.name: params[param.name] for param in spec.trace.params}
    for name, shape, state in zip(numbering.states, numbering.state_shapes, operands[operation.count :], strict=True):
        values[name] = like.new_zeros(like.shape[1], *shape) if state is None else state
    return values
