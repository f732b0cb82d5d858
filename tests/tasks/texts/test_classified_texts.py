"""Texts by their class: what is read of them, the settings of the tutorial, and data that does not fit."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from gatewright import model_file
from gatewright.errors import DataError
from gatewright.tasks.answers.evaluate import evaluate
from gatewright.tasks.columns import TextColumns
from gatewright.tasks.data.texts.labelled import read_texts
from gatewright.tasks.model import Model, load_model
from gatewright.tasks.recipes.texts import ClassifiedTexts
from gatewright.tasks.run_data import Sizes
from gatewright.tasks.training.session import Result, train
from gatewright.tasks.training.training_module import TrainingModule
from tests.tasks.small import QUIET

GOOD, BAD = "a fine film, it is good and warm and {}", "a dull film: it is bad {}"
SMALL = ("hidden=8", "epochs=12", "batch=10", "words=40", "rate=0.02", "input_dropout=0", "dropout=0")


def reviews(folder: Path, *, count: int = 60, name: str = "reviews.csv") -> str:
    rows = [
        f'"{(GOOD if place % 2 else BAD).format(place)}",{"good" if place % 2 else "bad"}' for place in range(count)
    ]
    path = folder / name
    path.write_text("text,label\n" + "\n".join(rows) + "\n")
    return str(path)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    folder = tmp_path_factory.mktemp("reviews")
    return train(ClassifiedTexts.configured(SMALL), out=folder / "run", source=reviews(folder), console=QUIET), folder


def test_a_table_of_ones_own_is_learned(run: tuple[Result, Path]) -> None:
    result, folder = run
    assert {part: measured["accuracy"] for part, measured in result.metrics.items()} == dict.fromkeys(
        ("train", "validation", "test"), 1.0
    )
    assert evaluate(load_model(folder / "run")) == result.metrics


def test_other_texts_are_read_in_the_words_that_are_known(run: tuple[Result, Path], tmp_path: Path) -> None:
    model = load_model(run[1] / "run")
    other = reviews(tmp_path, count=30)
    assert evaluate(model, other)["test"]["accuracy"] == 1.0
    Path(other).write_text("".join(f"text {place},{'abc'[place % 3]}\n" for place in range(30)))
    with pytest.raises(DataError) as caught:
        evaluate(model, other)
    assert str(caught.value) == (
        f"{other} has other classes than the model\n  expected: bad, good\n  got: a, b, c\n"
        "  do: give texts of the model's classes, or train another model on these"
    )


@pytest.mark.parametrize(("longer", "longest", "texts"), [("cut", 7, 43), ("drop", 8, 22)])
def test_long_texts_are_cut_or_left_out(longer: str, longest: int, texts: int, tmp_path: Path) -> None:
    made = ClassifiedTexts.configured([f"longer={longer}", f"longest={longest}", "batch=100"])
    batch = made.data(reviews(tmp_path)).parts["train"].batch(0, 0)
    assert batch.inputs.shape == (min(longest, 8), texts)
    if longer == "drop":
        assert set(batch.targets.tolist()) == {0}  # good ones are longer


def test_no_text_is_short_enough(tmp_path: Path) -> None:
    path = reviews(tmp_path)
    with pytest.raises(DataError) as caught:
        ClassifiedTexts.configured(["longer=drop", "longest=3"]).data(path)
    assert caught.value.in_shell() == (
        f"{path} has no text to train on that is short enough\n  expected: one of 3 words at most\n"
        "  got: 8 words in the shortest\n"
        "  do: raise it (--set longest=...), or have texts cut (--set longer=cut)"
    )


def test_data_that_does_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "texts.csv"
    path.write_text("one,two,three\n1,2,3\n")
    with pytest.raises(DataError) as caught:
        ClassifiedTexts().data(str(path))
    assert caught.value.in_shell() == (
        f"{path} does not show which column is the text and which the label\n  got: one, two, three\n"
        "  do: name the columns: add --set text=one label=two"
    )
    path.write_text("text,label\nfine,good\ndull,\n")
    with pytest.raises(DataError, match=r"texts.csv, line 3: the label is missing"):
        ClassifiedTexts().data(str(path))


def test_the_tutorial_is_followed() -> None:
    made = ClassifiedTexts.configured(["preset=tutorial"])
    torch.manual_seed(0)
    network = made.network(Sizes(100, 2), "gru")
    module = TrainingModule(made, network, made_data())
    optimiser = module.configure_optimizers()
    assert isinstance(optimiser, torch.optim.Adadelta)
    assert (optimiser.defaults["lr"], optimiser.defaults["rho"], optimiser.defaults["eps"]) == (1, 0.95, 1e-6)
    assert (made.hidden, made.batch, made.longest, made.dropout) == (128, 16, 99, 0.5)
    for name, one in network.recurrent.gate_parameters().items():
        if one.dim() == 2:
            assert torch.allclose(one @ one.T, torch.eye(128), atol=1e-5), name
        else:
            assert not one.any()
    assert not network.output.bias.any()
    assert network.encode.weight.abs().max() <= 0.01


def made_data():
    from gatewright.tasks.data.batches.arrays import ArrayBatches
    from gatewright.tasks.run_data import Data

    part = ArrayBatches(torch.zeros(3, 4).numpy(), torch.zeros(4).numpy(), 2)
    return Data({"train": part}, Sizes(100, 2), measured=())


def test_texts_are_read_both_ways_and_forward_where_a_file_is_older(tmp_path: Path) -> None:
    sizes = Sizes(3, 2, ("<unk>", "good", "bad"))
    assert ClassifiedTexts(hidden=8).network(sizes, "gru").recurrent.bidirectional
    made = ClassifiedTexts.configured(["hidden=8", "directions=forward"])
    model = Model(made, sizes, made.network(sizes, "gru"), None)
    kept = model.kept()
    older = {name: value for name, value in kept.settings["recipe"].items() if name != "directions"}
    model_file.save(tmp_path / "older.safetensors", replace(kept, settings={**kept.settings, "recipe": older}))
    read = load_model(tmp_path / "older.safetensors")
    assert not read.network.recurrent.bidirectional
    assert read.recipe == made


def test_few_texts_are_learned_in_small_batches(tmp_path: Path) -> None:
    data = ClassifiedTexts().data(reviews(tmp_path))
    assert data.fitted == {"batch": 16}
    assert ClassifiedTexts(batch=32).data(reviews(tmp_path)).fitted == {}


def test_the_baseline_is_shown_beside_the_network(run: tuple[Result, Path]) -> None:
    name = "accuracy of TF-IDF + logistic regression"
    assert run[0].baselines == {"validation": {name: 1.0}, "test": {name: 1.0}}


def test_vectors_of_words_are_the_embedding(tmp_path: Path) -> None:
    (tmp_path / "words.vec").write_text("film 1 2 3\ngood -1 0.5 4\nelsewhere 0 0 0\n")
    settings = [*SMALL, "epochs=2", f"vectors={tmp_path / 'words.vec'}"]
    for freeze in ("no", "yes"):
        made = ClassifiedTexts.configured([*settings, f"freeze_vectors={freeze}"])
        data = made.data(reviews(tmp_path))
        assert data.fitted == {"embedding": 3}
        assert data.remarks[-1] == f"vectors: {tmp_path / 'words.vec'}, 3 numbers each, for 2 of 39 words"
        assert made.fitted_remark(data.fitted) == ""
        train(made, out=tmp_path / freeze, source=reviews(tmp_path), console=QUIET)
        model = load_model(tmp_path / freeze)
        row = model.network.encode.weight[(model.sizes.vocabulary or ()).index("film")]
        assert torch.equal(row, torch.tensor([1.0, 2.0, 3.0])) is (freeze == "yes")
    (tmp_path / "words.vec").unlink()
    assert evaluate(model)["test"]["accuracy"] > 0


def test_characters_are_symbols(tmp_path: Path) -> None:
    made = ClassifiedTexts.configured([*SMALL, "epochs=2", "tokenise=characters"])
    result = train(made, out=tmp_path / "run", source=reviews(tmp_path), console=QUIET)
    assert result.metrics["test"]["accuracy"] == 1.0
    assert {"a", " ", "1"} < set(load_model(tmp_path / "run").sizes.vocabulary or ())


def test_texts_of_some_of_the_classes_are_measured(run: tuple[Result, Path], tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "more").mkdir(parents=True)
    rows = "".join(f'"{GOOD.format(place)}",good\n"{BAD.format(place)}",bad\n' for place in range(20))
    for part in ("train", "test"):
        (other / f"{part}.csv").write_text(f"text,label\n{rows}")
    assert evaluate(load_model(run[1] / "run"), str(other))["test"]["accuracy"] == 1.0


def test_the_columns_of_the_training_data_are_read_in_other_tables(tmp_path: Path) -> None:
    rows = [(GOOD if place % 2 else BAD).format(place) for place in range(30)]
    table = tmp_path / "a.csv"
    lines = [f'one more remark of no use,"{text}",{"yes" if place % 2 else "no"}' for place, text in enumerate(rows)]
    table.write_text("remark,opinion,good\n" + "\n".join(lines) + "\n")
    made = ClassifiedTexts.configured([*SMALL, "text=opinion", "label=good"])
    train(made, out=tmp_path / "run", source=str(table), console=QUIET)
    model = load_model(tmp_path / "run")
    assert model.signature["columns"] == {"text": "opinion", "label": "good"}
    other = tmp_path / "b.csv"
    other.write_text(f'note,opinion\nsome words that say nothing,"{rows[1]}"\nand others that say less,"{rows[2]}"\n')
    assert model.recipe.predictor(model).predict(str(other))["class"].tolist() == ["yes", "no"]


def test_a_text_without_words_has_an_answer_and_no_text_has_none(run: tuple[Result, Path], tmp_path: Path) -> None:
    model = load_model(run[1] / "run")
    answers = model.recipe.predictor(model).predict(["", "zzz", "<unk>"])
    assert answers["p_good"].between(0, 1).all()
    assert answers["p_good"][0] == answers["p_good"][1]
    with pytest.raises(DataError) as caught:
        model.recipe.predictor(model).predict([])
    assert str(caught.value) == "data in memory holds no texts\n  expected: a text at least"


def test_fewer_passes_over_many_texts() -> None:
    source = ["good film", "bad film"] * 5000, ["pos", "neg"] * 5000
    made = ClassifiedTexts()
    assert made.data(source).fitted["epochs"] == 8  # 60,000 of the 7,200 to train on
    assert ClassifiedTexts.configured(quick=True).data(source).fitted.get("epochs") is None
    assert ClassifiedTexts(epochs=3).data(source).fitted.get("epochs") is None
    assert made.fitted_remark({"epochs": 8}) == "so many texts need fewer passes: epochs=8 (not 12)"
    assert made.fitted_remark({"batch": 16, "epochs": 8}) == (
        "there is little data, so that sizes are smaller: batch=16 (not batch=64); "
        "so many texts need fewer passes: epochs=8 (not 12)"
    )


@pytest.mark.parametrize(
    ("source", "got"),
    [({"a": "b"}, "dict"), ([1.5, 2.0], "float as text 1: 1.5"), (["fine", None], "NoneType as text 2: None")],
)
def test_what_is_no_text_is_not_written_as_one(source: object, got: str) -> None:
    with pytest.raises(DataError) as caught:
        read_texts(source)
    assert str(caught.value) == (
        "these are no texts\n"
        "  expected: a path, a pandas DataFrame, or a list, array or pandas Series of strings\n"
        f"  got: {got}"
    )


def test_a_series_of_pandas_is_texts() -> None:
    assert list(read_texts(pd.Series(["a film", "a joy"], index=[7, 9])).texts) == ["a film", "a joy"]


def test_another_column_than_in_training_is_told(tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("line,review\n1,a good one\n2,a bad one\n")
    found = read_texts(tmp_path / "new.csv", TextColumns(), {"text": "mail"})
    assert list(found.texts) == ["a good one", "a bad one"]
    assert found.remarks[-1] == "text: review"
    assert read_texts(tmp_path / "new.csv", TextColumns(), {"text": "review"}).remarks == ()
