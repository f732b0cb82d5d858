"""The recipe `speakers`: ragged series of any scale, and their classes."""

from pathlib import Path

import numpy as np
import pytest
import torch

from gatewright.errors import DataError
from gatewright.tasks.answers.evaluate import evaluate
from gatewright.tasks.model import Model, load_model
from gatewright.tasks.network import Standardised
from gatewright.tasks.recipes.speakers import Speakers
from gatewright.tasks.training.session import Result, train
from tests.tasks.own_data import CLASSES, small_series
from tests.tasks.small import QUIET


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Model, Path]:
    """A finished run on series of one's own, which lie beside it."""
    folder = tmp_path_factory.mktemp("speakers")
    made = Speakers.configured(["hidden=8", "epochs=20", "batch=8"])
    result = train(made, out=folder / "run", source=small_series(folder / "series"), console=QUIET)
    return result, load_model(folder / "run"), folder


def test_series_of_any_scale_are_told_apart(run: tuple[Result, Model, Path]) -> None:
    assert run[0].metrics["test"]["accuracy"] == 1.0
    assert run[1].sizes.classes == CLASSES


def test_the_scaling_is_that_of_the_training_part_and_stays_with_the_model(run: tuple[Result, Model, Path]) -> None:
    _, model, folder = run
    train_part = model.recipe.data(str(folder / "series")).parts["train"]
    rows = [train_part.batch(0, place) for place in range(len(train_part))]
    steps = np.concatenate([b.inputs[: b.lengths[r], r] for b in rows for r in range(len(b.lengths))])
    scaled = model.network.encode(torch.from_numpy(steps))
    assert isinstance(model.network.encode, Standardised)
    torch.testing.assert_close(scaled.mean(0), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(scaled.std(0, correction=0), torch.ones(2), atol=1e-5, rtol=0)


def test_other_series_of_the_same_classes_are_measured(run: tuple[Result, Model, Path], tmp_path: Path) -> None:
    other = small_series(tmp_path / "other")
    assert evaluate(run[1], other)["test"]["accuracy"] == 1.0
    (tmp_path / "other" / "high").rename(tmp_path / "other" / "upper")
    with pytest.raises(DataError) as caught:
        evaluate(run[1], other)
    assert str(caught.value) == (
        f"{other} has labels that the model does not know: upper\n"
        "  expected: the model's: high, low\n  got: low, upper\n"
        "  do: give data with the model's labels, or name their column with label=..."
    )


def test_padding_says_nothing(run: tuple[Result, Model, Path]) -> None:
    network, series = run[1].network, torch.full((3, 1, 2), 1000.0)
    padded = torch.cat([series, torch.full((4, 1, 2), -1e6)])
    with torch.no_grad():
        torch.testing.assert_close(network(padded, None, torch.tensor([3]))[0], network(series)[0])


def test_japanese_vowels_by_name(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWRIGHT_DATA", str(shared_data))
    data = Speakers(batch=20).data(None)
    assert (data.sizes.inputs, data.sizes.outputs) == (12, 9)
    assert [len(part) for part in data.parts.values()] == [11, 1, 4]  # of 216, 54 and 370


def test_a_folder_without_series(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(DataError, match=r"notes.txt holds a header and no rows\n  got: nothing"):
        Speakers().data(str(tmp_path))
