"""A cell that is called step by step as an operation on a caller's tensors: its run and its gradient, by kernels.

A step of few units takes a few microseconds, and so does each tensor that is made around it. So the states of a run,
and what it saves, lie in one block of memory, where kernels have room for each state before the step and after it;
results are copied from there.
"""

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from gatewright.backends.llvm.runtime.executor import Executor
from gatewright.backends.llvm.runtime.runner import aligned
from gatewright.nn.engine.differentiable import Differentiable
from gatewright.nn.engine.operation import Operands, SequenceOperation, copy_shared
from gatewright.nn.engine.sequence_function import derived_gradients, is_first_order
from gatewright.nn.engine.torch_arrays import TorchArrays
from gatewright.packing import Layout

_MOST_BATCHES = 64  # numbers of rows for which executors are remembered


class StepOperation:
    """A single step of a Trace with one input and no gates.

    Operands are the input (batch, size), the packed parameters and the states (batch, ...), where None is zeros. The
    results are the states after the step. Kernels read matrices where they are: one serves all numbers of rows.
    """

    def __init__(self, spec: Differentiable, layout: Layout) -> None:
        self.sequence = SequenceOperation(spec, layout)
        self.numbering, self.dtype = self.sequence.numbering, spec.dtype
        self.input_size = self.numbering.input_size
        self.state_shapes = self.numbering.state_shapes
        self._runs: dict[Any, _StepRun] = {}
        self._gradients: dict[Any, Any] = {}

    def takes(self, packed: Operands) -> bool:
        """Whether packed parameters have the dtype, the shapes and the device that the kernels need."""
        return self.sequence.takes(packed)

    def compile(self, *, gradient: bool, input_gradient: bool, needed: Sequence[bool]) -> None:
        """Compile the kernels for any number of rows, or load them from the cache on disk; see `SequenceOperation`."""
        spec = self.sequence.spec
        engines = [spec.inference]
        if gradient:
            by = self.numbering.gradient((), (input_gradient, *needed))
            engines += [spec.engines(spec.output_state).forward, by.engine]
        for engine in engines:
            engine.kernels(1, 1, packs=False)

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
        key = (kind, x.shape[0])
        run = self._runs.get(key)
        if run is None:
            if len(self._runs) >= _MOST_BATCHES:
                self._runs.clear()
            run = self._runs[key] = _StepRun(self, kind, x.shape[0])
        return run


class _StepRun:
    """Kernels of a step for one number of rows, and where they find their memory.

    The block of a run begins with what is saved. Then come the states, each before and after the step. A gradient reads
    it, and has its own states, which go from the end of the step to its beginning, in the workspace.
    """

    def __init__(self, operation: StepOperation, kind: str | tuple[bool, ...], batch: int) -> None:
        spec, numbering = operation.sequence.spec, operation.numbering
        self._overlaps = numbering.overlaps
        # Like these tensors results are made: torch takes half as long for that as for a shape and a dtype.
        self._states = [torch.empty((batch, *shape), dtype=spec.dtype) for shape in numbering.state_shapes]
        self._sizes = [state.nbytes for state in self._states]
        self._inputs, self._count = len(numbering.inputs), numbering.count
        saving = numbering.forward(spec.engines(spec.output_state).forward, 1, batch) if kind != "inference" else None
        saved_bytes = saving.saved_bytes if saving else 0
        if isinstance(kind, tuple):
            self.gradient = numbering.gradient((), kind)
            binding = numbering.backward(self.gradient, 1, batch)
        else:
            binding = saving or numbering.forward(spec.inference, 1, batch)
        executor = Executor(binding, TorchArrays(spec.dtype), 1, batch, packs=False)
        assert not executor.computes
        self._binding, self._arrays, self._buffers = binding, executor.arrays, executor.buffers
        self._saved_at = 0
        self._states_at = aligned(saved_bytes)
        self.block_bytes = self._states_at + 2 * sum(self._sizes)
        self._workspace_bytes = aligned(self._buffers.workspace_bytes) + self.block_bytes

    def forward(self, operands: Operands, kept: Tensor | None) -> tuple[Tensor, ...]:
        """The states after the step. `kept` is a block of `block_bytes`; without it the workspace has one."""
        tensors = self._contiguous(operands)
        addresses = [tensor.data_ptr() for tensor in tensors]
        block = self._arrays.take_workspace(self._workspace_bytes)
        workspace = block.data_ptr()
        saved = workspace + aligned(self._buffers.workspace_bytes) if kept is None else kept.data_ptr()
        at = saved + self._states_at
        ends: list[int] = []
        for start, size in zip(operands[self._count :], self._sizes, strict=True):
            addresses.append(at)
            _write(at, start, size)
            ends.append(at + size)
            at += 2 * size
        addresses.append(saved)
        self._buffers.run(addresses, workspace, workspace)
        results = tuple(map(_copied, self._states, ends, self._sizes))
        self._arrays.give_back(block)
        return results

    def backward(
        self, operands: Operands, kept: Tensor, grads: Sequence[Tensor | None], needed: tuple[bool, ...]
    ) -> list[Tensor | None]:
        """The gradient by every operand that needs one; `grads` are by the states after the step, None is zeros."""
        gradient, count = self.gradient, self._count
        tensors = self._contiguous(operands)
        addresses = [tensor.data_ptr() for tensor in tensors]
        saved = kept.data_ptr()
        at = saved + self._states_at
        for size in self._sizes:
            addresses.append(at)
            at += 2 * size
        addresses.append(saved)
        block = self._arrays.take_workspace(self._workspace_bytes)
        workspace = block.data_ptr()
        at = workspace + aligned(self._buffers.workspace_bytes)
        starts: list[int] = []
        for grad, size in zip(grads, self._sizes, strict=True):
            addresses.append(at)
            _write(at + size, grad, size)
            starts.append(at)
            at += 2 * size
        gradients: list[Tensor | None] = [None] * count
        for number in (*gradient.inputs, *(self._inputs + packed for packed in gradient.packed)):
            by_operand = torch.empty_like(tensors[number])
            addresses.append(by_operand.data_ptr())
            gradients[number] = by_operand
        self._buffers.run(addresses, workspace, workspace)
        for overlap in gradient.overlaps:
            copy_shared(gradients, overlap, self._inputs)
        for state, start, size, need in zip(self._states, starts, self._sizes, needed[count:], strict=True):
            gradients.append(_copied(state, start, size) if need else None)
        self._arrays.give_back(block)
        return gradients

    def _contiguous(self, operands: Operands) -> list[Tensor]:
        """Inputs and packed parameters as kernels can read them, and the sums of those that overlap."""
        tensors: list[Tensor] = []
        for tensor in operands[: self._count]:
            assert tensor is not None
            tensors.append(tensor if tensor.is_contiguous() else tensor.contiguous())
        for overlap in self._overlaps:
            tensors.append(tensors[self._inputs + overlap.first] + tensors[self._inputs + overlap.second])
        return tensors


def _write(address: int, values: Tensor | None, size: int) -> None:
    """Copy a tensor to an address; None is zeros."""
    if values is None:
        ctypes.memset(address, 0, size)
    else:
        contiguous = values if values.is_contiguous() else values.contiguous()
        ctypes.memmove(address, contiguous.data_ptr(), size)


def _copied(like: Tensor, address: int, size: int) -> Tensor:
    """A tensor with the numbers at an address."""
    result = torch.empty_like(like)
    ctypes.memmove(result.data_ptr(), address, size)
    return result


class _StepFunction(Function):
    """A single step that autograd can differentiate."""

    @staticmethod
    def forward(ctx: Any, operation: StepOperation, *operands: Tensor | None) -> tuple[Tensor, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Run the kernels that save."""
        run = operation.run_of("saving", operands)
        kept = torch.empty(run.block_bytes, dtype=torch.uint8)
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
            return (None, *_derived(operation, operands, needed, grads))
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


# `Function.apply` inspects the signature of `forward` at every call, which takes longer than a small kernel
_apply: Callable[..., tuple[Tensor, ...]] = getattr(super(Function, _StepFunction), "apply")  # noqa: B009 (unknown to the checker)
