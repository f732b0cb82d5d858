"""A Trace over a sequence on a GPU, or on a CPU in Triton's interpreter: its run and its gradient, as Programs."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor

from gatewright.axes import bind
from gatewright.backends.llvm.runtime.side_by_side import SideBySide
from gatewright.backends.triton.batched_products import adjacent
from gatewright.backends.triton.kernel_precision import KernelPrecision
from gatewright.backends.triton.program_run import ProgramRun, ProgramTensors
from gatewright.derive import adjoint, seed
from gatewright.nn.engine.autograd import widened
from gatewright.nn.engine.differentiable import DTYPES, Differentiable, OperandDtype
from gatewright.nn.engine.schedules import planned
from gatewright.nn.engine.trace_operation import (
    AskedGradient,
    CompleteGradient,
    Operands,
    RunOutputs,
    TraceOperation,
    last_state,
)
from gatewright.nn.sequence import RaggedRows
from gatewright.packing import Layout, unpacked
from gatewright.schedule.plan import plan
from gatewright.schedule.program import Choices, Program, Time
from gatewright.trace import Trace
from gatewright.trace.recurrence import recurrence

RunKind = str | tuple[frozenset[str], frozenset[str]]
"""A run "inference" or "saving", or a gradient by some states' adjoints of some leaves."""


class DeviceOperation(TraceOperation):
    """A Trace over a sequence by Triton's kernels and torch's products."""

    def __init__(self, spec: Differentiable, layout: Layout, *, whole_states: bool = False) -> None:
        super().__init__(spec, layout, whole_states=whole_states)
        self.precision = kernel_precision(spec.dtype, spec.products)
        self._runs: dict[Any, ProgramRun] = {}

    def forward(
        self,
        operands: Operands,
        ragged: RaggedRows | None = None,
        *,
        saves: bool,
        beside: SideBySide | None = None,
    ) -> RunOutputs:
        """Run the kernels; with `saves`, so that a gradient can be computed."""
        spec, numbering = self.spec, self.numbering
        pair = spec.pair(spec.output_state) if saves else None
        inputs, params = self._values(operands)
        if self.whole_states:
            steps, batch = inputs[self.inputs[0]].shape[:2]
            self.check_shapes(operands, (steps, batch))
        starts = dict(zip(numbering.states, map(self._converted, operands[self.count :]), strict=True))
        result = self.compute("saving" if saves else "inference", inputs, params, starts, _lengths(ragged))
        states = [result.states[name] for name in numbering.states]
        others = {tensor.untyped_storage().data_ptr() for tensor in (*inputs.values(), *params.values(), *states)}
        emits = separate([result.emits[name] for name, _ in spec.trace.emits], others)
        sums = separate([result.sums[name] for name, _ in spec.trace.sums], others)
        saved = [result.emits[name] for name in pair.saved] if pair else []
        return RunOutputs(states, emits, saved, sums)

    def start_backward(self, asked: AskedGradient, beside: SideBySide | None = None) -> CompleteGradient:
        """Run the kernels of `backward`; gives its results."""
        operands, _, grads, needed, ragged, by_inputs = asked
        result, wholes = self._run_gradient(asked)
        numbering, order = self.numbering, self._order(grads)
        gradients: list[Tensor | None] = [None] * self.count
        places = [number for number in range(len(self.spec.trace.inputs)) if needed[number]]
        emitted = separate([result.emits[adjoint(self.inputs[place], order)] for place in places], ())
        for place, by_input, room in zip_longest(places, emitted, by_inputs[: len(places)]):
            operand = operands[place]
            assert operand is not None
            whole = widened(by_input, operand.shape)
            gradients[place] = whole if room is None else room.copy_(whole)
        taken: set[int] = set()  # by a gradient: callers change each in place
        for number, packed in enumerate(self.layout):
            place = numbering.first_packed + number
            operand = operands[place]
            if needed[place]:
                assert operand is not None
                parts = [result.sums[adjoint(name, order)] for name in packed.slots]
                addresses = {part.data_ptr() for part in parts}
                whole = joined(parts, numbering.shapes[number], copies=bool(addresses & taken))
                gradients[place] = whole.reshape(operand.shape)
                taken |= addresses
        for name, whole, need in zip(numbering.states, wholes, needed[self.count :], strict=True):
            carried = result.states[adjoint(name, order)]
            by_state = last_state(carried, ragged, at_end=self.spec.backwards)[0] if need else None
            if by_state is not None and whole is not None:  # this slot of a result is the initial state
                by_state = by_state + whole[-1 if self.spec.backwards else 0]
            gradients.append(by_state)
        return lambda: gradients

    def _run_gradient(self, asked: AskedGradient) -> tuple[ProgramTensors, Sequence[Tensor | None]]:
        """The run of the gradient; and for each state the gradient by it at every time, where there is one."""
        operands, kept, grads, needed, ragged, _ = asked
        spec, trace, names = self.spec, self.spec.trace, self.numbering.states
        seeded, order = frozenset(self.seeded(grads)), self._order(grads)
        inputs, params = self._values(operands)
        states = dict(zip(names, kept, strict=False))
        first, (steps, batch) = kept[0], inputs[self.inputs[0]].shape[:2]
        before, after = (slice(1, None), slice(None, -1)) if spec.backwards else (slice(None, -1), slice(1, None))
        inputs |= {name: whole[before] for name, whole in states.items()}
        saved = kept[len(names) + len(trace.emits) :]
        inputs |= zip(spec.pair(spec.output_state).saved, saved, strict=True)
        wholes: Sequence[Tensor | None] = [None] * len(names)
        ends: Sequence[Tensor | None] = [None] * len(names)
        if self.whole_states:
            wholes, others = grads[: len(names)], grads[len(names) :]
            by_states = {name: whole[after] for name, whole in zip(names, wholes, strict=True) if whole is not None}
        else:
            ends = [None if end is None else end.squeeze(0) for end in grads[1 : 1 + len(names)]]
            others = grads[1 + len(names) :]
            by_states = {names[0]: first.new_zeros(first[before].shape) if grads[0] is None else grads[0]}
        inputs |= {seed(name, order): self._converted(by_state) for name, by_state in by_states.items()}
        for (name, value), grad in zip(trace.emits, others, strict=False):
            shape = (steps, batch, *bind(value.shape, spec.sizes))
            inputs[seed(name, order)] = first.new_zeros(shape) if grad is None else self._converted(grad)
        for (name, value), grad in zip(trace.sums, others[len(trace.emits) :], strict=False):
            shape = bind(trace.output_shape(name, value), spec.sizes)
            params[adjoint(name, order)] = first.new_zeros(shape) if grad is None else self._converted(grad)
        starts = {adjoint(name, order): self._converted(end) for name, end in zip(names, ends, strict=True)}
        kind = (seeded, self._wanted(needed, order))
        return self.compute(kind, inputs, params, starts, _lengths(ragged)), wholes

    def _order(self, grads: Sequence[Tensor | None]) -> int:
        return self.spec.pair(frozenset(self.seeded(grads))).backward.order

    def _wanted(self, needed: tuple[bool, ...], order: int) -> frozenset[str]:
        """The results of the gradient that are needed."""
        names = [leaf.name for leaf, need in zip(self.spec.trace.inputs, needed, strict=False) if need]
        for packed, need in zip(self.layout, needed[self.parameters], strict=True):
            names += packed.slots if need else ()
        return frozenset(adjoint(name, order) for name in names)

    def can_use_saved(self, grads: Sequence[Tensor | None]) -> bool:
        """Whether a forward run saves every value that the gradient by `grads` needs."""
        own = self.spec.pair(frozenset(self.seeded(grads)))
        return set(own.saved) <= set(self.spec.pair(self.spec.output_state).saved)

    def takes(self, packed: Operands) -> bool:
        """Whether packed parameters have the dtype and the shapes that the kernels need."""
        for tensor, shape in zip(packed, self.numbering.shapes, strict=True):
            if tensor is None or tensor.dtype is not self.spec.dtype or tensor.shape != shape:
                return False
        return True

    def compute(
        self,
        kind: RunKind,
        inputs: Mapping[str, Tensor],
        params: Mapping[str, Tensor],
        starts: Mapping[str, Tensor | None],
        lengths: Tensor | None,
    ) -> ProgramTensors:
        """Run the Program of a kind; the tensors are those of `ProgramRun.run`."""
        return self.run_of(kind).run(inputs, params, starts, lengths)

    def run_of(self, kind: RunKind) -> ProgramRun:
        """What runs the Program of a kind."""
        if kind not in self._runs:
            spec = self.spec
            if isinstance(kind, str):
                trace = spec.trace if kind == "inference" else spec.pair(spec.output_state).forward
                program, backwards = planned(trace), spec.backwards
            else:
                program, backwards = spec.gradient_program(*kind), not spec.backwards
            program = self.scheduled(program)
            self._runs[kind] = ProgramRun(program, spec.sizes, self.precision, backwards=backwards)
        return self._runs[kind]

    def scheduled(self, program: Program) -> Program:
        """The Program with scans in place of its loop, where all its states allow it."""
        return without_loop(program)

    def _values(self, operands: Operands) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Inputs and parameters by the names in the equations."""
        spec = self.spec
        seeds = {noise.var.name for noise in spec.trace.noises}
        named = ((name, x) for name, x in zip(self.inputs, operands, strict=False) if x is not None)
        inputs: dict[str, Tensor] = {name: x if name in seeds else self._converted(x) for name, x in named}
        packed = [self._converted(x) for x in operands[self.parameters] if x is not None]
        with torch.no_grad():
            params: dict[str, Tensor] = unpacked(self.layout, packed, spec.trace, spec.sizes)
        return inputs, params

    def _converted(self, tensor: Any) -> Any:
        """A tensor in the dtype of the numbers; None stays None."""
        return tensor if tensor is None or tensor.dtype is self.spec.dtype else tensor.to(self.spec.dtype)


def without_loop(program: Program) -> Program:
    """The Program with scans in place of its loop, where all its states are parallel in time; else the Program."""
    return _scanned(program.trace) if program.loop and recurrence(program.trace).is_parallel else program


@lru_cache(maxsize=256)
def _scanned(trace: Trace) -> Program:
    return plan(trace, Choices(time=Time.SCAN))


def kernel_precision(dtype: torch.dtype, products: OperandDtype) -> KernelPrecision:
    """The dtypes of kernels for arrays of a dtype, and for products whose operands are rounded."""
    numbers = DTYPES[dtype]
    if products in ("bfloat16", "float16"):
        return KernelPrecision(numbers, products)
    if products in ("tf32", "tf32x3"):
        return KernelPrecision(numbers, numbers, products)
    return KernelPrecision(numbers, numbers)


def _lengths(ragged: RaggedRows | None) -> Tensor | None:
    return None if ragged is None else ragged.lengths.to(torch.int32)


def separate(tensors: Iterable[Tensor], others: Collection[int]) -> list[Tensor]:
    """Contiguous tensors, none of which shares memory with another, or with memory at one of the addresses `others`.

    A part of larger memory, as of a batched product, is copied too: it would keep that memory, and a graph expects
    results that begin where their memory does.
    """
    taken = set(others)
    separated: list[Tensor] = []
    for tensor in tensors:
        storage = tensor.untyped_storage()
        is_part = not tensor.is_contiguous() or storage.nbytes() != tensor.nbytes
        own = tensor
        if is_part or (storage.data_ptr() in taken and tensor.numel()):
            own = tensor.clone(memory_format=torch.contiguous_format)
        taken.add(own.untyped_storage().data_ptr())
        separated.append(own)
    return separated


def joined(parts: Sequence[Tensor], shape: tuple[int, ...], *, copies: bool) -> Tensor:
    """Parts below each other in one tensor; unless it `copies`, a view where they lie so in memory."""
    rows = [part.reshape(shape[0] // len(parts), *shape[1:]) for part in parts]
    view = None if copies else adjacent(rows)
    return torch.cat(rows) if view is None else view.reshape(shape)
