"""Layers on a GPU beside cuDNN and torch, operation by operation: the same numbers first, then the times."""

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial

import torch
from torch import Tensor

import gatewright as gw
from benchmarks.gpu_device import BenchmarkDevice, allow_tf32, told
from benchmarks.names import Record
from benchmarks.setup import rounded, tell

METHODS = ("triton", "cudnn", "torch")
TOLERANCES = {"float32": 1e-3, "tf32": 2e-2, "bfloat16": 1e-1}
"""The largest difference from float64, as a share of the largest number, for which a method is timed: operands of
products have 24 bits, 11 and 8, and errors add up over steps, gates and derivatives. What is computed wrongly is off by
about 1; every difference is in the record."""
CHECKED_STEPS = 64
"""Longer sequences are compared over their first steps: in float64 a step takes milliseconds."""
CALLS_BEFORE_CHECK = 3
"""The first call compiles, the second records graphs, the third replays them, as those that are timed do."""


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
    "zoneout(gru)": gw.zoneout(0.1)(gw.cells.gru(reset="after")),
    "recurrent_dropout(gru)": gw.recurrent_dropout(0.1)(gw.cells.gru(reset="after")),
}
UNKNOWN_TO_CUDNN = ("own", "gru(before)", "layer_norm(lstm)", "lstm_peephole", "layer_norm(gru)")


@dataclass(frozen=True)
class LayerCase:
    """A layer and a batch. `dtype` is "float32", "tf32" or "bfloat16"; `mode` is "forward", "training" or "second".

    `eager` has torch timed too, operation by operation, which takes most of the time of a case.
    """

    cell: str
    units: int
    rows: int
    steps: int
    dtype: str
    mode: str
    eager: bool = False

    def __str__(self) -> str:
        """What it is, in words."""
        return f"{self.cell}, {self.units} units, {self.rows} rows, {self.steps} steps, {self.dtype}, {self.mode}"


def main_cases(quick: bool) -> Iterator[LayerCase]:
    """GRU and LSTM by units and dtype, 32 rows and 512 steps."""
    if quick:
        yield LayerCase("gru", 16, 3, 3, "bfloat16", "forward", eager=True)
        return
    for cell in ("gru", "lstm"):
        for units in (128, 512, 256, 64, 1024):
            for mode in ("forward", "training"):
                for dtype in ("bfloat16", "tf32"):
                    yield LayerCase(cell, units, 32, 512, dtype, mode, eager=units == 128)


def variation_cases(quick: bool) -> Iterator[LayerCase]:
    """Cells that cuDNN does not have."""
    if quick:
        yield LayerCase("own", 16, 3, 3, "tf32", "training", eager=True)
        return
    for units, dtype in ((128, "bfloat16"), (512, "tf32")):
        for mode in ("training", "forward"):
            yield from (
                LayerCase(cell, units, 32, 512, dtype, mode, eager=units == 128 and mode == "training")
                for cell in UNKNOWN_TO_CUDNN
            )


def second_cases(quick: bool) -> Iterator[LayerCase]:
    """Second derivatives."""
    if quick:
        yield LayerCase("gru", 16, 3, 3, "tf32", "second", eager=True)
        return
    yield from (LayerCase(cell, 128, 32, 64, "tf32", "second", eager=True) for cell in ("gru", "lstm", "own"))


def extent_cases(quick: bool) -> Iterator[LayerCase]:
    """Few and many rows, few and many steps, exact float32; and the shapes for which FlashRNN publishes times."""
    if quick:
        yield LayerCase("lstm", 16, 2, 3, "float32", "forward")
        return
    for mode in ("forward", "training"):
        yield from (LayerCase("lstm", units, 16, 1024, "bfloat16", mode) for units in (64, 128, 768))
    for rows in (1, 128):
        for units in (128, 512):
            yield from (LayerCase("gru", units, rows, 512, "bfloat16", mode) for mode in ("forward", "training"))
    for steps in (64, 4096):
        yield from (LayerCase("gru", 128, 32, steps, "bfloat16", mode) for mode in ("forward", "training"))
    yield from (LayerCase("gru", units, 32, 512, "float32", "training") for units in (128, 512))


def random_cases(quick: bool) -> Iterator[LayerCase]:
    """Layers with random numbers in training, beside one without."""
    units, rows, steps = (16, 2, 3) if quick else (128, 32, 512)
    for cell in ("gru", "zoneout(gru)", "recurrent_dropout(gru)"):
        yield LayerCase(cell, units, rows, steps, "tf32", "training")


def prepared_layer(case: LayerCase, on: BenchmarkDevice) -> Record:
    """Compile the kernels of a case: they do not depend on the number of steps."""
    layer, x = problem(replace(case, steps=2), on)
    results_of(with_backend(layer, "triton"), x, case, precision_of_case(case, on))
    return {}


def measured_layer(case: LayerCase, on: BenchmarkDevice) -> Record:
    """The seconds of each method that has the cell and gives the right numbers; why the others have none."""
    layer, x = problem(case, on)
    record: Record = {**asdict(case), "runs": {}, "absent": {}, "difference": {}}

    def results(method: str, x: Tensor) -> list[Tensor]:
        return results_of(with_backend(layer, method), x, case, precision_of_case(case, on))

    right = methods_that_are_right(METHODS if case.eager else METHODS[:-1], results, layer, x, case, record)
    calls = {method: partial(_timed, layer, x, case, on, method) for method in right}
    record["plan"] = str(with_backend(layer, "auto").plan()).partition("\n")[0]
    for method, timing in on.race(calls).items() if calls else ():
        record["runs"][method] = {
            "us": rounded(timing.median * 1e6),
            "us_a_step": rounded(timing.median * 1e6 / case.steps),
        }
    said = ", ".join(f"{method} {run['us_a_step']} us a step" for method, run in record["runs"].items())
    tell(f"{case}: {said or record['absent']}")
    return record


def methods_that_are_right(
    methods: Iterable[str],
    results: Callable[[str, Tensor], list[Tensor]],
    layer: gw.nn.Recurrent,
    x: Tensor,
    case: LayerCase,
    record: Record,
) -> list[str]:
    """The methods whose results for the first steps are those of float64; `record` has how far each is off, and why the
    others are absent."""
    first = x[:CHECKED_STEPS].detach().requires_grad_(x.requires_grad)
    exact = with_backend(copy.deepcopy(layer).double(), "torch")
    expected = results_of(exact, first.detach().double().requires_grad_(x.requires_grad), case, nullcontext())
    right: list[str] = []
    for method in methods:
        try:
            numbers = expected
            for _ in range(1 if method in ("cudnn", "torch") else CALLS_BEFORE_CHECK):
                numbers = results(method, first)
            off = difference(numbers, expected)
        except Exception as error:  # noqa: BLE001 (Triton's errors have no common base)
            record["absent"][method] = told(error)
            continue
        record["difference"][method] = rounded(off)
        if off <= TOLERANCES[case.dtype]:  # false for NaN
            right.append(method)
        else:
            record["absent"][method] = f"off by {off:.1e} of the largest number"
    return right


def measured_random(case: LayerCase, on: BenchmarkDevice) -> Record:
    """The seconds of a training step that draws random numbers; the numbers are those of the layer in evaluation."""
    record = measured_layer(case, on)  # its random values are their means
    layer, x = problem(case, on)
    with_backend(layer.train(), "triton")
    timing = on.race({"triton": partial(_timed, layer, x, case, on, "triton")})["triton"]
    return {**record, "drawing_us": rounded(timing.median * 1e6)}


def problem(case: LayerCase, on: BenchmarkDevice) -> tuple[gw.nn.Recurrent, Tensor]:
    """A layer in evaluation, and its input.

    GRU and LSTM are the layers that take the place of torch.nn's: their weights lie in memory as cuDNN wants them.
    """
    torch.manual_seed(0)
    drop_in = {"gru": gw.nn.GRU, "lstm": gw.nn.LSTM}.get(case.cell)
    sizes = case.units, case.units
    layer = (drop_in(*sizes) if drop_in else gw.nn.Recurrent(CELLS[case.cell], *sizes)).to(on.device).eval()
    x = torch.randn(case.steps, case.rows, case.units, device=on.device)
    return layer, x.requires_grad_(case.mode != "forward")


def with_backend(layer: gw.nn.Recurrent, backend: str) -> gw.nn.Recurrent:
    """The layer itself, with another backend."""
    layer.backend = backend
    return layer


def precision_of_case(case: LayerCase, on: BenchmarkDevice) -> AbstractContextManager[object]:
    """The dtype of products, as users ask for it."""
    allow_tf32(allowed=case.dtype != "float32")
    return torch.autocast(on.device.type, torch.bfloat16) if case.dtype == "bfloat16" else nullcontext()


def results_of(
    layer: gw.nn.Recurrent,
    x: Tensor,
    case: LayerCase,
    precision: AbstractContextManager[object],
    run: Callable[[Tensor], tuple[Tensor, object]] | None = None,
) -> list[Tensor]:
    """The output; with "training" and the gradients, with "second" the gradients of the gradient's square.

    `run` computes what the layer does from the layer's parameters; without it the layer is called.
    """
    if case.mode == "forward":
        with torch.no_grad(), precision:
            return [(run or layer)(x)[0]]
    leaves = [x, *layer.parameters()]
    with precision:
        output = (run or layer)(x)[0]
    weights = torch.linspace(-1, 1, output.shape[-1], device=x.device, dtype=output.dtype).expand_as(output)
    if case.mode == "second":
        (slope,) = torch.autograd.grad(output, x, weights, create_graph=True)
        return list(torch.autograd.grad(slope.square().sum(), leaves))
    return [output.detach(), *torch.autograd.grad(output, leaves, weights)]


def _timed(layer: gw.nn.Recurrent, x: Tensor, case: LayerCase, on: BenchmarkDevice, method: str) -> None:
    """One call: a forward run, or all of a training step but the optimiser."""
    results_of(with_backend(layer, method), x, case, precision_of_case(case, on))


def difference(numbers: list[Tensor], expected: list[Tensor]) -> float:
    """The largest difference, as a share of the largest number of each tensor."""
    return max(
        float((got.double() - want).abs().max() / want.abs().max().clamp_min(1e-30))
        for got, want in zip(numbers, expected, strict=True)
    )
