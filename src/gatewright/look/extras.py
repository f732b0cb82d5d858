"""What a page shows beside the activations: measures that take a model, and time to compute."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gatewright.inspect.dynamics.drift import Drift
from gatewright.inspect.dynamics.state_space import DeadUnits, StateRank
from gatewright.inspect.dynamics.variables import HeldVariable
from gatewright.inspect.dynamics.watched import WatchedGradients

Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Contributions:
    """How much each step of a row contributed to the outputs.

    - `values`: by lag (outputs, lags), at [t, k] what step t - k contributed to the output of step t; else
      (outputs, steps), at [k, t] what step t contributed to output k. NaN where nothing was measured.
    - `first`: without lags, the step at which the first of several outputs stands, such as that of a forecast.
    """

    values: Values
    by_lag: bool = True
    first: int = 0


@dataclass(frozen=True, eq=False)
class MemoryCurve:
    """The mean norm of the derivative of the last state, or of the output, by what was read `lag` steps before.

    - `norms` (lags,): of the whole, from lag 0 on. `by_unit` (lags, units): of each unit of `layer`, where known.
    """

    norms: Values
    by_unit: Values | None = None
    layer: str = ""


@dataclass(frozen=True, eq=False)
class LayerDynamics:
    """A recurrent layer, with all of its levels, as a map from state to state.

    - `layer`: its path. `note`: why nothing was measured; all else is empty then.
    - `read`: the constant input, in words. `residual`: |F(h) - h| at the state that was found, `is_fixed` whether that
      is a fixed point. `eigenvalues` (size,): of the Jacobian there, complex.
    - `exponents` (count,): the largest Lyapunov exponents along `steps` steps of the first row.
    """

    layer: str
    note: str = ""
    read: str = ""
    residual: float = 0.0
    is_fixed: bool = False
    eigenvalues: NDArray[np.complex128] = field(default_factory=lambda: np.zeros(0, np.complex128))
    exponents: Values = field(default_factory=lambda: np.zeros(0))
    steps: int = 0


@dataclass(frozen=True, eq=False)
class HeldCarry:
    """The carry of an addition in the state: where it is held, and what the state says of it in rows of the page.

    - `read`, `carries`: by row, (steps,): the direction's reading after each step, and the carry that arithmetic gives.
    """

    held: HeldVariable
    read: Mapping[int, Values]
    carries: Mapping[int, NDArray[np.int64]]


@dataclass(frozen=True, eq=False)
class Extras:
    """Measures that are shown where they are there.

    - `contributions`: by the number of the row.
    - `effective_memory`: by the name of a layer or a model.
    - `dynamics`, `ranks`, `dead`, `drifts`, `carry`: what the state does.
    - `training`: the gradient norms that `train --watch` measured.
    """

    contributions: Mapping[int, Contributions] = field(default_factory=dict[int, Contributions])
    effective_memory: Mapping[str, MemoryCurve] = field(default_factory=dict[str, MemoryCurve])
    dynamics: Sequence[LayerDynamics] = ()
    ranks: Sequence[StateRank] = ()
    dead: Sequence[DeadUnits] = ()
    drifts: Sequence[Drift] = ()
    carry: HeldCarry | None = None
    training: Sequence[WatchedGradients] = ()


NO_EXTRAS = Extras()
