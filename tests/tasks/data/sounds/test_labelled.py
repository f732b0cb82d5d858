"""Sounds out of files, folders, tables, arrays and streams."""

import io
import os
import re
import wave
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from gatewright.errors import DataError, GatewrightError
from gatewright.tasks.columns import SoundColumns
from gatewright.tasks.data.sounds.files import SampleStream, Sound, at_rate, mono, read_sound, sound_rate
from gatewright.tasks.data.sounds.labelled import features_of, sounds_in_parts
from gatewright.tasks.data.sounds.log_mel import LogMel
from gatewright.tasks.data.sounds.sources import SoundSource, sound_source

PLAIN = SoundColumns()


def tone(rate: int = 8000, seconds: float = 0.1, hertz: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)


def written(path: Path, samples: np.ndarray | None = None, rate: int = 8000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tone(rate) if samples is None else samples, rate)
    return path


def labels_of(source: SoundSource, part: str) -> list[str]:
    assert source.parts is not None
    places = [place for place, one in enumerate(source.parts) if one == part]
    chosen = source.select(places)
    return [f"{label}/{Path(key).name}" for label, key in zip(chosen.labels or (), chosen.keys, strict=True)]


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_channels_become_their_mean(suffix: str, tmp_path: Path) -> None:
    left = tone()
    sound = read_sound(written(tmp_path / f"a{suffix}", np.stack([left, -0.5 * left], 1)))
    assert sound.rate == 8000
    assert sound.samples.dtype == np.float32
    np.testing.assert_allclose(sound.samples, 0.25 * left, atol=1e-4)


def test_another_rate_is_the_same_tone() -> None:
    for rate in (44_100, 48_000, 11_025):
        resampled = at_rate(Sound(tone(rate, 0.5).astype(np.float32), rate), 8000)
        assert len(resampled) == 4000
        np.testing.assert_allclose(resampled[200:-200], tone(8000, 0.5)[200:-200], atol=2e-3)


def test_frequencies_that_the_rate_cannot_hold_are_gone() -> None:
    high = at_rate(Sound(tone(16_000, 0.5, 6000).astype(np.float32), 16_000), 8000)
    assert np.abs(high[200:-200]).max() < 0.01


def test_numbers_in_memory() -> None:
    np.testing.assert_array_equal(mono(np.array([-32768, 16384], np.int16), "a"), np.array([-1, 0.5], np.float32))
    for wrong, problem in (
        (np.zeros((2, 2, 2)), "a is no sound"),
        (np.zeros(0), "a: the sound is empty"),
        (np.array([0.0, np.nan]), "a: sample 1 is no finite number"),
    ):
        with pytest.raises(DataError, match=problem):
            mono(wrong, "a")


def test_damaged_files_are_named(tmp_path: Path) -> None:
    whole = written(tmp_path / "whole.wav").read_bytes()
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.wav").write_text("no sound")
    (tmp_path / "cut.wav").write_bytes(whole[:-100])
    written(tmp_path / "silent.wav", np.zeros(0))
    for name, problem, got in (
        ("empty", "cannot be read as sound", "an empty file"),
        ("text", "cannot be read as sound", "Format not recognised."),
        ("cut", "the file ends early", "0.094 seconds"),
        ("silent", "the sound is empty", None),
    ):
        with pytest.raises(DataError) as raised:
            read_sound(tmp_path / f"{name}.wav")
        assert problem in raised.value.problem
        assert str(tmp_path / f"{name}.wav") in raised.value.problem
        assert raised.value.got == got


def test_heads_and_samples_of_damaged_files_are_not_believed(tmp_path: Path) -> None:
    head = written(tmp_path / "whole.wav").read_bytes()
    (tmp_path / "rate.wav").write_bytes(head[:24] + (0x7FFFFFFF).to_bytes(4, "little") + head[28:])
    soundfile.write(tmp_path / "loud.wav", tone() * 1e30, 8000, subtype="FLOAT")
    os.mkfifo(tmp_path / "pipe.wav")
    for name, message in (
        ("rate", "the sample rate is absurd\n  expected: 1 to 2,000,000 samples a second\n  got: 2,147,483,647"),
        ("loud", "sample 50 is absurdly large\n  expected: numbers from -1 to 1\n  got: "),
    ):
        path = tmp_path / f"{name}.wav"
        with pytest.raises(DataError, match=f"{re.escape(str(path))}: {message}"):
            read_sound(path)
    for reader in (read_sound, sound_rate, lambda path: sound_source(path, SoundColumns(), labelled=False)):
        with pytest.raises(DataError, match="pipe.wav is no file\n  expected: a plain file\n  got: a device or pipe"):
            reader(tmp_path / "pipe.wav")


def test_a_sound_of_more_than_ten_minutes_is_sent_to_the_stream(tmp_path: Path) -> None:
    path = written(tmp_path / "long.wav", np.zeros(601 * 100), 100)
    with pytest.raises(DataError, match="the sound is too long to be one example") as raised:
        read_sound(path)
    assert raised.value.got == "601 seconds"


def test_lists_of_files_name_the_parts(tmp_path: Path) -> None:
    for name in ("yes/a", "yes/b", "yes/c", "no/a", "no/b", "no/c", "_background_noise_/x"):
        written(tmp_path / f"{name}.wav")
    (tmp_path / "validation_list.txt").write_text("yes/b.wav\nno/b.wav\n")
    (tmp_path / "testing_list.txt").write_text("yes/c.wav\nno/c.wav\n")
    source = sound_source(tmp_path, PLAIN)
    assert labels_of(source, "train") == ["no/a.wav", "yes/a.wav"]
    assert labels_of(source, "validation") == ["no/b.wav", "yes/b.wav"]
    assert labels_of(source, "test") == ["no/c.wav", "yes/c.wav"]
    assert source.remarks == ("left out: _background_noise_",)
    (tmp_path / "testing_list.txt").write_text("yes/c.wav\nno/d.wav\n")
    with pytest.raises(DataError, match=r"testing_list.txt, line 2: there is no such file"):
        sound_source(tmp_path, PLAIN)


def test_folders_name_the_parts(tmp_path: Path) -> None:
    for name in ("train/yes/a", "train/no/b", "test/yes/c", "valid/no/d"):
        written(tmp_path / f"{name}.wav")
    source = sound_source(tmp_path, PLAIN)
    assert labels_of(source, "train") == ["no/b.wav", "yes/a.wav"]
    assert labels_of(source, "validation") == ["no/d.wav"]
    assert labels_of(source, "test") == ["yes/c.wav"]


def table(folder: Path, header: str, *rows: str) -> Path:
    path = folder / "sounds.csv"
    path.write_text("\n".join((header, *rows)) + "\n")
    return path


def test_a_table_names_files_labels_parts_and_speakers(tmp_path: Path) -> None:
    for name in "abcd":
        written(tmp_path / f"wav/{name}.wav")
    rows = ("wav/a.wav,yes,ann,train", "wav/b.wav,no,ann,train", "wav/c.wav,yes,bob,test", "wav/d.wav,no,cem,test")
    path = table(tmp_path, "filename,class,speaker,split", *rows)
    source = sound_source(path, SoundColumns(id="speaker"))
    assert source.remarks == ("file: filename, id: speaker, label: class, part: split",)
    assert source.groups == ("ann", "ann", "bob", "cem")
    assert labels_of(source, "test") == ["yes/c.wav", "no/d.wav"]
    assert sound_source(tmp_path, SoundColumns(id="speaker")).labels == source.labels  # the only table of a folder
    frame = pd.DataFrame({"file": [str(tmp_path / "wav/a.wav")] * 2, "label": ["x", "y"]})
    assert sound_source(frame, PLAIN).labels == ("x", "y")


def test_a_table_that_is_not_clear_is_asked_about(tmp_path: Path) -> None:
    written(tmp_path / "a.wav")
    path = table(tmp_path, "file,animal,place", "a.wav,cat,here")
    with pytest.raises(DataError, match="sounds.csv does not show which column is the label") as raised:
        sound_source(path, PLAIN)
    assert raised.value.shell == "name the columns: add --set file=file label=animal"
    path = table(tmp_path, "file,label", "a.wav,cat", "b.wav,dog")
    with pytest.raises(DataError, match=r"sounds.csv, line 3, 'file': there is no such file"):
        sound_source(path, PLAIN)
    path = table(tmp_path, "file,label", "a.wav,cat", "a.wav,")
    with pytest.raises(DataError, match=r"sounds.csv, line 3, 'label': the label is missing"):
        sound_source(path, PLAIN)


def test_a_folder_without_labels_says_what_is_needed(tmp_path: Path) -> None:
    written(tmp_path / "a.wav")
    with pytest.raises(DataError, match="holds no labelled sounds") as raised:
        sound_source(tmp_path, PLAIN)
    assert raised.value.got == "1 sound files without a folder of a class, 0 tables"
    assert sound_source(tmp_path, PLAIN, labelled=False).keys == (str(tmp_path / "a.wav"),)


def in_memory(groups: tuple[str, ...] | None = None) -> SoundSource:
    sounds = [tone().astype(np.float32) * (place + 1) / 60 for place in range(60)]
    source = sound_source(((sounds, 8000), ["no", "yes"] * 30), PLAIN)
    return SoundSource(source.name, source.sounds, source.key, source.keys, source.labels, groups)


def test_a_share_of_each_class_is_held_out() -> None:
    parts = sounds_in_parts(in_memory(), validation=0.1, test=0.2, seed=0)
    assert [len(part) for part in parts] == [43, 5, 12]
    assert sorted(key for part in parts for key in part.keys) == list(range(60))
    assert sorted(parts.test.labels or ()) == ["no"] * 6 + ["yes"] * 6
    again = sounds_in_parts(in_memory(), validation=0.1, test=0.2, seed=0)
    assert again.test.keys == parts.test.keys


def test_speakers_are_held_out_whole() -> None:
    groups = tuple(f"speaker {place // 10}" for place in range(60))
    parts = sounds_in_parts(in_memory(groups), validation=0.1, test=0.1, seed=0)
    names = [set(part.groups or ()) for part in parts]
    assert [len(one) for one in names] == [4, 1, 1]
    assert len(set.union(*names)) == 6
    with pytest.raises(DataError, match="too few groups"):
        sounds_in_parts(in_memory(("one",) * 60), validation=0.1, test=0.1, seed=0)


def test_features_of_many_are_in_order_and_long_ones_are_cut() -> None:
    log_mel = LogMel(8000, 200, 80, 10, 60.0, 4000.0)
    source = in_memory()
    features, seconds, cut = features_of(source, log_mel, longest=0.05)
    assert cut == 60
    assert set(seconds.tolist()) == {0.1}
    for place in (0, 59):
        np.testing.assert_array_equal(features[place], log_mel(source.sound(place).samples[:400]))


def test_a_stream_is_pcm_or_a_wav_file() -> None:
    numbers = (tone() * 32767).astype("<i2")
    raw = SampleStream(io.BytesIO(numbers.tobytes()), 8000)
    assert raw.rate == 8000
    np.testing.assert_array_equal(raw.take(300), (numbers[:300] / 32768).astype(np.float32))
    assert len(raw.take(10_000)) == 500
    assert len(raw.take(1)) == 0
    packed = io.BytesIO()
    with wave.open(packed, "wb") as opened:
        opened.setparams((2, 2, 16_000, 0, "NONE", ""))
        opened.writeframes(np.repeat(numbers, 2).tobytes())
    stream = SampleStream(io.BytesIO(packed.getvalue()), 8000)
    assert stream.rate == 16_000
    np.testing.assert_array_equal(stream.take(800), (numbers / 32768).astype(np.float32))


def test_a_wav_file_on_standard_input_ends_with_its_samples(tmp_path: Path) -> None:
    whole = written(tmp_path / "whole.wav").read_bytes()
    stream = SampleStream(io.BytesIO(whole + b"LIST\4\0\0\0abcd"), 8000)
    assert (len(stream.take(700)), len(stream.take(700)), len(stream.take(1))) == (700, 100, 0)
    with pytest.raises(DataError) as raised:
        SampleStream(io.BytesIO(whole[:-10]), 8000).take(900)
    assert str(raised.value).splitlines()[:3] == [
        "standard input ends early",
        "  expected: all of the sound that its head tells of",
        "  got: 10 bytes less",
    ]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"abc", "standard input ends within a sample"),
        (b"RIFF\0\0\0\0WAVEfmt ", "standard input is no WAV file"),
        (b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x03\0\x01\0\x40\x1f\0\0\0\0\0\0\x04\0\x20\0", "this kind of WAV is not read"),
    ],
)
def test_other_streams_are_refused(content: bytes, problem: str) -> None:
    with pytest.raises(GatewrightError, match=problem):
        SampleStream(io.BytesIO(content), 8000).take(5)
