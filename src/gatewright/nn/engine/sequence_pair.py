"""Two sequences side by side as one differentiable operation: the two directions of a bidirectional layer.

On a CPU each runs on one thread, forward and in the gradient. That is faster than both one after the other, each on all
threads, where one is too small to be divided. On a GPU each runs on a stream.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from gatewright.backends.llvm.runtime.side_by_side import SideBySide
from gatewright.backends.triton.streams import run_on_two_streams
from gatewright.nn.engine.autograd import ChangeMarks
from gatewright.nn.engine.operation import SequenceOperation
from gatewright.nn.engine.sequence_function import SequenceCall, is_first_order, run, start_gradients, without_base
from gatewright.nn.engine.trace_operation import Operands, RunOutputs, TraceOperation
from gatewright.threads import get_num_threads

Pair = tuple[TraceOperation, TraceOperation]
"""Both of one engine."""


def run_pair(operations: Pair, operands: tuple[Operands, Operands]) -> list[tuple[Tensor, ...]]:
    """The results of two operations on padded sequences of one extent; see `sequence_function.run`."""
    saves = torch.is_grad_enabled() and any(
        tensor is not None and tensor.requires_grad for own in operands for tensor in own
    )
    if not _pays(operations, operands, saves=saves):
        return [run(operation, own) for operation, own in zip(operations, operands, strict=True)]
    if not saves:
        outputs = _forward(operations, operands, saves=False)
        return [operation.results(own) for operation, own in zip(operations, outputs, strict=True)]
    calls = tuple([SequenceCall(operation, None, saves=True) for operation in operations])
    results = _apply(calls, *operands[0], *operands[1])
    count = _result_count(operations[0])
    return [results[:count], results[count:]]


def _pays(operations: Pair, operands: tuple[Operands, Operands], *, saves: bool) -> bool:
    engines, threads = _of_cpu(operations), get_num_threads()
    if not engines or threads == 1:
        return not engines
    sequence = operands[0][0]
    assert sequence is not None
    extent = (sequence.shape[0], sequence.shape[1])
    first, second = (operation.forward_executor(extent, saves=saves) for operation in engines)
    return first.is_faster_beside(second, threads)


def _of_cpu(operations: Pair) -> tuple[SequenceOperation, ...]:
    """The operations, if they are those of the CPU engine."""
    return tuple([operation for operation in operations if isinstance(operation, SequenceOperation)])


def _forward(operations: Pair, operands: Sequence[Operands], *, saves: bool) -> Sequence[RunOutputs]:
    runs = [partial(operation.forward, own, saves=saves) for operation, own in zip(operations, operands, strict=True)]
    if not _of_cpu(operations):
        like = operands[0][0]
        assert like is not None
        return run_on_two_streams(like, runs[0], runs[1], lambda outputs: (*outputs.for_gradient, *outputs.sums))
    beside = SideBySide()
    outputs = [run(beside=beside) for run in runs]
    beside.run()
    return outputs


def _result_count(operation: TraceOperation) -> int:
    return 1 + len(operation.numbering.states) + len(operation.spec.trace.emits)


def _operand_count(operation: TraceOperation) -> int:
    return operation.count + len(operation.numbering.states)


class _PairFunction(Function):
    """Two traces over sequences, each with results of its own."""

    @staticmethod
    def forward(calls: tuple[SequenceCall, SequenceCall], *operands: Tensor | None) -> tuple[Tensor, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Run the kernels of both."""
        first, second = calls
        split = _operand_count(first.operation)
        halves = operands[:split], operands[split:]
        outputs = _forward((first.operation, second.operation), halves, saves=True)
        results: list[Tensor] = []
        for call, own in zip(calls, outputs, strict=True):
            call.outputs = own
            results += map(without_base, call.operation.results(own))
        return tuple(results)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Save what the gradients need."""
        calls, *operands = inputs
        kept: list[Tensor] = []
        ctx.kept = []  # how many tensors each run has kept
        for call in calls:
            own, call.outputs = call.outputs.for_gradient, None
            kept += own
            ctx.kept.append(len(own))
        count = _result_count(calls[0].operation)
        ctx.calls, ctx.marks = calls, [ChangeMarks(output[:count]), ChangeMarks(output[count:])]
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*operands, *kept)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """Run the kernels of both gradients. Where one is not asked for, or differentiated itself, they run one after
        the other."""
        first, second = (call.operation for call in ctx.calls)
        tensors, needed = ctx.saved_tensors, ctx.needs_input_grad[1:]
        split, end, results = (
            _operand_count(first),
            _operand_count(first) + _operand_count(second),
            _result_count(first),
        )
        kept = tensors[end:]
        parts = [
            (tensors[:split] + kept[: ctx.kept[0]], needed[:split], grads[:results]),
            (tensors[split:end] + kept[ctx.kept[0] :], needed[split:], grads[results:]),
        ]
        wanted = [any(own_needed) and any(grad is not None for grad in own) for _, own_needed, own in parts]
        starts = [
            partial(start_gradients, call, *part, marks) if want else partial(_no_gradients, len(part[1]))
            for call, part, marks, want in zip(ctx.calls, parts, ctx.marks, wanted, strict=True)
        ]
        if all(wanted) and is_first_order(grads) and _gradients_pay(ctx.calls, parts):
            return (None, *[gradient for own in _gradients(ctx.calls, starts, tensors[0]) for gradient in own])
        return (None, *[gradient for start in starts for gradient in start()()])


def _gradients(
    calls: tuple[SequenceCall, SequenceCall], starts: Sequence[Callable[..., Any]], like: Tensor
) -> Sequence[Sequence[Tensor | None]]:
    """Both gradients, side by side."""
    if not _of_cpu((calls[0].operation, calls[1].operation)):
        first, second = (lambda start=start: start()() for start in starts)
        return run_on_two_streams(like, first, second, lambda gradients: gradients)
    beside = SideBySide()
    completes = [start(beside) for start in starts]
    beside.run()
    return [complete() for complete in completes]


def _no_gradients(count: int) -> Callable[[], list[Tensor | None]]:
    return lambda: [None] * count


# `Function.apply` inspects the signature of `forward` at every call; see `sequence_function`
_apply: Callable[..., tuple[Tensor, ...]] = getattr(super(Function, _PairFunction), "apply")  # noqa: B009 (unknown to the checker)


def _gradients_pay(calls: tuple[SequenceCall, SequenceCall], parts: Sequence[tuple[Any, Any, Any]]) -> bool:
    if not all(call.operation.can_use_saved(grads) for call, (_, _, grads) in zip(calls, parts, strict=True)):
        return False
    engines = _of_cpu((calls[0].operation, calls[1].operation))
    if not engines:
        return True
    sequence = parts[0][0][0]
    extent = (sequence.shape[0], sequence.shape[1])
    first, second = (
        engine.gradient_executor(extent, grads, needed)
        for engine, (_, needed, grads) in zip(engines, parts, strict=True)
    )
    return first.is_faster_beside(second, get_num_threads())
