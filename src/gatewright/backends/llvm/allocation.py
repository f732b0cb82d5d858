"""The buffers of one run of a Program: what was given, what is computed, and the tables by which kernels find them."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from gatewright.axes import bind
from gatewright.backends.llvm.buffers import Key, inside_keys, sum_key, sum_keys
from gatewright.backends.llvm.runner import Runner
from gatewright.errors import ShapeError
from gatewright.schedule.program import Place, Program
from gatewright.trace.ir import Equation, Literal, Var

Given = Mapping[str, Any]
"""Arrays by name."""


class Arrays(Protocol):
    """Where memory comes from: NumPy, or torch."""

    def empty(self, shape: tuple[int, ...]) -> Any:
        """An array with anything in it."""
        ...

    def zeros(self, shape: tuple[int, ...]) -> Any:
        """An array of zeros."""
        ...

    def contiguous(self, array: Any) -> Any:
        """The same numbers, one row after the other, in the engine's dtype."""
        ...

    def address(self, array: Any) -> int:
        """Where an array begins."""
        ...

    def compute(self, equations: Sequence[Equation], values: dict[str, Any], sizes: Mapping[str, int]) -> None:
        """Compute equations on parameters, which no kernel does."""
        ...


class Shapes:
    """The shapes that a Program's arrays must have; kernels trust them, so they are held before any runs."""

    def __init__(self, program: Program, sizes: Mapping[str, int]) -> None:
        trace = program.trace
        self._name = trace.name
        self.of = {name: bind(shape, sizes) for name, shape in program.shapes.items()}
        self.of_sums = {one.target.name: bind(one.target.shape, sizes) for one in program.row_sums}
        self._sequences = [*(value.name for value in trace.inputs), *(noise.var.name for noise in trace.noises)]
        self._params = [value.name for value in trace.params]
        self._states = [value.name for value in trace.states]

    def extent(self, inputs: Given, params: Given, states: Given) -> tuple[int, int]:
        """How many steps and rows there are.

        Raises ShapeError where an array has another shape than the equations, the sizes and the first input tell.
        """
        steps, batch = inputs[self._sequences[0]].shape[:2]
        for names, arrays, leading in (
            (self._sequences, inputs, (steps, batch)),
            (self._params, params, ()),
            (self._states, states, (batch,)),
        ):
            for name in names:
                if tuple(arrays[name].shape) != leading + self.of[name]:
                    raise ShapeError(
                        f"the kernels of {self._name!r} were given {name} in a shape that does not fit",
                        expected=str(leading + self.of[name]),
                        got=str(tuple(arrays[name].shape)),
                    )
        return steps, batch


class Allocation:
    """The buffers of one run over `steps` steps of `batch` rows."""

    def __init__(
        self,
        program: Program,
        sizes: Mapping[str, int],
        shapes: Shapes,
        arrays: Arrays,
        extent: tuple[int, int],
        *,
        backwards: bool,
    ) -> None:
        self.program, self.sizes, self.shapes, self.arrays = program, sizes, shapes, arrays
        self.steps, self.batch = extent
        self.backwards = backwards
        self._shared: dict[str, Any] = {}
        self._held: dict[Key, Any] = {}
        self._kept: list[Any] = []

    def fill(self, inputs: Given, params: Given, states: Given) -> None:
        """Make all buffers but those of kernels, and take in what is given."""
        program, arrays = self.program, self.arrays
        self._shared = {name: arrays.contiguous(params[name]) for name in (v.name for v in program.trace.params)}
        arrays.compute(program.prologue, self._shared, self.sizes)
        for equation in program.prologue:
            self._shared[equation.target.name] = arrays.contiguous(self._shared[equation.target.name])
        for name, place in program.places.items():
            if place is not Place.NEW:
                self._held[place, name] = self._buffer(place, name, inputs)
        for state in program.trace.states:
            self._held[Place.STATE, state.name][-1 if self.backwards else 0] = states[state.name]
        for one in program.row_sums:
            self._held[sum_key(one)] = arrays.zeros(self.shapes.of_sums[one.target.name])

    def addresses(self, runner: Runner) -> list[int]:
        """Where all buffers begin, in the order that the runner asks for."""
        panels = [self.arrays.empty((panel.size,)) for panel in runner.kernels.panels]
        sums = [self._held[key] for key in sum_keys(self.program)]
        spread = [self._spread(name) for name in runner.spread]
        self._kept += [*panels, *spread]
        held = [self._held[key] for key in (*runner.outside, *inside_keys(self.program))]
        return [self.arrays.address(one) for one in (*held, *panels, *sums, *spread)]

    def state(self, name: str) -> Any:
        """A state before the first step, and after every step."""
        return self._held[Place.STATE, name]

    def sequence(self, value: Var) -> Any:
        """A value at every step: (time, batch, ...)."""
        place = self.program.places[value.name]
        if place is Place.NEW:
            whole = self.state(self.program.news[value.name])
            return whole[:-1] if self.backwards else whole[1:]
        if place is Place.STATE:
            return self.state(value.name)[1:] if self.backwards else self.state(value.name)[:-1]
        if place is Place.SHARED:
            return self._spread(value.name)
        return self._held[place, value.name]

    def sums(self) -> dict[str, Any]:
        """What is summed over rows and steps; a number where no row adds anything."""
        values = dict(self._shared)
        for one in self.program.row_sums:
            values[one.target.name] = self._held[sum_key(one)]
        self.arrays.compute(self.program.epilogue, values, self.sizes)
        sums = self.program.sums
        return {name: value.value if isinstance(value, Literal) else values[value.name] for name, value in sums}

    def _buffer(self, place: Place, name: str, inputs: Given) -> Any:
        if place is Place.INPUT:
            return self.arrays.contiguous(inputs[name])
        if place is Place.SHARED:
            return self._shared[name]
        if place is Place.SEQUENCE:
            return self._over_time(name)
        steps = (self.steps + 1,) if place is Place.STATE else ()
        return self.arrays.empty((*steps, self.batch, *self.shapes.of[name]))

    def _spread(self, name: str) -> Any:
        """A parameter, repeated for every line."""
        whole = self._over_time(name)
        whole[...] = self._shared[name]
        return whole

    def _over_time(self, name: str) -> Any:
        return self.arrays.empty((self.steps, self.batch, *self.shapes.of[name]))
