"""MIDI files as piano rolls, and piano rolls as MIDI files that play, or as text: "C4 E4 G4|C4 E4 G4|-".

How a MIDI file becomes a piano roll:

- Time counts in beats, which are quarter notes, so that the tempo does not matter.
- A note begins and ends at the nearest border between two frames, and has one frame at least.
- Notes of all tracks and channels count, but for channel 10, which is percussion.
- Keys below A0 or above C8, the sustain pedal, velocities and instruments are left out, and so is the silence before
  the first note and after the last.
- A key that is struck again while it sounds, or right at its end, sounds on.
"""

import io
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError, OptionError
from gatewright.tasks.data.reading import opened

LOWEST = 21  # the MIDI number of A0, the piano's lowest key
KEYS = 88
PERCUSSION = 9  # channel 10, counted from 0
SUFFIXES = (".mid", ".midi")
_MOST_FRAMES = 1_000_000
_TICKS = 480  # of a quarter note, in files that are written
_VELOCITY = 80

Roll = NDArray[np.uint8]
_STEPS = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
_FLATS = {"Db": "C#", "Eb": "D#", "Gb": "F#", "Ab": "G#", "Bb": "A#"}
SILENCE = "-"
BETWEEN_FRAMES = "|"


class _Note(NamedTuple):
    """When a key sounds, in ticks."""

    key: int
    start: int
    end: int


def read_midi(path: Path, frames_per_beat: int) -> tuple[Roll, int]:
    """The piano roll of a MIDI file, (frames, 88), and how many of its notes no piano has.

    Raises DataError for a file that is damaged, or has no note of a piano.
    """
    parsed = _parsed(path)
    ticks: int = parsed.ticks_per_beat
    if ticks <= 0 or parsed.type == 2:
        got = "times in film frames" if ticks <= 0 else "type 2, tracks that are pieces of their own"
        raise DataError(
            f"{path} is a MIDI file of a kind that is not read",
            expected="type 0 or 1, with times in beats",
            got=got,
            do="save it as type 1 with a music program",
        )
    notes = list(_notes(parsed))
    inside = [note for note in notes if 0 <= note.key < KEYS]
    if not inside:
        got = f"{len(notes)} notes beyond the keys of a piano" if notes else "no note outside of channel 10"
        raise DataError(
            f"{path} has no note of a piano", expected="notes from A0 to C8, MIDI numbers 21 to 108", got=got
        )
    spans = [(note.key, *_span(note, frames_per_beat, ticks)) for note in inside]
    begin = min(start for _, start, _ in spans)
    frames = max(end for _, _, end in spans) - begin
    if frames > _MOST_FRAMES:
        raise DataError(f"{path} is too long", expected=f"at most {_MOST_FRAMES:,} frames", got=f"{frames:,}")
    roll = np.zeros((frames, KEYS), np.uint8)
    for key, start, end in spans:
        roll[start - begin : end - begin, key] = 1
    return roll, len(notes) - len(inside)


def midi_bytes(roll: Roll, *, frames_per_beat: int, tempo: float = 120.0) -> bytes:
    """A MIDI file of type 1 that plays a piano roll, (frames, 88): a piano at `tempo` beats a minute.

    A key that sounds in frames one after the other is one long note.
    """
    import mido

    if not 1 <= tempo <= 1000:
        raise OptionError("the tempo is out of range", expected="from 1 to 1,000 beats a minute", got=f"{tempo:g}")
    of_frame = max(1, _TICKS // frames_per_beat)
    track = mido.MidiTrack()
    track.append(mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(tempo)))
    track.append(mido.Message("program_change", program=0))
    time = 0
    silence = np.zeros((1, roll.shape[1]), np.int8)
    changes = np.diff(np.concatenate([silence, roll.astype(np.int8), silence]), axis=0)
    frames, keys = np.nonzero(changes)
    steps = changes[frames, keys]
    for place in np.lexsort((keys, steps, frames)).tolist():  # within a frame, keys that end come first
        kind, now = "note_on" if steps[place] > 0 else "note_off", int(frames[place]) * of_frame
        velocity = _VELOCITY if steps[place] > 0 else 0
        track.append(mido.Message(kind, note=int(keys[place]) + LOWEST, velocity=velocity, time=now - time))
        time = now
    track.append(mido.MetaMessage("end_of_track", time=len(roll) * of_frame - time))
    buffer = io.BytesIO()
    mido.MidiFile(type=1, ticks_per_beat=of_frame * frames_per_beat, tracks=[track]).save(file=buffer)
    return buffer.getvalue()


def _parsed(path: Path) -> Any:
    import mido

    with opened(path) as source:
        content = source.read()
    try:
        return mido.MidiFile(file=io.BytesIO(content), clip=True)
    except (EOFError, LookupError, OSError, TypeError, ValueError) as error:
        raise DataError(
            f"{path} is no MIDI file, or is damaged",
            expected="a standard MIDI file (.mid)",
            got=f"{type(error).__name__}: {error}"[:200],
            do="get the file again, or save it as a standard MIDI file with a music program",
        ) from error


def _notes(parsed: Any) -> Iterator[_Note]:
    """Every note of every track but percussion; one that is not let go ends with its track."""
    for track in parsed.tracks:
        time, sounding = 0, defaultdict[tuple[int, int], list[int]](list)
        for message in track:
            time += message.time
            if message.type not in ("note_on", "note_off") or message.channel == PERCUSSION:
                continue
            starts = sounding[message.channel, message.note]
            if message.type == "note_on" and message.velocity:
                starts.append(time)
            elif starts:
                yield _Note(message.note - LOWEST, starts.pop(0), time)
        for (_, number), starts in sounding.items():
            yield from (_Note(number - LOWEST, start, time) for start in starts)


def _span(note: _Note, frames_per_beat: int, ticks: int) -> tuple[int, int]:
    """The first frame of a note, and the one after its last. Halves are rounded up."""
    start, end = ((2 * time * frames_per_beat + ticks) // (2 * ticks) for time in (note.start, note.end))
    return start, max(end, start + 1)


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
