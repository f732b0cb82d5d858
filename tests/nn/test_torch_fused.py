"""torch's fused recurrent functions: which layers they compute, with which parameters, and the same numbers."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence

import gatewright as gw
from gatewright import cells
from gatewright.nn import Recurrent
from gatewright.nn.torch_fused import Results, fused_of, run_fused
from tests.parity.assertions import assert_parity

INPUT, HIDDEN, STEPS, BATCH = 3, 5, 6, 4
Make = Callable[..., Recurrent]


@gw.cell(spaces={"In": ("hidden", "input"), "Rec": ("hidden", "hidden"), "d": ("hidden",)})
def own_lstm(x, state, memory, In, Rec, b, d):  # type: ignore[no-untyped-def]
    """The LSTM of torch under other names, in another order, with two biases and a number in one of them."""
    out = gw.sigmoid(b.out + In.out @ x + Rec.out @ state + d.out)
    put = gw.sigmoid(In.put @ x + Rec.put @ state + d.put - b.put)
    keep = gw.sigmoid(In.keep @ x + Rec.keep @ state + 1.0)
    memory = gw.tanh(In.new @ x + Rec.new @ state) * put + keep * memory
    return gw.tanh(memory) * out, memory


def of(cell: Any, **fixed: Any) -> Make:
    return lambda *sizes, **options: Recurrent(cell, *sizes, **fixed, **options)


LAYERS: dict[str, tuple[Make, str]] = {
    "GRU": (gw.nn.GRU, "gru"),
    "LSTM": (gw.nn.LSTM, "lstm"),
    "RNN": (gw.nn.RNN, "rnn_tanh"),
    "relu": (lambda *sizes, **options: gw.nn.RNN(*sizes, nonlinearity="relu", **options), "rnn_relu"),
    "projection": (lambda *sizes, **options: gw.nn.LSTM(*sizes, proj_size=2, **options), "lstm"),
    "packed by space": (of(cells.gru(reset="after")), "gru"),
    "turned": (of(cells.gru(reset="after", update="replaces")), "gru"),
    "own names": (of(own_lstm), "lstm"),
    "own projection": (of(cells.lstm_projected, sizes={"projection": 2}), "lstm"),
    "masked": (of(gw.masked(cells.elman)), "rnn_tanh"),
    "forget bias": (of(cells.lstm(forget_bias=1.0)), "lstm"),
}
all_layers = pytest.mark.parametrize(("make", "name"), LAYERS.values(), ids=LAYERS)


def layer(make: Make, **options: Any) -> Recurrent:
    made = make(INPUT, HIDDEN, dtype=torch.float64, **options)
    for parameter in made.parameters():
        torch.nn.init.uniform_(parameter, -0.7, 0.7)
    return made


def fused(module: Recurrent, values: Tensor, states: Any = None, **options: Any) -> Results:
    function = fused_of(module)
    assert function is not None
    return run_fused(function, module, values, states, **options)


def states_of(module: Recurrent, batch: int = BATCH) -> tuple[Tensor, ...]:
    shapes = [(len(module.packed_cells), batch, *shape) for shape in module.state_shapes]
    return tuple(torch.randn(shape, dtype=torch.float64) for shape in shapes)


def as_given(states: tuple[Tensor, ...]) -> Any:
    return states if len(states) > 1 else states[0]


@all_layers
@pytest.mark.parametrize("options", [{}, {"bias": False}, {"num_layers": 2, "bidirectional": True}], ids=str)
def test_the_function_is_the_engine_with_all_gradients(make: Make, name: str, options: dict[str, Any]) -> None:
    module = layer(make, **options)
    values = torch.randn(STEPS, BATCH, INPUT, dtype=torch.float64, requires_grad=True)
    states = tuple(state.requires_grad_() for state in states_of(module))
    function = fused_of(module)
    assert function is not None
    assert function.name == name
    assert module.plan().backend == "llvm"
    output, finals = module(values, as_given(states))
    want, got = (output, finals if isinstance(finals, tuple) else (finals,)), fused(module, values, states)
    leaves = [values, *states, *module.parameters()]
    weights = torch.linspace(-1, 1, STEPS, dtype=torch.float64)[:, None, None]
    gradients = [
        torch.autograd.grad((weights * out).sum() + sum(end.square().sum() for end in ends), leaves)
        for out, ends in (got, want)
    ]
    assert_parity(got, want, dtype="float64", steps=STEPS, cell=name)
    assert_parity(*gradients, dtype="float64", steps=STEPS, cell=name)


@pytest.mark.parametrize(("make", "name"), [LAYERS["GRU"], LAYERS["projection"], LAYERS["turned"]])
def test_packed_sequences(make: Make, name: str) -> None:
    module = layer(make, num_layers=2, bidirectional=True)
    packed = pack_sequence([torch.randn(n, INPUT, dtype=torch.float64) for n in (6, 4, 4, 1)])
    states = states_of(module)
    want, ends = module(packed, as_given(states))
    output, finals = fused(module, packed.data, states, like=packed)
    ends = ends if isinstance(ends, tuple) else (ends,)
    assert_parity((output, finals), (want.data, ends), dtype="float64", steps=STEPS, cell=name)
    from_zero = fused(module, packed.data, like=packed)
    assert_parity(from_zero[0], module(packed)[0].data, dtype="float64", steps=STEPS)
    assert pad_packed_sequence(want)[1].tolist() == [6, 4, 4, 1]


def test_batch_first() -> None:
    module = layer(gw.nn.GRU, batch_first=True)
    values = torch.randn(BATCH, STEPS, INPUT, dtype=torch.float64)
    want, end = module(values)
    assert_parity(fused(module, values, batch_first=True), (want, (end,)), dtype="float64", steps=STEPS)


def test_dropout_between_layers_draws_the_same_numbers() -> None:
    module = layer(gw.nn.LSTM, num_layers=3, dropout=0.5)
    values = torch.randn(STEPS, BATCH, INPUT, dtype=torch.float64)
    for train in (True, False):
        module.train(train)
        results: list[Any] = []
        for call in (module, lambda given: fused(module, given)):
            torch.manual_seed(3)
            results.append(call(values))
        assert_parity(*results, dtype="float64", steps=STEPS)


def test_a_layer_that_packs_as_torch_does_gives_the_very_same_parameters() -> None:
    for make in (gw.nn.GRU, gw.nn.LSTM, gw.nn.RNN):
        module = layer(make)
        function = fused_of(module)
        assert function is not None
        weights = function.weights(module.packed_cells[0], module.packed_parameters(0))
        assert all(one is other for one, other in zip(weights, module.packed_parameters(0), strict=True))


@pytest.mark.parametrize(
    "cell",
    [
        cells.gru, cells.elman(activation=gw.sigmoid), cells.lstm(coupled=True), cells.lstm(cell_clip=3.0),
        cells.lstm(gate=gw.hard_sigmoid), cells.gru(reset="after", gate=gw.hard_sigmoid, update="replaces"),
        cells.lstm_peephole, gw.zoneout(0.5)(cells.lstm), gw.layer_norm(cells.gru(reset="after")),
    ],
    ids=lambda cell: cell.label,
)  # fmt: skip
def test_other_equations_have_no_function(cell: Any) -> None:
    assert fused_of(Recurrent(cell, INPUT, HIDDEN).eval()) is None


def test_random_values_and_masks_for_sequences_are_for_training_only() -> None:
    for module in (
        Recurrent(gw.recurrent_dropout(0.5)(cells.lstm), INPUT, HIDDEN),
        Recurrent(cells.lstm, INPUT, HIDDEN, 2, dropout=0.5, dropout_per="sequence"),
    ):
        assert fused_of(module) is None
        assert fused_of(module.train(False)) is not None


@pytest.mark.parametrize("is_training", [True, False])
def test_what_cudnn_is_told_where_a_gradient_is_needed(is_training: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """An evaluation has no gradient in cuDNN, so that it trains then, without dropout."""
    module = layer(gw.nn.GRU, num_layers=2, dropout=0.5).train(is_training)
    told: list[tuple[float, bool]] = []
    function = torch.gru

    def gru(values: Tensor, hx: Tensor, weights: list[Tensor], *options: Any) -> Any:
        told.append(options[2:4])
        return function(values, hx, weights, *options)

    monkeypatch.setattr(torch, "gru", gru)
    values = torch.randn(STEPS, BATCH, INPUT, dtype=torch.float64)
    fused_function = fused_of(module.eval())
    module.train(is_training)
    assert fused_function is not None
    for is_cuda in (True, False):
        monkeypatch.setattr(torch.Tensor, "is_cuda", is_cuda)
        run_fused(fused_function, module, values, None)
        with torch.no_grad():
            run_fused(fused_function, module, values, None)
    trained, evaluated = (0.5, True), (0.0, False)
    assert told == ([trained] * 4 if is_training else [(0.0, True), evaluated, evaluated, evaluated])
