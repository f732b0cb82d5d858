"""Loops on a GPU in each form of kernel, and a scan: what the choice of a form is made from."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu_device import BenchmarkDevice, told
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
    forms: tuple[str, ...] = ("stepped", "resident")

    def __str__(self) -> str:
        """What it is, in words."""
        return f"{self.cell}, {self.run}, {self.units} units, {self.rows} rows, {self.dtype}"


def form_cases(quick: bool) -> Iterator[FormCase]:
    """All cases, the most important ones first."""
    if quick:
        yield FormCase("gru", "inference", 16, 3, "tf32")
        return
    for rows in (32, 1):
        for run in ("inference", "gradient", "saving"):
            for units in (128, 256, 512, 64, 1024):
                yield from (FormCase("gru", run, units, rows, dtype) for dtype in ("bfloat16", "tf32"))
    yield from (FormCase("lstm", "inference", units, 32, "bfloat16") for units in (64, 128, 256, 512, 1024))


def persistent_cases(quick: bool) -> Iterator[FormCase]:
    """The form whose programs wait for each other, which may be for ever, beside the stepped one."""
    if quick:
        yield FormCase("gru", "inference", 16, 3, "tf32", ("stepped", "persistent"))
        return
    for run in ("inference", "gradient"):
        for units in (256, 512, 1024, 128):
            for rows in (32, 1):
                yield FormCase("gru", run, units, rows, "bfloat16", ("stepped", "persistent"))


class _Problem:
    """A loop's Program, and random numbers for it."""

    def __init__(self, case: FormCase, on: BenchmarkDevice, steps: int) -> None:
        step = simplify(trace_cell(cells.gru(reset="after") if case.cell == "gru" else cells.CATALOGUE[case.cell]))
        pair = save(step, (step.states[0].name,))
        self.trace = {"inference": step, "saving": pair.forward, "gradient": pair.backward}[case.run]
        self.program, self.case, self.on, self.steps = plan(self.trace), case, on, steps
        self.sizes = {axis: case.units for leaf in self.trace.leaves() for axis in leaf.shape}

    def loop(self, form: str) -> Any:
        """The loop in a form of kernel."""
        options: dict[str, Any] = {"backwards": self.case.run == "gradient"}
        if form == "persistent" and self.on.device.type != "cuda":
            options["programs"] = 1  # the interpreter runs one after the other: two would wait for ever
        return FORMS[form](self.program, self.sizes, PRECISIONS[self.case.dtype], **options)

    def arrays(self, loop: Any) -> dict[Argument, Tensor]:
        """What the loop reads and writes; the same numbers for every form."""
        return _arrays(loop.arguments, self.program, self.trace, self.sizes, (self.steps, self.case.rows), self.on)


def prepared_forms(case: FormCase, on: BenchmarkDevice) -> Record:
    """Compile the kernels of both forms."""
    problem = _Problem(case, on, steps=2)
    for form in ("stepped", "resident"):
        loop = problem.loop(form)
        arrays = problem.arrays(loop)
        if not isinstance(loop, ResidentLoop) or loop.options(arrays) is not None:
            loop.run(arrays, 2, case.rows)
    return {}


def measured_forms(case: FormCase, on: BenchmarkDevice) -> Record:
    """Microseconds a step of each form that runs; their results are held to those of the stepped form first, whose
    graphs are held to its first run, kernel by kernel."""
    steps = 3 if on.quick else 256
    problem = _Problem(case, on, steps)
    record: Record = {**asdict(case), "steps": steps, "us_a_step": {}, "difference": {}, "absent": {}}
    calls, expected = dict[str, Callable[[], object]](), dict[Argument, Tensor]()
    for form in case.forms:
        try:
            loop = problem.loop(form)
            arrays = problem.arrays(loop)
            if isinstance(loop, ResidentLoop) and loop.options(arrays) is None:
                record["absent"][form] = "does not fit"
                continue
            states = {argument: array for argument, array in arrays.items() if argument.kind is ArgumentKind.STATE}
            for _ in range(3):  # the first compiles, the second records graphs, the third replays them
                loop.run(arrays, steps, case.rows)
                expected = expected or {argument: array.clone() for argument, array in states.items()}
            off = max(_share(array, expected[argument]) for argument, array in states.items())
        except Exception as error:  # noqa: BLE001 (Triton's errors have no common base)
            record["absent"][form] = told(error)
            continue
        record["difference"][form] = rounded(off)
        if not off <= 2e-2:  # false for NaN
            record["absent"][form] = f"off by {off:.1e} of the largest number"
            continue
        calls[form] = partial(loop.run, arrays, steps, case.rows)
    for form, timing in on.race(calls).items() if calls else ():
        record["us_a_step"][form] = rounded(timing.median * 1e6 / steps)
    tell(f"{case}: " + ", ".join(f"{form} {us} us a step" for form, us in record["us_a_step"].items()))
    return record


def _share(numbers: Tensor, expected: Tensor) -> float:
    return float((numbers - expected).abs().max() / expected.abs().max().clamp_min(1e-30))


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


@dataclass(frozen=True)
class ScanCase:
    """A linear recurrence; `dtype` is that of its arrays."""

    dtype: str
    backwards: bool
    batch: int
    units: int
    steps: int

    def __str__(self) -> str:
        """What it is, in words."""
        direction = ", backwards" * self.backwards
        return f"scan of {self.batch} rows, {self.units} units, {self.steps} steps, {self.dtype}{direction}"


def scan_cases(quick: bool) -> Iterator[ScanCase]:
    """The shape for which accelerated-scan publishes 0.714 ms, in both directions; and one row."""
    if quick:
        yield ScanCase("float32", False, 2, 16, 5)
        return
    yield from (ScanCase(dtype, False, 8, 1536, 4096) for dtype in ("float32", "bfloat16"))
    yield ScanCase("float32", True, 8, 1536, 4096)
    yield ScanCase("float32", False, 1, 256, 65536)


def measured_scan(case: ScanCase, on: BenchmarkDevice) -> Record:
    """Milliseconds of h = a * h + b over all steps, beside torch's operations and the bytes that memory has to move."""
    slope, offset, state, new = (Var(name, ("hidden",)) for name in ("a", "b", "h", "h'"))
    sources = {value.name: ScanSource(ArgumentKind.SEQUENCE, value.name) for value in (slope, offset)}
    scan = CoupledScan((new,), (state,), ((slope,),), (offset,))
    stage = ScanStage("linear", Stage("hidden", (), (), (Store(new, state.name, Storage.STATE),)), (scan,), sources)
    kernel = ScanKernel(stage, {"hidden": case.units}, KernelPrecision(), backwards=case.backwards)
    dtype: torch.dtype = getattr(torch, case.dtype)
    shape = (case.batch, case.units)
    given = [torch.rand(case.steps, *shape, device=on.device, dtype=dtype) for _ in range(2)]
    states = torch.zeros(case.steps + 1, *shape, device=on.device, dtype=dtype)
    arrays: dict[Argument, Tensor] = {
        Argument(ArgumentKind.SEQUENCE, "a"): given[0],
        Argument(ArgumentKind.SEQUENCE, "b"): given[1],
        Argument(ArgumentKind.STATE, "h"): states,
    }
    run = partial(kernel.run, arrays, case.steps, case.batch)
    run()
    expected = _by_torch(given[0].float(), given[1].float(), backwards=case.backwards)
    off = _share((states[:-1] if case.backwards else states[1:]).float(), expected)
    record: Record = {**asdict(case), "difference": rounded(off)}
    if not off <= {"float32": 1e-5, "bfloat16": 1e-2}[case.dtype]:  # false for NaN
        return {**record, "error": f"off by {off:.1e} of the largest number"}
    del expected
    timings = on.race({"scan": run, "torch": partial(_by_torch, *given, backwards=case.backwards)})
    moved = 3 * case.batch * case.units * case.steps * dtype.itemsize
    record["ms"] = {name: rounded(timing.median * 1e3) for name, timing in timings.items()}
    record["gbps"] = rounded(moved / timings["scan"].median / 1e9)
    tell(f"{case}: {record['ms']} ms, {record['gbps']} GB/s")
    return record


def _by_torch(slope: Tensor, offset: Tensor, *, backwards: bool) -> Tensor:
    """The states after every step by torch's operations, which join twice as many steps each time."""
    if backwards:
        return _by_torch(slope.flip(0), offset.flip(0), backwards=False).flip(0)
    reach = 1
    while reach < len(slope):
        offset = torch.cat([offset[:reach], torch.addcmul(offset[reach:], slope[reach:], offset[:-reach])])
        slope = torch.cat([slope[:reach], slope[reach:] * slope[:-reach]])
        reach *= 2
    return offset
