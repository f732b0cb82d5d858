"""Layers on a GPU beside cuDNN and torch, operation by operation: the same numbers first, then the times."""

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial

import torch
from torch import Tensor

import gatewright as gw
from benchmarks.gpu_device import BenchmarkDevice
from benchmarks.names import Record
from benchmarks.setup import rounded, tell
from gatewright.errors import GatewrightError

METHODS = ("triton", "cudnn", "torch")
TOLERANCES = {"tf32": 5e-3, "bfloat16": 5e-2}
"""The largest difference from float64, as a share of the largest number, for which a method is timed: operands of
products have 11 bits and 8, and errors add up over steps and gates."""
CHECKED_STEPS = 64
"""Longer sequences are compared over their first steps: in float64 a step takes milliseconds."""


@gw.cell
def own(x, h, W, U, b, p):
    """A cell that nobody else has: a GRU with a gate that looks at the state unit by unit."""
    z = gw.sigmoid(W.z @ x + U.z @ h + p.z * h + b.z)
    n = gw.tanh(W.n @ x + gw.relu(U.n @ h) + b.n)
    return z * h + (1 - z) * n


CELLS: dict[str, gw.Cell] = {
    "gru": gw.cells.gru(reset="after"),
    "gru(before)": gw.cells.gru,
    "lstm": gw.cells.lstm,
    "lstm_peephole": gw.cells.lstm_peephole,
    "layer_norm(gru)": gw.layer_norm(gw.cells.gru),
    "layer_norm(lstm)": gw.layer_norm(gw.cells.lstm),
    "own": own,
}


@dataclass(frozen=True)
class LayerCase:
    """A layer and a batch. `dtype` is "tf32" or "bfloat16"; `mode` is "forward", "training" or "second"."""

    cell: str
    units: int
    rows: int
    steps: int
    dtype: str
    mode: str

    @property
    def title(self) -> str:
        """What it is, in words."""
        return f"{self.cell}, {self.units} units, {self.rows} rows, {self.steps} steps, {self.dtype}, {self.mode}"


def layer_cases(*, quick: bool) -> Iterator[LayerCase]:
    """All cases, the most important ones first."""
    if quick:
        yield LayerCase("own", 16, 3, 3, "tf32", "training")
        yield LayerCase("gru", 16, 3, 3, "bfloat16", "forward")
        yield LayerCase("gru", 16, 3, 3, "tf32", "second")
        return
    for mode in ("forward", "training"):
        for dtype in ("bfloat16", "tf32"):
            for units in (64, 128, 256, 512, 1024):
                yield from (LayerCase(cell, units, 32, 512, dtype, mode) for cell in ("gru", "lstm"))
    for mode in ("training", "forward"):
        yield from (LayerCase(cell, 128, 32, 512, "bfloat16", mode) for cell in list(CELLS)[1:])
    yield from (LayerCase(cell, 128, 32, 64, "tf32", "second") for cell in ("gru", "lstm", "own"))
    yield from (LayerCase("gru", units, rows, 512, "bfloat16", "forward") for units in (128, 512) for rows in (1, 128))
    yield from (LayerCase("lstm", units, 16, 1024, "bfloat16", "forward") for units in (64, 128, 768))
    yield from (LayerCase("gru", 128, 32, steps, "bfloat16", "training") for steps in (64, 4096))
    yield from (LayerCase(cell, 512, 32, 512, "tf32", "training") for cell in list(CELLS)[1:])


def measured_layer(case: LayerCase, on: BenchmarkDevice) -> Record:
    """The seconds of each method that has the cell and gives the right numbers; why the others have none."""
    torch.manual_seed(0)
    layer = gw.nn.Recurrent(CELLS[case.cell], case.units, case.units).to(on.device)
    x = torch.randn(case.steps, case.rows, case.units, device=on.device)
    x.requires_grad_(case.mode != "forward")
    first = x[:CHECKED_STEPS].detach().requires_grad_(x.requires_grad)
    exact = _with_backend(copy.deepcopy(layer).double(), "torch")
    expected = _results(exact, first.detach().double().requires_grad_(x.requires_grad), case, nullcontext())
    record: Record = {**asdict(case), "runs": {}, "absent": {}}
    calls: dict[str, Callable[[], object]] = {}
    for method in METHODS:
        try:
            _with_backend(layer, method)
            numbers = _results(layer, first, case, _precision(case, on))
        except (GatewrightError, RuntimeError) as error:
            record["absent"][method] = str(error).partition("\n")[0]
            continue
        difference = max(map(_difference, numbers, expected))
        record.setdefault("difference", {})[method] = rounded(difference)
        if not difference <= TOLERANCES[case.dtype]:  # false for NaN
            record["absent"][method] = f"off by {difference:.1e} of the largest number"
            continue
        calls[method] = partial(_timed, layer, x, case, on, method)
    record["plan"] = str(_with_backend(layer, "auto").plan()).partition("\n")[0]
    for method, timing in on.race(calls).items() if calls else ():
        record["runs"][method] = {
            "us": rounded(timing.median * 1e6),
            "us_a_step": rounded(timing.median * 1e6 / case.steps),
        }
    told = ", ".join(f"{method} {run['us_a_step']} us a step" for method, run in record["runs"].items())
    tell(f"{case.title}: {told}")
    return record


def _with_backend(layer: gw.nn.Recurrent, backend: str) -> gw.nn.Recurrent:
    layer.backend = backend
    return layer


def _precision(case: LayerCase, on: BenchmarkDevice) -> AbstractContextManager[object]:
    """The dtype of products, as users ask for it."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    if case.dtype == "tf32":
        return nullcontext()
    return torch.autocast(on.device.type, torch.bfloat16)


def _results(
    layer: gw.nn.Recurrent, x: Tensor, case: LayerCase, precision: AbstractContextManager[object]
) -> list[Tensor]:
    """The output; with "training" and the gradients, with "second" the gradients of the gradient's square."""
    if case.mode == "forward":
        with torch.no_grad(), precision:
            return [layer(x)[0]]
    leaves = [x, *layer.parameters()]
    with precision:
        output = layer(x)[0]
    weights = torch.linspace(-1, 1, output.shape[-1], device=x.device, dtype=output.dtype).expand_as(output)
    if case.mode == "second":
        (slope,) = torch.autograd.grad(output, x, weights, create_graph=True)
        return list(torch.autograd.grad(slope.square().sum(), leaves))
    return [output.detach(), *torch.autograd.grad(output, leaves, weights)]


def _timed(layer: gw.nn.Recurrent, x: Tensor, case: LayerCase, on: BenchmarkDevice, method: str) -> None:
    """One call: a forward run, or all of a training step but the optimiser."""
    _results(_with_backend(layer, method), x, case, _precision(case, on))


def _difference(numbers: Tensor, expected: Tensor) -> float:
    return float((numbers.double() - expected).abs().max() / expected.abs().max().clamp_min(1e-30))
