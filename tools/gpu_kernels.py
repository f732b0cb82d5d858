"""Compiles the loops and scans of all cells for GPUs that need not be there, and checks that they fit.

    python -m tools.gpu_kernels [--chips sm_80,sm_90,...] [--cells gru,lstm] [--sizes 256:tf32,...] [--rows 1,32,...]
        [--jobs N] [--out FILE]

For each cell these are the kernels of inference, of the run that saves for the gradient, and of the gradient, by
default at 64 units in tf32 and at 128 units in bfloat16: the resident form, or the stepped one where the resident form
does not fit; of cells that are parallel in time the kernels of scans, for whole rows and for spans of them.
It is an error if a kernel spills, needs more shared memory than there is, or takes over ten seconds of a processor.
With --out the table is written as Markdown.

    python -m tools.gpu_kernels --check

compiles the gradients of the largest cells only, those with the same operations once: all of them for sm_90, a third
for each other chip.
"""

import argparse
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import astuple, dataclass
from difflib import get_close_matches
from functools import partial
from itertools import product as combinations
from pathlib import Path

from gatewright.backends.triton.chips import CHIPS
from gatewright.backends.triton.kernel_precision import KernelPrecision
from gatewright.backends.triton.program_run import ProgramRun
from gatewright.backends.triton.resources import Resources
from gatewright.backends.triton.run_kernels import loop_kernels, resident_obstacle, scan_kernels
from gatewright.cells import CATALOGUE
from gatewright.lang import recurrent_dropout, zoneout
from gatewright.nn.engine.device_operation import without_loop
from gatewright.schedule.plan import plan
from gatewright.schedule.residuals import save
from gatewright.trace import recurrence, simplify, trace_cell

DRAWING = {
    "zoneout(gru)": zoneout(0.1)(CATALOGUE["gru"]),
    "recurrent_dropout(lstm)": recurrent_dropout(0.3, per="step")(CATALOGUE["lstm"]),
}
"""Cells whose kernels draw random values."""
CELLS = {**CATALOGUE, **DRAWING}
LONGEST = 10.0
"""Seconds of a processor that one kernel may take to compile."""
DEFAULT_CHIPS = ("sm_80", "sm_90", "sm_100", "gfx942")
RUNS = ("inference", "saving", "gradient")
PRECISIONS = {"tf32": KernelPrecision(mode="tf32"), "bfloat16": KernelPrecision(operands="bfloat16")}
SIZES = ((64, "tf32"), (128, "bfloat16"))
ROWS = 32
"""The batch that tiles of the stepped form are chosen for."""


@dataclass(frozen=True)
class LoopCase:
    """A loop to be compiled: of which run of which cell, with how many units and rows, in which precision, for which
    chip."""

    chip: str
    cell: str
    run: str
    units: int
    precision: str
    rows: int = ROWS


@dataclass(frozen=True)
class CompiledLoop:
    """The kernels of a case: the form that was chosen, what each kernel takes, how long the slowest took to compile."""

    case: LoopCase
    form: str
    resources: tuple[Resources, ...]
    seconds: float

    def problems(self) -> Iterator[str]:
        """What is wrong with it; usually nothing."""
        chip = CHIPS[self.case.chip]
        yield from (f"{resources} on {chip.name}" for resources in self.resources if not resources.fits(chip))
        if self.seconds > LONGEST:
            yield f"a kernel took {self.seconds:.1f} s to compile"


def cases(
    chips: Iterable[str], names: Iterable[str], sizes: Iterable[tuple[int, str]], rows: Iterable[int]
) -> Iterator[LoopCase]:
    """Every loop of these cells on these chips."""
    for chip, name, run, size, batch in combinations(chips, names, RUNS, sizes, rows):
        yield LoopCase(chip, name, run, *size, batch)


def fewer_cases() -> Iterator[LoopCase]:
    """What is compiled as a check of every change: each chip meets other cells, at 64 units or at 128."""
    names = models()
    for number, chip in enumerate(DEFAULT_CHIPS):
        own = names if chip == "sm_90" else names[number :: len(DEFAULT_CHIPS) - 1]
        yield from (LoopCase(chip, name, "gradient", *SIZES[place % 2]) for place, name in enumerate(own))


def models() -> list[str]:
    """Of the cells with the same operations and as many states the one with the longest step; and those that draw."""
    traces = {name: trace_cell(cell) for name, cell in CATALOGUE.items()}
    longest: dict[object, str] = {}
    for name, trace in sorted(traces.items(), key=lambda item: len(item[1].equations)):
        kind = (frozenset(equation.op for equation in trace.equations), len(trace.states))
        longest[kind, recurrence(trace).is_parallel] = name
    return [*sorted(longest.values()), *DRAWING]


def compiled(case: LoopCase) -> CompiledLoop | None:
    """Compile the loop of a case, or the scans in its place."""
    step = simplify(trace_cell(CELLS[case.cell]))
    pair = save(step, (step.states[0].name,))
    trace = {"inference": step, "saving": pair.forward, "gradient": pair.backward}[case.run]
    program = without_loop(plan(trace))
    sizes = {axis: 16 if "rank" in axis else case.units for leaf in trace.leaves() for axis in leaf.shape}
    precision, chip = PRECISIONS[case.precision], CHIPS[case.chip]
    run = ProgramRun(program, sizes, precision, backwards=case.run == "gradient")
    began = _processor_seconds()
    kernels = loop_kernels(run, chip, case.rows) if program.loop else scan_kernels(run, chip)
    if not kernels:
        return None
    form = "scans" if program.scan else "stepped" if resident_obstacle(run, chip) else "resident"
    slowest = 0.0 if form == "stepped" else _processor_seconds() - began  # they are compiled to be chosen
    for kernel in kernels:
        began = _processor_seconds()
        _ = kernel.resources
        slowest = max(slowest, _processor_seconds() - began)
    return CompiledLoop(case, form, tuple(kernel.resources for kernel in kernels), slowest)


def _processor_seconds() -> float:
    """Of this process and of the assemblers that it has started: other processes take none of it."""
    return sum(os.times()[:4])


def table(loops: Iterable[CompiledLoop]) -> str:
    """The most that a kernel of each loop takes."""
    names = ("chip", "cell", "run", "units", "products", "rows", "form", "registers", "shared memory, KiB", "warps")
    lines = [f"| {' | '.join(names)} |", "|" + "---|" * len(names)]
    for loop in loops:
        registers = max(resources.registers for resources in loop.resources)
        shared = max(resources.shared_bytes for resources in loop.resources) / 1024
        warps = max(resources.warps for resources in loop.resources)
        case = loop.case
        cells = (*astuple(case), loop.form, registers, f"{shared:.0f}", warps)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Compile, tell what is wrong, and write the table."""
    options = _parser().parse_args(arguments)
    names = options.cells or sorted(CELLS)
    wanted = fewer_cases() if options.check else cases(options.chips, names, options.sizes, options.rows)
    loops: list[CompiledLoop] = []
    failed = 0
    with ProcessPoolExecutor(options.jobs) as pool:
        for loop in pool.map(compiled, wanted):
            if loop is None:
                continue
            loops.append(loop)
            for problem in loop.problems():
                failed += 1
                case = loop.case
                sys.stderr.write(
                    f"{case.cell}, {case.run}, {case.units} units, {case.rows} rows, {loop.form}: {problem}\n"
                )
    stepped = sum(loop.form == "stepped" for loop in loops)
    scans = sum(loop.form == "scans" for loop in loops)
    sys.stdout.write(f"{len(loops)} loops, {stepped} of them stepped, {scans} by scans, {failed} problems\n")
    resources = [resources for loop in loops for resources in loop.resources]
    if resources:
        registers, shared = max(r.registers for r in resources), max(r.shared_bytes for r in resources) / 1024
        sys.stdout.write(f"{len(resources)} kernels, at most {registers} registers and {shared:.0f} KiB\n")
    if options.out:
        options.out.write_text(table(loops))
    return 1 if failed or not loops else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.gpu_kernels", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--chips", type=partial(_known, CHIPS), default=list(DEFAULT_CHIPS), help=f"of {', '.join(CHIPS)}"
    )
    parser.add_argument("--cells", type=partial(_known, CELLS), default=[], help="names of cells (default: all)")
    parser.add_argument(
        "--sizes", type=_sizes, default=SIZES, help="units and products of each (default: 64:tf32,128:bfloat16)"
    )
    parser.add_argument("--rows", type=_counts, default=[ROWS], help=f"numbers of rows (default: {ROWS})")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes that compile")
    parser.add_argument(
        "--check",
        action="store_true",
        help="fewer: gradients of the largest cells, those with the same operations once",
    )
    parser.add_argument("--out", type=Path, help="write the table of what kernels take")
    return parser


def _known(names: Iterable[str], text: str) -> list[str]:
    known, given = list(names), text.split(",")
    for name in given:
        if name not in known:
            near = get_close_matches(name, known) or known
            raise argparse.ArgumentTypeError(f"there is no {name!r}: {', '.join(near)}")
    return given


def _counts(text: str) -> list[int]:
    if not all(count.isdecimal() and int(count) for count in text.split(",")):
        raise argparse.ArgumentTypeError(f"{text!r}: numbers are whole and at least 1, such as 1,32")
    return [int(count) for count in text.split(",")]


def _sizes(text: str) -> list[tuple[int, str]]:
    pairs = [size.partition(":")[::2] for size in text.split(",")]
    if not all(units.isdecimal() and int(units) and products in PRECISIONS for units, products in pairs):
        raise argparse.ArgumentTypeError(f"{text!r}: sizes are such as 64:tf32 and 128:bfloat16")
    return [(int(units), products) for units, products in pairs]


if __name__ == "__main__":
    sys.exit(main())
