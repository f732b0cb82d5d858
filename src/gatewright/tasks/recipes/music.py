"""Music as piano rolls: which keys sound in the next frame."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gatewright.tasks.data.batches.buckets import RaggedBatches
from gatewright.tasks.data.batches.sequential import RaggedStreams
from gatewright.tasks.data.music.files import check_lengths, has_parts, load_music, load_pieces
from gatewright.tasks.data.music.midi import KEYS, key_names, notes_of_frames
from gatewright.tasks.data.published.sources import source_name
from gatewright.tasks.data.ragged import Ragged
from gatewright.tasks.music.predictor import MusicPredictor
from gatewright.tasks.objectives import Keys
from gatewright.tasks.recipe import Expected, Recipe
from gatewright.tasks.run_data import Batches, Data, Sizes
from gatewright.tasks.settings import setting
from gatewright.tasks.signatures import MusicSignature
from gatewright.tasks.trained_model import TrainedModel

_MEASURED_FRAMES = 1 << 16  # in a batch of a part that is measured
_PROMPT_FRAMES = 16

Frames = NDArray[np.float64]
_CHUNG = "optimiser=rmsprop rate=0.001 schedule=constant dropout=0 clip=1 batch=1 epochs=100"


@dataclass(frozen=True)
class Music(Recipe):
    """Each frame of a piece, except the first, is predicted from the frames before it.

    The loss is the negative log likelihood of a frame, in nats: summed over its 88 keys, and averaged over all
    predicted frames of all pieces together, as Bai et al. (2018) do. The presets are the sizes, of 21,000 to
    28,000 parameters here, and the optimiser of Chung et al. (2014), without their weight noise.
    JSB is small, so dropout is high, on the states and on the inputs of the recurrent matrices. The preset
    "nottingham" has less dropout, as its data set has 13 times the frames. Pieces longer than `steps` are learned by
    truncated back-propagation: in chunks, with the state carried on.
    """

    name = "music"
    about = "predict the next notes of chorales, folk tunes or MIDI files, and write more of them"
    objective_class = Keys
    predictor_class = MusicPredictor
    signature_type = MusicSignature
    source_setting = "music"
    data_forms = (
        "a MIDI file, a folder of MIDI files (with folders train, valid and test, or without), a MATLAB file with the "
        "cells traindata, validdata and testdata, or jsb, nottingham, musedata or piano-midi; in Python also arrays "
        "(frames, 88) of 0 and 1"
    )
    data_example = "tunes/first.mid\ntunes/second.mid\ntunes/third.mid"
    expected = {
        "": Expected("test", "loss", at_most=8.43, seconds=90),
        "nottingham": Expected("test", "loss", at_most=3.46, seconds=550),
    }
    presets = {
        "nottingham": "music=nottingham hidden=200 dropout=0.2 epochs=40 cell=recurrent_dropout(0.1)(gru)",
        "chung-lstm": f"cell=lstm hidden=36 {_CHUNG}",
        "chung-gru": f"cell=gru hidden=46 {_CHUNG}",
        "chung-tanh": f"cell=elman hidden=100 {_CHUNG}",
    }
    quick = "hidden=32 epochs=2"
    search = "rate=log:1e-3..2e-2 hidden=50,100,150,250 dropout=0..0.7 batch=2,4,8,16"
    next_command = "gatewright generate {model} --out tune.mid"

    cell: str = "recurrent_dropout(0.25)(gru)"
    hidden: int = 150
    epochs: int = 50
    rate: float = 5e-3
    schedule: Literal["constant", "cosine", "one-cycle"] = "one-cycle"
    batch: int = 4
    dropout: float = 0.4
    clip: float = 1.0
    patience: int = 20
    steps: int = setting(
        200, "frames that gradients go back through; longer pieces are read in chunks, with the state carried", least=1
    )
    music: str = setting("jsb", "the piano rolls, by name or path, where --data names none")
    frames_per_beat: int | None = setting(
        None, "frames in a quarter note; auto: 4 of MIDI files, else as the data set has it", least=1, below=97
    )
    held_out: float = setting(
        0.1, "share of MIDI files without parts for validation, and again for the test", least=0.01, below=0.5
    )

    def data(self, source: object) -> Data:
        """The parts that the source has or is divided into."""
        source = self.music if source is None else source
        loaded = load_music(source, frames_per_beat=self.frames_per_beat, held_out=self.held_out, seed=self.seed)
        music = loaded.parts
        contents = b"".join(part.lengths.tobytes() + part.compact().values.tobytes() for part in music)
        first_pieces = [music.train[place] for place in range(min(2, len(music.train)))]
        inputs, targets = music.train.without_last(), music.train.without_first()
        train: Batches = RaggedStreams(inputs, targets, self.batch, self.steps, seed=self.seed)
        if inputs.lengths.max() <= self.steps:  # whole pieces, of about equal length in a batch
            train = RaggedBatches(inputs, targets, self.batch, seed=self.seed, pool=4)
        measured = {"validation": measured_pieces(music.validation), "test": measured_pieces(music.test)}
        return Data(
            {"train": train, **measured},
            Sizes(KEYS, KEYS, variables=key_names()),
            origin={"music": source_name(source), "sha256": hashlib.sha256(contents).hexdigest()},
            prompts=tuple(dict.fromkeys(notes_of_frames(piece[:_PROMPT_FRAMES]) for piece in first_pieces)),
            remarks=loaded.remarks,
            signature={
                "input": "a frame of a piano roll: 1 for each key that sounds, else 0",
                "output": "the log-odds of each key in the next frame",
                "lowest_midi_number": 21,
                "frames_per_beat": loaded.frames_per_beat,
            },
        )

    def evaluation(self, source: object, model: TrainedModel) -> Data:
        """The parts that were held out; of another source the parts that it has, or else all of it."""
        if source is None:
            return self.data(model.source)
        frames = model.signature.get("frames_per_beat", self.frames_per_beat)
        if has_parts(source):
            return replace(self, frames_per_beat=frames).data(source)
        music = load_pieces(source, frames_per_beat=frames)
        check_lengths(source, music)
        return Data({"music": measured_pieces(music.pieces)}, model.sizes, measured=("music",))

    def baselines(self, data: Data) -> Mapping[str, Mapping[str, float]]:
        """The losses of two baselines: the frequency of each key; and that frequency given the key's previous value.

        Both treat each key alone. The second is a logistic regression on the key's previous value. Its solution is two
        frequencies: after silence, and after sound.
        """
        counts = np.zeros((2, 2, KEYS))  # by the value of a key before, and its value now
        for inputs, targets in _frames(data.parts["train"]):
            counts += [[((inputs == a) & (targets == b)).sum(0) for b in (0, 1)] for a in (0, 1)]
        counts += 0.5  # so that nothing is impossible
        alone, after = np.log(counts.sum(0) / counts.sum((0, 1))), np.log(counts / counts.sum(1, keepdims=True))
        reached: dict[str, dict[str, float]] = {}
        for part in data.measured:
            sums = np.zeros(3)
            for inputs, targets in _frames(data.parts[part]):
                now, before = targets.astype(np.int64), inputs.astype(np.int64)
                keys = np.arange(KEYS)
                sums += [-alone[now, keys].sum(), -after[before, now, keys].sum(), len(targets)]
            reached[part] = {
                "loss of key frequencies": float(sums[0] / sums[2]),
                "loss of logistic regression on the last frame": float(sums[1] / sums[2]),
            }
        return reached


def measured_pieces(pieces: Ragged) -> RaggedBatches:
    """Whole pieces, so few at a time that their frames stay few."""
    rows = max(1, min(50, _MEASURED_FRAMES // max(1, int(pieces.lengths.max()))))
    return RaggedBatches(pieces.without_last(), pieces.without_first(), rows)


def _frames(batches: Batches) -> Iterator[tuple[Frames, Frames]]:
    """What is read and what is to be predicted, (frames, 88) each, batch by batch."""
    for position in range(len(batches)):
        batch: Any = batches.batch(0, position)
        present = np.arange(len(batch.inputs))[:, None] < batch.lengths
        yield batch.inputs[present], batch.targets[present]
