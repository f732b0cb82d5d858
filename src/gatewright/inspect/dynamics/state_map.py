"""A recurrent layer as a map from state to state, with its Jacobian, in float64.

The Jacobian is the derived one: `gatewright.derive.jvp` of the equations, run by the NumPy reference.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import nn

from gatewright.axes import bind
from gatewright.backends import numpy_ref
from gatewright.derive import jvp, tangent
from gatewright.errors import OptionError, OptionTypeError, ShapeError
from gatewright.inspect.activity.record import recurrent_layers, with_states
from gatewright.inspect.arguments import numbers_of
from gatewright.nn.records import direction_parameters
from gatewright.trace import Trace
from gatewright.trace.ir import Literal
from gatewright.trace.simplify import substitute, without_chance

Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LevelMap:
    """One level of a layer: its equations, its parameters in float64, and the shapes of its states."""

    trace: Trace
    params: Mapping[str, Values]
    shapes: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class StateMap:
    """One step of a layer as a function: (all states, input) -> all states after the step.

    - `levels`: the stacked cells, the lowest first.
    - `features`: the size of the input.
    - `parts`: where each state stands in the whole state: {"h": slice(0, 16), "c": slice(16, 32)}; with several levels
      the names are "l0.h", "l1.h", ...
    """

    levels: tuple[LevelMap, ...]
    features: int
    parts: Mapping[str, slice]

    @property
    def size(self) -> int:
        """The size of the whole state."""
        return max(part.stop for part in self.parts.values())

    def step(self, states: Values, inputs: Values) -> Values:
        """The states (rows, size) after one step that reads `inputs` (rows, features)."""
        return self._run(states, inputs, None)[0]

    def push(self, states: Values, inputs: Values, directions: Values) -> tuple[Values, Values]:
        """The states after one step, and where the step takes small changes of the state.

        `directions` (rows, count, size) are changes of the state of each row; so is the second result.
        """
        rows, count, _ = directions.shape
        repeated = np.repeat(states, count, axis=0), np.repeat(inputs, count, axis=0)
        after, moved = self._run(*repeated, directions.reshape(rows * count, self.size))
        return after[::count], moved.reshape(directions.shape)

    def jacobian(self, states: Values, inputs: Values) -> Values:
        """The derivative of the states after the step by those before it, (rows, after, before)."""
        unit = np.broadcast_to(np.eye(self.size), (len(states), self.size, self.size))
        return self.push(states, inputs, unit)[1].swapaxes(1, 2)

    def _run(self, states: Values, inputs: Values, directions: Values | None) -> tuple[Values, Values]:
        """A step of every level, with tangents where there are directions. A level reads what the one below emits."""
        after, moved = np.empty_like(states), np.empty_like(states)
        read, read_tangent = inputs, np.zeros_like(inputs)
        slices = iter(self.parts.values())
        for level in self.levels:
            own = dict(zip(level.shapes, slices, strict=False))
            x = level.trace.inputs[0].name
            given = {name: _shaped(states[:, part], level.shapes[name]) for name, part in own.items()}
            trace, sequence = level.trace, {x: read[None]}
            if directions is not None:
                trace = _pushed(level.trace)
                sequence[tangent(x)] = read_tangent[None]
                given |= {tangent(name): _shaped(directions[:, part], level.shapes[name]) for name, part in own.items()}
            finals = numpy_ref.run(trace, sequence, level.params, given).finals
            for name, part in own.items():
                after[:, part] = finals[name].reshape(len(states), -1)
                if directions is not None:
                    moved[:, part] = finals[tangent(name)].reshape(len(states), -1)
            emitted = next(iter(own.values()))
            read, read_tangent = after[:, emitted], moved[:, emitted]
        return after, moved

    def as_input(self, x: ArrayLike) -> Values:
        """A constant input (features,). Raises ShapeError where it has another size, OptionError where it is NaN."""
        values = numbers_of("the input", x)
        if values.shape != (self.features,):
            raise ShapeError("the input does not fit the layer", expected=f"({self.features},)", got=str(values.shape))
        return finite(values, "the input")

    def as_states(self, states: ArrayLike) -> Values:
        """States (rows, size). Raises ShapeError where they have another size, OptionError where they are NaN."""
        values = np.atleast_2d(numbers_of("the states", states))
        if values.ndim != 2 or values.shape[1] != self.size:
            names = ", ".join(f"{name} {part.stop - part.start}" for name, part in self.parts.items())
            expected = f"(rows, {self.size}): {names}"
            raise ShapeError("the states do not fit the layer", expected=expected, got=str(values.shape))
        return finite(values, "the states")


def finite(values: Values, name: str) -> Values:
    """The values. Raises OptionError where they are NaN or infinite: no layer has dynamics there."""
    if not np.isfinite(values).all():
        raise OptionError(f"{name} must be finite", expected="numbers", got="NaN or infinity")
    return values


def state_map(layer: nn.Module) -> StateMap:
    """The map of a layer of gatewright.nn or torch.nn, or of a model with one such layer.

    Random values of a cell, such as those of zoneout, are taken as their means, as in evaluation. Raises OptionError
    for a model with no or with several recurrent layers, for a bidirectional layer, and for a cell of several inputs.
    """
    own = with_states(_only_layer(layer))
    if own.bidirectional:
        raise OptionError(
            "a bidirectional layer reads from both ends and is no map from one step to the next",
            do="look at a layer of one direction",
        )
    levels: list[LevelMap] = []
    parts: dict[str, slice] = {}
    for level, _ in own.directions():
        trace, start = without_chance(replace(own.trace, gates=())), 0 if not parts else max(_stops(parts))
        if len(trace.inputs) != 1:
            names = ", ".join(value.name for value in trace.inputs)
            raise OptionError(f"cell {trace.name!r} reads more than its input", expected="one input", got=names)
        shapes = {state.name: bind(state.shape, own.sizes(level)) for state in trace.states}
        levels.append(LevelMap(trace, direction_parameters(own, level), shapes))
        for name, shape in shapes.items():
            size = int(np.prod(shape))
            parts[name if own.num_layers == 1 else f"l{level}.{name}"] = slice(start, start + size)
            start += size
    return StateMap(tuple(levels), own.input_size, parts)


def _only_layer(model: object) -> nn.Module:
    if not isinstance(model, nn.Module):
        raise OptionTypeError(
            f"{type(model).__name__} is no layer", expected="a layer, or a model with one", do="open a run's network"
        )
    layers = recurrent_layers(model)
    if len(layers) == 1:
        return next(iter(layers.values()))
    raise OptionError(
        f"the {type(model).__name__} has {len(layers) or 'no'} recurrent layers",
        expected="one of torch.nn's or gatewright.nn's RNN, GRU, LSTM or Recurrent",
        got=", ".join(layers) or None,
        do="give one of them" if layers else None,
    )


def _stops(parts: Mapping[str, slice]) -> list[int]:
    return [part.stop for part in parts.values()]


def _shaped(rows: Values, shape: tuple[int, ...]) -> Values:
    return rows.reshape(len(rows), *shape)


@lru_cache(maxsize=64)
def _pushed(trace: Trace) -> Trace:
    """The step with tangents of its input and states; parameters do not move."""
    return substitute(jvp(trace), {tangent(param.name): Literal(0.0) for param in trace.params})
