"""MIDI files: what of them becomes a piano roll, and that what is written is read back by the library that all use."""

import io
from pathlib import Path

import mido
import numpy as np
import pytest

from gatewright.errors import DataError, OptionError
from gatewright.tasks.data.music.files import load_music, load_pieces
from gatewright.tasks.data.music.midi import frames_of_notes, key_names, midi_bytes, notes_of_frames, read_midi
from tests.tasks.data.formats import put

BEAT = 96  # ticks


def midi(*tracks: list[mido.Message], kind: int = 1, ticks: int = BEAT) -> bytes:
    buffer = io.BytesIO()
    mido.MidiFile(type=kind, ticks_per_beat=ticks, tracks=[mido.MidiTrack(one) for one in tracks]).save(file=buffer)
    return buffer.getvalue()


def note(number: int, begin: int, length: int, channel: int = 0, silent: bool = False) -> list[mido.Message]:
    """Messages of a track that plays one note; `silent` ends it by a note_on of velocity 0."""
    end = mido.Message("note_on" if silent else "note_off", note=number, velocity=0, channel=channel, time=length)
    return [mido.Message("note_on", note=number, velocity=64, channel=channel, time=begin), end]


def test_notes_of_all_tracks_begin_and_end_at_the_nearest_frame(tmp_path: Path) -> None:
    content = midi(
        [mido.MetaMessage("set_tempo", tempo=300_000), *note(60, BEAT, BEAT)],
        note(64, BEAT + 11, BEAT, channel=3, silent=True),  # 11 ticks are less than half of a frame of 24
        note(67, BEAT + 13, 2),  # more than half; a frame in the least
        note(38, 0, 4 * BEAT, channel=9),  # percussion
    )
    roll, left_out = read_midi(put(tmp_path / "a.mid", content), 4)
    assert notes_of_frames(roll) == "C4 E4|C4 E4 G4|C4 E4|C4 E4"
    assert (roll.dtype, left_out) == (np.uint8, 0)
    assert notes_of_frames(read_midi(tmp_path / "a.mid", 1)[0]) == "C4 E4 G4"


def test_keys_that_are_struck_again_or_never_let_go_sound_on(tmp_path: Path) -> None:
    again = [*note(60, 0, BEAT), *note(60, 0, BEAT)]
    twice = [mido.Message("note_on", note=62, velocity=9, time=0), *note(62, BEAT, BEAT)]  # let go once
    content = midi(again, [*twice, mido.MetaMessage("end_of_track", time=BEAT)])
    assert notes_of_frames(read_midi(put(tmp_path / "a.mid", content), 1)[0]) == "C4 D4|C4 D4|D4"


def test_keys_that_no_piano_has_are_counted(tmp_path: Path) -> None:
    content = midi([*note(20, 0, BEAT), *note(21, 0, BEAT), *note(108, 0, BEAT), *note(109, 0, BEAT)])
    roll, left_out = read_midi(put(tmp_path / "a.mid", content), 1)
    assert (notes_of_frames(roll), left_out) == ("A0|C8", 2)


@pytest.mark.parametrize("frames_per_beat", [1, 3, 4, 7])
def test_what_is_written_is_read_again(tmp_path: Path, rng: np.random.Generator, frames_per_beat: int) -> None:
    roll = (rng.random((40, 88)) < 0.1).astype(np.uint8)
    roll[[0, -1], 40] = 1  # silence at the ends is not read
    path = put(tmp_path / "a.mid", midi_bytes(roll, frames_per_beat=frames_per_beat, tempo=90))
    np.testing.assert_array_equal(read_midi(path, frames_per_beat)[0], roll)
    assert mido.MidiFile(path).length == pytest.approx(40 / frames_per_beat * 60 / 90, rel=1e-6)


def test_held_notes_are_long_notes(tmp_path: Path) -> None:
    path = put(tmp_path / "a.mid", midi_bytes(frames_of_notes("C4 E4|C4 E4|C4|-|C4"), frames_per_beat=2))
    found = mido.MidiFile(path)
    told = [(one.type, one.note, one.time) for one in found.tracks[0] if one.type.startswith("note")]
    assert found.ticks_per_beat == 480
    assert told == [
        ("note_on", 60, 0),
        ("note_on", 64, 0),
        ("note_off", 64, 480),
        ("note_off", 60, 240),
        ("note_on", 60, 240),
        ("note_off", 60, 240),
    ]


def test_notes_as_text() -> None:
    assert key_names()[:4] + key_names()[-1:] == ("A0", "A#0", "B0", "C1", "C8")
    roll = frames_of_notes("Bb3 C4|-|C4")
    assert np.argwhere(roll).tolist() == [[0, 37], [0, 39], [2, 39]]
    assert notes_of_frames(roll) == "A#3 C4|-|C4"
    with pytest.raises(
        OptionError,
        match=r"^frame 2 of the notes has something that is no key of a piano\n"
        r'  expected: keys from A0 to C8, with \| between frames and - for silence, as in "C4 E4 G4\|C4 F4 A4\|-"\n'
        r"  got: 'H4'$",
    ):
        frames_of_notes("C4|H4")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "a.mid is empty"),
        (b"RIFF and more of that", "a.mid is no MIDI file, or is damaged\n  expected: a standard MIDI file"),
        (midi(note(60, 0, 9))[:-12], "a.mid is no MIDI file, or is damaged\n  expected: .*\n  got: EOFError"),
        (midi(note(60, 0, 9), kind=2), "of a kind that is not read\n  .*\n  got: type 2"),
        (midi(note(60, 0, 9), ticks=-7), "of a kind that is not read\n  .*\n  got: times in film frames"),
        (midi(note(10, 0, 9)), "has no note of a piano\n  .*\n  got: 1 notes beyond the keys"),
        (midi(note(60, 0, 9, channel=9)), "has no note of a piano\n  .*\n  got: no note outside of channel 10"),
        (midi(note(60, 0, 2**27), ticks=1), "is too long\n  expected: at most 1,000,000 frames\n  got: 536,870,912"),
    ],
)
def test_what_is_no_music_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_midi(put(tmp_path / "a.mid", content), 4)


def test_a_tempo_that_cannot_be() -> None:
    with pytest.raises(OptionError, match=r"^the tempo is out of range\n  expected: from 1 to 1,000 beats a minute"):
        midi_bytes(frames_of_notes("C4"), frames_per_beat=1, tempo=0)


def scales(folder: Path, count: int, frames: int = 20) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for place in range(count):
        roll = np.eye(frames, 88, 20 + place, dtype=np.uint8)
        put(folder / f"{place:02}.mid", midi_bytes(roll, frames_per_beat=4))


def load(source: object, held_out: float = 0.1, frames_per_beat: int | None = None) -> tuple[list[list[int]], str]:
    found = load_music(source, frames_per_beat=frames_per_beat, held_out=held_out, seed=1)
    return [part.lengths.tolist() for part in found.parts], "\n".join(found.remarks)


def test_a_folder_of_many_pieces_is_divided_by_pieces(tmp_path: Path) -> None:
    scales(tmp_path / "all" / "deeper", 12)
    lengths, told = load(str(tmp_path / "all"), held_out=0.2)
    assert lengths == [[20] * 8, [20] * 2, [20] * 2]
    assert told == (
        f"{tmp_path}/all: pieces in train 8, validation 2, test 2 (2 each for validation and test, by the seed); "
        "4 frames a quarter note"
    )
    assert load(tmp_path / "all", frames_per_beat=8)[0][0] == [40] * 10


def test_of_few_pieces_each_gives_its_end(tmp_path: Path) -> None:
    scales(tmp_path, 2, frames=30)
    wanted = [[24, 24], [3, 3], [3, 3]]
    lengths, told = load(tmp_path)
    assert lengths == wanted
    assert "of each piece the last 10% are the test, and as much before it the validation" in told
    assert load(tmp_path / "01.mid")[0] == [part[:1] for part in wanted]
    parts = load_music(tmp_path / "00.mid", frames_per_beat=None, held_out=0.1, seed=0).parts
    np.testing.assert_array_equal(np.concatenate([part[0] for part in parts]), np.eye(30, 88, 20))


def test_folders_name_parts(tmp_path: Path) -> None:
    for place, name in enumerate(("train", "Valid", "test")):
        scales(tmp_path / name, 3 - place)
    assert load(tmp_path)[0] == [[20] * 3, [20] * 2, [20]]
    (tmp_path / "test" / "00.mid").unlink()
    with pytest.raises(DataError, match=r"has no MIDI files for the test part\n.*\n  got: test, train, valid$"):
        load(tmp_path)


def test_arrays_in_memory(tmp_path: Path) -> None:
    roll = np.eye(30, 88)
    assert load(roll)[0] == [[24], [3], [3]]
    assert load([roll, roll[:20]])[0] == [[24, 16], [3, 2], [3, 2]]
    assert load_pieces([roll, roll[:20]], frames_per_beat=None).names == ("1", "2")
    with pytest.raises(DataError, match=r"^piece 2 is no piano roll\n  expected: frames x 88 keys\n  got: 3 x 3$"):
        load([roll, np.eye(3)])
    with pytest.raises(DataError, match=r"^there is no piece of music\n"):
        load([])
    with pytest.raises(DataError, match=r"'.*nothing\.mid' is neither a data set nor a file"):
        load(tmp_path / "nothing.mid")


def test_pieces_that_are_too_short(tmp_path: Path) -> None:
    scales(tmp_path, 1, frames=5)
    message = r"00\.mid: piece 1 is too short to hold out its end\n  expected: 6 frames at least, or 10 pieces\n"
    with pytest.raises(DataError, match=message):
        load(tmp_path / "00.mid")
    scales(tmp_path, 11, frames=1)
    with pytest.raises(DataError, match=r": piece 00\.mid is too short to learn from\n  expected: 2 frames at least"):
        load(tmp_path)
