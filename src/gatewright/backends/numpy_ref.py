"""The oracle: a Trace run over a sequence in NumPy, one step after the other, and its gradient by explicit
back-propagation through time. Written to be read; every other backend is held to its float64 numbers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.axes import Shape, bind
from gatewright.backends.base import ArrayRules, execute, infer_sizes, prepare, refuse_unknown, require
from gatewright.derive import adjoint, seed, vjp
from gatewright.errors import OptionError, ShapeError
from gatewright.lang.ops import Op
from gatewright.lang.symbol import Redraw
from gatewright.trace.ir import Atom, Literal, Trace
from gatewright.trace.reset import RESET, reset_trace

Array = NDArray[Any]
Arrays = Mapping[str, Array]


def sigmoid(a: Array) -> Array:
    """1 / (1 + exp(-a)) without overflow, and exact to the last digits far below 0 too."""
    e = np.exp(-np.abs(a))
    return np.where(a >= 0, 1 / (1 + e), e / (1 + e))


def _matmul(matrix: Array, vector: Array) -> Array:
    if matrix.ndim == 2:
        return vector @ matrix.T
    return (matrix @ vector[..., None])[..., 0]


def _features(a: Array, rank: int) -> tuple[int, ...]:
    return tuple(range(a.ndim - rank, a.ndim))


RULES: ArrayRules = {
    Op.NEG: np.negative,
    Op.ABS: np.abs,
    Op.SIGN: np.sign,
    Op.EXP: np.exp,
    Op.LOG: np.log,
    Op.SQRT: np.sqrt,
    Op.SIGMOID: sigmoid,
    Op.TANH: np.tanh,
    Op.RELU: lambda a: np.maximum(a, 0.0),
    Op.HARD_SIGMOID: lambda a, slope: np.clip(slope * a + 0.5, 0.0, 1.0),
    Op.SOFTPLUS: lambda a: np.logaddexp(a, 0.0),
    Op.ADD: np.add,
    Op.SUB: np.subtract,
    Op.MUL: np.multiply,
    Op.DIV: np.divide,
    Op.MAXIMUM: np.maximum,
    Op.MINIMUM: np.minimum,
    Op.LESS: lambda a, b: np.less(a, b).astype(np.result_type(a, b)),
    Op.WHERE: lambda c, a, b: np.asarray(np.where(c != 0, a, b), dtype=np.result_type(c, a, b)),
    Op.MATMUL: _matmul,
    Op.TRANSPOSE: lambda a: a.swapaxes(-1, -2),
    Op.OUTER: lambda a, b: a[..., :, None] * b[..., None, :],
    Op.SUM: lambda a, rank: a.sum(axis=_features(a, rank)),
    Op.MEAN: lambda a, rank: a.mean(axis=_features(a, rank)),
    Op.EXPAND: lambda a, sizes: np.broadcast_to(np.asarray(a)[(..., *(None,) * len(sizes))], (*np.shape(a), *sizes)),
    Op.SIZE: lambda count: np.float64(float(count)),
    Op.RELABEL: lambda a: a,
}


@dataclass(frozen=True, slots=True)
class ReferenceRun:
    """What a Trace gave over a sequence. Sequences are (time, batch, features)."""

    output: Array  # what a layer emits: the first state after every step, 0 where a row's length is over
    sequences: dict[str, Array]  # every state after every step; a row whose length is over keeps its last
    finals: dict[str, Array]  # every state after the last step: (batch, features)
    emits: dict[str, Array]
    sums: dict[str, Array]
    gates: dict[str, Array]


@dataclass(frozen=True, slots=True)
class Gradients:
    """The gradient of a loss by everything that went in, under the names of what went in."""

    inputs: dict[str, Array]
    states: dict[str, Array]
    params: dict[str, Array]


def run(
    trace: Trace,
    inputs: Arrays,
    params: Arrays,
    states: Arrays | None = None,
    *,
    lengths: Sequence[int] | None = None,
    noises: Arrays | None = None,
    backwards: bool = False,
    resets: Array | None = None,
) -> ReferenceRun:
    """Run a Trace over a sequence, one step after the other.

    `inputs` are (time, batch, features), `params` have the shapes of the cell, `states` are (batch, features) and zero
    where they are not given. A row whose length is over keeps its states and gives out zeros. `noises` are the random
    values by name (`draw` makes them); without them the cell is evaluated with their means. `backwards` runs time
    from the last step to the first, as gradients do. `resets` (time, batch) starts a row's states anew, from zero,
    before each step where it is not 0.

    Raises ShapeError where an array is missing or does not fit.
    """
    if resets is not None:
        trace, inputs = reset_trace(trace), {**inputs, RESET: resets}
    require(trace, inputs, trace.inputs, "input")
    require(trace, params, trace.params, "parameter")
    refuse_unknown(trace, states or {}, trace.states, "state")
    leading = dict.fromkeys(inputs, 2) | dict.fromkeys(states or {}, 1)
    sizes = infer_sizes(trace, {**inputs, **params, **(states or {})}, leading)
    steps, batch = _extent(trace, inputs, states or {}, lengths)
    noises = _noise_sequences(trace, noises, sizes, steps, batch)
    calls = prepare(trace.equations, RULES, sizes)
    recorder = _Recorder(trace, sizes, steps, batch, _floating(inputs, params))
    current = recorder.initial(states or {})
    for t in reversed(range(steps)) if backwards else range(steps):
        active = None if lengths is None else t < np.asarray(lengths)
        values = {**params, **current, **{name: array[t] for name, array in {**inputs, **noises}.items()}}
        with np.errstate(all="ignore"):  # overflow and NaN are results here, not faults
            execute(calls, values)
        current = recorder.record(t, values, current, active)
    return recorder.result(current)


def gradient(
    trace: Trace,
    inputs: Arrays,
    params: Arrays,
    states: Arrays | None = None,
    *,
    d_outputs: Arrays,
    d_finals: Arrays | None = None,
    lengths: Sequence[int] | None = None,
    noises: Arrays | None = None,
    truncate: int | None = None,
    resets: Array | None = None,
) -> Gradients:
    """Back-propagation through time.

    `d_outputs` holds, for each state whose every value the loss sees, its gradient (time, batch, features); `d_finals`
    those of the final states. `truncate=k` cuts the flow between steps k-1 and k, 2k-1 and 2k, ... `resets` are those
    of the run.

    Raises ShapeError where an array does not fit, OptionError where `truncate` is not positive.
    """
    if truncate is not None and truncate < 1:
        raise OptionError("truncate is not a number of steps", expected="1 or more", got=repr(truncate))
    forward = run(trace, inputs, params, states, lengths=lengths, noises=noises, resets=resets)
    given = list(inputs)
    if resets is not None:
        trace, inputs = reset_trace(trace), {**inputs, RESET: resets}
    steps, batch = forward.output.shape[:2]
    before = _states_before(trace, forward, states or {}, steps)
    sizes = infer_sizes(trace, {**inputs, **params, **before}, dict.fromkeys([*inputs, *before], 2))
    random = _noise_sequences(trace, noises, sizes, steps, batch)
    seeds = {seed(name): value for name, value in d_outputs.items()}
    sequences = {name: np.asarray(a, forward.output.dtype) for name, a in {**inputs, **before, **seeds}.items()}
    backward = derivative(trace, tuple(d_outputs))
    carried = {adjoint(name): value for name, value in (d_finals or {}).items()}
    cut = truncate or max(steps, 1)
    emitted = {name: np.zeros_like(sequences[name]) for name in given}
    summed: dict[str, Array] = {}
    for start in reversed(range(0, max(steps, 1), cut)):
        piece = {name: array[start : start + cut] for name, array in sequences.items()}
        left = None if lengths is None else [min(max(int(length) - start, 0), cut) for length in lengths]
        drawn = {name: array[start : start + cut] for name, array in random.items()}
        result = run(backward, piece, params, carried, lengths=left, noises=drawn, backwards=True)
        carried = {} if truncate and start else result.finals
        for name, array in emitted.items():
            array[start : start + cut] = result.emits[adjoint(name)]
        summed = {name: summed.get(name, 0) + value for name, value in result.sums.items()}
    names = [param.name for param in trace.params]  # a gradient that is the number 0 has no shape of its own
    return Gradients(
        inputs=emitted,
        states={state.name: carried[adjoint(state.name)] for state in trace.states},
        params={name: np.broadcast_to(summed[adjoint(name)], params[name].shape).copy() for name in names},
    )


derivative = lru_cache(maxsize=64)(vjp)


def draw(
    trace: Trace, sizes: Mapping[str, int], steps: int, batch: int, generator: np.random.Generator
) -> dict[str, Array]:
    """Draw every random value of a cell for a whole sequence: (time, batch, features), zeros and ones in float64."""
    drawn: dict[str, Array] = {}
    for noise in trace.noises:
        shape = (batch, *bind(noise.var.shape, sizes))
        count = steps if noise.per == Redraw.STEP else 1
        values = generator.random((count, *shape)) < noise.probability
        drawn[noise.var.name] = np.broadcast_to(values.astype(np.float64), (steps, *shape))
    return drawn


def _noise_sequences(
    trace: Trace, noises: Arrays | None, sizes: Mapping[str, int], steps: int, batch: int
) -> dict[str, Array]:
    """Every random value at every step: as drawn, else its mean."""
    shapes = {noise.var.name: (steps, batch, *bind(noise.var.shape, sizes)) for noise in trace.noises}
    if noises is None:
        return {noise.var.name: np.full(shapes[noise.var.name], noise.probability) for noise in trace.noises}
    require(trace, noises, (noise.var for noise in trace.noises), "random value")
    for name, shape in shapes.items():
        if noises[name].shape != shape:
            problem = f"cell {trace.name!r}: the random value {name} has a shape that does not fit"
            raise ShapeError(problem, expected=str(shape), got=str(noises[name].shape), do="draw it with `draw`")
    return dict(noises)


def _floating(inputs: Arrays, params: Arrays) -> np.dtype[Any]:
    """The type to compute in: that of the arrays, and float64 for whole numbers."""
    dtype = np.result_type(*inputs.values(), *params.values())
    return dtype if np.issubdtype(dtype, np.floating) else np.dtype(np.float64)


def _states_before(trace: Trace, forward: ReferenceRun, states: Arrays, steps: int) -> dict[str, Array]:
    """The value of every state before every step."""
    before: dict[str, Array] = {}
    for state in trace.states:
        after = forward.sequences[state.name]
        first = states.get(state.name, np.zeros_like(forward.finals[state.name]))
        before[state.name] = np.concatenate([first[None], after])[:steps].astype(after.dtype)
    return before


def _extent(trace: Trace, inputs: Arrays, states: Arrays, lengths: Sequence[int] | None) -> tuple[int, int]:
    """The number of steps and of rows, on which all arrays must agree."""
    shapes = {name: array.shape[:2] for name, array in inputs.items()}
    steps, batch = next(iter(shapes.values()))
    odd = [name for name, shape in shapes.items() if shape != (steps, batch)]
    if odd:
        raise ShapeError(
            f"cell {trace.name!r}: {odd[0]} has another number of steps or rows than {next(iter(shapes))}",
            expected=f"({steps}, {batch}, ...)",
            got=f"({', '.join(map(str, shapes[odd[0]]))}, ...)",
        )
    odd = [name for name, array in states.items() if len(array) != batch]
    if odd:
        problem = f"cell {trace.name!r}: the initial state {odd[0]} has another number of rows than the inputs"
        raise ShapeError(problem, expected=f"({batch}, ...)", got=f"({len(states[odd[0]])}, ...)")
    if lengths is not None and len(lengths) != batch:
        raise ShapeError("lengths has a wrong number of entries", expected=f"{batch}, one a row", got=str(len(lengths)))
    if lengths is not None and not all(0 <= length <= steps for length in lengths):
        raise ShapeError("lengths do not fit the sequences", expected=f"from 0 to {steps}", got=str(list(lengths)))
    return steps, batch


class _Recorder:
    """Keeps what leaves the steps."""

    def __init__(self, trace: Trace, sizes: Mapping[str, int], steps: int, batch: int, dtype: np.dtype[Any]) -> None:
        self._trace, self._sizes, self._batch, self._dtype = trace, sizes, batch, dtype
        self._sequences = {s.name: self._zeros(s.shape, steps) for s in trace.states}
        self._output = self._zeros(trace.states[0].shape, steps)
        self._emits = {name: self._zeros(trace.output_shape(name, value), steps) for name, value in trace.emits}
        self._gates = {name: self._zeros(value.shape, steps) for name, value in trace.gates}
        self._sums = {name: np.zeros(bind(trace.output_shape(name, v), sizes), dtype) for name, v in trace.sums}

    def _zeros(self, shape: Shape, steps: int) -> Array:
        return np.zeros((steps, self._batch, *bind(shape, self._sizes)), self._dtype)

    def initial(self, states: Arrays) -> dict[str, Array]:
        """Every state before the first step: as given, else zero."""
        zeros = {s.name: self._zeros(s.shape, 1)[0] for s in self._trace.states}
        return {name: np.asarray(states.get(name, zero), self._dtype) for name, zero in zeros.items()}

    def record(self, t: int, values: Mapping[str, Any], before: Arrays, active: Array | None) -> dict[str, Array]:
        """Take what one step gave; the states for the next step come back."""
        after: dict[str, Array] = {}
        for state, value in self._trace.updates():
            new = self._rows(value, values, before[state.name].shape[1:])
            after[state.name] = np.where(_expanded(active, new), new, before[state.name]) if active is not None else new
            self._sequences[state.name][t] = after[state.name]
        self._output[t] = self._still(after[self._trace.states[0].name], active)
        for kept, named in ((self._emits, self._trace.emits), (self._gates, self._trace.gates)):
            for name, value in named:
                kept[name][t] = self._still(self._rows(value, values, kept[name].shape[2:]), active)
        for name, value in self._trace.sums:
            rows = self._still(self._rows(value, values, self._sums[name].shape), active)
            self._sums[name] += rows.sum(axis=0)
        return after

    def _rows(self, value: Atom, values: Mapping[str, Any], shape: tuple[int, ...]) -> Array:
        """A value with its row axis, which a number or what depends on parameters only does not have."""
        array = np.asarray(value.value if isinstance(value, Literal) else values[value.name], self._dtype)
        return np.broadcast_to(array, (self._batch, *shape))

    def _still(self, rows: Array, active: Array | None) -> Array:
        return rows if active is None else np.where(_expanded(active, rows), rows, 0)

    def result(self, current: dict[str, Array]) -> ReferenceRun:
        """Everything that was kept, in memory of its own."""
        finals = {name: np.array(state) for name, state in current.items()}
        return ReferenceRun(self._output, self._sequences, finals, self._emits, self._sums, self._gates)


def _expanded(active: Array, rows: Array) -> Array:
    return active[(..., *(None,) * (rows.ndim - 1))]
