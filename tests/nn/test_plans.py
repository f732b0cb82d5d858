"""What a layer says of itself before it runs: its backend, its passes, what it saves, and its kernels."""

from dataclasses import replace

import pytest
import torch

import gatewright as gw
from gatewright import kernel_cache as cache
from gatewright.backends.llvm.parallel import openmp
from gatewright.backends.llvm.runtime.amx_support import AmxSupport
from gatewright.backends.llvm.runtime.engine import Engine, KernelOrigin
from gatewright.backends.llvm.runtime.runner import contention
from gatewright.nn import plans
from gatewright.nn.engine.differentiable import differentiable

GRU = """\
llvm: compiled for this processor
  before the loop  3 products, 1 stage
  in the loop      3 products, 1 stage
  gradient         3 products in the loop; 3 products, 10 sums after it
  saved for it     4 x 16 numbers a step and row, and the states"""


@gw.cell
def leaky(x, h):
    return 0.9 * h + gw.relabel(x, like=h)


def test_a_plan_in_a_few_lines() -> None:
    plan = gw.nn.GRU(8, 16, num_layers=2, bidirectional=True).plan()
    assert str(plan) == GRU
    assert (plan.backend, plan.reason) == ("llvm", "compiled for this processor")
    assert plan.saved == {"r": 16, "z": 16, "%11": 16, "n": 16}


@pytest.mark.parametrize("name", gw.cells.CATALOGUE)
def test_the_plan_of_every_cell_is_short(name: str) -> None:
    sizes = {axis: 20 for axis in gw.trace.trace_cell(gw.cells.get(name)).axes() if axis not in ("input", "hidden")}
    lines = str(gw.nn.Recurrent(name, 200, 200, sizes=sizes).plan()).splitlines()
    assert lines[0].startswith("llvm: ")
    assert 3 <= len(lines) <= 6
    assert max(map(len, lines)) <= 80


def test_what_is_saved_is_what_a_training_step_holds() -> None:
    layer = gw.nn.LSTM(3, 7, proj_size=2)
    spec = differentiable(layer.trace, layer.sizes(), torch.float32)
    emitted = dict(spec.engines(spec.output_state).pair.forward.emits)
    assert len(layer.plan().saved) == len(emitted)
    assert sum(layer.plan().saved.values()) == 5 * 7


def test_numbers_that_are_no_multiple_of_the_units() -> None:
    plan = gw.nn.Recurrent(gw.layer_norm(gw.cells.elman()), 3, 7).plan()
    total = sum(plan.saved.values())
    assert total % 7
    assert str(plan).endswith(f"saved for it     {total} numbers a step and row, and the states")


def test_a_cell_without_parameters_and_without_anything_to_save() -> None:
    assert str(gw.nn.Recurrent(leaky, 4, 4).plan()) == (
        "llvm: compiled for this processor\n"
        "  in the loop      no products, 1 stage; elementwise, a scan may compute it\n"
        "  gradient         no products\n"
        "  saved for it     the states"
    )


@pytest.mark.parametrize("name", gw.cells.CATALOGUE)
def test_a_loop_that_a_scan_may_compute(name: str) -> None:
    sizes = {axis: 4 for axis in gw.trace.trace_cell(gw.cells.get(name)).axes() if axis not in ("input", "hidden")}
    plan = gw.nn.Recurrent(name, 4, 4, sizes=sizes).plan()
    lines = [line for line in str(plan).splitlines() if line.startswith("  in the loop ")]
    parallel = gw.trace.recurrence(plan.trace).is_parallel
    assert [line.endswith("1 stage; elementwise, a scan may compute it") for line in lines] == [parallel]


def test_another_backend_has_no_programs() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        plan = gw.nn.GRU(3, 5, dtype=torch.float64).plan()
    assert str(plan) == (
        "torch-fused: the compiled engine cannot run this: autocast is on, and the dtype is float64; torch.gru runs it "
        "(cuDNN on CUDA); masks, resets, gates and second derivatives go operation by operation"
    )
    assert (plan.program, plan.gradient, plan.saved, plan.kernels(2, 2)) == (None, None, {}, None)


def test_kernels_of_an_extent() -> None:
    plan = gw.nn.GRU(8, 16, num_layers=2).plan()
    few, many = plan.kernels(1, 1), plan.kernels(100, 64)
    assert few is not None
    assert many is not None
    assert few.threads == 1
    assert many.threads == gw.get_num_threads()
    assert "loop0" in few.layout
    assert few.layout != many.layout
    assert str(many).splitlines()[0] == (
        f"{many.target}, {many.vector_bits} bits, {many.threads} thread{'s'[: many.threads > 1]}; {many.found}"
    )
    lines = str(plan.kernels(100, 64, gradient=True)).splitlines()
    assert len(lines) == len(set(lines)) > 3
    upper = plan.kernels(100, 64, gradient=True, layer=1)
    assert upper is not None
    assert "outer_16x8 " not in upper.layout
    ragged = plan.kernels(100, 64, ragged=True)
    assert ragged is not None
    assert ragged.layout == f"{many.layout}; ragged"


def test_a_plan_says_why_threads_are_not_those_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contention, "seconds_left", lambda: 0.0)
    monkeypatch.setattr(openmp.Process, "is_forked", True)
    plan = gw.nn.GRU(256, 512).plan()
    gw.set_num_threads(2)
    try:
        several, one = plan.kernels(100, 64), plan.kernels(1, 1)
    finally:
        gw.set_num_threads(None)
    assert several is not None
    assert several.pool == "OpenMP does not work in a forked process"
    assert "loop: rows over 2) of Gatewright's own pool since OpenMP does not work in a forked process; " in str(
        several
    )
    assert one is not None
    assert one.pool == ""


def test_a_plan_says_why_there_is_no_amx(monkeypatch: pytest.MonkeyPatch) -> None:
    reason = "Linux refuses tiles: EPERM, Operation not permitted"
    monkeypatch.setattr(plans, "amx_support", lambda target: AmxSupport(None, reason))
    layer = gw.nn.GRU(8, 16)
    exact = layer.plan().kernels(3, 16)
    assert exact is not None
    assert exact.no_amx == ""
    assert "AMX" not in str(exact)
    layer.products = "bfloat16"
    rounded = layer.plan().kernels(3, 16)
    assert rounded is not None
    assert rounded.no_amx == reason
    assert str(rounded).splitlines()[0].endswith(f"{rounded.found}; AMX is off since {reason}")


def test_how_threads_divide_an_extent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contention, "seconds_left", lambda: 0.0)  # earlier tests may have run on a busy machine
    plan = gw.nn.GRU(256, 512).plan()
    gw.set_num_threads(2)
    try:
        found = {batch: plan.kernels(100, batch) for batch in (1, 64)}
        small = plan.kernels(1, 1)
    finally:
        gw.set_num_threads(None)
    assert {batch: one.divided for batch, one in found.items() if one} == {
        1: "before: units over 2, loop: units over 2",
        64: "before: rows over 2, loop: rows over 2",
    }
    assert found[1] is not None
    shared = replace(found[1], pool="")
    assert str(shared).splitlines()[0] == (
        f"{shared.target}, {shared.vector_bits} bits, 2 threads (before: units over 2, loop: units over 2); "
        f"{shared.found}"
    )
    assert (
        "2 threads (before: units over 2, loop: units over 2), 1 for the next 30 ms since other work uses the"
        in str(replace(shared, alone=0.03))
    )
    assert small is not None
    assert (small.threads, small.divided) == (1, "before: one thread, loop: one thread")


def test_where_kernels_are_found() -> None:
    layer = gw.nn.Recurrent("elman", 5, 13, dtype=torch.float64)  # no other test compiles it
    plan = layer.plan()
    engine = differentiable(plan.trace, plan.sizes[0], torch.float64).inference
    assert engine.origin(3, 2) is KernelOrigin.NOWHERE
    engine.kernels(3, 2)
    assert engine.origin(3, 2) is KernelOrigin.IN_MEMORY
    assert Engine(engine.program, engine.sizes, engine.dtype).origin(3, 2) is KernelOrigin.ON_DISK
    kernels = plan.kernels(3, 2)
    assert kernels is not None
    assert str(kernels.found) == "in memory"


def test_a_run_uses_the_kernels_that_are_told() -> None:
    layer = gw.nn.Recurrent("elman", 5, 14, dtype=torch.float64)
    before = layer.plan().kernels(3, 2)
    with torch.no_grad():
        layer(torch.zeros(3, 2, 5, dtype=torch.float64))
    after = layer.plan().kernels(3, 2)
    assert before is not None
    assert after is not None
    assert (before.found, after.found) == (KernelOrigin.NOWHERE, KernelOrigin.IN_MEMORY)


def test_nothing_is_compiled_but_what_runs() -> None:
    """To find out whether kernels can run on a layer's own tensors, none are made."""

    def asked() -> int:
        status = cache.status()
        return status.hits + status.misses

    layer, x = gw.nn.GRU(5, 15, backend="llvm"), torch.zeros(5, 4, 5)  # no other test compiles it
    before = asked()
    with torch.no_grad():
        layer(x)
    assert asked() - before == 1
    output, _ = layer(x)
    assert asked() - before == 2
    output.sum().backward()
    assert asked() - before == 3
