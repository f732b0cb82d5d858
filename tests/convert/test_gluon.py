"""MXNet Gluon's layers: names with and without a block's prefix, .npz and MXNet's own .params, held to MXNet itself."""

import contextlib
import importlib.util
import struct
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatewright import convert
from gatewright.convert import files
from gatewright.errors import ConversionError

Arrays = dict[str, np.ndarray]
INPUTS = np.random.default_rng(0).standard_normal((7, 2, 3)).astype(np.float32)  # (time, batch, features)
UNITS = 4
GATES = {"rnn": 1, "gru": 3, "lstm": 4}
needs_mxnet = pytest.mark.skipif(importlib.util.find_spec("mxnet") is None, reason="needs MXNet")


def sigma(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


def drawn(kind: str, prefix: str = "", layers: int = 1, words: str = "l", projection: int = 0) -> Arrays:
    rng, rows, state = np.random.default_rng(5), GATES[kind] * UNITS, projection or UNITS
    found: Arrays = {}
    for layer in range(layers):
        inputs = 3 if layer == 0 else state * len(words)
        for word in words:
            shapes = {"i2h_weight": (rows, inputs), "h2h_weight": (rows, state), "i2h_bias": rows, "h2h_bias": rows}
            shapes |= {"h2r_weight": (state, UNITS)} if projection else {}
            found |= {f"{prefix}{word}{layer}_{name}": rng.normal(size=size) / 2 for name, size in shapes.items()}
    return {name: array.astype(np.float32) for name, array in found.items()}


def forward(kind: str, P: Arrays, inputs: np.ndarray, key: str = "l0") -> np.ndarray:
    """One layer and direction of mxnet.gluon.rnn, as its documentation has it."""
    W, U, bi, bh = (P[f"{key}_{name}"].astype(float) for name in ("i2h_weight", "h2h_weight", "i2h_bias", "h2h_bias"))
    R = P.get(f"{key}_h2r_weight", np.eye(UNITS))
    h, c, outputs = np.zeros((inputs.shape[1], len(R))), np.zeros((inputs.shape[1], UNITS)), []
    for x in inputs:
        a, b = x @ W.T + bi, h @ U.T + bh
        if kind == "rnn":
            h = np.maximum(a + b, 0)
        elif kind == "gru":
            (ra, za, na), (rb, zb, nb) = np.split(a, 3, axis=1), np.split(b, 3, axis=1)
            z = sigma(za + zb)
            h = (1 - z) * np.tanh(na + sigma(ra + rb) * nb) + z * h
        else:
            i, f, g, o = np.split(a + b, 4, axis=1)
            c = sigma(f) * c + sigma(i) * np.tanh(g)
            h = (sigma(o) * np.tanh(c)) @ R.T
        outputs.append(h)
    return np.stack(outputs)


@pytest.mark.parametrize("suffix", [".npz", ".params", ".safetensors"])
@pytest.mark.parametrize("prefix", ["", "lstm0_", "encoder.rnn."])
@pytest.mark.parametrize("kind", GATES)
def test_one_layer(kind: str, prefix: str, suffix: str, tmp_path: Path) -> None:
    files.write_arrays(tmp_path / f"layer{suffix}", drawn(kind, prefix))
    network = convert.read(tmp_path / f"layer{suffix}", "gluon")
    np.testing.assert_allclose(convert.run(network, INPUTS), forward(kind, drawn(kind), INPUTS), atol=1e-12)
    report = convert.convert(
        tmp_path / f"layer{suffix}", tmp_path / f"again{suffix}", source_layout="gluon", target_layout="gluon"
    )
    assert max(report.differences.values()) == 0
    assert_same(files.read_arrays(tmp_path / f"again{suffix}"), drawn(kind))


def assert_same(got: Arrays, wanted: Arrays) -> None:
    assert got.keys() == wanted.keys()
    assert all(np.array_equal(got[name], wanted[name]) and got[name].dtype == wanted[name].dtype for name in wanted)


def test_layers_of_both_directions(tmp_path: Path) -> None:
    P = drawn("gru", layers=2, words="lr")
    np.savez(tmp_path / "layer.npz", **P)
    value = INPUTS.astype(float)
    for layer in range(2):
        backwards = forward("gru", P, value[::-1], f"r{layer}")[::-1]
        value = np.concatenate([forward("gru", P, value, f"l{layer}"), backwards], axis=2)
    network = convert.read(tmp_path / "layer.npz", "gluon")
    np.testing.assert_allclose(convert.run(network, INPUTS), value, atol=1e-12)
    convert.convert(tmp_path / "layer.npz", tmp_path / "again.npz", target_layout="gluon")
    assert_same(files.read_arrays(tmp_path / "again.npz"), P)


def test_a_projection(tmp_path: Path) -> None:
    P = drawn("lstm", layers=2, projection=2)
    np.savez(tmp_path / "layer.npz", **P)
    wanted = forward("lstm", P, forward("lstm", P, INPUTS), "l1")
    np.testing.assert_allclose(convert.run(convert.read(tmp_path / "layer.npz", "gluon"), INPUTS), wanted, atol=1e-12)
    convert.convert(tmp_path / "layer.npz", tmp_path / "torch.npz", target_layout="torch")
    assert files.read_arrays(tmp_path / "torch.npz")["weight_hr_l1"].shape == (2, UNITS)


def test_the_two_conventions_of_an_rnn(tmp_path: Path) -> None:
    """Gluon's RNN is relu and PyTorch's tanh: what a file does not say is told by hand."""
    np.savez(tmp_path / "layer.npz", **drawn("rnn"))
    relu, tanh = (convert.read(tmp_path / "layer.npz", "gluon", **facts) for facts in ({}, {"activation": "tanh"}))
    assert [str(one.recurrent[0].cell_config) for one in (relu, tanh)] == ["RNN, activation relu", "RNN"]


LAYERS: list[tuple[str, dict[str, Any]]] = [
    ("GRU", {}), ("LSTM", {"num_layers": 2, "bidirectional": True}), ("LSTM", {"projection_size": 2}),
    ("RNN", {"activation": "tanh"}), ("GRU", {"num_layers": 2}), ("RNN", {"bidirectional": True}),
]  # fmt: skip


@needs_mxnet
@pytest.mark.parametrize(("kind", "options"), LAYERS, ids=str)
def test_mxnet_itself(kind: str, options: dict[str, Any], tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MXNet has not been kept up
        import mxnet as mx

        layer = getattr(mx.gluon.rnn, kind)(UNITS, input_size=3, **options)
        layer.initialize(mx.init.Normal(0.5))
        for parameter in layer.collect_params().values():
            parameter.set_data(mx.nd.random.normal(0, 0.5, parameter.shape))
        wanted = layer(mx.nd.array(INPUTS)).asnumpy()
        mx.nd.save(str(tmp_path / "named.params"), {name: p.data() for name, p in layer.collect_params().items()})
        if "projection_size" not in options:  # MXNet cannot save these
            layer.save_parameters(str(tmp_path / "saved.params"))
    facts = {"activation": options.get("activation", "relu")} if kind == "RNN" else {}
    for path in sorted(tmp_path.glob("*.params")):
        network = convert.read(path, "gluon", **facts)
        np.testing.assert_allclose(convert.run(network, INPUTS), wanted, atol=2e-6, rtol=0)
        assert not network.rest
    convert.write(network, tmp_path / "ours.params", "gluon")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = getattr(mx.gluon.rnn, kind)(UNITS, input_size=3, **options)
        other.load_parameters(str(tmp_path / "ours.params"))
        np.testing.assert_array_equal(other(mx.nd.array(INPUTS)).asnumpy(), wanted)


@needs_mxnet
def test_cells_in_a_row(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mxnet as mx

        stack = mx.gluon.rnn.SequentialRNNCell()
        for inputs in (3, UNITS):
            stack.add(mx.gluon.rnn.GRUCell(UNITS, input_size=inputs))
        stack.initialize(mx.init.Normal(0.5))
        stack.save_parameters(str(tmp_path / "stack.params"))
        outputs, _ = stack.unroll(7, mx.nd.array(INPUTS), layout="TNC", merge_outputs=True)
        wanted = outputs.asnumpy()
    got = convert.run(convert.read(tmp_path / "stack.params", "gluon"), INPUTS)
    np.testing.assert_allclose(got, wanted, atol=2e-6, rtol=0)


def whole() -> bytes:
    return convert.mxnet_params.write(drawn("gru"))


@pytest.mark.parametrize("end", [0, 4, 8, 23, 24, 60, 200, -1])
def test_a_file_that_is_cut_short(end: int, tmp_path: Path) -> None:
    (tmp_path / "cut.params").write_bytes(whole()[:end])
    with pytest.raises(ConversionError, match="cut short"):
        convert.read(tmp_path / "cut.params")


HUGE = (1 << 62) - 1
BROKEN: list[tuple[int, bytes, str]] = [
    (0, struct.pack("<Q", 0x113), "no file of MXNet's arrays"),
    (16, struct.pack("<Q", HUGE), "cut short"),  # the number of arrays
    (24, struct.pack("<I", 7), "of a kind that is not read"),  # the first array's magic number
    (28, struct.pack("<i", 1), "of a kind that is not read"),  # a sparse one
    (32, struct.pack("<i", HUGE & 0x7FFFFFFF), "of a kind that is not read"),  # axes
    (36, struct.pack("<q", HUGE), "cut short"),  # rows
    (36, struct.pack("<q", -12), "a type or a shape that there is not"),
    (60, struct.pack("<i", 99), "a type or a shape that there is not"),
]


@pytest.mark.parametrize(("at", "change", "message"), BROKEN, ids=str)
def test_a_file_that_lies(at: int, change: bytes, message: str, tmp_path: Path) -> None:
    content = whole()
    (tmp_path / "lies.params").write_bytes(content[:at] + change + content[at + len(change) :])
    with pytest.raises(ConversionError, match=message):
        convert.read(tmp_path / "lies.params")


@given(st.data())
@settings(max_examples=300)
def test_a_file_of_any_bytes_is_read_or_refused(data: st.DataObject) -> None:
    content = bytearray(whole())
    for at, byte in data.draw(st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), max_size=8)):
        content[at] = byte
    content = content[: data.draw(st.integers(0, len(content)))]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "any.params")
        path.write_bytes(content)
        with contextlib.suppress(ConversionError):
            arrays = files.read_arrays(path)
            assert sum(array.nbytes for array in arrays.values()) <= len(content)


def test_what_mxnet_has_no_type_for(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="MXNet has no arrays of complex128, as 'a' is"):
        files.write_arrays(tmp_path / "out.params", {"a": np.ones(2, complex)})
