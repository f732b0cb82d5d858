"""What of an input is still in the state at later steps, as gates alone decide it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gatewright.errors import OptionError
from gatewright.inspect.activity.activations import Activations, LayerActivations
from gatewright.inspect.arguments import whole_number
from gatewright.inspect.measures.kept_states import KeptState, kept_states
from gatewright.inspect.measures.steps import Values, recorded
from gatewright.trace.kept_share import kept_share
from gatewright.trace.roles import GateRoles, added_value

_SETTINGS = (0.3, 0.6)  # of all gates, to compare what is added to a state
_TRIES = 6
_TINY = 1e-9


@dataclass(frozen=True, eq=False)
class CopiedInput:
    """What of a step's candidate is still in the state at later steps, as gates alone decide it.

    - `gate`: the gate that keeps or replaces the state, or several, as "f, i"; `writes`: the gate that lets the
      candidate in, where it is another one.
    - `written` (units,): the share of the candidate that the step lets in: 1 - z, z, or i.
    - `kept` (steps, units): the share of that which is left after each step from there on; 1 at the step itself.
    - `is_backward`: whether the layer reads from the end. Then the steps from there on are those before it.
    """

    layer: str
    gate: str
    writes: str
    row: int
    step: int
    written: Values
    kept: Values
    is_backward: bool = False

    @property
    def copied(self) -> Values:
        """The share of the candidate in the state after each step, (steps, units)."""
        return self.written * self.kept


def copied_input(activations: Activations, step: int, *, row: int = 0, layer: str | None = None) -> CopiedInput:
    """How much of what a layer reads at a step is still in each unit's state at every later step of a row.

        copied = gw.inspect.copied_input(activations, step=3)
        copied.copied[10]                 # (units,): after ten more steps

    Which gates keep, replace and write is computed from the equations. To use the input of step t' at step t, z of a
    GRU is 0 at t' and 1 from t' + 1 to t: then the share is 1. What units write into each other is not in it. A layer
    that reads from the end has read the step at that step and those before it.

    Raises OptionError where there is no such layer, row or step, or where the layer has no such gate.
    """
    chosen = recorded(activations).layer(layer)
    if not 0 <= whole_number("row", row) < len(chosen.lengths):
        raise OptionError(f"there is no row {row}", expected=f"0 to {len(chosen.lengths) - 1}")
    length = int(chosen.lengths[row])
    if not 0 <= whole_number("step", step) < length:
        raise OptionError(f"row {row} has no step {step}", expected=f"0 to {length - 1}")
    kept = next(iter(kept_states(chosen.trace)), None)
    if kept is None:
        raise OptionError(f"no gate of layer {chosen.name!r} keeps or replaces its state", got=", ".join(chosen.gates))
    since = slice(step, None, -1) if chosen.is_backward else slice(step, length)
    values = {name: array[since, row].astype(np.float64) for name, array in chosen.gates.items()}
    share = kept.share({gate: values[gate] for gate in kept.gates})
    gate = ", ".join(kept.gates)
    writes = _writer(chosen, kept)
    written = _written(kept, share[0]) if writes is None else values[writes][0]
    left = np.cumprod(np.concatenate([np.ones_like(share[:1]), share[1:]]), axis=0).astype(np.float64)
    return CopiedInput(chosen.name, gate, writes or gate, row, step, written, left, chosen.is_backward)


def _writer(layer: LayerActivations, kept: KeptState) -> str | None:
    """The gate that scales what is added to the state that is kept, where it is one of its own."""
    roles: GateRoles = layer.roles
    return next((name for name, partner in roles.writes.items() if partner in kept.gates and name in layer.gates), None)


def _written(kept: KeptState, share: Values) -> Values:
    """The share of the candidate that is added: what is not kept, or all of it.

    Raises OptionError where it is something else.
    """
    low, high = (dict.fromkeys(kept.gates, value) for value in _SETTINGS)
    lets_in = [1 - _share(kept, gates) for gates in (low, high)]
    added = [[added_value(kept.trace, kept.state, gates, each) for gates in (low, high)] for each in range(_TRIES)]
    if all(abs(one * lets_in[1] - other * lets_in[0]) < _TINY for one, other in added):
        return 1 - share
    if all(abs(one - other) < _TINY for one, other in added):
        return np.ones_like(share)
    raise OptionError(
        f"how much the gates {', '.join(kept.gates)} of {kept.trace.name!r} let in cannot be told from its equations",
        do="look at the gates themselves",
    )


def _share(kept: KeptState, gates: Mapping[str, float]) -> float:
    return float(kept_share(kept.trace, kept.state, gates) or 0.0)
