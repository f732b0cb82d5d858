"""A cell that is called step by step as an operation on a caller's tensors: its run and its gradient, by kernels.

A step of few units takes a few microseconds, and so does each tensor that is made around it. So the states of a run,
and what it saves, lie in one block of memory, where kernels have room for each state before the step and after it;
results are copied from there.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor
from torch.autograd import Function

from gatewright.backends.llvm.runtime.buffer_plan import BufferPlan
from gatewright.backends.llvm.runtime.executor import Executor
from gatewright.backends.llvm.runtime.runner import aligned
from gatewright.backends.llvm.runtime.step_commands import BlockCopy, ParameterSum
from gatewright.nn.engine.differentiable import Differentiable
from gatewright.nn.engine.integer_operation import IntegerOperation
from gatewright.nn.engine.integer_weights import IntegerWeights
from gatewright.nn.engine.operation import SequenceOperation
from gatewright.nn.engine.operation_bindings import copy_shared
from gatewright.nn.engine.sequence_function import derived_gradients, is_first_order
from gatewright.nn.engine.torch_arrays import TorchArrays
from gatewright.nn.engine.trace_operation import Operands
from gatewright.packing import Layout

_address: Callable[[Any], int] = Tensor.data_ptr
_MOST_BATCHES = 64  # numbers of rows for which executors are remembered


class StepOperation:
    """A single step of a Trace with one input and no gates.

    Operands are the input (batch, size), the packed parameters and the states (batch, ...), where None is zeros. The
    results are the states after the step. Kernels read matrices where they are: one serves all numbers of rows. With
    `weights` matrices are in eight bits, and packed.

    That `of_layer` has an axis of size 1 in front of inputs, states and results: time, or the level. Its results are
    those of a layer: the output, which is the first state, then the states.
    """

    def __init__(
        self, spec: Differentiable, layout: Layout, *, of_layer: bool = False, weights: IntegerWeights | None = None
    ) -> None:
        self.of_layer = of_layer
        self.packed = IntegerOperation(spec, layout, weights) if weights else None
        self.sequence = self.packed or SequenceOperation(spec, layout)
        self.numbering, self.dtype = self.sequence.numbering, spec.dtype
        self.input_size = self.numbering.input_size
        self.state_shapes = self.numbering.state_shapes
        self._runs: dict[Any, _StepRun] = {}
        self._gradients: dict[Any, Any] = {}

    def takes(self, packed: Operands) -> bool:
        """Whether packed parameters have the dtype, the shapes and the device that the kernels need."""
        return self.sequence.takes(packed)

    def compile(self, batch: int, *, gradient: bool, input_gradient: bool, needed: Sequence[bool]) -> None:
        """Compile the kernels, or load them from the cache on disk; see `SequenceOperation`. They are for any number of
        rows where matrices are not packed."""
        spec = self.sequence.spec
        engines = [spec.inference]
        if gradient:
            by = self.numbering.gradient((), (input_gradient, *needed))
            engines += [spec.engines(spec.output_state).forward, by.engine]
        for engine in engines:
            engine.kernels(1, batch if self.packed else 1, packs=self.packed is not None)

    def run(self, operands: Operands) -> tuple[Tensor, ...]:
        """The states after the step of one or more rows."""
        if torch.is_grad_enabled():
            for tensor in operands:
                if tensor is not None and tensor.requires_grad:
                    return _apply(self, *operands)
        run = self.run_of("inference", operands)
        return run.forward(operands, None)

    def run_of(self, kind: str | tuple[bool, ...], operands: Operands) -> "_StepRun":
        """What runs the kernels for the number of rows of a call: "inference", "saving", or the gradient by those
        operands that are needed."""
        x = operands[0]
        assert x is not None
        key = (kind, x.shape[-2])
        run = self._runs.get(key)
        if run is None:
            if len(self._runs) >= _MOST_BATCHES:
                self._runs.clear()
            run = self._runs[key] = _StepRun(self, kind, x.shape[-2])
        return run


class _StepRun:
    """Kernels of a step for one number of rows, and where they find their memory.

    The block of a run begins with what is saved. Then come the states, each before and after the step. A gradient reads
    it, and has its own states, which go from the end of the step to its beginning, in the workspace.
    """

    def __init__(self, operation: StepOperation, kind: str | tuple[bool, ...], batch: int) -> None:
        spec, numbering = operation.sequence.spec, operation.numbering
        # Like these tensors results are made: torch takes half as long for that as for a shape and a dtype.
        first = (1, batch) if operation.of_layer else (batch,)
        self._states = [torch.empty((*first, *shape), dtype=spec.dtype) for shape in numbering.state_shapes]
        self._results = self._states[:1] + self._states if operation.of_layer else self._states
        self._sizes = [state.nbytes for state in self._states]
        self._inputs, self._count = len(numbering.inputs), numbering.count
        saving = numbering.forward(spec.engines(spec.output_state).forward, 1, batch) if kind != "inference" else None
        saved_bytes = saving.saved_bytes if saving else 0
        if isinstance(kind, tuple):
            self.gradient = numbering.gradient((), kind)
            binding = numbering.backward(self.gradient, 1, batch)
        else:
            binding = saving or numbering.forward(spec.inference, 1, batch)
        self._packed = operation.packed
        executor = Executor(binding, TorchArrays(spec.dtype), 1, batch, packs=self._packed is not None)
        assert not executor.computes
        self._executor = executor
        self._arrays = executor.arrays
        self._places = _StepPlaces.of(self._sizes, saved_bytes)
        self.block = torch.empty(self._places.nbytes, dtype=torch.uint8)
        self._sums, end = list[ParameterSum](), aligned(executor.buffers.workspace_bytes)
        self._sums_at: list[int] = []  # in the workspace
        for number, overlap in enumerate(numbering.overlaps):
            first, second = self._inputs + overlap.first, self._inputs + overlap.second
            count = prod(numbering.shapes[overlap.first])
            self._sums.append(ParameterSum(self._count + number, first, second, count))
            self._sums_at.append(end)
            end = aligned(end + count * spec.dtype.itemsize)
        self._block_at = end  # in the workspace
        self._workspace_bytes = end + self._places.nbytes
        self._zeros = torch.zeros(max(self._sizes), dtype=torch.uint8)  # where no state is given
        self._zeros_at = self._zeros.data_ptr()
        self._run = self._commands(executor.buffers, is_gradient=isinstance(kind, tuple))

    def _commands(self, buffers: BufferPlan, *, is_gradient: bool) -> Callable[[Sequence[int], int], None]:
        """What runs the kernels. Its addresses are: operands, sums, states; for a gradient what is saved, adjoints and
        gradients; what is saved otherwise; the workspace; packed matrices. Then come for each state where it is written
        before the kernels run, where its first values are, where its last values are, and its result.
        """
        states, arrays = len(self._states), self._count + len(self._sums) + len(self._states) + 1
        if is_gradient:
            arrays += states + len(self.gradient.inputs) + len(self.gradient.packed)
        first = arrays + 2
        before = [BlockCopy(first + n, first + states + n, size) for n, size in enumerate(self._sizes)]
        results = first + 3 * states
        copied = list(enumerate(self._sizes))
        if len(self._results) > states and not is_gradient:
            copied.insert(0, copied[0])  # the output is the first state once more
        after = [
            BlockCopy(results + number, first + 2 * states + state, size) for number, (state, size) in enumerate(copied)
        ]
        return buffers.commands(results + len(copied), sums=self._sums, before=before, after=after)

    def forward(self, operands: Operands, kept: Tensor | None) -> tuple[Tensor, ...]:
        """The states after the step. `kept` is a block like `block`; without it the workspace has one."""
        tensors, places = _contiguous(operands), self._places
        block = self._arrays.take_workspace(self._workspace_bytes)
        workspace = block.data_ptr()
        packed = self._packed.packed_block(self._executor, tensors) if self._packed else block
        saved = workspace + self._block_at if kept is None else kept.data_ptr()
        befores = [saved + at for at in places.before]
        results = tuple(map(torch.empty_like, self._results))
        bases = list(map(_address, tensors[: self._count]))
        bases += [workspace + at for at in self._sums_at]
        bases += (*befores, saved, workspace, packed.data_ptr(), *befores)
        bases += self._starts(tensors[self._count :])
        bases += [saved + at for at in places.after]
        bases += map(_address, results)
        self._run(bases, workspace)
        self._arrays.give_back(block)
        return results

    def _starts(self, starts: Operands) -> list[int]:
        """The addresses of states, or of zeros."""
        return [self._zeros_at if start is None else start.data_ptr() for start in starts]

    def backward(
        self, operands: Operands, kept: Tensor, grads: Sequence[Tensor | None], needed: tuple[bool, ...]
    ) -> list[Tensor | None]:
        """The gradient by every operand that needs one; `grads` are by the states after the step, None is zeros."""
        gradient, count, places = self.gradient, self._count, self._places
        tensors, flows = _contiguous(operands[:count]), _contiguous(grads)
        saved = kept.data_ptr()
        block = self._arrays.take_workspace(self._workspace_bytes)
        workspace = block.data_ptr()
        own = workspace + self._block_at
        bases = list(map(_address, tensors))
        bases += [workspace + at for at in self._sums_at]
        bases += [saved + at for at in places.before]
        bases.append(saved)
        befores = [own + at for at in places.before]
        bases += befores
        gradients: list[Tensor | None] = [None] * count
        for number in (*gradient.inputs, *(self._inputs + packed for packed in gradient.packed)):
            tensor = tensors[number]
            assert tensor is not None
            by_operand = torch.empty_like(tensor)
            bases.append(by_operand.data_ptr())
            gradients[number] = by_operand
        by_states = list(map(torch.empty_like, self._states))
        bases += [workspace, workspace, *(own + at for at in places.after)]
        bases += self._starts(flows)
        bases += befores
        bases += map(_address, by_states)
        self._run(bases, workspace)
        for overlap in gradient.overlaps:
            copy_shared(gradients, overlap, self._inputs)
        for by_state, need in zip(by_states, needed[count:], strict=True):
            gradients.append(by_state if need else None)
        self._arrays.give_back(block)
        return gradients


class _StepPlaces(NamedTuple):
    """Where each state begins in the block of a run, before the step and after it, and the size of the block."""

    before: list[int]
    after: list[int]
    nbytes: int

    @classmethod
    def of(cls, sizes: Sequence[int], saved_bytes: int) -> Self:
        """The places behind what is saved; a state after a step lies directly behind the one before it."""
        before, after, end = list[int](), list[int](), aligned(saved_bytes)
        for size in sizes:
            before.append(end)
            after.append(end + size)
            end += 2 * size
        return cls(before, after, end)


def _contiguous(tensors: Operands) -> Operands:
    """Tensors as kernels can read them."""
    for tensor in tensors:
        if tensor is not None and not tensor.is_contiguous():
            return [None if other is None else other.contiguous() for other in tensors]
    return tensors


class _StepFunction(Function):
    """A single step that autograd can differentiate."""

    @staticmethod
    def forward(ctx: Any, operation: StepOperation, *operands: Tensor | None) -> tuple[Tensor, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Run the kernels that save."""
        run = operation.run_of("saving", operands)
        kept = torch.empty_like(run.block)
        ctx.operation = operation
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(kept, *operands)
        return run.forward(operands, kept)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """Run the kernels of the gradient; one that is differentiated or mapped itself goes through operations that
        autograd can follow."""
        operation: StepOperation = ctx.operation
        kept, *operands = ctx.saved_tensors
        needed: tuple[bool, ...] = ctx.needs_input_grad[1:]
        if not is_first_order(grads):
            derived = _derived_of_layer if operation.of_layer else _derived
            return (None, *derived(operation, operands, needed, grads))
        if operation.of_layer:
            output, last, *others = grads
            grads = (last if output is None else output if last is None else output + last, *others)
        run = operation.run_of(needed[: operation.numbering.count], operands)
        return (None, *run.backward(operands, kept, grads, needed))


def _derived(
    operation: StepOperation, operands: Operands, needed: Sequence[bool], grads: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """The gradients of a step as those of a sequence of one step."""
    x, *others = operands
    assert x is not None
    by_ends = [None if grad is None else grad.unsqueeze(0) for grad in grads]
    by_sequence, *gradients = derived_gradients(
        operation.sequence, [x.unsqueeze(0), *others], needed, [None, *by_ends], None
    )
    return [None if by_sequence is None else by_sequence.squeeze(0), *gradients]


def _derived_of_layer(
    operation: StepOperation, operands: Operands, needed: Sequence[bool], grads: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """The same for a step of a layer."""
    count = operation.numbering.count
    states = [None if state is None else state.squeeze(0) for state in operands[count:]]
    gradients = derived_gradients(operation.sequence, [*operands[:count], *states], needed, grads, None)
    return [*gradients[:count], *(None if grad is None else grad.unsqueeze(0) for grad in gradients[count:])]


# `Function.apply` inspects the signature of `forward` at every call, which takes longer than a small kernel
_apply: Callable[..., tuple[Tensor, ...]] = getattr(super(Function, _StepFunction), "apply")  # noqa: B009 (unknown to the checker)
