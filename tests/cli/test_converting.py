"""`gatewright convert` as a person meets it."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from gatewright.convert import FORMATS

Said = tuple[int, str, str]


@pytest.fixture
def convert(invoke: Callable[..., Said], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Said]:
    """The command, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return partial(invoke, "convert")


@pytest.fixture
def gru(tmp_path: Path) -> Path:
    """A state dict of torch.nn.GRU."""
    torch.manual_seed(0)
    torch.save(torch.nn.GRU(3, 5).state_dict(), tmp_path / "gru.pt")
    return tmp_path / "gru.pt"


def test_a_conversion_says_what_it_read_and_how_far_both_are_apart(convert: Callable[..., Said], gru: Path) -> None:
    code, out, _ = convert("gru.pt", "gru.npz", "--to", "flax")
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "torch -> flax"
    assert lines[1] == "  GRU, reset after the product, 3 to 5"
    assert any(line.startswith("both files, read here: differ by ") for line in lines)
    assert lines[-1] == "written: gru.npz"
    assert max(map(len, lines)) <= 80
    with np.load(gru.parent / "gru.npz", allow_pickle=False) as arrays:
        assert "params/cell/ir/kernel" in arrays


def test_a_refusal_gives_the_reason_and_writes_nothing(convert: Callable[..., Said], gru: Path) -> None:
    code, out, err = convert("gru.pt", "gru.npz", "--to", "tf1")
    assert (code, out) == (2, "")
    assert "it resets the state before the recurrent product, and these weights after it" in err
    assert not (gru.parent / "gru.npz").exists()


def test_what_exists_is_not_replaced_unasked(convert: Callable[..., Said], gru: Path) -> None:
    (gru.parent / "gru.npz").write_text("mine")
    code, _, err = convert("gru.pt", "gru.npz", "--to", "flax")
    assert (code, (gru.parent / "gru.npz").read_text()) == (2, "mine")
    assert "gru.npz exists already" in err
    assert convert("gru.pt", "gru.npz", "--to", "flax", "--overwrite")[0] == 0


def test_what_was_there_stays_where_a_conversion_fails_halfway(
    convert: Callable[..., Said], gru: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (gru.parent / "gru.npz").write_text("mine")
    monkeypatch.setattr("gatewright.convert.compare", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert convert("gru.pt", "gru.npz", "--to", "flax", "--overwrite")[0] == 130
    assert {one.name: one.read_bytes()[:4] for one in gru.parent.iterdir()}["gru.npz"] == b"mine"
    assert sorted(one.name for one in gru.parent.iterdir()) == ["gru.npz", "gru.pt"]


@pytest.mark.usefixtures("gru")
def test_a_folder_that_is_not_there_is_named(convert: Callable[..., Said]) -> None:
    code, _, err = convert("gru.pt", "none/gru.npz", "--to", "flax")
    assert code == 2
    assert "there is no folder none" in err


@pytest.mark.usefixtures("gru")
def test_what_a_framework_fails_at_is_a_note(convert: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ValueError("no such operator\nmore")

    pytest.importorskip("onnx")
    monkeypatch.setitem(FORMATS, "onnx", replace(FORMATS["onnx"], run=fail))
    code, out, _ = convert("gru.pt", "gru.onnx")
    assert code == 0
    assert "  gru.onnx: not proved by ONNX Runtime: ValueError: no such operator" in out.splitlines()


def test_a_suffix_of_several_layouts_asks_which(convert: Callable[..., Said], gru: Path) -> None:
    code, _, err = convert("gru.pt", "gru.npz")
    assert code == 2
    assert "may be written in several layouts" in err
    assert "--to" in err


@pytest.mark.usefixtures("gru")
def test_for_machines(convert: Callable[..., Said]) -> None:
    code, out, err = convert("gru.pt", "gru.safetensors", "--to", "gatewright", "--json")
    said = json.loads(out)
    assert (code, err) == (0, "")
    assert (said["source"], said["target"]) == ("torch", "gatewright")
    assert max(said["differences"].values()) < 1e-6


def test_layouts_are_explained_row_by_row(convert: Callable[..., Said]) -> None:
    code, out, _ = convert("--explain", "keras", "torch")
    assert code == 0
    assert any(line.split() == ["W.r", "kernel[:,", "H:2H].T", "weight_ih[:H]"] for line in out.splitlines())
    assert "cannot be converted: it resets the state after the recurrent product" in out
    mappings = json.loads(convert("--explain", "keras", "torch", "--json")[1])["mappings"]
    gru = next(one for one in mappings if (one["source"], one["target"]) == ("keras/gru", "torch/gru"))
    assert gru["parameters"]["bh.n"] == ["bias[1, 2H:3H]", "bias_hh[2H:3H]"]


def test_an_array_that_does_not_fit_is_named_where_all_names_are_there(
    convert: Callable[..., Said], tmp_path: Path
) -> None:
    np.savez(tmp_path / "lstm.npz", lstm_W=np.ones((3, 20)), lstm_U=np.ones((5, 16)), lstm_b=np.ones(20))
    code, _, err = convert("lstm.npz", "lstm.pt")
    assert code == 2
    assert "of theano is among these arrays: array 'U' does not fit its layout (expected axes hidden (gate" in err
    assert "got shape (5, 16))" in err
    assert "no layer of torch, gluon, tf1" in err


@pytest.fixture
def tagger(tmp_path: Path) -> Path:
    """A state dict of two recurrent modules that are no stack, between an embedding and a head."""
    torch.manual_seed(0)
    parts = {"embed": torch.nn.Embedding(9, 3), "char": torch.nn.GRU(3, 5), "word": torch.nn.LSTM(8, 4)}
    torch.save(torch.nn.ModuleDict({**parts, "head": torch.nn.Linear(4, 2)}).state_dict(), tmp_path / "tagger.pt")
    return tmp_path / "tagger.pt"


@pytest.mark.usefixtures("tagger")
def test_the_layer_to_convert_is_named_by_its_prefix_and_all_else_is_told(convert: Callable[..., Said]) -> None:
    assert "do not tell in which order" in convert("tagger.pt", "char.onnx")[2]
    code, out, _ = convert("tagger.pt", "char.onnx", "--prefix", "char.")
    assert code == 0
    lines = [line.strip() for line in out.splitlines()]
    assert "GRU, reset after the product, 3 to 5" in lines
    told = " ".join(lines)
    assert "left out of tagger.pt: 7 arrays are no part of this network: embed.weight (9, 3)," in told
    assert "head.bias (2,)" in told


@pytest.mark.usefixtures("tagger")
def test_layers_of_a_stack_are_named_one_by_one(convert: Callable[..., Said], tmp_path: Path) -> None:
    stack = torch.nn.ModuleDict({"top": torch.nn.GRU(5, 4), "bottom": torch.nn.GRU(3, 5)})
    torch.save(stack.state_dict(), tmp_path / "stack.pt")
    code, out, _ = convert("stack.pt", "out.onnx", "--prefix", "bottom.", "--prefix", "top.", "--json")
    assert code == 0
    assert json.loads(out)["layers"] == [
        "GRU, reset after the product, 3 to 5",
        "GRU, reset after the product, 5 to 4",
    ]


@pytest.mark.usefixtures("gru")
def test_what_a_file_says_itself_cannot_be_said_of_it(convert: Callable[..., Said]) -> None:
    for target, options in (("gru.onnx", ()), ("own.safetensors", ("--to", "gatewright"))):
        assert convert("gru.pt", target, *options)[0] == 0
        for fact in (("--prefix", "a."), ("--activation", "relu")):
            code, _, err = convert(target, "again.pt", *fact)
            assert code == 2
            assert f"files of {options[-1] if options else 'onnx'} take no override {fact[0][2:]}" in err
            assert f"expected: {'none: the file says everything itself' if options else 'dequantise'}" in err


@pytest.mark.usefixtures("gru")
def test_a_layout_that_nobody_else_runs_is_told(convert: Callable[..., Said]) -> None:
    _, out, _ = convert("gru.pt", "gru.npz", "--to", "gluon")
    assert "  gru.npz: not proved by gluon itself: Gatewright cannot run it there" in out.splitlines()


def test_numbers_are_rounded_where_that_is_asked_for(convert: Callable[..., Said], tmp_path: Path) -> None:
    torch.manual_seed(0)
    layer = torch.nn.GRU(3, 5).double()
    torch.save(layer.state_dict(), tmp_path / "gru.pt")
    code, out, _ = convert("gru.pt", "gru.npz", "--to", "torch", "--dtype", "float32")
    assert code == 0
    assert any(line.startswith("gru.npz, run by PyTorch: differ by ") for line in out.splitlines())
    with np.load(tmp_path / "gru.npz", allow_pickle=False) as arrays:
        assert arrays["weight_hh_l0"].dtype == np.float32
        wanted = layer.weight_hh_l0.detach().numpy().astype(np.float32)
        np.testing.assert_array_equal(arrays["weight_hh_l0"], wanted)
    code, _, err = convert("gru.pt", "other.npz", "--to", "torch", "--dtype", "float16")
    assert code == 2
    assert "there is no precision 'float16' to convert to" in err
    assert "float32 or float64" in err


def test_numbers_that_do_not_fit_are_not_rounded(convert: Callable[..., Said], tmp_path: Path) -> None:
    state = torch.nn.GRU(3, 5).double().state_dict()
    state["weight_hh_l0"][0, 0] = 1e300
    torch.save(state, tmp_path / "gru.pt")
    code, _, err = convert("gru.pt", "gru.npz", "--to", "torch", "--dtype", "float32")
    assert code == 2
    assert "the network has numbers that float32 cannot hold" in err
    assert not (tmp_path / "gru.npz").exists()


def test_weights_of_fewer_bits(convert: Callable[..., Said], tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch.save(torch.nn.GRU(16, 40).state_dict(), tmp_path / "wide.pt")
    for weights, share in (("int8", 0.4), ("bfloat16", 0.6)):
        code, out, _ = convert("wide.pt", f"{weights}.safetensors", "--weights", weights)
        assert code == 0
        assert out.splitlines()[0] == "torch -> gatewright"
        assert out.splitlines()[-2].startswith(
            f"{weights} weights: over 300 steps of random inputs the outputs are off"
        )
        assert (tmp_path / f"{weights}.safetensors").stat().st_size < share * (tmp_path / "wide.pt").stat().st_size
    code, _, err = convert("wide.pt", "wide.keras", "--weights", "int8")
    assert (code, err) == (
        2,
        (
            "error: files of keras do not keep weights in int8 here\n"
            "  expected: a .safetensors file of the layout gatewright\n"
            "  do: write ONNX or C with: gatewright export MODEL FILE.onnx --weights int8\n"
        ),
    )
    code, _, err = convert("int8.safetensors", "again.safetensors", "--weights", "int8")
    assert (code, err) == (
        2,
        (
            "error: int8.safetensors is a model file itself, whose other contents a conversion does not keep\n"
            "  do: gatewright export int8.safetensors again.safetensors --weights int8\n"
        ),
    )
    code, _, err = convert("wide.pt", "again.safetensors", "--weights", "int4")
    assert (code, err) == (2, "error: there are no weights 'int4'\n  expected: float32, int8, bfloat16\n")
    assert not (tmp_path / "again.safetensors").exists()
    code, out, _ = convert("int8.safetensors", "back.pt")
    assert code == 0
