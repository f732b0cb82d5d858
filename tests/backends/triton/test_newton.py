"""Newton's iterations over all steps: the serial loop's numbers, for cells and their derivatives, or an error."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from gatewright import cells
from gatewright.axes import bind
from gatewright.backends import numpy_ref
from gatewright.backends.triton.kernel_precision import KernelPrecision
from gatewright.backends.triton.newton import TOLERANCES, Newton, NewtonSolution, NewtonSolver, solve
from gatewright.backends.triton.newton_iteration import (
    IterationSizes,
    KernelIteration,
    NewtonArrays,
    TorchIteration,
    newton_stage,
)
from gatewright.backends.triton.program_run import ProgramRun
from gatewright.backends.triton.scan_kernel import scan_text
from gatewright.backends.triton.torch_scan import coupled_scan
from gatewright.derive import vjp
from gatewright.errors import ConvergenceError, OptionError, OptionTypeError, TraceError
from gatewright.lang import Cell, cell, sigmoid, tanh
from gatewright.schedule.linearized import linearized, unit_recurrence
from gatewright.schedule.plan import plan
from gatewright.schedule.residuals import save
from gatewright.trace import Trace, simplify, trace_cell
from tests.backends.triton.drawn import draw
from tests.parity.assertions import assert_parity
from tests.schedule.running import Given, after, oracle

DOUBLE = KernelPrecision("float64", "float64")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What the interpreter computes in padded lanes is thrown away."""
    with np.errstate(all="ignore"):
        yield


@cell
def diagonal_gru(x, h, W, b, p):
    """A GRU whose units see only themselves."""
    r = sigmoid(W.r @ x + p.r * h + b.r)
    z = sigmoid(W.z @ x + p.z * h + b.z)
    n = tanh(W.n @ x + p.n * (r * h) + b.n)
    return z * h + (1 - z) * n


@cell
def diagonal_lstm(x, h, c, W, b, p):
    """An LSTM whose units see only themselves: its Jacobian is a 2 x 2 block a unit."""
    f = sigmoid(W.f @ x + p.f * h + b.f)
    i = sigmoid(W.i @ x + p.i * h + b.i)
    o = sigmoid(W.o @ x + p.o * h + b.o)
    n = tanh(W.n @ x + p.n * h + b.n)
    c = f * c + i * n
    return o * tanh(c), c


CELLS: dict[str, Cell] = {
    "diagonal GRU": diagonal_gru,
    "diagonal LSTM": diagonal_lstm,
    "indrnn": cells.indrnn,
    "brc": cells.brc,
    "sru with peepholes": cells.sru(peephole=True),
    "unicornn": cells.unicornn,
    "mingru": cells.mingru,
}


def step(name: str) -> Trace:
    return simplify(trace_cell(CELLS[name]))


def traces_of(name: str) -> dict[str, Trace]:
    """A cell in every form that is solved."""
    states = tuple(state.name for state in step(name).states)
    pair = save(step(name), states)
    return {
        "step": step(name), "saving": pair.forward, "gradient": pair.backward,
        "recomputing gradient": vjp(step(name), states), "twice": vjp(vjp(step(name))),
    }  # fmt: skip


def tensors(arrays: dict[str, np.ndarray], dtype: torch.dtype = torch.float64) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(array, dtype=dtype) for name, array in arrays.items()}


def solved(given: Given, **options: object) -> NewtonSolution:
    groups = (tensors(group) for group in (given.sequences, given.params, given.states))
    return solve(given.trace, given.sizes, *groups, precision=DOUBLE, backwards=given.backwards, **options)


def check(given: Given, **options: object) -> NewtonSolution:
    """Hold a solution to the reference."""
    solution = solved(given, **options)
    result = solution.tensors
    got = {
        "states": {name: after(whole.numpy(), given.backwards) for name, whole in result.states.items()},
        "emits": {name: emit.numpy() for name, emit in result.emits.items()},
        "sums": {name: total.numpy() for name, total in result.sums.items()},
    }
    assert_parity(got, oracle(given), dtype="float64", steps=given.steps, width=256, cell=given.trace.name)
    return solution


@pytest.mark.parametrize("steps", [0, 1, 2, 33])
@pytest.mark.parametrize("name", CELLS)
def test_cells_and_their_derivatives(name: str, steps: int, rng: np.random.Generator) -> None:
    for kind, trace in traces_of(name).items():
        given = draw(trace, {**dict.fromkeys(trace.axes(), 5), "input": 3}, steps, 2, rng)
        report = check(given, kernels=False).report
        assert report.iterations <= (steps + 1 if kind in ("step", "saving") else 1)
        assert max(report.residual, report.correction) <= report.tolerance == TOLERANCES["float64"]


@pytest.mark.parametrize("name", CELLS)
def test_kernels(name: str, rng: np.random.Generator) -> None:
    for trace in list(traces_of(name).values())[1:]:
        given = draw(trace, {**dict.fromkeys(trace.axes(), 3), "input": 2}, 5, 2, rng)
        check(given, kernels=True)


@pytest.mark.parametrize("name", ["diagonal GRU", "diagonal LSTM"])
def test_in_the_other_direction(name: str, rng: np.random.Generator) -> None:
    """A layer's second direction: the step goes backwards, and its gradient forwards."""
    for kind in ("saving", "gradient"):
        trace = traces_of(name)[kind]
        given = draw(trace, {**dict.fromkeys(trace.axes(), 5), "input": 3}, 9, 2, rng)
        check(replace(given, backwards=not given.backwards), kernels=False)


@pytest.mark.parametrize("kernels", [False, True])
@pytest.mark.parametrize("spans", [1, 3])
@pytest.mark.parametrize("backwards", [False, True])
def test_one_iteration_by_kernels_is_one_by_torch(
    kernels: bool, spans: int, backwards: bool, rng: np.random.Generator
) -> None:
    trace, sizes = step("diagonal LSTM"), {"hidden": 3, "input": 2}
    linear = linearized(trace)
    lengths = torch.tensor([7, 0, 4], dtype=torch.int32) if kernels else None
    values = {name: torch.tensor(rng.normal(size=(7, 3, 3))) for name, _ in linear.known.emits}
    shared = {v.name: torch.tensor(rng.normal(size=3)) for v in linear.trace.inputs if v.name[:2] in ("b.", "p.")}
    arrays = NewtonArrays(values, shared, {n: torch.tensor(rng.normal(size=(3, 3))) for n in "hc"}, lengths)
    guess = {name: torch.tensor(rng.normal(size=(8, 3, 3))) for name in "hc"}
    results: list[tuple[dict[str, torch.Tensor], IterationSizes]] = []
    by_kernel = KernelIteration(linear, frozenset(shared), sizes, DOUBLE, backwards=backwards, spans=spans)
    for iterate in (by_kernel, TorchIteration(linear, sizes, backwards=backwards)):
        new = {name: states.clone() for name, states in guess.items()}
        found = iterate(arrays, guess, new)
        ends = [7] * 3 if lengths is None else lengths.tolist()
        slots = [slice(0, end) if backwards else slice(1, end + 1) for end in ends]
        results.append(({f"{n} {r}": new[n][slot, r] for n in "hc" for r, slot in enumerate(slots)}, found))
    (got, got_sizes), (want, want_sizes) = results
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
    assert got_sizes.residual == pytest.approx(want_sizes.residual, rel=1e-12)
    assert got_sizes.correction == pytest.approx(want_sizes.correction, rel=1e-12)


def random_problem(
    trace: Trace, size: int, steps: int, batch: int, scale: float, seed: int, dtype: torch.dtype = torch.float64
) -> tuple[dict[str, int], dict[str, torch.Tensor], dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Normal inputs; matrices as layers are initialised, everything else normal, all scaled."""
    generator = torch.Generator().manual_seed(seed)
    sizes = dict.fromkeys(trace.axes(), size)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    inputs = {value.name: normal(steps, batch, *bind(value.shape, sizes)).to(dtype) for value in trace.inputs}
    params = {
        value.name: (normal(*bind(value.shape, sizes)) * scale / size ** (0.5 * (len(value.shape) == 2))).to(dtype)
        for value in trace.params
    }
    starts = {state.name: normal(batch, *bind(state.shape, sizes)).to(dtype) for state in trace.states}
    return sizes, inputs, params, starts


@pytest.mark.parametrize("name", ["diagonal GRU", "diagonal LSTM", "sru with peepholes"])
@pytest.mark.parametrize(("scale", "most"), [(0.3, 7), (0.6, 12)])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_two_thousand_steps_take_few_iterations(name: str, scale: float, most: int, dtype: str) -> None:
    trace = step(name)
    sizes, inputs, params, starts = random_problem(trace, 8, 2000, 2, scale, seed=0, dtype=getattr(torch, dtype))
    precision = KernelPrecision() if dtype == "float32" else DOUBLE
    solution = solve(trace, sizes, inputs, params, starts, precision=precision, kernels=False)
    want = numpy_ref.run(trace, *({n: t.double().numpy() for n, t in g.items()} for g in (inputs, params, starts)))
    got = {name: states[1:].numpy() for name, states in solution.tensors.states.items()}
    assert_parity(got, want.sequences, dtype=dtype, steps=2000, cell=name)
    assert solution.report.iterations <= most


def test_windows_reach_what_the_whole_does_not() -> None:
    """Products of slopes above 1 overflow over many steps; over few they do not."""
    trace = step("diagonal LSTM")
    sizes, inputs, params, starts = random_problem(trace, 8, 2000, 2, 2.0, seed=1)
    solver = NewtonSolver(trace, sizes, DOUBLE, kernels=False)
    with pytest.raises(ConvergenceError) as refused:
        solver.solve(inputs, params, starts, options=Newton(max_iterations=30))
    lines = str(refused.value).splitlines()
    assert lines[0] == "cell 'diagonal_lstm': 30 iterations over 2000 steps did not converge"
    assert lines[1] == "  expected: a residual and a correction of at most 1.0e-10 of the largest state"
    assert lines[2].startswith("  got: residual ")
    assert lines[3] == (
        "  do: Newton(window=250) solves shorter pieces one after the other; Newton(falls_back=True) runs a layer's "
        "loop, step by step, where this happens"
    )
    solution = solver.solve(inputs, params, starts, options=Newton(window=128))
    want = numpy_ref.run(trace, *({n: t.numpy() for n, t in g.items()} for g in (inputs, params, starts)))
    got = {name: states[1:].numpy() for name, states in solution.tensors.states.items()}
    assert_parity(got, want.sequences, dtype="float64", steps=2000, cell="diagonal LSTM in windows")


@pytest.mark.parametrize("name", ["diagonal GRU", "diagonal LSTM", "unicornn"])
@pytest.mark.parametrize("window", [None, 1, 4])
def test_rows_that_end_early(name: str, window: int | None, rng: np.random.Generator) -> None:
    """What the loop gives, in every slot; what stands in padding is zero."""
    lengths = torch.tensor([9, 0, 4, 5], dtype=torch.int32)
    for kind in ("step", "saving", "gradient"):
        trace = traces_of(name)[kind]
        given = draw(trace, {**dict.fromkeys(trace.axes(), 5), "input": 3}, 9, 4, rng)
        for sequence in given.inputs.values():
            sequence[np.arange(9)[:, None] >= lengths.numpy()] = 0.0
        groups = [tensors(group) for group in (given.sequences, given.params, given.states)]
        run = ProgramRun(plan(trace), given.sizes, DOUBLE, backwards=given.backwards)
        want = run.run(*groups, lengths)
        got = solve(
            trace, given.sizes, *groups, lengths, precision=DOUBLE, backwards=given.backwards, kernels=False,
            options=Newton(window=window),
        ).tensors  # fmt: skip
        for mine, theirs in ((got.emits, want.emits), (got.sums, want.sums), (got.states, want.states)):
            torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-11)


def test_the_gradient_is_that_of_the_serial_loop(rng: np.random.Generator) -> None:
    """One scan backwards, from the states of the solution."""
    for name in ("diagonal GRU", "diagonal LSTM"):
        trace = step(name)
        names = tuple(state.name for state in trace.states)
        sizes, inputs, params, starts = random_problem(trace, 6, 300, 2, 0.5, seed=2)
        states = solve(trace, sizes, inputs, params, starts, precision=DOUBLE, kernels=False).tensors.states
        seeds = {f"d({n}.out)": torch.tensor(rng.normal(size=states[n][1:].shape)) for n in names}
        before = {n: states[n][:-1] for n in names}
        gradient = vjp(trace, names)
        got = solve(
            gradient, sizes, {**inputs, **before, **seeds}, params, {}, precision=DOUBLE, backwards=True, kernels=False
        )
        arrays = ({n: t.numpy() for n, t in group.items()} for group in (inputs, params, starts))
        want = numpy_ref.gradient(trace, *arrays, d_outputs={n: seeds[f"d({n}.out)"].numpy() for n in names})
        found = {
            "inputs": {n: got.tensors.emits[f"d({n})"].numpy() for n in inputs},
            "params": {n: got.tensors.sums[f"d({n})"].numpy() for n in params},
            "states": {n: got.tensors.states[f"d({n})"][0].numpy() for n in names},
        }
        wanted = {"inputs": want.inputs, "params": want.params, "states": want.states}
        assert_parity(found, wanted, dtype="float64", steps=300, cell=name)
        assert got.report.iterations == 1


def test_cells_are_found_by_their_equations() -> None:
    found = {name for name, made in cells.CATALOGUE.items() if not unit_recurrence(simplify(trace_cell(made))).obstacle}
    assert {"indrnn", "brc", "unicornn", "mingru", "sru"} <= found
    assert found.isdisjoint({"gru", "lstm", "elman", "nbrc", "mut3"})
    assert not linearized(step("diagonal GRU")).is_affine
    assert linearized(step("mingru")).is_affine
    assert all(linearized(traces_of(name)["gradient"]).is_affine for name in CELLS)


def test_cells_whose_units_see_each_other_are_refused() -> None:
    with pytest.raises(TraceError) as refused:
        NewtonSolver(trace_cell(cells.gru), {"input": 3, "hidden": 4})
    lines = str(refused.value).splitlines()
    assert lines[0] == "cell 'gru' cannot be solved for all steps at once"
    assert lines[1] == "  expected: a cell whose units recur each by itself"
    assert lines[2].startswith("  got: a unit reaches others through matmul U.")
    assert lines[3] == "  do: run the loop, step by step"


@pytest.mark.parametrize("option", ["tolerance", "max_iterations", "window"])
def test_options_are_positive(option: str) -> None:
    with pytest.raises(OptionError, match=f"{option} is not positive"):
        Newton(**{option: 0})


@pytest.mark.parametrize(
    ("option", "value"),
    [("tolerance", "a"), ("max_iterations", 2.5), ("max_iterations", None), ("window", True), ("falls_back", 3)],
)
def test_options_of_other_types_are_refused(option: str, value: Any) -> None:
    with pytest.raises(OptionTypeError, match=option):
        Newton(**{option: value})


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("backwards", [False, True])
def test_coupled_scans_of_torch(count: int, backwards: bool, rng: np.random.Generator) -> None:
    slopes, offsets = rng.normal(size=(count, count, 13, 2)) * 0.5, rng.normal(size=(count, 13, 2))
    state = firsts = rng.normal(size=(count, 2))
    got = coupled_scan(
        [[torch.tensor(slope) for slope in row] for row in slopes], [torch.tensor(part) for part in offsets],
        [torch.tensor(first) for first in firsts], backwards=backwards,
    )  # fmt: skip
    for t in reversed(range(13)) if backwards else range(13):
        state = np.einsum("ijb,jb->ib", slopes[:, :, t], state) + offsets[:, t]
        np.testing.assert_allclose(np.stack([part[t].numpy() for part in got]), state, rtol=1e-12, atol=1e-12)


def test_text(golden: Callable[[str, str], None]) -> None:
    trace = step("diagonal GRU")
    stage = newton_stage(linearized(trace), frozenset(param.name for param in trace.params))
    golden("triton/diagonal_gru_newton.txt", scan_text(stage, {"hidden": 64}).text)
