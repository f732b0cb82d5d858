"""Copies of models in eight bits: close to the model, equal to a stream of the same weights, and of no gradient."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import gatewright as gw
from gatewright.backends.llvm.parallel.contention import ContentionMonitor
from gatewright.backends.llvm.runtime import runner
from gatewright.errors import OptionError
from gatewright.nn.records import layer_records


class Tagger(nn.Module):
    """An embedding, a bidirectional layer of torch.nn, a step of a cell, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 8)
        self.recurrent = nn.LSTM(8, 24, num_layers=2, bidirectional=True, batch_first=True, dropout=0.5)
        self.cell = nn.GRUCell(48, 10)
        self.head = nn.Linear(10, 5)

    def forward(self, symbols: torch.Tensor) -> torch.Tensor:
        return self.head(self.cell(self.recurrent(self.embedding(symbols))[0][:, -1]))


def small_differences(got: torch.Tensor, want: torch.Tensor) -> bool:
    """Rounded, but not by much."""
    off = float((got - want).detach().abs().max() / want.detach().abs().max())
    return 1e-6 < off < 9e-2


@pytest.mark.parametrize("make", [gw.nn.GRU, nn.GRU, gw.nn.LSTM, nn.LSTM, nn.RNN])
def test_a_layer_alone_is_quantised(make: type[nn.Module]) -> None:
    torch.manual_seed(0)
    layer, x = make(12, 40), torch.randn(30, 3, 12)
    quantized = gw.nn.quantize(layer, x)
    got, want = quantized.model(x)[0], layer(x)[0]
    assert small_differences(got, want)
    assert quantized.layers == ("",)
    assert isinstance(quantized.model, gw.nn.Recurrent)
    assert quantized.loss is not None
    assert quantized.loss.largest == pytest.approx(float((got - want).detach().abs().max()), rel=1e-3)
    assert str(quantized).startswith("the model itself: weights in int8\nint8 weights: over 90 steps of the sample the")


def test_a_model_is_copied_and_stays_as_it_is() -> None:
    torch.manual_seed(0)
    model, symbols = Tagger(), torch.randint(0, 20, (6, 15))
    before = copy.deepcopy(model.state_dict())
    quantized = gw.nn.quantize(model, symbols)
    assert quantized.layers == ("recurrent",)
    assert list(quantized.left) == ["cell"]
    assert type(model.recurrent) is nn.LSTM
    assert model.training
    assert not quantized.model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    want = copy.deepcopy(model).eval()(symbols)
    assert small_differences(quantized.model(symbols), want)
    assert quantized.loss is not None
    assert quantized.loss.same_largest is not None
    assert "cell: left, it is a cell of one step, and only layers" in str(quantized)


@pytest.mark.parametrize("name", ["gru", "lstm_peephole", "layer_norm(gru)", "mgu", "indrnn"])
def test_any_cell_is_quantised(name: str) -> None:
    torch.manual_seed(0)
    cell = gw.layer_norm(gw.cells.gru) if name.startswith("layer_norm") else name
    layer, x = gw.nn.Recurrent(cell, 12, 20), torch.randn(9, 3, 12)
    assert small_differences(gw.nn.quantize(layer).model(x)[0], layer(x)[0])


def test_it_is_what_a_stream_computes() -> None:
    torch.manual_seed(0)
    layer, x = gw.nn.quantize(gw.nn.GRU(12, 40)).model, torch.randn(20, 12)
    tensors = {name: value.detach().numpy() for name, value in layer.dequantize().state_dict().items()}
    stream = gw.stream.open(gw.model_file.ModelFile(tensors, layer_records(layer), task="test"), weights="int8")
    got = layer(x[:, None])[0][:, 0].numpy()
    np.testing.assert_allclose(stream.run(x.numpy()), got, atol=1e-5)


def test_rows_that_end_early_and_states_that_are_given() -> None:
    torch.manual_seed(0)
    layer, x, h = gw.nn.GRU(6, 18), torch.randn(7, 3, 6), torch.randn(1, 3, 18)
    quantized, lengths = gw.nn.quantize(layer).model, torch.tensor([7, 2, 4])
    output, final = quantized(x, h, lengths=lengths)
    assert (output[2:, 1] == 0).all()
    alone, _ = quantized(x[:2, 1:2].contiguous(), h[:, 1:2].contiguous())
    torch.testing.assert_close(output[:2, 1], alone[:, 0], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(final[0, 1], alone[-1, 0], atol=1e-6, rtol=1e-5)


def test_calls_give_the_same_bits_again() -> None:
    torch.manual_seed(0)
    quantized, x = gw.nn.quantize(gw.nn.GRU(12, 40)).model, torch.randn(5, 2, 12)
    assert torch.equal(quantized(x)[0], quantized(x)[0])


def test_threads_do_not_change_the_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "contention", ContentionMonitor())  # other tests may run at the same time
    torch.manual_seed(0)
    quantized, x = gw.nn.quantize(gw.nn.GRU(64, 128)).model, torch.randn(12, 6, 64)
    alone = quantized(x)[0]
    gw.set_num_threads(2)
    try:
        assert torch.equal(alone, quantized(x)[0])
    finally:
        gw.set_num_threads(None)


def test_the_plan_and_the_source_say_so() -> None:
    quantized = gw.nn.quantize(gw.nn.GRU(12, 40)).model
    first = "llvm: compiled for this processor; matrices in int8, packed once; products in int8"
    assert str(quantized.plan()).splitlines()[0] == first
    assert quantized.source(steps=1).layout.endswith("int8 products")


def test_gradients_are_refused() -> None:
    quantized, x = gw.nn.quantize(gw.nn.GRU(12, 40)).model, torch.randn(5, 2, 12, requires_grad=True)
    with pytest.raises(OptionError) as caught:
        quantized(x)[0].sum().backward()
    assert str(caught.value) == (
        "layers of weights in int8 have no gradients\n  expected: a call without gradients\n"
        "  do: train the model that was quantised, or call this one under torch.no_grad()"
    )


def test_what_cannot_be_quantised_is_refused() -> None:
    with pytest.raises(OptionError) as caught:
        gw.nn.quantize(nn.Linear(3, 4))
    assert str(caught.value) == (
        "the model has no recurrent layer that can be quantised\n"
        "  expected: layers of gatewright.nn, or torch.nn's RNN, GRU and LSTM\n  got: Linear"
    )
    with pytest.raises(OptionError) as caught:
        gw.nn.quantize(nn.Sequential(gw.nn.GRU(3, 4).double()))
    assert str(caught.value) == (
        "the layer '0' cannot be quantised\n  expected: parameters in float32 on the CPU\n  got: float64 on cpu\n"
        "  do: call quantize(model.float().cpu(), ...)"
    )


class Own(gw.nn.GRU):
    """A layer with code of its own."""


def test_layers_with_code_of_their_own_are_left() -> None:
    model = nn.Sequential(gw.nn.GRU(6, 8), Own(6, 8))
    quantized = gw.nn.quantize(model)
    assert quantized.layers == ("0",)
    assert quantized.left == {
        "1": "its class is derived from a layer's, and has code of its own, which a quantised layer would not run"
    }
    assert type(quantized.model[1]) is Own


def test_a_layer_in_two_places_is_one_layer_still() -> None:
    layer = gw.nn.GRU(8, 8)
    model = gw.nn.quantize(nn.ModuleDict({"first": layer, "second": layer})).model
    assert isinstance(model["first"], gw.nn.QuantizedRecurrent)
    assert model["first"] is model["second"]


def test_computed_parameters_are_quantised_as_they_are_now() -> None:
    torch.manual_seed(0)
    layer, x = nn.utils.parametrizations.weight_norm(gw.nn.GRU(12, 20), "weight_hh_l0"), torch.randn(4, 2, 12)
    quantized = gw.nn.quantize(layer)
    assert small_differences(quantized.model(x)[0], layer(x)[0])
    assert type(quantized.model.dequantize()) is gw.nn.GRU


def test_matrices_that_are_not_finite_are_refused() -> None:
    layer = gw.nn.GRU(12, 20)
    with torch.no_grad():
        layer.weight_hh_l0[3, 4] = float("nan")
    with pytest.raises(OptionError) as caught:
        gw.nn.quantize(layer)
    assert str(caught.value) == (
        "the layer cannot be quantised: tensor 'weight_hh_l0' has numbers that are not finite, and cannot be kept in "
        "int8\n  do: train the model again, with a lower rate or with clip"
    )
