"""Dive into Deep Learning's layers from scratch: by name, and as the list of parameters without names."""

from pathlib import Path

import numpy as np
import pytest

from gatewright import convert
from gatewright.convert import Dense, OneHot, files
from gatewright.errors import ConversionError

Arrays = dict[str, np.ndarray]
SYMBOLS, UNITS = 9, 4
IDS = np.random.default_rng(7).integers(0, SYMBOLS, (6, 3))  # (time, batch)
GATES = {"rnn": "h", "gru": "zrh", "lstm": "ifoc"}  # in the book's order


def sigma(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


def params(kind: str) -> Arrays:
    """What the book's get_params returns, in its order."""
    rng = np.random.default_rng(3)
    found: Arrays = {}
    for gate in GATES[kind]:
        found[f"W_x{gate}"] = rng.normal(size=(SYMBOLS, UNITS))
        found[f"W_h{gate}"] = rng.normal(size=(UNITS, UNITS))
        found[f"b_{gate}"] = rng.normal(size=UNITS)
    return found | {"W_hq": rng.normal(size=(UNITS, SYMBOLS)), "b_q": rng.normal(size=SYMBOLS)}


def forward(kind: str, P: Arrays, ids: np.ndarray) -> np.ndarray:
    """The book's rnn, gru and lstm, over one-hot vectors."""
    H, C, outputs = np.zeros((ids.shape[1], UNITS)), np.zeros((ids.shape[1], UNITS)), []
    for X in np.eye(SYMBOLS)[ids]:
        pre = {gate: X @ P[f"W_x{gate}"] + H @ P[f"W_h{gate}"] + P[f"b_{gate}"] for gate in GATES[kind]}
        if kind == "rnn":
            H = np.tanh(pre["h"])
        elif kind == "gru":
            Z, R = sigma(pre["z"]), sigma(pre["r"])
            H = Z * H + (1 - Z) * np.tanh(X @ P["W_xh"] + (R * H) @ P["W_hh"] + P["b_h"])
        else:
            C = sigma(pre["f"]) * C + sigma(pre["i"]) * np.tanh(pre["c"])
            H = sigma(pre["o"]) * np.tanh(C)
        outputs.append(H @ P["W_hq"] + P["b_q"])
    return np.stack(outputs)


@pytest.mark.parametrize("kind", GATES)
def test_arrays_by_name(kind: str, tmp_path: Path) -> None:
    P = params(kind)
    np.savez(tmp_path / "model.npz", **P)
    network = convert.read(tmp_path / "model.npz")
    assert (network.layout, network.rest) == ("d2l", {})
    assert [type(part) for part in network.parts] == [OneHot, convert.Recurrent, Dense]
    np.testing.assert_allclose(convert.run(network, IDS), forward(kind, P, IDS), atol=1e-12)
    convert.convert(tmp_path / "model.npz", tmp_path / "again.npz", source_layout="d2l", target_layout="d2l")
    again = files.read_arrays(tmp_path / "again.npz")
    assert again.keys() == P.keys()
    assert all(np.array_equal(again[name], P[name]) for name in P)


@pytest.mark.parametrize(("kind", "count"), [("rnn", 5), ("gru", 11), ("lstm", 14)])
def test_the_list_of_arrays(kind: str, count: int, tmp_path: Path) -> None:
    P = params(kind)
    np.savez(tmp_path / "list.npz", *P.values())
    network = convert.read(tmp_path / "list.npz")
    assert (network.layout, len(P)) == ("d2l-list", count)
    np.testing.assert_allclose(convert.run(network, IDS), forward(kind, P, IDS), atol=1e-12)
    convert.convert(tmp_path / "list.npz", tmp_path / "again.npz", target_layout="d2l-list")
    again = files.read_arrays(tmp_path / "again.npz")
    assert list(again) == [f"arr_{index}" for index in range(count)]
    assert all(np.array_equal(one, wanted) for one, wanted in zip(again.values(), P.values(), strict=True))


@pytest.mark.parametrize("kind", GATES)
def test_the_list_without_a_head(kind: str, tmp_path: Path) -> None:
    P = params(kind)
    np.savez(tmp_path / "list.npz", *list(P.values())[:-2])
    network = convert.read(tmp_path / "list.npz")
    got = convert.run(network, np.eye(SYMBOLS)[IDS]) @ P["W_hq"] + P["b_q"]
    np.testing.assert_allclose(got, forward(kind, P, IDS), atol=1e-12)


@pytest.mark.parametrize("kind", GATES)
def test_the_whole_model_in_our_own_file(kind: str, tmp_path: Path) -> None:
    P = params(kind)
    np.savez(tmp_path / "list.npz", *P.values())
    convert.convert(tmp_path / "list.npz", tmp_path / "own.safetensors", target_layout="gatewright")
    np.testing.assert_allclose(convert.run(convert.read(tmp_path / "own.safetensors"), IDS), forward(kind, P, IDS))
    convert.convert(tmp_path / "own.safetensors", tmp_path / "again.npz", target_layout="d2l-list")
    again = files.read_arrays(tmp_path / "again.npz")
    assert all(np.array_equal(one, wanted) for one, wanted in zip(again.values(), P.values(), strict=True))


def test_a_state_dict_of_the_books_classes(tmp_path: Path) -> None:
    P = params("gru")
    named = {(f"rnn.{name}" if name not in ("W_hq", "b_q") else name): array for name, array in P.items()}
    np.savez(tmp_path / "model.npz", **named)
    network = convert.read(tmp_path / "model.npz", "d2l")
    np.testing.assert_allclose(convert.run(network, IDS), forward("gru", P, IDS), atol=1e-12)


def test_a_list_of_another_length(tmp_path: Path) -> None:
    np.savez(tmp_path / "list.npz", *list(params("gru").values())[:-1])
    with pytest.raises(ConversionError, match="is no list of a layer's parameters") as raised:
        convert.read(tmp_path / "list.npz", "d2l-list")
    assert "11 arrays (Dive into Deep Learning's GRU)" in str(raised.value)


def test_a_list_in_another_order(tmp_path: Path) -> None:
    arrays = list(params("gru").values())
    np.savez(tmp_path / "list.npz", *arrays[::-1])
    with pytest.raises(ConversionError, match="no recurrent layer of d2l"):
        convert.read(tmp_path / "list.npz", "d2l-list")


def test_a_head_that_gives_probabilities_is_left_out(tmp_path: Path) -> None:
    """The book's head gives logits: WildML's softmax has no place there."""
    rng = np.random.default_rng(0)
    arrays = {
        "U": rng.normal(size=(UNITS, SYMBOLS)),
        "W": rng.normal(size=(UNITS, UNITS)),
        "V": np.ones((SYMBOLS, UNITS)),
    }
    np.savez(tmp_path / "wildml.npz", **arrays)
    report = convert.convert(tmp_path / "wildml.npz", tmp_path / "d2l.npz", target_layout="d2l")
    assert report.notes[-1] == "the file has no place for these, and they were left out: OneHot, Dense"
    assert files.read_arrays(tmp_path / "d2l.npz").keys() == {"W_xh", "W_hh", "b_h"}
