"""Layers whose matrices are whole numbers alone: their bits, and what they are as modules of torch."""

import copy
import gc
import io
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

import gatewright as gw
from gatewright import model_file
from gatewright.backends.llvm.jit.target import VARIABLE, runnable, target_named
from gatewright.errors import GatewrightError, OptionError, ShapeError
from gatewright.nn.engine.packed_weights import PackedWeights
from gatewright.nn.records import direction_parameters

LAYERS = {
    "gru": lambda: gw.nn.GRU(12, 40),
    "two directions": lambda: gw.nn.LSTM(17, 24, num_layers=2, bidirectional=True, batch_first=True),
    "narrow input, projection": lambda: gw.nn.LSTM(3, 20, proj_size=9),
    "layer norm": lambda: gw.nn.Recurrent(gw.layer_norm(gw.cells.gru), 12, 20),
    "few units": lambda: gw.nn.RNN(9, 3),
    "diagonal": lambda: gw.nn.Recurrent("indrnn", 12, 20, num_layers=2),
}
TARGETS = [target for target in ("x86-64-v4", "x86-64-v3", "x86-64-v2") if runnable(target_named(target))]


def quantized(make: Any, seed: int = 0) -> gw.nn.QuantizedRecurrent:
    torch.manual_seed(seed)
    layer = gw.nn.quantize(make()).model
    assert isinstance(layer, gw.nn.QuantizedRecurrent)
    return layer


def beside_float(layer: gw.nn.QuantizedRecurrent) -> gw.nn.Recurrent:
    """The same numbers out of float32 parameters, which kernels round and pack themselves."""
    other = layer.dequantize().eval()
    other.backend, other.products = "llvm", "int8"
    return other


def tensors_of(result: Any) -> Iterator[Tensor]:
    if isinstance(result, Tensor):
        yield result
    for value in (
        () if result is None or isinstance(result, Tensor) else result.values() if isinstance(result, dict) else result
    ):
        yield from tensors_of(value)


def assert_same_bits(got: Any, want: Any) -> None:
    pairs = list(zip(tensors_of(got), tensors_of(want), strict=True))
    assert pairs
    for one, other in pairs:
        assert torch.equal(one, other)


def arguments(layer: gw.nn.Recurrent, steps: int, batch: int) -> tuple[Tensor, Any]:
    """An input and initial states."""
    x = (
        torch.randn(batch, steps, layer.input_size)
        if layer.batch_first
        else torch.randn(steps, batch, layer.input_size)
    )
    states = [torch.randn(len(layer.packed_cells), batch, *shape) for shape in layer.state_shapes]
    return x, states[0] if len(states) == 1 else tuple(states)


@pytest.mark.parametrize("name", LAYERS)
@torch.no_grad()
def test_the_bits_are_those_of_kernels_that_round_float32_parameters(name: str) -> None:
    layer = quantized(LAYERS[name])
    other = beside_float(layer)
    for steps, batch in ((1, 1), (1, 3), (7, 1), (9, 5)):
        x, states = arguments(layer, steps, batch)
        assert_same_bits(layer(x), other(x))
        assert_same_bits(layer(x, states), other(x, states))
    lengths, marks = torch.tensor([9, 2, 5, 1, 7]), torch.rand(x.shape[:2]) < 0.3
    for options in ({"lengths": lengths}, {"resets": marks}, {"mask": ~marks}, {"return_gates": True}):
        assert_same_bits(layer(x, states, **options), other(x, states, **options))
    packed = pack_padded_sequence(x, lengths, batch_first=layer.batch_first, enforce_sorted=False)
    assert_same_bits(layer(packed, states), other(packed, states))
    assert layer(arguments(layer, 0, 2)[0])[0].shape[:2] == ((2, 0) if layer.batch_first else (0, 2))


@pytest.mark.parametrize("target", TARGETS)
@torch.no_grad()
def test_processors_without_the_instruction_run_it_too(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, target)
    layer = quantized(lambda: gw.nn.GRU(13, 21))  # sizes of no other test: engines remember their target
    x, states = arguments(layer, 6, 3)
    assert f"{target} (" in str(layer.plan().kernels(6, 3))
    assert_same_bits(layer(x, states), beside_float(layer)(x, states))
    assert_same_bits(layer(x[:1], states), beside_float(layer)(x[:1], states))


@pytest.mark.parametrize("name", LAYERS)
@torch.no_grad()
def test_a_state_dict_is_the_same_before_calls_and_after_them(name: str) -> None:
    layer = quantized(LAYERS[name])
    before = {key: value.clone() for key, value in layer.state_dict().items()}
    for steps, batch in ((1, 1), (9, 5)):
        layer(*arguments(layer, steps, batch))
    after = layer.state_dict()
    assert list(before) == list(after)
    for key, value in before.items():
        assert value.dtype == after[key].dtype
        assert torch.equal(value, after[key])


def test_a_state_dict_has_numbers_scales_and_biases() -> None:
    layer = quantized(lambda: nn.GRU(12, 40))
    kinds = {name: (value.dtype, tuple(value.shape)) for name, value in layer.state_dict().items()}
    assert kinds == {
        "weight_ih_l0": (torch.int8, (120, 12)),
        "weight_ih_l0.scales": (torch.float32, (120,)),
        "weight_hh_l0": (torch.int8, (120, 40)),
        "weight_hh_l0.scales": (torch.float32, (120,)),
        "bias_ih_l0": (torch.float32, (120,)),
        "bias_hh_l0": (torch.float32, (120,)),
    }
    assert not list(layer.parameters())
    assert list(layer.matrices()) == ["weight_ih_l0", "weight_hh_l0"]


@torch.no_grad()
def test_saved_loaded_copied_and_pickled_layers_give_the_same_bits() -> None:
    layer = quantized(LAYERS["two directions"])
    x, states = arguments(layer, 4, 2)
    want = layer(x, states)
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    other = quantized(LAYERS["two directions"], seed=1)
    other(x, states)  # packed by now
    other.load_state_dict(torch.load(file, weights_only=True))
    assert_same_bits(other(x, states), want)
    copied = copy.deepcopy(layer)
    layer.load_state_dict(quantized(LAYERS["two directions"], seed=2).state_dict())
    assert_same_bits(copied(x, states), want)
    assert not torch.equal(layer(x, states)[0], want[0])
    file = io.BytesIO()
    torch.save(copied, file)
    file.seek(0)
    assert_same_bits(torch.load(file, weights_only=False)(x, states), want)


def test_what_does_not_fit_is_not_loaded() -> None:
    layer, x = quantized(lambda: gw.nn.GRU(12, 20)), torch.randn(3, 1, 12)
    want, right = layer(x)[0], layer.state_dict()
    wrong = {
        "weight_hh_l0": (
            torch.zeros(60, 20),
            "weight_hh_l0 is torch.float32 and not torch.int8: load it into the float32",
        ),
        "weight_ih_l0": (torch.full((60, 12), -128, dtype=torch.int8), "weight_ih_l0 has whole numbers below -127"),
        "weight_ih_l0.scales": (
            torch.zeros(60),
            "weight_ih_l0.scales has not a positive float32 number for each of 60",
        ),
        "bias_ih_l0": (torch.zeros(59), r"bias_ih_l0 has the shape \(59,\), and the layer's has \(60,\)"),
        "bias_hh_l0": (torch.zeros(60, dtype=torch.int32), "bias_hh_l0 is torch.int32 and not torch.float32"),
    }
    for name, (tensor, message) in wrong.items():
        with pytest.raises(RuntimeError, match=message):
            layer.load_state_dict({**right, name: tensor})
    with pytest.raises(RuntimeError, match=r'Missing key\(s\) in state_dict: "weight_hh_l0.scales"'):
        layer.load_state_dict({name: tensor for name, tensor in right.items() if name != "weight_hh_l0.scales"})
    with pytest.raises(RuntimeError, match=r'Unexpected key\(s\) in state_dict: "more"'):
        layer.load_state_dict({**right, "more": torch.zeros(1)})
    with pytest.raises(RuntimeError, match="weight_hh_l0 is torch.float32 and not torch.int8"):
        layer.load_state_dict(gw.nn.GRU(12, 20).state_dict())
    assert torch.equal(layer(x)[0], want)


def test_a_dequantised_layer_has_the_rounded_matrices_and_gradients() -> None:
    torch.manual_seed(0)
    layer = gw.nn.LSTM(12, 20, num_layers=2, bidirectional=True)
    small = gw.nn.quantize(layer).model
    rounded = small.dequantize()
    assert type(rounded) is gw.nn.LSTM
    for name, want in layer.named_parameters():
        got = dict(rounded.named_parameters())[name]
        bound = want.abs().amax(-1, keepdim=True) / 127 if want.dim() == 2 else torch.zeros(())
        assert ((got - want).abs() <= bound * 0.501).all()
    rounded(torch.randn(3, 2, 12))[0].sum().backward()
    assert rounded.weight_hh_l0.grad is not None
    again = gw.nn.quantize(rounded).model.state_dict()
    assert all(torch.equal(value, again[name]) for name, value in small.state_dict().items())
    views = small.gate_parameters()
    assert torch.equal(views["l0.U.f"], rounded.weight_hh_l0[20:40])


def address_and_size(tensor: Tensor) -> tuple[int, int] | None:
    try:
        storage = tensor.untyped_storage()
        return storage.data_ptr(), storage.nbytes()
    except (RuntimeError, NotImplementedError):  # of a graph: it has no memory
        return None


def test_the_tensors_take_a_quarter_of_the_memory() -> None:
    """Every tensor that is alive is counted, wherever it is held."""

    def alive() -> int:
        gc.collect()
        kinds = (Tensor, torch.nn.Parameter)  # what tests of torch.compile left has other kinds, or no address
        tensors = [x for x in gc.get_objects() if type(x) in kinds and not x.is_meta]
        return sum(dict(filter(None, map(address_and_size, tensors))).values())

    before = alive()
    layer = gw.nn.GRU(256, 256)
    full = alive() - before
    small = gw.nn.quantize(layer).model
    del layer
    rows = alive() - before
    small(torch.zeros(1, 1, 256))
    packed = alive() - before
    assert rows / full < 0.26
    assert packed / full < 0.27  # among it workspaces of a few KiB that all layers share
    assert 0 <= packed - small.weight_bytes < 16 * 1024
    small.state_dict()
    assert (alive() - before) / full < 0.27


def test_a_call_with_wide_matrices_computes_no_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = quantized(lambda: gw.nn.GRU(12, 20)), torch.randn(1, 1, 12)
    want = layer(x)[0]
    monkeypatch.setattr("gatewright.nn.engine.integer_weights.digest", None)
    monkeypatch.setattr(PackedWeights, "holds", None)
    assert torch.equal(layer(x)[0], want)


@torch.no_grad()
def test_float32_buffers_that_change_are_seen() -> None:
    layer, x = quantized(lambda: gw.nn.GRU(3, 20)), torch.randn(1, 1, 3)
    first = layer(x)[0]
    layer.bias_ih_l0.add_(1)
    second = layer(x)[0]
    layer.weight_ih_l0.mul_(0.5)  # of three columns, so float32
    third = layer(x)[0]
    assert not torch.equal(first, second)
    assert not torch.equal(second, third)
    assert_same_bits(third, beside_float(layer)(x)[0])


def test_conversions_leave_it_as_it_is_and_it_stays_on_the_cpu() -> None:
    layer, x = quantized(lambda: gw.nn.GRU(12, 20)), torch.randn(3, 1, 12)
    want = layer(x)[0]
    for converted in (
        layer.double(),
        layer.bfloat16(),
        layer.to("cpu"),
        layer.train(),
        layer.share_memory(),
        layer.eval(),
    ):
        assert torch.equal(converted(x)[0], want)
    with pytest.raises(OptionError) as caught:
        layer.to("meta")
    assert str(caught.value) == (
        "the quantised layer of 'gru(reset=\"after\")' cannot leave the CPU\n  expected: a device of type 'cpu'\n"
        "  got: 'meta'\n  do: move the float32 model, which quantize left as it was, or layer.dequantize()"
    )
    for wrong in ((x.double(),), (x.bfloat16(),), (x, torch.zeros(1, 1, 20).double())):
        with pytest.raises(ShapeError, match="of another dtype than float32"):
            layer(*wrong)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer(x)[0], want)
    with pytest.raises(AttributeError):
        layer.products = "bfloat16"
    with pytest.raises(AttributeError):
        layer.backend = "torch"
    with pytest.raises(OptionError, match="the weights of a quantised layer cannot be drawn"):
        layer.reset_parameters()


def test_gradients_and_graphs_are_refused_by_name() -> None:
    layer, x = quantized(lambda: gw.nn.GRU(12, 20)), torch.randn(3, 2, 12)
    for steps in (1, 3):
        with pytest.raises(OptionError, match="layers of weights in int8 have no gradients"):
            layer(x[:steps].clone().requires_grad_())
    with pytest.raises(OptionError, match="layers of weights in int8 have no derivatives, and are not mapped"):
        torch.func.vmap(layer)(torch.randn(2, 3, 2, 12))

    def trace() -> object:
        with warnings.catch_warnings(action="ignore"):  # deprecated, and in use
            return torch.jit.trace(layer, x)

    for record in (trace, lambda: torch.export.export(layer, (x,))):
        with pytest.raises(GatewrightError) as caught:
            record()
        assert str(caught.value) == (
            "the quantised layer of 'gru(reset=\"after\")' cannot be recorded in a graph\n"
            "  expected: a call outside torch.jit.trace, torch.export and torch.onnx.export\n"
            '  do: call gw.export.onnx or gw.export.safetensors with weights="int8", or record layer.dequantize()'
        )


def test_a_compiled_model_calls_it_between_two_graphs() -> None:
    model = nn.Sequential(quantized(lambda: gw.nn.GRU(12, 20)))
    x = torch.randn(3, 2, 12)
    assert_same_bits(torch.compile(model, backend="eager")(x), model(x))


def test_files_and_layers_have_the_same_numbers(tmp_path: Any) -> None:
    torch.manual_seed(0)
    layer = gw.nn.GRU(12, 40)
    small = gw.nn.quantize(layer).model
    gw.export.safetensors(layer, tmp_path / "of_layer.safetensors", weights="int8")
    gw.export.safetensors(small, tmp_path / "of_small.safetensors", weights="int8")
    assert (tmp_path / "of_layer.safetensors").read_bytes() == (tmp_path / "of_small.safetensors").read_bytes()
    stored = model_file.load(tmp_path / "of_layer.safetensors")
    assert set(stored.narrow) == set(small.matrices())
    for name, (numbers, scales) in small.matrices().items():
        assert np.array_equal(stored.tensors[name], (scales[:, None] * numbers).numpy())
    x = torch.randn(5, 12)
    stream = gw.stream.open(tmp_path / "of_small.safetensors", weights="int8")
    np.testing.assert_allclose(stream.run(x.numpy()), small(x)[0].numpy(), atol=1e-6)


def test_what_units_do_is_recorded() -> None:
    model = nn.Sequential(quantized(lambda: gw.nn.GRU(12, 20)))
    x = torch.randn(5, 2, 12)
    states = gw.inspect.record(model, x).layer("0.l0").states["h"]
    assert np.array_equal(states, model(x)[0].numpy())


def test_kernels_are_compiled_ahead() -> None:
    model = nn.Sequential(quantized(lambda: gw.nn.GRU(12, 20)))
    assert gw.nn.compile_ahead(model, (1, 1), (5, 2)) == 1


def test_calls_of_many_kinds_hold_few_orders() -> None:
    layer = quantized(lambda: gw.nn.RNN(256, 256))
    wants = {extent: layer(torch.ones(*extent, 256))[0] for extent in ((1, 1), (20, 1), (20, 2), (20, 4), (20, 16))}
    one = 2 * 256 * 256
    assert one < layer.weight_bytes < 5 * one
    for extent, want in wants.items():
        assert torch.equal(layer(torch.ones(*extent, 256))[0], want)


def test_parameters_by_their_names_are_the_rounded_ones() -> None:
    layer = quantized(lambda: gw.nn.GRU(12, 20))
    rounded = layer.dequantize()
    got, want = direction_parameters(layer, 0), direction_parameters(rounded, 0)
    assert all(np.array_equal(got[name], value) for name, value in want.items())
