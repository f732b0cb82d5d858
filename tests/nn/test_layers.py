"""The drop-ins for torch.nn: what they have besides torch's numbers, which tests/parity has, and what they say."""

import warnings
from typing import Any

import pytest
import torch

import gatewright as gw
from gatewright.errors import OptionError
from tests.parity.assertions import assert_parity

INPUT, HIDDEN, STEPS, BATCH = 3, 5, 7, 2


def message(kind: str, *arguments: Any, **options: Any) -> str:
    with pytest.raises(OptionError) as raised:
        getattr(gw.nn, kind)(*arguments, **options)
    return str(raised.value)


def test_options_that_cannot_be() -> None:
    assert message("RNN", 3, 5, nonlinearity="sine") == (
        "nonlinearity is unknown\n  expected: 'tanh' or 'relu'\n  got: 'sine'"
    )
    assert message("LSTM", 3, 5, proj_size=5) == (
        "proj_size does not fit hidden_size\n  expected: from 0 (none) to 4\n  got: 5"
    )
    assert message("LSTM", 3, 5, proj_size=-1).endswith("expected: from 0 (none) to 4\n  got: -1")
    assert message("GRU", 3, 0) == "hidden_size is not a size\n  expected: a whole number of at least 1\n  got: 0"
    assert message("GRU", 3, 5, dropout=-0.1).startswith("dropout is not a probability")
    assert message("GRU", 3, 5, backend="cuda").startswith("backend 'cuda' is not there")
    assert message("GRU", 3, 5, init="xavier").startswith('no initialiser is called "xavier"')


def test_what_torch_refuses_with_a_value_error_is_one_here() -> None:
    for options in ({"nonlinearity": "sine"}, {"dropout": 2.0}, {"hidden_size": 0}):
        (option,) = options
        for home in (torch.nn, gw.nn):
            with pytest.raises(ValueError, match=option):
                home.RNN(**{"input_size": 3, "hidden_size": 5, **options})


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_dropout_that_does_nothing_is_warned_of_as_torch_does(kind: str) -> None:
    with pytest.warns(UserWarning, match="dropout") as theirs:
        getattr(torch.nn, kind)(3, 5, dropout=0.5)
    with pytest.warns(UserWarning, match="dropout") as ours:
        getattr(gw.nn, kind)(3, 5, dropout=0.5)
    assert len(theirs) == len(ours) == 1
    assert str(ours[0].message) == (
        f"{kind}: dropout=0.5 comes after every layer but the last, so that with num_layers=1 it does nothing"
    )
    assert ours[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        getattr(gw.nn, kind)(3, 5, num_layers=2, dropout=0.5)
        gw.nn.Recurrent("gru", 3, 5, dropout=0.5)  # no drop-in; its network may well have dropout elsewhere


def test_gates_of_a_drop_in() -> None:
    for module, names in ((gw.nn.GRU, "rzn"), (gw.nn.LSTM, "ifgo"), (gw.nn.RNN, "h")):
        values = torch.randn(STEPS, BATCH, INPUT)
        _, _, gates = module(INPUT, HIDDEN)(values, return_gates=True)
        assert list(gates) == list(names)
        assert {gate.shape for gate in gates.values()} == {(STEPS, BATCH, HIDDEN)}


def test_masks_are_more_than_torch_has() -> None:
    module, values = gw.nn.LSTM(INPUT, HIDDEN), torch.randn(STEPS, BATCH, INPUT)
    mask = torch.ones(STEPS, BATCH)
    mask[2:5] = 0
    output, states = module(values, mask=mask)
    kept = torch.cat([values[:2], values[5:]])
    want, want_states = module(kept)
    assert_parity((torch.cat([output[:2], output[5:]]), states), (want, want_states), dtype="float32", steps=STEPS)


def biases(module: gw.nn.Recurrent) -> dict[str, list[float]]:
    """The first unit's bias of each gate, in both of torch's vectors."""
    named = module.gate_parameters()
    both = {name.removeprefix("l0.b."): float(part.detach()[0]) for name, part in named.items() if ".b." in name}
    gates = dict.fromkeys(name.removesuffix(" (2)") for name in both)
    return {gate: [both[gate], both.get(f"{gate} (2)", 0.0)] for gate in gates}


def test_another_initialiser_sets_the_first_of_two_biases_and_leaves_the_second_at_zero() -> None:
    module = gw.nn.LSTM(INPUT, HIDDEN, init="orthogonal + glorot + forget_bias")
    assert biases(module) == {"i": [0, 0], "f": [1, 0], "g": [0, 0], "o": [0, 0]}
    assert not module.bias_hh_l0.any()
    recurrent = module.weight_hh_l0[:HIDDEN].detach()
    torch.testing.assert_close(recurrent @ recurrent.T, torch.eye(HIDDEN), rtol=0, atol=1e-5)
    module = gw.nn.GRU(INPUT, HIDDEN, init="chrono(max_steps=100)")
    found = biases(module)
    assert found["z"][0] > 0
    assert [found[gate] for gate in ("r", "n", "hn")] == [[0, 0]] * 3
    torch.manual_seed(0)
    module.reset_parameters()
    torch.manual_seed(0)
    assert torch.equal(gw.nn.GRU(INPUT, HIDDEN, init="chrono(max_steps=100)").bias_ih_l0, module.bias_ih_l0)


def test_without_biases_there_are_none() -> None:
    for kind in ("RNN", "GRU", "LSTM"):
        module = getattr(gw.nn, kind)(INPUT, HIDDEN, bias=False)
        assert [name for name, _ in module.named_parameters()] == ["weight_ih_l0", "weight_hh_l0"]


def test_programs_that_flatten_parameters_run() -> None:
    module = gw.nn.LSTM(INPUT, HIDDEN, num_layers=2, bidirectional=True)
    before = {name: parameter.data_ptr() for name, parameter in module.named_parameters()}
    module.flatten_parameters()
    assert {name: parameter.data_ptr() for name, parameter in module.named_parameters()} == before
    assert module.all_weights[1][0] is module.weight_ih_l0_reverse
