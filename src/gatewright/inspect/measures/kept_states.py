"""Which states of a cell are kept by gates, and which share of the old one is kept: computed from the equations."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from gatewright.inspect.measures.steps import Values
from gatewright.trace import Trace
from gatewright.trace.ir import Var
from gatewright.trace.kept_share import kept_share

_STEP = 0.05  # by which a gate is changed to see whether it counts


@dataclass(frozen=True)
class KeptState:
    """A state, and the gates that decide together which share of the old one is in the new one."""

    trace: Trace
    state: Var
    gates: tuple[str, ...]

    def share(self, values: Mapping[str, Values]) -> Values:
        """The share at values of the gates, an array of the same shape."""
        return np.asarray(kept_share(self.trace, self.state, values), np.float64)


@lru_cache(maxsize=256)
def kept_states(trace: Trace) -> tuple[KeptState, ...]:
    """The states that gates keep; of several with the same share the first one.

    A state is left out where other values than those of gates decide the share.
    """
    drawn = np.random.default_rng(0)
    computed = trace.definitions()
    numbers = {name: float(drawn.uniform(0.2, 0.9)) for name, gate in trace.gates if gate.name in computed}
    states: dict[tuple[tuple[str, ...], float], KeptState] = {}
    for state in trace.states:
        share = kept_share(trace, state, numbers)
        if share is None:
            continue
        changed = {name: kept_share(trace, state, {**numbers, name: numbers[name] + _STEP}) for name in numbers}
        gates = tuple(name for name in numbers if changed[name] != share)
        if gates:
            states.setdefault((gates, share), KeptState(trace, state, gates))
    return tuple(states.values())
