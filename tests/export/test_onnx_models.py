"""Whole models of recipes: the file gives what the network gives, and knows its symbols and classes."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from gatewright import model_file
from gatewright.errors import ModelFileError
from gatewright.export import onnx
from gatewright.export.network import read_network
from gatewright.network.network import outcome as read
from gatewright.tasks import recipes
from gatewright.tasks.data.scaling import Scaling
from gatewright.tasks.model import Model, load_model
from gatewright.tasks.network import RecipeNetwork, Standardised
from gatewright.tasks.recipe import Recipe
from gatewright.tasks.run_data import Sizes
from gatewright.tasks.settings import setting
from gatewright.tasks.training.session import train
from tests.export.running import Session
from tests.export.running import onnx as package
from tests.parity.assertions import assert_parity
from tests.paths import subprocess_environment
from tests.tasks.own_data import small_images, small_music, small_reviews, small_series, small_words
from tests.tasks.small import QUIET, small_text

SMALL = ["hidden=6", "epochs=1"]
TRAINED: dict[str, tuple[list[str], Callable[[Path], str] | None]] = {
    "text": (["layers=2", "batch=4", "steps=8", "held_out=0.1", "cell=lstm", "tokens=none"], small_text),
    "digits": ([], None),
    "adding": ([], None),
    "texts": (["words=40", "batch=10"], small_reviews),
    "words": (["batch=4", "steps=8"], small_words),
    "images": (["validation=10", "cell=recurrent_dropout(0.2)(gru)"], small_images),
    "speakers": (["batch=8"], small_series),
    "music": (["cell=zoneout(0.1)(gru)"], small_music),
    "longlag": (["task=copy", "lag=5", "iterations=3"], None),
}


@pytest.fixture(scope="module", params=TRAINED)
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run."""
    folder = tmp_path_factory.mktemp(request.param)
    settings, data = TRAINED[request.param]
    made = recipes.get(request.param).configured([*SMALL, *settings], quick=True)
    train(made, out=folder / "run", source=data(folder) if data else None, console=QUIET)
    return folder / "run"


def inputs(model: Model, steps: int, batch: int, rng: np.random.Generator) -> np.ndarray:
    if model.recipe.input_encoding() in ("one-hot", "embedding"):
        return rng.integers(0, model.sizes.inputs, (steps, batch))
    return rng.normal(size=(steps, batch, model.sizes.inputs)).astype(np.float32)


def of_torch(model: Model, x: np.ndarray, states: Any, lengths: Any) -> dict[str, Any]:
    given = None if states is None else tuple(map(torch.from_numpy, states.values()))
    ends = None if lengths is None else torch.tensor(lengths)
    with torch.no_grad():
        output, last = model.network(torch.from_numpy(x), given[0] if given and len(given) == 1 else given, ends)
    last = (last,) if isinstance(last, torch.Tensor) else last
    return {"output": output, "finals": {} if states is None else dict(zip(states, last, strict=True))}


def test_a_run_as_a_whole(kept: Path, tmp_path: Path, rng: np.random.Generator) -> None:
    model, network = load_model(kept), read_network(model_file.load(kept / "model.safetensors"))
    plain = Session(onnx(kept, tmp_path / "plain.onnx").path)
    full = Session(onnx(kept, tmp_path / "full.onnx", states=True, lengths=True).path)
    for steps, batch, lengths in ((1, 1, (1,)), (6, 3, (2, 0, 6))):
        x = inputs(model, steps, batch, rng)
        want = of_torch(model, x, None, None)
        assert_parity(plain.run(x), want, dtype="float32", steps=2 * steps)
        states = {
            name: rng.normal(size=(rows, batch, size)).astype(np.float32)
            for name, (rows, size) in network.state_shapes().items()
        }
        want = of_torch(model, x, states, lengths)
        assert_parity(full.run(x, states, lengths), want, dtype="float32", steps=2 * steps)
        output, finals = read(network, x, states, np.array(lengths))
        assert_parity({"output": output, "finals": finals}, want, dtype="float32", steps=2 * steps)


def test_a_model_that_is_loaded_is_the_file(kept: Path, tmp_path: Path) -> None:
    one = onnx(kept, tmp_path / "a.onnx").path.read_bytes()
    assert onnx(load_model(kept), tmp_path / "b.onnx").path.read_bytes() == one
    assert onnx(kept / "model.safetensors", tmp_path / "c.onnx").path.read_bytes() == one


def test_a_file_that_does_not_say_what_is_around_its_layer_is_read_by_its_recipe(kept: Path, tmp_path: Path) -> None:
    model = model_file.load(kept / "model.safetensors")
    older = {key: one for key, one in model.settings.items() if key not in ("encoding", "pooling")}
    model_file.save(tmp_path / "older.safetensors", replace(model, settings=older))
    wanted = onnx(kept, tmp_path / "a.onnx").path.read_bytes()
    assert onnx(tmp_path / "older.safetensors", tmp_path / "b.onnx").path.read_bytes() == wanted


def test_one_layer_of_a_model_alone(kept: Path, tmp_path: Path, rng: np.random.Generator) -> None:
    layer = load_model(kept).network.recurrent
    session = Session(onnx(kept, tmp_path / "a.onnx", name="recurrent").path)
    x = rng.normal(size=(4, 2, layer.input_size)).astype(np.float32)
    with torch.no_grad():
        want = layer(torch.from_numpy(x))[0]
    assert_parity(session.run(x)["output"], want, dtype="float32", steps=8)


@dataclass(frozen=True)
class Made(Recipe):
    """A recipe whose network is of any encoding and pool."""

    name: ClassVar[str] = "made"
    hidden: int = 5
    encode: str = setting("values", "how the inputs reach the layer")
    over: str = setting("each step", "what of the states reaches the output")
    both: bool = setting(False, "whether the layer reads both ways")

    def input_encoding(self) -> Any:
        return self.encode

    def pooling(self) -> Any:
        return self.over

    def reads(self) -> Any:
        return "both" if self.both else "forward"

    def data(self, source: str | None) -> Any:
        raise NotImplementedError

    def objective(self) -> Any:
        raise NotImplementedError


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("over", ["each step", "last", "mean", "max"])
@pytest.mark.parametrize("encode", ["values", "standardised", "one-hot", "embedding"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_pool_and_encoding_with_empty_rows(
    encode: str,
    over: str,
    both: bool,
    dtype: str,
    tmp_path: Path,
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(recipes.RECIPES, "made", Made)
    recipe, sizes = Made.restored({"encode": encode, "over": over, "both": both}), Sizes(4, 3)
    model = Model(recipe, sizes, recipe.network(sizes, "gru").to(getattr(torch, dtype)).eval())
    if isinstance(model.network.encode, Standardised):
        model.network.encode.take(Scaling(np.arange(4.0), np.arange(1.0, 5.0)))
    x = inputs(model, 5, 3, rng)
    x = x if x.dtype == np.int64 else x.astype(dtype)
    network = read_network(model.kept())
    for lengths in (None, (5, 0, 2)):
        session = Session(onnx(model, tmp_path / "m.onnx", lengths=lengths is not None).path)
        output = read(network, x, None, None if lengths is None else np.array(lengths))[0]
        if (encode, dtype) != ("one-hot", "float64"):  # the recipe's own gives float32, whatever the layer has
            want = of_torch(model, x, None, lengths)["output"]
            assert_parity(output, want, dtype=dtype, steps=5)
        assert_parity(session.run(x, None, lengths)["output"], output, dtype=dtype, steps=5)


def test_no_padding_reaches_a_patch(tmp_path: Path, rng: np.random.Generator) -> None:
    recipe, sizes, lengths = recipes.get("sequences").configured(["patch=4", "hidden=5"]), Sizes(3, 2), (10, 6, 1)
    model = Model(recipe, sizes, recipe.network(sizes, "gru").eval())
    x = rng.normal(size=(10, 3, 3)).astype(np.float32)
    x[np.arange(10)[:, None] >= np.array(lengths)] = 1e3
    session = Session(onnx(model, tmp_path / "m.onnx", lengths=True).path)
    want = of_torch(model, x, None, lengths)["output"]
    assert_parity(session.run(x, None, lengths)["output"], want, dtype="float32", steps=10)
    x[np.arange(10)[:, None] >= np.array(lengths)] = 0
    assert_parity(session.run(x, None, lengths)["output"], want, dtype="float32", steps=10)


def test_a_tied_embedding_is_in_the_file_once(tmp_path: Path) -> None:
    sizes = Sizes(7, 7)
    network = RecipeNetwork("gru", sizes, encode="embedding", pool="each step", hidden=5, tied=True)
    made = recipes.get("words").configured(["hidden=5", "tied=yes"])
    written = onnx(Model(made, sizes, network.eval()), tmp_path / "m.onnx")
    held = [one.name for one in package.load(written.path).graph.initializer]
    assert "encode.weight" in held
    assert "output.weight" not in held


def test_symbols_and_classes_are_told(tmp_path: Path) -> None:
    sizes = Sizes(3, 2, vocabulary=("<unk>", "ä", "b"), classes=("low", "high"))
    made = recipes.get("sentiment").configured(["hidden=5"])
    meaning = {"tokenise": "words", "unknown": 0}
    model = Model(made, sizes, made.network(sizes, "gru").eval(), signature=meaning)
    written = onnx(model, tmp_path / "m.onnx", lengths=True)
    said = {one.key: one.value for one in package.load(written.path).metadata_props}
    assert (said["task"], json.loads(said["vocabulary"])) == ("texts", ["<unk>", "ä", "b"])
    assert json.loads(said["classes"]) == ["low", "high"]
    assert json.loads(said["gatewright.signature"]) == {"classes": ["low", "high"], **meaning}
    assert "variables" not in said
    assert written.inputs["input"] == "whole numbers from 0 to 2 (time, batch)"


def test_variables_are_told(tmp_path: Path) -> None:
    sizes = Sizes(2, 1, variables=("first", "second"))
    made = recipes.get("adding").configured(["hidden=5"])
    written = onnx(Model(made, sizes, made.network(sizes, "gru").eval()), tmp_path / "m.onnx")
    said = {one.key: one.value for one in package.load(written.path).metadata_props}
    assert json.loads(said["variables"]) == ["first", "second"]
    assert json.loads(said["gatewright.signature"]) == {"variables": ["first", "second"]}


def test_a_signature_that_is_none_is_refused(tmp_path: Path) -> None:
    sizes = Sizes(2, 1)
    made = recipes.get("adding").configured(["hidden=5"])
    kept = Model(made, sizes, made.network(sizes, "gru").eval()).kept()
    damaged = replace(kept, settings={**kept.settings, "signature": ["what"]})
    with pytest.raises(ModelFileError, match=r"^the model's signature is no mapping\n  got: \['what'\]$"):
        onnx(damaged, tmp_path / "m.onnx")


PROGRAM = """
import sys
import gatewright as gw
gw.export.onnx({model!r}, {path!r}, states=True)
print(sorted({{"torch", "lightning", "gatewright.tasks"}} & set(sys.modules)))
"""


def test_a_file_is_exported_without_torch_and_recipes(kept: Path, tmp_path: Path) -> None:
    program = PROGRAM.format(model=str(kept), path=str(tmp_path / "m.onnx"))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env=subprocess_environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
