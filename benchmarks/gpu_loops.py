"""Loops on a GPU in each form of kernel, and a scan: what the choice of a form is made from."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial

import torch
from torch import Tensor

from benchmarks.gpu_device import BenchmarkDevice
from benchmarks.names import Record
from benchmarks.setup import rounded, tell
from gatewright import cells
from gatewright.axes import bind
from gatewright.backends.triton.kernel_precision import KernelPrecision
from gatewright.backends.triton.kernel_text import Argument, ArgumentKind
from gatewright.backends.triton.persistent_kernel import PersistentLoop
from gatewright.backends.triton.resident_loop import ResidentLoop
from gatewright.backends.triton.scan_launch import ScanKernel
from gatewright.backends.triton.scan_stage import CoupledScan, ScanSource, ScanStage
from gatewright.backends.triton.stepped import SteppedLoop
from gatewright.schedule.plan import plan
from gatewright.schedule.program import Program, Stage, Storage, Store
from gatewright.schedule.residuals import save
from gatewright.trace import Trace, Var, simplify, trace_cell

FORMS = {"resident": ResidentLoop, "stepped": SteppedLoop, "persistent": PersistentLoop}
PRECISIONS = {"tf32": KernelPrecision(mode="tf32"), "bfloat16": KernelPrecision(operands="bfloat16")}


@dataclass(frozen=True)
class FormCase:
    """A loop: of which run of which cell, with how many units and rows."""

    cell: str
    run: str  # "inference", "saving" or "gradient"
    units: int
    rows: int
    dtype: str

    @property
    def title(self) -> str:
        """What it is, in words."""
        return f"{self.cell}, {self.run}, {self.units} units, {self.rows} rows, {self.dtype}"


def form_cases(*, quick: bool) -> Iterator[FormCase]:
    """All cases, the most important ones first."""
    if quick:
        yield FormCase("gru", "inference", 16, 3, "tf32")
        return
    for run in ("inference", "gradient", "saving"):
        for units in (64, 128, 256, 512, 1024):
            for rows in (32, 1):
                yield from (FormCase("gru", run, units, rows, dtype) for dtype in ("bfloat16", "tf32"))
    yield from (FormCase("lstm", "inference", units, 32, "bfloat16") for units in (64, 128, 256, 512, 1024))


def measured_forms(case: FormCase, on: BenchmarkDevice, *, steps: int = 256) -> Record:
    """Microseconds a step of each form that runs; their results are held to those of the stepped form first."""
    steps = steps if on.is_gpu else 3
    cell = cells.gru(reset="after") if case.cell == "gru" else cells.CATALOGUE[case.cell]
    step = simplify(trace_cell(cell))
    pair = save(step, (step.states[0].name,))
    trace = {"inference": step, "saving": pair.forward, "gradient": pair.backward}[case.run]
    program, precision = plan(trace), PRECISIONS[case.dtype]
    sizes = {axis: case.units for leaf in trace.leaves() for axis in leaf.shape}
    record: Record = {**asdict(case), "steps": steps, "us_a_step": {}, "absent": {}}
    calls, expected = {}, dict[Argument, Tensor]()
    for name in ("stepped", "resident", "persistent"):
        if name == "persistent" and not on.is_gpu:
            continue  # its programs wait for one another: the interpreter runs one after the other
        loop = FORMS[name](program, sizes, precision, backwards=case.run == "gradient")
        arrays = _arrays(loop.arguments, program, trace, sizes, (steps, case.rows), on)
        if isinstance(loop, ResidentLoop) and loop.options(arrays) is None:
            record["absent"][name] = "does not fit"
            continue
        try:
            loop.run(arrays, steps, case.rows)
        except RuntimeError as error:
            record["absent"][name] = str(error).partition("\n")[0]
            continue
        states = {argument: array for argument, array in arrays.items() if argument.kind is ArgumentKind.STATE}
        expected = expected or {argument: array.clone() for argument, array in states.items()}
        off = max(float((array - expected[argument]).abs().max()) for argument, array in states.items())
        if not off <= 2e-2:  # false for NaN
            record["absent"][name] = f"off by {off:.1e}"
            continue
        calls[name] = partial(loop.run, arrays, steps, case.rows)
    for name, timing in on.race(calls).items():
        record["us_a_step"][name] = rounded(timing.median * 1e6 / steps)
    tell(f"{case.title}: " + ", ".join(f"{name} {us} us a step" for name, us in record["us_a_step"].items()))
    return record


def _arrays(
    arguments: tuple[Argument, ...],
    program: Program,
    trace: Trace,
    sizes: Mapping[str, int],
    extent: tuple[int, int],
    on: BenchmarkDevice,
) -> dict[Argument, Tensor]:
    """Random numbers for everything that a loop reads, and room for what it writes."""
    steps, batch = extent
    shapes = {value.name: bind(value.shape, sizes) for value in (*trace.leaves(), *trace.states)}
    shapes |= {name: bind(shape, sizes) for name, shape in program.shapes.items()}
    leading = {ArgumentKind.SEQUENCE: (steps, batch), ArgumentKind.STATE: (steps + 1, batch), ArgumentKind.SHARED: ()}
    generator = torch.Generator(on.device).manual_seed(0)
    arrays: dict[Argument, Tensor] = {}
    for argument in sorted(arguments, key=lambda argument: (argument.kind, argument.name)):
        if argument.kind in leading:
            shape = (*leading[argument.kind], *shapes[argument.name])
            numbers = torch.randn(shape, generator=generator, device=on.device)
            arrays[argument] = numbers / (max(shape) ** 0.5 if argument.kind is ArgumentKind.SHARED else 2)
    return arrays


def measured_scan(on: BenchmarkDevice, *, quick: bool) -> Record:
    """Milliseconds of h = a * h + b over all steps, beside the bytes that the memory has to move."""
    batch, units, steps = (2, 16, 5) if quick or not on.is_gpu else (8, 1536, 4096)
    slope, offset, state, new = (Var(name, ("hidden",)) for name in ("a", "b", "h", "h'"))
    sources = {value.name: ScanSource(ArgumentKind.SEQUENCE, value.name) for value in (slope, offset)}
    scan = CoupledScan((new,), (state,), ((slope,),), (offset,))
    stage = ScanStage("linear", Stage("hidden", (), (), (Store(new, state.name, Storage.STATE),)), (scan,), sources)
    kernel = ScanKernel(stage, {"hidden": units})
    record: Record = {"batch": batch, "units": units, "steps": steps, "ms": {}, "gbps": {}}
    for dtype in (torch.float32, torch.bfloat16):
        extents = {ArgumentKind.SEQUENCE: steps, ArgumentKind.STATE: steps + 1}
        arrays = {
            argument: torch.rand(extents[argument.kind], batch, units, device=on.device, dtype=dtype)
            for argument in kernel.arguments
            if argument.kind in extents
        }
        timing = on.race({"scan": partial(kernel.run, arrays, steps, batch)})["scan"]
        moved = 3 * batch * units * steps * dtype.itemsize
        record["ms"][str(dtype)] = rounded(timing.median * 1e3)
        record["gbps"][str(dtype)] = rounded(moved / timing.median / 1e9)
    tell(f"scan of {(batch, units, steps)}: {record['ms']} ms")
    return record
