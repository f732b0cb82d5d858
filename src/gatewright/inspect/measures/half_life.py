"""How long each unit remembers, by the gates that keep its state."""

from dataclasses import dataclass

import numpy as np

from gatewright.errors import DataError
from gatewright.inspect.measures.kept_states import kept_states
from gatewright.inspect.measures.steps import Source, Values, batches_of, valid_steps

_LEAST = np.finfo(np.float32).tiny


@dataclass(frozen=True, eq=False)
class HalfLife:
    """`steps` (units,): after so many steps half of a unit's state is left, at the geometric mean of the share kept.

    It is infinite for a unit that keeps all of its state, or makes it larger. `gate` decides how much is kept: all of
    it when the gate is 1, or when it is 0. Where several gates do, as f and i in f / (f + i), they are "f, i".
    """

    layer: str
    gate: str
    steps: Values


def half_life(source: Source) -> list[HalfLife]:
    """The half-life of every unit of layers with gates that keep or replace the old state.

    Which share of the old state is in the new one is computed from the equations: z, 1 - z, f / (f + i). After n steps
    the product of n such shares is left, so the half-life is log(1/2) over the mean logarithm of the share. What the
    unit writes into itself again, through the recurrent matrices, is not in it: see `effective_memory`. A layer is left
    out where other values than its gates decide the share. Raises DataError where there are no steps.
    """
    sums: dict[tuple[str, str], Values] = {}
    counts: dict[tuple[str, str], int] = {}
    steps = 0
    for activations in batches_of(source):
        for layer in activations:
            steps += int(layer.lengths.sum())
            for kept in kept_states(layer.trace):
                share = kept.share({gate: valid_steps(layer, gate) for gate in kept.gates})
                key = (layer.name, ", ".join(kept.gates))
                logarithms = np.log(np.clip(np.abs(share), _LEAST, None)).sum(0)
                sums[key] = sums.get(key, np.zeros(share.shape[1])) + logarithms
                counts[key] = counts.get(key, 0) + len(share)
    if not steps:
        raise DataError("there is no step to measure: the data has no rows")
    with np.errstate(divide="ignore"):  # a share that is always 1 is never halved
        return [HalfLife(*key, np.log(2) / np.maximum(-total / counts[key], 0.0)) for key, total in sums.items()]
