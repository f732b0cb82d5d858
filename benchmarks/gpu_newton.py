"""Cells whose units recur each by itself: Newton's iterations over all steps beside the loop."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial

import torch
from torch import Tensor

import gatewright as gw
from benchmarks.gpu_device import BenchmarkDevice, allow_tf32
from benchmarks.gpu_layers import difference
from benchmarks.names import Record
from benchmarks.setup import rounded, tell

TOLERANCE = 1e-3
"""The largest difference between the two, as a share of the largest number."""


@gw.cell
def diagonal_gru(x, h, W, b, p):
    """A GRU whose units see only themselves."""
    r = gw.sigmoid(W.r @ x + p.r * h + b.r)
    z = gw.sigmoid(W.z @ x + p.z * h + b.z)
    n = gw.tanh(W.n @ x + p.n * (r * h) + b.n)
    return z * h + (1 - z) * n


@gw.cell
def diagonal_lstm(x, h, c, W, b, p):
    """An LSTM whose units see only themselves."""
    f = gw.sigmoid(W.f @ x + p.f * h + b.f)
    i = gw.sigmoid(W.i @ x + p.i * h + b.i)
    o = gw.sigmoid(W.o @ x + p.o * h + b.o)
    n = gw.tanh(W.n @ x + p.n * h + b.n)
    c = f * c + i * n
    return o * gw.tanh(c), c


CELLS = {"diagonal_gru": diagonal_gru, "diagonal_lstm": diagonal_lstm}


@dataclass(frozen=True)
class NewtonCase:
    """A layer and a batch; `mode` is "forward" or "training"."""

    cell: str
    units: int
    rows: int
    steps: int
    mode: str

    def __str__(self) -> str:
        """What it is, in words."""
        return f"{self.cell}, {self.units} units, {self.rows} rows, {self.steps} steps, {self.mode}"


def newton_cases(quick: bool) -> Iterator[NewtonCase]:
    """All cases, the most important ones first."""
    if quick:
        yield NewtonCase("diagonal_gru", 4, 2, 3, "training")
        return
    for units, rows, steps in ((1024, 8, 2000), (256, 1, 16384)):
        for cell in CELLS:
            yield from (NewtonCase(cell, units, rows, steps, mode) for mode in ("forward", "training"))


def measured_newton(case: NewtonCase, on: BenchmarkDevice) -> Record:
    """The seconds of both, and how many iterations there were. Weights are as layers are initialised."""
    allow_tf32(allowed=True)
    torch.manual_seed(0)
    layer = gw.nn.Recurrent(CELLS[case.cell], case.units, case.units, backend="triton").to(on.device)
    x = torch.randn(case.steps, case.rows, case.units, device=on.device, requires_grad=case.mode == "training")
    off = difference(
        _results(layer, x, newton=True), [numbers.double() for numbers in _results(layer, x, newton=False)]
    )
    _results(layer, x, newton=True)
    record: Record = {
        **asdict(case),
        "difference": rounded(off),
        "us": {},
        "reports": list(map(str, layer.newton_reports)),
    }
    if not off <= TOLERANCE:  # false for NaN
        return {**record, "error": f"off by {off:.1e} of the largest number"}
    calls = {name: partial(_results, layer, x, newton=name == "newton") for name in ("newton", "loop")}
    record["us"] = {name: rounded(timing.median * 1e6) for name, timing in on.race(calls).items()}
    tell(f"{case}: {record['us']} us, {record['reports']}")
    return record


def _results(layer: gw.nn.Recurrent, x: Tensor, *, newton: bool) -> list[Tensor]:
    layer.newton = newton
    if not x.requires_grad:
        with torch.no_grad():
            return [layer(x)[0]]
    output = layer(x)[0]
    return [output.detach(), *torch.autograd.grad(output, [x, *layer.parameters()], torch.ones_like(output))]
