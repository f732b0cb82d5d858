"""Derivatives as Gatewright derives them, run by the NumPy reference."""

import numpy as np

from gatewright.backends import numpy_ref
from gatewright.derive import adjoint, jvp, seed, tangent, vjp
from gatewright.inspect.derivatives.point import Arrays, Point, every, last, moving, through
from gatewright.trace.ir import Trace


def gradient(trace: Trace, point: Point) -> Arrays:
    """The gradient of the loss by every leaf in `moving`: back-propagation through time."""
    return _gradient(trace, point, point.d_outputs, point.d_finals)


def second(trace: Trace, point: Point) -> Arrays:
    """The gradient of sum(direction * gradient), by differentiating the derived gradient once more.

    It is by every leaf in `moving`, and by the weights of the loss, `d(h.out)` and `d(h.end)`.
    """
    names = [value.name for value in trace.states]
    backward = vjp(trace, outputs=names)
    operands, carried = _swept_back(trace, backward, point)
    # The gradient runs backwards in time, so its own gradient runs forwards again.
    twice = vjp(backward, outputs=())
    along = point.direction
    seeds = {seed(adjoint(name)): along[name] for name in point.inputs if name in along}
    summed = {adjoint(adjoint(name)): along[name] for name in point.params}
    started = {adjoint(adjoint(name)): along[name] for name in names}
    wanted = {value.name for value in twice.inputs}
    inputs = {name: array for name, array in {**operands, **carried, **seeds}.items() if name in wanted}
    params = {**point.params, **summed}
    swept = numpy_ref.run(twice, inputs, params, started, lengths=point.lengths, noises=point.noises)
    # The adjoint of a state before a step belongs to the state after the previous step: shift by one step.
    at = {name: swept.emits[adjoint(name)] for name in names}
    later = {name: np.concatenate([array[1:], np.zeros_like(array[:1])]) for name, array in at.items()}
    indirect = _gradient(trace, point, later, {})
    direct = {name: swept.emits[adjoint(name)] for name in point.inputs}
    direct |= {name: swept.sums.get(adjoint(name), np.float64(0)) for name in point.params}
    direct |= {name: at[name][0] for name in names}
    result = {name: direct[name] + array for name, array in indirect.items()}
    result |= {adjoint(every(name)): swept.emits[adjoint(seed(name))] for name in names}
    return result | {adjoint(last(name)): swept.finals[adjoint(adjoint(name))] for name in names}


def _swept_back(trace: Trace, backward: Trace, point: Point) -> tuple[Arrays, Arrays]:
    """The operands of every step of the backward sweep, and the adjoints that it gets from the step after it."""
    forward = numpy_ref.run(trace, point.inputs, point.params, point.states, lengths=point.lengths, noises=point.noises)
    before = {n: np.concatenate([first[None], forward.sequences[n][:-1]]) for n, first in point.states.items()}
    operands = {**point.inputs, **before, **{seed(n): array for n, array in point.d_outputs.items()}}
    finals = {adjoint(name): array for name, array in point.d_finals.items()}
    swept = numpy_ref.run(
        backward, operands, point.params, finals, lengths=point.lengths, noises=point.noises, backwards=True
    )
    return operands, {n: np.concatenate([swept.sequences[n][1:], last[None]]) for n, last in finals.items()}


def forward(trace: Trace, point: Point) -> Arrays:
    """The change of each output when one leaf alone moves along its direction: forward mode; named `W.r -> h.out`."""
    pushed = jvp(trace)
    values = point.values
    result: Arrays = {}
    for leaf in moving(trace):
        tangents = {tangent(name): np.zeros_like(array) for name, array in values.items()}
        tangents[tangent(leaf.name)] = point.direction[leaf.name]
        inputs, params, states = (
            {**group, **{tangent(name): tangents[tangent(name)] for name in group}}
            for group in (point.inputs, point.params, point.states)
        )
        run = numpy_ref.run(pushed, inputs, params, states, lengths=point.lengths, noises=point.noises)
        for state in trace.states:
            runs = point.active[(..., *(None,) * len(state.shape))]
            result[through(leaf.name, every(state.name))] = np.where(runs, run.sequences[tangent(state.name)], 0.0)
            result[through(leaf.name, last(state.name))] = run.finals[tangent(state.name)]
    return result


def _gradient(trace: Trace, point: Point, d_outputs: Arrays, d_finals: Arrays) -> Arrays:
    results = numpy_ref.gradient(
        trace,
        point.inputs,
        point.params,
        point.states,
        d_outputs=d_outputs,
        d_finals=d_finals,
        lengths=point.lengths,
        noises=point.noises,
    )
    return {**results.inputs, **results.params, **results.states}
