"""What is recorded of a model: the very gates and states of its layers, and nothing of the model changes."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
import torch
from torch import nn

import gatewright as gw
from gatewright.errors import OptionError
from gatewright.inspect.activity.record import record


def embedded(kind: Any, **options: Any) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Embedding(30, 8), kind(8, 16, 2, batch_first=True, **options))


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM, nn.RNN, gw.nn.GRU, gw.nn.LSTM])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_states_are_those_of_the_layer(kind: Any, bidirectional: bool) -> None:
    model = embedded(kind, bidirectional=bidirectional)
    x = torch.randint(30, (3, 7))
    activations = record(model, x)
    suffixes = ["", "_reverse"] if bidirectional else [""]
    assert list(activations.layers) == [f"1.l{level}{suffix}" for level in (0, 1) for suffix in suffixes]
    states = [activations.layer(f"1.l1{suffix}").states["h"] for suffix in suffixes]
    np.testing.assert_allclose(np.concatenate(states, -1), model(x)[0].detach().transpose(0, 1), atol=1e-6)
    inputs = np.concatenate([activations.layer(f"1.l0{suffix}").states["h"] for suffix in suffixes], -1)
    np.testing.assert_array_equal(activations.layer("1.l1").inputs, inputs)
    assert activations.lengths.tolist() == [7, 7, 7]


def test_gates_follow_the_equations() -> None:
    torch.manual_seed(0)
    layer = nn.GRU(3, 4)
    activity = record(layer, torch.randn(5, 2, 3)).layer("l0")
    z, n, h = activity.gates["z"], activity.gates["n"], activity.states["h"]
    np.testing.assert_allclose(h[1:], z[1:] * h[:-1] + (1 - z[1:]) * n[1:], atol=1e-6)
    assert activity.roles.keeps == ("z",)


def test_rows_end_where_they_end() -> None:
    layer = gw.nn.Recurrent("lstm", 3, 4)
    x = torch.randn(6, 3, 3)
    activations = record(layer, x, lengths=[6, 2, 4])
    padded = np.isnan(activations.layer().states["c"]).all(-1)
    np.testing.assert_array_equal(padded, ~activations.mask())
    packed = record(layer, nn.utils.rnn.pack_padded_sequence(x, [6, 2, 4], enforce_sorted=False))
    np.testing.assert_array_equal(packed.lengths, [6, 2, 4])
    np.testing.assert_array_equal(packed.layer().gates["f"], activations.layer().gates["f"])


def test_a_layer_called_a_step_at_a_time_is_recorded_whole() -> None:
    class Stepwise(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.GRU(3, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            state = None
            for step in x:
                _, state = self.rnn(step[None], state)
            return state

    model, x = Stepwise(), torch.randn(5, 2, 3)
    activity = record(model, x).layer("rnn.l0")
    np.testing.assert_allclose(activity.states["h"], model.rnn(x)[0].detach(), atol=1e-6)


def test_the_model_is_as_before() -> None:
    model = nn.Sequential(nn.Dropout(0.5), nn.LSTM(3, 4)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    drawn = torch.get_rng_state()
    record(model, torch.randn(5, 2, 3, generator=torch.Generator().manual_seed(0)))
    assert model.training
    assert model[1].training
    assert not vars(model[1])["_forward_pre_hooks"]
    assert torch.equal(drawn, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_hooks_go_also_when_the_model_fails() -> None:
    model = nn.Sequential(nn.GRU(3, 4))
    with pytest.raises(RuntimeError):
        record(model, torch.randn(5, 2, 7))
    assert not vars(model[0])["_forward_pre_hooks"]
    assert model.training


def test_errors_name_what_there_is() -> None:
    with pytest.raises(OptionError, match="no recurrent layer ran in the Linear"):
        record(nn.Linear(3, 4), torch.randn(5, 3))
    activations = record(nn.GRU(3, 4), torch.randn(5, 2, 3))
    with pytest.raises(OptionError, match="no recurrent layer 'l7'"):
        activations.layer("l7")
    with pytest.raises(OptionError, match="no gate or state 'f'"):
        activations.layer().values("f")
    with pytest.raises(OptionError, match="'z' of layer 'l0' has no unit 4"):
        activations.layer().unit("z", 4)
