"""What a forward run saves: the gradient that is given it is the gradient."""

from dataclasses import replace

import numpy as np
import pytest

from gatewright import cells
from gatewright.backends import numpy_ref
from gatewright.derive import adjoint, seed, vjp
from gatewright.lang import cell, exp, maximum, mean, tanh
from gatewright.lang.ops import Op
from gatewright.schedule.plan import plan
from gatewright.schedule.program import Choices, Save, Time
from gatewright.schedule.residuals import StepPair, save, saved
from gatewright.trace import Var, simplify, trace_cell
from gatewright.trace.analysis import shared
from tests.parity.assertions import assert_parity
from tests.parity.matrix import CELLS, MODELS, Problem, problem
from tests.schedule.running import Arrays, Given, Results, interpreted

STEPS, BATCH = 5, 2
VARIED = [
    'gru(reset="after")', "masked(lstm)", "zoneout(lstm)", "recurrent_dropout(gru)", "layer_norm(lstm)",
    "layer_norm(sru)", "residual(gru)", "all at once",
]  # fmt: skip


def gradient_of(
    given: Problem, pair: StepPair, seen: tuple[str, ...], seeds: Arrays, choices: Choices | None = None
) -> Results:
    """The gradient by two Programs: one that saves, and one that is given what was saved."""
    given = replace(given, trace=pair.forward)
    forward = interpreted(
        Given(
            pair.forward, given.sizes, given.steps, given.batch,
            given.inputs, given.noises, given.params, given.states, backwards=False,
        ),
        plan(pair.forward, choices),
    )  # fmt: skip
    before = {name: np.concatenate([given.states[name][None], after])[:-1] for name, after in forward["states"].items()}
    known = {**given.inputs, **before, **forward["emits"], **{seed(name): seeds[name] for name in seen}}
    backward = interpreted(
        Given(
            pair.backward, given.sizes, given.steps, given.batch,
            {value.name: known[value.name] for value in pair.backward.inputs}, given.noises, given.params,
            {adjoint(name): final for name, final in given.d_finals.items()}, backwards=True,
        ),
        plan(pair.backward, choices),
    )  # fmt: skip
    return {
        "inputs": {name: backward["emits"][adjoint(name)] for name in given.inputs},
        "params": {name: backward["sums"][adjoint(name)] for name in given.params},
        "states": {name: backward["states"][adjoint(name)][0] for name in given.states},
    }


def check(given: Problem, seen: tuple[str, ...], rng: np.random.Generator, choices: Choices | None = None) -> StepPair:
    """Hold a saving pair to the reference's gradient by the states in `seen`."""
    trace = simplify(given.trace)
    given = replace(given, trace=trace, params={v.name: given.params[v.name] for v in trace.params})
    pair = save(trace, seen, choices)
    seeds = {name: rng.normal(size=(STEPS, *given.states[name].shape)) for name in seen}
    want = numpy_ref.gradient(
        trace, given.inputs, given.params, given.states,
        d_outputs=seeds, d_finals=given.d_finals, noises=given.noises,
    )  # fmt: skip
    assert_parity(
        gradient_of(given, pair, seen, seeds, choices),
        {"inputs": want.inputs, "params": want.params, "states": want.states},
        dtype="float64", steps=STEPS, width=given.width, cell=trace.name, backend="interpreter",
    )  # fmt: skip
    return pair


@pytest.mark.parametrize("name", [*sorted(MODELS), *VARIED])
def test_a_gradient_that_is_given_what_was_saved(name: str, rng: np.random.Generator, seed: int) -> None:
    given = problem(CELLS[name], STEPS, BATCH, seed)
    names = tuple(state.name for state in given.trace.states)
    pairs = [check(given, seen, rng) for seen in dict.fromkeys([names[:1], names, ()])]
    for pair in pairs:
        assert_nothing_is_saved_in_vain(pair)


@pytest.mark.parametrize("save_", Save)
@pytest.mark.parametrize("name", ["mingru", "minlstm", "sru", "qrnn", "hgrn", "scrn", "masked(sru)", "zoneout(sru)"])
def test_a_gradient_by_scans(name: str, save_: Save, rng: np.random.Generator, seed: int) -> None:
    given = problem(CELLS[name], STEPS, BATCH, seed)
    names = tuple(state.name for state in given.trace.states)
    for seen in dict.fromkeys([names[:1], names]):
        check(given, seen, rng, Choices(save_, Time.SCAN))


def assert_nothing_is_saved_in_vain(pair: StepPair) -> None:
    inputs = {value.name for value in pair.backward.inputs}
    used = {arg.name for one in pair.backward.equations for arg in one.args if isinstance(arg, Var)}
    used |= {value.name for value in pair.backward.outputs() if isinstance(value, Var)}
    assert set(pair.saved) <= inputs & used
    assert [name for name, _ in pair.forward.emits] == list(pair.saved)


@pytest.mark.parametrize("name", ["gru", "slstm", "layer_norm(lstm)"])
def test_a_gradient_that_repeats_the_step(name: str, rng: np.random.Generator, seed: int) -> None:
    given = problem(CELLS[name], STEPS, BATCH, seed)
    pair = check(given, (given.trace.states[0].name,), rng, Choices(Save.NOTHING))
    assert pair.saved == ()
    assert pair.backward == vjp(simplify(given.trace))


def test_what_common_cells_save() -> None:
    """A GRU's three gates; with its reset gate after the product, that product too."""
    assert save(trace_cell(cells.gru)).saved == ("saved(r)", "saved(z)", "saved(n)")
    assert save(trace_cell(cells.gru(reset="after"))).saved == ("saved(r)", "saved(z)", "saved(%11)", "saved(n)")
    assert save(trace_cell(cells.lstm)).saved == ("saved(i)", "saved(f)", "saved(g)", "saved(o)", "saved(%18)")
    assert save(trace_cell(cells.elman)).saved == ("saved(h')",)


@pytest.mark.parametrize("name", cells.CATALOGUE)
def test_the_gradient_repeats_no_product_of_the_step(name: str) -> None:
    backward = save(trace_cell(CELLS[name])).backward
    vectors = {one.args[1] for one in backward.equations if one.op is Op.MATMUL}
    assert vectors.isdisjoint(backward.inputs)


@cell
def floors(x, h, U):
    """Two values that differ in a number only; -1.0 and -2.0 have one hash."""
    a = U.a @ h
    return tanh(maximum(a, -1.0)) + 0.5 * tanh(maximum(a, -2.0))


def test_values_that_differ_in_a_number_are_told_apart(rng: np.random.Generator, seed: int) -> None:
    pair = check(problem(floors, STEPS, BATCH, seed), ("h",), rng)
    assert len(pair.saved) == 3


def test_saved_values_have_the_step_s_own_names() -> None:
    trace = trace_cell(cells.lstm)
    assert save(trace, ("h", "c")).saved == save(trace, ("h",)).saved == save(trace, ()).saved
    assert saved("r") == "saved(r)"


@cell
def of_a_matrix(x, h, W):
    """Its gradient has a matrix for each row, which is summed and never kept."""
    return tanh(h + mean(exp(tanh(W.r))))


def test_no_matrix_of_a_row_is_saved() -> None:
    pair = save(vjp(simplify(trace_cell(of_a_matrix))))
    assert all(len(value.shape) < 2 for value in pair.backward.inputs)
    for trace in (pair.forward, pair.backward):
        plan(trace)


def test_what_is_the_same_for_all_rows_is_computed_again() -> None:
    """It would be saved for every row and step."""
    pairs = {name: save(simplify(trace_cell(made))) for name, made in CELLS.items()}
    known_once = {name: shared(pair.forward) for name, pair in pairs.items()}
    assert any(known_once.values())
    wrong = {
        name: [
            value.name for _, value in pair.forward.emits if isinstance(value, Var) and value.name in known_once[name]
        ]
        for name, pair in pairs.items()
    }
    assert {name: values for name, values in wrong.items() if values} == {}
