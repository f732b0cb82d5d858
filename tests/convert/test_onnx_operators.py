"""Operators with random weights and every attribute: read, run and written again, held to ONNX Runtime."""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from gatewright import convert
from gatewright.convert import onnx_files
from gatewright.errors import ConversionError
from tests.convert.onnx_models import ACTIVATIONS, INPUTS, arrays_of, model_of, saved

ort = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")

COUNTS = {"forward": 1, "reverse": 1, "bidirectional": 2}
OPERATORS: list[tuple[str, dict[str, Any]]] = [
    ("RNN", {}),
    ("GRU", {"linear_before_reset": 0}),
    ("GRU", {"linear_before_reset": 1}),
    ("LSTM", {}),
    ("LSTM", {"input_forget": 1}),
]
FUNCTIONS: dict[str, tuple[float, ...]] = {
    "Affine": (0.7, 0.1),
    "Elu": (0.8,),
    "HardSigmoid": (0.3, 0.4),
    "LeakyRelu": (0.1,),
    "Relu": (),
    "ScaledTanh": (0.9, 0.6),
    "Sigmoid": (),
    "Softplus": (),
    "Softsign": (),
    "Tanh": (),
    "ThresholdedRelu": (0.2,),
}
GIVEN = np.random.default_rng(1).standard_normal((7, 2, INPUTS)).astype(np.float32)


def runtime(path: Path, **inputs: np.ndarray) -> list[np.ndarray]:
    """What ONNX Runtime computes."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return [np.asarray(one) for one in session.run(None, inputs)]


def assert_same_both_ways(path: Path, *, scale: float = 1.0, inputs: np.ndarray = GIVEN) -> None:
    """Our reading, and the runtime on what we write of it, compute what the runtime does with the file."""
    wanted = runtime(path, X=inputs)[0]  # (time, directions, batch, hidden)
    network = convert.read(path)
    wanted = wanted.swapaxes(1, 2).reshape(*inputs.shape[:2], -1)
    atol = 2e-6 * max(scale, float(np.abs(wanted).max()))
    assert np.isfinite(wanted).all()
    np.testing.assert_allclose(convert.run(network, inputs), wanted, rtol=2e-5, atol=atol)
    again = path.with_name("again.onnx")
    convert.write(network, again)
    np.testing.assert_allclose(onnx_files.run(again, inputs), wanted, rtol=2e-5, atol=atol)


@pytest.mark.parametrize("clip", [0.0, 0.4])
@pytest.mark.parametrize("direction", COUNTS)
@pytest.mark.parametrize(("op", "attributes"), OPERATORS, ids=str)
def test_an_operator_computes_the_same_here(
    op: str, attributes: dict[str, Any], direction: str, clip: float, tmp_path: Path
) -> None:
    for bias, peepholes, initial in product((True, False), (False, True), (False, True)):
        if peepholes and op != "LSTM":
            continue
        arrays = arrays_of(op, COUNTS[direction], bias=bias, peepholes=peepholes, initial=initial)
        if initial:
            arrays = {name: np.repeat(one, 2, 1) if name.startswith("initial") else one for name, one in arrays.items()}
        extra = {"clip": clip} if clip else {}
        model = model_of(op, arrays, batch=2 if initial else "batch", direction=direction, **attributes, **extra)
        assert_same_both_ways(saved(tmp_path / "one.onnx", model))


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(("op", "attributes"), OPERATORS, ids=str)
def test_every_activation_is_computed_here_too(
    op: str, attributes: dict[str, Any], function: str, tmp_path: Path
) -> None:
    numbers = FUNCTIONS[function]
    for place in range(ACTIVATIONS[op]):
        names = ["Sigmoid", "Tanh", "Tanh"][-ACTIVATIONS[op] :] if op != "GRU" else ["Sigmoid", "Tanh"]
        names[place] = function
        constants = {"activation_alpha": [numbers[0]]} if numbers else {}
        constants |= {"activation_beta": [numbers[1]]} if len(numbers) > 1 else {}
        arrays = {name: one * np.float32(0.3) for name, one in arrays_of(op, 1).items()}
        assert_same_both_ways(
            saved(tmp_path / "one.onnx", model_of(op, arrays, activations=names, **constants, **attributes))
        )


def test_constants_of_activations_are_read_in_the_order_of_those_that_have_them(tmp_path: Path) -> None:
    names = ["HardSigmoid", "Tanh", "LeakyRelu"] * 2
    constants = {"activation_alpha": [0.3, 0.1] * 2, "activation_beta": [0.4] * 2}
    model = model_of("LSTM", arrays_of("LSTM", 2), direction="bidirectional", activations=names, **constants)
    path = saved(tmp_path / "one.onnx", model)
    (layer,) = convert.read(path).recurrent
    said = layer.cell_config.gate, layer.cell_config.activation, layer.cell_config.output
    assert said == ("hard_sigmoid(0.3,0.4)", "tanh", "leaky_relu(0.1)")
    assert_same_both_ways(path)


TWO: dict[str, list[str]] = {
    "RNN": ["Relu", "Affine"],
    "GRU": ["HardSigmoid", "LeakyRelu", "Sigmoid", "ScaledTanh"],
    "LSTM": ["Sigmoid", "Softsign", "Tanh", "HardSigmoid", "Tanh", "LeakyRelu"],
}


@pytest.mark.parametrize("op", TWO)
def test_each_direction_may_have_activations_of_its_own(op: str, tmp_path: Path) -> None:
    numbers = [FUNCTIONS[name] for name in TWO[op]]
    constants = {"activation_alpha": [one[0] for one in numbers if one]}
    constants |= {"activation_beta": [one[1] for one in numbers if len(one) > 1]}
    constants = {name: each for name, each in constants.items() if each}
    arrays = {name: one * np.float32(0.3) for name, one in arrays_of(op, 2).items()}
    model = model_of(op, arrays, direction="bidirectional", activations=TWO[op], **constants)
    path = saved(tmp_path / "one.onnx", model)
    assert_same_both_ways(path)
    (layer,) = convert.read(path).recurrent
    first, second = layer.cell_configs
    assert (first.activation, second.activation) != (second.activation, first.activation)
    with pytest.raises(ConversionError) as caught:
        convert.write(convert.read(path), tmp_path / "out.safetensors", "gatewright")
    assert str(caught.value) == (
        "the two directions of a layer have different equations, and files of gatewright have the same for both\n"
        f"  got: {first}, and backwards {second}\n"
        "  do: write ONNX"
    )


@pytest.mark.parametrize("direction", COUNTS)
@pytest.mark.parametrize(("op", "attributes"), OPERATORS, ids=str)
def test_lengths_of_rows_may_be_given(op: str, attributes: dict[str, Any], direction: str, tmp_path: Path) -> None:
    given = ("X", "sequence_lens")
    model = model_of(op, arrays_of(op, COUNTS[direction]), given=given, direction=direction, **attributes)
    path = saved(tmp_path / "one.onnx", model)
    every, final = runtime(path, X=GIVEN, sequence_lens=np.array([7, 4], np.int32))
    (layer,) = convert.read(path).recurrent
    found = convert.run_layer(layer, GIVEN, lengths=[7, 4])
    np.testing.assert_allclose(np.stack([one.output for one in found], 1), every, rtol=2e-5, atol=2e-6)
    np.testing.assert_allclose(np.stack([one.finals["h"] for one in found]), final, rtol=2e-5, atol=2e-6)


def test_every_initial_row_may_be_the_same(tmp_path: Path) -> None:
    arrays = arrays_of("LSTM", 2, initial=True)
    wide = {name: np.repeat(one, 2, 1) if name.startswith("initial") else one for name, one in arrays.items()}
    model = model_of("LSTM", wide, batch=2, direction="bidirectional")
    network = convert.read(saved(tmp_path / "one.onnx", model))
    assert network.recurrent[0].initial[0]["c"].shape == (1, 4)
    convert.write(network, tmp_path / "again.onnx")
    wanted = runtime(tmp_path / "one.onnx", X=GIVEN)[0].swapaxes(1, 2).reshape(7, 2, 8)
    np.testing.assert_allclose(onnx_files.run(tmp_path / "again.onnx", GIVEN), wanted, atol=1e-6)
    more = np.concatenate([GIVEN, GIVEN], axis=1)  # a batch of another size
    assert onnx_files.run(tmp_path / "again.onnx", more).shape == (7, 4, 8)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "too few activations": ({"activations": ["Sigmoid"]}, "more or fewer activations"),
    "no such activation": ({"activations": ["Sigmoid", "Mish"]}, "'Mish' is none of ONNX's"),
    "constants left over": (
        {"activations": ["Sigmoid", "Tanh"], "activation_alpha": [0.5]},
        "numbers that no activation reads",
    ),
    "no such direction": ({"direction": "sideways"}, "direction 'sideways' is none"),
    "an attribute from elsewhere": ({"zoneout": 0.1}, "attribute 'zoneout' is none that is known"),
    "a bound below 0": ({"clip": -1.0}, "clip is no bound"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_no_equations_say_is_refused_with_the_node_and_the_reason(case: str, tmp_path: Path) -> None:
    attributes, reason = REFUSED[case]
    model = model_of("GRU", arrays_of("GRU", COUNTS.get(attributes.get("direction", ""), 1)), **attributes)
    with pytest.raises(ConversionError, match=reason) as caught:
        convert.read(saved(tmp_path / "one.onnx", model))
    assert "node 'layer' (GRU)" in str(caught.value)


def test_another_hidden_size_than_the_weights_is_refused(tmp_path: Path) -> None:
    model = model_of("GRU", arrays_of("GRU", 1))
    next(one for one in model.graph.node[0].attribute if one.name == "hidden_size").i = 5
    with pytest.raises(ConversionError, match="hidden_size is not that of R"):
        convert.read(saved(tmp_path / "one.onnx", model))


def test_weights_that_are_no_constants_are_refused(tmp_path: Path) -> None:
    model = model_of("GRU", arrays_of("GRU", 1))
    weight = next(one for one in model.graph.initializer if one.name == "W")
    model.graph.input.append(onnx.helper.make_tensor_value_info("W", onnx.TensorProto.FLOAT, list(weight.dims)))
    model.graph.initializer.remove(weight)
    with pytest.raises(ConversionError, match="its W is no constant of the file"):
        convert.read(saved(tmp_path / "one.onnx", model))


def test_initial_states_go_nowhere_but_to_onnx(tmp_path: Path) -> None:
    path = saved(
        tmp_path / "one.onnx", model_of("GRU", arrays_of("GRU", 1, initial=True), linear_before_reset=1, batch=1)
    )
    with pytest.raises(ConversionError, match="begins with states of its own"):
        convert.convert(path, tmp_path / "out.pt", target_layout="torch")
    assert not (tmp_path / "out.pt").exists()


@pytest.mark.parametrize("clip", [0.0, 0.5])
def test_a_model_file_of_ours_holds_what_an_operator_computes(clip: float, tmp_path: Path) -> None:
    names = {"activations": ["HardSigmoid", "LeakyRelu", "ScaledTanh"], "activation_alpha": [0.3, 0.1, 0.9]}
    names |= {"activation_beta": [0.4, 0.6], **({"clip": clip} if clip else {})}
    path = saved(tmp_path / "one.onnx", model_of("LSTM", arrays_of("LSTM", 1), input_forget=1, **names))
    report = convert.convert(path, tmp_path / "model.safetensors", target_layout="gatewright")
    # The file has one bias, the sum of the operator's two in float32.
    assert report.differences["both files, read here"] < 1e-7
    again = convert.read(tmp_path / "model.safetensors")
    assert again.recurrent[0].cell_config == convert.read(path).recurrent[0].cell_config
    np.testing.assert_allclose(convert.run(again, GIVEN), runtime(path, X=GIVEN)[0][:, 0], atol=2e-6)
