"""Music generation with a model of piano rolls."""

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gatewright.errors import OptionError
from gatewright.files import write_atomically, writing
from gatewright.tasks.answers.predictor import run_network
from gatewright.tasks.data.music.midi import KEYS, SUFFIXES, frames_of_notes, midi_bytes, read_midi
from gatewright.tasks.recipes.music import Music
from gatewright.tasks.trained_model import TrainedModel

Roll = NDArray[np.uint8]

_FRAMES_PER_BEAT = 2  # of a model file that does not say it


class MusicGenerator:
    """Writes on from the frames of a piece: each key of the next frame is drawn by itself, as the model has its odds.

    Frames are rows of 88 keys, 0 or 1, from A0 to C8.
    """

    def __init__(self, model: TrainedModel) -> None:
        if not isinstance(model.recipe, Music):
            raise OptionError(
                f"a model of the recipe {model.recipe.name!r} generates no music",
                expected="a model of the recipe 'music'",
            )
        self._network, self._prompts = model.network, model.prompts
        self.frames_per_beat = int(model.signature.get("frames_per_beat", _FRAMES_PER_BEAT))

    def prompt(self, source: str | os.PathLike[str] | None = None) -> Roll:
        """The frames (frames, 88) to begin with: of a MIDI file, or of notes such as "C4 E4 G4|C4 F4 A4".

        Without either it is the beginning of a piece that the model was trained on, which its file keeps.
        """
        if source is None:
            return frames_of_notes(self._prompts[0]) if self._prompts else np.zeros((1, KEYS), np.uint8)
        if os.fspath(source).lower().endswith(SUFFIXES):
            return read_midi(Path(source).expanduser(), self.frames_per_beat)[0]
        return frames_of_notes(os.fspath(source))

    def generate(
        self,
        prompt: str | os.PathLike[str] | None,
        *,
        length: int,
        out: str | os.PathLike[str] | None = None,
        tempo: float = 120.0,
        **options: Any,
    ) -> Roll:
        """The frames after a prompt as `prompt` reads it; with `out` both are written as a MIDI file."""
        unknown = next((name for name in options if name not in ("temperature", "seed")), None)
        if unknown is not None:
            raise OptionError(
                f"music has no option {unknown!r}", expected="temperature, seed, out, tempo", do="leave it out"
            )
        begin = self.prompt(prompt)
        written = self.compose(begin, length=length, **options)
        if out is not None:
            self.save(Path(out), np.concatenate([begin, written]), tempo=tempo)
        return written

    def compose(self, prompt: Roll, *, length: int, temperature: float = 1.0, seed: int = 0) -> Roll:
        """So many frames (length, 88) that follow the prompt (frames, 88).

        The log-odds of each key are divided by the temperature: below 1 the music keeps to what is probable, and 0
        takes every key that is more probable than not. The same seed gives the same music.
        """
        if not 0 <= temperature < math.inf or length < 0 or prompt.ndim != 2 or not len(prompt):
            raise OptionError(
                "this cannot be composed",
                expected="a temperature of 0 or more, a length of 0 or more, and a prompt of one frame at least",
                got=f"temperature {temperature}, length {length}, prompt {prompt.shape}",
            )
        random = torch.Generator().manual_seed(seed)
        written, state, frames = np.zeros((length, KEYS), np.uint8), None, torch.from_numpy(prompt[:, None]).float()
        for place in range(length):
            outputs, state = run_network(self._network, frames, state)
            odds = outputs[-1, 0]
            if temperature:
                sounds = torch.rand(KEYS, generator=random, dtype=torch.float64) < torch.sigmoid(odds / temperature)
            else:
                sounds = odds > 0
            written[place] = sounds.numpy()
            frames = sounds.float()[None, None]
        return written

    def save(self, path: Path, roll: Roll, *, tempo: float = 120.0) -> None:
        """Write frames (frames, 88) as a MIDI file that plays them at `tempo` quarter notes a minute.

        Raises OptionError where the file has another suffix, and WriteError where it cannot be written.
        """
        if path.suffix.lower() not in SUFFIXES:
            raise OptionError(
                f"music is not written as a {path.suffix or 'nameless'} file",
                expected=" or ".join(SUFFIXES),
                got=str(path),
                do=f"name the file {path.with_suffix(SUFFIXES[0]) if path.name else 'tune.mid'}",
            )
        content = midi_bytes(roll, frames_per_beat=self.frames_per_beat, tempo=tempo)
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
