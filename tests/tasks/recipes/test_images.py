"""The recipe `images`: what a step reads, and in which order."""

from pathlib import Path

import numpy as np
import pytest

from gatewright.errors import DataError, OptionError
from gatewright.tasks.answers.evaluate import evaluate
from gatewright.tasks.model import load_model
from gatewright.tasks.recipes.images import Images
from gatewright.tasks.training.session import train
from tests.tasks.own_data import small_images, small_music
from tests.tasks.small import QUIET


def test_a_step_is_a_row_or_a_pixel(tmp_path: Path) -> None:
    source = small_images(tmp_path)
    shapes = {
        order: Images(order=order, validation=10, batch=7).data(source).parts["train"].batch(0, 0).inputs.shape
        for order in ("rows", "pixels", "permuted")
    }
    assert shapes == {"rows": (6, 7, 5), "pixels": (30, 7, 1), "permuted": (30, 7, 1)}
    assert Images(order="rows", validation=10).data(source).sizes.inputs == 5
    assert Images(order="permuted", validation=10).data(source).sizes.inputs == 1


def test_one_permutation_for_all_parts_and_epochs_drawn_from_the_seed(tmp_path: Path) -> None:
    source = small_images(tmp_path)

    def read(order: str, seed: int, part: str = "test") -> np.ndarray:
        made = Images.configured([f"order={order}", f"seed={seed}", "validation=10"])
        return made.data(source).parts[part].batch(0, 0).inputs[:, :, 0]

    order = np.random.default_rng(3).permutation(30)
    for part in ("validation", "test"):
        np.testing.assert_array_equal(read("permuted", 3, part), read("pixels", 3, part)[order])
    assert not np.array_equal(read("permuted", 3), read("permuted", 4))


def test_fewer_images_to_train_on(tmp_path: Path) -> None:
    data = Images(images=12, validation=10, batch=5).data(small_images(tmp_path))
    assert [len(part.batch(0, 0).targets) for part in data.parts.values()] == [5, 10, 10]
    assert len(data.parts["train"]) == 3
    with pytest.raises(OptionError, match="validation leaves a part empty\n  expected: 1 to 39\n  got: 4000"):
        Images(validation=4000).data(str(tmp_path))
    fitted = Images().data(str(tmp_path))
    assert fitted.fitted == {"validation": 8}
    assert [sum(len(part.batch(0, place).targets) for place in range(len(part))) for part in fitted.parts.values()] == [
        32,
        8,
        10,
    ]


def test_what_is_no_folder_of_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no file of images \(train-images-idx3-ubyte\)\n  got: scales.mat"):
        Images().data(small_music(tmp_path))
    with pytest.raises(DataError, match="data set 'jsb' is of another kind\n  expected: images: .*mnist, or a path"):
        Images().data("jsb")


def test_a_model_of_permuted_pixels_reads_its_own_order(tmp_path: Path) -> None:
    source = small_images(tmp_path)
    made = Images.configured(["order=permuted", "seed=5", "validation=10", "hidden=4", "epochs=1"])
    result = train(made, out=tmp_path / "run", source=source, console=QUIET)
    assert evaluate(load_model(tmp_path / "run")) == result.metrics


def test_the_published_setting(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWRIGHT_DATA", str(shared_data))
    made = Images.configured(["preset=text"])
    assert (made.cell, made.hidden, made.batch, made.optimiser, made.rate) == ("lstm", 128, 100, "adam", 1e-3)
    assert (made.weight_decay, made.patience > 0) == (1e-3, True)
    data = made.data(None)
    assert [len(part) for part in data.parts.values()] == [550, 10, 20]
    assert data.parts["train"].batch(0, 0).inputs.shape == (28, 100, 28)
