"""The drop-ins for torch.nn's cells: the same draws, parameters, results and gradients, by either backend."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import gatewright as gw
from gatewright.errors import OptionError, ShapeError
from tests.parity.assertions import assert_parity

INPUT, HIDDEN, BATCH, STEPS = 3, 5, 4, 3
KINDS: dict[str, dict[str, Any]] = {
    "RNNCell": {},
    "RNNCell-relu": {"nonlinearity": "relu"},
    "GRUCell": {},
    "LSTMCell": {},
}
kinds = pytest.mark.parametrize("kind", KINDS)
backends = pytest.mark.parametrize("backend", ["auto", "llvm"])


def twins(kind: str, backend: str, **given: Any) -> tuple[nn.Module, nn.Module]:
    """torch.nn's cell and ours, each drawn from the same seed."""
    made = []
    for home, own in ((nn, {}), (gw.nn, {"backend": backend})):
        torch.manual_seed(11)
        made.append(getattr(home, kind.partition("-")[0])(INPUT, HIDDEN, **KINDS[kind], **given, **own))
    return made[0], made[1]


def walk(cell: nn.Module, inputs: Tensor, states: Any) -> Any:
    for x in inputs:
        states = cell(x, states)
    return states


def initial(kind: str, *batch: int, dtype: torch.dtype = torch.float32) -> Any:
    torch.manual_seed(3)
    states = [torch.randn(*batch, HIDDEN, dtype=dtype, requires_grad=True) for _ in range(2)]
    return tuple(states) if kind == "LSTMCell" else states[0]


def as_tuple(states: Any) -> tuple[Tensor, ...]:
    return states if isinstance(states, tuple) else (states,)


def gradients(cell: nn.Module, inputs: Tensor, states: Any) -> tuple[Tensor, ...]:
    ends = as_tuple(walk(cell, inputs, states))
    loss = sum((end * end).sum() for end in ends)
    return torch.autograd.grad(loss, [inputs, *as_tuple(states), *cell.parameters()])


@kinds
@backends
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "plain"])
@pytest.mark.parametrize("batch", [(BATCH,), (1,), ()], ids=["batch", "one", "unbatched"])
def test_steps_are_torchs(kind: str, backend: str, bias: bool, batch: tuple[int, ...]) -> None:
    theirs, ours = twins(kind, backend, bias=bias)
    inputs, states = torch.randn(STEPS, *batch, INPUT, requires_grad=True), initial(kind, *batch)
    assert repr(ours) == repr(theirs)
    for given in (states, None):
        assert_parity(walk(ours, inputs, given), walk(theirs, inputs, given), dtype="float32", steps=STEPS, cell=kind)
    got, want = gradients(ours, inputs, states), gradients(theirs, inputs, states)
    assert_parity(got, want, dtype="float32", steps=STEPS, cell=kind)


@kinds
def test_double_precision_and_no_rows(kind: str) -> None:
    theirs, ours = (cell.double() for cell in twins(kind, "llvm"))
    inputs, states = torch.randn(STEPS, BATCH, INPUT, dtype=torch.float64), initial(kind, BATCH, dtype=torch.float64)
    assert_parity(walk(ours, inputs, states), walk(theirs, inputs, states), dtype="float64", steps=STEPS)
    nothing = ours(inputs[0, :0])
    assert {end.shape for end in as_tuple(nothing)} == {(0, HIDDEN)}


def test_second_derivatives() -> None:
    _, ours = twins("GRUCell", "llvm")
    ours.double()
    x, h = (torch.randn(2, size, dtype=torch.float64, requires_grad=True) for size in (INPUT, HIDDEN))
    assert torch.autograd.gradgradcheck(ours, (x, h))


@kinds
def test_the_draws_and_names_are_torchs(kind: str) -> None:
    theirs, ours = twins(kind, "llvm")
    for (name, got), (wanted, want) in zip(ours.state_dict().items(), theirs.state_dict().items(), strict=True):
        assert name == wanted
        assert torch.equal(got, want)
    theirs.reset_parameters()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(BATCH, INPUT)
    assert_parity(copy.deepcopy(ours)(x), theirs(x), dtype="float32", steps=1)


def test_a_step_is_a_step_of_the_layer() -> None:
    layer, cell = gw.nn.LSTM(INPUT, HIDDEN), gw.nn.LSTMCell(INPUT, HIDDEN, backend="llvm")
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in layer.state_dict().items()})
    x = torch.randn(STEPS, BATCH, INPUT)
    _, ends = layer(x)
    assert_parity(walk(cell, x, None), tuple(end[0] for end in ends), dtype="float32", steps=STEPS)


def test_the_plan_says_what_runs() -> None:
    assert str(gw.nn.RNNCell(3, 5).plan()) == "llvm: compiled for this processor"
    assert str(gw.nn.GRUCell(3, 5).plan()) == "llvm: compiled for this processor"
    on_meta = gw.nn.GRUCell(3, 5, device="meta")
    assert str(on_meta.plan()) == "torch: torch.nn's own cell, which is not compiled for meta"
    assert str(gw.nn.GRUCell(0, 5).plan()) == "torch: torch.nn's own cell, which may have no inputs and no units"
    with torch.autocast("cpu", torch.bfloat16):
        assert str(gw.nn.LSTMCell(3, 5).plan()) == (
            "torch: torch.nn's own cell, whose operations are recorded or transformed"
        )
    assert str(gw.nn.GRUCell(3, 5, backend="llvm").plan()) == "llvm: compiled for this processor; asked for by name"
    assert gw.nn.GRUCell(3, 5, backend="torch").plan().backend == "torch"
    with pytest.raises(OptionError, match="the dtype is float16"):
        gw.nn.GRUCell(3, 5, backend="llvm", dtype=torch.float16)(torch.ones(1, 3, dtype=torch.float16))


def test_options_that_cannot_be() -> None:
    with pytest.raises(OptionError, match="nonlinearity is unknown"):
        gw.nn.RNNCell(3, 5, nonlinearity="sine")
    with pytest.raises(OptionError, match="backend 'cuda' is not there"):
        gw.nn.LSTMCell(3, 5, backend="cuda")


@pytest.mark.parametrize(
    ("x", "states"),
    [
        ((2, 2, 3), ((2, 5), (2, 5))),
        ((2, 4), ((2, 5), (2, 5))),
        ((2, 3), ((2, 5), (2, 4))),
        ((2, 3), ((5,), (5,))),
        ((2, 3), ((2, 5),)),
    ],
    ids=["a sequence", "features", "size", "batch", "a state too few"],
)
def test_arguments_that_do_not_fit(x: tuple[int, ...], states: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(ShapeError) as raised:
        gw.nn.LSTMCell(3, 5, backend="llvm")(torch.ones(x), tuple(map(torch.ones, states)))
    shown = ", ".join(f"{shape} of torch.float32" for shape in (x, *states))
    assert str(raised.value) == (
        "LSTMCell was given what does not fit\n"
        "  expected: x (batch, 3), h (batch, 5), c (batch, 5), each of torch.float32; "
        "or all of them without the batch\n"
        f"  got: {shown}"
    )


def test_another_dtype_is_refused() -> None:
    with pytest.raises(ShapeError, match="float64"):
        gw.nn.GRUCell(3, 5, backend="llvm")(torch.ones(2, 3), torch.ones(2, 5, dtype=torch.float64))


@kinds
def test_only_what_needs_a_gradient_gets_one(kind: str) -> None:
    theirs, ours = twins(kind, "llvm")
    for cell in (theirs, ours):
        cell.weight_hh.requires_grad_(False)
        cell.bias_ih.requires_grad_(False)
    x, states = torch.randn(BATCH, INPUT), initial(kind, BATCH)
    for cell in (theirs, ours):
        as_tuple(cell(x, states))[-1].square().sum().backward()
    for (name, got), (_, want) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert (got.grad is None) == (want.grad is None) == (name in ("weight_hh", "bias_ih"))
        if want.grad is not None:
            assert_parity(got.grad, want.grad, dtype="float32", steps=1, cell=f"{kind} {name}")


@kinds
def test_new_states_may_be_changed_in_place(kind: str) -> None:
    """The gradient reads what was computed, and not what became of it."""
    cell = twins(kind, "llvm")[1]
    x, states = torch.randn(BATCH, INPUT), initial(kind, BATCH)
    grads = []
    for change in (False, True):
        ends = as_tuple(cell(x, states))
        loss = sum((end * torch.arange(HIDDEN)).sum() for end in ends)
        if change:
            with torch.no_grad():
                for end in ends:
                    end.zero_()
        grads.append(torch.autograd.grad(loss, list(cell.parameters())))
    assert_parity(grads[1], grads[0], dtype="float32", steps=1, cell=kind)


def test_a_changed_parameter_is_noticed_by_autograd() -> None:
    cell = gw.nn.GRUCell(INPUT, HIDDEN)
    end = cell(torch.randn(BATCH, INPUT))
    with torch.no_grad():
        cell.weight_hh.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        end.sum().backward()


def test_batched_gradients() -> None:
    theirs, ours = twins("LSTMCell", "llvm")
    x, states = torch.randn(BATCH, INPUT), initial("LSTMCell", BATCH)
    directions = torch.randn(3, BATCH, HIDDEN)
    got, want = (
        torch.autograd.grad(cell(x, states)[0], list(cell.parameters()), directions, is_grads_batched=True)
        for cell in (ours, theirs)
    )
    assert_parity(got, want, dtype="float32", steps=1)


def test_weights_that_are_changed_behind_autograds_back_are_read_anew() -> None:
    theirs, ours = twins("GRUCell", "auto")
    x = torch.randn(BATCH, INPUT)
    with torch.no_grad():
        for _ in range(3):
            for cell in (theirs, ours):
                cell.weight_hh.data.mul_(1.5)
                cell.weight_ih.numpy()[0, 0] += 1
            assert_parity(ours(x), theirs(x), dtype="float32", steps=1)


@kinds
def test_strided_operands(kind: str) -> None:
    theirs, ours = twins(kind, "llvm")
    x = torch.randn(INPUT, BATCH).t()
    states = tuple(torch.randn(BATCH, 2 * HIDDEN)[:, ::2] for _ in range(2 if kind == "LSTMCell" else 1))
    given = states if kind == "LSTMCell" else states[0]
    assert_parity(as_tuple(ours(x, given)), as_tuple(theirs(x, given)), dtype="float32", steps=1, cell=kind)


@pytest.mark.parametrize("rows", [1, 32])
def test_a_large_step_is_the_same(rows: int) -> None:
    """Its kernels are called from Python, where they may use several threads."""
    ours, theirs = gw.nn.LSTMCell(500, 700, backend="llvm"), nn.LSTMCell(500, 700)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(rows, 500)
    (h, c), (want_h, want_c) = ours(x), theirs(x)
    assert_parity((h, c), (want_h, want_c), dtype="float32", steps=1)
    (h + c).sum().backward()
    (want_h + want_c).sum().backward()
    for got, want in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert_parity(got.grad, want.grad, dtype="float32", steps=rows)
