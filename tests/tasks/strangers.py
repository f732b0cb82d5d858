"""Answers that are made of an ONNX file alone: with ONNX Runtime, NumPy and what the file's own metadata says.

Nothing of Gatewright is used here, so that what a stranger needs has to be in the file.
"""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

Answers = Mapping[str, Any]


class Stranger:
    """Somebody who has the file and a runtime."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

        self.session = onnxruntime.InferenceSession(path)
        said = self.session.get_modelmeta().custom_metadata_map
        self.signature = json.loads(said["gatewright.signature"])
        self.vocabulary, self.classes = (json.loads(said.get(name, "null")) for name in ("vocabulary", "classes"))

    def run(self, inputs: Any) -> Any:
        """The outputs for one sequence, (steps, ...), without the axis of the batch."""
        kind = np.int64 if self.session.get_inputs()[0].type == "tensor(int64)" else np.float32
        outputs = self.session.run(None, {"input": np.asarray(inputs, kind)[:, None]})[0]
        return outputs[:, 0] if outputs.ndim == 3 else outputs[0]

    def next_tokens(self, tokens: list[str]) -> Answers:
        """The log-probability of each token but the first."""
        known = {token: number for number, token in enumerate(self.vocabulary)}
        numbers = [known.get(token, self.signature["unknown"]) for token in tokens]
        scores = log_softmax(self.run(numbers[:-1]))
        return {"log_probability": scores[np.arange(len(numbers) - 1), numbers[1:]]}

    def image(self, pixels: Any) -> Answers:
        """The class of an image (rows, columns) and all probabilities."""
        flat = np.asarray(pixels).reshape(self.signature["rows"], self.signature["columns"])
        order = self.signature["order"]
        steps = flat if order == "rows" else flat.reshape(-1)[slice(None) if order == "pixels" else order][:, None]
        chances = np.exp(log_softmax(self.run(steps / self.signature["divided_by"])))
        return {
            "class": self.classes[chances.argmax()],
            **{f"p_{n}": p for n, p in zip(self.classes, chances, strict=True)},
        }


def log_softmax(scores: Any) -> Any:
    scores = np.asarray(scores, np.float64)
    above = scores - scores.max(-1, keepdims=True)
    return above - np.log(np.exp(above).sum(-1, keepdims=True))


def characters(stranger: Stranger) -> Answers:
    assert (stranger.signature["tokenise"], stranger.signature["cleaning"]) == ("characters", "none")
    return stranger.next_tokens(list(TEXT))


def words(stranger: Stranger) -> Answers:
    rule = stranger.signature["token_rule"]
    text = re.sub(rule["read_as_space"] or "(?!)", " ", TEXT, flags=re.IGNORECASE)
    text = text.lower() if rule["lower_case"] else text
    end = [stranger.signature["end_of_line"]] if stranger.signature["end_of_line"] else []
    tokens = [token for line in text.split("\n") for token in (*re.findall(rule["tokens"], line), *end)]
    return stranger.next_tokens([*end, *tokens])


def music(stranger: Stranger) -> Answers:
    frames = np.zeros((len(CHORDS), 88))
    for frame, chord in enumerate(CHORDS):
        frames[frame, np.array(chord, int) - stranger.signature["lowest_midi_number"]] = 1
    odds = stranger.run(frames).astype(np.float64)
    right = np.where(frames[1:] > 0, odds[:-1], -odds[:-1])
    return {"log_likelihood": -np.log1p(np.exp(-right)).sum(1)}


def adding(stranger: Stranger) -> Answers:
    first, second = PAIR
    bits = [[first >> place & 1, second >> place & 1] for place in range(sum(PAIR).bit_length() + 1)]
    found = stranger.run(bits)[:, 0] > 0.5
    return {"sum": sum(int(bit) << place for place, bit in enumerate(found))}


def marked_sum(stranger: Stranger) -> Answers:
    return {"sum": stranger.run(MARKED)[0]}


def log_mel_by_hand(samples: Any, said: Mapping[str, Any]) -> Any:
    """Features as a model's signature describes them, by the sums of a discrete Fourier transform."""
    window, fft, rate = said["window"], said["fft"], said["sample_rate"]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    bins, mels = np.arange(fft // 2 + 1), [2595 * np.log10(1 + said[name] / 700) for name in ("lowest", "highest")]
    waves = np.exp(-2j * np.pi * np.outer(np.arange(window), bins) / fft)
    edges = 700 * (10 ** (np.linspace(*mels, said["bands"] + 2) / 2595) - 1)
    weights = np.array(
        [np.interp(bins * rate / fft, edges[band : band + 3], [0, 1, 0]) for band in range(said["bands"])]
    )
    starts = range(0, len(samples) - window + 1, said["hop"])
    power = np.array([np.abs((samples[start : start + window] * hann) @ waves) ** 2 for start in starts])
    return np.log(power @ weights.T + said["floor"])


def sound(stranger: Stranger) -> Answers:
    features = log_mel_by_hand(TONE.astype(np.float64), stranger.signature["features"])
    chances = np.exp(log_softmax(stranger.run(features)))
    return {"class": stranger.classes[chances.argmax()], **dict(zip(("p_high", "p_low"), chances, strict=True))}


TEXT = "The quick dog isn't lazy!\nIt jumps<br/>over 5 foxes"
CHORDS = [[60, 64], [60, 65], [], [62], [62, 108]]
PAIR = (12, 30)
IMAGE = (np.arange(30).reshape(6, 5) * 8 + 3).astype(np.uint8)
DIGIT = np.arange(64).reshape(8, 8) % 17
MARKED = [[0.5, 0], [0.25, 1], [0.125, 0], [0.75, 1], [0.0, 0]]

TONE = (0.3 * np.sin(np.arange(1000) * 0.9)).astype(np.float32)

ASKED: Mapping[str, tuple[object, Callable[[Stranger], Answers]]] = {
    "adding": ([PAIR], adding),
    "digits": (DIGIT, lambda stranger: stranger.image(DIGIT)),
    "images": (IMAGE, lambda stranger: stranger.image(IMAGE)),
    "longlag": ([MARKED], marked_sum),
    "music": ("chords.mid", music),
    "sounds": ((TONE, 8000), sound),
    "text": ([TEXT], characters),
    "words": ([TEXT], words),
}
"""By recipe: what it is asked, and how a stranger answers it."""
