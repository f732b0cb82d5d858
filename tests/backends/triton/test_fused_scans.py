"""Scans with what is elementwise around them in one kernel: the numbers of single stages, and fewer arrays moved."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from gatewright.backends.triton.kernel_precision import KernelPrecision
from gatewright.backends.triton.kernel_text import ArgumentKind
from gatewright.backends.triton.pass_kernels import PassKernels
from gatewright.backends.triton.program_run import ProgramRun, ProgramTensors
from gatewright.backends.triton.scan_launch import ScanKernel
from gatewright.backends.triton.scan_stage import scan_stage
from gatewright.derive import vjp
from gatewright.schedule.fused import FusedScan, PassPart, program_parts
from gatewright.schedule.plan import plan
from gatewright.schedule.program import Choices, Phase, Program, Time
from gatewright.schedule.residuals import save
from gatewright.trace import Trace, simplify, trace_cell
from tests.backends.triton.drawn import draw, seeds_of
from tests.backends.triton.processes import json_of
from tests.parity.matrix import CELLS, sizes_for
from tests.schedule.test_scan import MADE

DOUBLE = KernelPrecision("float64", "float64")
SCANS = Choices(time=Time.SCAN)
RUNS = ("inference", "saving", "gradient", "twice")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What the interpreter computes in padded lanes is thrown away."""
    with np.errstate(all="ignore"):
        yield


def trace_of(name: str, run: str) -> Trace:
    step = simplify(trace_cell({**CELLS, **MADE}[name]))
    if run == "inference":
        return step
    if run == "twice":
        return vjp(vjp(step))
    pair = save(step, (step.states[0].name,))
    return pair.forward if run == "saving" else pair.backward


def tensors(result: ProgramTensors) -> dict[str, torch.Tensor]:
    groups = {"state": result.states, "emit": result.emits, "sum": result.sums}
    return {f"{kind} {name}": tensor for kind, group in groups.items() for name, tensor in group.items()}


def check(name: str, run: str, steps: int, lengths: list[int] | None, *, backwards: bool) -> None:
    """Hold fused kernels to stages that torch computes one after the other."""
    trace = trace_of(name, run)
    sizes = dict.fromkeys(trace.axes(), 3) if name in MADE else sizes_for(trace_of(name, "inference"))
    given = draw(trace, sizes, steps, 3, np.random.default_rng(steps))
    sequences, params, starts = (
        {name: torch.tensor(array) for name, array in group.items()}
        for group in ({**given.inputs, **seeds_of(trace, steps, 3)}, given.params, given.states)
    )
    ends = None if lengths is None else torch.tensor(lengths, dtype=torch.int32)
    over = torch.zeros(steps, 3, dtype=torch.bool) if ends is None else torch.arange(steps)[:, None] >= ends
    program_run = ProgramRun(plan(trace, SCANS), given.sizes, DOUBLE, backwards=backwards)

    def ran(padding: float, form: str) -> dict[str, torch.Tensor]:
        padded = {
            name: x.masked_fill(over[(..., *[None] * (x.dim() - 2))], padding if x.is_floating_point() else -1)
            for name, x in sequences.items()
        }
        return tensors(program_run.run(padded, params, starts, ends, form=form))

    got, want = ran(float("nan"), "stepped"), ran(0.0, "torch")
    for key, tensor in want.items():
        torch.testing.assert_close(got[key], tensor, rtol=1e-9, atol=1e-11, msg=lambda text, key=key: f"{key}: {text}")


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("name", ["mingru", "qrnn", "tlstm", "residual(sru)", "layer_norm(hgrn)", "odd", "replaced"])
def test_fused_kernels_give_what_single_stages_give(name: str, run: str) -> None:
    check(name, run, 7, [7, 0, 3], backwards=run == "gradient")
    check(name, run, 5, None, backwards=run != "gradient")


@pytest.mark.parametrize("steps", [0, 1, 130])
def test_sequences_of_all_lengths(steps: int) -> None:
    for run in ("saving", "gradient"):
        check("sru", run, steps, [steps, 0, steps // 2], backwards=False)


def alone(program: Program) -> list[FusedScan | PassPart]:
    """Every stage by itself."""
    stages = ((phase, stage) for phase, stages in program.passes() for stage in stages)
    return [FusedScan(stage) if stage.scans else PassPart(phase, (stage,)) for phase, stage in stages]


def arrays_moved(program: Program, parts: list[FusedScan | PassPart]) -> int:
    """How many arrays (time, batch, ...) kernels read and write, with products that torch writes."""
    count, sizes = 0, dict.fromkeys(program.trace.axes(), 64)
    for part in parts:
        stages = (part.stage,) if isinstance(part, FusedScan) else part.stages
        count += sum(len(stage.products) for stage in stages)
        if isinstance(part, FusedScan):
            arguments = ScanKernel(scan_stage(program, part), sizes).arguments
        else:
            passed = PassKernels(program, part.stages, sizes, KernelPrecision())
            arguments = tuple(argument for text in passed.texts for argument in text.arguments)
            if not any(stage.stores for group in passed.groups for stage in group.stages):
                arguments = ()
        count += sum(argument.kind in (ArgumentKind.SEQUENCE, ArgumentKind.STATE) for argument in arguments)
    return count


MOVED = {
    # cell: (stages alone, fused) of inference, of the run that saves, of the gradient
    "mingru": ((9, 5), (9, 7), (11, 8)),
    "minlstm": ((11, 7), (13, 10), (14, 10)),
    "hgrn": ((9, 5), (11, 9), (13, 10)),
    "qrnn": ((15, 8), (15, 11), (17, 12)),
    "sru": ((19, 10), (17, 12), (19, 14)),
}


@pytest.mark.parametrize("name", MOVED)
def test_fewer_arrays_are_moved(name: str) -> None:
    """The table of docs/gpu.md."""
    counted = []
    for run in RUNS[:3]:
        program = plan(trace_of(name, run), SCANS)
        counted.append((arrays_moved(program, alone(program)), arrays_moved(program, list(program_parts(program)))))
    assert tuple(counted) == MOVED[name]


@pytest.mark.parametrize("name", sorted(MADE))
@pytest.mark.parametrize("run", RUNS)
def test_each_stage_is_computed_once(name: str, run: str) -> None:
    """Whatever is fused, what a Program stores for others is stored by one part."""
    program = plan(trace_of(name, run), SCANS)
    parts = program_parts(program)
    stages = [one for part in parts for one in ((part.stage,) if isinstance(part, FusedScan) else part.stages)]
    stored = [(store.storage, store.name) for stage in stages for store in stage.stores]
    assert len(stored) == len(set(stored))
    assert {scan.target for stage in stages for scan in stage.scans} == {
        scan.target for stage in program.scan for scan in stage.scans
    }
    loops = [part for part in parts if isinstance(part, PassPart) and part.phase is Phase.LOOP]
    assert [part.stages for part in loops] == ([program.loop] if program.loop else [])


COMPILED = """
import json

from gatewright import cells
from gatewright.backends.triton.chips import CHIPS
from gatewright.backends.triton.choice import resources_of
from gatewright.backends.triton.kernel_precision import KernelPrecision
from gatewright.backends.triton.newton_iteration import newton_stage
from gatewright.backends.triton.program_run import ProgramRun
from gatewright.backends.triton.scan_kernel import SPANS, ScanPhase
from gatewright.backends.triton.scan_launch import ScanKernel
from gatewright.schedule.linearized import linearized
from gatewright.schedule.plan import plan
from gatewright.schedule.program import Choices, Time
from gatewright.schedule.residuals import save
from gatewright.trace import simplify, trace_cell

sizes = {"hidden": 1024, "input": 1024}
run = ProgramRun(plan(save(trace_cell(cells.sru)).backward, Choices(time=Time.SCAN)), sizes, backwards=True)
unicornn = simplify(trace_cell(cells.unicornn))
step = newton_stage(linearized(unicornn), frozenset(param.name for param in unicornn.params))
kernels = {
    "scan": next(run.scan_kernel(part) for part in run.parts if getattr(part, "shifted", ())),
    "iteration": ScanKernel(step, sizes, backwards=True),
}
taken = {}
for name, kernel in kernels.items():
    for target in ("sm_90", "gfx942"):
        memory = {SPANS: None}
        options = kernel.options_on(CHIPS[target], memory, ScanPhase.WHOLE)
        resources = resources_of(kernel.text, CHIPS[target], KernelPrecision(), options, memory)
        taken[f"{name} {target}"] = [options.constants["C"], resources.spilled_bytes]
print(json.dumps(taken))
"""


def test_nothing_is_spilled_on_chips_that_are_not_there() -> None:
    taken = json_of(COMPILED)
    assert len(taken) == 4
    assert all(chunk >= 16 and spilled == 0 for chunk, spilled in taken.values()), taken
