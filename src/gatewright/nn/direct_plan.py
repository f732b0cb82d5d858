"""Where the kernels of a packed cell find everything in a layer's own tensors: worked out once for an extent."""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

import torch
from torch import Tensor

from gatewright.axes import bind
from gatewright.backends.llvm.active import ActiveLines
from gatewright.backends.llvm.buffers import outside_keys, spread_keys
from gatewright.backends.llvm.engine import Engine
from gatewright.backends.llvm.runner import ALIGNMENT, Runner
from gatewright.backends.llvm.tables import TablePlan
from gatewright.derive import adjoint, seed
from gatewright.nn import scratch
from gatewright.nn.backward import order_of
from gatewright.nn.differentiable import Differentiable
from gatewright.nn.direct_parameters import ParameterWork, Spot, Spots
from gatewright.nn.packed_cell import PackedCell, Pair
from gatewright.schedule.program import Place, Program
from gatewright.trace.ir import Var


class CannotPlanError(Exception):
    """The kernels need something that lies in no tensor of a layer; the long way serves it."""


class Plan:
    """Where kernels find everything, for one extent: in the tensors of a call, numbered, and in scratch memory."""

    def __init__(self, runner: Runner, places: "Places") -> None:
        self.saved_bytes = places.saved_bytes
        self._runner, self._parameters = runner, places.parameters
        scratched = places.tensors + (len(places.parameters.spots) if places.parameters else 0)
        packed = scratched + 1
        listed = [(packed + 1, 0), (packed + 2, 0)] if runner.kernels.ragged else []
        after_table = -(-runner.table_entries * ctypes.sizeof(ctypes.c_void_p) // ALIGNMENT) * ALIGNMENT
        inside = [(scratched, after_table + before) for before in runner.inside]
        panels = [(packed, before) for before in runner.panels]
        self._table = TablePlan([*places.spots, *inside, *panels, *places.sums, *listed], packed + 1 + len(listed))
        self._before_panels = after_table + runner.inside_bytes

    @property
    def writes_all(self) -> bool:
        """Whether the kernels write all that gradients by parameters are, where there is a step to take."""
        return self._parameters is None

    @property
    def layout(self) -> str:
        """How matrices are packed."""
        return self._runner.kernels.layout

    @property
    def panel_bytes(self) -> int:
        """How much memory the packed matrices take."""
        return self._runner.panel_bytes

    def run(
        self, tensors: Sequence[Tensor], active: ActiveLines | None = None, packed: tuple[Tensor, bool] | None = None
    ) -> None:
        """Run the kernels; those for ragged batches over the lines that are active.

        `packed` is memory for packed matrices, and whether they are in it already.
        """
        if self._parameters is not None:
            tensors = [*tensors, *self._parameters.before(tensors)]
        block = scratch.take(self._before_panels + (0 if packed else self.panel_bytes))
        begins = block.data_ptr()
        panels, known = (packed[0].data_ptr(), packed[1]) if packed else (begins + self._before_panels, False)
        listed = active.addresses if active is not None else ()
        table = self._table.at(begins, [*[tensor.data_ptr() for tensor in tensors], begins, panels, *listed])
        self._runner.run_table(table, pack=not known, active=active)
        scratch.give_back(block)
        if self._parameters is not None:
            self._parameters.after(tensors)


@dataclass(frozen=True, slots=True)
class Places:
    """Where kernels will find everything: a plan for which nothing was compiled yet."""

    engine: Engine
    spots: tuple[Spot, ...]
    sums: tuple[Spot, ...]
    tensors: int
    saved_bytes: int = 0
    parameters: ParameterWork | None = None

    def plan(self, steps: int, batch: int, *, ragged: bool) -> Plan:
        """The plan, with kernels for the extent."""
        return Plan(self.engine.runner(steps, batch, ragged=ragged), self)


@dataclass(frozen=True, slots=True)
class Gradient:
    """A gradient by some of what went in: its engine, and where its results go."""

    engine: Engine
    inputs: tuple[int, ...]  # the inputs that it is taken by
    packed: tuple[int, ...]  # the packed parameters that it is taken by
    twins: tuple[Pair, ...]  # pairs of these that share parameters, and so gradients


class Planner:
    """Plans the calls of a packed cell.

    The tensors of a call are numbered: inputs with random values, packed parameters, sums of pairs of these, states at
    every time, what is saved; for a gradient then what the loss says of the output, the adjoints of the states at every
    time, and the results: gradients by inputs and by packed parameters.
    """

    def __init__(self, cell: PackedCell, spec: Differentiable) -> None:
        self.cell, self.spec = cell, spec
        trace = spec.trace
        self.item = torch.finfo(spec.dtype).bits // 8
        self.inputs = [*(value.name for value in trace.inputs), *(noise.var.name for noise in trace.noises)]
        self.states = [state.name for state in trace.states]
        self.state_shapes = [bind(state.shape, spec.sizes) for state in trace.states]
        self.pairs = cell.pairs
        self._params = self._places_of_parameters()
        self._first_state = len(self.inputs) + len(cell.layout) + len(self.pairs)
        self._saved_number = self._first_state + len(self.states)

    @cached_property
    def saving(self) -> Engine:
        """The engine that saves."""
        return self.spec.halves(self.spec.first).forward

    def gradient(self, needed: Sequence[bool]) -> Gradient:
        """The gradient by those that are needed of inputs, states and packed parameters."""
        inputs, packed = len(self.inputs), len(self.cell.layout)
        by_input = tuple(number for number, _ in enumerate(self.spec.trace.inputs) if needed[number])
        by_packed = tuple(number for number in range(packed) if needed[inputs + number])
        pair = self.spec.halves(self.spec.first).pair
        order = order_of(pair.backward)
        slots = {name for number in by_packed for name in self.cell.layout[number].slots}
        wanted = {adjoint(name, order) for name in (*(self.inputs[number] for number in by_input), *slots)}
        engine = self.spec.gradient(self.spec.first, frozenset(wanted))
        twins = tuple(pair for pair in self.pairs if {pair.one, pair.other} <= set(by_packed))
        return Gradient(engine, by_input, by_packed, twins)

    def forward(self, engine: Engine, steps: int, batch: int) -> Places:
        """The places of a run."""
        spots = self._given_spots()
        for number, name in enumerate(self.states):
            spots[name] = (self._first_state + number, 0)
        saved, size = self._saved(engine.program, steps, batch)
        spots |= saved
        tensors = self._saved_number + 1
        work = self._parameter_work(engine.program, tensors)
        found = self._find(engine.program, spots, work)
        return Places(engine, found, (), tensors=tensors, saved_bytes=size, parameters=work)

    def backward(self, gradient: Gradient, steps: int, batch: int) -> Places:
        """The places of a gradient."""
        engine = gradient.engine
        trace, program = engine.program.trace, engine.program
        order = order_of(trace)
        spots = self._given_spots()
        for number, (name, shape) in enumerate(zip(self.states, self.state_shapes, strict=True)):
            before = batch * prod(shape) * self.item if self.spec.backwards else 0  # the slot before the first step
            spots[name] = (self._first_state + number, before)
        spots |= self._saved_inputs(steps, batch)
        result = self._saved_number + 1
        spots[seed(self.states[0], order)] = (result, 0)
        for name in self.states:
            result += 1
            spots[adjoint(name, order)] = (result, 0)
        emits = dict(trace.emits)
        for number in gradient.inputs:
            result += 1
            value = emits[adjoint(self.inputs[number], order)]
            if (
                not isinstance(value, Var)
                or program.places.get(value.name) is not Place.SEQUENCE
                or value.name in spots
            ):
                raise CannotPlanError
            spots[value.name] = (result, 0)
        tensors = result + 1 + len(gradient.packed)
        places = self._places_of_gradients(gradient, result + 1, order)
        work = self._parameter_work(program, tensors, places)
        found = {**self._sums(program, places), **(work.spots if work else {})}
        sums = tuple(found[one.target.name] for one in program.row_sums)
        return Places(engine, self._find(program, spots, work), sums, tensors=tensors, parameters=work)

    def _places_of_parameters(self) -> Spots:
        """Where each parameter lies; one that lies in two packed arrays is their sum."""
        base = len(self.inputs)
        spots: Spots = {}
        for number in range(len(self.cell.layout)):
            spots |= self._slots(number, base + number)
        for number, pair in enumerate(self.pairs):
            both = self._slots(pair.one, base + len(self.cell.layout) + number)
            spots |= {name: both[name] for name in pair.names}
        return spots

    def _slots(self, packed: int, tensor: int) -> Spots:
        """Where each part of a packed array lies, in the tensor of that number."""
        names, shape = self.cell.layout[packed].slots, self.cell.shapes[packed]
        size = prod(shape) // len(names) * self.item
        return {name: (tensor, slot * size) for slot, name in enumerate(names)}

    def _given_spots(self) -> Spots:
        return {**{name: (number, 0) for number, name in enumerate(self.inputs)}, **self._params}

    def _saved(self, program: Program, steps: int, batch: int) -> tuple[Spots, int]:
        """Where what is emitted lies, all in one tensor, and how many bytes that has."""
        spots: Spots = {}
        end = 0
        for _, value in program.trace.emits:
            if isinstance(value, Var) and program.places[value.name] is Place.SEQUENCE and value.name not in spots:
                spots[value.name] = (self._saved_number, end)
                size = steps * batch * prod(bind(value.shape, self.spec.sizes)) * self.item
                end += -(-size // ALIGNMENT) * ALIGNMENT
        return spots, end

    def _saved_inputs(self, steps: int, batch: int) -> Spots:
        """Where the gradient finds what was saved, by its own names for that."""
        program = self.saving.program
        kept, _ = self._saved(program, steps, batch)
        found: Spots = {}
        for name, value in program.trace.emits:
            if not isinstance(value, Var):
                raise CannotPlanError
            if value.name in kept:
                found[name] = kept[value.name]
            elif program.places[value.name] is Place.NEW:
                state = self.states.index(program.news[value.name])
                after = 0 if self.spec.backwards else batch * prod(self.state_shapes[state]) * self.item
                found[name] = (self._first_state + state, after)
            else:
                raise CannotPlanError
        return found

    def _find(self, program: Program, spots: Spots, work: ParameterWork | None) -> tuple[Spot, ...]:
        if spread_keys(program):
            raise CannotPlanError
        found = spots | (work.spots if work else {})
        return tuple(found[name] for _, name in outside_keys(program))

    def _places_of_gradients(self, gradient: Gradient, first: int, order: int) -> Spots:
        """Where each gradient by a parameter goes, by the name of the gradient."""
        places: Spots = {}
        for index, packed in enumerate(gradient.packed):
            places = self._slots(packed, first + index) | places  # the first of twins gets the sum
        return {adjoint(name, order): spot for name, spot in places.items()}

    def _sums(self, program: Program, places: Spots) -> Spots:
        """Where sums over rows go that are a gradient as they are: the first one that is."""
        summed = {one.target.name for one in program.row_sums}
        found: Spots = {}
        for name, value in program.sums:
            if isinstance(value, Var) and value.name in summed and value.name not in found:
                found[value.name] = places[name]
        return found

    def _parameter_work(self, program: Program, first: int, places: Spots | None = None) -> ParameterWork | None:
        """What is to be done around the kernels; None where that is nothing."""
        sums = self._sums(program, places or {})
        taken = set(sums.values())
        wanted: dict[str, tuple[Spot, ...]] = {}
        for name, value in program.sums:
            if isinstance(value, Var) and places is not None and places[name] not in taken:
                wanted[value.name] = (*wanted.get(value.name, ()), places[name])
        computed = program.prologue or program.epilogue or wanted
        if not computed and all(isinstance(value, Var) for _, value in program.sums):
            return None
        return ParameterWork(program, self.spec.sizes, self.spec.dtype, {**self._params, **sums}, wanted, first)
