"""A point at which derivatives are compared: a cell's numbers over a sequence, and a loss that sees all that comes out.

The loss is sum(d_outputs * states after every step) + sum(d_finals * final states), with weights drawn at random, so
that no two errors cancel in it. Rows have lengths of their own; one row is full, and of three or more one is empty.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gatewright.axes import HIDDEN, INPUT, bind
from gatewright.backends import numpy_ref
from gatewright.lang.ops import Op
from gatewright.trace.ir import Trace, Var

Array = NDArray[np.float64]
Arrays = dict[str, Array]

WARM_UP = 3
SPREAD = 0.1


@dataclass(frozen=True, eq=False)
class Point:
    """Numbers in float64, under the names that the trace has for them. Sequences are (time, batch, features)."""

    sizes: Mapping[str, int]
    inputs: Arrays
    params: Arrays
    states: Arrays
    noises: Arrays
    lengths: tuple[int, ...]
    d_outputs: Arrays
    d_finals: Arrays
    direction: Arrays  # of every value that is differentiated: where `second` and `forward` go

    @property
    def values(self) -> Arrays:
        """Inputs, parameters and states by their names, of which no two are the same."""
        return {**self.inputs, **self.params, **self.states}

    @property
    def weights(self) -> Arrays:
        """What the loss weighs each output by, under the output's name."""
        return {
            **{every(name): array for name, array in self.d_outputs.items()},
            **{last(name): array for name, array in self.d_finals.items()},
        }

    @property
    def steps(self) -> int:
        """How long the longest row is."""
        return next(iter(self.inputs.values())).shape[0]

    @property
    def active(self) -> NDArray[np.bool_]:
        """Which rows still run at which step: (time, batch)."""
        return np.arange(self.steps)[:, None] < np.asarray(self.lengths)


def every(state: str) -> str:
    """The name of the output that is a state after every step: h.out."""
    return f"{state}.out"


def last(state: str) -> str:
    """The name of the output that is a state after the last step of each row: h.end."""
    return f"{state}.end"


def through(leaf: str, output: str) -> str:
    """The name of the derivative of an output by one leaf: W.r -> h.out."""
    return f"{leaf} -> {output}"


def switches(trace: Trace) -> frozenset[str]:
    """The inputs that only choose, such as a mask: conditions of `where` and nothing else. They have no derivative."""
    inputs = {value.name for value in trace.inputs}
    conditions = {_name(equation.args[0]) for equation in trace.equations if equation.op is Op.WHERE}
    others = {
        _name(arg)
        for equation in trace.equations
        for arg in (equation.args[1:] if equation.op is Op.WHERE else equation.args)
        if isinstance(arg, Var)
    }
    return frozenset((inputs & conditions) - others - {_name(value) for value in trace.outputs()})


def moving(trace: Trace) -> list[Var]:
    """What derivatives are taken by: inputs, parameters and initial states."""
    fixed = switches(trace)
    return [value for value in (*trace.inputs, *trace.params, *trace.states) if value.name not in fixed]


def default_sizes(trace: Trace, input_size: int, hidden_size: int) -> dict[str, int]:
    """A size for every axis, no two the same, but for those that the equations use for one another."""
    sizes = {INPUT: input_size, HIDDEN: hidden_size}
    free = (size for size in range(2, 100) if size not in sizes.values())
    for axis in trace.axes():
        if axis not in sizes:
            sizes[axis] = next(free)
    relabels = [equation for equation in trace.equations if equation.op is Op.RELABEL]
    pairs = [(equation.args[0].shape[0], equation.target.shape[0]) for equation in relabels]
    for _ in pairs:  # a chain of n axes settles in n rounds at most
        for first, second in pairs:
            smaller = min(sizes[first], sizes[second])
            sizes[first] = sizes[second] = sizes[HIDDEN] if HIDDEN in (first, second) else smaller
    return sizes


def draw_point(
    trace: Trace, sizes: Mapping[str, int], *, steps: int, batch: int, seed: int, initial: Mapping[str, float]
) -> Point:
    """Draw a point. The states to begin with are near those that the cell itself comes to on other inputs.

    `initial` are the constants about which some parameters are drawn, so that they stay where they make sense.
    """
    draw = _Drawing(trace, sizes, initial, np.random.default_rng(seed))
    params = {value.name: draw.parameter(value) for value in trace.params}
    zeros = {value.name: np.zeros((batch, *bind(value.shape, sizes))) for value in trace.states}
    noises = draw.noises(WARM_UP, batch)
    reached = numpy_ref.run(trace, draw.inputs(WARM_UP, batch), params, zeros, noises=noises).finals
    states = {value.name: reached[value.name] + SPREAD * draw.normal(value, batch) for value in trace.states}
    inputs = draw.inputs(steps, batch)
    shapes = {name: array.shape for name, array in {**inputs, **params, **states}.items()}
    return Point(
        sizes=sizes,
        inputs=inputs,
        params=params,
        states=states,
        noises=draw.noises(steps, batch),
        lengths=draw.lengths(steps, batch),
        d_outputs={value.name: draw.normal(value, steps, batch) for value in trace.states},
        d_finals={value.name: draw.normal(value, batch) for value in trace.states},
        direction={value.name: draw.direction(shapes[value.name]) for value in moving(trace)},
    )


@dataclass(frozen=True)
class _Drawing:
    """Draws arrays for a trace from one generator."""

    trace: Trace
    sizes: Mapping[str, int]
    initial: Mapping[str, float]
    rng: np.random.Generator

    def normal(self, value: Var, *leading: int) -> Array:
        return np.asarray(self.rng.normal(size=(*leading, *bind(value.shape, self.sizes))))

    def parameter(self, value: Var) -> Array:
        fan_in = self.sizes[value.shape[-1]] if value.shape else 2
        return np.asarray(self.initial.get(value.name, 0.0) + self.normal(value) / np.sqrt(fan_in))

    def inputs(self, steps: int, batch: int) -> Arrays:
        drawn = {value.name: self.normal(value, steps, batch) for value in self.trace.inputs}
        choosing = switches(self.trace)
        return {name: np.heaviside(array, 0.0) if name in choosing else array for name, array in drawn.items()}

    def noises(self, steps: int, batch: int) -> Arrays:
        return numpy_ref.draw(self.trace, self.sizes, steps, batch, self.rng)

    def lengths(self, steps: int, batch: int) -> tuple[int, ...]:
        lengths: list[int] = self.rng.integers(1, steps, size=batch, endpoint=True).tolist()
        order = self.rng.permutation(batch).tolist()
        lengths[order[-1]] = 0 if batch > 2 else lengths[order[-1]]
        lengths[order[0]] = steps
        return tuple(lengths)

    def direction(self, shape: tuple[int, ...]) -> Array:
        """Of length 1, so that a step along it is a step."""
        along = self.rng.normal(size=shape)
        return np.asarray(along / np.linalg.norm(along))


def _name(value: object) -> str:
    return value.name if isinstance(value, Var) else ""
