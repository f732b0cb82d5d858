"""Recipe `tagging`: tokens as features, entities that are whole, answers as the network gives them, and ONNX."""

import json
import math
from dataclasses import replace
from functools import cache
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import gatewright as gw
from gatewright.errors import ConversionError, DataError, OptionError
from gatewright.tasks.data.tags.schemes import best_paths, converted_tags
from gatewright.tasks.data.tags.token_features import FEATURES, FeatureVocabulary, features_of
from gatewright.tasks.data.tags.tokens import TOKENISINGS, tokenising
from gatewright.tasks.recipes.tagging import Tagging
from gatewright.tasks.run import Run
from gatewright.tasks.tagging.objective import EntityTags
from gatewright.tasks.training.tensor_batches import TensorBatch
from tests.tasks.own_data import small_tags

SENTENCES = [["Ada", "saw", "New", "York", "."], ["Zuse", "saw", "Rome"]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A tagger of names and places that knows its few sentences."""
    folder = tmp_path_factory.mktemp("tags")
    data = small_tags(folder)
    settings: dict[str, Any] = {"hidden": 8, "embedding": 8, "epochs": 30, "rate": 0.02, "output": "crf"}
    return gw.tasks.train("tagging", data=data, out=folder / "run", **settings)


@pytest.fixture(scope="module")
def softmax_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same with labels that are decided on one by one."""
    folder = tmp_path_factory.mktemp("softmax")
    settings: dict[str, Any] = {"hidden": 8, "embedding": 8, "epochs": 6, "rate": 0.02}
    return gw.tasks.train("tagging", data=small_tags(folder), out=folder / "run", **settings)


def outputs_by_hand(run: Run, tokens: list[str]) -> Any:
    """(steps, classes): what the network gives, called on one sentence."""
    vocabulary = FeatureVocabulary(run.model.sizes.vocabulary or ())
    symbols = torch.from_numpy(vocabulary.encode(tokens))[:, None]
    with torch.no_grad():
        return run.model.network(symbols)[0][:, 0].double().numpy()


def labellings_by_hand(outputs: Any, transitions: Any) -> dict[tuple[int, ...], float]:
    """The probability of each labelling of a sentence: exp of the sum of its scores, over the sum of all of them."""
    first, moves, last = (np.array(transitions[name], np.float64) for name in ("first", "next", "last"))
    scores = {
        path: first[path[0]]
        + last[path[-1]]
        + sum(outputs[step, label] for step, label in enumerate(path))
        + sum(moves[before, label] for before, label in pairwise(path))
        for path in product(range(len(first)), repeat=len(outputs))
    }
    total = sum(map(math.exp, scores.values()))
    return {path: math.exp(score) / total for path, score in scores.items()}


def test_features_of_a_token() -> None:
    assert features_of("McGee'79") == (
        "word=McGee'79",
        "lower=mcgee'00",
        "prefix1=m",
        "prefix2=mc",
        "prefix3=mcg",
        "suffix1=0",
        "suffix2=00",
        "suffix3='00",
        "suffix4=e'00",
        "shape=XxXxx'dd",
    )
    assert features_of("a")[3] == "prefix2=a"
    assert features_of("IIIII")[-1] == "shape=XX"
    assert features_of("東京")[-1] == "shape=東京"


def test_rare_symbols_are_unknown() -> None:
    vocabulary = FeatureVocabulary.from_sentences([["sees", "sees", "bees"]], least=2)
    assert vocabulary.symbols[: len(FEATURES)] == tuple(f"{name}=<unk>" for name in FEATURES)
    known, rare = vocabulary.encode(["sees", "bees"])
    assert vocabulary.symbols[known[0]] == "word=sees"
    assert [vocabulary.symbols[number] for number in rare] == [
        "word=<unk>",
        "lower=<unk>",
        "prefix1=<unk>",
        "prefix2=<unk>",
        "prefix3=<unk>",
        "suffix1=s",
        "suffix2=es",
        "suffix3=ees",
        "suffix4=<unk>",
        "shape=xx",
    ]


@pytest.mark.parametrize(
    ("sentences", "name"),
    [
        ([["He", "does", "n't", "."]], "contractions"),
        ([["Il", "ne", "va", "pas", "."]], "signs"),
        ([["He", "sleeps,", "well!"]], "spaces"),
        ([["He", "sleeps"]], "spaces"),
    ],
)
def test_text_is_divided_as_the_training_text(sentences: list[list[str]], name: str) -> None:
    assert tokenising(sentences).name == name


def test_ways_to_divide() -> None:
    text = "It's 3.5% of the U.S. (can't, well-known)..."
    assert TOKENISINGS["signs"].divide(text) == (
        ["It's", "3.5", "%", "of", "the", "U.S.", "(", "can't", ",", "well-known", ")", "..."]
    )
    assert TOKENISINGS["contractions"].divide("It's what we can't do") == (
        ["It", "'s", "what", "we", "ca", "n't", "do"]
    )


def test_answers_are_those_of_the_network(run: Run) -> None:
    answers = run.predict(SENTENCES)
    assert list(answers.columns) == ["sentence", "step", "token", "label", "probability"]
    assert answers["sentence"].tolist() == [1] * 5 + [2] * 3
    assert answers["step"].tolist() == [1, 2, 3, 4, 5, 1, 2, 3]
    assert answers["token"].tolist() == [token for tokens in SENTENCES for token in tokens]
    classes = run.model.sizes.classes or ()
    assert classes == ("B-LOC", "B-PER", "I-LOC", "I-PER", "O")
    for number, tokens in enumerate(SENTENCES, 1):
        rows = answers[answers["sentence"] == number]
        places = [classes.index(label) for label in rows["label"]]
        crf: Any = run.model.network.get_submodule("crf")
        transitions = crf.transitions().kept()
        labellings = labellings_by_hand(outputs_by_hand(run, tokens), transitions)
        assert tuple(places) == max(labellings, key=lambda path: labellings[path])
        wanted = [
            sum(probability for path, probability in labellings.items() if path[step] == place)
            for step, place in enumerate(places)
        ]
        np.testing.assert_allclose(rows["probability"], wanted, rtol=1e-5)
        assert rows["label"].tolist() == converted_tags(rows["label"].tolist(), "BIO")
    assert answers["label"].tolist()[:5] == ["B-PER", "O", "B-LOC", "I-LOC", "O"]


def test_labels_one_by_one_have_their_own_probabilities(softmax_run: Run) -> None:
    answers = softmax_run.predict(SENTENCES[:1])
    outputs = outputs_by_hand(softmax_run, SENTENCES[0])
    places = [(softmax_run.model.sizes.classes or ()).index(label) for label in answers["label"]]
    powers = np.exp(outputs) / np.exp(outputs).sum(1, keepdims=True)
    np.testing.assert_allclose(answers["probability"], powers[np.arange(5), places], rtol=1e-5)
    labellings = labellings_by_hand(outputs, softmax_run.model.signature["transitions"])
    assert tuple(places) == max(labellings, key=lambda path: labellings[path])


def test_lines_and_files(run: Run, tmp_path: Path) -> None:
    answer = run.predictor().predict_line("Ada saw New York.")
    assert answer == {
        "tokens": SENTENCES[0],
        "labels": ["B-PER", "O", "B-LOC", "I-LOC", "O"],
        "entities": [{"type": "PER", "text": "Ada"}, {"type": "LOC", "text": "New York"}],
    }
    assert run.predictor().predict_line("")["tokens"] == []
    text, columns = tmp_path / "a.txt", tmp_path / "a.conll"
    text.write_text("Ada saw New York.\n\nZuse saw Rome\n")
    columns.write_text("\n\n".join("\n".join(tokens) for tokens in SENTENCES) + "\n")
    in_lines, in_columns, in_memory = run.predict(text), run.predict(columns), run.predict(SENTENCES)
    assert in_lines["line"].tolist() == [1] * 5 + [3] * 3
    assert in_columns.equals(in_memory)
    assert in_lines.drop(columns="line").equals(in_memory.drop(columns="sentence"))
    written = run.predictor().encode(in_memory, ".conll", text).decode()
    assert written.splitlines()[:7] == [
        "Ada\tB-PER",
        "saw\tO",
        "New\tB-LOC",
        "York\tI-LOC",
        ".\tO",
        "",
        "Zuse\t" + in_memory["label"][5],
    ]
    labelled = run.predict(run.model.source)
    assert labelled["token"].tolist()[:3] == ["Ada", "saw", "Oslo"]
    assert labelled["sentence"].iloc[-1] == 60


def test_entities_are_counted_as_seqeval_counts_them(rng: np.random.Generator) -> None:
    from seqeval.metrics import f1_score, precision_score, recall_score

    classes = ("B-LOC", "B-PER", "I-LOC", "I-PER", "O")
    objective, lengths = EntityTags(classes, "BIO"), np.array([9, 4, 7, 1])
    targets = rng.integers(0, 5, (9, 4))
    outputs = torch.from_numpy(rng.normal(size=(9, 4, 5)) + 2 * np.eye(5)[targets])
    targets[np.arange(9)[:, None] >= lengths] = objective.padding
    batch = TensorBatch(outputs, torch.from_numpy(targets), torch.from_numpy(lengths), continues=False)
    means = {name: one.double().mean().item() for name, one in objective.scores(outputs, batch).items()}
    measures = objective.measures(means)
    paths = best_paths(outputs.log_softmax(-1).numpy(), lengths, objective.transitions)
    predicted = [[classes[tag] for tag in path] for path in paths]
    wanted = [[classes[tag] for tag in targets[:length, row]] for row, length in enumerate(lengths)]
    steps = [one == other for pair in zip(predicted, wanted, strict=True) for one, other in zip(*pair, strict=True)]
    assert measures == {
        "accuracy": pytest.approx(np.mean(steps)),
        "precision": pytest.approx(precision_score(wanted, predicted)),
        "recall": pytest.approx(recall_score(wanted, predicted)),
        "f1": pytest.approx(f1_score(wanted, predicted)),
    }
    assert 0 < measures["f1"] < 1


def test_what_the_run_says(run: Run) -> None:
    model, result = run.model, run.result
    assert result is not None
    assert (model.recipe.settings()["scheme"], model.recipe.settings()["inputs"]) == ("BIO", "tokens")
    assert (model.recipe.settings()["output"], model.recipe.settings()["best_by"]) == ("crf", "f1")
    assert result.best_score == 1.0
    assert model.signature["columns"] == {"text": "1", "label": "2"}
    assert model.signature["tokenise"] == "signs"
    assert model.signature["tokens"]["columns"] == list(FEATURES)
    assert result.metrics["test"]["f1"] == 1.0
    assert set(result.baselines["test"]) == {"f1 of most frequent tag", "f1 of logistic regression"}
    assert run.evaluate() == result.metrics
    everything = run.evaluate(model.source)
    assert list(everything) == ["test"]


def test_other_tags_are_refused_with_both_lists(run: Run) -> None:
    with pytest.raises(DataError) as caught:
        run.evaluate([(["Ada", "left"], ["B-PER", "B-ORG"])])
    assert str(caught.value) == (
        "data in memory has labels that the model does not know: B-ORG\n"
        "  expected: the model's: B-LOC, B-PER, I-LOC, I-PER, O\n"
        "  got: B-ORG, B-PER\n"
        "  do: give data with the model's labels, or name their column with label=..."
    )
    inside = [(["Ada", "Lovelace"], ["I-PER", "I-PER"])]  # IOB1, which is rewritten
    assert run.evaluate(inside)["test"]["recall"] in (0.0, 1.0)


@pytest.mark.parametrize("output", ["crf", "softmax"])
def test_onnx_gives_the_same_from_a_text_on(output: str, run: Run, softmax_run: Run, tmp_path: Path) -> None:
    """As a stranger would call the file: features by the rules in its metadata, and the best tags of a sentence."""
    onnxruntime = pytest.importorskip("onnxruntime")
    run = run if output == "crf" else softmax_run
    written = gw.export.onnx(run.model, tmp_path / "tags.onnx", lengths=True)
    session = onnxruntime.InferenceSession(written.path)
    about = session.get_modelmeta().custom_metadata_map
    vocabulary, classes = json.loads(about["vocabulary"]), json.loads(about["classes"])
    symbols = np.zeros((5, 2, len(FEATURES)), np.int64)
    for row, tokens in enumerate(SENTENCES):
        for step, token in enumerate(tokens):
            for place, symbol in enumerate(features_of(token)):
                symbols[step, row, place] = vocabulary.index(symbol) if symbol in vocabulary else place
    outputs = session.run(None, {"input": symbols, "lengths": np.array([5, 3])})[0]
    for row, tokens in enumerate(SENTENCES):
        np.testing.assert_allclose(outputs[: len(tokens), row], outputs_by_hand(run, tokens), atol=1e-5)
    transitions = json.loads(about["gatewright.signature"])["transitions"]
    for row, tokens in enumerate(SENTENCES):
        labels = [classes[place] for place in viterbi(outputs[: len(tokens), row], **transitions)]
        assert labels == run.predict([tokens])["label"].tolist()


def viterbi(scores: Any, first: Any, next: Any, last: Any) -> list[int]:
    """As docs/tagging.md has it."""
    best, behind = scores[0] + first, []
    for score in scores[1:]:
        ways = best[:, None] + next
        behind.append(ways.argmax(0))
        best = ways.max(0) + score
    path = [int((best + last).argmax())]
    for step in reversed(behind):
        path.append(int(step[path[-1]]))
    return path[::-1]


def test_c_says_what_to_do(run: Run, tmp_path: Path) -> None:
    with pytest.raises(OptionError) as caught:
        gw.export.c99(run.model, tmp_path / "tags.c")
    assert str(caught.value) == (
        "a model that reads several symbols a step is not written as C, whose code reads one\n"
        "  expected: a model that reads numbers, or one symbol a step\n"
        "  got: word, lower, prefix1, prefix2, prefix3, suffix1, suffix2, suffix3, suffix4, shape\n"
        "  do: export it as ONNX, or its layer alone with layer='recurrent'"
    )


@cache
def _sentences(count: int, length: int) -> list[tuple[list[str], list[str]]]:
    return [([f"w{place % 3}"] * length, ["X", "Y"] * (length // 2)) for place in range(count)]


def test_long_sentences_are_cut_to_train_on_and_measured_whole() -> None:
    data = Tagging.configured(["window=20", "batch=64"]).data(_sentences(20, 50))
    train, test = data.parts["train"].batch(0, 0), data.parts["test"].batch(0, 0)
    assert train.inputs.shape[0] == 17
    assert sorted(set(train.lengths.tolist())) == [16, 17]
    assert train.lengths.sum() == 16 * 50
    assert test.lengths.tolist() == [50] * 2


def test_little_data_is_read_more_often() -> None:
    assert Tagging().data(_sentences(20, 4)).fitted["epochs"] == 100
    assert Tagging.configured(["epochs=3"]).data(_sentences(20, 4)).fitted.get("epochs") is None


def test_tags_that_mark_no_entities_are_left_alone() -> None:
    data = Tagging().data(_sentences(20, 4))
    assert (data.fitted["scheme"], data.sizes.classes) == ("none", ("X", "Y"))
    assert Tagging.configured(["scheme=none"]).objective().headline == "accuracy"
    assert Tagging.configured(["scheme=BIO"]).objective().headline == "f1"


def test_no_framework_has_a_sum_of_embeddings(run: Run, tmp_path: Path) -> None:
    run.model.save(tmp_path / "model.safetensors")
    with pytest.raises(ConversionError) as caught:
        gw.convert.convert(tmp_path / "model.safetensors", tmp_path / "model.keras")
    assert str(caught.value) == (
        f"{tmp_path}/model.safetensors: the model reads several symbols a step, and no framework's file holds a sum of "
        "embeddings as a part\n"
        "  do: export the whole model as ONNX: gatewright export MODEL FILE.onnx"
    )


def test_columns_that_a_file_lacks(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("word,label\nAda,O\n")
    with pytest.raises(DataError, match=r"does not show which column holds the tokens\n.*\n  got: word, label"):
        run.predict(path)


def test_entities_are_learned_and_counted_in_any_scheme() -> None:
    """BILOU is rewritten as BIOES; what is measured later is read as that too, also where it shows no scheme."""
    sentences = [(["Ada", "saw", "New", "York"], ["U-PER", "O", "B-LOC", "L-LOC"])] * 20
    data = Tagging().data(sentences)
    assert data.sizes.classes == ("B-LOC", "E-LOC", "O", "S-PER")
    assert (data.fitted["scheme"], data.fitted["best_by"]) == ("BIOES", "f1")
    assert data.remarks[0] == "tags mark entities: BILOU, learned and answered as BIOES"
    broken = [(["Ada", "saw", "Rome"], ["I-PER", "O", "B-LOC"])] * 20  # an I that follows nothing
    assert Tagging().data(broken).sizes.classes == ("B-LOC", "B-PER", "O")


def test_a_tag_that_is_not_learned_is_named() -> None:
    parts = [(["a", "b"], ["X", "Y"])] * 19
    data = Tagging.configured(["seed=1"]).data([*parts, (["a", "c"], ["X", "Z"])])
    told = [one for one in data.remarks if "not learned" in one]
    in_training = 2 in set(data.parts["train"].batch(0, 0).targets.ravel().tolist())
    assert told == ([] if in_training else ["not in the training part, so not learned: Z"])


def test_parts_without_entities(tmp_path: Path) -> None:
    with_entities, without = "Ada B-PER\nsaw O\n\n" * 5, "she O\nsaw O\n\n" * 5
    for name, text in (("train", with_entities), ("dev", without), ("test", with_entities)):
        (tmp_path / f"{name}.conll").write_text(text)
    data = Tagging().data(tmp_path)
    assert data.fitted["best_by"] == "accuracy"
    assert data.remarks[2:4] == (
        "the validation part has no entities, so that its recall and F1 are undefined",
        "the best network is chosen by accuracy",
    )
    with pytest.raises(DataError) as caught:
        Tagging.configured(["best_by=f1"]).data(tmp_path)
    assert str(caught.value) == (
        "the best network cannot be chosen by F1, which is undefined\n"
        "  expected: labels that mark entities, as B-PER, I-PER and O do, and some in the validation part\n"
        "  got: no entity in the validation part\n"
        "  do: choose it by accuracy: best_by='accuracy'"
    )
    means = {"entities that are right": 0.0, "entities that are predicted": 1.0, "entities in the data": 0.0}
    measures = EntityTags(("B-PER", "O"), "BIO").measures(means)
    assert measures["precision"] == 0.0
    assert math.isnan(measures["recall"])
    assert math.isnan(measures["f1"])


def test_what_cannot_be_learned() -> None:
    plain = [(["a", "b"], ["X", "Y"])] * 20
    with pytest.raises(DataError, match="mark no entities, and scheme=BIO is for those that do"):
        Tagging.configured(["scheme=BIO"]).data(plain)
    with pytest.raises(DataError) as caught:
        Tagging().data([(["a", "b"], ["O", "O"])] * 20)
    assert str(caught.value) == (
        "data in memory: every token has the label 'O'\n"
        "  expected: two different labels at least\n"
        "  do: name the column of the labels: label='COLUMN'"
    )
    recordings = [(np.zeros((30, 2)), ["a", "b"] * 15)] * 12
    with pytest.raises(OptionError) as refused:
        Tagging.configured(["output=crf"]).data(recordings)
    assert str(refused.value) == (
        "output=crf is for sentences, and this data is recordings of channels\n"
        "  expected: output=softmax\n"
        "  do: leave it out"
    )


def test_long_sentences_are_not_cut_inside_an_entity() -> None:
    tokens, tags = ["w"] * 40, ["O"] * 18 + ["B-X"] + ["I-X"] * 4 + ["O"] * 17
    train = Tagging.configured(["window=20", "batch=64"]).data([(tokens, tags)] * 20).parts["train"].batch(0, 0)
    assert sorted(set(train.lengths.tolist())) == [18, 22]
    assert 1 not in train.targets[0]  # of B-X, I-X and O


VECTORS = "4 3\noslo 1 2 3\nParis 4 5 6\nNew 7 8 9\nnew 0 0 0\n"


def test_vectors_of_words(tmp_path: Path) -> None:
    """Words in lower case begin with the vector that stands first for them; also words of no sentence are known."""
    (tmp_path / "words.vec").write_text(VECTORS)
    settings = [f"vectors={tmp_path / 'words.vec'}", "vector_words=2", "word_dropout=0"]
    recipe = Tagging.configured(settings)
    data = recipe.data(small_tags(tmp_path))
    assert data.fitted["embedding"] == 3
    told = f"vectors: {tmp_path / 'words.vec'}, 3 numbers each, for 2 of 9 words of the training part and 1 others"
    assert told in data.remarks
    recipe = replace(recipe, **data.fitted)
    network = recipe.network(data.sizes, gw.cells.get("gru"))
    recipe.prepare(network, data)
    symbols, weight = list(data.sizes.vocabulary or ()), network.get_parameter("encode.weight").detach().numpy()
    for word, vector in (("oslo", [1, 2, 3]), ("paris", [4, 5, 6]), ("new", [7, 8, 9])):
        np.testing.assert_array_equal(weight[symbols.index(f"lower={word}")], np.array(vector, np.float32))
    assert symbols[FeatureVocabulary(symbols).encode(["PARIS"])[0, 1]] == "lower=paris"


def test_vectors_of_another_language(tmp_path: Path) -> None:
    (tmp_path / "words.vec").write_text("le 1 2\n")
    with pytest.raises(DataError) as caught:
        Tagging.configured([f"vectors={tmp_path / 'words.vec'}"]).data(small_tags(tmp_path))
    assert str(caught.value) == (
        f"{tmp_path / 'words.vec'} has a vector for none of the 9 words of the training part\n"
        "  expected: words such as ., ada, gödel, kurt, new\n"
        "  do: give vectors of the language of the sentences"
    )
