"""The section about torch.nn's cells: one step of some rows at a call, as in reinforcement learning."""

import torch

import gatewright as gw
from benchmarks.names import OURS, TORCH, Record
from benchmarks.races import as_record
from benchmarks.setup import Setup, rounded, tell
from benchmarks.timing import race

KINDS = ("RNNCell", "GRUCell", "LSTMCell")
SIZES = ((32, 1), (64, 1), (64, 8), (128, 1), (128, 8), (256, 1), (256, 8), (512, 1), (512, 16))
"""Units and rows."""
TOLERANCE = 2e-5


def single_cells(setup: Setup) -> list[Record]:
    """As many inputs as units, without gradients, by the compiled engine."""
    sizes = SIZES[:1] if setup.quick else SIZES
    return [_of_cell(setup, kind, hidden, rows) for kind in KINDS for hidden, rows in sizes]


def _of_cell(setup: Setup, kind: str, hidden: int, rows: int) -> Record:
    torch.manual_seed(0)
    theirs = getattr(torch.nn, kind)(hidden, hidden)
    ours = getattr(gw.nn, kind)(hidden, hidden, backend="llvm")
    ours.load_state_dict(theirs.state_dict())
    x, h = torch.randn(rows, hidden), torch.randn(rows, hidden)
    state = (h, torch.randn(rows, hidden)) if kind == "LSTMCell" else h
    cells = {OURS: ours, TORCH: theirs}
    with torch.inference_mode():
        got, want = (_first(cell(x, state)) for cell in cells.values())
        difference = float((got - want).abs().max() / want.abs().max())
        record = {"cell": kind, "hidden": hidden, "batch": rows, "difference": rounded(difference)}
        if not difference <= TOLERANCE:  # false for NaN
            return {**record, "status": "differs", "reason": f"off by {difference:.1e}"}
        calls = {name: (lambda cell=cell: cell(x, state)) for name, cell in cells.items()}
        timings = race(calls, setup.method.shorter(0.2))
    runs = {name: {"status": "timed", **as_record(timing)} for name, timing in timings.items()}
    tell(f"{kind} H={hidden} B={rows}: " + ", ".join(f"{n} {run['median'] * 1e6:.1f} us" for n, run in runs.items()))
    return {**record, "status": "timed", "runs": runs}


def _first(states: torch.Tensor | tuple[torch.Tensor, ...]) -> torch.Tensor:
    return states[0] if isinstance(states, tuple) else states
