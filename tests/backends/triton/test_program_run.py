"""Programs by torch's operations: the reference's numbers, for steps, their gradients and the gradients of these."""

import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

import gatewright as gw
from gatewright.backends.triton.batched_products import adjacent, multiply, stacked, sum_outer
from gatewright.backends.triton.kernel_precision import KernelPrecision
from gatewright.backends.triton.kernel_text import Argument
from gatewright.backends.triton.program_run import LoopForm, ProgramRun
from gatewright.derive import vjp
from gatewright.errors import ShapeError
from gatewright.schedule.plan import plan
from gatewright.schedule.program import Choices, Program, Time
from gatewright.trace import Trace, simplify, trace_cell
from tests.backends.triton.drawn import draw, seeds_of
from tests.parity.assertions import assert_parity
from tests.parity.matrix import CELLS, MODELS, sizes_for
from tests.schedule.running import Given, Results, after, oracle

DOUBLE = KernelPrecision("float64", "float64")
KINDS = [*sorted(MODELS), "gru", "lstm", "all at once", "layer_norm(lstm)"]


def tensors_of(given: Given) -> tuple[dict[str, torch.Tensor], ...]:
    seeds = seeds_of(given.trace, given.steps, given.batch)
    groups = ({**given.inputs, **seeds}, given.params, given.states)
    return tuple({name: torch.tensor(array) for name, array in group.items()} for group in groups)


def ran(given: Given, program: Program | None = None, form: LoopForm = "torch") -> Results:
    run = ProgramRun(program or plan(given.trace), given.sizes, DOUBLE, backwards=given.backwards)
    result = run.run(*tensors_of(given), form=form)
    states = {name: after(whole.numpy(), given.backwards) for name, whole in result.states.items()}
    numbers = ({name: x.numpy() for name, x in group.items()} for group in (result.emits, result.sums))
    return {"states": states, **dict(zip(("emits", "sums"), numbers, strict=True))}


def check(given: Given, program: Program | None = None, form: LoopForm = "torch") -> None:
    assert_parity(
        ran(given, program, form), oracle(given), dtype="float64", steps=given.steps, width=256,
        cell=given.trace.name, backend="triton",
    )  # fmt: skip


def traces_of(name: str) -> tuple[Trace, ...]:
    step = simplify(trace_cell(CELLS[name]))
    gradient = vjp(step, outputs=[state.name for state in step.states])
    return step, vjp(step), gradient, vjp(gradient)


@pytest.mark.parametrize("name", KINDS)
def test_steps_and_their_gradients(name: str, rng: np.random.Generator) -> None:
    for trace in traces_of(name):
        check(draw(trace, sizes_for(trace), 4, 2, rng))


@pytest.mark.parametrize("form", ["resident", "stepped"])
@pytest.mark.parametrize("name", ["gru", "lstm_projected", "layer_norm(gru)", "sru", "slstm"])
def test_kernels_run_all_passes(name: str, form: LoopForm, rng: np.random.Generator) -> None:
    for trace in traces_of(name)[:3]:
        check(draw(trace, sizes_for(trace), 3, 2, rng), form=form)


@gw.cell
def shared_memory(x, h, c, W, U, b):
    """A cell whose second state is made of parameters alone, and so is a gate."""
    f = gw.sigmoid(b.f)
    return f * h + (1 - f) * gw.tanh(W.n @ x + U.n @ h + c), gw.sigmoid(b.c)


@pytest.mark.parametrize("form", ["torch", "resident", "stepped"])
@pytest.mark.parametrize(("steps", "batch"), [(5, 3), (4, 5), (5, 5)])
def test_vectors_that_all_rows_share_are_no_numbers_of_rows(
    form: LoopForm, steps: int, batch: int, rng: np.random.Generator
) -> None:
    """There are as many units as steps, or as rows."""
    trace = trace_cell(shared_memory)
    for traced in (trace, vjp(trace)):
        check(draw(traced, sizes_for(traced), steps, batch, rng), form=form)


@pytest.mark.parametrize(("steps", "batch"), [(0, 2), (1, 1), (3, 0)])
@pytest.mark.parametrize("name", ["lstm_projected", "layer_norm(gru)", "sru"])
def test_nothing_to_do_and_little_to_do(name: str, steps: int, batch: int, rng: np.random.Generator) -> None:
    for trace in traces_of(name)[:2]:
        check(draw(trace, sizes_for(trace), steps, batch, rng))


@pytest.mark.parametrize("name", ["mingru", "sru", "layer_norm(sru)"])
@pytest.mark.parametrize("steps", [0, 1, 7])
def test_scans(name: str, steps: int, rng: np.random.Generator) -> None:
    for trace in traces_of(name)[:2]:
        program = plan(trace, Choices(time=Time.SCAN))
        assert program.scan
        given = draw(trace, sizes_for(trace), steps, 3, rng)
        check(given, program)
        check(given, program, form="resident")


@pytest.mark.parametrize(
    ("name", "time", "form"),
    [
        *((name, time, "torch") for name in ("gru", "lstm", "sru", "layer_norm(sru)", "zoneout(gru)") for time in Time),
        ("gru", Time.LOOP, "resident"),
        ("layer_norm(lstm)", Time.LOOP, "resident"),
        ("gru", Time.LOOP, "stepped"),
        ("sru", Time.SCAN, "resident"),
    ],
)
def test_rows_that_end_early(name: str, time: Time, form: LoopForm, rng: np.random.Generator) -> None:
    """Each row gives what it gives alone, and sums are those of all rows; garbage after the end reaches nothing."""
    lengths = [3, 0, 7]
    for trace in traces_of(name)[:3]:
        given = draw(trace, sizes_for(trace), 7, 3, rng)
        program = plan(trace, Choices(time=time))
        inputs, params, states = tensors_of(given)
        over = torch.arange(7)[:, None] >= torch.tensor(lengths)
        inputs = {
            name: x.masked_fill(over[(..., *[None] * (x.dim() - 2))], float("nan") if x.is_floating_point() else -1)
            for name, x in inputs.items()
        }
        run = ProgramRun(program, given.sizes, DOUBLE, backwards=given.backwards)
        result = run.run(inputs, params, states, torch.tensor(lengths, dtype=torch.int32), form=form)
        sums = {name: torch.zeros_like(total) for name, total in result.sums.items()}
        for row, length in enumerate(lengths):
            part = {name: x[:length, row : row + 1] for name, x in inputs.items()}
            alone = run.run(part, params, {name: x[row : row + 1] for name, x in states.items()}, form="torch")
            for state, whole in result.states.items():
                torch.testing.assert_close(whole[: length + 1, row], alone.states[state][:, 0])
                assert not whole[length + 1 :, row].any()
            for emit, emitted in result.emits.items():
                torch.testing.assert_close(emitted[:length, row], alone.emits[emit][:, 0])
                assert not emitted[length:, row].any()
            for key, total in alone.sums.items():
                sums[key] += total
        for key, total in sums.items():
            torch.testing.assert_close(result.sums[key], total)


@pytest.mark.parametrize("form", ["resident", "stepped", "persistent", None])
@pytest.mark.parametrize(("batch", "hidden", "widest"), [(2**29, 5, "h"), (1, 2**16, "U.r")])
def test_what_kernels_cannot_count_is_refused(form: LoopForm | None, batch: int, hidden: int, widest: str) -> None:
    """Nothing is allocated before."""
    step = simplify(trace_cell(CELLS["gru"]))
    run = ProgramRun(plan(step), {"input": 1, "hidden": hidden}, DOUBLE)
    x = torch.zeros(1, 1, 1, dtype=torch.float64).expand(3, batch, 1)
    with pytest.raises(ShapeError) as raised:
        run.run({"x": x}, {}, {}, form=form)
    elements = batch * hidden if widest == "h" else hidden**2
    assert str(raised.value) == (
        "'gru' is too large for a kernel: offsets within a step, or a parameter, have 32 bits\n"
        "  expected: at most 2147483647 numbers\n"
        f"  got: {elements} in {widest}, with {batch} rows\n"
        "  do: call the layer for some of the rows at a time, or with backend='torch'"
    )


def test_threads_take_turns_in_the_interpreter(rng: np.random.Generator) -> None:
    """Each of two tiles of rows is a program, whose number the interpreter keeps for all threads."""
    step = simplify(trace_cell(CELLS["layer_norm(gru)"]))
    given = draw(step, sizes_for(step), 2, 17, rng)
    want, interval = oracle(given), sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(3) as threads:
            results = list(threads.map(lambda _: ran(given, form="resident"), range(6)))
    finally:
        sys.setswitchinterval(interval)
    for result in results:
        assert_parity(result, want, dtype="float64", steps=2, width=256)


def test_autocast_rounds_no_product(rng: np.random.Generator) -> None:
    for trace in traces_of("gru")[:2]:
        given = draw(trace, sizes_for(trace), 3, 2, rng)
        run = ProgramRun(plan(trace), given.sizes, KernelPrecision(), backwards=given.backwards)
        tensors = [{name: x.float() for name, x in group.items()} for group in tensors_of(given)]
        for form in ("torch", "resident"):
            results = []
            for enabled in (False, True):
                with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
                    result = run.run(*tensors, form=form)
                results.append({**result.states, **result.emits, **result.sums})
            assert_parity(results[1], results[0], dtype="float32", steps=3, width=256)


def test_matrices_that_lie_one_behind_the_other_are_not_copied() -> None:
    packed = torch.randn(6, 3)
    parts = [packed[0:2], packed[2:4], packed[4:6]]
    view = adjacent(parts)
    assert view is not None
    assert view.data_ptr() == packed.data_ptr()
    assert torch.equal(view, packed.view(3, 2, 3))
    for others in (parts[::2], parts[::-1], [packed[0:2], torch.randn(2, 3)], [packed[:, :1], packed[:, 1:2]]):
        assert adjacent(others) is None
        assert torch.equal(stacked(others), torch.stack(others))


def test_products_and_sums() -> None:
    vectors, matrices, right = torch.randn(4, 2, 3), torch.randn(5, 6, 3), torch.randn(4, 2, 7)
    for precision in (KernelPrecision(), KernelPrecision(operands="bfloat16"), KernelPrecision(operands="float16")):
        dtype = getattr(torch, precision.operands)
        v, m, r = (operand.to(dtype).float() for operand in (vectors, matrices, right))
        torch.testing.assert_close(
            multiply(vectors, matrices, precision, transposed=False), torch.einsum("tbi,nji->ntbj", v, m)
        )
        torch.testing.assert_close(
            multiply(vectors, matrices.mT, precision, transposed=True), torch.einsum("tbi,nji->ntbj", v, m)
        )
        lefts = torch.randn(5, 4, 2, 6)
        torch.testing.assert_close(
            sum_outer(lefts, right, precision), torch.einsum("ntbi,tbj->nij", lefts.to(dtype).float(), r)
        )


@pytest.mark.parametrize("operands", ["bfloat16", "float16"])
def test_matrices_of_steps_are_rounded_once(
    operands: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kernels that read matrices at every step are given them narrow; the others round them to the same numbers."""
    given = draw(simplify(trace_cell(CELLS["gru"])), {"input": 3, "hidden": 5}, 4, 2, rng)
    precision = KernelPrecision("float32", "bfloat16" if operands == "bfloat16" else "float16")
    run = ProgramRun(plan(given.trace), given.sizes, precision)
    sequences, params, starts = ({name: x.float() for name, x in group.items()} for group in tensors_of(given))
    dtypes: set[torch.dtype] = set()
    launch = run.stepped.run

    def recorded(arrays: Mapping[Argument, torch.Tensor | None], steps: int, batch: int) -> None:
        dtypes.update(array.dtype for one, array in arrays.items() if array is not None and one.name.startswith("U."))
        launch(arrays, steps, batch)

    monkeypatch.setattr(run.stepped, "run", recorded)
    got = run.run(sequences, params, starts, form="stepped").states["h"]
    want = run.run(sequences, params, starts, form="resident").states["h"]
    assert dtypes == {getattr(torch, operands)}
    torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-6)
