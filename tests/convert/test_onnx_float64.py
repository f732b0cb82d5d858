"""Networks in double precision as ONNX: loops of their equations, which ONNX Runtime runs, and which are read again."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from gatewright import convert
from gatewright.convert import onnx_files
from gatewright.errors import ConversionError
from gatewright.network import Activation, BatchNorm, Dense, LayerNorm, Network, RecurrentPart, Reverse, Scale
from tests.convert.onnx_models import arrays_of, model_of, saved

pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")

INPUTS, HIDDEN = 3, 5
GIVEN = np.random.default_rng(1).standard_normal((7, 2, INPUTS))


def layer_of(kind: str, **options: Any) -> tuple[torch.nn.Module, dict[str, np.ndarray]]:
    """A layer of PyTorch in double precision, and its state dict."""
    torch.manual_seed(3)
    layer = getattr(torch.nn, kind)(INPUTS, HIDDEN, **options).double()
    return layer, {name: one.numpy() for name, one in layer.state_dict().items()}


LAYERS: dict[str, dict[str, Any]] = {
    "GRU": {"num_layers": 2},
    "LSTM": {"bidirectional": True},
    "RNN": {"bias": False},
    "GRU both ways": {"bidirectional": True, "num_layers": 2},
    "LSTM of a projection": {"proj_size": 2, "bidirectional": True},
}


@pytest.mark.parametrize("case", LAYERS)
def test_double_precision_runs_and_comes_back(case: str, tmp_path: Path) -> None:
    layer, state = layer_of(case.partition(" ")[0], **LAYERS[case])
    np.savez(tmp_path / "layer.npz", **state)
    report = convert.convert(tmp_path / "layer.npz", tmp_path / "layer.onnx", source_layout="torch")
    assert report.differences["layer.onnx, run by ONNX Runtime"] < 1e-12
    assert report.differences["both files, read here"] < 1e-13
    wanted = layer(torch.from_numpy(GIVEN))[0].detach().numpy()
    np.testing.assert_allclose(onnx_files.run(tmp_path / "layer.onnx", GIVEN), wanted, atol=1e-13)
    convert.convert(tmp_path / "layer.onnx", tmp_path / "again.npz", target_layout="torch")
    again = convert.read(tmp_path / "again.npz", "torch")
    np.testing.assert_allclose(convert.run(again, GIVEN), wanted, atol=1e-13)


def test_a_projection_is_a_loop_in_single_precision_too(tmp_path: Path) -> None:
    _, state = layer_of("LSTM", proj_size=2)
    np.savez(tmp_path / "layer.npz", **{name: one.astype(np.float32) for name, one in state.items()})
    report = convert.convert(tmp_path / "layer.npz", tmp_path / "layer.onnx", source_layout="torch")
    assert report.differences["layer.onnx, run by ONNX Runtime"] < 1e-6
    assert convert.read(tmp_path / "layer.onnx").recurrent[0].cell_config.projection


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("op", ["RNN", "GRU", "LSTM"])
def test_all_that_an_operator_has_is_in_the_loop(op: str, direction: str, tmp_path: Path) -> None:
    """Peepholes, first states, lengths, a bound, and activations of their own to each direction."""
    count = 1 + (direction == "bidirectional")
    names = {"RNN": ["Relu"], "GRU": ["HardSigmoid", "Tanh"], "LSTM": ["Sigmoid", "Softsign", "Tanh"]}[op]
    others = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Relu"], "LSTM": ["HardSigmoid", "Tanh", "Relu"]}[op]
    attributes = {"activations": names + others * (count - 1), "clip": 0.7, "direction": direction}
    arrays = {name: 0.4 * one for name, one in arrays_of(op, count, peepholes=op == "LSTM", initial=True).items()}
    model = model_of(op, arrays, given=("X", "sequence_lens"), outputs=("Y",), **attributes)
    for one in model.graph.initializer:
        one.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(one).astype(np.float64), one.name))
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    path = saved(tmp_path / "one.onnx", model)
    report = convert.convert(path, tmp_path / "again.onnx")
    assert report.differences["again.onnx, run by ONNX Runtime"] < 1e-12
    network, again = convert.read(path), convert.read(tmp_path / "again.onnx")
    assert [one.cell_configs for one in again.recurrent] == [one.cell_configs for one in network.recurrent]
    wanted = convert.run(network, GIVEN, lengths=[7, 4])
    np.testing.assert_allclose(onnx_files.run(tmp_path / "again.onnx", GIVEN, lengths=[7, 4]), wanted, atol=1e-13)


def network_of(*after: Any) -> Network:
    """A layer in double precision, and parts around it."""
    generator = np.random.default_rng(5)
    sizes = {"W": (HIDDEN, INPUTS), "U": (HIDDEN, HIDDEN), "b": (HIDDEN,)}
    parameters = {f"{kind}.{gate}": generator.standard_normal(size) for kind, size in sizes.items() for gate in "rzn"}
    layer = RecurrentPart(convert.CellConfig("gru", reset="before"), (parameters,))
    return Network((Scale(np.full(INPUTS, 0.25), np.full(INPUTS, 2.0)), layer, *after))


@pytest.mark.parametrize(
    "function",
    ["elu", "elu(0.5)", "hard_sigmoid_theano", "hard_sigmoid_keras3", "hard_sigmoid(0.3,0.4)", "leaky_relu(0.1)",
     "relu", "sigmoid", "softplus", "softsign", "softmax", "log_softmax", "tanh", "silu", "clip(-0.5,0.25)"],
)  # fmt: skip
def test_activations_are_of_operators_that_run_in_double_precision(function: str, tmp_path: Path) -> None:
    weight = np.random.default_rng(6).standard_normal((4, HIDDEN))
    for last in (Activation(function), Dense(weight, None, function)):
        network = network_of(last)
        convert.write(network, tmp_path / "one.onnx")
        wanted = convert.run(network, GIVEN)
        np.testing.assert_allclose(onnx_files.run(tmp_path / "one.onnx", GIVEN), wanted, atol=1e-12)
        np.testing.assert_allclose(convert.run(convert.read(tmp_path / "one.onnx"), GIVEN), wanted, atol=3e-7)


def test_normalisations_and_turned_steps_run_in_double_precision(tmp_path: Path) -> None:
    ones = np.linspace(0.5, 2, HIDDEN)
    network = network_of(LayerNorm(1e-3, ones, -ones), Reverse(), BatchNorm(ones, ones, 1e-5, None, ones))
    convert.write(network, tmp_path / "one.onnx")
    wanted = convert.run(network, GIVEN)
    np.testing.assert_allclose(onnx_files.run(tmp_path / "one.onnx", GIVEN), wanted, atol=1e-12)
    np.testing.assert_allclose(convert.run(convert.read(tmp_path / "one.onnx"), GIVEN), wanted, atol=1e-9)


def test_what_the_runtime_lacks_in_double_precision_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConversionError) as caught:
        convert.write(network_of(Activation("gelu")), tmp_path / "one.onnx")
    assert str(caught.value) == (
        "ONNX Runtime has no gelu in double precision\n  got: float64\n  do: convert to float32, with dtype='float32'"
    )
    assert not (tmp_path / "one.onnx").exists()


@pytest.mark.parametrize(
    "said",
    [
        "no JSON", "[]", "{}x", '{"recurrent1": 3}', '{"recurrent1": {}}', "[" * 100_000,
        json.dumps({"recurrent1": {"equations": [{"family": "none"}], "results": ["x"], "initial": []}}),
        json.dumps({"recurrent1": {"equations": [{"family": "gru"}], "results": ["x"], "initial": ["h"]}}),
    ],
    ids=lambda said: said[:30],
)  # fmt: skip
def test_a_description_that_does_not_fit_the_graph_is_refused(said: str, tmp_path: Path) -> None:
    convert.write(network_of(), path := tmp_path / "one.onnx")
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {"gatewright.layers": said})
    with pytest.raises(ConversionError, match=r"one\.onnx: "):
        convert.read(saved(path, model))


def test_a_description_of_another_layer_than_the_graph_s_is_found_by_the_runtime(tmp_path: Path) -> None:
    convert.write(network_of(), path := tmp_path / "one.onnx")
    model = onnx.load(path)
    said = json.loads(model.metadata_props[0].value)
    said["recurrent1"]["equations"][0]["activation"] = "relu"
    onnx.helper.set_model_props(model, {"gatewright.layers": json.dumps(said)})
    with pytest.raises(ConversionError, match="ONNX Runtime computes something else with one.onnx than was read here"):
        convert.convert(saved(path, model), tmp_path / "out.onnx")
