"""Answers of a trained model are those of its network, with the names that belong to them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from gatewright.errors import OptionError
from gatewright.tasks.answers.files import FORMATS
from gatewright.tasks.answers.predictor import ClassPredictor, Predictor, pooled_outputs
from gatewright.tasks.data.ragged import Ragged
from gatewright.tasks.model import load_model
from gatewright.tasks.recipes.texts import ClassifiedTexts
from gatewright.tasks.training.session import train
from tests.tasks.own_data import small_reviews
from tests.tasks.small import QUIET

TEXTS = ["text number 7", "a text", "number 1 of a text that is longer than most"]


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    folder = tmp_path_factory.mktemp("reviews")
    made = ClassifiedTexts.configured(["hidden=6", "epochs=1", "words=40"])
    train(made, out=folder / "run", source=small_reviews(folder), console=QUIET)
    model = load_model(folder / "run" / "model.safetensors")
    return model.recipe.predictor(model)


def by_hand(predictor: Predictor, text: str) -> list[float]:
    """The probabilities of a text, from the model's vocabulary and network alone."""
    vocabulary = predictor.model.sizes.vocabulary or ()
    numbers = [vocabulary.index(word) if word in vocabulary else 0 for word in text.split()]
    with torch.no_grad():
        outputs, _ = predictor.model.network(torch.tensor(numbers)[:, None])
    return torch.softmax(outputs[0].double(), 0).tolist()


def test_answers_are_those_of_the_network(predictor: Predictor) -> None:
    answers = predictor.predict(TEXTS)
    assert list(answers.columns) == ["line", "class", "probability", "p_0", "p_1"]
    assert answers["line"].tolist() == [1, 2, 3]
    expected = np.array([by_hand(predictor, text) for text in TEXTS])
    np.testing.assert_allclose(answers[["p_0", "p_1"]].to_numpy(), expected, rtol=1e-5)
    assert answers["class"].tolist() == [str(place) for place in expected.argmax(1)]
    np.testing.assert_array_equal(answers["probability"], answers[["p_0", "p_1"]].max(axis=1))


def test_the_most_probable_classes(predictor: Predictor) -> None:
    answers, whole = predictor.predict(TEXTS, top=2), predictor.predict(TEXTS)
    assert list(answers.columns) == ["line", "class_1", "probability_1", "class_2", "probability_2"]
    assert answers["class_1"].tolist() == whole["class"].tolist()
    assert {tuple(sorted(pair)) for pair in zip(answers["class_1"], answers["class_2"], strict=True)} == {("0", "1")}
    np.testing.assert_allclose(answers["probability_1"] + answers["probability_2"], 1, rtol=1e-12)


def test_a_line_has_the_answer_of_its_text(predictor: Predictor) -> None:
    for place, text in enumerate(TEXTS):
        row = predictor.predict(TEXTS).drop(columns="line").iloc[place].to_dict()
        answer = predictor.predict_line(text)
        assert answer["class"] == row["class"]
        assert answer["p_1"] == pytest.approx(row["p_1"], rel=1e-6)
    assert list(predictor.predict_line("a", top=1)) == ["class_1", "probability_1"]


def test_many_sequences_of_any_length(predictor: Predictor) -> None:
    sequences = Ragged.join([np.arange(1 + place * 7 % 13, dtype=np.int64) % 5 for place in range(230)])
    outputs = pooled_outputs(predictor.model.network, sequences)
    assert outputs.shape == (230, 2)
    for place in (0, 111, 229):
        with torch.no_grad():
            alone, _ = predictor.model.network(torch.as_tensor(sequences[place])[:, None])
        np.testing.assert_allclose(outputs[place], alone[0].numpy(), rtol=1e-5, atol=1e-6)


def test_what_cannot_be_asked(predictor: Predictor) -> None:
    with pytest.raises(OptionError) as caught:
        predictor.check_options({"top": 1, "rolling": True})
    assert str(caught.value) == (
        "a model of the recipe 'texts' has no option 'rolling' for its answers\n"
        "  expected: one of top\n  do: leave it out"
    )
    with pytest.raises(OptionError) as caught:
        predictor.predict(TEXTS, top=3)
    assert str(caught.value) == ("option 'top' is out of range\n  expected: 1 to 2, the number of classes\n  got: 3")
    with pytest.raises(OptionError) as caught:
        predictor.predict(None)
    assert str(caught.value).splitlines()[0] == "there is no data to answer for"
    assert caught.value.in_shell().splitlines()[-1] == "  do: name a file or folder with --data"


def test_files_of_answers(predictor: Predictor, tmp_path: Path) -> None:
    import pandas as pd

    answers = predictor.predict(TEXTS)
    readers = {".csv": pd.read_csv, ".tsv": lambda path: pd.read_csv(path, sep="\t"), ".parquet": pd.read_parquet}
    readers[".jsonl"] = lambda path: pd.read_json(path, lines=True)
    assert set(readers) == set(FORMATS)
    for suffix, read in readers.items():
        path = tmp_path / f"answers{suffix}"
        path.write_bytes(FORMATS[suffix](answers))
        back = read(path)
        assert list(back.columns) == list(answers.columns), suffix
        np.testing.assert_array_equal(back["p_1"].astype(np.float32), answers["p_1"].astype(np.float32))


def test_a_model_without_names_counts_its_classes(predictor: Predictor) -> None:
    from dataclasses import replace

    sizes = replace(predictor.model.sizes, classes=None)
    assert ClassPredictor(replace(predictor.model, sizes=sizes)).classes == ("0", "1")
