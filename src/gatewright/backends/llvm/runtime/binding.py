"""Where the values of a Program lie in the arrays of a call."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from math import prod

from gatewright.axes import bind
from gatewright.backends.llvm.codegen.buffers import BufferId, outside_buffers, sum_buffer
from gatewright.backends.llvm.runtime.engine import Engine
from gatewright.backends.llvm.runtime.tables import Location
from gatewright.schedule.program import Program, Storage
from gatewright.trace.ir import Atom, Literal, Trace, Var

Locations = Mapping[str, Location]
Results = Sequence[tuple[str, Atom]]
"""What is emitted, or summed: names and values."""


@dataclass(frozen=True, slots=True)
class Slot:
    """Room for a result in an array of a call."""

    location: Location
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Binding:
    """Where the values of a Program lie in the numbered arrays of a call.

    - `given`: inputs, parameters and states, by the names in the Program's trace.
    - `emitted`, `summed`: room for each result by its name; what is not wanted is left out.
    - `arrays`: how many there are.
    - `saved_bytes`: the size of the array that holds what is saved for a gradient.
    """

    engine: Engine
    given: Locations
    emitted: Mapping[str, Slot]
    summed: Mapping[str, Slot]
    arrays: int
    saved_bytes: int = 0

    @property
    def program(self) -> Program:
        """What is run."""
        return self.engine.program

    @cached_property
    def written(self) -> dict[str, Location]:
        """Where kernels write what is emitted, by the names of values."""
        storage = self.program.storage
        return _written(self.emitted, self.program.trace.emits, lambda name, _: storage[name] is Storage.SEQUENCE)

    @cached_property
    def fills(self) -> tuple[tuple[Slot, Atom], ...]:
        """What is emitted without a kernel that writes it: numbers, given values, new states, and second copies."""
        return _not_written(self.emitted, self.program.trace.emits, self.written)

    @cached_property
    def sums(self) -> dict[str, Location]:
        """Where kernels write sums over rows that are a result as they are, by the names of values."""
        targets = [row_sum.target for row_sum in self.program.row_sums]
        sizes = {target.name: prod(bind(target.shape, self.engine.sizes)) for target in targets}
        return _written(self.summed, self.program.sums, lambda name, slot: sizes.get(name) == prod(slot.shape))

    @cached_property
    def unwritten_sums(self) -> tuple[tuple[Slot, Atom], ...]:
        """What is summed without a kernel that writes it: numbers, what the epilogue computes, second copies."""
        return _not_written(self.summed, self.program.sums, self.sums)

    @cached_property
    def computed(self) -> dict[str, Location]:
        """Arrays after those of a call: what the prologue computes, and sums over rows that are no result."""
        names = [equation.target.name for equation in self.program.prologue]
        names += [row_sum.target.name for row_sum in self.program.row_sums if row_sum.target.name not in self.sums]
        return {name: Location(self.arrays + number) for number, name in enumerate(names)}

    def places(self) -> dict[BufferId, Location]:
        """Where each buffer lies that kernels share with their caller."""
        locations = {**self.given, **self.written, **self.computed}
        sums = {**self.sums, **self.computed}
        outside = {buffer: locations[buffer.name] for buffer in outside_buffers(self.program)}
        return outside | {sum_buffer(row_sum): sums[row_sum.target.name] for row_sum in self.program.row_sums}


def _written(
    slots: Mapping[str, Slot], results: Results, is_written: Callable[[str, Slot], bool]
) -> dict[str, Location]:
    """Where kernels write results, by the names of their values: one result for each value."""
    values, written = dict(results), dict[str, Location]()
    for name, slot in slots.items():
        value = values[name]
        if isinstance(value, Var) and is_written(value.name, slot):
            written.setdefault(value.name, slot.location)
    return written


def _not_written(slots: Mapping[str, Slot], results: Results, written: Locations) -> tuple[tuple[Slot, Atom], ...]:
    """The slots with another value than kernels write there."""
    values = dict(results)
    pairs = ((slot, values[name]) for name, slot in slots.items())
    return tuple(
        (slot, value) for slot, value in pairs if isinstance(value, Literal) or written.get(value.name) != slot.location
    )


def bind_by_name(engine: Engine) -> Binding:
    """A binding in which every value has an array of its own, in this order: inputs, random values, parameters, states
    at every time, what is emitted, what is summed."""
    trace, numbers = engine.program.trace, count()
    leaves = [*trace.inputs, *(noise.var for noise in trace.noises), *trace.params, *trace.states]
    given = {leaf.name: Location(next(numbers)) for leaf in leaves}
    emitted = result_slots(trace, trace.emits, engine.sizes, numbers)
    summed = result_slots(trace, trace.sums, engine.sizes, numbers)
    return Binding(engine, given, emitted, summed, next(numbers))


def result_slots(trace: Trace, results: Results, sizes: Mapping[str, int], numbers: Iterator[int]) -> dict[str, Slot]:
    """An array for each result, with the next of the numbers."""
    return {
        name: Slot(Location(next(numbers)), bind(trace.output_shape(name, value), sizes)) for name, value in results
    }
