"""The network of a recipe: what its options do, by hand."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor
from torch.nn import functional

import gatewright as gw
from gatewright.errors import OptionError
from gatewright.nn import Recurrent
from gatewright.nn.calls import embedding_fold
from gatewright.nn.dropout import Dropout
from gatewright.tasks.model import Model, load_model
from gatewright.tasks.network import RecipeNetwork
from gatewright.tasks.objectives import Classes, NextSymbols
from gatewright.tasks.recipes.words import Words
from gatewright.tasks.run_data import Sizes
from tests.parity.assertions import assert_parity

VOCABULARY = ("<unk>", *"abcdef")
STEPS, ROWS = 9, 12


@gw.cell
def echo(x, h, W):
    return W.h @ x


def made(**options: Any) -> RecipeNetwork:
    sizes = Sizes(len(VOCABULARY), len(VOCABULARY), VOCABULARY)
    given: dict[str, Any] = {"encode": "embedding", "pool": "each step", "hidden": 5, **options}
    return RecipeNetwork(given.pop("cell", "lstm"), sizes, **given)


def symbols() -> Tensor:
    return torch.randint(len(VOCABULARY), (STEPS, ROWS))


def test_one_mask_for_all_steps() -> None:
    values = torch.ones(STEPS, ROWS, 5)
    dropped = Dropout(0.5, per="sequence")(values)
    assert torch.equal(dropped, dropped[:1].expand_as(dropped))
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    assert not torch.equal(dropped[0, 0], dropped[0, 1]) or not torch.equal(dropped[0, 0], dropped[0, 2])
    each = Dropout(0.5)(values)
    assert not torch.equal(each, each[:1].expand_as(each))
    assert torch.equal(Dropout(0.5, per="sequence").eval()(values), values)


@pytest.mark.parametrize("lengths", [None, torch.full((ROWS,), STEPS)])  # two ways through a layer
def test_one_mask_between_layers(lengths: Tensor | None) -> None:
    layer = Recurrent(echo, 5, 5, num_layers=2, dropout=0.5, dropout_per="sequence", init="identity(spaces='W')")
    values = torch.ones(STEPS, ROWS, 5)
    output, _ = layer(values, lengths=lengths)
    assert torch.equal(output, output[:1].expand_as(output))
    assert set(output.unique().tolist()) == {0.0, 2.0}
    assert torch.equal(layer.eval()(values, lengths=lengths)[0], values)
    assert repr(layer) == "Recurrent(echo, 5, 5, num_layers=2, dropout=0.5, dropout_per=sequence)"


def test_a_mask_that_there_is_not() -> None:
    with pytest.raises(OptionError) as caught:
        Recurrent("gru", 3, 5, dropout_per="batch")
    assert str(caught.value) == "dropout has no such mask\n  expected: 'step' or 'sequence'\n  got: 'batch'"


def test_the_pool_is_dropped_row_by_row() -> None:
    network = made(pool="mean", dropout=0.5, dropout_per="sequence")
    dropped = network.dropout(torch.ones(40, 5))
    assert len(dropped.unique(dim=0)) > 1


def test_a_masked_mean() -> None:
    network, inputs, lengths = made(pool="mean").eval(), symbols(), torch.randint(1, STEPS + 1, (ROWS,))
    outputs, _ = network(inputs, None, lengths)
    for row, length in enumerate(lengths.tolist()):
        hidden, _ = network.recurrent(network.encode(inputs[:length, row : row + 1]))
        total = sum(hidden[step, 0] for step in range(length))
        want = network.output.weight @ (total / length) + network.output.bias
        assert_parity(outputs[row], want, dtype="float32", steps=length)


def test_weights_are_dropped_once_a_batch() -> None:
    network, inputs = made(layers=2, weight_drop=0.5), symbols()
    torch.manual_seed(3)
    outputs, _ = network(inputs)
    outputs.square().sum().backward()
    torch.manual_seed(3)
    other = made(layers=2)
    other.load_state_dict(network.state_dict())
    torch.manual_seed(3)
    masks: dict[str, Tensor] = {}
    for name in ("U_l0", "U_l1"):
        matrix = getattr(other.recurrent, name)
        dropped = functional.dropout(matrix.detach(), 0.5)
        masks[name] = dropped == 0
        matrix.data.copy_(dropped)
    assert_parity(outputs, other(inputs)[0], dtype="float32", steps=STEPS)
    for name, mask in masks.items():
        gradient = getattr(network.recurrent, name).grad
        assert 0.3 < mask.float().mean() < 0.7
        assert bool((gradient[mask] == 0).all())
        assert bool((gradient[~mask] != 0).all())
    assert torch.equal(network.eval()(inputs)[0], network(inputs)[0])


def test_no_weights_to_drop() -> None:
    with pytest.raises(OptionError) as caught:
        made(cell=echo, weight_drop=0.5)
    assert str(caught.value) == (
        "weight_drop has nothing to drop\n  got: a cell without recurrent matrices U\n"
        "  do: leave it at 0, or take another cell"
    )


def test_tied_matrices_are_one(tmp_path: Path) -> None:
    network = made(tied=True)
    assert network.output.weight is network.encode.weight
    assert sum(one.numel() for one in network.parameters()) == sum(one.numel() for one in made().parameters()) - 7 * 5
    recipe = Words(hidden=5)
    sizes = Sizes(7, 7, VOCABULARY)
    model = Model(recipe, sizes, recipe.network(sizes, "gru"))
    model.save(tmp_path / "model.safetensors")
    again = load_model(tmp_path / "model.safetensors").network
    assert again.output.weight is again.encode.weight
    assert torch.equal(again.output.weight, model.network.output.weight)


@pytest.mark.parametrize(
    ("options", "got"),
    [({"cell": "lstm_projected", "axes": {"projection": 3}}, "(7, 5)"), ({"encode": "one-hot"}, "no embedding")],
)
def test_matrices_that_cannot_be_tied(options: dict[str, Any], got: str) -> None:
    with pytest.raises(OptionError, match="input and output cannot share a matrix") as caught:
        made(tied=True, **options)
    assert f"got: {got}\n  do: leave out tied" in str(caught.value)


def test_the_embedding_begins_as_it_is_told() -> None:
    weight = made(embedding_init="uniform(0.25)", hidden=50).encode.weight
    assert 0.2 < weight.abs().max() <= 0.25


@pytest.mark.parametrize("pool", ["last", "mean", "max"])
def test_both_directions_are_pooled(pool: str) -> None:
    network, inputs = made(pool=pool, directions="both", cell="gru").eval(), symbols()
    lengths = torch.randint(1, STEPS + 1, (ROWS,))
    outputs, _ = network(inputs, None, lengths)
    for row, length in enumerate(lengths.tolist()):
        hidden, ends = network.recurrent(network.encode(inputs[:length, row]))
        pooled = {"last": ends.flatten(), "mean": hidden.mean(0), "max": hidden.amax(0)}[pool]
        assert_parity(outputs[row], network.output(pooled), dtype="float32", steps=length)


def test_the_matrices_of_both_directions_are_dropped() -> None:
    network = made(layers=2, directions="both", weight_drop=0.5)
    network(symbols())[0].square().sum().backward()
    for name in ("U_l0", "U_l0_reverse", "U_l1", "U_l1_reverse"):
        assert 0.3 < (getattr(network.recurrent, name).grad == 0).float().mean() < 0.7


@pytest.mark.parametrize("tied", [False, True])
def test_the_loss_of_next_symbols_is_that_of_the_outputs(tied: bool) -> None:
    torch.manual_seed(0)
    network = made(hidden=5, tied=tied)
    targets = symbols()
    targets[3:, 2] = NextSymbols.padding
    batch = SimpleNamespace(inputs=symbols(), targets=targets, lengths=None)
    found: list[dict[str, Tensor]] = []
    for objective in (NextSymbols, Classes):  # the second one stores the outputs
        network.zero_grad()
        total, count, (state, _) = objective().total_loss(network, batch, None)
        (total / count).backward()
        named = network.named_parameters()
        gradients = {name: parameter.grad for name, parameter in named if parameter.grad is not None}
        assert count == STEPS * ROWS - 6
        found.append({"total": total.detach(), "state": state.detach(), **gradients})
    assert found[0].keys() == found[1].keys()
    for name, value in found[0].items():
        torch.testing.assert_close(value, found[1][name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("encode", ["embedding", "one-hot"])
def test_a_small_table_is_folded_into_the_layer_with_the_same_results(
    encode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs, targets = torch.randint(70, (20, 8)), torch.randn(20, 8, 5)
    results: list[list[torch.Tensor]] = []
    for least in (0, 10**9):
        monkeypatch.setattr(embedding_fold, "MIN_PRODUCTS", least)
        torch.manual_seed(0)
        options: dict[str, Any] = {"encode": encode, "pool": "each step", "hidden": 70}
        network = RecipeNetwork("gru", Sizes(70, 5), **options)
        network(inputs)  # the operations are made
        with mock.patch.object(embedding_fold, "run_folded", wraps=embedding_fold.run_folded) as folded:
            output, _ = network(inputs)
        assert folded.called == (not least)
        (output - targets).square().mean().backward()
        results.append([output, *(gradient for p in network.parameters() if (gradient := p.grad) is not None)])
    torch.testing.assert_close(*results)
