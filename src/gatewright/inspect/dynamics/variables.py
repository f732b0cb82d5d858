"""Which unit, or which direction of a state, holds a variable such as a carry."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gatewright.errors import DataError, OptionError, ShapeError
from gatewright.inspect.activity.activations import Activations, LayerActivations
from gatewright.inspect.arguments import numbers_of, real_number
from gatewright.inspect.measures.steps import Values, recorded

_RIDGE = 1e-6  # of the mean variance: enough for units that never vary, too little to be seen


@dataclass(frozen=True, eq=False)
class HeldVariable:
    """Where a state holds a variable, and how well it can be read there.

    A score is the share of right answers for a bit, and the share of explained variance (R squared) for a number. It is
    measured on rows, or steps of a single row, that nothing was fitted to.

    - `unit`: the single unit that decodes best where it was fitted; `unit_score`: its score.
    - `unit_scores` (units,): the score of every unit alone.
    - `direction` (units,), `offset`: states @ direction + offset is the number; a bit is 1 where it is above 0.5.
    - `direction_score`: its score. `baseline`: the score of always giving the most frequent bit, or the mean.
    """

    layer: str
    state: str
    is_bit: bool
    unit: int
    unit_score: float
    unit_scores: Values
    direction: Values
    offset: float
    direction_score: float
    baseline: float

    def read(self, states: ArrayLike) -> Values:
        """The variable as it stands in states (..., units): near 0 or 1 for a bit."""
        return np.asarray(states, np.float64) @ self.direction + self.offset


def find_variable(
    activations: Activations,
    values: ArrayLike,
    *,
    layer: str | None = None,
    state: str | None = None,
    held_out: float = 0.5,
) -> HeldVariable:
    """The unit and the direction of a state that hold a variable, such as the carry of an addition.

        carry = gw.inspect.find_variable(activations, carries)       # carries (time, batch), 0 or 1
        carry.unit, carry.unit_score, carry.direction_score

    - `values` (time, batch): what each step's state is to hold after the step; bits (0 and 1, or bool) or numbers. NaN
      where nothing is asked.
    - `layer`, `state`: where to look; by default in every state of every layer, and the best one is given.
    - `held_out`: the share of rows to measure on; of the last steps where there is a single row.

    A direction is fitted by least squares, which is the linear discriminant for a bit. Raises OptionError where there
    is no such layer or state, or where `values` do not vary or are infinite; ShapeError where they do not fit;
    DataError where a state is not finite.
    """
    targets = numbers_of("values", values)
    layers = _looked_at(recorded(activations), layer)
    shape = (layers[0].steps, len(layers[0].lengths))
    if targets.shape != shape:
        raise ShapeError("there is not one value a step", expected=f"{shape}, (time, batch)", got=str(targets.shape))
    valid = layers[0].mask() & ~np.isnan(targets)
    if not np.isfinite(targets[valid]).all():
        raise OptionError("the values are not finite", expected="numbers, and NaN where nothing is asked")
    fitting = _fitted_part(valid, held_out)
    measuring = valid & ~fitting
    if len(np.unique(targets[fitting])) < 2 or not measuring.any():
        raise OptionError(
            "the values do not vary where they are fitted, or none is left to measure on",
            got=f"{int(fitting.sum())} steps to fit, {int(measuring.sum())} to measure",
            do="look at more rows, or at longer ones",
        )
    fits = [
        _fit(each_layer, name, targets, fitting, measuring)
        for each_layer in layers
        for name in (each_layer.states if state is None else (state,))
    ]
    return max(fits, key=lambda fit: fit[0])[1]


def _looked_at(activations: Activations, layer: str | None) -> list[LayerActivations]:
    """The layer of a name, or all layers whose steps are those of the rows."""
    if layer is not None:
        return [activations.layer(layer)]
    layers = [own for own in activations if activations.has_steps_of(own)]
    if not layers:
        raise OptionError(
            "no layer has a step for each step of the rows", expected=f"layer: {', '.join(activations.layers)}"
        )
    return layers


def _fitted_part(valid: NDArray[np.bool_], held_out: float) -> NDArray[np.bool_]:
    """The steps to fit on: whole rows where there are several, the first steps of a single row."""
    if not 0 < real_number("held_out", held_out) < 1:
        raise OptionError("held_out is a share", expected="above 0 and below 1", got=str(held_out))
    fitting = valid.copy()
    rows = valid.shape[1]
    if rows == 1:
        fitting[round(len(valid) * (1 - held_out)) :] = False
    else:
        fitting[:, max(1, round(rows * (1 - held_out))) :] = False
    return fitting


def _fit(
    layer: LayerActivations,
    name: str,
    targets: Values,
    fitting: NDArray[np.bool_],
    measuring: NDArray[np.bool_],
) -> tuple[float, HeldVariable]:
    """The score where it was fitted, to choose by, and what was found."""
    states = layer.values(name)[: layer.steps].reshape(*targets.shape, -1).astype(np.float64)
    if not np.isfinite(states[fitting | measuring]).all():
        raise DataError(f"state {name!r} of layer {layer.name!r} is not finite at some steps")
    own, other = states[fitting], states[measuring]
    wanted, asked = targets[fitting], targets[measuring]
    is_bit = bool(np.isin(targets[fitting | measuring], (0, 1)).all())
    score = _right if is_bit else _explained
    slopes, offsets = _single_units(own, wanted, is_bit=is_bit)
    fitted = [score(own[:, unit] * slopes[unit] + offsets[unit], wanted) for unit in range(own.shape[1])]
    scores = np.array([score(other[:, unit] * slopes[unit] + offsets[unit], asked) for unit in range(own.shape[1])])
    unit = int(np.argmax(fitted))
    direction, offset = _least_squares(own, wanted, is_bit=is_bit)
    constant = np.full(len(asked), round(wanted.mean()) if is_bit else wanted.mean())
    held = HeldVariable(
        layer=layer.name,
        state=name,
        is_bit=is_bit,
        unit=unit,
        unit_score=float(scores[unit]),
        unit_scores=scores,
        direction=direction,
        offset=offset,
        direction_score=score(other @ direction + offset, asked),
        baseline=score(constant, asked),
    )
    return score(own @ direction + offset, wanted), held


def _single_units(states: Values, wanted: Values, *, is_bit: bool) -> tuple[Values, Values]:
    """For each unit the line through its values, (units,) slopes and offsets."""
    fits = [_least_squares(states[:, [unit]], wanted, is_bit=is_bit) for unit in range(states.shape[1])]
    return np.array([slope[0] for slope, _ in fits]), np.array([offset for _, offset in fits])


def _least_squares(states: Values, wanted: Values, *, is_bit: bool) -> tuple[Values, float]:
    """Direction and offset. For a bit 0.5 lies half-way between the means of both classes, however rare one is."""
    mean = states.mean(0)
    centred = states - mean
    covariance = centred.T @ centred / len(states)
    ridge = _RIDGE * max(np.trace(covariance) / len(covariance), np.finfo(np.float64).tiny)
    slopes = np.linalg.solve(
        covariance + ridge * np.eye(len(covariance)), centred.T @ (wanted - wanted.mean()) / len(states)
    )
    if not is_bit:
        return slopes, float(wanted.mean() - mean @ slopes)
    read = states @ slopes
    low, high = read[wanted == 0].mean(), read[wanted == 1].mean()
    if high <= low:
        return np.zeros_like(slopes), float(round(wanted.mean()))
    return slopes / (high - low), float(-low / (high - low))


def _right(read: Values, wanted: Values) -> float:
    return float(((read > 0.5) == (wanted == 1)).mean())


def _explained(read: Values, wanted: Values) -> float:
    spread = ((wanted - wanted.mean()) ** 2).sum()
    return float(1 - ((read - wanted) ** 2).sum() / max(spread, np.finfo(np.float64).tiny))
