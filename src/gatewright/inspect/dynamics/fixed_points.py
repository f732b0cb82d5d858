"""States that a layer stays at while its input is constant, and how fast it comes back to them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import nn

from gatewright.errors import OptionError, ShapeError
from gatewright.inspect.arguments import generator, not_negative, whole_number
from gatewright.inspect.dynamics.state_map import StateMap, Values, state_map

_SETTLING = (0, 1, 3, 10, 30, 100)  # steps that are taken from random starts: some then lie where the layer goes
_DAMPING = 1e-3  # of the first step
_LEAST_DAMPING = 1e-14
_MOST_DAMPING = 1e10  # then no direction goes down: a local minimum that is no fixed point


@dataclass(frozen=True, eq=False)
class JacobianEigenvalues:
    """The eigenvalues of one step at a state, the largest modulus first.

    - `state` (size,), `input` (features,): where.
    - `jacobian` (size, size): the derivative of the state after the step by the one before.
    - `values` (size,): complex. A change of the state along the eigenvector of a value is multiplied by it.
    - `parts`: where each state of the cell stands in the whole state.
    """

    state: Values
    input: Values
    jacobian: Values
    values: NDArray[np.complex128]
    parts: Mapping[str, slice]

    @property
    def radius(self) -> float:
        """The largest modulus: below 1 a small change dies out, above 1 one grows."""
        return float(np.abs(self.values).max(initial=0.0))

    @property
    def half_lives(self) -> Values:
        """Steps until half of a change along each eigenvector is left; infinite where it does not shrink."""
        return half_lives(self.values)


@dataclass(frozen=True, eq=False)
class FixedPoints:
    """The fixed points of a layer for one constant input, those that most starts ended at first.

    - `input` (features,): the constant input.
    - `points` (points, size): the states.
    - `residuals` (points,): |F(h) - h|, the length of what a step still moves.
    - `eigenvalues` (points, size): of the Jacobian there, complex, the largest modulus first.
    - `stable` (points,): whether all of them are inside the unit circle.
    - `starts` (points,): how many starts ended there; `unfinished`: how many ended at none.
    - `parts`: where each state of the cell stands in the whole state.
    """

    input: Values
    points: Values
    residuals: Values
    eigenvalues: NDArray[np.complex128]
    stable: NDArray[np.bool_]
    starts: NDArray[np.int64]
    unfinished: int
    parts: Mapping[str, slice]

    def __len__(self) -> int:
        return len(self.points)

    def state(self, name: str) -> Values:
        """One state of the cell at every point, (points, size). Raises OptionError where there is none of it."""
        if name not in self.parts:
            raise OptionError(f"the layer has no state {name!r}", expected=", ".join(self.parts))
        return self.points[:, self.parts[name]]


def half_lives(values: NDArray[np.complex128]) -> Values:
    """Steps until half of what is multiplied by each value at every step is left; infinite from modulus 1 on."""
    modulus = np.abs(values)
    with np.errstate(divide="ignore"):
        return np.where(modulus < 1, np.log(0.5) / np.minimum(np.log(modulus), -1e-300), np.inf)


def eigenvalues(layer: nn.Module, x: ArrayLike, state: ArrayLike | None = None) -> JacobianEigenvalues:
    """The eigenvalues of one step's Jacobian by the whole state: all states of the cell, of all levels.

    - `layer`: a layer of gatewright.nn or torch.nn, or a model with one such layer.
    - `x` (features,): what the step reads.
    - `state` (size,): the state before the step, all states one after the other; zero where it is not given.

    Raises OptionError for a layer that is no map from one step to the next, ShapeError where arrays do not fit.
    """
    system = state_map(layer)
    inputs = system.as_input(x)
    states = np.zeros((1, system.size)) if state is None else system.as_states(state)
    if len(states) != 1:
        raise ShapeError("eigenvalues are those at one state", expected=f"({system.size},)", got=str(states.shape))
    jacobian = system.jacobian(states, inputs[None])[0]
    return JacobianEigenvalues(states[0], inputs, jacobian, _sorted(np.linalg.eigvals(jacobian)), system.parts)


def fixed_points(
    layer: nn.Module,
    x: ArrayLike,
    *,
    starts: int | ArrayLike = 32,
    tolerance: float = 1e-9,
    slow: float = 0.0,
    apart: float = 1e-4,
    iterations: int = 200,
    seed: int = 0,
) -> FixedPoints:
    """The fixed points of a layer for a constant input, as Sussillo & Barak 2013 look for them.

        points = gw.inspect.fixed_points(layer, np.zeros(layer.input_size))

    From every start, |F(h) - h| is made small by damped Newton steps with the derived Jacobian.

    - `layer`: a layer of gatewright.nn or torch.nn, or a model with one such layer.
    - `x` (features,): the input, the same at every step.
    - `starts`: their number, or states (starts, size), such as those that the layer visits. A number of them is drawn
      from the seed, and most take some steps with the input first, so that they lie where the layer goes.
    - `tolerance`: the residual of a fixed point. `slow` also keeps states where |F(h) - h| has a local minimum that
      is below it: there the layer moves slowly.
    - `apart`: fixed points that are nearer to each other in every unit are one.

    There may be fixed points that no start ended at: more starts can find more. Raises OptionError for a layer that is
    no map from one step to the next, ShapeError where arrays do not fit.
    """
    system = state_map(layer)
    inputs = system.as_input(x)
    for name, value in {"tolerance": tolerance, "slow": slow, "apart": apart}.items():
        not_negative(name, value)
    not_negative("iterations", whole_number("iterations", iterations))
    if isinstance(starts, (int, np.integer)) and not isinstance(starts, bool):
        begin = _drawn_starts(system, inputs, int(starts), seed)
    else:
        begin = system.as_states(starts)
    if not len(begin):
        raise OptionError("there is nothing to start from", expected="1 start or more", got="0")
    ends, residuals = _descended(system, inputs, begin, tolerance, iterations)
    finished = np.flatnonzero(residuals <= max(tolerance, slow))
    chosen, counts = _distinct(ends[finished], residuals[finished], apart)
    points, left = ends[finished][chosen], residuals[finished][chosen]
    jacobians = [system.jacobian(point[None], inputs[None])[0] for point in points]
    values = np.array([_sorted(np.linalg.eigvals(jacobian)) for jacobian in jacobians], np.complex128)
    values = values.reshape(len(points), system.size)
    stable = np.abs(values).max(-1, initial=0.0) < 1
    return FixedPoints(inputs, points, left, values, stable, counts, len(begin) - len(finished), system.parts)


def _drawn_starts(system: StateMap, inputs: Values, count: int, seed: int) -> Values:
    """Random states after a different number of steps each."""
    if count < 1:
        raise OptionError("there is nothing to start from", expected="1 start or more", got=str(count))
    states = generator(seed).uniform(-1, 1, (count, system.size))
    settling = np.resize(_SETTLING, count)
    for step in range(int(settling.max())):
        moving = settling > step
        states[moving] = system.step(states[moving], np.tile(inputs, (int(moving.sum()), 1)))
    return states


def _descended(
    system: StateMap, inputs: Values, begin: Values, tolerance: float, iterations: int
) -> tuple[Values, Values]:
    """Where Levenberg-Marquardt steps from every start end, and the residual there."""
    states = begin.copy()
    moves = system.step(states, np.tile(inputs, (len(states), 1))) - states
    residuals = _lengths(moves)
    damping = np.full(len(states), _DAMPING)
    for _ in range(iterations):
        rows = np.flatnonzero((residuals > tolerance) & (damping < _MOST_DAMPING))
        if not rows.size:
            break
        repeated = np.tile(inputs, (len(rows), 1))
        slopes = system.jacobian(states[rows], repeated) - np.eye(system.size)
        transposed = slopes.swapaxes(1, 2)
        # The damping keeps the matrix regular where the Jacobian has the eigenvalue 1, as along a line attractor.
        damped = transposed @ slopes + damping[rows, None, None] * np.eye(system.size)
        with np.errstate(all="ignore"):  # a step too far may overflow: it is refused below
            steps = np.linalg.solve(damped, -(transposed @ moves[rows, :, None]))[..., 0]
            trial = states[rows] + steps
            moved = system.step(trial, repeated) - trial
            is_lower = _lengths(moved) < residuals[rows]
        taken, refused = rows[is_lower], rows[~is_lower]
        states[taken], moves[taken] = trial[is_lower], moved[is_lower]
        residuals[taken] = _lengths(moved[is_lower])
        damping[taken] = np.maximum(damping[taken] / 10, _LEAST_DAMPING)
        damping[refused] *= 10
    return states, residuals


def _distinct(ends: Values, residuals: Values, apart: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """One end of each cluster, that of the lowest residual, and how many ends are in it; large clusters first."""
    chosen: list[int] = []
    counts: list[int] = []
    for index in np.argsort(residuals, kind="stable").tolist():
        near = [place for place, other in enumerate(chosen) if np.abs(ends[other] - ends[index]).max() < apart]
        if near:
            counts[near[0]] += 1
        else:
            chosen.append(index)
            counts.append(1)
    order = np.argsort(-np.asarray(counts, np.int64), kind="stable")
    return np.asarray(chosen, np.int64)[order], np.asarray(counts, np.int64)[order]


def _lengths(vectors: Values) -> Values:
    return np.linalg.norm(vectors, axis=-1)


def _sorted(values: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """By falling modulus; of a conjugate pair the one above the real axis first."""
    complex_values = values.astype(np.complex128)
    return complex_values[np.lexsort((-complex_values.imag, -np.round(np.abs(complex_values), 12)))]
