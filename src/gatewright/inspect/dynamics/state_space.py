"""How much of its state a layer uses: rank, dead units, and the plane that holds most of what varies."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gatewright.errors import DataError, OptionError, ShapeError
from gatewright.inspect.activity.activations import Activations, LayerActivations
from gatewright.inspect.arguments import real_number
from gatewright.inspect.measures.steps import Source, Values, batches_of, by_value, recorded, valid_steps

_STILL = 1e-3


@dataclass(frozen=True, eq=False)
class StateRank:
    """How many directions of a state vary.

    - `variances` (units,): along the principal directions, the largest first.
    - `participation_ratio`: (sum of variances)^2 / (sum of squared variances): n where n directions vary alike.
    - `rank`: directions that vary more than rounding in float32 explains.
    """

    layer: str
    state: str
    variances: Values
    participation_ratio: float
    rank: int


@dataclass(frozen=True, eq=False)
class DeadUnits:
    """Units of a state that say nothing: their standard deviation over all steps is at most the limit.

    - `units`: their indices.
    - `deviations` (units,), `means` (units,): of all units of the state.
    """

    layer: str
    state: str
    units: NDArray[np.int64]
    deviations: Values
    means: Values


@dataclass(frozen=True, eq=False)
class StatePlane:
    """The two directions along which the whole state of a layer varies most.

    - `mean` (size,), `directions` (2, size): all states of the cell one after the other.
    - `shares` (2,): the share of the variance along each.
    - `paths`: for each row its states in the plane, (steps, 2).
    """

    layer: str
    mean: Values
    directions: Values
    shares: Values
    paths: tuple[Values, ...]

    def project(self, states: ArrayLike) -> Values:
        """States (rows, size), such as fixed points, in the plane: (rows, 2). ShapeError where they do not fit."""
        values = np.asarray(states, np.float64)
        if values.ndim != 2 or values.shape[1] != len(self.mean):
            expected = f"(rows, {len(self.mean)})"
            raise ShapeError("the states do not fit the plane", expected=expected, got=str(values.shape))
        return (values - self.mean) @ self.directions.T


def state_rank(source: Source) -> list[StateRank]:
    """The participation ratio and the numerical rank of every state's covariance over all steps and rows.

    Raises DataError where there are no steps, or where a state is not finite.
    """
    counts: dict[tuple[str, str], int] = {}
    sums: dict[tuple[str, str], Values] = {}
    products: dict[tuple[str, str], Values] = {}
    offsets: dict[tuple[str, str], Values] = {}
    for activations in batches_of(source):
        for layer in activations:
            for state in layer.states:
                key, values = (layer.name, state), valid_steps(layer, state)
                if not len(values):
                    continue
                if not np.isfinite(values).all():
                    raise DataError(f"state {state!r} of layer {layer.name!r} is not finite at some steps: no rank")
                # Near the mean, so that a large mean takes no figures from a small variance.
                shifted = values - offsets.setdefault(key, values.mean(0))
                counts[key] = counts.get(key, 0) + len(values)
                sums[key] = sums.get(key, 0.0) + shifted.sum(0)
                products[key] = products.get(key, 0.0) + shifted.T @ shifted
    if not counts:
        raise DataError("there is no step to measure: the data has no rows")
    return [_rank(*key, products[key] / n - np.outer(sums[key], sums[key]) / n**2, n) for key, n in counts.items()]


def _rank(layer: str, state: str, covariance: Values, count: int) -> StateRank:
    variances: Values = np.maximum(np.linalg.eigvalsh(covariance)[::-1], 0.0).astype(np.float64)
    total, squares = variances.sum(), (variances**2).sum()
    # As numpy.linalg.matrix_rank of the centred states, (count, units), in float32.
    least = np.sqrt(variances.max(initial=0.0)) * max(count, len(variances)) * np.finfo(np.float32).eps
    least = max(least, np.finfo(np.float32).eps)  # what does not move at all has rank 0
    ratio = float(total**2 / squares) if squares > 0 else 0.0
    return StateRank(layer, state, variances, ratio, int((np.sqrt(variances) > least).sum()))


def dead_units(source: Source, *, at_most: float = _STILL) -> list[DeadUnits]:
    """The units of every state with a standard deviation of `at_most` or less over all steps and rows.

    Raises OptionError where `at_most` is below 0, DataError where there are no steps.
    """
    if not real_number("at_most", at_most) >= 0:
        raise OptionError("at_most is a standard deviation", expected="0 or more", got=str(at_most))
    found: list[DeadUnits] = []
    states: dict[str, list[str]] = {}
    moments = by_value(_noting(source, states))
    for (layer, name), moment in moments.items():
        if name in states[layer]:
            deviations = np.sqrt(moment.variance)
            found.append(DeadUnits(layer, name, np.flatnonzero(deviations <= at_most), deviations, moment.mean))
    return found


def _noting(source: Source, states: dict[str, list[str]]) -> Iterator[Activations]:
    """The batches; the names of the states of each layer are noted on the way."""
    for activations in batches_of(source):
        states |= {layer.name: list(layer.states) for layer in activations}
        yield activations


def state_plane(activations: Activations, layer: str | None = None) -> StatePlane:
    """The plane of the first two principal components of a layer's whole state, and its path in it.

    Raises OptionError where there is no such layer, DataError where a state has fewer than two units or steps,
    or is not finite.
    """
    chosen = recorded(activations).layer(layer)
    rows = [whole_state(chosen, row, length) for row, length in enumerate(chosen.lengths.tolist())]
    values = np.concatenate(rows)
    if not np.isfinite(values).all():
        raise DataError(f"the state of layer {chosen.name!r} is not finite at some steps: it lies in no plane")
    if min(values.shape) < 2:
        raise DataError("a plane needs two units and two steps", got=f"{values.shape[1]} units, {len(values)} steps")
    mean = values.mean(0)
    _, deviations, directions = np.linalg.svd(values - mean, full_matrices=False)
    shares = deviations**2 / max((deviations**2).sum(), np.finfo(np.float64).tiny)
    # The sign of a principal direction is arbitrary: the largest weight is positive, so that pictures stay the same.
    main = directions[:2]
    main = main * np.sign(main[[0, 1], np.abs(main).argmax(1)])[:, None]
    return StatePlane(chosen.name, mean, main, shares[:2], tuple((row - mean) @ main.T for row in rows))


def whole_state(layer: LayerActivations, row: int, length: int) -> Values:
    """All states of one row, one after the other, (length, size)."""
    states = [values[:length, row].reshape(length, int(np.prod(values.shape[2:]))) for values in layer.states.values()]
    return np.concatenate(states, axis=-1).astype(np.float64)
