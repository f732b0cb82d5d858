"""The eager backend: each op beside the reference's, odd cells, drawn values, and work that leaves the loop."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import gatewright as gw
from gatewright import cells
from gatewright.backends import numpy_ref, torch_eager
from gatewright.lang import OPS, Cell, Op
from gatewright.lang.ops import ELEMENTWISE
from gatewright.trace import trace_cell
from tests.backends.odd_cells import ODD
from tests.parity.assertions import assert_parity
from tests.parity.matrix import numpy_results, problem, torch_results

CORNERS = [-2.5, -1.0, 0.0, 1.0, 2.5, 3.0]  # of relu, abs, hard_sigmoid (slope 0.2) and ties
LIKE = torch.zeros(1, dtype=torch.float64)


def test_there_is_a_rule_for_every_op() -> None:
    assert set(torch_eager.rules(LIKE)) == set(Op)


@pytest.mark.parametrize("op", sorted(ELEMENTWISE), ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_elementwise_op_gives_what_the_reference_s_gives(op: Op, dtype: str) -> None:
    columns = np.array(np.meshgrid(*[CORNERS] * OPS[op].arity)).reshape(OPS[op].arity, -1).astype(dtype)
    attrs = {"slope": 0.2} if op is Op.HARD_SIGMOID else {}
    with np.errstate(all="ignore"):
        want = np.asarray(numpy_ref.RULES[op](*columns, **attrs))
    got = torch_eager.rules(LIKE.to(getattr(torch, dtype)))[op](*map(torch.from_numpy, columns), **attrs)
    assert got.dtype == getattr(torch, dtype)
    finite = np.isfinite(want)
    assert np.array_equal(torch.isfinite(got).numpy(), finite)
    assert_parity(got[torch.from_numpy(finite)], want[finite], dtype=dtype, steps=1, width=1)


@pytest.mark.parametrize("op", [Op.MAXIMUM, Op.MINIMUM, Op.WHERE, Op.ADD, Op.LESS, Op.DIV], ids=str)
def test_numbers_may_stand_for_any_operand(op: Op) -> None:
    values = torch.tensor(CORNERS, dtype=torch.float64)
    rule, reference = torch_eager.rules(LIKE)[op], numpy_ref.RULES[op]
    for place in range(OPS[op].arity):
        operands = [values] * OPS[op].arity
        operands[place] = 1.0
        with np.errstate(all="ignore"):
            want = reference(*(o.numpy() if isinstance(o, torch.Tensor) else o for o in operands))
        finite = np.isfinite(want)
        assert np.array_equal(rule(*operands).numpy()[finite], want[finite])


@gw.cell
def corners(x, h, W):
    """Every op with a corner, at the corner: the input is made of numbers of `CORNERS`, and h of zeros."""
    straight = gw.relu(x) + 2 * gw.abs(x) + 3 * gw.hard_sigmoid_theano(x) + 5 * gw.sign(x)
    ties = 7 * gw.maximum(x, 1.0) + 11 * gw.minimum(x, gw.mean(h)) + 13 * gw.where(x < 0.0, x, 2 * x)
    return W.h @ (straight + ties) + h


def test_derivatives_at_corners_are_those_of_the_rules() -> None:
    given = problem(corners, 4, 3, 0)
    given = replace(given, inputs={"x": np.resize(CORNERS, (4, 3, 3))}, states={"h": np.zeros_like(given.states["h"])})
    assert_parity(torch_results(given, "float64"), numpy_results(given, "float64"), dtype="float64", steps=4)


@pytest.mark.parametrize("cell", ODD.values(), ids=ODD)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_odd_cells(cell: Cell, dtype: str) -> None:
    for steps, batch, lengths in ((0, 1, None), (1, 3, (1, 0, 1)), (7, 3, None), (7, 3, (2, 0, 7)), (5, 5, None)):
        given = problem(cell, steps, batch, 1, lengths=lengths)
        want = numpy_results(given, "float64")
        assert_parity(torch_results(given, dtype), want, dtype=dtype, steps=steps, cell=cell.name, backend="torch")


@pytest.mark.parametrize(
    "cell",
    [ODD["noise_through_a_matrix"], gw.zoneout(0.3)(cells.lstm), gw.recurrent_dropout(0.4)(cells.gru)],
    ids=lambda cell: cell.name,
)
def test_without_drawn_values_their_means_are_taken(cell: Cell) -> None:
    given = problem(cell, 4, 3, 2)
    want = numpy_ref.run(given.trace, given.inputs, given.params, given.states)
    tensors = [
        {name: torch.from_numpy(array) for name, array in group.items()}
        for group in (given.inputs, given.params, given.states)
    ]
    got = torch_eager.run(given.trace, *tensors, sizes=given.sizes, gates=True)
    assert_parity((got.output, got.finals, got.gates), (want.output, want.finals, want.gates), dtype="float64", steps=4)


def test_drawn_values_are_zeros_and_ones_by_row_and_by_step_or_sequence() -> None:
    trace = trace_cell(gw.zoneout(0.2)(gw.recurrent_dropout(0.5, per="sequence")(cells.gru)))
    sizes = {"input": 3, "hidden": 30}
    torch.manual_seed(0)
    drawn = torch_eager.draw(trace, sizes, 20, 25, LIKE.float())
    again = torch_eager.draw(trace, sizes, 20, 25, LIKE.float())
    for noise in trace.noises:
        values = drawn[noise.var.name]
        assert values.shape == (20, 25, 30)
        assert values.dtype == torch.float32
        assert set(values.unique().tolist()) == {0.0, 1.0}
        assert not torch.equal(values, again[noise.var.name])
        assert bool((values == values[:1]).all()) == (noise.per == "sequence")
        assert not bool((values[0] == values[0, :1]).all())
        spread = (noise.probability * (1 - noise.probability) / (values.numel() if noise.per == "step" else 750)) ** 0.5
        assert abs(float(values.mean()) - noise.probability) < 5 * spread
    torch.manual_seed(0)
    assert all(
        torch.equal(drawn[name], values)
        for name, values in torch_eager.draw(trace, sizes, 20, 25, LIKE.float()).items()
    )


def test_what_is_certain_is_drawn_so() -> None:
    @gw.cell
    def certain(x, h, W):
        return gw.bernoulli(0.0, like=h) + gw.bernoulli(1.0, like=h) * (W.h @ x)

    never, always = torch_eager.draw(trace_cell(certain), {"input": 2, "hidden": 3}, 50, 9, LIKE).values()
    assert not never.any()
    assert always.all()


def products(cell: Cell, monkeypatch: pytest.MonkeyPatch, steps: int) -> list[tuple[int, ...]]:
    """The shapes of the matrices that a run multiplies with."""
    seen: list[tuple[int, ...]] = []
    linear = torch.nn.functional.linear

    def counted(vector: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(matrix.shape))
        return linear(vector, matrix)

    with monkeypatch.context() as patch:
        patch.setattr(torch.nn.functional, "linear", counted)
        torch_results(problem(cell, steps, 2, 0), "float64")
    return seen


def test_products_leave_the_loop_and_are_done_together(monkeypatch: pytest.MonkeyPatch) -> None:
    # once for all steps W of three gates; at each step U of two gates together, and U of the candidate
    assert products(cells.gru, monkeypatch, 4) == [(15, 3), *[(10, 5), (5, 5)] * 4]
    assert products(cells.gru(reset="after"), monkeypatch, 4) == [(15, 3), *[(15, 5)] * 4]
    assert products(cells.mingru, monkeypatch, 4) == [(10, 3)]


def test_all_rows_active_is_no_mask_at_all() -> None:
    given = problem(cells.lstm, 5, 3, 0)
    tensors = [
        {name: torch.from_numpy(array) for name, array in group.items()}
        for group in (given.inputs, given.params, given.states)
    ]
    plain = torch_eager.run(given.trace, *tensors, sizes=given.sizes)
    active = torch_eager.run(given.trace, *tensors, sizes=given.sizes, active=torch.ones(5, 3, dtype=torch.bool))
    assert torch.equal(plain.output, active.output)
    assert plain.gates == {}


def test_nothing_that_is_given_is_changed() -> None:
    given = problem(gw.masked(cells.lstm), 5, 3, 0)
    tensors = [
        {name: torch.tensor(array) for name, array in group.items()}
        for group in (given.inputs, given.params, given.states)
    ]
    kept = [{name: tensor.clone() for name, tensor in group.items()} for group in tensors]
    active = torch.rand(5, 3) < 0.5
    torch_eager.run(given.trace, *tensors, sizes=given.sizes, active=active, gates=True)
    for group, before in zip(tensors, kept, strict=True):
        assert list(group) == list(before)
        assert all(torch.equal(group[name], before[name]) for name in before)
