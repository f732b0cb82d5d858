"""The cells that streams are tested with, and their numbers."""

from collections.abc import Mapping

import numpy as np

import gatewright as gw
from gatewright import cells
from gatewright.axes import bind
from gatewright.trace import Trace, trace_cell


@gw.cell(spaces={"a": ()})
def leaky(x, h, W, U, b, a):
    """A cell of a user's own: a scalar parameter, a softplus, a square."""
    gate = gw.sigmoid(W.gate @ x + b.gate)
    new = gw.tanh(W.new @ x + U.new @ (gate * h) + b.new)
    keep = gw.sigmoid(a.keep) * gw.softplus(gate)
    return keep * h + (1 - keep) * new**2


CELLS = {
    "gru": cells.gru,
    'gru(reset="after")': cells.gru(reset="after"),
    "lstm": cells.lstm,
    "layer_norm(lstm)": gw.layer_norm(cells.lstm),
    "sru": cells.sru,
    "slstm": cells.slstm,
    "mingru": cells.mingru,
    "scrn": cells.scrn,
    "zoneout(gru)": gw.zoneout(0.3)(cells.gru),
    "masked(lstm)": gw.masked(cells.lstm),
    "leaky": leaky,
    "tau_gru(delay=2)": cells.tau_gru(delay=2),
}
# No size is a multiple of another, nor of the width of a vector register.
SIZES = {"input": 7, "hidden": 19, "context": 5, "projection": 6, "input_rank": 4, "hidden_rank": 9}


def sizes_of(trace: Trace) -> dict[str, int]:
    """SIZES, with an input as wide as what it is added to."""
    equal = any(equation.op == "relabel" for equation in trace.equations)
    return {**SIZES, "input": SIZES["hidden"]} if equal else SIZES


def draw(trace: Trace, rng: np.random.Generator, dtype: str, sizes: Mapping[str, int] | None = None):
    """Parameters by name."""
    sizes = sizes or sizes_of(trace)
    return {
        param.name: np.asarray(rng.standard_normal(bind(param.shape, sizes)) * 0.4).astype(dtype)
        for param in trace.params
    }


def trace_named(name: str) -> Trace:
    return trace_cell(CELLS[name])
