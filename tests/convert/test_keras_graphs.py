"""How the layers of a Keras model are connected: which call and which tensor is read, and models in models."""

import json
import zipfile
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gatewright import convert
from gatewright.convert import keras_files
from gatewright.errors import ConversionError
from tests.convert.keras_models import INPUTS, UNITS, drawn, kernels, layer, legacy, numbered, sequential, zipped

h5py = pytest.importorskip("h5py")

STEPS = 5
INPUT = layer("InputLayer", "in", batch_shape=[None, STEPS, INPUTS])
LSTM = layer("LSTM", "a", units=UNITS, return_sequences=True, return_state=True)
WEIGHTS = list(kernels("LSTM").values())
SLICE = {"class_name": "__slice__", "config": {"start": None, "stop": None, "step": None}}


def tensor(name: str, node: int = 0, index: int = 0) -> dict[str, Any]:
    """A tensor as Keras 3 writes it."""
    return {"class_name": "__keras_tensor__", "config": {"keras_history": [name, node, index]}}


def called(one: dict[str, Any], *calls: Any) -> dict[str, Any]:
    """A layer of a functional model with its calls, in the manner of Keras 2 or 3."""
    return {**one, "name": one["config"]["name"], "inbound_nodes": list(calls)}


def model(*layers: dict[str, Any], ends: Any, name: str = "model", start: str = "in") -> dict[str, Any]:
    """A functional model."""
    config = {"name": name, "layers": list(layers), "input_layers": [[start, 0, 0]], "output_layers": ends}
    return {"class_name": "Functional", "config": config}


def third(path: Path, config: Any, groups: Mapping[str, Sequence[Any]] | None = None) -> Path:
    return zipped(path / "m.keras", config, groups or {"lstm/cell": WEIGHTS})


def second(path: Path, config: Any, labelled: Mapping[str, Mapping[str, Any]]) -> Path:
    """A file of Keras 2 with a model of any form: the arrays of each layer by their labels."""
    with h5py.File(path / "m.h5", "w") as file:
        file.attrs["keras_version"] = b"2.15.0"
        file.attrs["model_config"] = json.dumps(config).encode()
        root = file.create_group("model_weights")
        root.attrs["layer_names"] = np.array([name.encode() for name in labelled])
        for name, arrays in labelled.items():
            group = root.create_group(name)
            group.attrs["weight_names"] = np.array([one.encode() for one in arrays]) if arrays else np.zeros(0)
            for label, array in arrays.items():
                group[label] = array
    return path / "m.h5"


def labels(prefix: str, arrays: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{prefix}/{name}:0": array for name, array in arrays.items()}


def whole(returns: str = "sequence") -> Any:
    """What the LSTM of these tests gives for random inputs (time, batch, features), and those inputs."""
    inputs = np.random.default_rng(1).standard_normal((STEPS, 2, INPUTS))
    outputs = np.zeros((2, UNITS)), np.zeros((2, UNITS))
    kernel, recurrent, bias = (one.astype(float) for one in WEIGHTS)
    steps: list[Any] = []
    h, c = outputs
    for x in inputs:
        i, f, g, o = np.split(x @ kernel + h @ recurrent + bias, 4, -1)
        sigmoid = [1 / (1 + np.exp(-one)) for one in (i, f, o)]
        c = sigmoid[1] * c + sigmoid[0] * np.tanh(g)
        h = sigmoid[2] * np.tanh(c)
        steps.append(h)
    return inputs, np.stack(steps) if returns == "sequence" else steps[-1]


@pytest.mark.parametrize("call", [{"args": [tensor("in")], "kwargs": {}}, [["in", 0, 0, {}]]], ids=["3", "2"])
def test_the_state_that_is_the_output_is_the_last_output(call: Any, tmp_path: Path) -> None:
    for index, returns in ((0, "sequence"), (1, "last")):
        path = third(tmp_path, model(called(INPUT), called(LSTM, call), ends=[["a", 0, index]]))
        inputs, wanted = whole(returns)
        np.testing.assert_allclose(convert.run(convert.read(path), inputs), wanted, atol=1e-12)


def test_the_memory_of_an_lstm_is_no_output_of_it(tmp_path: Path) -> None:
    path = third(tmp_path, model(called(INPUT), called(LSTM, [["in", 0, 0, {}]]), ends=["a", 0, 2]))
    with pytest.raises(ConversionError) as raised:
        convert.read(path)
    assert str(raised.value) == (
        f"{path}: tensor 2 of layer 'a' (LSTM) is read, and no part here gives it\n"
        "  expected: tensor 0, the output, or 1, the state that is its output\n"
        "  got: a state that the layer keeps to itself, such as the memory of an LSTM\n"
        "  do: save a model that ends with another output of the layer, or choose the layer with prefix"
    )


ONE = called(LSTM, [["in", 0, 0, {}]])
DENSE = layer("Dense", "d", units=2)
BOTH = layer("Bidirectional", "b", layer=LSTM, merge_mode="concat")
REFUSED: dict[str, Any] = {
    "tensor 3 of layer 'a'": model(called(INPUT), ONE, ends=[["a", 0, 3]]),
    "several inputs or outputs": model(called(INPUT), ONE, ends=[["a", 0, 0], ["a", 0, 1]]),
    "call 1 of layer 'a' is read, and the file does not tell": model(called(INPUT), ONE, ends=[["a", 1, 0]]),
    "layer 'x' (LSTM) reads more than the output of one layer": model(
        called(INPUT), ONE, called({**LSTM, "config": {"name": "x"}}, [[one, 0, 0, {}] for one in "aa"]),
        ends=["x", 0, 0],
    ),
    "layer 'a' reads more than the output of one layer": model(
        called(INPUT), called(LSTM, {"args": [tensor("in")], "kwargs": {"initial_state": [tensor("in")]}}),
        ends=["a", 0, 0],
    ),
    "layer 'a' (LSTM) always computes as it does in training": model(
        called(INPUT), called(LSTM, [["in", 0, 0, {"training": True}]]), ends=["a", 0, 0]
    ),
    "the mask of layer 'a' is not the one that its layers make": model(
        called(INPUT), called(LSTM, [["in", 0, 0, {"mask": ["in", 0, 0]}]]), ends=["a", 0, 0]
    ),
    "the output of layer 'd' (Dense)": model(called(INPUT), ONE, called(DENSE, [["a", 0, 0, {}]]), ends=["d", 0, 1]),
    "layer 'a' is of a class that is not Keras's own": sequential(INPUT, {**LSTM, "module": "mine.layers"}),
    "layer 'r' is of a class that is not Keras's own": sequential(
        INPUT, layer("RNN", "r", cell={**layer("LSTMCell", "r"), "module": None, "registered_name": "Mine>LSTMCell"})
    ),
    "the cell of layer 'r' (RNN)": sequential(INPUT, layer("RNN", "r", cell=layer("PeepholeLSTMCell", "p"))),
    "two layers have one name": sequential(INPUT, LSTM, LSTM),
    "the index of layer 'g' (GetItem)": model(
        called(INPUT), ONE, called(layer("GetItem", "g"), {"args": [tensor("a"), [SLICE, SLICE, 0]]}), ends=["g", 0, 0]
    ),
    "layer 'm' is a TFOpLambda, which has no counterpart": model(
        called(INPUT), ONE, called(layer("TFOpLambda", "m", function="math.reduce_mean"), ["a", 0, 0, {"axis": 1}]),
        ends=["m", 0, 0],
    ),
    "the axis of layer 's' (Softmax)": sequential(INPUT, LSTM, layer("Softmax", "s", axis=1)),
    "the mask of layer 's' (Softmax)": sequential(INPUT, layer("Masking", "m"), LSTM, layer("Softmax", "s")),
    "the axis of layer 'n' (BatchNormalization)": sequential(INPUT, LSTM, layer("BatchNormalization", "n", axis=1)),
    "the arrays of layer 'n' (LayerNormalization)": sequential(INPUT, LSTM, layer("LayerNormalization", "n")),
    "the rms_scaling of layer 'n'": sequential(INPUT, LSTM, layer("LayerNormalization", "n", rms_scaling=True)),
    "the zero_output_for_mask of layer 'z'": sequential(
        INPUT, layer("Masking", "m"), layer("LSTM", "z", units=UNITS, zero_output_for_mask=True)
    ),
    "the configuration of its model is not understood": model(called(INPUT), called(LSTM, 5), ends=["a", 0, 0]),
}  # fmt: skip


@pytest.mark.parametrize("reason", REFUSED)
def test_what_is_connected_otherwise_is_refused_by_name(reason: str, tmp_path: Path) -> None:
    path = third(tmp_path, REFUSED[reason])
    with pytest.raises(ConversionError) as raised:
        convert.read(path)
    assert reason in str(raised.value)
    assert "download" not in str(raised.value)


def test_settings_that_are_not_understood_are_no_damage(tmp_path: Path) -> None:
    path = third(tmp_path, sequential(INPUT, LSTM, layer("LeakyReLU", "l", negative_slope={"a": 1})))
    with pytest.raises(ConversionError, match=r"the settings of layer 'l' \(LeakyReLU\) are not understood"):
        convert.read(path)


@pytest.mark.parametrize(
    ("key", "index"), [([SLICE, -1], -1), ([SLICE, 2, SLICE], 2), ([{"class_name": "__ellipsis__"}, -2, SLICE], -2)]
)
def test_one_step_of_a_sequence(key: list[Any], index: int, tmp_path: Path) -> None:
    inputs, outputs = whole()
    item = layer("GetItem", "g")
    third(tmp_path, model(called(INPUT), ONE, called(item, {"args": [tensor("a"), key]}), ends=["g", 0, 0]))
    np.testing.assert_allclose(convert.run(convert.read(tmp_path / "m.keras"), inputs), outputs[index], atol=1e-12)
    spec = [one.get("config", one) if isinstance(one, dict) else one for one in key]
    item = called(layer("SlicingOpLambda", "g", function="__operators__.getitem"), ["a", 0, 0, {"slice_spec": spec}])
    path = second(tmp_path, model(called(INPUT), ONE, item, ends=["g", 0, 0]), {"a": labels("a", kernels("LSTM"))})
    np.testing.assert_allclose(convert.run(convert.read(path), inputs), outputs[index], atol=1e-12)


INNER = model(called(INPUT), ONE, called(layer("Dense", "d", units=2), [["a", 0, 1, {}]]), ends=["d", 0, 0])
HEAD = {"kernel": drawn(UNITS, 2), "bias": drawn(2)}


def outer(node: int) -> dict[str, Any]:
    """A model that holds another; Keras 2 calls its first call the second."""
    start = layer("InputLayer", "start", batch_shape=[None, STEPS, INPUTS])
    inner = called({"class_name": "Functional", "config": {**INNER["config"], "name": "inner"}}, [["start", 0, 0, {}]])
    end = called(layer("Activation", "end", activation="relu"), [["inner", node, 0, {}]])
    return model(called(start), inner, end, ends=["end", 0, 0], start="start")


def test_a_model_in_a_model_is_read_in_its_place(tmp_path: Path) -> None:
    inputs, last = whole("last")
    wanted = np.maximum(last @ HEAD["kernel"] + HEAD["bias"], 0)
    groups = {"functional/layers/lstm/cell": WEIGHTS, "functional/layers/dense": list(HEAD.values())}
    network = convert.read(third(tmp_path, outer(0), groups))
    np.testing.assert_allclose(convert.run(network, inputs), wanted, atol=1e-6)
    apart = {**labels("d", HEAD), **labels("a/lstm_cell", kernels("LSTM"))}  # as Keras 2 lists those that are trained
    network = convert.read(second(tmp_path, outer(1), {"inner": apart, "end": {}}))
    np.testing.assert_allclose(convert.run(network, inputs), wanted, atol=1e-6)
    with pytest.raises(
        ConversionError, match="the label of array 'kernel:0' does not tell of which layer of model 'inner' it is"
    ):
        convert.read(second(tmp_path, outer(1), {"inner": {**apart, "kernel:0": drawn(2)}, "end": {}}))


def test_a_model_that_is_called_twice_is_refused(tmp_path: Path) -> None:
    twice = outer(1)
    twice["config"]["layers"][1]["inbound_nodes"].append([["inner", 0, 0, {}]])
    with pytest.raises(ConversionError, match="model 'inner' is called more than once"):
        convert.read(third(tmp_path, twice))


def test_a_layer_that_is_called_twice_has_two_places(tmp_path: Path) -> None:
    square = list(kernels("LSTM", inputs=UNITS).values())
    start = layer("InputLayer", "in", batch_shape=[None, STEPS, UNITS])
    twice = model(called(start), called(LSTM, [["in", 0, 0, {}]], [["a", 0, 0, {}]]), ends=[["a", 1, 0]])
    first, again = convert.read(third(tmp_path, twice, {"lstm/cell": square})).recurrent
    assert (first.returns, again.returns) == ("sequence", "sequence")
    for name in first.directions[0]:
        np.testing.assert_array_equal(first.directions[0][name], again.directions[0][name])


def test_cells_one_above_the_other_are_layers(tmp_path: Path) -> None:
    cells = [layer("GRUCell", "g", units=UNITS, reset_after=True), layer("LSTMCell", "l", units=UNITS)]
    stacked = layer("RNN", "r", return_sequences=True, cell=layer("StackedRNNCells", "s", cells=cells))
    gru, lstm = kernels("GRU"), kernels("LSTM", inputs=UNITS, seed=3)
    groups = {"rnn/cell/cells/gru_cell": list(gru.values()), "rnn/cell/cells/lstm_cell": list(lstm.values())}
    path = third(tmp_path, sequential(INPUT, stacked), groups)
    arrays = {**labels("r/stacked_rnn_cells/g", gru), **labels("r/stacked_rnn_cells/l", lstm)}
    for found in (convert.read(path), convert.read(second(tmp_path, sequential(INPUT, stacked), {"r": arrays}))):
        below, above = found.recurrent
        assert [one.cell_config.family for one in (below, above)] == ["gru", "lstm"]
        np.testing.assert_array_equal(below.directions[0]["W.z"], gru["kernel"][:, :UNITS].T)
        np.testing.assert_array_equal(above.directions[0]["W.i"], lstm["kernel"][:, :UNITS].T)


def test_a_direction_may_be_another_layer(tmp_path: Path) -> None:
    other = layer("LSTM", "o", units=UNITS, activation="relu", go_backwards=True)
    one = layer("LSTM", "a", units=UNITS)
    config = layer("Bidirectional", "b", layer=one, backward_layer=other, merge_mode="mul")
    groups = {"bidirectional/forward_layer/cell": WEIGHTS, "bidirectional/backward_layer/cell": WEIGHTS}
    (found,) = convert.read(third(tmp_path, sequential(INPUT, config), groups)).recurrent
    assert found.merge == "mul"
    assert found.second is not None
    assert (found.cell_config.activation, found.second.activation) == ("tanh", "relu")
    for wrong in ({"go_backwards": False}, {"units": UNITS + 1}):
        changed = {**other, "config": {**other["config"], **wrong}}
        config["config"]["backward_layer"] = changed
        with pytest.raises(ConversionError, match="the backward_layer of layer 'b'"):
            convert.read(third(tmp_path, sequential(INPUT, config), groups))


def test_layers_are_chosen_by_name_out_of_any_model(tmp_path: Path) -> None:
    path = third(tmp_path, outer(0), {"functional/layers/lstm/cell": WEIGHTS})
    inputs, wanted = whole()
    for prefix in ("a", "inner/a", ("a", "end")):
        network = convert.read(path, prefix=prefix)
        rest = "inner/d" if isinstance(prefix, tuple) else "inner/d, end"
        assert network.notes == (f"layers were chosen by name, and the others were left out: {rest}",)
        got = convert.run(convert.Network(network.parts[:1]), inputs)
        np.testing.assert_allclose(got, wanted, atol=1e-12)
    with pytest.raises(ConversionError, match="has no layer 'b'"):
        convert.read(path, prefix="b")
    with pytest.raises(ConversionError, match="a layer reads 3 features, and what it reads has 4"):
        convert.read(path, prefix=("a", "a"))


def test_a_whole_model_says_its_equations_itself(tmp_path: Path) -> None:
    path = third(tmp_path, sequential(INPUT, LSTM))
    with pytest.raises(ConversionError, match="files of keras that hold a whole model take no override activation"):
        convert.read(path, activation="relu")


def bare(path: Path, layers: Mapping[str, Mapping[str, Any]]) -> Path:
    named = [layer("", name) for name in layers]
    return legacy(path / "m.h5", named, {n: labels(n, one) for n, one in layers.items()}, version="2.15.0", bare=True)


def test_weights_alone_that_are_no_stack_are_refused_with_their_layers(tmp_path: Path) -> None:
    path = bare(tmp_path, {"one": kernels("LSTM"), "two": kernels("LSTM", inputs=7)})
    with pytest.raises(ConversionError) as raised:
        convert.read(path, "keras")
    assert str(raised.value) == (
        f"{path} holds weights alone, and its layers are no stack: 'two' does not follow 'one'\n"
        "  expected: a layer that reads the 4 features that 'one' gives\n"
        "  got: one from 3 to 4, two from 7 to 4\n"
        "  do: name those that are meant in their order, as in prefix='one'"
    )
    network = convert.read(path, "keras", prefix="two")
    assert (network.recurrent[0].inputs, list(network.rest)) == (7, ["one/kernel", "one/recurrent_kernel", "one/bias"])
    with pytest.raises(ConversionError, match="has no recurrent layer 'three'"):
        convert.read(path, "keras", prefix=("one", "three"))


def test_a_layer_between_is_not_passed_over(tmp_path: Path) -> None:
    square = kernels("LSTM", inputs=UNITS)
    dense = {"kernel": drawn(UNITS, UNITS), "bias": drawn(UNITS)}
    norm = {"gamma": drawn(UNITS), "beta": drawn(UNITS)}
    for between in (dense, norm):
        with pytest.raises(ConversionError, match="other layers stand, or may stand, between"):
            convert.read(bare(tmp_path, {"one": kernels("LSTM"), "between": between, "two": square}), "keras")
        groups = {"lstm/cell": WEIGHTS, "lstm_1/cell": list(square.values()), "between": list(between.values())}
        path = numbered(tmp_path / "m.weights.h5", groups)
        with pytest.raises(ConversionError, match="between between lstm and lstm_1"):
            convert.read(path)
        assert len(convert.read(path, prefix=("lstm", "lstm_1")).recurrent) == 2
    groups["between"] = [drawn(UNITS, 2), drawn(2)]  # which the second cannot read
    assert len(convert.read(numbered(tmp_path / "n.weights.h5", groups)).recurrent) == 2


def test_cells_of_one_layer_are_no_directions(tmp_path: Path) -> None:
    cells = {**labels("x/cell_0", kernels("LSTM", inputs=UNITS)), **labels("x/cell_1", kernels("LSTM", inputs=UNITS))}
    path = legacy(tmp_path / "m.h5", [layer("", "x")], {"x": cells}, version="2.15.0", bare=True)
    with pytest.raises(ConversionError, match="layer 'x' has several arrays of one name"):
        convert.read(path, "keras")


def test_sizes_that_a_model_demands(tmp_path: Path) -> None:
    start = layer("InputLayer", "in", batch_shape=[2, 7, INPUTS])
    sizes = convert.FORMATS["keras"].fixed_sizes
    assert sizes is not None
    assert sizes(third(tmp_path, sequential(start, LSTM))) == (7, 2)
    assert sizes(bare(tmp_path, {"one": kernels("LSTM")})) == (None, None)


@pytest.mark.parametrize(
    ("environment", "installed", "wanted"),
    [
        ({"KERAS_BACKEND": "jax"}, {"torch"}, "jax"),
        ({}, {"torch", "jax"}, "torch"),
        ({}, {"torch", "tensorflow"}, "tensorflow"),
        ({}, set(), None),
    ],
)
def test_keras_computes_with_what_is_installed(environment: dict[str, str], installed: set[str], wanted: Any) -> None:
    assert keras_files.backend(environment, installed.__contains__) == wanted


@pytest.mark.skipif(find_spec("keras") is None, reason="Keras is not installed")
@pytest.mark.parametrize(
    ("more", "what"),
    [
        ([layer("Activation", "h", activation="hard_sigmoid")], "the hard_sigmoid"),
        ([], "the outputs at masked steps of two directions"),
    ],
)
def test_what_keras_3_computes_otherwise_is_not_asked_of_it(more: list[Any], what: str, tmp_path: Path) -> None:
    one = layer("LSTM", "a", units=UNITS, return_sequences=True, recurrent_activation="sigmoid")
    both = layer("Bidirectional", "b", layer=one, merge_mode="concat")
    start = layer("Masking", "m", mask_value=0.0, batch_input_shape=[None, STEPS, INPUTS])
    arrays = {**labels("b/forward_a", kernels("LSTM")), **labels("b/backward_a", kernels("LSTM"))}
    path = legacy(tmp_path / "m.h5", [start, both, *more], {"b": arrays}, version="2.1.3")
    with pytest.raises(ImportError, match=f"{what} of Keras 2"):
        keras_files.run(path, np.zeros((STEPS, 2, INPUTS)))


def test_a_file_that_is_cut_short_is_damaged(tmp_path: Path) -> None:
    path = third(tmp_path, sequential(INPUT, LSTM))
    with zipfile.ZipFile(path) as archive:
        weights = archive.read("model.weights.h5")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(sequential(INPUT, LSTM)))
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.3.0"}))
        archive.writestr("model.weights.h5", weights[: len(weights) // 2])
    with pytest.raises(ConversionError, match="copy or download the file again"):
        convert.read(path)
