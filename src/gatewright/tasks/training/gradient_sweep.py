"""Gradients of a loss by every gate and state of a recurrent layer at every step: the derived gradient, run in NumPy.

A gate's gradient is that of a probe, a zero which is added to the gate: d loss / d probe is d loss / d gate.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.axes import bind
from gatewright.backends import numpy_ref
from gatewright.derive import adjoint, seed, vjp
from gatewright.lang.ops import Op
from gatewright.nn import Recurrent
from gatewright.trace import Trace
from gatewright.trace.ir import Equation, Var
from gatewright.trace.simplify import simplify, without_chance

Values = NDArray[np.float64]
PROBE = "probe of "  # no name in an equation has a space
_RAW = "unprobed "


@dataclass(frozen=True, eq=False)
class SweptLayerCall:
    """One call of a layer on a batch, and the gradient of the loss by what it gave; arrays in float64.

    - `inputs` (time, batch, features), `states` by direction and name (batch, size), `lengths` (batch,).
    - `d_output` (time, batch, size of all directions), `d_finals` by direction and name.
    - `params`: the parameters of each direction by their names in the equations.
    """

    layer: Recurrent
    inputs: Values
    states: list[dict[str, Values]]
    lengths: NDArray[np.int64]
    d_output: Values
    d_finals: list[dict[str, Values]]
    params: list[dict[str, Values]]


@dataclass(frozen=True, eq=False)
class StepNorms:
    """The root mean square over the rows of a gradient's length, for one gate or state.

    - `by_step` (steps,): of the whole loss by the value at each step.
    - `by_lag` (steps,): of what enters this layer at its last step alone, by the value so many steps earlier.
    """

    by_step: Values
    by_lag: Values


@dataclass(frozen=True, eq=False)
class LayerNorms:
    """The norms of one direction of one level, by the names of its states and of its gates."""

    states: Mapping[str, StepNorms]
    gates: Mapping[str, StepNorms]


def step_norms(call: SweptLayerCall) -> dict[str, LayerNorms]:
    """The norms by direction, "l0" or "l1_reverse"."""
    layer, directions = call.layer, call.layer.directions()
    inputs = list(_inputs_of_levels(call))
    norms: dict[str, LayerNorms] = {}
    d_output = call.d_output
    for level in reversed(range(layer.num_layers)):
        indices = [index for index, (own, _) in enumerate(directions) if own == level]
        d_below: Values | None = None
        for part, index in zip(np.split(d_output, len(indices), axis=-1), indices, strict=True):
            direction = _Direction(call, index, inputs[level])
            whole = direction.swept(part, call.d_finals[index])
            last = direction.swept(direction.only_last(part), call.d_finals[index])
            norms[f"l{level}{directions[index][1]}"] = direction.norms(whole, last)
            flow = whole[adjoint(direction.trace.inputs[0].name)]
            d_below = flow if d_below is None else d_below + flow
        d_output = d_below if d_below is not None else d_output
    return {name: norms[name] for name in (f"l{level}{suffix}" for level, suffix in directions)}


def _inputs_of_levels(call: SweptLayerCall) -> Iterator[Values]:
    """What each level reads: the inputs, then the outputs of all directions of the level below."""
    read = call.inputs
    directions = call.layer.directions()
    for level in range(call.layer.num_layers):
        yield read
        indices = [index for index, (own, _) in enumerate(directions) if own == level]
        read = np.concatenate([_Direction(call, index, read).forward.output for index in indices], axis=-1)


class _Direction:
    """One direction of one level on a batch: the forward run, and sweeps back through it."""

    def __init__(self, call: SweptLayerCall, index: int, inputs: Values) -> None:
        _, suffix = call.layer.directions()[index]
        self.trace, self.probes = probed(call.layer.trace)
        self._lengths, self._reverse, self._params = call.lengths, bool(suffix), call.params[index]
        level_sizes = call.layer.sizes(call.layer.directions()[index][0])
        values = {value.name: value for value in self.trace.inputs}
        zeros = {
            probe: np.zeros((*inputs.shape[:2], *bind(values[probe].shape, level_sizes)))
            for probe in self.probes.values()
        }
        self._inputs = {self.trace.inputs[0].name: inputs, **zeros}
        self._first = call.states[index]
        self.forward = numpy_ref.run(
            self.trace, self._inputs, self._params, self._first, lengths=self._steps, backwards=self._reverse
        )

    @property
    def _steps(self) -> list[int]:
        return self._lengths.tolist()

    def swept(self, d_output: Values, d_finals: Mapping[str, Values]) -> dict[str, Values]:
        """The gradients by inputs and probes at every step, for gradients by the output and the final states."""
        before: dict[str, Values] = {}
        for name, after in self.forward.sequences.items():
            first = self._first.get(name)
            first = np.zeros_like(after[:1]) if first is None else first[None]
            parts = [after[1:], first] if self._reverse else [first, after[:-1]]
            before[name] = np.concatenate(parts)
        output = self.trace.states[0].name
        carried = {adjoint(name): value for name, value in d_finals.items()}
        run = numpy_ref.run(
            _backward(self.trace),
            {**self._inputs, **before, seed(output): d_output},
            self._params,
            carried,
            lengths=self._steps,
            backwards=not self._reverse,
        )
        return run.emits

    def norms(self, whole: Mapping[str, Values], last: Mapping[str, Values]) -> LayerNorms:
        """The norms of two sweeps, of the whole loss and of what enters at the last step."""
        by_name = {
            name: StepNorms(self._by_step(whole[adjoint(probe)]), self._by_lag(last[adjoint(probe)]))
            for name, probe in self.probes.items()
        }
        states = {state.name for state in self.trace.states}
        return LayerNorms(
            {name: norms for name, norms in by_name.items() if name in states},
            {name: norms for name, norms in by_name.items() if name not in states},
        )

    def only_last(self, d_output: Values) -> Values:
        """The gradient by the output at the last step of each row alone, last in the order of this direction."""
        lasts, rows = self._last_steps(), np.arange(len(self._lengths))
        only = np.zeros_like(d_output)
        only[lasts, rows] = d_output[lasts, rows]
        return only

    def _last_steps(self) -> NDArray[np.int64]:
        return np.zeros_like(self._lengths) if self._reverse else np.maximum(self._lengths - 1, 0)

    def _by_step(self, gradient: Values) -> Values:
        """The root mean square of the lengths over the rows that have the step."""
        valid = np.arange(len(gradient))[:, None] < self._lengths
        return _mean_length(gradient, valid)

    def _by_lag(self, gradient: Values) -> Values:
        """The same, by how many steps before its last one a row is."""
        lags = np.arange(len(gradient))[:, None]
        steps = np.broadcast_to(lags if self._reverse else self._lengths - 1 - lags, gradient.shape[:2])
        valid = (steps >= 0) & (steps < self._lengths)
        rows = np.broadcast_to(np.arange(len(self._lengths)), steps.shape)
        return _mean_length(gradient[np.where(valid, steps, 0), rows], valid)


def _mean_length(gradient: Values, valid: NDArray[np.bool_]) -> Values:
    squares = (gradient.reshape(*gradient.shape[:2], -1) ** 2).sum(-1)
    return np.sqrt(np.where(valid, squares, 0.0).sum(1) / np.maximum(valid.sum(1), 1))


@lru_cache(maxsize=64)
def probed(trace: Trace) -> tuple[Trace, Mapping[str, str]]:
    """The trace with a probe added to every state's new value and every gate; the probes by the names of these."""
    trace = without_chance(trace)
    values = {state.name: after for state, after in trace.updates() if isinstance(after, Var)}
    values |= {name: value for name, value in trace.gates if name not in values}
    defined = {equation.target.name for equation in trace.equations}
    probes: dict[str, Var] = {}
    names: dict[str, str] = {}
    for name, value in values.items():
        if value.name in defined:  # not what merely hands an input or another state on
            probes.setdefault(value.name, Var(PROBE + name, value.shape))
            names[name] = probes[value.name].name
    equations: list[Equation] = []
    for equation in trace.equations:
        probe = probes.get(equation.target.name)
        if probe is None:
            equations.append(equation)
            continue
        raw = replace(equation.target, name=_RAW + equation.target.name)
        equations.append(replace(equation, target=raw))
        equations.append(Equation(equation.target, Op.ADD, (raw, probe), where=equation.where))
    inputs = (*trace.inputs, *probes.values())
    return replace(trace, equations=tuple(equations), inputs=inputs), names


@lru_cache(maxsize=64)
def _backward(trace: Trace) -> Trace:
    """The derived gradient without the sums over parameters, which nobody reads here and which cost the most."""
    return simplify(replace(vjp(trace), sums=()))


def named_states(layer: Recurrent, states: Any) -> list[dict[str, Values]]:
    """The states of a call, a tensor or a tuple of them, by direction and name: (batch, size). Zeros where None."""
    names = [state.name for state in layer.trace.states]
    if states is None:
        return [{} for _ in layer.directions()]
    tensors = states if isinstance(states, (tuple, list)) else (states,)
    arrays: list[Values] = [tensor.detach().cpu().double().numpy() for tensor in tensors]
    return [
        {name: array[index] for name, array in zip(names, arrays, strict=True)}
        for index, _ in enumerate(layer.directions())
    ]
