"""How fast small changes of a state grow or shrink along a sequence of inputs."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from torch import nn

from gatewright.errors import DataError, OptionError, ShapeError
from gatewright.inspect.arguments import generator, numbers_of, whole_number
from gatewright.inspect.dynamics.state_map import StateMap, Values, finite, state_map


@dataclass(frozen=True, eq=False)
class LyapunovSpectrum:
    """The Lyapunov exponents of a layer along sequences, in 1 / step, the largest first.

    - `exponents` (count,): the mean over the rows. A change of the state grows as exp(exponent * steps): above 0 the
      layer is chaotic, below 0 it forgets, near 0 it remembers.
    - `by_row` (rows, count): of each sequence.
    - `running` (steps, count): the mean over the rows of what each exponent is after so many steps; it levels off.
    """

    exponents: Values
    by_row: Values
    running: Values

    @property
    def half_lives(self) -> Values:
        """Steps until half of a change along each direction is left; infinite where it does not shrink."""
        return np.where(self.exponents < 0, np.log(2) / np.maximum(-self.exponents, 1e-300), np.inf)

    @property
    def dimension(self) -> float:
        """The dimension of the attractor by Kaplan and Yorke; needs so many exponents that their sum is negative.

        It is NaN where all exponents that were computed sum to more than 0.
        """
        sums = np.cumsum(self.exponents)
        growing = np.flatnonzero(sums >= 0)
        if not growing.size:
            return 0.0
        last = int(growing[-1])
        if last + 1 == len(sums):
            return float("nan")
        return last + 1 + float(sums[last] / abs(self.exponents[last + 1]))

    @property
    def entropy_rate(self) -> float:
        """The sum of the positive exponents: how fast states that cannot be told apart part, in nats a step."""
        return float(self.exponents[self.exponents > 0].sum())


def lyapunov_spectrum(
    layer: nn.Module,
    inputs: ArrayLike,
    *,
    count: int | None = None,
    warm_up: int = 0,
    states: ArrayLike | None = None,
    seed: int = 0,
) -> LyapunovSpectrum:
    """The Lyapunov exponents of a layer while it reads `inputs` (Engelken, Wolf & Abbott 2020, arXiv:2006.02427).

        spectrum = gw.inspect.lyapunov_spectrum(layer, np.random.default_rng(0).normal(size=(1000, 3)))

    `count` orthonormal changes of the state are taken through the derived Jacobian of every step and made orthonormal
    again by QR; the exponents are the mean logarithms of the diagonal of R.

    - `inputs` (steps, features), or (steps, rows, features) for several sequences.
    - `count`: how many exponents, the largest; all of them by default.
    - `warm_up`: steps at the beginning that are not counted, in which the state comes to where it stays.
    - `states` (rows, size): the first states, all states of the cell one after the other; zero by default.

    An exponent is -inf where a direction is forgotten in one step. Raises OptionError for a layer that is no map from
    one step to the next, for inputs that are not finite, and for a `count` or `warm_up` that cannot be; ShapeError
    where arrays do not fit, DataError where the state grows beyond all numbers.
    """
    system = state_map(layer)
    sequence = _as_sequence(system, inputs)
    steps, rows, _ = sequence.shape
    count = system.size if count is None else whole_number("count", count)
    if not 1 <= count <= system.size:
        raise OptionError("there are no so many exponents", expected=f"count from 1 to {system.size}", got=str(count))
    if not 0 <= whole_number("warm_up", warm_up) < steps:
        problem = "no step is left after the warm-up"
        raise OptionError(problem, expected=f"warm_up from 0 to {steps - 1}", got=str(warm_up))
    current = np.zeros((rows, system.size)) if states is None else system.as_states(states)
    if len(current) != rows:
        raise ShapeError(
            "there is not one state a sequence", expected=f"({rows}, {system.size})", got=str(current.shape)
        )
    drawn = generator(seed).normal(size=(rows, system.size, count))
    directions = np.linalg.qr(drawn)[0].swapaxes(1, 2)
    growth = np.zeros((steps - warm_up, rows, count))
    for step, read in enumerate(sequence):
        with np.errstate(all="ignore"):  # a state that grows without bound is refused below
            current, moved = system.push(current, read, directions)
        if not (np.isfinite(current).all() and np.isfinite(moved).all()):
            raise DataError(f"the state has grown beyond all numbers after {step + 1} steps", do="look at fewer steps")
        orthonormal, triangular = np.linalg.qr(moved.swapaxes(1, 2))
        directions = orthonormal.swapaxes(1, 2)
        if step >= warm_up:
            with np.errstate(divide="ignore"):  # what is forgotten at once has the logarithm of 0
                growth[step - warm_up] = np.log(np.abs(np.diagonal(triangular, axis1=1, axis2=2)))
    running = np.cumsum(growth, axis=0) / np.arange(1, len(growth) + 1)[:, None, None]
    by_row = np.sort(running[-1], axis=-1)[:, ::-1]
    return LyapunovSpectrum(np.sort(by_row.mean(0))[::-1], by_row, running.mean(1))


def _as_sequence(system: StateMap, inputs: ArrayLike) -> Values:
    values = numbers_of("the inputs", inputs)
    values = values[:, None] if values.ndim == 2 else values
    if values.ndim != 3 or values.shape[-1] != system.features or 0 in values.shape[:2]:
        expected = f"(steps, {system.features}) or (steps, rows, {system.features}), not empty"
        raise ShapeError("the inputs do not fit the layer", expected=expected, got=str(np.shape(inputs)))
    return finite(values, "the inputs")
