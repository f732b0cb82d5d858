"""How exact the kernels of a GPU are, beside float64: `python -m benchmarks.gpu_errors`.

It measures on the GPU. Without one, TRITON_INTERPRET=1 has Triton's interpreter compute: the tables of docs/gpu.md are
from there. `--quick` leaves the long sequences out.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

import gatewright as gw
from benchmarks.gpu_device import allow_tf32
from benchmarks.tables import Table
from gatewright.backends.triton.kernel_text import KernelText
from gatewright.backends.triton.load import is_interpreted, kernel
from gatewright.backends.triton.rules import FUNCTIONS, function_texts
from gatewright.backends.triton.writer import HEADER
from gatewright.nn.engine.differentiable import OperandDtype

CELLS = {"GRU, reset after": gw.cells.gru(reset="after"), "LSTM": gw.cells.lstm}
STEPS = (64, 512)
PRODUCTS = ("float32", "tf32", "tf32x3", "bfloat16", "float16")
UNITS, ROWS = 32, 4
POINTS = 200_000
RANGES = {
    "tanh": ((1e-30, 1e-4), (1e-4, 0.55), (0.55, 20.0)),
    "sigmoid": ((1e-30, 1.0), (1.0, 20.0), (-1.0, -1e-30), (-20.0, -1.0)),
}
"""Where each function has one formula, and about one error."""
APPLY = """
@triton.jit
def apply(x_ptr, y_ptr, N, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=at < N, other=0.0)
    tl.store(y_ptr + at, {function}(x), mask=at < N)
"""


@dataclass(frozen=True)
class Errors:
    """Of final states, and of gradients by weights and by inputs: the largest, and the mean, as shares of the largest
    number that is right."""

    states: tuple[float, float]
    weights: tuple[float, float]
    inputs: tuple[float, float]


def layer_errors(cell: str, steps: int, products: str, device: torch.device) -> Errors:
    """The errors of a layer of random weights on random inputs, whose outputs have random gradients."""
    allow_tf32(allowed=False)
    torch.manual_seed(0)
    asked: OperandDtype = None if products == "float32" else products  # pyright: ignore[reportAssignmentType]
    layer = gw.nn.Recurrent(CELLS[cell], UNITS, UNITS, backend="triton")
    layer.products = asked
    exact = gw.nn.Recurrent(CELLS[cell], UNITS, UNITS, dtype=torch.float64)
    exact.load_state_dict(layer.state_dict())
    x, by_output = torch.randn(steps, ROWS, UNITS), torch.randn(steps, ROWS, UNITS)
    wanted = _results(exact, x.double(), by_output.double())
    got = _results(layer.to(device), x.to(device), by_output.to(device))
    return Errors(*(_shares(mine, right) for mine, right in zip(got, wanted, strict=True)))


def _results(layer: gw.nn.Recurrent, x: Tensor, by_output: Tensor) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Final states, gradients by weights, and that by the inputs."""
    x.requires_grad_()
    output, last = layer(x)
    ends: list[Tensor] = [last] if isinstance(last, Tensor) else [*last]
    by_inputs, *by_weights = torch.autograd.grad(output, [x, *layer.parameters()], by_output)
    return [end.detach() for end in ends], by_weights, [by_inputs]


def _shares(got: Sequence[Tensor], wanted: Sequence[Tensor]) -> tuple[float, float]:
    """The largest and the mean error in parts of the largest number of its tensor; of several, those of the worst."""
    pairs = zip(got, wanted, strict=True)
    errors = [(mine.cpu().double() - right).abs() / right.abs().max() for mine, right in pairs]
    return max(float(error.max()) for error in errors), max(float(error.mean()) for error in errors)


def layer_row(cell: str, steps: int, products: str, device: torch.device) -> list[str]:
    """A line of the table of layers."""
    errors = layer_errors(cell, steps, products, device)
    told = [f"{share:.1e}" for pair in (errors.states, errors.weights, errors.inputs) for share in pair]
    return [cell, str(steps), products, *told]


def layer_table(device: torch.device, *, quick: bool = False) -> Table:
    """The errors of layers by cell, number of steps, and what operands of products are rounded to."""
    head = ["cell", "steps", "operands"]
    head += [f"{kind}, {which}" for kind in ("states", "by weights", "by inputs") for which in ("largest", "mean")]
    rows = [
        layer_row(cell, steps, products, device)
        for cell in CELLS
        for steps in (STEPS[:1] if quick else STEPS)
        for products in PRODUCTS
    ]
    return Table("Errors of layers", head, rows)


def function_table(device: torch.device) -> Table:
    """The errors of the functions of gates in float32, in units in the last place of the right number."""
    rows: list[list[str]] = []
    for function, ranges in RANGES.items():
        for low, high in ranges:
            units = _units(function, low, high, device)
            rows.append([function, f"{low:g} to {high:g}", f"{units.max():.1f}", f"{units.mean():.2f}"])
    return Table("Errors of functions", ["function", "x", "largest", "mean"], rows)


def _units(function: str, low: float, high: float, device: torch.device) -> np.ndarray:
    """The errors of a function at points whose sizes are spread evenly over all exponents."""
    text = HEADER + function_texts(FUNCTIONS) + APPLY.format(function=function)
    x = np.geomspace(low, high, POINTS).astype(np.float32)
    given, result, block = torch.from_numpy(x).to(device), torch.empty(POINTS, device=device), 1 << 16
    kernel(KernelText("apply", text, ()))[(-(-POINTS // block),)](given, result, POINTS, block)
    exact = x.astype(np.float64)
    wanted = np.tanh(exact) if function == "tanh" else 1 / (1 + np.exp(-exact))
    return np.abs(result.cpu().numpy() - wanted) / np.spacing(np.abs(wanted).astype(np.float32))


def tables(*, quick: bool) -> Iterator[Table]:
    """All tables, on the GPU or in Triton's interpreter."""
    device = torch.device("cpu" if is_interpreted() else "cuda")
    yield function_table(device)
    yield layer_table(device, quick=quick)


def main() -> None:
    """Print the tables."""
    about = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_errors", description=about)
    parser.add_argument("--quick", action="store_true", help="short sequences alone")
    options = parser.parse_args()
    if not (torch.cuda.is_available() or is_interpreted()):
        parser.error("there is no GPU that torch can use: set TRITON_INTERPRET=1 for Triton's interpreter")
    for table in tables(quick=options.quick):
        print(f"{table.title}\n\n{table.markdown()}", end="\n\n")


if __name__ == "__main__":
    main()
