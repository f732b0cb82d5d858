"""How long each unit remembers, by the gate that keeps its state."""

from dataclasses import dataclass

import numpy as np

from gatewright.errors import DataError
from gatewright.inspect.measures.steps import Source, Values, batches_of, valid_steps

_LEAST = np.finfo(np.float32).tiny


@dataclass(frozen=True, eq=False)
class HalfLife:
    """`steps` (units,): after so many steps half of a unit's state is left, at the geometric mean of its gate.

    It is infinite for a gate that was 1 throughout. `gate` keeps the state when it is 1; where it replaces the state,
    1 less the gate was taken.
    """

    layer: str
    gate: str
    steps: Values


def half_life(source: Source) -> list[HalfLife]:
    """The half-life of every unit of layers with a gate that keeps or replaces the old state.

    Which gates do is computed from the equations. The state of unit u after n steps holds the product of n values of
    its gate as its share of the old one, so its half-life is log(1/2) over the mean logarithm of the gate. What the
    unit writes into itself again, through the recurrent matrices, is not in it: see `effective_memory`. Raises
    DataError where there are no steps.
    """
    sums: dict[tuple[str, str], Values] = {}
    counts: dict[tuple[str, str], int] = {}
    steps = 0
    for activations in batches_of(source):
        for layer in activations:
            steps += int(layer.lengths.sum())
            for gate, sign in layer.roles.signs().items():
                if gate not in layer.gates:
                    continue
                values, key = valid_steps(layer, gate), (layer.name, gate)
                kept = values if sign > 0 else 1 - values
                logarithms = np.log(np.clip(kept, _LEAST, None)).sum(0)
                sums[key] = sums.get(key, np.zeros(values.shape[1])) + logarithms
                counts[key] = counts.get(key, 0) + len(values)
    if not steps:
        raise DataError("there is no step to measure: the data has no rows")
    with np.errstate(divide="ignore"):  # a gate that is always 1 never forgets
        return [HalfLife(*key, np.log(2) / np.abs(total / counts[key])) for key, total in sums.items()]
