"""Models with clamped gates: the layer that is clamped does what a loop by hand does, all else is shared."""

import pickle

import numpy as np
import pytest

pytest.importorskip("torch")
import torch
from torch import nn

import gatewright as gw
from gatewright.errors import OptionError
from gatewright.inspect import Clamp, clamped, record


class Network(nn.Module):
    def __init__(self, cell: str) -> None:
        super().__init__()
        self.recurrent = gw.nn.Recurrent(cell, 3, 4, num_layers=2)
        self.output = nn.Linear(4, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.output(self.recurrent(inputs)[0])


def network(cell: str = "gru") -> Network:
    torch.manual_seed(0)
    return Network(cell).double()


@pytest.mark.parametrize(("value", "unit"), [(0.0, 1), (1.0, 3)])
def test_a_clamped_gru_is_a_loop_by_hand(value: float, unit: int) -> None:
    model = network()
    twin = clamped(model, [Clamp("recurrent.l1", "z", unit, value)])
    inputs = torch.randn(6, 2, 3, dtype=torch.float64)
    below = record(model, inputs).layer("recurrent.l0").states["h"]
    W, U, b = (getattr(model.recurrent, f"{name}_l1").detach().numpy() for name in "WUb")
    h, outputs = np.zeros((2, 4)), []
    for x in below:
        r, z = (1 / (1 + np.exp(-(x @ W[k : k + 4].T + h @ U[k : k + 4].T + b[k : k + 4]))) for k in (0, 4))
        z[:, unit] = value
        n = np.tanh(x @ W[8:].T + (r * h) @ U[8:].T + b[8:])
        h = z * h + (1 - z) * n
        outputs.append(h)
    seen = record(twin, inputs)
    np.testing.assert_allclose(seen.layer("recurrent.l1").states["h"], np.array(outputs), rtol=1e-12)
    np.testing.assert_array_equal(seen.layer("recurrent.l0").states["h"], below)
    np.testing.assert_array_equal(seen.layer("recurrent.l1").gates["z"][..., unit], np.full((6, 2), value))
    expected = np.array(outputs) @ model.output.weight.detach().numpy().T + model.output.bias.detach().numpy()
    np.testing.assert_allclose(twin(inputs).detach().numpy(), expected, rtol=1e-10)


def test_the_model_stays_as_it_is_and_shares_its_parameters() -> None:
    model = network("lstm")
    inputs = torch.randn(5, 1, 3, dtype=torch.float64)
    before, layer = model(inputs), model.recurrent
    twin = clamped(model, [Clamp("recurrent.l0", "f", 0, 0.0), Clamp("recurrent.l1", "o", 2, 1.0)])
    assert model.recurrent is layer
    assert torch.equal(model(inputs), before)
    assert twin.output.weight is model.output.weight
    assert twin.recurrent.W_l1.data_ptr() == model.recurrent.W_l1.data_ptr()
    assert not torch.equal(twin(inputs), before)


def test_without_clamps_it_gives_the_same() -> None:
    model, inputs = network(), torch.randn(5, 1, 3, dtype=torch.float64)
    assert torch.equal(clamped(model, [])(inputs), model(inputs))


def test_a_layer_alone_and_one_direction_of_it() -> None:
    torch.manual_seed(0)
    layer = gw.nn.Recurrent("gru", 3, 4, bidirectional=True)
    twin = clamped(layer, [Clamp("l0_reverse", "r", 0, 0.0)])
    inputs = torch.randn(5, 2, 3)
    changed = (twin(inputs)[0] != layer(inputs)[0]).any(0).any(0)
    assert not changed[:4].any()
    assert changed[4:].any()


@pytest.mark.parametrize(
    ("clamp", "message"),
    [
        (Clamp("encoder.l0", "z", 0, 0.0), r"no recurrent layer 'encoder.l0'\n.*recurrent.l0, recurrent.l1"),
        (Clamp("recurrent.l0", "f", 0, 0.0), r"layer 'recurrent.l0' has no gate 'f'\n.*r, z, n"),
        (Clamp("recurrent.l0", "z", 4, 0.0), r"gate 'z' of layer 'recurrent.l0' has no unit 4\n.*0 to 3"),
        (Clamp("recurrent.l0", "z", -1, 0.0), r"has no unit -1"),
    ],
)
def test_errors_name_what_there_is(clamp: Clamp, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        clamped(network(), [clamp])


class TorchNetwork(nn.Module):
    """Layers of torch.nn in a stack, called as programs do."""

    def __init__(self) -> None:
        super().__init__()
        self.lower = nn.GRU(3, 4, 2, bidirectional=True, batch_first=True)
        self.upper = nn.LSTM(8, 5)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.lower.flatten_parameters()
        return self.upper(self.lower(inputs)[0].transpose(0, 1))[0]


def torch_network() -> TorchNetwork:
    torch.manual_seed(0)
    return TorchNetwork().double()


def test_a_clamped_lstm_of_torch_is_a_loop_by_hand() -> None:
    model, inputs = torch_network(), torch.randn(2, 6, 3, dtype=torch.float64)
    twin = clamped(model, [Clamp("upper.l0", "f", 1, 0.25), Clamp("upper.l0", "o", 3, 1.0)])
    below = model.lower(inputs)[0].detach().numpy()
    W, U, b, b2 = (parameter.detach().numpy() for parameter in model.upper.parameters())
    h, c, outputs = np.zeros((2, 5)), np.zeros((2, 5)), []
    for x in below.swapaxes(0, 1):
        i, f, g, o = np.split(x @ W.T + b + h @ U.T + b2, 4, axis=1)
        i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
        f[:, 1], o[:, 3] = 0.25, 1.0
        c = f * c + i * np.tanh(g)
        h = o * np.tanh(c)
        outputs.append(h)
    np.testing.assert_allclose(twin(inputs).detach().numpy(), np.array(outputs), rtol=1e-12)
    np.testing.assert_allclose(record(twin, inputs).layer("upper.l0").states["h"], np.array(outputs), rtol=1e-12)
    assert isinstance(twin.upper, nn.LSTM)


def test_one_direction_of_a_level_of_torch() -> None:
    model, inputs = torch_network(), torch.randn(2, 6, 3, dtype=torch.float64)
    twin = clamped(model, [Clamp("lower.l1_reverse", "z", 2, 1.0)])
    before, after = record(model, inputs), record(twin, inputs)
    for name in ("lower.l0", "lower.l0_reverse", "lower.l1"):
        np.testing.assert_array_equal(after.layer(name).states["h"], before.layer(name).states["h"])
    changed = after.layer("lower.l1_reverse")
    np.testing.assert_array_equal(changed.gates["z"][..., 2], np.ones((6, 2)))
    np.testing.assert_array_equal(changed.states["h"][..., 2], np.zeros((6, 2)))  # it keeps the zero it began with
    np.testing.assert_allclose(twin(inputs).detach(), after.layer("upper.l0").states["h"], rtol=1e-12)


def test_a_model_of_torch_stays_as_it_is() -> None:
    model, inputs = torch_network(), torch.randn(2, 6, 3, dtype=torch.float64)
    before, names, layer = model(inputs), model.state_dict().keys(), model.lower
    twin = clamped(model, [Clamp("lower.l0", "r", 0, 0.0)])
    assert torch.equal(model(inputs), before)
    assert model.lower is layer
    assert type(model.lower) is nn.GRU
    assert model.state_dict().keys() == names
    assert twin.lower.weight_ih_l0 is model.lower.weight_ih_l0
    with torch.no_grad():
        model.lower.weight_ih_l0.mul_(2)
        model.upper.weight_ih_l0.zero_()
    again = clamped(model, [Clamp("lower.l0", "r", 0, 0.0)])
    assert torch.equal(twin(inputs), again(inputs))


def test_a_copy_is_clamped_once_more() -> None:
    for model, layer in ((torch_network(), "upper.l0"), (network("lstm"), "recurrent.l0")):
        inputs = torch.randn(2, 6, 3, dtype=torch.float64)
        first = clamped(model, [Clamp(layer, "f", 1, 0.0)])
        alone = first(inputs)
        second = clamped(first, [Clamp(layer, "i", 0, 1.0)])
        together = clamped(model, [Clamp(layer, "f", 1, 0.0), Clamp(layer, "i", 0, 1.0)])
        assert torch.equal(second(inputs), together(inputs))
        assert torch.equal(first(inputs), alone)
        assert not torch.equal(second(inputs), alone)


class Doubling(nn.GRU):
    def forward(self, input: torch.Tensor, hx: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        output, final = super().forward(input, hx)
        return 2 * output, final


class Stepping(nn.GRU):
    def forward(self, input: torch.Tensor, hx: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return input, input[-1:]


def test_layers_of_derived_classes() -> None:
    torch.manual_seed(0)
    layer, inputs = Doubling(3, 4), torch.randn(5, 2, 3)
    twin = clamped(layer, [Clamp("l0", "z", 0, 1.0)])
    plain = nn.GRU(3, 4)
    plain.load_state_dict(layer.state_dict())
    expected = 2 * clamped(plain, [Clamp("l0", "z", 0, 1.0)])(inputs)[0]
    assert torch.equal(twin(inputs)[0], expected)
    assert torch.equal(twin(inputs)[0][..., 0], torch.zeros(5, 2))
    assert isinstance(twin, Doubling)
    with pytest.raises(
        OptionError, match=r"layer 'l' \(Stepping\) cannot be clamped: it is a subclass whose own forward"
    ):
        clamped(nn.ModuleDict({"l": Stepping(3, 4)}), [Clamp("l.l0", "z", 0, 1.0)])


def test_hooks_and_packed_rows_of_a_layer_of_torch() -> None:
    torch.manual_seed(0)
    layer, calls = nn.RNN(3, 4, nonlinearity="relu"), []
    layer.register_forward_hook(lambda *_: calls.append(1))
    twin = clamped(layer, [Clamp("l0", "h", 3, 0.5)])
    packed = nn.utils.rnn.pack_padded_sequence(torch.randn(5, 2, 3), torch.tensor([5, 3]))
    output, lengths = nn.utils.rnn.pad_packed_sequence(twin(packed)[0])
    assert output[..., 3].tolist() == [[0.5, 0.5]] * 3 + [[0.5, 0.0]] * 2
    assert lengths.tolist() == [5, 3]
    assert len(calls) == 1
    assert twin(torch.randn(5, 3))[0].shape == (5, 4)


def test_drop_ins_keep_their_class_and_quantised_layers_are_clamped() -> None:
    torch.manual_seed(0)
    model, inputs = nn.Sequential(gw.nn.GRU(16, 16)), torch.randn(5, 2, 16)
    twin = clamped(model, [Clamp("0.l0", "z", 1, 1.0)])
    assert isinstance(twin[0], gw.nn.GRU)
    twin[0].flatten_parameters()
    assert torch.equal(twin(inputs)[0][..., 1], torch.zeros(5, 2))
    narrow = gw.nn.quantize(model).model
    assert type(narrow[0]) is gw.nn.QuantizedRecurrent
    dequantised, clamps = nn.Sequential(narrow[0].dequantize()), [Clamp("0.l0", "r", 1, 1.0)]
    assert torch.equal(clamped(narrow, clamps)(inputs)[0], clamped(dequantised, clamps)(inputs)[0])
    assert type(narrow[0]) is gw.nn.QuantizedRecurrent


def test_one_layer_under_two_names() -> None:
    model = nn.ModuleDict({"a": nn.GRU(3, 4)})
    model["b"] = model["a"]
    twin = clamped(model, [Clamp("a.l0", "z", 0, 1.0)])
    assert twin["a"] is twin["b"]
    assert torch.equal(twin["b"](torch.randn(5, 2, 3))[0][..., 0], torch.zeros(5, 2))


def test_a_clamped_layer_of_torch_can_be_pickled() -> None:
    torch.manual_seed(0)
    twin, inputs = clamped(nn.GRU(3, 4), [Clamp("l0", "z", 0, 1.0)]), torch.randn(5, 2, 3)
    assert torch.equal(pickle.loads(pickle.dumps(twin))(inputs)[0], twin(inputs)[0])


@pytest.mark.parametrize(
    ("clamp", "message"),
    [
        (Clamp("lower.l2", "z", 0, 0.0), r"no recurrent layer 'lower.l2'\n.*lower.l0, lower.l0_reverse, .*, upper.l0"),
        (Clamp("upper.l0", "z", 0, 0.0), r"layer 'upper.l0' has no gate 'z'\n.*i, f, g, o"),
        (Clamp("upper.l0", "f", 5, 0.0), r"gate 'f' of layer 'upper.l0' has no unit 5\n.*0 to 4"),
    ],
)
def test_errors_of_a_model_of_torch(clamp: Clamp, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        clamped(torch_network(), [clamp])
