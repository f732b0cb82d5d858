"""The recipes: what they are made of, and that each goes the whole way at its quick size."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gatewright.errors import DataError, OptionError
from gatewright.tasks import recipes
from gatewright.tasks.answers.evaluate import evaluate
from gatewright.tasks.data.batches.arrays import Rows
from gatewright.tasks.model import load_model
from gatewright.tasks.objectives import Bits, Classes, NextSymbols
from gatewright.tasks.recipes.adding import Adding
from gatewright.tasks.recipes.digits import Digits
from gatewright.tasks.recipes.text import Text
from gatewright.tasks.settings import read_axes
from gatewright.tasks.synthetic.addition import add
from gatewright.tasks.training.session import Result, train
from tests.architecture.imports import imports_of
from tests.paths import ROOT
from tests.quick_runs import QuickRun
from tests.tasks.small import QUIET, WORDS, small_recipe, small_text


@pytest.fixture(scope="module")
def run(quick_run: QuickRun) -> QuickRun:
    """A finished run of a recipe at a quick size, trained when it is first asked for."""
    return quick_run


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    """A finished run of `text` on a text of its own, which lies beside it."""
    folder = tmp_path_factory.mktemp("small")
    return train(small_recipe(), out=folder / "run", source=small_text(folder), console=QUIET), folder


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_the_whole_way(name: str, run: QuickRun) -> None:
    result, folder = run(name)
    assert result.recipe == name
    assert result.parameters == sum(one.numel() for one in load_model(folder).network.parameters())
    losses = [measured["loss"] for measured in result.metrics.values()]
    assert np.isfinite(losses).all()
    assert evaluate(load_model(folder)) == result.metrics
    expected = {"last.ckpt", "model.safetensors", "metrics.csv", "curves.png", "run.json", "result.json"}
    assert expected <= {one.name for one in folder.iterdir()}
    assert list((folder / "tensorboard").glob("events.out.tfevents.*"))


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_a_recipe_says_what_it_reaches(name: str) -> None:
    kind = recipes.get(name)
    for preset in ("", *kind.presets):
        made = kind.configured([f"preset={preset}"])
        assert made.restored(made.settings()) == made
        expected = made.expectation()
        if expected is not None:
            assert replace(made, seed=3).expectation() == expected
            assert replace(made, hidden=7).expectation() is None
    assert kind().expectation() is not None
    module = f"gatewright.tasks.recipes.{name}"
    source = (ROOT / "src" / module.replace(".", "/")).with_suffix(".py").read_text(encoding="utf-8")
    loaded = [found.module for found in imports_of(source, module) if not found.deferred]
    of_trainer = ("torch", "lightning", "gatewright.tasks.training")
    assert [one for one in loaded if one.startswith(of_trainer)] == [], "a recipe repeats nothing of the trainer"


def test_what_is_not_there() -> None:
    with pytest.raises(OptionError) as caught:
        recipes.get("txt")
    assert str(caught.value) == (
        f"there is no recipe named 'txt'\n  expected: one of {', '.join(recipes.RECIPES)}\n"
        "  do: did you mean text or texts?"
    )
    with pytest.raises(OptionError) as caught:
        Digits.configured(["preset=d2l"])
    assert str(caught.value) == ("recipe 'digits' has no preset 'd2l'\n  expected: none, for it has no presets")
    with pytest.raises(OptionError) as caught:
        Adding.configured(["cell=lstm"], cell="gru")
    assert str(caught.value) == "cell is given twice, as --cell and as --set cell=...\n  do: leave out one"
    with pytest.raises(OptionError) as caught:
        Adding().data("numbers.csv")
    assert str(caught.value) == ("recipe 'adding' makes its own data\n  got: --data numbers.csv\n  do: leave it out")


def test_the_order_of_what_is_asked_for() -> None:
    made = Text.configured(["preset=d2l", "steps=9"], quick=True, cell="lstm")
    assert (made.text, made.cell, made.hidden, made.epochs, made.steps) == ("timemachine", "lstm", 64, 2, 9)
    assert made.changed()["preset"] == "d2l"
    assert "patience" not in made.changed()


def test_sizes_of_further_axes(tmp_path: Path) -> None:
    assert read_axes("projection=64, context = 40") == {"projection": 64, "context": 40}
    with pytest.raises(OptionError, match="setting 'axes' cannot be read at 'projection'"):
        read_axes("projection")
    made = Adding.configured(["cell=scrn", "axes=context=8", "epochs=1"])
    train(made, out=tmp_path / "run", console=QUIET)
    assert load_model(tmp_path / "run").network.recurrent.sizes()["context"] == 8


class TestAdding:
    def test_pairs_are_new_in_each_iteration_and_the_same_for_a_seed(self) -> None:
        train_part = Adding(noise=0.0).data(None).parts["train"]
        first, second = train_part.batch(0, 0), train_part.batch(0, 1)
        assert not np.array_equal(first.inputs, second.inputs)
        np.testing.assert_array_equal(first.inputs, Adding(noise=0.0).data(None).parts["train"].batch(0, 0).inputs)
        assert not np.array_equal(first.inputs, Adding(noise=0.0, seed=1).data(None).parts["train"].batch(0, 0).inputs)
        assert first.inputs.shape == (5, 100, 2)

    def test_the_published_setting_keeps_its_hundred_pairs(self) -> None:
        published = Adding.configured(["preset=text"]).data(None).parts["train"]
        np.testing.assert_array_equal(published.batch(0, 0).inputs, published.batch(7, 3).inputs)

    def test_noise_is_on_the_inputs_alone(self) -> None:
        noisy, clean = (Adding(noise=noise).data(None).parts["train"].batch(0, 0) for noise in (0.1, 0.0))
        np.testing.assert_array_equal(noisy.targets, clean.targets)
        assert 0.05 < np.abs(noisy.inputs - clean.inputs).mean() < 0.1

    def test_1024_and_16(self, run: QuickRun) -> None:
        result, folder = run("adding")
        assert result.metrics["20 bits"]["exact"] > 0.99
        model = load_model(folder)
        assert add(model, 1024, 16) == 1040
        assert add(model, 0, 0) == 0
        assert add(model, 1023, 1) == 1024

    def test_only_a_model_of_it_adds(self, run: QuickRun) -> None:
        with pytest.raises(OptionError) as caught:
            add(load_model(run("digits")[1]), 1, 2)
        assert str(caught.value) == (
            "this model was made by the recipe 'digits', and cannot add\n"
            "  expected: a model of the recipe 'adding'\n  do: train one with: gatewright train adding"
        )


class TestText:
    def test_samples_continue_the_prompts(self, small: tuple[Result, Path]) -> None:
        assert {prompt: len(text) for prompt, text in small[0].samples.items()} == {"the": 50}

    def test_another_text_is_measured_whole(self, small: tuple[Result, Path]) -> None:
        other = small[1] / "other.txt"
        other.write_text("the lazy dog\n" * 20)
        measured = evaluate(load_model(small[1] / "run"), str(other))
        assert list(measured) == ["text"]
        assert measured["text"]["perplexity"] == pytest.approx(np.exp(measured["text"]["loss"]))

    def test_a_text_that_has_changed(self, small: tuple[Result, Path]) -> None:
        path = small[1] / "words.txt"
        before = path.read_text()
        path.write_text(before + "Ω")
        with pytest.raises(DataError, match="the data does not fit the model"):
            evaluate(load_model(small[1] / "run"))
        path.write_text(before)

    def test_without_a_held_out_part_the_training_part_is_measured(self, tmp_path: Path) -> None:
        data = small_recipe("held_out=0").data(small_text(tmp_path))
        assert list(data.parts) == ["train"]
        assert data.measured == ("train",)

    def test_dive_into_deep_learning_is_followed(self, shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GATEWRIGHT_DATA", str(shared_data))
        made = Text.configured(["preset=d2l"])
        data = made.data(None)
        assert data.sizes.inputs == 28
        assert len(data.parts["train"]) == 8  # (10,000 - 35) // 32 // 35
        assert data.parts["train"].batch(0, 0).inputs.shape == (35, 32)
        assert (made.hidden, made.optimiser, made.rate, made.clip, made.epochs) == (256, "sgd", 1.0, 1.0, 500)


class TestObjectives:
    def test_padding_counts_for_nothing(self) -> None:
        outputs = torch.randn(4, 3, 5)
        targets = torch.randint(5, (4, 3))
        whole = Classes().losses(outputs, Rows(None, targets))
        targets[2:, 1] = Classes.padding
        kept = Classes().losses(outputs, Rows(None, targets))
        assert len(whole) == 12
        assert len(kept) == 10
        assert len(Classes().scores(outputs, Rows(None, targets))["accuracy"]) == 10

    def test_perplexity(self) -> None:
        assert NextSymbols().derived({"loss": 1.0}) == {"perplexity": pytest.approx(np.e)}
        assert NextSymbols().derived({"loss": 1e4}) == {"perplexity": np.inf}

    def test_one_wrong_bit_is_a_wrong_number(self) -> None:
        one, zero = 0.9, 0.2
        targets = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])[:, :, None]
        outputs = torch.where(targets > 0, one, zero)
        outputs[1, 0] = one
        bits = Bits()
        assert bits.scores(outputs, Rows(None, targets))["exact"].tolist() == [False, True]
        assert bits.losses(outputs, Rows(None, targets)).shape == (2,)

    def test_the_published_loss(self) -> None:
        outputs, targets = torch.tensor([[[0.5]], [[2.0]]]), torch.tensor([[[1.0]], [[0.0]]])
        assert Bits().losses(outputs, Rows(None, targets)).tolist() == [0.125 + 2.0]


def test_what_a_model_file_brings_back(small: tuple[Result, Path]) -> None:
    model = load_model(small[1] / "run" / "model.safetensors")
    assert model.recipe == small_recipe()
    assert model.sizes.vocabulary == ("<unk>", *sorted(set(WORDS)))
    assert (model.sizes.inputs, model.sizes.outputs) == (30, 30)
    assert model.source == str(small[1] / "words.txt")
    assert not model.network.training
