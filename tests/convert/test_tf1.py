"""TensorFlow 1's cells: the graphs that others ran, held to every output and state; names, clipping, projection."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gatewright import convert
from gatewright.convert import CellConfig, files
from gatewright.errors import ConversionError
from tests.convert import graphs

ROUNDING = 3e-7  # the tables have eight decimals, and most of the graphs computed in float32
SINGLE = [name for name in graphs.names() if "bidir" not in name]
BOTH = [name for name in graphs.names() if "bidir" in name]


def sigma(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


@pytest.mark.skipif(not graphs.names(), reason="the graphs are not here")
def test_all_graphs_are_here() -> None:
    assert (len(SINGLE), len(BOTH)) == (27, 5)


@pytest.mark.parametrize("name", SINGLE)
def test_a_graph_computes_what_it_did(name: str) -> None:
    graph = graphs.read(name)
    network = convert.read(graphs.folder() / name, "tf1", **graph.facts)
    (got,) = convert.run_layer(replace(network.recurrent[0], initial=(graph.initial,)), graph.inputs)
    np.testing.assert_allclose(got.output, graph.outputs, atol=ROUNDING, rtol=0)
    for state, wanted in graph.finals.items():
        np.testing.assert_allclose(got.finals[state], wanted, atol=ROUNDING, rtol=0)


@pytest.mark.skipif(not graphs.names(), reason="the graphs are not here")
def test_a_folder_is_read_within_its_archive() -> None:
    within, outside = (files.read_arrays(place / SINGLE[-1]) for place in (graphs.ARCHIVE, graphs.folder()))
    assert within.keys() == outside.keys()
    assert all(np.array_equal(within[name], outside[name]) for name in within)


@pytest.mark.parametrize("name", SINGLE)
def test_a_graph_comes_back(name: str, tmp_path: Path) -> None:
    graph = graphs.read(name)
    report = convert.convert(
        graphs.folder() / name, tmp_path / "again.npz", source_layout="tf1", target_layout="tf1", facts=graph.facts
    )
    assert max(report.differences.values()) < 1e-14
    own = graph.arrays
    moved = graph.facts.get("forget_bias", 1) - 1  # what goes into the bias of the third gate
    for written, array in files.read_arrays(tmp_path / "again.npz").items():
        (before,) = (one for one in own if one.startswith("import/") and one.endswith(written.split("cell/")[1]))
        added = np.repeat([0, 0, moved, 0], len(array) // 4) if moved and "bias" in written else 0
        np.testing.assert_array_equal(array, own[before] + added)


@pytest.mark.parametrize("name", BOTH)
def test_both_directions(name: str, tmp_path: Path) -> None:
    graph = graphs.read(name)
    arrays = {key: one for key, one in graph.arrays.items() if "bidirectional_rnn/" in key}
    if "dynamic" in name:  # the tables lack the direction that reads backwards
        with pytest.raises(ConversionError, match="by its name it is one of two"):
            convert.read(graphs.folder() / name, "tf1", **graph.facts)
        arrays = {key: one for key, one in graphs.constants(name).items() if "kernel" in key or "bias" in key}
    np.savez(tmp_path / "graph.npz", **arrays)
    network = convert.read(tmp_path / "graph.npz", "tf1", **graph.facts)
    states = tuple({"h": graph.arrays[f"import/in_{i}"]} for i in (1, 2) if graph.started)
    inputs = graph.arrays["import/in_0"]
    layer = replace(network.recurrent[0], initial=states)
    got = convert.run_layer(layer, inputs if "withTM" in name else inputs.swapaxes(0, 1))
    outputs = np.concatenate([one.output for one in got], axis=-1)
    if "dynamic" in name:
        parts = np.split(graph.arrays["concat"], 2)
        wanted = np.concatenate([one if "withTM" in name else one.swapaxes(0, 1) for one in parts], axis=-1)
        finals = np.split(graph.arrays["concat_1"], 2)
    else:
        wanted = graph.arrays["concat_4"][:, None]
        finals = [graph.arrays["concat_5"], graph.arrays["concat_6"]]
    np.testing.assert_allclose(outputs, wanted, atol=ROUNDING, rtol=0)
    for direction, final in zip(got, finals, strict=True):
        np.testing.assert_allclose(direction.finals["h"], final, atol=ROUNDING, rtol=0)


def lstm_cell(arrays: dict[str, np.ndarray], inputs: np.ndarray, **clips: float) -> np.ndarray:
    """tf.nn.rnn_cell.LSTMCell, as its documentation has it: peepholes, projection and clipping where they are."""
    kernel, bias = arrays["kernel"], arrays["bias"]
    project = arrays.get("projection/kernel", np.eye(len(bias) // 4))
    c = np.zeros((inputs.shape[1], len(bias) // 4))
    m = np.zeros((inputs.shape[1], project.shape[1]))
    outputs = []
    for x in inputs:
        i, j, f, o = np.split(np.hstack([x, m]) @ kernel + bias, 4, axis=1)
        f, i = f + 1 + arrays.get("w_f_diag", 0) * c, i + arrays.get("w_i_diag", 0) * c
        c = np.clip(sigma(f) * c + sigma(i) * np.tanh(j), -clips["cell_clip"], clips["cell_clip"])
        o = o + arrays.get("w_o_diag", 0) * c
        m = (sigma(o) * np.tanh(c)) @ project
        m = np.clip(m, -clips["proj_clip"], clips["proj_clip"])
        outputs.append(m)
    return np.stack(outputs)


@pytest.mark.parametrize("peepholes", [False, True])
@pytest.mark.parametrize("projected", [False, True])
def test_peepholes_projection_and_clipping(peepholes: bool, projected: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    units, states = 5, 2 if projected else 5
    arrays = {"kernel": rng.normal(size=(3 + states, 4 * units)), "bias": rng.normal(size=4 * units)}
    if peepholes:
        arrays |= {f"w_{gate}_diag": rng.normal(size=units) for gate in "fio"}
    if projected:
        arrays["projection/kernel"] = rng.normal(size=(units, states))
    clips = {"cell_clip": 0.4, "proj_clip": 0.3 if projected else np.inf}
    inputs = rng.normal(size=(7, 2, 3))
    np.savez(tmp_path / "cell.npz", **{f"rnn/lstm_cell/{name}:0": array for name, array in arrays.items()})
    facts = {name: value for name, value in clips.items() if np.isfinite(value)}
    network = convert.read(tmp_path / "cell.npz", **facts)
    assert network.recurrent[0].cell_config == CellConfig(
        "lstm", forget_bias=1.0, peepholes=peepholes, projection=projected, **facts
    )
    np.testing.assert_allclose(convert.run(network, inputs), lstm_cell(arrays, inputs, **clips), atol=1e-12)
    convert.write(network, tmp_path / "again.npz", "tf1")
    again = convert.read(tmp_path / "again.npz", "tf1", **facts)
    np.testing.assert_array_equal(convert.run(again, inputs), convert.run(network, inputs))
    own = convert.convert(
        tmp_path / "cell.npz", tmp_path / "own.safetensors", target_layout="gatewright", overrides=facts
    )
    assert max(own.differences.values()) == 0
    assert convert.read(tmp_path / "own.safetensors").recurrent[0].cell_config == network.recurrent[0].cell_config


def test_clipping_is_refused_where_it_is_not_had(tmp_path: Path) -> None:
    kernel = np.ones((8, 12), np.float32)
    np.savez(tmp_path / "cell.npz", **{"rnn/lstm_cell/kernel": kernel, "rnn/lstm_cell/bias": kernel[0]})
    with pytest.raises(ConversionError, match="it clips no memory"):
        convert.convert(tmp_path / "cell.npz", tmp_path / "cell.pt", facts={"cell_clip": 3.0})
    with pytest.raises(ConversionError, match="its output activation is tanh, and not relu"):
        convert.convert(tmp_path / "cell.npz", tmp_path / "cell.pt", facts={"activation": "relu"})
    assert not (tmp_path / "cell.pt").exists()


def layers_of(*scopes: str, inputs: int = 3) -> dict[str, np.ndarray]:
    """GRU cells of two units under these scopes; what a second layer reads is `inputs` wide."""
    rng = np.random.default_rng(1)
    found: dict[str, np.ndarray] = {}
    for index, scope in enumerate(scopes):
        rows = 2 + (3 if index == 0 or "fw" in scopes[0] else inputs)
        found |= {f"{scope}/gates/kernel": rng.normal(size=(rows, 4)), f"{scope}/gates/bias": rng.normal(size=4)}
        found |= {f"{scope}/candidate/kernel": rng.normal(size=(rows, 2)), f"{scope}/candidate/bias": np.ones(2)}
    return found


@pytest.mark.parametrize(
    "scopes",
    [
        ("rnn/multi_rnn_cell/cell_0/gru_cell", "rnn/multi_rnn_cell/cell_1/gru_cell"),
        ("rnn/gru_cell", "rnn/gru_cell_1"),
        ("model/one9/rnn/gru_cell", "model/one10/rnn/gru_cell"),
    ],
)
def test_layers_follow_one_another_by_their_numbers(scopes: tuple[str, str], tmp_path: Path) -> None:
    arrays = layers_of(*scopes, inputs=2)
    np.savez(tmp_path / "two.npz", **dict(reversed(arrays.items())))
    network = convert.read(tmp_path / "two.npz", "tf1")
    first = arrays[f"{scopes[0]}/candidate/kernel"]
    np.testing.assert_array_equal(network.recurrent[0].directions[0]["W.n"], first[:3].T)
    convert.convert(tmp_path / "two.npz", tmp_path / "d2l.npz", source_layout="tf1", target_layout="tf1")


REFUSED: list[tuple[dict[str, np.ndarray], dict[str, Any], str]] = [
    (layers_of("rnn/multi_rnn_cell/cell_0/gru_cell", "rnn/multi_rnn_cell/cell_1/gru_cell"), {}, "does not follow"),
    (layers_of("encoder/gru_cell", "decoder/gru_cell"), {}, "do not tell in which order"),
    (layers_of("encoder/gru_cell"), {"prefix": "decoder/gru_cell"}, "no layer has prefix"),
    (layers_of("bidirectional_rnn/fw/gru_cell"), {}, "by its name it is one of two"),
    (layers_of("rnn/gru_cell"), {"reset": "after"}, "no layer of tf1 that these arrays can be has reset after"),
    (layers_of("rnn/gru_cell"), {"rest": "after"}, "there is no override rest"),
    (layers_of("rnn/gru_cell") | layers_of("rnn.gru_cell"), {}, "are one array of tf1 by two names"),
    ({"dense/kernel": np.ones((8, 12)), "dense/bias": np.ones(12)}, {}, "no recurrent layer of tf1"),
    ({"mine/kernel": np.ones((20, 12)), "mine/bias": np.ones(12)}, {"family": "gru"}, "can be has family gru"),
]  # fmt: skip


@pytest.mark.parametrize(("arrays", "facts", "message"), REFUSED, ids=[message for *_, message in REFUSED])
def test_what_is_in_doubt_is_refused(
    arrays: dict[str, np.ndarray], facts: dict[str, Any], message: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "file.npz", **arrays)
    with pytest.raises(ConversionError, match=message):
        convert.read(tmp_path / "file.npz", "tf1", **facts)


def test_layers_are_chosen_by_their_prefix(tmp_path: Path) -> None:
    arrays = layers_of("encoder/gru_cell", "decoder/gru_cell", inputs=2)
    np.savez(tmp_path / "file.npz", **arrays)
    network = convert.read(tmp_path / "file.npz", "tf1", prefix=("encoder/gru_cell", "decoder/gru_cell"))
    assert [layer.inputs for layer in network.recurrent] == [3, 2]
    assert len(convert.read(tmp_path / "file.npz", "tf1", prefix="decoder/gru_cell").rest) == 4


def test_a_cell_of_another_name_is_read_where_its_kind_is_said(tmp_path: Path) -> None:
    np.savez(tmp_path / "file.npz", **{"mine/kernel": np.ones((20, 12)), "mine/bias": np.ones(12)})
    for family, hidden in (("lstm", 3), ("rnn", 12)):
        assert convert.read(tmp_path / "file.npz", "tf1", family=family).recurrent[0].hidden == hidden
