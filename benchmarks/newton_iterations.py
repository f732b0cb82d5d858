"""How many of Newton's iterations solve all steps: `python -m benchmarks.newton_iterations [--quick]`.

It prints the tables of docs/gpu.md: for weights of several scales, and for weights that were trained. Numbers of
iterations do not depend on the machine, so a CPU does: torch's operations compute them in float64.
"""

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import gatewright as gw
from benchmarks.gpu_newton import diagonal_gru, diagonal_lstm
from gatewright import cells
from gatewright.axes import bind
from gatewright.backends.triton.kernel_precision import KernelPrecision
from gatewright.backends.triton.newton import Newton, NewtonSolver
from gatewright.errors import ConvergenceError
from gatewright.lang import Cell
from gatewright.trace import simplify, trace_cell

CELLS: Mapping[str, Cell] = {
    "diagonal GRU": diagonal_gru,
    "diagonal LSTM": diagonal_lstm,
    "SRU with peepholes": cells.sru(peephole=True),
    "BRC": cells.brc,
    "IndRNN, recurrent weights within 1": cells.indrnn,
    "UnICORNN": cells.unicornn,
}
UNITS, ROWS, WINDOW = 16, 2, 128
SCALES = (0.3, 1.0, 2.0)
DOUBLE = KernelPrecision("float64", "float64")
MARKED_STEPS, TRAINED_UNITS = 100, 32


@dataclass(frozen=True)
class Extents:
    """How much is solved and trained."""

    steps: int = 2000
    seeds: int = 5
    updates: int = 1500


def scale_table(extents: Extents) -> Iterator[str]:
    """Iterations by cell and scale of the weights, for every seed."""
    yield f"| cell | {' | '.join(f'scale {scale:g}' for scale in SCALES)} |"
    yield "|" + "---|" * (1 + len(SCALES))
    for name in CELLS:
        counts = (
            ", ".join(iterations(name, scale, seed, extents.steps) for seed in range(extents.seeds)) for scale in SCALES
        )
        yield f"| {name} | {' | '.join(counts)} |"


def iterations(name: str, scale: float, seed: int, steps: int) -> str:
    """The iterations of a cell with drawn weights; "-" where they do not converge, and then the mean of windows."""
    trace = simplify(trace_cell(CELLS[name]))
    sizes = dict.fromkeys(trace.axes(), UNITS)
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    params: dict[str, Tensor] = {}
    for param in trace.params:
        weight = scale * normal(*bind(param.shape, sizes)) / UNITS ** (0.5 * (len(param.shape) == 2))
        params[param.name] = weight.clamp(-1, 1) if (name[:6], param.name[:1]) == ("IndRNN", "p") else weight
    inputs = {leaf.name: normal(steps, ROWS, *bind(leaf.shape, sizes)) for leaf in trace.inputs}
    starts = {state.name: normal(ROWS, *bind(state.shape, sizes)) for state in trace.states}
    solver = NewtonSolver(trace, sizes, DOUBLE, kernels=False)
    try:
        return str(solver.solve(inputs, params, starts).report.iterations)
    except ConvergenceError:
        pass
    try:
        report = solver.solve(inputs, params, starts, options=Newton(window=WINDOW)).report
    except ConvergenceError:
        return "-"
    return f"- ({report.iterations / -(-steps // WINDOW):.0f})"


def trained_table(extents: Extents) -> Iterator[str]:
    """Iterations of two levels that were trained to hold the last marked number, for each level."""
    yield "| cell | loss before | after | iterations, float64 | float32 | states off in float32 |"
    yield "|" + "---|" * 6
    for name in ("diagonal GRU", "diagonal LSTM"):
        layer, losses = trained(CELLS[name], extents.updates)
        counts: list[str] = []
        differences: list[float] = []
        for dtype in (torch.float64, torch.float32):
            layer.to(dtype)
            numbers = marked_numbers(ROWS, extents.steps)[0].to(dtype)
            results: dict[bool, Tensor] = {}
            for newton in (False, True):
                layer.newton = newton
                with torch.no_grad():
                    results[newton] = layer(numbers)[0]
            counts.append(", ".join(str(report.iterations) for report in layer.newton_reports))
            differences.append(float((results[True] - results[False]).abs().max()))
        yield f"| {name} | {losses[0]:.2g} | {losses[1]:.1g} | {counts[0]} | {counts[1]} | {differences[1]:.0e} |"


def trained(cell: Cell, updates: int) -> tuple[gw.nn.Recurrent, tuple[float, float]]:
    """Two levels, trained; and the loss before the first and after the last update."""
    torch.manual_seed(0)
    layer, head = gw.nn.Recurrent(cell, 2, TRAINED_UNITS, num_layers=2), nn.Linear(TRAINED_UNITS, 1)
    optimizer = torch.optim.Adam([*layer.parameters(), *head.parameters()], lr=3e-3)
    losses: list[float] = []
    for _ in range(updates):
        numbers, answers = marked_numbers(64, MARKED_STEPS)
        loss = nn.functional.mse_loss(head(layer(numbers)[0]).squeeze(-1), answers)
        optimizer.zero_grad()
        loss.backward()  # pyright: ignore[reportUnknownMemberType]
        nn.utils.clip_grad_norm_([*layer.parameters(), *head.parameters()], 1.0)
        optimizer.step()
        losses.append(loss.item())
    return layer, (losses[0], losses[-1])


def marked_numbers(rows: int, steps: int) -> tuple[Tensor, Tensor]:
    """Numbers with marks, (time, batch, 2), one step in ten marked; at each step the number that was marked last."""
    numbers = torch.rand(steps, rows)
    marks = torch.rand(steps, rows) < 0.1
    marks[0] = True
    last = torch.where(marks, torch.arange(steps)[:, None], 0).cummax(0).values
    return torch.stack([numbers, marks.float()], -1), numbers.gather(0, last)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.newton_iterations", description="Count Newton's iterations."
    )
    parser.add_argument("--quick", action="store_true", help="few steps: whether all works")
    extents = Extents(20, 1, 3) if parser.parse_args().quick else Extents()
    for table in (scale_table, trained_table):
        for line in table(extents):
            print(line, flush=True)
        print()


if __name__ == "__main__":
    main()
