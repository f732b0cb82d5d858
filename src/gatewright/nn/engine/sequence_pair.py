"""Two sequences side by side as one differentiable operation: the two directions of a bidirectional layer.

Each runs on one thread, forward and in the gradient. That is faster than both one after the other, each on all threads,
where one is too small to be divided.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from gatewright.backends.llvm.runtime.side_by_side import SideBySide
from gatewright.nn.engine.autograd import ChangeMarks
from gatewright.nn.engine.operation import SequenceOperation
from gatewright.nn.engine.sequence_function import SequenceCall, is_first_order, run, start_gradients, without_base
from gatewright.nn.engine.trace_operation import Operands, RunOutputs
from gatewright.threads import get_num_threads

Pair = tuple[SequenceOperation, SequenceOperation]


def run_pair(operations: Pair, operands: tuple[Operands, Operands]) -> list[tuple[Tensor, ...]]:
    """The results of two operations on padded sequences of one extent; see `sequence_function.run`."""
    threads = get_num_threads()
    saves = torch.is_grad_enabled() and any(
        tensor is not None and tensor.requires_grad for own in operands for tensor in own
    )
    if threads == 1 or not _pays(operations, operands, threads, saves=saves):
        return [run(operation, own) for operation, own in zip(operations, operands, strict=True)]
    if not saves:
        outputs = _forward(operations, operands, saves=False)
        return [operation.results(own) for operation, own in zip(operations, outputs, strict=True)]
    calls = tuple([SequenceCall(operation, None, saves=True) for operation in operations])
    results = _apply(calls, *operands[0], *operands[1])
    count = _result_count(operations[0])
    return [results[:count], results[count:]]


def _pays(operations: Pair, operands: tuple[Operands, Operands], threads: int, *, saves: bool) -> bool:
    sequence = operands[0][0]
    assert sequence is not None
    extent = (sequence.shape[0], sequence.shape[1])
    first, second = (operation.forward_executor(extent, saves=saves) for operation in operations)
    return first.is_faster_beside(second, threads)


def _forward(operations: Pair, operands: Sequence[Operands], *, saves: bool) -> list[RunOutputs]:
    beside = SideBySide()
    outputs = [
        operation.forward(own, saves=saves, beside=beside) for operation, own in zip(operations, operands, strict=True)
    ]
    beside.run()
    return outputs


def _result_count(operation: SequenceOperation) -> int:
    return 1 + len(operation.numbering.states) + len(operation.spec.trace.emits)


def _operand_count(operation: SequenceOperation) -> int:
    return operation.count + len(operation.numbering.states)


class _PairFunction(Function):
    """Two traces over sequences, each with results of its own."""

    @staticmethod
    def forward(calls: tuple[SequenceCall, SequenceCall], *operands: Tensor | None) -> tuple[Tensor, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Run the kernels of both."""
        first, second = map(_of_engine, calls)
        split = _operand_count(first)
        outputs = _forward((first, second), (operands[:split], operands[split:]), saves=True)
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
        first, second = map(_of_engine, ctx.calls)
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
        beside = SideBySide() if all(wanted) and is_first_order(grads) and _gradients_pay(ctx.calls, parts) else None
        gradients: list[Callable[[], Sequence[Tensor | None]]] = []
        for call, part, marks, want in zip(ctx.calls, parts, ctx.marks, wanted, strict=True):
            none = partial(_none, len(part[1]))
            gradients.append(start_gradients(call, *part, marks, beside) if want else none)
        if beside:
            beside.run()
        return (None, *[gradient for complete in gradients for gradient in complete()])


def _of_engine(call: SequenceCall) -> SequenceOperation:
    assert isinstance(call.operation, SequenceOperation)
    return call.operation


def _none(count: int) -> list[Tensor | None]:
    return [None] * count


# `Function.apply` inspects the signature of `forward` at every call; see `sequence_function`
_apply: Callable[..., tuple[Tensor, ...]] = getattr(super(Function, _PairFunction), "apply")  # noqa: B009 (unknown to the checker)


def _gradients_pay(calls: Sequence[SequenceCall], parts: Sequence[tuple[Any, Any, Any]]) -> bool:
    sequence = parts[0][0][0]
    extent = (sequence.shape[0], sequence.shape[1])
    first, second = (
        _of_engine(call).gradient_executor(extent, grads, needed)
        for call, (_, needed, grads) in zip(calls, parts, strict=True)
    )
    return all(
        call.operation.can_use_saved(grads) for call, (_, _, grads) in zip(calls, parts, strict=True)
    ) and first.is_faster_beside(second, get_num_threads())
