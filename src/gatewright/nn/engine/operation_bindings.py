"""Which tensor of a call holds which value: for the run of a sequence, and for its gradients."""

import ctypes
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from math import prod

from torch import Tensor

from gatewright.axes import bind
from gatewright.backends.llvm.codegen.buffers import NARROW_BYTES
from gatewright.backends.llvm.runtime.binding import Binding, Slot, result_slots
from gatewright.backends.llvm.runtime.engine import Engine
from gatewright.backends.llvm.runtime.runner import aligned
from gatewright.backends.llvm.runtime.tables import Location
from gatewright.derive import adjoint, seed
from gatewright.nn.engine.differentiable import Differentiable
from gatewright.packing import Layout, Overlap, overlaps, packed_shape
from gatewright.schedule.program import Storage
from gatewright.trace.ir import Var


@dataclass(frozen=True, eq=False, slots=True)
class Gradient:
    """A gradient by some of the inputs and packed parameters, given by their numbers."""

    engine: Engine
    seeded: tuple[str, ...]  # the states with an incoming gradient at every step
    inputs: tuple[int, ...]
    packed: tuple[int, ...]
    overlaps: tuple[Overlap, ...]  # between those packed parameters


class TensorNumbering:
    """The tensors of a call have numbers, in this order: inputs with random values, packed parameters, sums of those
    that overlap, states at every time, what is emitted, what is saved.

    A run that sums has its sums after them. A gradient has after them: the gradients by seeded states, by what is
    emitted, and by sums; the adjoints of the states at every time; the gradients by inputs, and by packed parameters.
    """

    def __init__(self, spec: Differentiable, layout: Layout) -> None:
        trace, sizes = spec.trace, spec.sizes
        self.spec, self.layout = spec, layout
        self.inputs = [*(value.name for value in trace.inputs), *(noise.var.name for noise in trace.noises)]
        self.states = [state.name for state in trace.states]
        self.state_shapes = [bind(state.shape, sizes) for state in trace.states]
        self.input_size = prod(bind(trace.inputs[0].shape, sizes)) if trace.inputs else 0
        self.overlaps = overlaps(layout, trace, sizes)
        self.shapes = [packed_shape(packed, trace, sizes) for packed in layout]
        self.first_packed = len(self.inputs)
        self.count = self.first_packed + len(layout)
        self.first_state = self.count + len(self.overlaps)
        self.first_emit = self.first_state + len(self.states)
        self.saved = self.first_emit + len(trace.emits)

    def forward(self, engine: Engine, steps: int, batch: int) -> Binding:
        """The binding of a run, which may save."""
        trace = engine.program.trace
        emitted = result_slots(trace, self.spec.trace.emits, self.spec.sizes, count(self.first_emit))
        saved, size = self._saved_slots(engine, steps, batch)
        states = {name: Location(self.first_state + number) for number, name in enumerate(self.states)}
        summed = result_slots(trace, trace.sums, self.spec.sizes, count(self.saved + 1))
        locations = {**self._operands(), **states}
        return Binding(engine, locations, {**emitted, **saved}, summed, self.saved + 1 + len(summed), size)

    def gradient(self, seeded: tuple[str, ...], needed: Sequence[bool]) -> Gradient:
        """The gradient by those inputs and packed parameters that are needed."""
        spec = self.spec
        inputs = tuple(number for number in range(len(spec.trace.inputs)) if needed[number])
        packed = tuple(number for number in range(len(self.layout)) if needed[self.first_packed + number])
        order = spec.engines(frozenset(seeded)).pair.backward.order
        names = [*(self.inputs[number] for number in inputs), *(n for i in packed for n in self.layout[i].slots)]
        engine = spec.gradient(frozenset(seeded), frozenset(adjoint(name, order) for name in names))
        shared = tuple(overlap for overlap in self.overlaps if {overlap.first, overlap.second} <= set(packed))
        return Gradient(engine, seeded, inputs, packed, shared)

    def backward(self, gradient: Gradient, steps: int, batch: int) -> Binding:
        """The binding of a gradient."""
        trace = gradient.engine.program.trace
        order, own = trace.order, self.spec.trace
        numbers = count(self.saved + 1)
        locations = self._kept(steps, batch)
        seeds = [*gradient.seeded, *(name for name, value in own.emits if isinstance(value, Var))]
        sums = [name for name, value in own.sums if isinstance(value, Var)]
        for name in (*(seed(n, order) for n in seeds), *(adjoint(n, order) for n in (*sums, *self.states))):
            locations[name] = Location(next(numbers))
        emits, names = dict(trace.emits), [adjoint(self.inputs[number], order) for number in gradient.inputs]
        emitted = result_slots(trace, [(name, emits[name]) for name in names], self.spec.sizes, numbers)
        slots: dict[str, Slot] = {}
        for packed in gradient.packed:
            slots = self._packed_slots(packed, next(numbers)) | slots  # the first of those that overlap gets the sum
        summed = {adjoint(name, order): slot for name, slot in slots.items()}
        return Binding(gradient.engine, locations, emitted, summed, next(numbers))

    def operand_shapes(self, steps: int, batch: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        """The name and shape of every operand of a run with a tensor for each parameter."""
        trace, sizes = self.spec.trace, self.spec.sizes
        for leaf in trace.inputs:
            yield leaf.name, (steps, batch, *bind(leaf.shape, sizes))
        for noise in trace.noises:  # Triton's kernels draw it from seeds
            shape = () if self.spec.engine == "triton" else bind(noise.var.shape, sizes)
            yield noise.var.name, (steps, batch, *shape)
        for leaf in trace.params:
            yield leaf.name, bind(leaf.shape, sizes)
        for leaf in trace.states:
            yield leaf.name, (batch, *bind(leaf.shape, sizes))

    def _operands(self) -> dict[str, Location]:
        """The locations of inputs and parameters; a parameter in two packed tensors is their sum."""
        locations = {name: Location(number) for number, name in enumerate(self.inputs)}
        for packed in range(len(self.layout)):
            slots = self._packed_slots(packed, self.first_packed + packed)
            locations |= {name: slot.location for name, slot in slots.items()}
        for number, overlap in enumerate(self.overlaps):
            summed = self._packed_slots(overlap.first, self.count + number)
            locations |= {name: summed[name].location for name in overlap.names}
        return locations

    def _packed_slots(self, packed: int, tensor: int) -> dict[str, Slot]:
        """The location of each part of a packed parameter, in the tensor of that number."""
        names, (rows, *columns) = self.layout[packed].slots, self.shapes[packed]
        shape = (rows // len(names), *columns)
        size = prod(shape) * self.spec.dtype.itemsize
        return {name: Slot(Location(tensor, slot * size), shape) for slot, name in enumerate(names)}

    def _saved_slots(self, engine: Engine, steps: int, batch: int) -> tuple[dict[str, Slot], int]:
        """The locations of saved values, all in one tensor, and its size in bytes.

        A saved value that is also a result or a state is left out: a gradient reads it there.
        """
        program, results = engine.program, dict(self.spec.trace.emits)
        emitted = {value.name for value in results.values() if isinstance(value, Var)}
        slots: dict[str, Slot] = {}
        end = 0
        for name, value in program.trace.emits:
            if name in results or not isinstance(value, Var) or program.storage[value.name] is not Storage.SEQUENCE:
                continue
            if value.name not in emitted:
                shape = bind(value.shape, self.spec.sizes)
                slots[name] = Slot(Location(self.saved, end), shape)
                itemsize = NARROW_BYTES if value.name in engine.narrow else self.spec.dtype.itemsize
                end += aligned(steps * batch * prod(shape) * itemsize)
        return slots, end

    def _kept(self, steps: int, batch: int) -> dict[str, Location]:
        """The locations of the run's operands and saved values, by the gradient's names for them."""
        locations = self._operands()
        for number, name in enumerate(self.states):
            locations[name] = self._in_state(number, batch, after=False)
        engines = self.spec.engines(self.spec.output_state)
        written, program = self.forward(engines.forward, steps, batch).written, engines.forward.program
        emits = dict(program.trace.emits)
        for name in engines.pair.saved:
            value = emits[name]
            assert isinstance(value, Var), name
            if value.name in written:
                locations[name] = written[value.name]
            else:
                locations[name] = self._in_state(self.states.index(program.new_values[value.name]), batch, after=True)
        return locations

    def _in_state(self, number: int, batch: int, *, after: bool) -> Location:
        """The location of a state before or after every step, within that state at every time."""
        step = batch * prod(self.state_shapes[number]) * self.spec.dtype.itemsize
        return Location(self.first_state + number, step if after != self.spec.backwards else 0)


def copy_shared(gradients: list[Tensor | None], overlap: Overlap, first_packed: int) -> None:
    """Copy the gradient of one packed tensor to another, where a parameter is the sum of parts of both."""
    first, second = gradients[first_packed + overlap.first], gradients[first_packed + overlap.second]
    assert first is not None
    assert second is not None
    if overlap.whole:
        gradients[first_packed + overlap.second] = first
        return
    row = first.stride(0) * first.element_size()
    for rows in overlap.rows:
        offset = rows.start * row
        ctypes.memmove(second.data_ptr() + offset, first.data_ptr() + offset, (rows.stop - rows.start) * row)
