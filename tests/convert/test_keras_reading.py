"""Files of Keras in the structures of their time: what each array is, and what a model's settings make of it."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gatewright import convert
from gatewright.convert import apply
from gatewright.convert.layouts import BY_KEY
from gatewright.errors import ConversionError
from tests.convert.keras_models import (
    INPUTS,
    KERNELS,
    UNITS,
    drawn,
    functional,
    kernels,
    layer,
    legacy,
    numbered,
    sequential,
    zipped,
)

pytest.importorskip("h5py")

GATES1 = {"GRU": "z r h", "LSTM": "i c f o"}


def sigmoid(a: Any) -> Any:
    return 1 / (1 + np.exp(-a))


def hard(a: Any) -> Any:
    return np.clip(0.2 * a + 0.5, 0, 1)


def labelled(prefix: str, arrays: dict[str, Any]) -> dict[str, Any]:
    return {f"{prefix}/{name}:0": array for name, array in arrays.items()}


def test_a_gru_of_keras_2_is_the_equations_of_its_documentation(tmp_path: Path) -> None:
    arrays = kernels("GRU", after=False)
    config = layer("GRU", "gru_1", units=UNITS, activation="tanh", recurrent_activation="hard_sigmoid")
    path = legacy(tmp_path / "model.h5", [config], {"gru_1": labelled("gru_1", arrays)})
    (kz, kr, kh), (rz, rr, rh), (bz, br, bh) = (np.split(arrays[name].astype(float), 3, -1) for name in arrays)
    inputs = np.random.default_rng(1).standard_normal((5, 2, INPUTS))
    h = np.zeros((2, UNITS))
    for x in inputs:
        z, r = hard(x @ kz + h @ rz + bz), hard(x @ kr + h @ rr + br)
        h = z * h + (1 - z) * np.tanh(x @ kh + (r * h) @ rh + bh)
    np.testing.assert_allclose(convert.run(convert.read(path), inputs), h, atol=1e-12)


@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
def test_a_cudnn_layer_is_the_plain_layer_in_another_order(kind: str, tmp_path: Path) -> None:
    """As Keras 2 loads one into the other: kernels refilled, recurrent kernels turned, biases of two sides."""
    plain = kernels(kind)
    gates = KERNELS[kind]
    halves = np.tile(plain["bias"] / 2, (2, 1)) if kind == "LSTM" else plain["bias"]
    theirs = {
        "kernel": np.hstack([k.T.reshape(k.shape) for k in np.hsplit(plain["kernel"], gates)]),
        "recurrent_kernel": np.hstack([k.T for k in np.hsplit(plain["recurrent_kernel"], gates)]),
        "bias": halves.reshape(-1),
    }
    settings = {"units": UNITS, "return_sequences": True}
    more = {"reset_after": True} if kind == "GRU" else {}
    one = layer(kind, "a", activation="tanh", recurrent_activation="sigmoid", **settings, **more)
    two = layer(f"CuDNN{kind}", "a", **settings)
    inputs = np.random.default_rng(1).standard_normal((5, 2, INPUTS))
    wanted, got = (
        convert.run(convert.read(legacy(tmp_path / f"{i}.h5", [config], {"a": labelled("a", arrays)})), inputs)
        for i, (config, arrays) in enumerate([(one, plain), (two, theirs)])
    )
    np.testing.assert_allclose(got, wanted, atol=1e-12)


@pytest.mark.parametrize("suffix", ["", ":0"], ids=["theano", "tensorflow"])
@pytest.mark.parametrize("kind", ["SimpleRNN", "GRU", "LSTM"])
def test_keras_1_has_an_array_for_each_gate(kind: str, suffix: str, tmp_path: Path) -> None:
    arrays: dict[str, Any] = {}
    for index, gate in enumerate(GATES1.get(kind, "").split() or [""]):
        end = f"_{gate}{suffix}" if gate else suffix
        arrays[f"a_W{end}"] = drawn(INPUTS, UNITS, seed=index)
        arrays[f"a_U{end}"] = drawn(UNITS, UNITS, seed=index + 10)
        arrays[f"a_b{end}"] = drawn(UNITS, seed=index + 20)
    config = layer(kind, "a", output_dim=UNITS, activation="tanh", inner_activation="hard_sigmoid")
    network = convert.read(legacy(tmp_path / "model.h5", [config], {"a": arrays}, version="1.2.2"))
    (found,) = network.recurrent
    assert network.layout == "keras1"
    ours = {"c": "g", "h": "n" if kind == "GRU" else "h"}
    for gate in GATES1.get(kind, "h").split():
        end = f"_{gate}{suffix}" if kind != "SimpleRNN" else suffix
        np.testing.assert_array_equal(found.directions[0][f"W.{ours.get(gate, gate)}"], arrays[f"a_W{end}"].T)
        np.testing.assert_array_equal(found.directions[0][f"b.{ours.get(gate, gate)}"], arrays[f"a_b{end}"])
    assert found.cell_config.gate == ("sigmoid" if kind == "SimpleRNN" else "hard_sigmoid_theano")


def test_keras_1_may_have_one_array_for_all_gates(tmp_path: Path) -> None:
    arrays = {"a_W:0": drawn(INPUTS, 4 * UNITS), "a_U:0": drawn(UNITS, 4 * UNITS), "a_b:0": drawn(4 * UNITS)}
    config = layer("LSTM", "a", output_dim=UNITS, consume_less="gpu")
    (found,) = convert.read(legacy(tmp_path / "model.h5", [config], {"a": arrays}, version="1.2.2")).recurrent
    np.testing.assert_array_equal(found.directions[0]["b.g"], arrays["a_b:0"][2 * UNITS : 3 * UNITS])


@pytest.mark.parametrize(
    ("version", "gate"),
    [
        ("1.2.2", "hard_sigmoid_theano"),
        ("2.3.1", "hard_sigmoid_theano"),
        ("2.2.4-tf", "sigmoid"),
        ("2.11.0", "sigmoid"),
        ("3.3.0", "sigmoid"),
    ],
)
def test_bare_weights_have_the_activations_of_their_version_which_is_said(
    version: str, gate: str, tmp_path: Path
) -> None:
    arrays = labelled("a", kernels("LSTM"))
    if version.startswith("1"):
        arrays = {f"a_{name}": array for name, array in zip("WUb", arrays.values(), strict=True)}
    path = legacy(tmp_path / "model.h5", [layer("", "a")], {"a": arrays}, version=version, bare=True)
    network = convert.read(path)
    assert network.recurrent[0].cell_config.gate == gate
    assert any("weights alone" in note for note in network.notes)


@pytest.mark.parametrize(
    ("version", "function"),
    [("2.3.1", "hard_sigmoid_theano"), ("2.15.0", "hard_sigmoid_theano"), ("3.1.0", "hard_sigmoid_keras3")],
)
def test_hard_sigmoid_is_another_function_in_keras_3(version: str, function: str, tmp_path: Path) -> None:
    config = layer("LSTM", "a", units=UNITS, recurrent_activation="hard_sigmoid")
    path = legacy(tmp_path / "model.h5", [config], {"a": labelled("a", kernels("LSTM"))}, version=version)
    network = convert.read(path)
    assert network.recurrent[0].cell_config.gate == function
    assert any("x/5" in note for note in network.notes) == (function == "hard_sigmoid_theano")


@pytest.mark.parametrize("names", ["forward_lstm_1 backward_lstm_1", "lstm/lstm_cell_1 back/lstm_cell_2"])
def test_both_directions_are_found_by_their_order(names: str, tmp_path: Path) -> None:
    one, two = (kernels("LSTM", seed=seed) for seed in (0, 5))
    forward, backward = names.split()
    arrays = {**labelled(f"both/{forward}", one), **labelled(f"both/{backward}", two)}
    inner = layer("LSTM", "lstm_1", units=UNITS, return_sequences=True)
    config = layer("Bidirectional", "both", layer=inner, merge_mode="concat")
    (found,) = convert.read(legacy(tmp_path / "model.h5", [config], {"both": arrays})).recurrent
    for direction, arrays in zip(found.directions, (one, two), strict=True):
        np.testing.assert_array_equal(direction["W.i"], arrays["kernel"][:, :UNITS].T)


def test_layers_of_keras_3_are_counted_by_class(tmp_path: Path) -> None:
    first, second = (list(kernels("LSTM", inputs=inputs, seed=inputs).values()) for inputs in (INPUTS, UNITS))
    config = sequential(
        layer("InputLayer", "in", batch_shape=[None, 5, INPUTS]),
        layer("LSTM", "one", units=UNITS, return_sequences=True),
        layer("Dropout", "between", rate=0.5),
        layer("LSTM", "two", units=UNITS, return_sequences=True),
        layer("Flatten", "flat"),
        layer("Dense", "end", units=2, activation="softmax"),
    )
    dense = [drawn(5 * UNITS, 2), drawn(2)]
    path = zipped(tmp_path / "m.keras", config, {"lstm/cell": first, "lstm_1/cell": second, "dense": dense})
    network = convert.read(path)
    assert [part.kind for part in network.parts] == ["Recurrent", "Recurrent", "Reshape", "Dense"]
    assert network.reads == (5, INPUTS)
    outputs = convert.run(network, np.random.default_rng(1).standard_normal((5, 3, INPUTS)))
    np.testing.assert_allclose(outputs.sum(-1), np.ones(3))


def bare(tmp_path: Path, **groups: list[Any]) -> Path:
    return numbered(tmp_path / "m.weights.h5", {name.replace("__", "/"): arrays for name, arrays in groups.items()})


def test_bare_weights_of_several_kinds_are_put_in_the_only_order_that_fits(tmp_path: Path) -> None:
    gru = [drawn(8, 12), drawn(4, 12), drawn(2, 12)]
    lstm = [drawn(3, 32), drawn(8, 32), drawn(32)]
    network = convert.read(bare(tmp_path, gru__cell=gru, lstm__cell=lstm, dense=[drawn(4, 2), drawn(2)]))
    assert [one.cell_config.family for one in network.recurrent] == ["lstm", "gru"]
    assert set(network.rest) == {"dense/kernel", "dense/bias"}


def test_bare_weights_whose_order_is_open_are_refused(tmp_path: Path) -> None:
    gru = [drawn(4, 12), drawn(4, 12), drawn(2, 12)]
    lstm = [drawn(4, 16), drawn(4, 16), drawn(16)]
    with pytest.raises(ConversionError, match="does not tell in which order its layers are"):
        convert.read(bare(tmp_path, gru__cell=gru, lstm__cell=lstm))


def test_a_gru_without_biases_does_not_tell_where_it_resets(tmp_path: Path) -> None:
    path = bare(tmp_path, gru__cell=[drawn(3, 12), drawn(4, 12)])
    with pytest.raises(ConversionError, match="arrays of layer 'gru' fit several layouts"):
        convert.read(path)
    assert convert.read(path, reset="before").recurrent[0].cell_config.reset == "before"


LSTM = layer("LSTM", "a", units=UNITS, return_sequences=True)
MASK = layer("Masking", "m", mask_value=0.0)
REFUSED = {
    "layer 'c' is a Conv1D, which has no counterpart": [layer("Conv1D", "c", filters=2), LSTM],
    "merge_mode of layer 'b'": [layer("Bidirectional", "b", layer=LSTM, merge_mode=None)],
    "Bidirectional layer of layer 'b'": [layer("Bidirectional", "b", layer=layer("GRU2", "x"), merge_mode="concat")],
    "the activation of layer 'a' (LSTM) has": [layer("LSTM", "a", units=UNITS, activation="softmax")],
    "activation of layer 'a'": [layer("LSTM", "a", units=UNITS, activation="selu")],
    "recurrent_activation of layer 'a'": [layer("LSTM", "a", units=UNITS, recurrent_activation="softmax")],
    "mask of layer 'a'": [MASK, layer("LSTM", "a", units=UNITS, return_sequences=True, go_backwards=True)],
    "mask of layer 'f'": [MASK, LSTM, layer("Flatten", "f")],
    "TimeDistributed layer of layer 't'": [LSTM, layer("TimeDistributed", "t", layer=layer("Conv1D", "c"))],
    "mask of layer 'p'": [MASK, LSTM, layer("GlobalMaxPooling1D", "p")],
    "mask of layer 'n'": [MASK, layer("Normalization", "n", mean=[0.0] * INPUTS, variance=[1.0] * INPUTS), LSTM],
    "keepdims of layer 'p'": [LSTM, layer("GlobalAveragePooling1D", "p", keepdims=True)],
    "data_format of layer 'p'": [LSTM, layer("GlobalMaxPooling1D", "p", data_format="channels_first")],
    "input of layer 'p'": [layer("LSTM", "a", units=UNITS), layer("GlobalMaxPooling1D", "p")],
    "axis of layer 'n'": [layer("Normalization", "n", axis=[1], mean=[0.0], variance=[1.0]), LSTM],
    "invert of layer 'n'": [layer("Normalization", "n", mean=[0.0], variance=[1.0], invert=True), LSTM],
    "mean of layer 'n'": [layer("Normalization", "n"), LSTM],
    "variance of layer 'n'": [layer("Normalization", "n", mean=[0.0, 1.0], variance=[1.0, [2.0]]), LSTM],
    "mean and variance of layer 'n'": [layer("Normalization", "n", mean=[0.0, 1.0], variance=[1.0]), LSTM],
    "target_shape of layer 'r'": [layer("Reshape", "r", target_shape=[2, 2, 2]), LSTM],
    "arrays of layer 'a'": [layer("LSTM", "a", units=UNITS + 1)],
    "has no recurrent layer": [layer("Dropout", "d")],
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_has_no_counterpart_is_refused_by_name(reason: str, tmp_path: Path) -> None:
    path = legacy(tmp_path / "model.h5", REFUSED[reason], {"a": labelled("a", kernels("LSTM"))})
    with pytest.raises(ConversionError, match=re.escape(reason)):
        convert.read(path)


INPUT = layer("InputLayer", "in", batch_input_shape=[None, 5, INPUTS])
CHAINS = {
    "is no chain of layers": functional((INPUT, []), (LSTM, ["in"]), (layer("Dense", "d"), ["in"]), ends=["a"]),
    "reads more than the output of one layer": functional((INPUT, []), (LSTM, ["in", "in"]), ends=["a"]),
    "several inputs or outputs": functional((INPUT, []), (LSTM, ["in"]), ends=["a", "in"]),
    "is read before it is made": functional((LSTM, ["x"]), ends=["a"]),
    "is a Subclassed": {"class_name": "Subclassed", "config": {"layers": []}},
    "no list of layers": {"class_name": "Sequential", "config": 3},
    "no model of Keras": [1, 2],
}


@pytest.mark.parametrize("reason", CHAINS)
def test_a_model_that_is_no_chain_is_refused(reason: str, tmp_path: Path) -> None:
    path = zipped(tmp_path / "m.keras", CHAINS[reason], {"lstm/cell": list(kernels("LSTM").values())})
    with pytest.raises(ConversionError, match=reason):
        convert.read(path)


def test_a_functional_chain_is_read_from_its_input_to_its_output(tmp_path: Path) -> None:
    config = functional(
        (INPUT, []), (LSTM, ["in"]), (layer("Activation", "end", activation="relu"), ["a"]), ends=["end"]
    )
    path = zipped(tmp_path / "m.keras", config, {"lstm/cell": list(kernels("LSTM").values())})
    assert [part.kind for part in convert.read(path).parts] == ["Recurrent", "Activation"]


def test_the_rows_of_cudnn_say_how_numbers_lie_in_memory() -> None:
    row = BY_KEY["keras/lstm-cudnn"]
    arrays = {"kernel": np.arange(24.0).reshape(2, 12), "recurrent_kernel": drawn(3, 12), "bias": drawn(24)}
    parameters = apply.read(row, arrays)
    np.testing.assert_array_equal(parameters["W.f"], [[3, 4], [5, 15], [16, 17]])
    again = apply.write(row, parameters, row.cell_config)
    np.testing.assert_array_equal(again["kernel"], arrays["kernel"])
