"""What was written with Theano: the tutorial's LSTM, dl4mt's GRU, WildML's GRU and its trained vanilla RNN."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gatewright import convert
from gatewright.convert import Dense, Embedding, Mean, OneHot, files
from gatewright.errors import ConversionError
from tests.paths import SHARED_WEIGHTS

Arrays = dict[str, np.ndarray]
SYMBOLS, UNITS = 11, 4
IDS = np.random.default_rng(7).integers(0, SYMBOLS, (6, 3))  # (time, batch)
TRAINED = SHARED_WEIGHTS / "wildml-rnn" / "trained-model-theano.npz"


def sigma(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


def hard(a: np.ndarray) -> np.ndarray:
    return np.clip(0.2 * a + 0.5, 0, 1)


def softmax(a: np.ndarray) -> np.ndarray:
    e = np.exp(a - a.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def drawn(**shapes: tuple[int, ...]) -> Arrays:
    rng = np.random.default_rng(3)
    return {name: rng.normal(size=shape) for name, shape in shapes.items()}


def tutorial() -> Arrays:
    arrays = drawn(Wemb=(SYMBOLS, UNITS), lstm_W=(UNITS, 16), lstm_U=(UNITS, 16), lstm_b=(16,), U=(UNITS, 2), b=(2,))
    return {name: arrays[name] for name in ("Wemb", "lstm_W", "lstm_U", "lstm_b", "U", "b")}


def tutorial_forward(P: Arrays, ids: np.ndarray) -> np.ndarray:
    """The tutorial's classifier, without a mask: gates in the order i, f, o, c, and the mean of all h."""
    h = c = np.zeros((ids.shape[1], UNITS))
    total = np.zeros_like(h)
    for row in ids:
        i, f, o, g = np.split(P["Wemb"][row] @ P["lstm_W"] + P["lstm_b"] + h @ P["lstm_U"], 4, axis=1)
        c = sigma(f) * c + sigma(i) * np.tanh(g)
        h = sigma(o) * np.tanh(c)
        total += h
    return softmax(total / len(ids) @ P["U"] + P["b"])


def dl4mt(prefix: str, inputs: int) -> Arrays:
    shapes = {"W": (inputs, 8), "b": (8,), "U": (UNITS, 8), "Wx": (inputs, 4), "Ux": (UNITS, 4), "bx": (4,)}
    return {f"{prefix}_{name}": array for name, array in drawn(**shapes).items()}


def dl4mt_forward(P: Arrays, prefix: str, inputs: np.ndarray) -> np.ndarray:
    """gru_layer: r and u are one array, and r acts on the recurrent product."""
    W, U, b, Wx, Ux, bx = (P[f"{prefix}_{name}"] for name in ("W", "U", "b", "Wx", "Ux", "bx"))
    h, outputs = np.zeros((inputs.shape[1], UNITS)), []
    for x in inputs:
        r, u = np.split(sigma(h @ U + x @ W + b), 2, axis=1)
        h = u * h + (1 - u) * np.tanh(h @ Ux * r + x @ Wx + bx)
        outputs.append(h)
    return np.stack(outputs)


def wildml(layers: int = 2) -> Arrays:
    gates = 3 * layers
    shapes = {"E": (UNITS, SYMBOLS), "U": (gates, UNITS, UNITS), "W": (gates, UNITS, UNITS), "V": (SYMBOLS, UNITS)}
    return drawn(**shapes, b=(gates, UNITS), c=(SYMBOLS,))


def wildml_forward(P: Arrays, ids: np.ndarray) -> np.ndarray:
    """forward_prop_step, for each row of a batch, with as many layers as there are."""
    states = [np.zeros((ids.shape[1], UNITS)) for _ in range(len(P["U"]) // 3)]
    outputs = []
    for row in ids:
        x = P["E"][:, row].T
        for layer, s in enumerate(states):
            (Uz, Ur, Uc), (Wz, Wr, Wc), (bz, br, bc) = (P[k][3 * layer : 3 * layer + 3] for k in "UWb")
            z, r = hard(x @ Uz.T + s @ Wz.T + bz), hard(x @ Ur.T + s @ Wr.T + br)
            x = states[layer] = (1 - z) * np.tanh(x @ Uc.T + (s * r) @ Wc.T + bc) + z * s
        outputs.append(softmax(x @ P["V"].T + P["c"]))
    return np.stack(outputs)


def test_the_tutorials_classifier(tmp_path: Path) -> None:
    P = tutorial()
    np.savez(tmp_path / "lstm_model.npz", **P)
    network = convert.read(tmp_path / "lstm_model.npz")
    assert network.layout == "theano"
    assert [type(part) for part in network.parts[2:]] == [Mean, Dense]
    np.testing.assert_allclose(convert.run(network, IDS), tutorial_forward(P, IDS), atol=1e-12)


def test_the_tutorials_classifier_without_its_padding(tmp_path: Path) -> None:
    P = tutorial()
    np.savez(tmp_path / "lstm_model.npz", **P)
    network = convert.read(tmp_path / "lstm_model.npz", "theano")
    masked = Embedding(P["Wemb"], masks_zero=True)
    ids = np.array([[3, 5, 2, 0, 0], [4, 1, 9, 8, 7]]).T
    got = convert.run(convert.Network((masked, *network.parts[1:])), ids)
    np.testing.assert_allclose(got[0], tutorial_forward(P, ids[:3, :1])[0], atol=1e-12)
    np.testing.assert_allclose(got[1], tutorial_forward(P, ids[:, 1:])[0], atol=1e-12)


@pytest.mark.parametrize("made", [tutorial, wildml, lambda: wildml(1), lambda: wildml(3)])
def test_whole_models_come_back_bit_for_bit(made, tmp_path: Path) -> None:
    P = made()
    np.savez(tmp_path / "model.npz", **P)
    report = convert.convert(tmp_path / "model.npz", tmp_path / "again.npz", target_layout=_layout(P))
    again = files.read_arrays(tmp_path / "again.npz")
    assert again.keys() == P.keys()
    assert all(np.array_equal(again[name], P[name]) for name in P)
    assert max(report.differences.values()) == 0
    assert not any("left out" in note for note in report.notes)


def _layout(P: Arrays) -> str:
    return "wildml" if "E" in P else "theano"


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_wildmls_layers_lie_in_one_array(layers: int, tmp_path: Path) -> None:
    P = wildml(layers)
    np.savez(tmp_path / "gru.npz", **P)
    network = convert.read(tmp_path / "gru.npz")
    assert (network.layout, len(network.recurrent), network.rest) == ("wildml", layers, {})
    np.testing.assert_allclose(convert.run(network, IDS), wildml_forward(P, IDS), atol=1e-12)


def test_wildml_to_other_frameworks(tmp_path: Path) -> None:
    P = wildml()
    np.savez(tmp_path / "gru.npz", **P)
    wanted = wildml_forward(P, IDS)
    own = convert.convert(tmp_path / "gru.npz", tmp_path / "own.safetensors", target_layout="gatewright")
    assert max(own.differences.values()) == 0
    np.testing.assert_allclose(convert.run(convert.read(tmp_path / "own.safetensors"), IDS), wanted, atol=1e-12)
    again = convert.convert(tmp_path / "own.safetensors", tmp_path / "again.npz", target_layout="wildml")
    assert max(again.differences.values()) == 0
    with pytest.raises(ConversionError, match="its gate activation is sigmoid, and not hard_sigmoid_theano"):
        convert.convert(tmp_path / "gru.npz", tmp_path / "tf1.npz", target_layout="tf1")


@pytest.mark.parametrize("target", ["out.keras", "out.h5", "out.onnx", "out.safetensors"])
def test_the_mean_is_not_lost_on_the_way(target: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "model.npz", **tutorial())
    network = convert.read(tmp_path / "model.npz", "theano")
    layout = {".h5": "keras", ".safetensors": "gatewright"}.get(Path(target).suffix)
    convert.write(network, tmp_path / target, layout)
    again = convert.read(tmp_path / target, layout)
    assert [type(part) for part in again.parts] == [type(part) for part in network.parts]
    np.testing.assert_allclose(convert.run(again, IDS), convert.run(network, IDS), atol=1e-6)


def test_a_part_that_the_target_has_not_is_told(tmp_path: Path) -> None:
    np.savez(tmp_path / "model.npz", **tutorial())
    report = convert.convert(tmp_path / "model.npz", tmp_path / "lstm.npz", target_layout="gluon")
    assert report.notes[-1] == "the file has no place for these, and they were left out: Embedding, Mean, Dense"


def test_it_is_told_where_the_last_output_alone_is_no_more(tmp_path: Path) -> None:
    np.savez(tmp_path / "model.npz", **tutorial())
    layer = convert.read(tmp_path / "model.npz", "theano").recurrent[0]
    convert.write(convert.Network((replace(layer, returns="last"),)), tmp_path / "own.safetensors", "gatewright")
    report = convert.convert(tmp_path / "own.safetensors", tmp_path / "lstm.npz", target_layout="gluon")
    assert report.notes[-1].endswith("were left out: that only the last output is given")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"U": (7, UNITS, UNITS)}, "no recurrent layer of wildml"),
        ({"b": (3, UNITS)}, "no recurrent layer of wildml"),
        ({"U": ()}, "no recurrent layer of wildml"),
        ({"E": (UNITS + 1, SYMBOLS)}, "array 'E' does not fit"),
        ({"V": (SYMBOLS, UNITS, 1)}, "array 'V' does not fit"),
        ({"c": (SYMBOLS + 1,)}, "array 'c' does not fit"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_arrays_that_do_not_fit(changed: dict[str, tuple[int, ...]], message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "gru.npz", **{**wildml(), **drawn(**changed)})
    with pytest.raises(ConversionError, match=message):
        convert.read(tmp_path / "gru.npz", "wildml")


def test_wildml_has_layers_of_one_shape(tmp_path: Path) -> None:
    np.savez(tmp_path / "gru.npz", **wildml())
    network = convert.read(tmp_path / "gru.npz")
    np.savez(tmp_path / "wide.npz", **{**wildml(1), **drawn(U=(3, UNITS, 9), E=(9, SYMBOLS))})
    wide = convert.read(tmp_path / "wide.npz")
    with pytest.raises(ConversionError, match="has layers of one shape"):
        convert.write(convert.Network((*wide.recurrent, *network.recurrent)), tmp_path / "out.npz", "wildml")


def test_dl4mts_encoder(tmp_path: Path) -> None:
    P = {**drawn(Wemb=(SYMBOLS, 5)), **dl4mt("encoder", 5), **dl4mt("encoder_r", 5)}
    np.savez(tmp_path / "model.npz", **P)
    network = convert.read(tmp_path / "model.npz")
    assert (network.layout, network.rest) == ("dl4mt", {})
    vectors = P["Wemb"][IDS]
    backwards = dl4mt_forward(P, "encoder_r", vectors[::-1])[::-1]
    wanted = np.concatenate([dl4mt_forward(P, "encoder", vectors), backwards], axis=2)
    np.testing.assert_allclose(convert.run(network, IDS), wanted, atol=1e-12)
    convert.convert(tmp_path / "model.npz", tmp_path / "again.npz", source_layout="dl4mt", target_layout="dl4mt")
    again = files.read_arrays(tmp_path / "again.npz")
    assert again.keys() == P.keys()
    assert all(np.array_equal(again[name], P[name]) for name in P)


def test_dl4mts_decoder_is_no_layer_above_its_encoder(tmp_path: Path) -> None:
    np.savez(tmp_path / "model.npz", **dl4mt("encoder", 5), **dl4mt("encoder_r", 5), **dl4mt("decoder", 5))
    with pytest.raises(ConversionError, match="do not tell in which order"):
        convert.read(tmp_path / "model.npz", "dl4mt")
    network = convert.read(tmp_path / "model.npz", "dl4mt", prefix="encoder")
    assert len(network.recurrent[0].directions) == 2
    assert len(network.rest) == 6


def test_dl4mt_has_no_bias_inside_of_the_reset(tmp_path: Path) -> None:
    shapes = {"i2h_weight": (12, 5), "h2h_weight": (12, UNITS), "i2h_bias": (12,), "h2h_bias": (12,)}
    np.savez(tmp_path / "gluon.npz", **{f"l0_{name}": array for name, array in drawn(**shapes).items()})
    with pytest.raises(ConversionError, match="no bias of the candidate inside of the reset"):
        convert.convert(tmp_path / "gluon.npz", tmp_path / "out.npz", target_layout="dl4mt")


needs_the_model = pytest.mark.skipif(not TRAINED.exists(), reason="WildML's trained model is not here")
# The tutorial's first sentence, "what are n't you understanding about this ? !", as the numbers of its words.
SENTENCE = np.array([0, 51, 27, 16, 10, 856, 53, 25, 34, 69, 1])
START, END, POINT, UNKNOWN = 0, 1, 2, 7999


@needs_the_model
def test_the_trained_rnn_computes_its_loss() -> None:
    network = convert.read(TRAINED)
    assert [type(part) for part in network.parts] == [OneHot, convert.Recurrent, Dense]
    x, y = SENTENCE[:-1], SENTENCE[1:]
    got = convert.run(network, x[:, None])[:, 0]
    U, V, W = (np.load(TRAINED)[name].astype(np.float64) for name in "UVW")
    s, wanted = np.zeros(50), []
    for word in x:
        s = np.tanh(U[:, word] + W @ s)
        wanted.append(softmax(V @ s))
    np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-15)
    loss = -np.log(got[np.arange(len(y)), y]).mean()
    assert round(loss, 3) == 5.283  # of an untrained one: log(8000) = 8.987


@needs_the_model
def test_the_trained_rnn_writes_sentences() -> None:
    """Words are numbers here: the model's vocabulary was not published with it."""
    network, rng = convert.read(TRAINED), np.random.default_rng(0)
    sentences = []
    for _ in range(20):
        words = [START]
        while words[-1] != END and len(words) < 40:
            chances = convert.run(network, np.array(words)[:, None])[-1, 0]
            words.append(int(rng.choice(8000, p=chances / chances.sum())))
        sentences.append(words)
    ended = [words for words in sentences if words[-1] == END]
    assert len(ended) >= 18
    assert sum(words[-2] == POINT for words in ended) > len(ended) / 2  # most end with a full stop
    assert len({tuple(words) for words in sentences}) > 10
