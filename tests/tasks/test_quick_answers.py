"""`predict` of every recipe, compared with its network called by hand: on numbers that are made here, step by step.

A recipe adds a function to `BY_HAND`: it asks the run, asks the network, and returns both answers. It uses nothing of
what prepares the recipe's inputs.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import gatewright as gw
from gatewright.tasks.recipes import RECIPES
from gatewright.tasks.run import Run
from tests.quick_runs import QuickRun
from tests.tasks.strangers import log_mel_by_hand

Answers = tuple[Any, Any]  # of `predict`, of the network


def outputs(run: Run, steps: NDArray[Any]) -> torch.Tensor:
    """What the network gives for the steps (time, ...) of one sequence."""
    inputs = torch.from_numpy(np.asarray(steps))[:, None]
    with torch.no_grad():
        return run.model.network(inputs if inputs.dtype == torch.int64 else inputs.float())[0].double()


def probabilities(run: Run, sequences: list[NDArray[Any]]) -> NDArray[np.float64]:
    """(sequences, classes) of a classifier."""
    return np.stack([torch.softmax(outputs(run, one)[0], 0).numpy() for one in sequences])


def of_classes(answers: Any) -> NDArray[np.float64]:
    """The columns p_NAME; the class and its probability have to agree with them."""
    columns = [name for name in answers.columns if name.startswith("p_")]
    values = answers[columns].to_numpy()
    assert answers["class"].tolist() == [columns[place].removeprefix("p_") for place in values.argmax(1)]
    np.testing.assert_array_equal(answers["probability"], values.max(1))
    return values


def words_of(run: Run, text: str) -> NDArray[np.int64]:
    known = {word: number for number, word in enumerate(run.model.sizes.vocabulary or ())}
    return np.array([known.get(word, 0) for word in text.split()], np.int64)


def by_hand_adding(run: Run, _: Path) -> Answers:
    pairs = [(5, 3), (1000, 24), (77, 0)]
    sums: list[int] = []
    for pair in pairs:
        bits = np.array(
            [[number >> place & 1 for number in pair] for place in range(max(pair).bit_length() + 1)], float
        )
        given = outputs(run, bits)[:, 0, 0] > 0.5
        sums.append(sum(1 << place for place, bit in enumerate(given) if bit))
    return run.predict(pairs)["sum"].astype(int).tolist(), sums


def by_hand_digits(run: Run, _: Path) -> Answers:
    from sklearn.datasets import load_digits

    images = load_digits().images[:5]  # pixels from 0 to 16, a row a step
    return of_classes(run.predict(images)), probabilities(run, list(images / 16))


def by_hand_images(run: Run, _: Path) -> Answers:
    images = np.random.default_rng(0).integers(0, 256, (3, 6, 5)).astype(np.uint8)
    return of_classes(run.predict(images)), probabilities(run, list(images / 255))


def by_hand_longlag(run: Run, _: Path) -> Answers:
    values = np.random.default_rng(0).random((2, 9, 2))
    values[:, :, 1] = np.isin(np.arange(9), (1, 6))
    return run.predict(values)["sum"], [outputs(run, one)[0, 0].item() for one in values]


def by_hand_music(run: Run, _: Path) -> Answers:
    roll = np.random.default_rng(0).random((6, 88)) < 0.1
    odds = outputs(run, roll[:-1].astype(np.float32))[:, 0]
    keys = torch.from_numpy(roll[1:]).double()
    expected = (keys * torch.nn.functional.logsigmoid(odds) + (1 - keys) * torch.nn.functional.logsigmoid(-odds)).sum(1)
    return run.predict([roll.astype(np.uint8)])["log_likelihood"][1:], expected


def by_hand_texts(run: Run, _: Path) -> Answers:
    texts = ["text number 7", "a text", "number 1 of many"]
    return of_classes(run.predict(texts)), probabilities(run, [words_of(run, text) for text in texts])


def by_hand_sequences(run: Run, source: Path) -> Answers:
    files = sorted(source.rglob("*.csv"))
    series = [np.loadtxt(file, delimiter=",", skiprows=1, ndmin=2) for file in files]
    answers = run.predict(source)
    order = [[str(file).endswith(str(name)) for file in files].index(True) for name in answers["file"]]
    return of_classes(answers), probabilities(run, series)[order]


def by_hand_series(run: Run, source: Path) -> Answers:
    values = np.loadtxt(source, skiprows=1)
    history = torch.from_numpy(values[-run.model.recipe.settings()["history"] :])[:, None, None]
    network: Any = run.model.network
    with torch.no_grad():
        low_middle_high = network.forecast(history)[:, 0, 0].numpy()
    answers = run.predict()
    assert answers["step"].tolist() == list(range(1, len(low_middle_high) + 1))
    middle = next(name for name in ("mean", "median") if name in answers)
    return answers[["low", middle, "high"]], low_middle_high


def by_hand_tagging(run: Run, _: Path) -> Answers:
    numbers = {symbol: number for number, symbol in enumerate(run.model.sizes.vocabulary or ())}
    shapes = {"Ada": "Xxx", "saw": "xx", "Oslo": "Xxx", "1": "d", ".": "."}  # three letters alike are written as two
    steps: list[list[int]] = []
    for token, shape in shapes.items():
        low = token.lower().replace("1", "0")
        prefixes = {f"prefix{length}": low[:length] for length in (1, 2, 3)}
        suffixes = {f"suffix{length}": low[-length:] for length in (1, 2, 3, 4)}
        values = {"word": token, "lower": low, **prefixes, **suffixes, "shape": shape}
        steps.append([numbers.get(f"{name}={one}", numbers[f"{name}=<unk>"]) for name, one in values.items()])
    scores = torch.softmax(outputs(run, np.array(steps))[:, 0], 1).numpy()
    answers = run.predict([list(shapes)])
    labels = [(run.model.sizes.classes or ()).index(label) for label in answers["label"]]
    return answers["probability"], scores[np.arange(len(shapes)), labels]


def by_hand_sounds(run: Run, source: Path) -> Answers:
    import soundfile

    files = sorted(source.rglob("*.wav"))[::7]
    features = [log_mel_by_hand(soundfile.read(file)[0], run.model.signature["features"]) for file in files]
    answers = run.predict(source).set_index("file").loc[list(map(str, files))]
    return of_classes(answers), probabilities(run, features)


def by_hand_text(run: Run, _: Path) -> Answers:
    text = "the sea"
    numbers = np.array([(run.model.sizes.vocabulary or ()).index(letter) for letter in text])
    scores = torch.log_softmax(outputs(run, numbers[:-1])[:, 0], 1).numpy()
    return run.predict([text])["log_probability"][1:], scores[np.arange(len(text) - 1), numbers[1:]]


def by_hand_words(run: Run, _: Path) -> Answers:
    text = "the quick fox"
    numbers = words_of(run, text)  # its own text is one line, so that there is no "<eos>", before it or behind
    scores = torch.log_softmax(outputs(run, numbers[:-1])[:, 0], 1).numpy()
    return run.predict([text])["log_probability"][1:], scores[np.arange(len(numbers) - 1), numbers[1:]]


BY_HAND: Mapping[str, Callable[[Run, Path], Answers]] = {
    "adding": by_hand_adding,
    "digits": by_hand_digits,
    "images": by_hand_images,
    "longlag": by_hand_longlag,
    "music": by_hand_music,
    "texts": by_hand_texts,
    "sequences": by_hand_sequences,
    "sounds": by_hand_sounds,
    "series": by_hand_series,
    "speakers": by_hand_sequences,
    "tagging": by_hand_tagging,
    "text": by_hand_text,
    "words": by_hand_words,
}


@pytest.mark.parametrize("name", RECIPES)
def test_answers_are_those_of_the_network(name: str, quick_run: QuickRun) -> None:
    run = gw.tasks.open(quick_run(name)[1])
    assert name in BY_HAND, "every recipe answers, and has a row above"
    answers, expected = (np.asarray(one) for one in BY_HAND[name](run, Path(str(run.model.source))))
    assert answers.shape == expected.shape
    assert answers.size
    np.testing.assert_allclose(answers, expected, rtol=1e-5, atol=1e-6)
