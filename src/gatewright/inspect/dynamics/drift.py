"""Whether a state stays where training has seen it when a sequence is longer than those of training."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError, OptionError
from gatewright.inspect.activity.activations import LayerActivations
from gatewright.inspect.arguments import real_number, whole_number
from gatewright.inspect.measures.steps import Source, Values, batches_of

NEVER = -1


@dataclass(frozen=True, eq=False)
class Drift:
    """One state of a layer by step, over all rows. A layer that reads from the end takes its first step there.

    - `trained`: the steps that training saw.
    - `norms` (steps,): the mean length of the state.
    - `means`, `lowest`, `highest` (steps, units): over the rows that have the step.
    - `low`, `high` (units,): the range of each unit within the trained length.
    - `outside` (steps,): the share of units that are out of their range in some row, by more than the margin.
    - `leaves` (units,): the first step after the trained length at which a unit is outside; -1 where it never is.
    """

    layer: str
    state: str
    trained: int
    norms: Values
    means: Values
    lowest: Values
    highest: Values
    low: Values
    high: Values
    outside: Values
    leaves: NDArray[np.int64]

    @property
    def first(self) -> int | None:
        """The first step at which a unit is outside; None where none ever is."""
        left = self.leaves[self.leaves != NEVER]
        return int(left.min()) if left.size else None


@dataclass(eq=False)
class _BySteps:
    """Sums and extremes by step, which grow with longer batches."""

    counts: Values = field(default_factory=lambda: np.zeros(0))
    norms: Values = field(default_factory=lambda: np.zeros(0))
    sums: Values = field(default_factory=lambda: np.zeros((0, 0)))
    lowest: Values = field(default_factory=lambda: np.zeros((0, 0)))
    highest: Values = field(default_factory=lambda: np.zeros((0, 0)))

    def add(self, values: Values, valid: NDArray[np.bool_]) -> None:
        """Take (time, batch, units) into account, where `valid` (time, batch) is true."""
        steps, units = len(values), values.shape[-1]
        self._grow(steps, units)
        zeros = np.where(valid[..., None], values, 0.0)
        self.counts[:steps] += valid.sum(1)
        self.norms[:steps] += np.linalg.norm(zeros, axis=-1).sum(1)
        self.sums[:steps] += zeros.sum(1)
        low = np.where(valid[..., None], values, np.inf).min(1, initial=np.inf)
        high = np.where(valid[..., None], values, -np.inf).max(1, initial=-np.inf)
        self.lowest[:steps] = np.minimum(self.lowest[:steps], low)
        self.highest[:steps] = np.maximum(self.highest[:steps], high)

    def _grow(self, steps: int, units: int) -> None:
        more = steps - len(self.counts)
        if more > 0 or self.sums.shape[1] != units:
            self.counts = np.concatenate([self.counts, np.zeros(more)])
            self.norms = np.concatenate([self.norms, np.zeros(more)])
            for name, value in (("sums", 0.0), ("lowest", np.inf), ("highest", -np.inf)):
                rows = getattr(self, name).reshape(-1, units)
                setattr(self, name, np.concatenate([rows, np.full((more, units), value)]))


def drift(source: Source, trained: int, *, margin: float = 0.1) -> list[Drift]:
    """Every state by step, and where it leaves the range that it has within the trained length.

        drifts = gw.inspect.drift(gw.inspect.observe(run, [(2**60 - 1, 1)]), trained=5)

    - `source`: activations over sequences longer than those of training, or a stream of them.
    - `trained`: the steps that training saw.
    - `margin`: how far out of its range a unit is outside, as a share of the range. Longer sequences are more samples,
      so that a unit goes a little out of its range by chance alone.

    Raises OptionError where no sequence is longer than `trained` or the margin is below 0, DataError where there is no
    step.
    """
    whole_number("trained", trained)
    tables: dict[tuple[str, str], _BySteps] = {}
    for activations in batches_of(source):
        for layer in activations:
            for state in layer.states:
                tables.setdefault((layer.name, state), _BySteps()).add(_by_units(layer, state), layer.mask())
    if not real_number("margin", margin) >= 0:
        raise OptionError("margin is a share of the range", expected="0 or more", got=str(margin))
    if not any(table.counts.sum() for table in tables.values()):
        raise DataError("there is no step to measure: the data has no rows")
    longest = max(np.count_nonzero(table.counts) for table in tables.values())
    if not 1 <= trained < longest:
        raise OptionError(
            f"no sequence is longer than the {trained} steps of training" if trained > 0 else "training saw no step",
            expected=f"trained from 1 to {longest - 1}",
            got=str(trained),
            do="look at longer sequences",
        )
    return [_drift(*key, table, trained, margin) for key, table in tables.items()]


def _by_units(layer: LayerActivations, state: str) -> Values:
    """A state (steps, batch, units) in the order in which they were read; a matrix of a state is a row of units."""
    values = layer.values(state)[: layer.steps]
    if layer.is_backward:
        steps = np.arange(layer.steps)[:, None]
        order = np.where(steps < layer.lengths, layer.lengths - 1 - steps, steps)
        values = values[order, np.arange(len(layer.lengths))]
    return values.reshape(*values.shape[:2], int(np.prod(values.shape[2:]))).astype(np.float64)


def _drift(layer: str, state: str, table: _BySteps, trained: int, margin: float) -> Drift:
    steps = np.count_nonzero(table.counts)
    counts, lowest, highest = table.counts[:steps], table.lowest[:steps], table.highest[:steps]
    low, high = lowest[:trained].min(0), highest[:trained].max(0)
    allowed = margin * (high - low)
    # A NaN, of a state that has grown beyond all numbers, is outside as well.
    is_outside = ~((lowest >= low - allowed) & (highest <= high + allowed))
    is_outside[:trained] = False
    leaves = np.where(is_outside.any(0), is_outside.argmax(0), NEVER)
    norms, means = table.norms[:steps] / counts, table.sums[:steps] / counts[:, None]
    return Drift(
        layer, state, trained, norms, means, lowest, highest, low, high, is_outside.mean(1), leaves.astype(np.int64)
    )
