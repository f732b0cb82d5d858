"""RTNeural's files: models that others trained against their outputs, both kinds written, and damaged ones refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gatewright import convert
from gatewright.errors import ConversionError
from gatewright.network import Dense, Network, RecurrentPart

MODELS = ("gru", "gru_1d", "gru_torch", "lstm", "lstm_1d", "lstm_torch")


@pytest.mark.parametrize("name", MODELS)
def test_a_model_that_others_trained_gives_its_outputs(name: str, shared_weights: Path, tmp_path: Path) -> None:
    folder = shared_weights / "rtneural"
    network = convert.read(folder / "models" / f"{name}.json")
    given, wanted = (np.loadtxt(folder / "test_data" / f"{name}_{end}_python.csv", ndmin=2) for end in "xy")
    got = convert.run(network, given[:, None])[:, 0]
    assert got.shape == wanted.shape
    np.testing.assert_allclose(got, wanted, atol=4e-6)  # they were computed in float32
    for layout in ("rtneural", "rtneural-torch"):
        if layout == "rtneural-torch" and not name.endswith("torch"):
            continue  # its dense layers have activations
        convert.write(network, tmp_path / "again.json", layout)
        again = convert.run(convert.read(tmp_path / "again.json"), given[:, None])[:, 0]
        np.testing.assert_allclose(again, got, atol=1e-12)


def test_a_model_whose_weights_do_not_fit_its_shape_is_refused(shared_weights: Path) -> None:
    with pytest.raises(ConversionError) as caught:
        convert.read(shared_weights / "rtneural" / "models" / "bad_lstm.json")
    assert "layer 0 (lstm): its weights do not fit its shape" in str(caught.value)
    assert "expected: 1 to 16, as the file says" in str(caught.value)
    assert "got: weights of 1 to 20" in str(caught.value)


def test_a_convolution_is_refused_by_its_name(shared_weights: Path) -> None:
    with pytest.raises(ConversionError, match=r"layer 1 \(conv1d\): a network here has no such layer"):
        convert.read(shared_weights / "rtneural" / "models" / "full_model.json")


def random_network(family: str, *around: str) -> Network:
    """A recurrent layer of 2 to 4, and dense layers of those activations behind it."""
    torch.manual_seed(5)
    layer = {"gru": torch.nn.GRU, "lstm": torch.nn.LSTM, "rnn": torch.nn.RNN}[family](2, 4)
    arrays = {name: one.detach().numpy() for name, one in layer.named_parameters()}
    (part,) = convert.formats.flat.read(arrays, "torch", {}).parts
    generator = np.random.default_rng(6)
    weights = [generator.standard_normal((4, 4)).astype(np.float32) for _ in around]
    return Network((part, *(Dense(weight, weight[0], name) for weight, name in zip(weights, around, strict=True))))


@pytest.mark.parametrize("family", ["gru", "lstm"])
def test_a_network_is_written_in_rtneurals_own_kind(family: str, tmp_path: Path) -> None:
    network, path = random_network(family, "tanh", "elu", "softmax", "identity"), tmp_path / "model.json"
    convert.write(network, path)
    content = json.loads(path.read_text())
    assert content["in_shape"] == [None, None, 2]
    assert [layer["type"] for layer in content["layers"]] == [family, *["dense"] * 4]
    assert [layer["activation"] for layer in content["layers"]] == ["tanh", "tanh", "elu", "softmax", ""]
    inputs = np.random.default_rng(7).standard_normal((6, 2, 2))
    np.testing.assert_allclose(
        convert.run(convert.read(path), inputs), convert.run(network, inputs), atol=2e-7
    )  # two biases are added up in float32


def test_a_state_dict_comes_back_bit_for_bit(tmp_path: Path) -> None:
    network = random_network("gru", "identity")
    convert.write(network, tmp_path / "model.json", "rtneural-torch")
    again = convert.read(tmp_path / "model.json")
    before, after = network.recurrent[0].directions[0], again.recurrent[0].directions[0]
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) and after[name].dtype == np.float32 for name in before)
    assert again.notes == (convert.formats.rtneural.UNKNOWN_ACTIVATIONS,)


def test_a_state_dict_cannot_say_an_activation(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="layer 1 is dense with activation tanh, which a state dict cannot say"):
        convert.write(random_network("gru", "tanh"), tmp_path / "model.json", "rtneural-torch")


UNSAID: dict[str, tuple[Any, str]] = {
    "backwards": ({"backwards": True}, "every sample as it comes"),
    "last": ({"returns": "last"}, "every sample as it comes"),
    "relu": (
        {"cell": convert.CellConfig("gru", reset="after", activation="relu")},
        "no layer of rtneural computes",
    ),
    "before": ({"cell": convert.CellConfig("gru", reset="before")}, "no layer of rtneural computes"),
}


@pytest.mark.parametrize("case", UNSAID)
def test_what_rtneural_does_not_compute_is_refused(case: str, tmp_path: Path) -> None:
    changes, reason = UNSAID[case]
    (layer,) = random_network("gru").recurrent
    fields = {"cell": layer.cell_config, "directions": layer.directions} | changes
    with pytest.raises(ConversionError, match=reason):
        convert.write(Network((RecurrentPart(**fields),)), tmp_path / "model.json")


@pytest.mark.parametrize("layout", ["rtneural", "rtneural-torch"])
def test_rtneural_has_no_simple_network(layout: str, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="no layer of rtneural computes RNN"):
        convert.write(random_network("rnn"), tmp_path / "model.json", layout)


def own(**changes: Any) -> Any:
    """A file's content with one layer changed."""
    weights = [[[0.5] * 3] * 1, [[0.5] * 3] * 1, [[0.5] * 3] * 2]
    layer = {"type": "gru", "activation": "tanh", "shape": [None, None, 1], "weights": weights} | changes
    return {"in_shape": [None, None, 1], "layers": [layer]}


DAMAGED: dict[str, tuple[Any, str]] = {
    "no object": ([1, 2], "the file is no JSON object"),
    "no layers": ({"layers": {}}, "its layers are no list"),
    "no such layer": (own(type="prelu"), r"layer 0 \(prelu\): a network here has no such layer"),
    "another activation": (own(activation="relu"), "RTNeural computes tanh whatever the file says"),
    "no weights": (own(weights=None), "it has no list of weights"),
    "two arrays": (own(weights=[[[0.5] * 3], [[0.5] * 3]]), "it has 2 arrays"),
    "another rank": (own(weights=[[0.5] * 3, [[0.5] * 3], [[0.5] * 3] * 2]), "array 0 has 1 axes"),
    "ragged": (own(weights=[[[0.5] * 3, [0.5]], [[0.5] * 3], [[0.5] * 3] * 2]), "array 0 is no array of numbers"),
    "words": (own(weights=[[["0.5"] * 3], [[0.5] * 3], [[0.5] * 3] * 2]), "array 0 is no array of numbers"),
    "truths": (own(weights=[[[True] * 3], [[0.5] * 3], [[0.5] * 3] * 2]), "array 0 is no array of numbers"),
    "huge": (own(weights=[[[10**400] * 3], [[0.5] * 3], [[0.5] * 3] * 2]), "array 0 is no array of numbers"),
    "deep": (own(weights=[[[[[[0.5]]]]]]), "array 0 is no array of numbers"),
    "empty": (own(weights=[[[]], [[0.5] * 3], [[0.5] * 3] * 2]), "array 0 is no array of numbers"),
    "wrong sizes": (own(weights=[[[0.5] * 4], [[0.5] * 3], [[0.5] * 3] * 2]), r"layer 0 \(gru\)"),
    "no shape": (own(shape=None), "shape of layer 0 does not end with a number of features"),
    "no in_shape": ({"layers": own()["layers"]}, "in_shape does not end with a number of features"),
    "a convolution of PyTorch's": ({"conv.weight": [[[0.5]]], "conv.bias": [0.5]}, "'conv' is no dense layer"),
    "no recurrent layer": ({"dense.weight": [[0.5]], "dense.bias": [0.5]}, "holds no recurrent layer"),
    "arrays of nobody": ({"gru.weight_ih_l0": [[0.5]]}, "'gru' is no layer of PyTorch's"),
    "nothing": ({}, "holds no recurrent layer"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_file_is_refused_with_the_layer(case: str, tmp_path: Path) -> None:
    content, reason = DAMAGED[case]
    (tmp_path / "model.json").write_text(json.dumps(content))
    with pytest.raises(ConversionError, match=reason):
        convert.read(tmp_path / "model.json")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_what_is_not_finite_is_refused(number: str, tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text(json.dumps(own()).replace("0.5", number, 1))
    with pytest.raises(ConversionError, match="no finite number|is not finite"):
        convert.read(tmp_path / "model.json")


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"layers": ' + "[" * 5000, "\xff", "1" * 5000], ids=len)
def test_what_is_no_json_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "model.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ConversionError, match="cannot be read|is no JSON object"):
        convert.read(tmp_path / "model.json")


@pytest.mark.parametrize("digits", [5, 7, 8, 9, 12, 17])
def test_rounded_decimals_of_single_precision_are_of_single_precision(digits: int, tmp_path: Path) -> None:
    wanted = np.random.default_rng(4).standard_normal((12, 4)).astype(np.float32) ** 3
    rounded = [[float(f"{number:.{digits - 1}e}") for number in row] for row in wanted.tolist()]
    state = {"weight_ih": rounded, "weight_hh": rounded}
    (tmp_path / "one.json").write_text(json.dumps({f"gru.{name}_l0": array for name, array in state.items()}))
    (layer,) = convert.read(tmp_path / "one.json").recurrent
    assert {array.dtype for array in layer.directions[0].values()} == {np.dtype(np.float32)}
    if digits >= 9:  # so many tell every number of float32 from all others
        np.testing.assert_array_equal(layer.directions[0]["W.r"], wanted[:4])


@pytest.mark.parametrize("digits", [12, 15, 17])
def test_decimals_of_double_precision_stay_of_double_precision(digits: int, tmp_path: Path) -> None:
    numbers = np.random.default_rng(4).standard_normal((12, 4))
    rounded = [[float(f"{number:.{digits - 1}e}") for number in row] for row in numbers.tolist()]
    content = {"gru.weight_ih_l0": rounded, "gru.weight_hh_l0": rounded}
    (tmp_path / "one.json").write_text(json.dumps(content))
    (layer,) = convert.read(tmp_path / "one.json").recurrent
    np.testing.assert_array_equal(layer.directions[0]["U.r"], np.array(rounded[:4]))


def test_numbers_beyond_single_precision_are_of_double_precision(tmp_path: Path) -> None:
    matrix = [[1e300] * 4] * 12
    (tmp_path / "one.json").write_text(json.dumps({"gru.weight_ih_l0": matrix, "gru.weight_hh_l0": matrix}))
    (layer,) = convert.read(tmp_path / "one.json").recurrent
    assert layer.directions[0]["W.z"].dtype == np.float64


def guitarml(unit: str, skip: int, **said: Any) -> tuple[dict[str, Any], torch.nn.Module, torch.nn.Linear]:
    """The content of a file of GuitarML, whose numbers were rounded in printing, and the layers that it is of."""
    torch.manual_seed(8)
    layer, linear = getattr(torch.nn, unit)(2, 4), torch.nn.Linear(4, 1)
    state = {
        f"{name}.{key}": one
        for name, part in (("rec", layer), ("lin", linear))
        for key, one in part.state_dict().items()
    }
    data = {
        "model": "SimpleRNN",
        "input_size": 2,
        "skip": skip,
        "output_size": 1,
        "unit_type": unit,
        "num_layers": 1,
        "hidden_size": 4,
        "bias_fl": True,
    }
    rounded = json.loads(json.dumps({name: one.tolist() for name, one in state.items()}), parse_float=rounded_decimal)
    return {"model_data": data | said, "state_dict": rounded}, layer, linear


def rounded_decimal(text: str) -> float:
    return float(f"{float(text):.9g}")


@pytest.mark.parametrize("skip", [0, 1])
@pytest.mark.parametrize("unit", ["LSTM", "GRU"])
def test_a_model_of_guitarml_adds_its_input(unit: str, skip: int, tmp_path: Path) -> None:
    content, layer, linear = guitarml(unit, skip)
    (tmp_path / "amp.json").write_text(json.dumps(content))
    network = convert.read(tmp_path / "amp.json")
    assert (network.layout, network.notes, dict(network.rest)) == ("rtneural", (), {})
    assert all(one.dtype == np.float32 for one in network.recurrent[0].directions[0].values())
    inputs = torch.randn(7, 3, 2, dtype=torch.float64)
    wanted = linear.double()(layer.double()(inputs)[0]) + (inputs[..., :1] if skip else 0)
    np.testing.assert_allclose(convert.run(network, inputs.numpy()), wanted.detach().numpy(), atol=1e-7)
    convert.convert(tmp_path / "amp.json", tmp_path / "own.safetensors", target_layout="gatewright")
    again = convert.read(tmp_path / "own.safetensors")
    np.testing.assert_allclose(convert.run(again, inputs.numpy()), wanted.detach().numpy(), atol=1e-7)


def test_an_input_that_is_added_is_not_lost_in_other_files(tmp_path: Path) -> None:
    (tmp_path / "amp.json").write_text(json.dumps(guitarml("LSTM", 1)[0]))
    for target in ("amp.onnx", "amp.keras", "again.json"):
        layout = "rtneural" if target == "again.json" else None
        with pytest.raises(ConversionError, match="AddInput|the input is added to the output"):
            convert.convert(tmp_path / "amp.json", tmp_path / target, target_layout=layout)
    report = convert.convert(tmp_path / "amp.json", tmp_path / "amp.pt")
    assert report.notes[-1] == "the file has no place for these, and they were left out: Dense, AddInput"


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"model": "GatedConvNet"}, "its model is another one"),
        ({"hidden_size": 5}, "its weights are not what its model_data says"),
        ({"unit_type": "GRU"}, "its weights are not what its model_data says"),
        ({"skip": 2}, "the input that skips the layers does not fit"),
        ({"skip": "1"}, "the input that skips the layers does not fit"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(said: dict[str, Any], message: str, tmp_path: Path) -> None:
    (tmp_path / "amp.json").write_text(json.dumps(guitarml("LSTM", **({"skip": 1} | said))[0]))
    with pytest.raises(ConversionError, match=message):
        convert.read(tmp_path / "amp.json")


def test_rtneurals_own_kind_may_add_its_input_too(tmp_path: Path) -> None:
    (tmp_path / "plain.json").write_text(json.dumps(own()))
    (tmp_path / "added.json").write_text(json.dumps(own() | {"in_skip": 1}))
    plain, added = (convert.read(tmp_path / name) for name in ("plain.json", "added.json"))
    inputs = np.random.default_rng(0).standard_normal((5, 2, 1))
    np.testing.assert_array_equal(convert.run(added, inputs), convert.run(plain, inputs) + inputs)
    with pytest.raises(ConversionError, match="files of rtneural take no override activation"):
        convert.read(tmp_path / "plain.json", activation="relu")
