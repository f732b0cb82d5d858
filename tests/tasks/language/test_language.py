"""Models of words: what they read and write, other texts, tied and dropped, and the settings of the papers."""

import math
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from gatewright.errors import DataError, OptionError
from gatewright.tasks.answers.evaluate import evaluate
from gatewright.tasks.cell_spec import read_cell
from gatewright.tasks.data.texts.vocabulary import END, END_OF_LINE, START, UNKNOWN
from gatewright.tasks.language.generator import TextGenerator
from gatewright.tasks.language.symbols import WordCodec
from gatewright.tasks.model import Model, load_model
from gatewright.tasks.objectives import NextSymbols
from gatewright.tasks.recipes.words import Words
from gatewright.tasks.run_data import Sizes
from gatewright.tasks.training.session import Result, train
from gatewright.tasks.training.tensor_batches import tensor_batch
from tests.tasks.small import QUIET

TEXT = "The quick brown fox jumps over the lazy dog. Pack my box with five dozen jugs!\nThe dog jumps. A fox?\n"
SMALL = ("hidden=6", "batch=3", "steps=5", "held_out=0.2", "epochs=2", "prompts=the fox", "rate=0.01")
LINE = (UNKNOWN, END_OF_LINE, "the", "dog", "n't", ".")
SENTENCE = (UNKNOWN, START, END, "the", "dog", "n't", ".")


def text(folder: Path) -> str:
    path = folder / "text.txt"
    path.write_text(TEXT * 8)
    return str(path)


def untrained(vocabulary: tuple[str, ...], likely: tuple[str, ...]) -> Model:
    """A model to which those words are by far the most probable, the first of them the most."""
    made = Words(hidden=7, layers=1, init="normal(1.0)")
    sizes = Sizes(len(vocabulary), len(vocabulary), vocabulary)
    network = made.network(sizes, "lstm")
    for place, word in enumerate(likely):
        network.output.bias.data[vocabulary.index(word)] = 30.0 - 3 * place
    return Model(made, sizes, network)


@pytest.fixture(scope="module", params=["stream", "sentences"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    folder = tmp_path_factory.mktemp("words")
    made = Words.configured([*SMALL, f"read={request.param}"])
    return train(made, out=folder / "run", source=text(folder), console=QUIET), folder


class TestWordCodec:
    def test_a_prompt_is_read_from_a_beginning(self) -> None:
        assert WordCodec(Sizes(6, 6, LINE)).read("The dog") == [1, 2, 3]
        assert WordCodec(Sizes(7, 7, SENTENCE)).read("") == [1]
        assert WordCodec(Sizes(3, 3, (UNKNOWN, "the", "dog"))).read("dog") == [2]

    def test_a_word_is_looked_for_as_it_stands_then_small_then_by_its_parts(self) -> None:
        codec = WordCodec(Sizes(7, 7, (*LINE, "Dog")))
        assert codec.read("Dog THE") == [1, 6, 2]
        assert codec.read("dog. cat <unk>") == [1, 3, 5, 0, 0]

    @pytest.mark.parametrize(
        ("prompt", "want"), [("", "the dog\nthe ."), ("a ", "the dog\nthe ."), ("a", " the dog\nthe .")]
    )
    def test_words_are_written_with_spaces(self, prompt: str, want: str) -> None:
        assert "".join(WordCodec(Sizes(6, 6, LINE)).write([2, 3, 1, 2, 5], prompt)) == want


class TestWriting:
    @pytest.mark.parametrize("vocabulary", [LINE, SENTENCE])
    def test_the_unknown_is_never_written(self, vocabulary: tuple[str, ...]) -> None:
        writer = TextGenerator(untrained(vocabulary, (UNKNOWN, *vocabulary[1:2], "dog")))
        pieces = list(writer.stream("the cat", length=40))
        assert len(pieces) == 40
        assert UNKNOWN not in "".join(pieces)
        assert START not in "".join(pieces)
        assert UNKNOWN not in writer.search("the", length=4, beams=3)

    def test_after_a_sentence_the_next_begins_from_nothing(self) -> None:
        model = untrained(SENTENCE, ("dog", END))
        model.network.output.bias.data[SENTENCE.index("dog")] = 27.0  # about as probable
        texts = ["".join(islice(TextGenerator(model).stream("", length=200, seed=seed), 200)) for seed in (0, 1)]
        assert all(len(one.splitlines()) > 1 for one in texts)
        with torch.no_grad():
            writer = TextGenerator(model)
            start, _ = writer.step(torch.tensor([1]), None)
            state = writer.step(torch.tensor([4]), None)[1]
            again, _ = writer.step(torch.tensor([2]), state)
        assert torch.equal(start, again)

    def test_a_search_ends_with_the_sentence(self) -> None:
        assert TextGenerator(untrained(SENTENCE, (END,))).search("the", length=9, beams=2) == "\n"


class TestData:
    def test_a_stream_carries_its_state(self, tmp_path: Path) -> None:
        data = Words.configured(SMALL).data(text(tmp_path))
        assert list(data.parts) == ["train", "validation", "test"]
        assert data.parts["train"].carries_state
        assert data.sizes.vocabulary is not None
        assert {"the", "fox", "!", END_OF_LINE} < set(data.sizes.vocabulary)

    def test_sentences_stand_apart(self, tmp_path: Path) -> None:
        data = Words.configured([*SMALL, "read=sentences", "steps=40"]).data(text(tmp_path))
        batch = data.parts["train"].batch(0, 0)
        words = data.sizes.vocabulary or ()
        for row, length in enumerate(batch.lengths.tolist()):
            assert words[batch.inputs[0, row]] == START
            assert words[batch.targets[length - 1, row]] == END
            np.testing.assert_array_equal(batch.inputs[1:length, row], batch.targets[: length - 1, row])
            assert (batch.targets[length:, row] == NextSymbols.padding).all()

    def test_long_sentences_are_cut(self, tmp_path: Path) -> None:
        data = Words.configured([*SMALL, "read=sentences", "steps=3"]).data(text(tmp_path))
        assert max(data.parts["train"].batch(0, place).lengths.max() for place in range(3)) == 3

    def test_a_small_vocabulary(self, tmp_path: Path) -> None:
        sizes = Words.configured([*SMALL, "words=5"]).data(text(tmp_path)).sizes
        assert sizes.inputs == sizes.outputs == 5

    def test_without_a_held_out_part_the_training_part_is_measured(self, tmp_path: Path) -> None:
        data = Words.configured([*SMALL, "held_out=0"]).data(text(tmp_path))
        assert list(data.parts) == ["train"]
        assert data.measured == ("train",)

    def test_data_that_does_not_fit(self, tmp_path: Path) -> None:
        path = tmp_path / "short.txt"
        path.write_text("only a few words")
        with pytest.raises(DataError) as caught:
            Words.configured(SMALL).data(str(path))
        assert caught.value.in_shell() == (
            f"{path} is too short to hold out a part for the validation\n"
            "  expected: a text that has two symbols in a share of 0.2 (held_out)\n  got: 4 symbols in all\n"
            "  do: take a longer text, or hold out nothing, with --set held_out=0"
        )
        path.write_text("\n")
        with pytest.raises(DataError, match="holds no words"):
            Words.configured([*SMALL, "read=sentences"]).data(str(path))
        path.write_bytes(b"caf\xe9 " * 50)
        with pytest.raises(DataError, match="short.txt"):
            Words.configured(SMALL).data(str(path))
        with pytest.raises(DataError, match="'ptbb' is neither a data set nor a file") as caught:
            Words().data("ptbb")
        assert "did you mean 'ptb'?" in str(caught.value)


class TestTrained:
    def test_the_perplexity_is_that_of_its_words(self, run: tuple[Result, Path]) -> None:
        result, folder = run
        assert set(result.metrics) == {"validation", "test"}
        assert result.metrics["test"]["perplexity"] == pytest.approx(math.exp(result.metrics["test"]["loss"]))
        assert evaluate(load_model(folder / "run")) == result.metrics
        assert UNKNOWN not in result.samples["the fox"]

    def test_another_text_is_measured_in_the_words_that_are_known(self, run: tuple[Result, Path]) -> None:
        _, folder = run
        other = folder / "other.txt"
        other.write_text("The dog jumps over a zebra. Five foxes jump over it!\n" * 3)
        model = load_model(folder / "run")
        measured = evaluate(model, str(other))
        assert list(measured) == ["text"]
        part = model.recipe.evaluation(str(other), model).parts["text"]
        words, known = model.sizes.vocabulary or (), set[str]()
        for place in range(len(part)):
            batch = part.batch(0, place)
            known |= {words[one] for one in batch.inputs.flatten().tolist()}
        assert {"dog", UNKNOWN} <= known


def first_loss(made: Words) -> tuple[float, int]:
    data = made.data(None)
    torch.manual_seed(made.seed)
    network = made.network(data.sizes, read_cell(made.cell))
    batch = tensor_batch(data.parts["train"], 0, 0)
    outputs, _ = network(batch.inputs, None, batch.lengths)
    return made.objective().losses(outputs, batch).mean().item(), data.sizes.outputs


@pytest.mark.parametrize(
    ("preset", "parameters"),
    [("wildml", 2_253_376), ("small", 4_651_600), ("medium", 19_775_200), ("regularised", None)],
)
def test_a_network_begins_by_knowing_nothing(
    preset: str, parameters: int | None, shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWRIGHT_DATA", str(shared_data))
    made = Words.configured([f"preset={preset}"])
    loss, words = first_loss(made)
    assert words == (8000 if preset == "wildml" else 10_000)
    assert abs(loss - math.log(words)) < 0.1
    if parameters is not None:
        sizes = Sizes(words, words)
        assert sum(one.numel() for one in made.network(sizes, read_cell(made.cell)).parameters()) == parameters


def test_the_rate_of_zaremba(tmp_path: Path) -> None:
    made = Words.configured([*SMALL[:4], "preset=small", "epochs=7"])
    result = train(made, out=tmp_path / "run", source=text(tmp_path), console=QUIET)
    lines = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    rates = [float(line.split(",")[lines[0].split(",").index("rate")]) for line in lines[1:]]
    # what is written is the rate of the iteration to come: the epoch's own is the one before it
    assert rates == [20, 20, 20, 10, 5, 2.5, 1.25]
    assert result.epochs == 7


def test_a_prompt_of_nothing_needs_a_beginning() -> None:
    with pytest.raises(OptionError, match="the prompt is empty"):
        list(TextGenerator(untrained((UNKNOWN, "the", "dog"), ("dog",))).stream("", length=2))
