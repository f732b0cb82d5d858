"""Which tensor of a call holds which value: for the run of a sequence, and for its gradients."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

from gatewright.axes import bind
from gatewright.backends.llvm.runtime.engine import Engine
from gatewright.backends.llvm.runtime.executor import Binding, Slot
from gatewright.backends.llvm.runtime.runner import ALIGNMENT
from gatewright.backends.llvm.runtime.tables import Location
from gatewright.derive import adjoint, seed
from gatewright.nn.engine.differentiable import Differentiable
from gatewright.packing import Layout, Overlap, overlaps, packed_shape
from gatewright.schedule.program import Storage
from gatewright.trace.ir import Atom, Trace, Var


@dataclass(frozen=True, slots=True)
class Gradient:
    """A gradient by some of what went in: which inputs and packed parameters, of which some may overlap."""

    engine: Engine
    seen: tuple[str, ...]  # the states whose value at every step the loss sees
    inputs: tuple[int, ...]
    packed: tuple[int, ...]
    overlaps: tuple[Overlap, ...]


class Numbering:
    """The tensors of a call, numbered in this order: inputs with random values, packed parameters, sums of those that
    overlap, states at every time, what is emitted, what is saved.

    A run that sums has its sums behind them. A gradient has there: what the loss says of the states that it sees, of
    what is emitted, and of what is summed; the adjoints of the states at every time; the gradients by inputs, and by
    packed parameters.
    """

    def __init__(self, spec: Differentiable, layout: Layout) -> None:
        trace, sizes = spec.trace, spec.sizes
        self.spec, self.layout = spec, layout
        self.inputs = [*(value.name for value in trace.inputs), *(noise.var.name for noise in trace.noises)]
        self.states = [state.name for state in trace.states]
        self.state_shapes = [bind(state.shape, sizes) for state in trace.states]
        self.overlaps = overlaps(layout, trace, sizes)
        self.shapes = [packed_shape(packed, trace, sizes) for packed in layout]
        self.first_packed = len(self.inputs)
        self.count = self.first_packed + len(layout)
        self.first_state = self.count + len(self.overlaps)
        self.first_emit = self.first_state + len(self.states)
        self.saved = self.first_emit + len(trace.emits)

    def forward(self, engine: Engine, steps: int, batch: int) -> Binding:
        """A run by an engine, which may save."""
        trace = engine.program.trace
        emitted = {
            name: Slot(Location(self.first_emit + number), _shape(self.spec, trace, name, value))
            for number, (name, value) in enumerate(self.spec.trace.emits)
        }
        saved, size = self._saved_slots(engine, steps, batch)
        states = {name: Location(self.first_state + number) for number, name in enumerate(self.states)}
        summed = {
            name: Slot(Location(self.saved + 1 + number), _shape(self.spec, trace, name, value))
            for number, (name, value) in enumerate(trace.sums)
        }
        given = {**self._given(), **states}
        return Binding(engine, given, {**emitted, **saved}, summed, self.saved + 1 + len(summed), size)

    def gradient(self, seen: tuple[str, ...], needed: Sequence[bool]) -> Gradient:
        """The gradient by those that are needed of inputs and packed parameters."""
        spec = self.spec
        inputs = tuple(number for number in range(len(spec.trace.inputs)) if needed[number])
        packed = tuple(number for number in range(len(self.layout)) if needed[self.first_packed + number])
        order = spec.halves(frozenset(seen)).pair.backward.order
        slots = {name for number in packed for name in self.layout[number].slots}
        wanted = {adjoint(name, order) for name in (*(self.inputs[number] for number in inputs), *slots)}
        engine = spec.gradient(frozenset(seen), frozenset(wanted))
        shared = tuple(overlap for overlap in self.overlaps if {overlap.first, overlap.second} <= set(packed))
        return Gradient(engine, seen, inputs, packed, shared)

    def backward(self, gradient: Gradient, steps: int, batch: int) -> Binding:
        """A gradient."""
        trace = gradient.engine.program.trace
        order = trace.order
        given, number = self._kept(gradient, steps, batch), self.saved
        for name in (*(seed(name, order) for name in gradient.seen), *self.flows(order)):
            number += 1
            given[name] = Location(number)
        for name in self.states:
            number += 1
            given[adjoint(name, order)] = Location(number)
        emitted: dict[str, Slot] = {}
        for name, value in emits_of(trace, [adjoint(self.inputs[i], order) for i in gradient.inputs]):
            number += 1
            emitted[name] = Slot(Location(number), _shape(self.spec, trace, name, value))
        slots: dict[str, Slot] = {}
        for packed in gradient.packed:
            number += 1
            slots = self._slots(packed, number) | slots  # the first of those that overlap gets the sum
        summed = {adjoint(name, order): slot for name, slot in slots.items()}
        return Binding(gradient.engine, given, emitted, summed, number + 1)

    def shapes_of_given(self, steps: int, batch: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        """The name and shape of everything that a run on values by name is given."""
        trace, sizes = self.spec.trace, self.spec.sizes
        for leaf in (*trace.inputs, *(noise.var for noise in trace.noises)):
            yield leaf.name, (steps, batch, *bind(leaf.shape, sizes))
        for leaf in trace.params:
            yield leaf.name, bind(leaf.shape, sizes)
        for leaf in trace.states:
            yield leaf.name, (batch, *bind(leaf.shape, sizes))

    def flows(self, order: int) -> list[str]:
        """The names under which a gradient is given what the loss says of what is emitted and summed."""
        trace = self.spec.trace
        emitted = [seed(name, order) for name, value in trace.emits if isinstance(value, Var)]
        return emitted + [adjoint(name, order) for name, value in trace.sums if isinstance(value, Var)]

    def _given(self) -> dict[str, Location]:
        """Where inputs and parameters lie; a parameter that lies in two packed tensors is their sum."""
        given = {name: Location(number) for number, name in enumerate(self.inputs)}
        for number in range(len(self.layout)):
            slots = self._slots(number, self.first_packed + number)
            given |= {name: slot.location for name, slot in slots.items()}
        for number, overlap in enumerate(self.overlaps):
            both = self._slots(overlap.first, self.count + number)
            given |= {name: both[name].location for name in overlap.names}
        return given

    def _slots(self, packed: int, tensor: int) -> dict[str, Slot]:
        """Where each part of a packed tensor lies, in the tensor of that number."""
        names, (rows, *columns) = self.layout[packed].slots, self.shapes[packed]
        shape = (rows // len(names), *columns)
        size = prod(shape) * self.spec.dtype.itemsize
        return {name: Slot(Location(tensor, slot * size), shape) for slot, name in enumerate(names)}

    def _saved_slots(self, engine: Engine, steps: int, batch: int) -> tuple[dict[str, Slot], int]:
        """Where what is saved lies, all in one tensor, and how many bytes that has.

        What is a result or a state as well is found there.
        """
        program, results = engine.program, dict(self.spec.trace.emits)
        taken = {value.name for value in results.values() if isinstance(value, Var)}
        slots: dict[str, Slot] = {}
        end = 0
        for name, value in program.trace.emits:
            if name in results or not isinstance(value, Var) or program.storage[value.name] is not Storage.SEQUENCE:
                continue
            if value.name not in taken:
                shape = bind(value.shape, self.spec.sizes)
                slots[name] = Slot(Location(self.saved, end), shape)
                end += -(-steps * batch * prod(shape) * self.spec.dtype.itemsize // ALIGNMENT) * ALIGNMENT
        return slots, end

    def _kept(self, gradient: Gradient, steps: int, batch: int) -> dict[str, Location]:
        """Where a gradient finds what went into the run and what came out of it, by its own names for that."""
        given = self._given()
        for number, (name, shape) in enumerate(zip(self.states, self.state_shapes, strict=True)):
            given[name] = self._in_state(number, shape, batch, after=False)
        halves = self.spec.halves(self.spec.first)
        binding = self.forward(halves.forward, steps, batch)
        program = halves.forward.program
        for name in halves.pair.saved:
            value = dict(program.trace.emits)[name]
            assert isinstance(value, Var), name
            if value.name in binding.written:
                given[name] = binding.written[value.name]
            else:
                number = self.states.index(program.new_values[value.name])
                given[name] = self._in_state(number, self.state_shapes[number], batch, after=True)
        return given

    def _in_state(self, number: int, shape: Sequence[int], batch: int, *, after: bool) -> Location:
        """A state before or after every step, within that state at every time."""
        step = batch * prod(shape) * self.spec.dtype.itemsize
        return Location(self.first_state + number, step if after != self.spec.backwards else 0)


def emits_of(trace: Trace, names: Sequence[str]) -> list[tuple[str, Atom]]:
    """What a trace emits under some names."""
    emits = dict(trace.emits)
    return [(name, emits[name]) for name in names]


def _shape(spec: Differentiable, trace: Trace, name: str, value: Atom) -> tuple[int, ...]:
    """The shape of a result, for one row."""
    return bind(trace.output_shape(name, value), spec.sizes)
