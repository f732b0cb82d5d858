"""Models with clamped gates: the layer that is clamped does what a loop by hand does, all else is shared."""

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
        (Clamp("encoder.l0", "z", 0, 0.0), r"no recurrent layer 'encoder.l0'.*\n.*recurrent.l0, recurrent.l1"),
        (Clamp("recurrent.l0", "f", 0, 0.0), r"layer 'recurrent.l0' has no gate 'f'\n.*r, z, n"),
        (Clamp("recurrent.l0", "z", 4, 0.0), r"gate 'z' of layer 'recurrent.l0' has no unit 4\n.*0 to 3"),
        (Clamp("recurrent.l0", "z", -1, 0.0), r"has no unit -1"),
    ],
)
def test_errors_name_what_there_is(clamp: Clamp, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        clamped(network(), [clamp])
