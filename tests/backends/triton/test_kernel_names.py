"""Values of a cell may have any name, also those that a kernel has for its own parameters, variables and functions."""

import re
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

import gatewright as gw
from gatewright.backends.triton.kernel_text import KernelText
from gatewright.backends.triton.persistent_kernel import persistent_text
from gatewright.backends.triton.program_run import LoopForm, ProgramRun
from gatewright.backends.triton.resident_kernel import resident_text
from gatewright.backends.triton.scan_kernel import carry_text, scan_text
from gatewright.backends.triton.scan_stage import ScanStage, scan_stage
from gatewright.backends.triton.stepped import SteppedLoop
from gatewright.schedule.fused import FusedScan, program_parts
from gatewright.schedule.plan import plan
from gatewright.schedule.program import Choices, Program, Time
from gatewright.trace import Trace, simplify, trace_cell
from gatewright.trace.ir import renamed
from tests.backends.triton.staged import DOUBLE
from tests.parity.assertions import assert_parity
from tests.schedule.running import draw, oracle

SIZES = {"input": 2, "hidden": 3}


@gw.cell
def gated(x, h, W, U, p):
    """Every kind of work in a loop, with functions that a kernel brings along."""
    m = h - gw.mean(h)
    r = gw.maximum(gw.softplus(m), 0.1)
    z = gw.hard_sigmoid(U.z @ (r * m))
    n = gw.relu(W.n @ x + z) - gw.sign(h)
    k = gw.minimum(z * n, gw.sigmoid(m))
    return gw.tanh(k + p.h * h)


@gw.cell
def affine(x, h, m, W, p):
    """A state that a scan computes, and one whose slopes are computed in its kernel."""
    f = gw.sigmoid(W.f @ x)
    h = f * h + gw.tanh(f)
    g = gw.maximum(gw.softplus(p.g * h), 0.1)
    o = gw.sigmoid(gw.relu(h) - g)
    k = gw.minimum(o * g, gw.sign(h))
    return h, o * m + k


def stepped_texts(program: Program) -> list[KernelText]:
    loop = SteppedLoop(program, SIZES, DOUBLE)
    return [*loop.texts, loop.begin]


def scan_texts(program: Program) -> list[KernelText]:
    return [text(scan, SIZES) for scan in fused_scans(program) for text in (scan_text, carry_text)]


def fused_scans(program: Program) -> list[ScanStage]:
    return [scan_stage(program, part) for part in program_parts(program) if isinstance(part, FusedScan)]


FORMS: dict[LoopForm | None, tuple[gw.Cell, Choices, Callable[[Program], list[KernelText]]]] = {
    "resident": (gated, Choices(), lambda program: [resident_text(program, SIZES)]),
    "stepped": (gated, Choices(), stepped_texts),
    "persistent": (gated, Choices(), lambda program: [persistent_text(program, SIZES)]),
    None: (affine, Choices(time=Time.SCAN), scan_texts),
}


def hostile(trace: Trace, program: Program, texts: list[KernelText]) -> Iterator[Trace]:
    """The trace with the values of its kernels renamed, in turn to every word that stands in their text."""
    words = {word for text in texts for word in re.findall(r"[^\W\d]\w*", text.text)}
    words -= {value.name for value in trace.values()}
    works = (*program.loop, *fused_scans(program))
    targets = [equation.target.name for work in works for equation in work.equations]
    assert len(targets) > 3
    left = sorted(words)
    while left:
        chosen, left = left[: len(targets)], left[len(targets) :]
        yield renamed(trace, dict(zip(targets[: len(chosen)], chosen, strict=True)))


@pytest.mark.parametrize("form", FORMS)
def test_values_with_every_name_that_a_kernel_uses(form: LoopForm | None, rng: np.random.Generator) -> None:
    cell, choices, texts = FORMS[form]
    step = simplify(trace_cell(cell))
    given = draw(step, SIZES, 2, 2, rng)
    want = oracle(given)
    tensors = [
        {name: torch.from_numpy(array) for name, array in arrays.items()}
        for arrays in (given.sequences, given.params, given.states)
    ]
    program = plan(step, choices)
    for trace in hostile(step, program, texts(program)):
        result = ProgramRun(plan(trace, choices), SIZES, DOUBLE).run(*tensors, form=form)
        states = {name: whole[1:].numpy() for name, whole in result.states.items()}
        assert_parity({"states": states}, {"states": want["states"]}, dtype="float64", steps=2, width=256)
