"""Models that recipes trained, in the files of other frameworks: they give what the recipe's own network gives."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gatewright import convert, model_file
from gatewright.convert import Dense, Embedding, Max, Mean, OneHot, Recurrent, Scale
from gatewright.errors import ConversionError
from gatewright.tasks import recipes
from gatewright.tasks.model import Model, load_model
from gatewright.tasks.recipe import Recipe
from gatewright.tasks.training.session import train
from tests.tasks.own_data import small_images, small_music, small_reviews, small_series, small_table, small_words
from tests.tasks.small import QUIET, small_text

pytest.importorskip("h5py")
pytest.importorskip("onnx")

AFTER = "gru(reset=after)"  # as PyTorch has it
TRAINED: dict[str, tuple[list[str], Callable[[Path], str] | None, list[type]]] = {
    "text": (["layers=2", "batch=4", "steps=8", "held_out=0.1", "cell=lstm", "tokens=none"], small_text, [Embedding]),
    "digits": ([f"cell={AFTER}"], None, []),
    "adding": ([f"cell={AFTER}", "layers=2"], None, []),
    "texts": (["words=40", "batch=10", "cell=lstm", "ngrams=0", "read=last"], small_reviews, [Embedding]),
    "words": (["batch=4", "steps=8", f"cell={AFTER}"], small_words, [Embedding]),
    "images": (["validation=10", f"cell=recurrent_dropout(0.2)({AFTER})"], small_images, []),
    "speakers": (["batch=8", f"cell=recurrent_dropout(0.3)({AFTER})"], small_series, [Scale]),
    "music": ([f"cell=recurrent_dropout(0.25)({AFTER})"], small_music, []),
    "longlag": (["task=copy", "lag=5", "iterations=3", "cell=elman"], None, [OneHot]),
}


def trained(name: str, folder: Path, settings: list[str], data: Callable[[Path], str] | None) -> Model:
    made = recipes.get(name).configured(["hidden=6", "epochs=1", *settings], quick=True)
    train(made, out=folder / "run", source=data(folder) if data else None, console=QUIET)
    return load_model(folder / "run")


@pytest.fixture(scope="module", params=TRAINED)
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Path]:
    """A model of each recipe, and its file."""
    folder = tmp_path_factory.mktemp(request.param)
    settings, data, _ = TRAINED[request.param]
    return trained(request.param, folder, settings, data), folder / "run" / "model.safetensors"


def example(model: Model) -> np.ndarray:
    generator = np.random.default_rng(0)
    if model.recipe.input_encoding() in ("one-hot", "embedding"):
        return generator.integers(0, model.sizes.inputs, (7, 3))
    return generator.normal(size=(7, 3, model.sizes.inputs)).astype(np.float32)


def of_torch(module: Any, x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return module(torch.from_numpy(x))[0].numpy()


@pytest.mark.parametrize("target", ["m.keras", "m.h5", "m.onnx", "own.safetensors"])
def test_the_whole_network_converts(kept: tuple[Model, Path], target: str, tmp_path: Path) -> None:
    (model, path), layout = kept, {".h5": "keras", ".safetensors": "gatewright"}.get(Path(target).suffix)
    report = convert.convert(path, tmp_path / target, target_layout=layout)
    x = example(model)
    wanted = of_torch(model.network, x)
    for network in (convert.read(path), convert.read(tmp_path / target, layout)):
        np.testing.assert_allclose(convert.run(network, x), wanted, atol=2e-6)
        assert not network.rest
    assert report.differences["both files, read here"] <= 1e-6
    assert not any("left out" in note for note in report.notes)
    if target == "m.onnx":
        pytest.importorskip("onnxruntime")
        assert report.differences["m.onnx, run by ONNX Runtime"] <= 1e-5


def test_the_layers_convert_to_pytorch_and_are_run_by_it(kept: tuple[Model, Path], tmp_path: Path) -> None:
    model, path = kept
    report = convert.convert(path, tmp_path / "m.pt")
    layer = model.network.recurrent
    x = np.random.default_rng(1).normal(size=(7, 3, layer.input_size)).astype(np.float32)
    np.testing.assert_allclose(convert.run(convert.read(tmp_path / "m.pt"), x), of_torch(layer, x), atol=2e-6)
    assert report.differences["m.pt, run by PyTorch"] <= 1e-5
    assert any("Dense" in note for note in report.notes)


def test_what_stands_around_the_layers_is_known_from_the_file(kept: tuple[Model, Path]) -> None:
    model, path = kept
    pool = {"each step": [], "last": [], "mean": [Mean], "max": [Max]}[model.recipe.pooling()]
    network = convert.read(path)
    outside = [type(part) for part in network.parts if not isinstance(part, Recurrent)]
    assert outside == [*TRAINED[model.recipe.name][2], *pool, Dense]
    assert network.recurrent[-1].returns == ("last" if model.recipe.pooling() == "last" else "sequence")


def test_the_maximum_over_all_steps(tmp_path: Path) -> None:
    model = trained("speakers", tmp_path, ["batch=8", "read=max", f"cell={AFTER}"], small_series)
    path, x = tmp_path / "run" / "model.safetensors", example(model)
    for target in ("m.keras", "m.h5", "m.onnx"):
        convert.convert(path, tmp_path / target, target_layout="keras" if target == "m.h5" else None)
        again = convert.read(tmp_path / target, "keras" if target == "m.h5" else None)
        assert any(isinstance(part, Max) for part in again.parts)
        np.testing.assert_allclose(convert.run(again, x), of_torch(model.network, x), atol=2e-6)


def test_rows_of_several_lengths_are_pooled_as_the_recipe_does(tmp_path: Path) -> None:
    for read in ("mean", "max"):
        folder = tmp_path / read
        folder.mkdir()
        model = trained("speakers", folder, ["batch=8", f"read={read}", f"cell={AFTER}"], small_series)
        x, lengths = example(model), [7, 2, 4]
        with torch.no_grad():
            wanted = model.network(torch.from_numpy(x), None, torch.tensor(lengths))[0].numpy()
        network = convert.read(folder / "run" / "model.safetensors")
        np.testing.assert_allclose(convert.run(network, x, lengths=lengths), wanted, atol=2e-6)


def test_of_a_forecaster_only_the_layers_are_read(tmp_path: Path) -> None:
    trained("series", tmp_path, [], small_table)
    network = convert.read(tmp_path / "run" / "model.safetensors")
    assert [type(part) for part in network.parts] == [Recurrent]
    assert {"output.weight", "output.bias"} <= network.rest.keys()
    assert "corrects a linear forecast" in network.notes[0]


def changed(model: Model, tmp_path: Path, **settings: Any) -> Path:
    """The file of a model with other settings; None leaves one out."""
    kept = model.kept()
    new = {key: value for key, value in {**kept.settings, **settings}.items() if value is not None}
    return model_file.save(tmp_path / "m.safetensors", replace(kept, settings=new))


def fresh(name: str, *settings: str) -> Model:
    """A model that nobody trained."""
    made: Recipe = recipes.get(name).configured(["hidden=4", *settings])
    sizes = made.data(None).sizes
    return Model(made, sizes, made.network(sizes, made.cell).eval())


def test_of_a_file_that_does_not_say_it_the_layers_are_read(tmp_path: Path) -> None:
    network = convert.read(changed(fresh("adding"), tmp_path, encoding=None))
    assert [type(part) for part in network.parts] == [Recurrent]
    assert sorted(network.rest) == ["output.bias", "output.weight"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"encoding": "wavelets"}, "does not know"),
        ({"encoding": ["values"]}, "does not know"),
        ({"pooling": "median"}, "does not know"),
        ({"encoding": "embedding"}, "lacks 'encode.weight'"),
        ({"encoding": "one-hot", "inputs": "many"}, "does not say how many symbols"),
        ({"encoding": "one-hot", "inputs": 9}, "part 1, Recurrent, does not fit what it reads"),
    ],
)
def test_a_file_that_says_what_cannot_be_is_refused(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = changed(fresh("adding"), tmp_path, **settings)
    with pytest.raises(ConversionError, match=message) as raised:
        convert.read(path)
    assert str(path) in str(raised.value)
