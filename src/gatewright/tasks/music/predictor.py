"""The log-likelihood of each frame of a piece under a model of piano rolls, and the keys expected next."""

from collections.abc import Iterator, Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from gatewright.tasks.answers.network_inputs import NetworkInputs
from gatewright.tasks.answers.predictor import Predictor, measured_part, run_network
from gatewright.tasks.data.batches.buckets import RaggedBatches
from gatewright.tasks.data.music.files import load_pieces
from gatewright.tasks.data.music.midi import BETWEEN_FRAMES, frames_of_notes, key_names, notes_of_frames
from gatewright.tasks.data.ragged import Ragged

FRAMES = 4096  # read at once


class MusicPredictor(Predictor):
    """The log-likelihood of each frame of a piece given the frames before it, and the keys that are expected next.

    A row for each frame: `piece`, `frame` (from 1), `keys`, `log_likelihood`, `next`. A source is a MIDI file, a folder
    of them, a MATLAB file, or arrays (frames, 88) of 0 and 1; MIDI files are cut into as many frames a quarter note as
    the model was trained on. `log_likelihood` is the natural logarithm of the probability of the frame's 88 keys
    together, NaN for the first frame; `next` are the keys that are more probable than not in the frame after this one.
    The DataFrame's `attrs` hold the `frames` that were predicted, their mean loss `loss`, and `log_likelihood`, by
    piece where there are several.
    """

    def table(self, source: object, **options: Any) -> dict[str, Any]:
        """The columns."""
        music = load_pieces(source, frames_per_beat=self.model.signature.get("frames_per_beat"))
        rolls = [music.pieces[place] for place in range(len(music.pieces))]
        scores, expected = zip(*map(self.listen, rolls), strict=True)
        by_piece = {name: float(np.nansum(values)) for name, values in zip(music.names, scores, strict=True)}
        frames, total = sum(len(roll) - 1 for roll in rolls), sum(by_piece.values())
        self.totals = {
            "frames": frames,
            "loss": -total / frames if frames else None,
            "log_likelihood": total if len(by_piece) == 1 else by_piece,
        }
        return {
            "piece": [name for name, roll in zip(music.names, rolls, strict=True) for _ in roll],
            "frame": [place for roll in rolls for place in range(1, len(roll) + 1)],
            "keys": [keys for roll in rolls for keys in notes_of_frames(roll).split(BETWEEN_FRAMES)],
            "log_likelihood": np.concatenate(scores),
            "next": [keys for roll in expected for keys in notes_of_frames(roll).split(BETWEEN_FRAMES)],
        }

    def predict_line(self, line: str, **options: Any) -> Mapping[str, Any]:
        """The frames, their log-likelihood and what comes next, of notes such as "C4 E4 G4|C4 F4 A4"."""
        scores, expected = self.listen(frames_of_notes(line))
        total = float(np.nansum(scores))
        return {"frames": len(scores) - 1, "log_likelihood": total, "next": notes_of_frames(expected[-1:])}

    def network_inputs(self, source: object) -> Iterator[NetworkInputs]:
        """Each piece in a batch of its own; a step is named by its keys."""
        music = load_pieces(source, frames_per_beat=self.model.signature.get("frames_per_beat"))
        for place, name in enumerate(music.names):
            yield _inputs_of(name, music.pieces[place])

    def own_inputs(self) -> Iterator[NetworkInputs]:
        """The pieces that the network was measured on."""
        part, batches = measured_part(self.model, self.no_data("look at"))
        assert isinstance(batches, RaggedBatches), "measured_pieces makes these"
        pieces, followers = batches.inputs, cast("Ragged", batches.targets)
        for place in range(len(pieces)):
            # The last frame of a piece is no input, since nothing follows it.
            yield _inputs_of(f"{part} {place + 1}", np.concatenate([pieces[place], followers[place][-1:]]))

    def listen(self, roll: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
        """The log-likelihood of each frame (frames,) of a roll (frames, 88), and the keys expected after it."""
        import torch
        from torch.nn.functional import binary_cross_entropy_with_logits

        frames, state = torch.from_numpy(roll[:, None]).float(), None
        scores, expected = np.full(len(roll), np.nan), np.zeros_like(roll)
        for start in range(0, len(roll), FRAMES):
            outputs, state = run_network(self.model.network, frames[start : start + FRAMES], state)
            odds, targets = outputs[:, 0], frames[start + 1 : start + 1 + len(outputs), 0].double()
            losses = binary_cross_entropy_with_logits(odds[: len(targets)], targets, reduction="none").sum(1)
            scores[start + 1 : start + 1 + len(targets)] = -losses.numpy()
            expected[start : start + len(odds)] = (odds > 0).numpy()
        return scores, expected


def _inputs_of(name: str, roll: NDArray[Any]) -> NetworkInputs:
    """A piece (frames, 88) as a batch of one row."""
    keys = key_names()
    return NetworkInputs(
        roll[:, None].astype(np.float32),
        np.array([len(roll)], np.int64),
        [name],
        [notes_of_frames(roll).split(BETWEEN_FRAMES)],
        keys,
        keys,
        output_kind="keys",
    )
