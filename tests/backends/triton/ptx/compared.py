"""Compiled kernels of loops and scans, run on the machine for PTX, against torch in float64.

    python -m tests.backends.triton.ptx.compared [NAME ...] [--chip 90] [--seed N] [--early]

prints how far each is off, in parts of the largest number. A name is "cell run form", such as "lstm gradient stepped",
and may end in the dtype that operands of products are rounded to, "bfloat16" or "float16".
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from math import inf, isnan

import numpy as np
import torch
from torch import Tensor

from gatewright.backends.triton import program_run, scan_launch
from gatewright.backends.triton.kernel_precision import KernelPrecision
from gatewright.backends.triton.persistent_kernel import PersistentLoop
from gatewright.backends.triton.program_run import ProgramRun, ProgramTensors
from gatewright.nn.engine.device_operation import without_loop
from gatewright.schedule.plan import plan
from gatewright.schedule.residuals import save
from gatewright.trace import simplify, trace_cell
from tests.backends.triton.drawn import draw, seeds_of
from tests.backends.triton.ptx.kernels import PtxRunner
from tests.parity.matrix import CELLS

PRECISION = KernelPrecision(mode="tf32x3")  # by tensor cores, and still nearly float32
TORCH = KernelPrecision("float64", "float64")
CHECKED = {
    80: (
        "gru saving resident", "sru gradient resident", "layer_norm(gru) inference stepped",
        "gru gradient stepped bfloat16", "lstm inference resident float16",
    ),
    90: ("lstm gradient resident", "zoneout(gru) saving resident", "gru gradient stepped", "gru inference persistent"),
    100: ("mingru saving resident",),
}  # fmt: skip
"""What the tests run, for chips of these compute capabilities."""
Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Case:
    """A run of a cell; its rows take different numbers of steps where `lengths` are given."""

    name: str
    steps: int = 3
    lengths: tuple[int, ...] = ()
    units: int = 19  # no multiple of anything

    def program_run(self, precision: KernelPrecision) -> ProgramRun:
        """What runs it."""
        cell, run, *_ = self.name.split(" ")
        step = simplify(trace_cell(CELLS[cell]))
        pair = save(step, (step.states[0].name,))
        trace = pair.backward if run == "gradient" else pair.forward if run == "saving" else step
        sizes = {axis: self.units for leaf in trace.leaves() for axis in leaf.shape}
        return ProgramRun(without_loop(plan(trace)), sizes, precision, backwards=run == "gradient")

    def difference(self) -> float:
        """By how much kernels are off."""
        _, _, form, *operands = self.name.split(" ")
        precision = KernelPrecision(operands=operands[0]) if operands else PRECISION  # pyright: ignore[reportArgumentType]
        single, double = self.program_run(precision), self.program_run(TORCH)
        trace, batch = single.program.trace, len(self.lengths) or 3
        given = draw(trace, single.sizes, self.steps, batch, np.random.default_rng(0))
        lengths = torch.tensor(self.lengths, dtype=torch.int32) if self.lengths else None
        seeds = {name: torch.from_numpy(array) for name, array in seeds_of(trace, self.steps, batch).items()}
        groups = [
            {name: torch.as_tensor(array) for name, array in group.items()}
            for group in (given.inputs, given.params, given.states)
        ]
        inputs, params, starts = groups
        want = double.run(inputs | seeds, params, starts, lengths, form="torch")
        inputs, params, starts = (_off_alignment(group) for group in groups)
        got = single.run(inputs | seeds, params, starts, lengths, form=form)  # pyright: ignore[reportArgumentType]
        return max(_differences(got, want))


CASES = {
    case.name: case
    for case in (
        Case("lstm gradient resident", lengths=(3, 0, 2)), Case("gru gradient stepped", lengths=(3, 0, 2)),
        Case("mingru saving resident", steps=40), Case("sru gradient resident", steps=33, lengths=(33, 9)),
    )
}  # fmt: skip
"""Where they differ from three steps by three rows."""


def _off_alignment(group: Mapping[str, Tensor]) -> Tensors:
    """Float32 numbers, every second array at an address that is no multiple of 16."""
    moved: Tensors = {}
    for place, (name, tensor) in enumerate(group.items()):
        memory = torch.empty(tensor.numel() + place % 2)[place % 2 :]
        moved[name] = memory.view(tensor.shape).copy_(tensor)
    return moved


def _differences(got: ProgramTensors, want: ProgramTensors) -> Iterator[float]:
    for kind in ("states", "emits", "sums"):
        for name, right in getattr(want, kind).items():
            own = getattr(got, kind)[name]
            scale = right.abs().max().clamp(min=1e-3)
            difference = float((own - right).abs().max() / scale)
            yield inf if isnan(difference) else difference  # NaN is not the largest of numbers


def prepared(runner: PtxRunner) -> PtxRunner:
    """Have kernels run on the machine, with small tiles of scans, spans of time, and programs that wait for others."""
    runner.install()
    torch.use_deterministic_algorithms(True)  # memory is NaN before it is written
    torch.utils.deterministic.fill_uninitialized_memory = True  # pyright: ignore[reportAttributeAccessIssue]
    scan_launch.INTERPRETED_TILE, scan_launch.SHORTEST_SPAN, scan_launch.FEWEST_SPANS = (8, 8), 16, 2
    program_run.PersistentLoop = partial(PersistentLoop, programs=2)  # pyright: ignore[reportAttributeAccessIssue]
    return runner


def main() -> None:
    """Run the cases that are asked for, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.backends.triton.ptx.compared")
    parser.add_argument("names", nargs="*", help="default: what the tests run for the chip")
    parser.add_argument("--chip", type=int, default=80, choices=CHECKED, help="the compute capability")
    parser.add_argument("--seed", type=int, default=0, help="of the order of programs and warps")
    parser.add_argument("--early", action="store_true", help="asynchronous copies arrive at once")
    parser.add_argument("--without-barrier", type=int, help="leave this one out")
    options = parser.parse_args()
    prepared(PtxRunner(options.chip, options.seed, options.early, options.without_barrier))
    differences = {
        name: (CASES.get(name) or Case(name)).difference() for name in options.names or CHECKED[options.chip]
    }
    sys.stdout.write(json.dumps(differences) + "\n")


if __name__ == "__main__":
    main()
