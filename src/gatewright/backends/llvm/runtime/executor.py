"""Runs an engine on the arrays of a caller: which array holds which value, and what no kernel computes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

from gatewright.axes import bind
from gatewright.backends.llvm.codegen.buffers import BufferId, outside_buffers, sum_buffer
from gatewright.backends.llvm.runtime.active_lines import ActiveLines
from gatewright.backends.llvm.runtime.arrays import Arrays
from gatewright.backends.llvm.runtime.buffer_plan import BufferPlan
from gatewright.backends.llvm.runtime.command_list import KernelCall
from gatewright.backends.llvm.runtime.engine import Engine
from gatewright.backends.llvm.runtime.tables import Location
from gatewright.schedule.program import Program, Storage
from gatewright.trace.ir import Atom, Literal, Var

Locations = Mapping[str, Location]


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
        found: dict[str, Location] = {}
        for name, slot in self.emitted.items():
            value = self._emits[name]
            if isinstance(value, Var) and self.program.storage[value.name] is Storage.SEQUENCE:
                found.setdefault(value.name, slot.location)
        return found

    @cached_property
    def fills(self) -> tuple[tuple[Slot, Atom], ...]:
        """What is emitted and no kernel writes: numbers, values that were given, new states, and second copies."""
        slots = ((slot, self._emits[name]) for name, slot in self.emitted.items())
        return tuple(
            (slot, value)
            for slot, value in slots
            if isinstance(value, Literal) or self.written.get(value.name) != slot.location
        )

    @cached_property
    def sums(self) -> dict[str, Location]:
        """Where kernels write sums over rows that are a result as they are, by the names of values."""
        rows = {one.target.name: bind(one.target.shape, self.engine.sizes) for one in self.program.row_sums}
        found: dict[str, Location] = {}
        for name, slot in self.summed.items():
            value = self._sums[name]
            if isinstance(value, Var) and prod(rows.get(value.name, (0,))) == prod(slot.shape):
                found.setdefault(value.name, slot.location)
        return found

    @cached_property
    def unwritten_sums(self) -> tuple[tuple[Slot, Atom], ...]:
        """What is summed and no kernel writes as it is wanted: numbers, what the epilogue computes, second copies."""
        slots = ((slot, self._sums[name]) for name, slot in self.summed.items())
        return tuple(
            (slot, value)
            for slot, value in slots
            if isinstance(value, Literal) or self.sums.get(value.name) != slot.location
        )

    @cached_property
    def computed(self) -> dict[str, Location]:
        """Arrays behind those of a call: what the prologue computes, and sums over rows that are no result."""
        made = [equation.target.name for equation in self.program.prologue]
        loose = [one.target.name for one in self.program.row_sums if one.target.name not in self.sums]
        return {name: Location(self.arrays + number) for number, name in enumerate([*made, *loose])}

    def places(self) -> dict[BufferId, Location]:
        """Where each buffer lies that kernels share with their caller."""
        known = {**self.given, **self.written, **self.computed}
        sums = {**self.sums, **self.computed}
        found = {key: known[key[1]] for key in outside_buffers(self.program)}
        return found | {sum_buffer(one): sums[one.target.name] for one in self.program.row_sums}

    @cached_property
    def _emits(self) -> dict[str, Atom]:
        return dict(self.program.trace.emits)

    @cached_property
    def _sums(self) -> dict[str, Atom]:
        return dict(self.program.sums)


def bind_by_name(engine: Engine) -> Binding:
    """A binding in which every value has an array of its own, in this order: inputs, random values, parameters, states
    at every time, what is emitted, what is summed."""
    trace, sizes = engine.program.trace, engine.sizes
    leaves = [*trace.inputs, *(noise.var for noise in trace.noises), *trace.params, *trace.states]
    given = {leaf.name: Location(number) for number, leaf in enumerate(leaves)}
    outputs = [(name, bind(trace.output_shape(name, value), sizes)) for name, value in (*trace.emits, *trace.sums)]
    slots = [Slot(Location(number), shape) for number, (_, shape) in enumerate(outputs, len(given))]
    emitted = {name: slot for (name, _), slot in zip(trace.emits, slots, strict=False)}
    summed = {name: slot for (name, _), slot in zip(trace.sums, slots[len(emitted) :], strict=True)}
    return Binding(engine, given, emitted, summed, len(given) + len(outputs))


class Executor:
    """Runs an engine over one extent, on arrays that its caller holds."""

    def __init__(self, binding: Binding, arrays: Arrays, steps: int, batch: int, *, ragged: bool = False) -> None:
        self.binding, self._arrays, self._extent, self._ragged = binding, arrays, (steps, batch), ragged
        program, sizes = binding.program, binding.engine.sizes
        self._loose = [one.target.name for one in program.row_sums if one.target.name in binding.computed]
        self._shapes = {value.name: bind(value.shape, sizes) for value in _values(program)}
        self._used = set(_used(binding))
        self._computes = bool(binding.computed or binding.unwritten_sums)

    @cached_property
    def buffers(self) -> BufferPlan:
        """Where the kernels find everything; they are compiled for this, if they never were."""
        runner = self.binding.engine.runner(*self._extent, ragged=self._ragged)
        return BufferPlan(runner, self.binding.places(), self.binding.arrays + len(self.binding.computed))

    @property
    def packing(self) -> str:
        """How matrices are packed."""
        return self.buffers.packing

    @property
    def packed_bytes(self) -> int:
        """How much memory the packed matrices take."""
        return self.buffers.packed_bytes if all(self._extent) else 0

    def run(
        self, arrays: Sequence[Any], active: ActiveLines | None = None, packed: tuple[Any, bool] | None = None
    ) -> None:
        """Run the kernels; those for ragged batches over the lines that are active.

        `packed` is memory for packed matrices, and whether they are in it already.
        """
        if self._computes:
            arrays = [*arrays, *self._before(arrays)]
        if all(self._extent):
            self._run_kernels(arrays, active, packed)
        if self._computes:
            self._after(arrays)
        for slot, value in self.binding.fills:
            shape = (*self._extent, *slot.shape)
            self._arrays.fill(self._view(arrays, slot.location, shape), self._value(arrays, value, shape))

    def _run_kernels(self, arrays: Sequence[Any], active: ActiveLines | None, packed: tuple[Any, bool] | None) -> None:
        buffers, memory = self.buffers, self._arrays
        block = memory.take_workspace(buffers.workspace_bytes + (0 if packed else buffers.packed_bytes))
        if packed is None:
            *addresses, workspace = memory.addresses([*arrays, block])
            panels, is_packed = workspace + buffers.workspace_bytes, False
        else:
            *addresses, workspace, panels = memory.addresses([*arrays, block, packed[0]])
            is_packed = packed[1]
        buffers.run(addresses, workspace, panels, is_packed=is_packed, active=active)
        memory.give_back(block)

    def prepare(self, arrays: Sequence[Any]) -> tuple[KernelCall, list[Any]]:
        """The call that runs the kernels again and again on these very arrays, and the memory that has to live as long.

        Parameters are read, and matrices packed, now: of these the memory is not needed any more. Nothing is emitted or
        summed that kernels do not write.
        """
        assert not self.binding.fills
        assert not self.binding.summed
        arrays = [*arrays, *self._before(arrays)]
        buffers, memory = self.buffers, self._arrays
        workspace, packed = memory.take_workspace(buffers.workspace_bytes), memory.take_workspace(buffers.packed_bytes)
        *addresses, workspace_at, packed_at = memory.addresses([*arrays, workspace, packed])
        call = buffers.prepare(addresses, workspace_at, packed_at)
        matrices = {part.matrix for panel in buffers.panels for part in panel.parts}
        places = {**self.binding.given, **self.binding.computed}
        dropped = {places[name].block for name in matrices}
        return call, [workspace, packed, *(one for number, one in enumerate(arrays) if number not in dropped)]

    def _before(self, arrays: Sequence[Any]) -> list[Any]:
        """What the prologue computes, and room for sums that are no result."""
        program, memory = self.binding.program, self._arrays
        values = self._views(arrays, self.binding.given)
        memory.compute(program.prologue, values, self.binding.engine.sizes)
        made = [memory.contiguous(values[equation.target.name]) for equation in program.prologue]
        return made + [memory.zeros(self._shapes[name]) for name in self._loose]

    def _after(self, arrays: Sequence[Any]) -> None:
        """Compute the epilogue, and write the sums that kernels have not written."""
        binding = self.binding
        if not binding.unwritten_sums:
            return
        values = self._views(arrays, {**binding.given, **binding.sums, **binding.computed})
        self._arrays.compute(binding.program.epilogue, values, binding.engine.sizes)
        for slot, value in binding.unwritten_sums:
            result = value.value if isinstance(value, Literal) else _widened(values[value.name], slot.shape)
            self._arrays.fill(self._view(arrays, slot.location, slot.shape), result)

    def _value(self, arrays: Sequence[Any], value: Atom, shape: tuple[int, ...]) -> Any:
        """A value at every step, (time, batch, ...)."""
        if isinstance(value, Literal):
            return value.value
        binding, (steps, batch) = self.binding, self._extent
        storage = binding.program.storage[value.name]
        places = {**binding.given, **binding.written, **binding.computed}
        own = bind(value.shape, binding.engine.sizes)
        if storage is Storage.SHARED:
            return self._view(arrays, places[value.name], own)
        location = places[binding.program.new_values.get(value.name, value.name)]
        later = (storage is Storage.NEW) != binding.engine.backwards  # states have one slot more than there are steps
        if storage in (Storage.NEW, Storage.STATE) and later:
            location = Location(location.block, location.offset + batch * prod(own) * self._arrays.itemsize)
        return _widened(self._view(arrays, location, (steps, batch, *own)), shape)

    def _views(self, arrays: Sequence[Any], places: Locations) -> dict[str, Any]:
        """The values that equations on parameters use."""
        used = ((name, place) for name, place in places.items() if name in self._used)
        return {name: self._view(arrays, place, self._shapes[name]) for name, place in used}

    def _view(self, arrays: Sequence[Any], location: Location, shape: tuple[int, ...]) -> Any:
        return self._arrays.view(arrays[location.block], location.offset, shape)


def _values(program: Program) -> Iterator[Var]:
    """All values of equations on parameters and sums."""
    yield from program.trace.params
    yield from (equation.target for equation in (*program.prologue, *program.epilogue))
    yield from (one.target for one in program.row_sums)


def _used(binding: Binding) -> Iterator[str]:
    """The names of all that equations on parameters and sums, and results, are made of."""
    equations = (*binding.program.prologue, *binding.program.epilogue)
    yield from (arg.name for one in equations for arg in one.args if isinstance(arg, Var))
    yield from (value.name for _, value in binding.unwritten_sums if isinstance(value, Var))


def _widened(value: Any, shape: tuple[int, ...]) -> Any:
    """A value that may have fewer axes than its target: it is the same along those that it lacks."""
    return value[(..., *(None,) * (len(shape) - value.ndim))]
