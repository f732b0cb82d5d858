"""How probable texts are: token by token as the network gives it, and the perplexity that follows."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gatewright.errors import DataError, OptionError
from gatewright.tasks.answers.evaluate import evaluate
from gatewright.tasks.language.predictor import LanguagePredictor
from gatewright.tasks.model import Model, load_model
from gatewright.tasks.recipes.words import Words
from gatewright.tasks.run import Run
from gatewright.tasks.training.session import train
from tests.tasks.data.formats import put
from tests.tasks.own_data import small_words
from tests.tasks.small import QUIET, WORDS, small_recipe, small_text

SMALL = ("hidden=6", "layers=1", "epochs=1", "batch=4", "steps=8", "held_out=0.1")


@pytest.fixture(scope="module")
def characters(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("characters")
    train(small_recipe("epochs=1"), out=folder / "run", source=small_text(folder), console=QUIET)
    return load_model(folder / "run")


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("words")
    path = put(folder / "data.txt", ((WORDS + "\n") * 60).encode())
    train(Words.configured(SMALL), out=folder / "run", source=str(path), console=QUIET)
    return load_model(folder / "run")


@pytest.fixture(scope="module")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("sentences")
    path = put(folder / "data.txt", ("The fox jumps. A dog! Is it lazy? " * 60).encode())
    train(Words.configured([*SMALL, "read=sentences"]), out=folder / "run", source=str(path), console=QUIET)
    return load_model(folder / "run")


def by_hand(model: Model, *symbols: str) -> list[float]:
    """The log-probability of each symbol but the first, from the network and its vocabulary alone."""
    known = {one: place for place, one in enumerate(model.sizes.vocabulary or ())}
    numbers = torch.tensor([known.get(one, 0) for one in symbols])
    with torch.no_grad():
        outputs, _ = model.network(numbers[:-1, None])
    scores = torch.log_softmax(outputs[:, 0].double(), -1)
    return [scores[place, number].item() for place, number in enumerate(numbers[1:])]


def predictor(model: Model) -> LanguagePredictor:
    made = model.recipe.predictor(model)
    assert isinstance(made, LanguagePredictor)
    return made


def test_characters_by_hand(characters: Model) -> None:
    text = "the lazy fox\nÅ dog"
    answers = predictor(characters).predict([text])
    assert list(answers.columns) == ["text", "position", "token", "log_probability", "known"]
    assert "".join(answers["token"]) == text
    scores = answers["log_probability"].tolist()
    assert math.isnan(scores[0])
    np.testing.assert_allclose(scores[1:], by_hand(characters, *text), rtol=1e-5)
    assert answers.loc[~answers["known"], "token"].tolist() == ["\n", "Å"]
    total = sum(scores[1:])
    assert answers.attrs == {
        "tokens": 17,
        "unknown": 2,
        "log_probability": pytest.approx(total),
        "perplexity": pytest.approx(math.exp(-total / 17)),
        "bits_per_character": pytest.approx(-total / 17 / math.log(2)),
    }


def test_a_file_is_one_text(characters: Model, tmp_path: Path) -> None:
    path = put(tmp_path / "a.txt", (WORDS * 30).encode())  # more than is read at once
    answers = Run(characters).predict(path)
    assert list(answers.columns) == ["position", "token", "log_probability", "known"]
    assert len(answers) == len(WORDS) * 30 > 1024
    np.testing.assert_allclose(answers["log_probability"][1:], by_hand(characters, *WORDS * 30), rtol=1e-4)
    assert answers["position"].tolist() == list(range(1, len(answers) + 1))


def test_words_by_hand(words: Model) -> None:
    assert words.signature["tokenise"] == "words"
    answers = predictor(words).predict(["The quick dog\njumps", "over"])
    tokens = ["<eos>", "the", "quick", "dog", "<eos>", "jumps", "<eos>"]
    assert answers["text"].tolist() == [1] * 6 + [2] * 2
    assert answers["token"].tolist() == [*tokens[1:], "over", "<eos>"]
    wanted = by_hand(words, *tokens) + by_hand(words, "<eos>", "over", "<eos>")
    np.testing.assert_allclose(answers["log_probability"], wanted, rtol=1e-5)
    assert answers.attrs["bits_per_character"] == pytest.approx(-sum(wanted) / math.log(2) / 23)


def test_sentences_by_hand(sentences: Model) -> None:
    assert sentences.signature["sentences"] == "marks"
    scored = predictor(sentences).score("A fox! Is it?")
    assert scored.tokens == ("a", "fox", "!", "</s>", "is", "it", "?", "</s>")
    wanted = by_hand(sentences, "<s>", *scored.tokens[:4]) + by_hand(sentences, "<s>", *scored.tokens[4:])
    np.testing.assert_allclose(scored.log_probabilities, wanted, rtol=1e-5)


def test_a_line_has_the_summary_of_its_text(characters: Model, words: Model) -> None:
    for model in (characters, words):
        made = predictor(model)
        assert made.predict_line("the lazy dog") == pytest.approx(made.predict(["the lazy dog"]).attrs)
    nothing = {"tokens": 0, "unknown": 0, "log_probability": 0.0, "perplexity": None, "bits_per_character": None}
    assert predictor(characters).predict_line("") == nothing
    assert predictor(characters).predict_line("t") == nothing
    assert predictor(words).predict_line("") == nothing


def test_a_text_of_another_script_is_refused(characters: Model, words: Model, tmp_path: Path) -> None:
    path = put(tmp_path / "greek.txt", "σοφία και".encode())
    message = (
        "the model knows nothing of {}\n"
        "  expected: a text in the script and language of the one that it was trained on\n"
        "  got: {}\n  do: train a model on such texts"
    )
    for model, shown in ((characters, "σ ο φ ί α κ α ι"), (words, "σοφία και")):
        with pytest.raises(DataError) as caught:
            predictor(model).predict(str(path))
        assert str(caught.value) == message.format(path, shown)
        with pytest.raises(DataError, match="the model knows nothing of"):
            evaluate(model, str(path))
    with pytest.raises(DataError, match="the model knows nothing of the text 2\n"):
        predictor(words).predict(["the fox", "σοφία"])


def test_evaluate_says_what_share_is_unknown(characters: Model, words: Model, tmp_path: Path) -> None:
    text = "the dog σο " * 40
    found = evaluate(characters, str(put(tmp_path / "a.txt", text.encode())))["text"]
    assert found["unknown"] == pytest.approx(2 / 11)
    assert evaluate(words, str(tmp_path / "a.txt"))["text"]["unknown"] == pytest.approx(1 / 3)
    assert "unknown" not in evaluate(characters)["test"]


def test_words_of_another_text_are_those_that_the_model_knows(tmp_path: Path) -> None:
    """A vocabulary that was cut to a size is that of the training text, and not of the text that is measured."""
    source = small_words(tmp_path)
    train(Words.configured([*SMALL, "words=6"]), out=tmp_path / "run", source=source, console=QUIET)
    model = load_model(tmp_path / "run")
    common = (model.sizes.vocabulary or ())[5]
    other = " ".join([common] + ["zebra yak gnu emu elk"] * 50 * 2)
    found = evaluate(model, str(put(tmp_path / "other.txt", f"{other} {common}".encode())))["text"]
    assert found["unknown"] == pytest.approx(500 / 502)


def test_a_text_that_was_divided_before_stays_so(tmp_path: Path) -> None:
    """Words of a text in three parts are divided by spaces, in whatever is asked of its model later."""
    for part in ("train", "valid", "test"):
        put(tmp_path / f"small.{part}.txt", b"do n't <unk> N\nthe N <unk>\n" * 60)
    train(Words.configured(SMALL), out=tmp_path / "run", source=str(tmp_path), console=QUIET)
    model = load_model(tmp_path / "run")
    answers = predictor(model).predict(["do n't <unk>"])
    assert answers["token"].tolist() == ["do", "n't", "<unk>", "<eos>"]
    assert answers["known"].all()
    alone = evaluate(model, str(tmp_path / "small.test.txt"))["text"]
    assert alone.pop("unknown") == 0
    assert alone == pytest.approx(evaluate(model)["test"], rel=1e-6)


def test_what_cannot_be_scored(characters: Model) -> None:
    with pytest.raises(OptionError, match="there is no data to answer for"):
        Run(characters).predict()
    with pytest.raises(OptionError, match="has no option 'top' for its answers\n  expected: none"):
        Run(characters).predict(["a"], top=3)
    with pytest.raises(DataError, match="'nothing.txt' is neither a data set nor a file"):
        Run(characters).predict("nothing.txt")


def test_a_model_without_a_signature_reads_as_before(words: Model) -> None:
    earlier = replace(words, signature={})
    assert predictor(earlier).score("the dog").tokens == ("the", "dog", "<eos>")


def test_a_text_of_one_line_has_no_ends_of_lines(tmp_path: Path) -> None:
    train(Words.configured(SMALL), out=tmp_path / "run", source=small_words(tmp_path), console=QUIET)
    model = load_model(tmp_path / "run")
    assert model.signature["end_of_line"] is None
    scored = predictor(model).score("the quick dog\njumps")
    assert scored.tokens == ("the", "quick", "dog", "jumps")
    assert np.isnan(scored.log_probabilities[0])
    np.testing.assert_allclose(scored.log_probabilities[1:], by_hand(model, *scored.tokens), rtol=1e-5)
    assert evaluate(model, str(put(tmp_path / "lines.txt", b"the quick dog\njumps\n" * 20)))["text"]["unknown"] == 0
