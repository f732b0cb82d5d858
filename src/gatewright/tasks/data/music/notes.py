"""Frames of music as text that a person can read and write: "C4 E4 G4|C4 E4 G4|-"."""

import re

import numpy as np

from gatewright.errors import OptionError
from gatewright.tasks.data.music.midi import KEYS, LOWEST, Roll

_STEPS = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
_FLATS = {"Db": "C#", "Eb": "D#", "Gb": "F#", "Ab": "G#", "Bb": "A#"}
SILENCE = "-"
BETWEEN_FRAMES = "|"


def key_names() -> tuple[str, ...]:
    """The 88 keys of a piano from A0 to C8, in the order of a piano roll; C4 is middle C, MIDI number 60."""
    return tuple(f"{_STEPS[number % 12]}{number // 12 - 1}" for number in range(LOWEST, LOWEST + KEYS))


def notes_of_frames(roll: Roll) -> str:
    """A piano roll (frames, 88) as text: keys with a space between them, frames with |, and - for silence."""
    names = np.array(key_names())
    return BETWEEN_FRAMES.join(" ".join(names[frame > 0]) or SILENCE for frame in roll)


def frames_of_notes(text: str) -> Roll:
    """The piano roll of such a text; flats such as Bb3 are read too. Raises OptionError for an unknown key."""
    places = {name: place for place, name in enumerate(key_names())}
    frames = text.split(BETWEEN_FRAMES)
    roll = np.zeros((len(frames), KEYS), np.uint8)
    for place, frame in enumerate(frames):
        for name in frame.replace(SILENCE, " ").split():
            key = places.get(re.sub("^[A-G]b", lambda flat: _FLATS.get(flat[0], flat[0]), name))
            if key is None:
                raise OptionError(
                    f"frame {place + 1} of the notes has something that is no key of a piano",
                    expected='keys from A0 to C8, with | between frames and - for silence, as in "C4 E4 G4|C4 F4 A4|-"',
                    got=repr(name)[:40],
                )
            roll[place, key] = 1
    return roll
