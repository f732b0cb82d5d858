"""The network of texts with its classifier of n-grams: by hand, in a model file, in ONNX Runtime, and refused in C."""

import json
import re
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gatewright import convert, export
from gatewright.errors import ModelFileError, OptionError
from gatewright.export.network import read_network
from gatewright.network.network import outcome as read
from gatewright.tasks import recipes
from gatewright.tasks.data.batches.buckets import RaggedBatches
from gatewright.tasks.data.ragged import Ragged
from gatewright.tasks.data.texts.ngrams import ngrams
from gatewright.tasks.mixed_network import stacking_weights
from gatewright.tasks.model import Model, load_model
from gatewright.tasks.recipes.texts import ClassifiedTexts
from gatewright.tasks.run_data import Sizes
from gatewright.tasks.texts.network import NgramClassifier, TextNetwork
from gatewright.tasks.training.session import train
from tests.parity.assertions import assert_parity
from tests.tasks.own_data import small_reviews
from tests.tasks.small import QUIET

SYMBOLS, CLASSES, BUCKETS = 7, 3, 31
LENGTHS = (5, 1, 0, 3)


def filled(longest: int) -> NgramClassifier:
    bag = NgramClassifier(SYMBOLS, CLASSES, longest, BUCKETS)
    bag.weight.normal_()
    bag.energy.uniform_(1, 9)
    bag.bias.normal_()
    return bag


@pytest.mark.parametrize("longest", [1, 2, 3])
def test_scores_of_rows_of_several_lengths(longest: int) -> None:
    bag, inputs = filled(longest), torch.randint(SYMBOLS, (5, 4))
    got = bag(inputs, torch.tensor(LENGTHS))
    for row, length in enumerate(LENGTHS):
        text = Ragged.join([inputs[:length, row].numpy()])
        numbers = ngrams(text, longest, SYMBOLS, BUCKETS)[0] if length else np.zeros(0, np.int64)
        norm = bag.energy[numbers].sum().clamp(min=1).sqrt()
        assert_parity(got[row], bag.weight[numbers].sum(0) / norm + bag.bias, dtype="float32", steps=20)
    assert torch.equal(bag(inputs[:, :1]), bag(inputs[:, :1], torch.tensor([5])))


def made(**options: object) -> Model:
    recipe = ClassifiedTexts(hidden=4, embedding=3, buckets=BUCKETS, **options)  # pyright: ignore[reportArgumentType]
    sizes = Sizes(SYMBOLS, CLASSES, ("<unk>", *"abcdef"), ("x", "y", "z"))
    network = recipe.network(sizes, "gru").eval()
    assert isinstance(network, TextNetwork)
    if network.bag is not None:
        network.bag.load_state_dict(filled(recipe.longest_ngram).state_dict())
    return Model(recipe, sizes, network)


def test_the_mean_in_evaluation_and_the_network_alone_in_training() -> None:
    model, inputs, lengths = made(dropout=0.0, input_dropout=0.0), torch.randint(SYMBOLS, (5, 4)), torch.tensor(LENGTHS)
    network = model.network
    both = network(inputs, None, lengths)[0]
    alone = network.train()(inputs, None, lengths)[0]
    assert_parity(both, (alone + network.bag(inputs, lengths)) / 2, dtype="float32", steps=5)
    assert made(ngrams=0).network.bag is None
    assert made(tokenise="characters").network.bag.longest == 5


def test_both_scores_are_scaled_so_that_the_validation_part_is_most_likely(rng: np.random.Generator) -> None:
    labels = rng.integers(0, 3, 400)
    right = np.eye(3)[labels] * 2 + rng.normal(size=(400, 3))
    noise = rng.normal(size=(400, 3)) * 20
    own, other = stacking_weights(noise, right, labels)
    assert own < 0.02
    assert 0.5 < other < 3

    def likelihood(weights: tuple[float, float]) -> float:
        scores = torch.from_numpy(weights[0] * noise + weights[1] * right).log_softmax(1)
        return float(scores[torch.arange(400), torch.from_numpy(labels)].sum()) - sum(
            (one - 0.5) ** 2 for one in weights
        )

    best = likelihood((own, other))
    assert all(likelihood((own + a, other + b)) < best for a, b in ((0.01, 0), (0, 0.02), (0, -0.02)))
    assert (stacking_weights(right, np.where(np.eye(3)[labels] > 0, -1e4, 0), labels) >= 0).all()


def test_the_balance_is_kept_in_the_output_layer_and_the_n_grams(rng: np.random.Generator) -> None:
    model = made(dropout=0.0, input_dropout=0.0)
    texts = Ragged.join([rng.integers(0, SYMBOLS, rng.integers(1, 6)) for _ in range(50)])
    batches = RaggedBatches(texts, rng.integers(0, CLASSES, 50), 20)
    inputs, lengths = torch.randint(SYMBOLS, (5, 4)), torch.tensor([5, 2, 1, 3])
    network = model.network
    with torch.no_grad():
        alone, bag = network.train()(inputs, None, lengths)[0], network.bag(inputs, lengths)
        network.balance(batches)
        balanced = network.eval()(inputs, None, lengths)[0]
        own, ngram = (network.train()(inputs, None, lengths)[0], network.bag(inputs, lengths))
    assert_parity(balanced, (own + ngram) / 2, dtype="float32", steps=5)
    for before, after in ((alone, own), (bag, ngram)):
        factor = after[0, 0] / before[0, 0]
        assert factor >= 0
        assert_parity(after, before * factor, dtype="float32", steps=5)


@pytest.mark.parametrize(("longest", "pool"), [(1, "max"), (2, "mean"), (4, "last")])
@pytest.mark.parametrize("steps", [1, 2, 6])
def test_in_onnx_runtime(longest: int, pool: str, steps: int, tmp_path: Path, rng: np.random.Generator) -> None:
    runtime = pytest.importorskip("onnxruntime")
    model = made(ngrams=longest, read=pool)
    inputs = rng.integers(0, SYMBOLS, (steps, 4))
    network = read_network(model.kept())
    for lengths in (None, np.minimum(LENGTHS, steps)):
        path = export.onnx(model, tmp_path / "m.onnx", lengths=lengths is not None).path
        given = {"input": inputs} | ({} if lengths is None else {"lengths": lengths})
        got = runtime.InferenceSession(path).run(["output"], given)[0]
        with torch.no_grad():
            ends = None if lengths is None else torch.from_numpy(lengths)
            want = model.network(torch.from_numpy(inputs), None, ends)[0]
        assert_parity(got, want, dtype="float32", steps=20)
        assert_parity(read(network, inputs, None, lengths)[0], want, dtype="float32", steps=20)


def test_a_stranger_classifies_a_text_with_the_onnx_file_alone(tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    recipe = recipes.get("texts").configured(["hidden=6", "epochs=1", "words=40"])
    train(recipe, out=tmp_path / "run", source=small_reviews(tmp_path), console=QUIET)
    model = load_model(tmp_path / "run")
    path = export.onnx(tmp_path / "run", tmp_path / "m.onnx", lengths=True).path
    session = runtime.InferenceSession(path)
    said = session.get_modelmeta().custom_metadata_map
    rule, symbols = json.loads(said["gatewright.signature"])["tokenise"], json.loads(said["vocabulary"])
    texts = ["Text NUMBER 7: it is good!", "", "unheard of", "a<br>text 👍🏽"]
    found: list[list[float]] = []
    for text in texts:
        plain = re.sub(rule["replace by a space"], " ", unicodedata.normalize(rule["normalise"], text), flags=re.I)
        words = re.findall(rule["find all"], plain.lower()) or [rule["unknown"]]
        numbers = [symbols.index(word) if word in symbols else symbols.index(rule["unknown"]) for word in words]
        given = {"input": np.array(numbers)[:, None], "lengths": np.array([len(numbers)])}
        scores = session.run(["output"], given)[0][0]
        found.append((np.exp(scores) / np.exp(scores).sum()).tolist())
    answers = model.recipe.predictor(model).predict(texts)
    columns = [f"p_{name}" for name in json.loads(said["classes"])]
    np.testing.assert_allclose(answers[columns].to_numpy(), found, rtol=1e-5)
    assert answers["class"].tolist() == [json.loads(said["classes"])[int(np.argmax(one))] for one in found]


def test_c_and_other_layouts_say_what_they_leave_out(tmp_path: Path) -> None:
    model = made()
    model.save(tmp_path / "model.safetensors")
    with pytest.raises(OptionError) as caught:
        export.c99(model, tmp_path / "model.c")
    assert str(caught.value) == (
        "a network beside a classifier of n-grams cannot run step by step\n"
        "  expected: a recurrent network alone, which reads forward\n"
        "  got: scores of n-grams up to 2 symbols beside layer 'recurrent'\n"
        "  do: train the recipe with ngrams=0 and directions=forward, or export the model as ONNX for whole texts"
    )
    export.c99(made(ngrams=0, directions="forward"), tmp_path / "model.c")
    notes = convert.read(tmp_path / "model.safetensors").notes
    assert [note for note in notes if "n-grams" in note] == [
        "scores of n-grams are added to the network's, which no layout can say: its layers were read alone"
    ]


def test_the_old_name_of_the_recipe() -> None:
    assert recipes.get("sentiment") is ClassifiedTexts
    assert recipes.known("sentiment")
    assert "sentiment" not in recipes.RECIPES


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"longest": 17}, "the model's n-grams are of sizes that cannot be"),
        ({"buckets": "many"}, "the model's n-grams are of sizes that cannot be"),
        ({"buckets": 30}, "the model's n-grams do not fit its symbols"),
    ],
)
def test_a_file_with_impossible_n_grams(sizes: dict[str, Any], message: str) -> None:
    kept = made().kept()
    damaged = {**kept.settings, "ngrams": {**kept.settings["ngrams"], **sizes}}
    with pytest.raises(ModelFileError, match=message):
        read_network(replace(kept, settings=damaged))
