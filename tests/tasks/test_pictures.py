"""Pictures in, classes out: files of every usual kind, sizes and grounds, idx files and arrays."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gatewright.errors import DataError
from gatewright.tasks.answers.evaluate import evaluate
from gatewright.tasks.data.images.pictures import Look, border_mean, read_picture
from gatewright.tasks.model import Model, load_model
from gatewright.tasks.recipe import Recipe
from gatewright.tasks.recipes.digits import Digits
from gatewright.tasks.recipes.images import Images
from gatewright.tasks.run import Run
from gatewright.tasks.training.session import train
from tests.tasks.data.formats import idx, put
from tests.tasks.own_data import small_images
from tests.tasks.small import QUIET

LOOK = Look(6, 5, 10.0)
NAMES = [f"p_{digit}" for digit in range(10)]


def trained(made: Recipe, folder: Path, source: str | None = None) -> Model:
    train(made, out=folder / "run", source=source, console=QUIET)
    return load_model(folder / "run")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("images")
    return trained(Images.configured(["hidden=6", "epochs=1", "batch=10"]), folder, small_images(folder))


@pytest.fixture(scope="module")
def permuted(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("images")
    settings = ["hidden=6", "epochs=1", "batch=10", "order=permuted", "seed=3"]
    return trained(Images.configured(settings), folder, small_images(folder))


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return trained(Digits.configured(["hidden=6", "epochs=1"]), tmp_path_factory.mktemp("digits"))


def by_hand(model: Model, steps: np.ndarray) -> list[float]:
    """The probabilities for one image, (steps, features)."""
    with torch.no_grad():
        outputs, _ = model.network(torch.from_numpy(steps).float()[:, None])
    return torch.softmax(outputs[0].double(), 0).tolist()


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    """A bright spot on a dark ground, rows x columns."""
    grey = np.zeros((6, 5), np.uint8)
    grey[1:-1, 1:-1] = rng.integers(0, 256, (4, 3))
    return grey


def save(path: Path, grey: np.ndarray, mode: str = "L") -> Path:
    Image.fromarray(grey).convert(mode).save(path)
    return path


def test_a_picture_by_hand(rows: Model, permuted: Model, image: np.ndarray, tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", image)
    answers = Run(rows).predict(path)
    assert list(answers.columns) == ["file", "changed", "class", "probability", *NAMES]
    np.testing.assert_allclose(answers[NAMES].iloc[0], by_hand(rows, image / 255), rtol=1e-5)
    assert answers["class"][0] == str(answers[NAMES].iloc[0].argmax())
    assert (answers["file"][0], answers["changed"][0]) == ("a.png", "")
    order = permuted.signature["order"]
    assert sorted(order) == list(range(30))
    wanted = by_hand(permuted, (image.reshape(-1)[order] / 255)[:, None])
    np.testing.assert_allclose(Run(permuted).predict(str(path))[NAMES].iloc[0], wanted, rtol=1e-5)


def test_the_model_file_says_what_images_are(rows: Model, digits: Model) -> None:
    assert rows.sizes.classes == digits.sizes.classes == tuple("0123456789")
    told = {key: rows.signature[key] for key in ("rows", "columns", "order")}
    assert told == {"rows": 6, "columns": 5, "order": "rows"}
    assert digits.signature["pixels"] == "from 0 (ground) to 16 (ink), divided by 16"


def test_sizes_grounds_and_colours(image: np.ndarray, tmp_path: Path) -> None:
    large = np.kron(image, np.ones((3, 3), np.uint8))
    for path, wanted in (
        (save(tmp_path / "a.png", image), ""),
        (save(tmp_path / "large.png", large), "scaled from 18 x 15"),
        (save(tmp_path / "negative.bmp", 255 - image), "negative"),
        (save(tmp_path / "both.png", 255 - large), "scaled from 18 x 15, negative"),
        (save(tmp_path / "colours.png", image, "RGB"), ""),
        (save(tmp_path / "shades.gif", image), ""),
    ):
        grey, changed = read_picture(path, LOOK)
        assert changed == wanted
        np.testing.assert_array_equal(grey, image, str(path))
    wide = Image.fromarray(image.astype(np.uint16) * 257)
    wide.save(tmp_path / "wide.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "wide.png", LOOK)[0], image)
    ink = np.zeros((6, 5, 4), np.uint8)  # black ink on nothing
    ink[..., 3] = image
    Image.fromarray(ink, "RGBA").save(tmp_path / "ink.png")
    assert np.abs(read_picture(tmp_path / "ink.png", LOOK)[0].astype(int) - image).max() <= 1
    assert read_picture(tmp_path / "ink.png", LOOK)[1] == "negative"
    grey = replace(LOOK, border=120.0)  # images without a ground of their own are left as they are
    assert read_picture(tmp_path / "negative.bmp", grey)[1] == ""


def test_a_folder_an_idx_file_and_arrays(rows: Model, image: np.ndarray, tmp_path: Path) -> None:
    images = np.stack([image, image[::-1], image[:, ::-1]])
    for place, one in enumerate(images):
        save(tmp_path / f"{place}.png", one)
    (tmp_path / "notes.txt").write_text("not a picture")
    by_folder, by_array = Run(rows).predict(tmp_path), Run(rows).predict(images)
    assert by_folder["file"].tolist() == ["0.png", "1.png", "2.png"]
    assert by_array["image"].tolist() == [1, 2, 3]
    path = put(tmp_path / "some-images-idx3-ubyte", idx(images))
    by_idx = Run(rows).predict(path)
    assert by_idx["image"].tolist() == [1, 2, 3]
    assert by_idx["file"].tolist() == [path.name] * 3
    for answers in (by_array, by_idx, Run(rows).predict(image)):
        np.testing.assert_allclose(answers[NAMES], by_folder[NAMES][: len(answers)], rtol=1e-6)
    assert list(Run(rows).predict(images, top=2).columns)[1:] == [
        "class_1",
        "probability_1",
        "class_2",
        "probability_2",
    ]


def test_digits_by_hand(digits: Model, rng: np.random.Generator, tmp_path: Path) -> None:
    drawn = rng.integers(0, 17, (3, 8, 8))
    answers = Run(digits).predict(drawn.astype(float))
    for place, one in enumerate(drawn):
        np.testing.assert_allclose(answers[NAMES].iloc[place], by_hand(digits, one / 16), rtol=1e-5)
    np.testing.assert_array_equal(Run(digits).predict(drawn.reshape(3, 64))[NAMES], answers[NAMES])
    grey = np.zeros((8, 8), np.uint8)
    grey[2:6, 3:5] = 255
    path = save(tmp_path / "one.png", np.kron(grey, np.ones((4, 4), np.uint8)))
    wanted = by_hand(digits, grey / 255)
    np.testing.assert_allclose(Run(digits).predict(path)[NAMES].iloc[0], wanted, rtol=1e-5)


def test_a_model_without_names_is_measured_as_before(rows: Model, tmp_path: Path) -> None:
    """Files of earlier versions say nothing of classes."""
    source = small_images(tmp_path)
    earlier = replace(rows, sizes=replace(rows.sizes, classes=None), source=source, signature={})
    assert evaluate(earlier) == evaluate(replace(rows, source=source))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.png", b"", "a.png is empty$"),
        ("a.png", b"what", "a.png is no picture, or is damaged\n  expected: a picture: .png, .jpg, .*\n  got: Unident"),
        ("a.txt", b"what", "a.txt is no picture\n  expected: .png, .jpg, .jpeg, .gif, .bmp, or ...-idx3-ubyte"),
    ],
)
def test_what_is_no_picture(rows: Model, tmp_path: Path, name: str, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Run(rows).predict(put(tmp_path / name, content))


def test_pictures_that_do_not_fit(rows: Model, digits: Model, image: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read_picture(save(tmp_path / "a.png", image[:5]), LOOK)
    assert str(caught.value) == (
        f"{tmp_path}/a.png has other proportions than the images that the model was trained on\n"
        "  expected: 6 x 5 pixels (rows x columns), or a multiple\n  got: 5 x 5\n  do: cut it, or add a border"
    )
    cut = save(tmp_path / "b.png", image).read_bytes()[:-30]
    with pytest.raises(DataError, match="b.png is no picture, or is damaged"):
        Run(rows).predict(put(tmp_path / "b.png", cut))
    with pytest.raises(DataError, match=r"holds no images of the size .*\n  expected: images x 6 rows x 5 columns"):
        Run(rows).predict(image[:3])
    with pytest.raises(DataError, match=r"\n  expected: whole numbers from 0 to 255\n  got: float64 from 0 to 0\.9"):
        Run(rows).predict(image / image.max() * 0.9)
    with pytest.raises(DataError, match=r"\n  expected: whole numbers from 0 to 16\n  got: int64 from 0 to 17\n"):
        Run(digits).predict(np.arange(64).reshape(8, 8) % 18)
    with pytest.raises(DataError, match=r"got: uint8 from 0 to 1\n  do: scale them, so that the brightest can be 255"):
        Run(rows).predict((image > 0).astype(np.uint8))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty holds no pictures\n.*\n  got: an empty folder"):
        Run(rows).predict(tmp_path / "empty")


def test_the_border_of_images() -> None:
    images = np.zeros((2, 3, 3), np.uint8)
    images[:, 1, 1] = 99
    images[0, 0, 0] = 160
    assert border_mean(images) == 10.0
