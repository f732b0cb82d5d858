"""Calls that ask nothing anew give what the first call gave, and notice whatever has changed since."""

import sys
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.parametrizations import weight_norm

import gatewright as gw
from gatewright.errors import ShapeError
from gatewright.nn import recurrent as recurrent_module
from gatewright.nn.calls.layer_call import call_fast

Layer = gw.nn.Recurrent
MAKERS: dict[str, Callable[[], Layer]] = {
    "gru": lambda: gw.nn.GRU(5, 6),
    "lstm of two layers, both ways": lambda: gw.nn.LSTM(5, 6, num_layers=2, bidirectional=True),
    "projected": lambda: gw.nn.LSTM(5, 6, proj_size=3),
    "batch first, without biases": lambda: gw.nn.GRU(5, 6, batch_first=True, bias=False),
    "peephole": lambda: gw.nn.Recurrent("lstm_peephole", 5, 6),
}


@pytest.fixture(params=MAKERS.values(), ids=MAKERS)
def layer(request: pytest.FixtureRequest) -> Layer:
    """A layer that was called once, so that its next plain call is a quick one."""
    made: Layer = request.param()
    made(torch.randn(4, 3, 5))
    return made


def general(layer: Layer, *given: Any) -> Any:
    """What the general path gives."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recurrent_module, "call_fast", lambda *_: None)
        return layer(*given)


def states_of(layer: Layer, rows: int) -> tuple[Tensor, ...]:
    return tuple(torch.randn(len(layer.packed_cells), rows, *shape) for shape in layer.state_shapes)


@pytest.mark.parametrize("with_states", [False, True])
def test_it_is_what_the_general_path_gives(layer: Layer, with_states: bool) -> None:
    x = torch.randn(4, 3, 5)
    states = states_of(layer, 4 if layer.batch_first else 3)
    hx = (states[0] if len(states) == 1 else states) if with_states else None
    assert call_fast(layer, x, hx, None, False) is not None
    with torch.no_grad():
        torch.testing.assert_close(layer(x, hx), general(layer, x, hx), rtol=0, atol=0)


def test_gradients_are_what_the_general_path_gives(layer: Layer) -> None:
    x = torch.randn(4, 3, 5, requires_grad=True)
    states = [state.requires_grad_() for state in states_of(layer, 4 if layer.batch_first else 3)]
    hx = states[0] if len(states) == 1 else tuple(states)
    leaves = [x, *states, *layer.parameters()]
    found: list[tuple[Tensor, ...]] = []
    for call in (layer, lambda *given: general(layer, *given)):
        output, last = call(x, hx)
        loss = output.square().sum() + sum(one.cos().sum() for one in ([last] if isinstance(last, Tensor) else last))
        found.append(torch.autograd.grad(loss, leaves))
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-6)


def test_an_output_may_be_changed_in_place() -> None:
    layer = gw.nn.GRU(5, 6)
    for _ in range(2):
        output, last = layer(torch.randn(4, 3, 5))
        kept = last.clone()
        output.mul_(2)
        torch.testing.assert_close(last, kept, rtol=0, atol=0)


def test_parameters_that_were_replaced_are_read() -> None:
    layer, x = gw.nn.GRU(5, 6), torch.randn(4, 3, 5)
    layer(x)
    weight_norm(layer, "weight_hh_l0")
    layer.parametrizations.weight_hh_l0.original0.data.mul_(2)
    theirs = torch.nn.GRU(5, 6)
    theirs.load_state_dict({name: getattr(layer, name) for name in theirs.state_dict()})
    torch.testing.assert_close(layer(x)[0], theirs(x)[0])
    other = {name: torch.randn_like(one) for name, one in gw.nn.GRU(5, 6).state_dict().items()}
    plain = gw.nn.GRU(5, 6)
    plain(x)
    theirs.load_state_dict(other)
    torch.testing.assert_close(torch.func.functional_call(plain, other, (x,))[0], theirs(x)[0])


def test_another_dtype_or_backend_is_noticed() -> None:
    layer, x = gw.nn.GRU(5, 6), torch.randn(4, 3, 5)
    layer(x)
    layer.double()
    with pytest.raises(ShapeError, match="of another dtype than its parameters"):
        layer(x)
    assert layer(x.double())[0].dtype == torch.float64
    layer.float()
    layer.backend = "torch"
    assert call_fast(layer, x, None, None, False) is None


def test_whoever_watches_operations_sees_them() -> None:
    layer, x = gw.nn.GRU(5, 6), torch.randn(4, 3, 5)
    layer(x)
    mapped = torch.func.vmap(lambda one: layer(one)[0])(torch.stack([x, x]))
    torch.testing.assert_close(mapped[0], layer(x)[0])
    derived = torch.func.grad(lambda one: layer(one)[0].sum())(x)
    (expected,) = torch.autograd.grad(layer(x.requires_grad_())[0].sum(), x)
    torch.testing.assert_close(derived, expected)


@pytest.mark.parametrize("shape", [(4, 3, 6), (4, 3, 5, 1), (3,)])
def test_what_does_not_fit_is_told_as_before(shape: tuple[int, ...]) -> None:
    messages: list[str] = []
    layer = gw.nn.GRU(5, 6)
    for _ in range(2):
        with pytest.raises(ShapeError) as raised:
            layer(torch.randn(shape))
        messages.append(str(raised.value))
        layer(torch.randn(4, 3, 5))
    assert messages[0] == messages[1]


def test_states_that_do_not_fit_are_told_as_before() -> None:
    layer, x = gw.nn.LSTM(5, 6), torch.randn(4, 3, 5)
    layer(x)
    for wrong in (torch.zeros(1, 3, 6), (torch.zeros(1, 3, 6),), (torch.zeros(1, 3, 6), torch.zeros(1, 2, 6))):
        with pytest.raises(ShapeError, match="initial state"):
            layer(x, wrong)


def test_random_values_of_training_are_drawn_each_time() -> None:
    layer, x = gw.nn.Recurrent(gw.zoneout(0.5)(gw.cells.gru()), 5, 6), torch.randn(4, 3, 5)
    layer.eval()
    expected = layer(x)[0]
    torch.testing.assert_close(layer(x)[0], expected, rtol=0, atol=0)
    layer.train()
    assert call_fast(layer, x, None, None, False) is None
    assert not torch.equal(layer(x)[0], layer(x)[0])


def test_dropout_between_layers_is_drawn_as_on_the_general_path() -> None:
    layer, x = gw.nn.GRU(5, 6, num_layers=2, dropout=0.5), torch.randn(4, 3, 5)
    layer(x)
    torch.manual_seed(1)
    quick = layer(x)[0]
    torch.manual_seed(1)
    torch.testing.assert_close(quick, general(layer, x)[0], rtol=0, atol=0)


def files_entered(call: Callable[[], Any]) -> list[str]:
    """The file of every function of the package that a call enters, in order."""
    files: list[str] = []
    package = str(Path(gw.__file__).parent)

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(package):
            files.append(frame.f_code.co_filename)

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return files


@pytest.mark.parametrize(("gates", "most"), [(False, 46), (True, 54)])
def test_a_call_that_is_known_enters_few_functions(gates: bool, most: int) -> None:
    layer, x = gw.nn.GRU(28, 256), torch.randn(35, 32, 28)
    for _ in range(2):
        layer(x, return_gates=gates)
    assert 10 < len(files_entered(lambda: layer(x, return_gates=gates))) <= most


@pytest.mark.parametrize(
    "options", [{}, {"return_gates": True}, {"lengths": [35, 20]}], ids=["plain", "gates", "lengths"]
)
def test_a_call_that_is_known_moves_between_files_at_most_30_times(options: dict[str, Any]) -> None:
    layer, x = gw.nn.GRU(28, 256), torch.randn(35, 2, 28)
    for _ in range(2):
        layer(x, **options)
    moves = [file for file, _ in groupby(files_entered(lambda: layer(x, **options)))]
    assert 10 < len(moves) <= 30, "\n".join(moves)


@pytest.mark.parametrize("lengths", [None, [4, 2, 3]])
def test_gates_are_those_of_the_general_path(layer: Layer, lengths: list[int] | None) -> None:
    x = torch.randn(3, 4, 5) if layer.batch_first else torch.randn(4, 3, 5)
    layer(x, lengths=lengths, return_gates=True)
    got = layer(x, lengths=lengths, return_gates=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recurrent_module, "call_fast", lambda *_: None)
        want = layer(x, lengths=lengths, return_gates=True)
    torch.testing.assert_close(got[0], want[0], rtol=0, atol=0)
    assert got[2].keys() == want[2].keys()
    for name, gate in got[2].items():
        torch.testing.assert_close(gate, want[2][name], rtol=0, atol=0)


def test_gates_have_gradients() -> None:
    layer, x = gw.nn.GRU(3, 4).double(), torch.randn(4, 2, 3, dtype=torch.float64)
    layer(x, return_gates=True)

    def loss(backend: str) -> tuple[Tensor, ...]:
        layer.backend = backend
        output, last, gates = layer(x, lengths=[4, 3], return_gates=True)
        value = (
            output.sum()
            + last.square().sum()
            + sum((n + 1) * gate.sin().sum() for n, gate in enumerate(gates.values()))
        )
        return torch.autograd.grad(value, list(layer.parameters()))

    for got, want in zip(loss("auto"), loss("torch"), strict=True):
        torch.testing.assert_close(got, want)


def test_a_gate_may_be_changed_in_place() -> None:
    layer, x = gw.nn.GRU(3, 4), torch.randn(4, 2, 3)
    grads: list[tuple[Tensor, ...]] = []
    for changes in (False, True, True):
        output, _, gates = layer(x, return_gates=True)
        if changes:
            gates["z"].zero_()
        grads.append(torch.autograd.grad(output.sum(), list(layer.parameters())))
    for got, want in zip(grads[2], grads[0], strict=True):
        torch.testing.assert_close(got, want)
