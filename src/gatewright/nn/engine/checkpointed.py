"""Gradient checkpointing in time: a run keeps its states at the borders of stretches, and no saved values.

The forward run goes through the sequence stretch by stretch. The backward run computes each stretch again from the
states at its beginning, this time with saved values, and then its gradient. With stretches of sqrt(T) steps the memory
for states and saved values grows with sqrt(T). Inputs, random values and results are whole sequences as before.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, isqrt
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from gatewright.backends.llvm.parallel.time_blocks import TimeBlock
from gatewright.nn.engine.sequence_function import derived_gradients, is_first_order, run
from gatewright.nn.engine.trace_operation import AskedGradient, Operands, TraceOperation
from gatewright.nn.sequence import RaggedRows

Checkpoint = bool | int | None
"""The option of a layer: True for stretches of sqrt(T) steps, or their number of steps; None or False keeps all."""
_LEAST_STEPS = 64
"""Shorter stretches of few rows would take less time than the Python code around them."""


def run_checkpointed(
    operation: TraceOperation, operands: Operands, ragged: RaggedRows | None, checkpoint: Checkpoint
) -> tuple[Tensor, ...]:
    """The results of `sequence_function.run` for a layer's operation. Where a gradient is needed, its saved values are
    computed again by stretches as `checkpoint` says."""
    sequence = operands[0]
    assert sequence is not None
    parts = _stretches(sequence.shape[0], checkpoint)
    if len(parts) == 1 or not sequence.shape[1] or not torch.is_grad_enabled():
        return run(operation, operands, ragged)
    if not any(tensor is not None and tensor.requires_grad for tensor in operands):
        return run(operation, operands, ragged)
    order = parts[::-1] if operation.spec.backwards else parts
    stretches = [_Stretch(part, _ragged_part(ragged, part)) for part in order]
    return _CheckpointedFunction.apply(_CheckpointedCall(operation, ragged, stretches), *operands)  # pyright: ignore[reportReturnType]


def _stretches(steps: int, checkpoint: Checkpoint) -> list[TimeBlock]:
    """The stretches from the first to the last; none is longer than another by more than one step."""
    if checkpoint is None or checkpoint is False or not steps:
        return [TimeBlock(0, steps)]
    length = max(isqrt(steps - 1) + 1, _LEAST_STEPS) if checkpoint is True else checkpoint
    count = ceil(steps / length)
    edges = [steps * number // count for number in range(count + 1)]
    return [TimeBlock(start, end - start) for start, end in pairwise(edges)]


def _ragged_part(ragged: RaggedRows | None, part: TimeBlock) -> RaggedRows | None:
    """The lengths of rows within a stretch. A row that takes no step there carries its states, and their gradients,
    through it."""
    if ragged is None:
        return None
    lengths, on_cpu = (
        None if lengths is None else (lengths - part.start).clamp(0, part.steps)
        for lengths in (ragged.lengths, ragged.on_cpu)
    )
    assert lengths is not None
    within = RaggedRows(lengths, part.steps, on_cpu)
    return None if within.is_known_whole else within


@dataclass(frozen=True, slots=True)
class _Stretch:
    part: TimeBlock
    ragged: RaggedRows | None

    def of(self, sequence: Tensor) -> Tensor:
        """The steps of the stretch."""
        return sequence.narrow(0, self.part.start, self.part.steps)


@dataclass(eq=False, slots=True)
class _CheckpointedCall:
    """An operation that is being called, and its stretches in the order in which they are run. `borders` are the states
    at the beginning of each: they pass from forward to setup_context, where autograd saves them."""

    operation: TraceOperation
    ragged: RaggedRows | None
    stretches: list[_Stretch]
    borders: Sequence[Sequence[Tensor | None]] = ()

    def operands(self, operands: Operands, stretch: _Stretch, states: Operands) -> list[Tensor | None]:
        """The operands of one stretch."""
        inputs = len(self.operation.inputs)
        sequences = [x if x is None else stretch.of(x) for x in operands[:inputs]]
        return [*sequences, *operands[self.operation.parameters], *states]


class _CheckpointedFunction(Function):
    """A Trace over a sequence, without saved values."""

    @staticmethod
    def forward(call: _CheckpointedCall, *operands: Tensor | None) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Run the kernels stretch by stretch."""
        operation, count = call.operation, len(call.operation.numbering.states)
        states, borders = operands[operation.count :], list[Sequence[Tensor | None]]()
        whole, finals = _WholeSequences(operands), ()
        for stretch in call.stretches:
            borders.append(states)
            parts = call.operands(operands, stretch, states)
            outputs = operation.forward(parts, stretch.ragged, saves=False)
            output, *others = operation.results(outputs, stretch.ragged)
            finals = others[:count]
            states = [final.squeeze(0) for final in finals]
            whole.put(stretch, [output, *others[count:]])
        call.borders = borders
        output, *emits = whole.sequences
        return (output, *finals, *emits)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Save the operands, and the states at the borders."""
        call, *operands = inputs
        ctx.call = call
        ctx.set_materialize_grads(False)
        later = [state for states in call.borders[1:] for state in states]  # the first ones are operands
        call.borders = ()
        ctx.save_for_backward(*operands, *later)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """Compute each stretch again, the last one first, and its gradient. A gradient that is differentiated itself
        keeps the whole sequence in memory."""
        call: _CheckpointedCall = ctx.call
        operation, count = call.operation, len(call.operation.numbering.states)
        tensors = ctx.saved_tensors  # read once: an activation checkpoint computes them each time
        own = operation.count + count
        operands, later = tensors[:own], tensors[own:]
        needed: tuple[bool, ...] = ctx.needs_input_grad[1:]
        if not is_first_order(grads):
            return (None, *derived_gradients(operation, operands, needed, grads, call.ragged))
        starts = [operands[operation.count :], *(later[n : n + count] for n in range(0, len(later), count))]
        with_states = (*needed[: operation.count], *[True] * count)  # a stretch hands them to the one before it
        carried, inputs = list(grads[1 : 1 + count]), len(operation.inputs)
        whole, sums = _WholeSequences(operands), _Sums()
        for stretch, states in zip(reversed(call.stretches), reversed(starts), strict=True):
            parts = call.operands(operands, stretch, states)
            kept = operation.forward(parts, stretch.ragged, saves=True).for_gradient
            output, *emits = [None if x is None else stretch.of(x) for x in (grads[0], *grads[1 + count :])]
            by = operation.backward(AskedGradient(parts, kept, [output, *carried, *emits], with_states, stretch.ragged))
            del kept  # its memory serves the next stretch
            whole.put(stretch, by[:inputs])
            sums.add(by[inputs : operation.count])
            carried = by[operation.count :]
        by_states = [by if need else None for by, need in zip(carried, needed[operation.count :], strict=True)]
        return (None, *whole.sequences, *sums.totals, *by_states)


class _WholeSequences:
    """Sequences that are written stretch by stretch."""

    def __init__(self, operands: Operands) -> None:
        sequence = operands[0]
        assert sequence is not None
        self._steps = sequence.shape[0]
        self.sequences: list[Tensor | None] = []

    def put(self, stretch: _Stretch, parts: Sequence[Tensor | None]) -> None:
        """Copy the parts of one stretch; None is no sequence."""
        if not self.sequences:
            self.sequences = [x if x is None else x.new_empty(self._steps, *x.shape[1:]) for x in parts]
        for whole, part in zip(self.sequences, parts, strict=True):
            if whole is not None and part is not None:
                stretch.of(whole).copy_(part)


class _Sums:
    """Gradients by parameters, added up over the stretches."""

    def __init__(self) -> None:
        self.totals: list[Tensor | None] = []

    def add(self, gradients: Sequence[Tensor | None]) -> None:
        """Add those of one stretch."""
        if not self.totals:
            self.totals = list(gradients)
            return
        # Two parameters that are always added, such as torch.nn's biases, share one gradient: it is added once.
        pairs = {id(total): (total, by) for total, by in zip(self.totals, gradients, strict=True)}
        for total, by in pairs.values():
            if total is not None and by is not None:
                total.add_(by)
