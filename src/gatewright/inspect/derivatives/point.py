"""A point at which derivatives are compared: the numbers of a cell over a sequence, and a loss of all its outputs.

The loss is sum(d_outputs * states after every step) + sum(d_finals * final states). Its weights are random, so that no
two errors cancel. Rows have different lengths; one row is full, and one of three or more is empty.
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
    """Numbers in float64, by the names of the trace: sequences (time, batch, features), states (batch, features)."""

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
        """Inputs, parameters and states by name. Names are unique."""
        return {**self.inputs, **self.params, **self.states}

    @property
    def weights(self) -> Arrays:
        """The weights of each output in the loss, by the output's name."""
        return {
            **{every(name): array for name, array in self.d_outputs.items()},
            **{last(name): array for name, array in self.d_finals.items()},
        }

    @property
    def active(self) -> NDArray[np.bool_]:
        """Whether a row takes a step: (time, batch)."""
        return np.arange(max(self.lengths))[:, None] < np.asarray(self.lengths)  # one row is full


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
    """The inputs that are conditions of `where` and nothing else, such as a mask. They have no derivative."""
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
    """The leaves that derivatives are taken by: inputs, parameters and initial states, without `switches`."""
    fixed = switches(trace)
    return [value for value in (*trace.inputs, *trace.params, *trace.states) if value.name not in fixed]


def default_sizes(trace: Trace, input_size: int, hidden_size: int) -> dict[str, int]:
    """A size for every axis. No two are the same, except those of axes that the equations relabel as each other."""
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
    """Draw a point of `steps` steps and `batch` rows. Initial states are near those that the cell reaches by itself.

    `initial` are the constants that some parameters start at: they are drawn around these.
    """
    rng = np.random.default_rng(seed)

    def normal(value: Var, *leading: int) -> Array:
        return np.asarray(rng.normal(size=(*leading, *bind(value.shape, sizes))))

    def parameter(value: Var) -> Array:
        fan_in = sizes[value.shape[-1]] if value.shape else 2
        return np.asarray(initial.get(value.name, 0.0) + normal(value) / np.sqrt(fan_in))

    def inputs(count: int) -> Arrays:
        drawn, choosing = {value.name: normal(value, count, batch) for value in trace.inputs}, switches(trace)
        return {name: np.heaviside(array, 0.0) if name in choosing else array for name, array in drawn.items()}

    params = {value.name: parameter(value) for value in trace.params}
    zeros = {value.name: np.zeros((batch, *bind(value.shape, sizes))) for value in trace.states}
    noises = numpy_ref.draw(trace, sizes, WARM_UP, batch, rng)
    reached = numpy_ref.run(trace, inputs(WARM_UP), params, zeros, noises=noises).finals
    states = {value.name: reached[value.name] + SPREAD * normal(value, batch) for value in trace.states}
    point = Point(
        sizes=sizes,
        inputs=inputs(steps),
        params=params,
        states=states,
        noises=numpy_ref.draw(trace, sizes, steps, batch, rng),
        lengths=_draw_lengths(rng, steps, batch),
        d_outputs={value.name: normal(value, steps, batch) for value in trace.states},
        d_finals={value.name: normal(value, batch) for value in trace.states},
        direction={},
    )
    for value in moving(trace):
        along = rng.normal(size=point.values[value.name].shape)
        point.direction[value.name] = np.asarray(along / np.linalg.norm(along))  # of length 1
    return point


def _draw_lengths(rng: np.random.Generator, steps: int, batch: int) -> tuple[int, ...]:
    lengths: list[int] = rng.integers(1, steps, size=batch, endpoint=True).tolist()
    order = rng.permutation(batch).tolist()
    lengths[order[-1]] = 0 if batch > 2 else lengths[order[-1]]
    lengths[order[0]] = steps
    return tuple(lengths)


def _name(value: object) -> str:
    return value.name if isinstance(value, Var) else ""
