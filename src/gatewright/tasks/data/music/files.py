"""Pieces of music to learn from: a data set's, a MATLAB file's, those of MIDI files, or arrays in memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from gatewright.errors import DataError
from gatewright.tasks.data.music.midi import SUFFIXES, read_midi
from gatewright.tasks.data.music.piano_rolls import check_piece, load_piano_rolls
from gatewright.tasks.data.published.sources import Source, named_data_set, path_of, source_name
from gatewright.tasks.data.ragged import Ragged, Splits

MIDI_FRAMES = 4
"""Frames in a beat of MIDI files: one is a sixteenth note."""
_FRAMES_OF_SETS = {"jsb": 1, "nottingham": 2}  # as Boulanger-Lewandowski et al. (2012) cut their pieces
_FRAMES_OF_MATLAB = 2
_PART_FOLDERS = {"train": ("train",), "validation": ("valid", "validation", "dev"), "test": ("test",)}
_FEW = 10  # pieces; of fewer, each gives a share of its own frames


@dataclass(frozen=True, eq=False)
class PieceCollection:
    """Pieces (frames, 88) of 0 and 1 with their names, and how many frames a beat (quarter note) has."""

    pieces: Ragged
    names: tuple[str, ...]
    frames_per_beat: int
    left_out: int = 0  # notes that no piano has


@dataclass(frozen=True, eq=False)
class PartedMusic:
    """The pieces of a data set in its three parts, and what a person should know of how they came about."""

    parts: Splits[Ragged]
    frames_per_beat: int
    remarks: tuple[str, ...] = ()


def load_music(source: Source, *, frames_per_beat: int | None, held_out: float, seed: int) -> PartedMusic:
    """Music in three parts: those of a MATLAB file, or of the folders train, valid and test with MIDI files.

    Of MIDI files without such folders, and of arrays in memory, the share `held_out` of the pieces goes to each of
    validation and test, drawn from the seed. Of fewer than ten pieces each gives its last frames instead: that share of
    it to the test, and as much before it to the validation.
    """
    if _is_matlab(source):
        row = named_data_set(source, "piano rolls")
        own = _FRAMES_OF_MATLAB if row is None else _FRAMES_OF_SETS.get(row.name, _FRAMES_OF_MATLAB)
        return PartedMusic(load_piano_rolls(source), frames_per_beat or own)
    frames = frames_per_beat or MIDI_FRAMES
    if (folders := _parted(source)) is not None:
        loaded = [load_pieces(folder, frames_per_beat=frames) for folder in folders]
        parts, how = Splits(*(music.pieces for music in loaded)), "parts as the folders have them"
    else:
        loaded = [load_pieces(source, frames_per_beat=frames)]
        parts, how = _divided(source, loaded[0].pieces, held_out, seed)
    for music in loaded:
        check_lengths(source, music)
    listed = ", ".join(f"{part} {len(rolls)}" for part, rolls in zip(Splits._fields, parts, strict=True))
    remarks = [f"{source_name(source)}: pieces in {listed} ({how}); {frames} frames a quarter note"]
    if left_out := sum(music.left_out for music in loaded):
        remarks.append(f"{left_out:,} notes below A0 or above C8 are left out")
    return PartedMusic(parts, frames, tuple(remarks))


def load_pieces(source: Source, *, frames_per_beat: int | None) -> PieceCollection:
    """All pieces of a source, in the order of their names; of a MATLAB file those of all of its parts.

    Sources are a data set's name, a MATLAB file, a MIDI file, a folder with MIDI files, and arrays in memory, (frames,
    88) of 0 and 1: one, or a list of them.
    """
    if _is_matlab(source):
        parts = load_piano_rolls(source)._asdict().items()
        names = [f"{part} {place}" for part, pieces in parts for place in range(1, len(pieces) + 1)]
        joined = Ragged.join([pieces[place] for _, pieces in parts for place in range(len(pieces))])
        return PieceCollection(joined, tuple(names), frames_per_beat or _FRAMES_OF_MATLAB)
    frames = frames_per_beat or MIDI_FRAMES
    if (arrays := _arrays(source)) is not None:
        return PieceCollection(Ragged.join(arrays), tuple(f"{place}" for place in range(1, len(arrays) + 1)), frames)
    path = path_of(source, "piano rolls")
    paths = [path]
    if path.is_dir():
        paths = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    read = [read_midi(path, frames) for path in paths]
    rolls = Ragged.join([roll for roll, _ in read])
    return PieceCollection(rolls, tuple(path.name for path in paths), frames, sum(left_out for _, left_out in read))


def _is_matlab(source: Source) -> bool:
    """Whether the source is a data set, a MATLAB file or a folder with one. A missing path counts as one."""
    if _arrays(source) is not None:
        return False
    if named_data_set(source, "piano rolls") is not None:
        return True
    path = path_of(source, "piano rolls")
    return not path.exists() or not (path.suffix.lower() in SUFFIXES or (path.is_dir() and _has_midi(path)))


def _has_midi(folder: Path) -> bool:
    return any(path.suffix.lower() in SUFFIXES for path in folder.rglob("*"))


def _parted(source: Source) -> Splits[Path] | None:
    """The folders of the three parts; None where the source has none of them."""
    if not isinstance(source, str | Path) or not Path(source).expanduser().is_dir():
        return None
    folders = {folder.name.lower(): folder for folder in Path(source).expanduser().iterdir() if folder.is_dir()}
    chosen = {part: next((folders[n] for n in names if n in folders), None) for part, names in _PART_FOLDERS.items()}
    there = {part: folder for part, folder in chosen.items() if folder is not None}
    if not there:
        return None
    empty = [part for part in chosen if part not in there or not _has_midi(there[part])]
    if empty:
        raise DataError(
            f"{source} has no MIDI files for the {empty[0]} part",
            expected="the folders train, valid and test with MIDI files, or none of the three",
            got=", ".join(sorted(folders)),
        )
    return Splits(*there.values())


def _arrays(source: Source) -> list[Any] | None:
    """Piano rolls in memory, checked; None where the source is a name or path."""
    if isinstance(source, np.ndarray):
        listed: Sequence[Any] = [source] if cast("np.ndarray[Any, Any]", source).ndim == 2 else list(source)
    elif isinstance(source, list | tuple):
        listed = cast("Sequence[Any]", source)
    else:
        return None
    if not listed:
        raise DataError("there is no piece of music", expected="arrays (frames, 88) of 0 and 1", got="an empty list")
    return [check_piece(f"piece {place}", np.asarray(piece)) for place, piece in enumerate(listed, 1)]


def has_parts(source: Source) -> bool:
    """Whether the source says itself which pieces are to train on and which to test with."""
    return _is_matlab(source) or _parted(source) is not None


def check_lengths(source: Source, music: PieceCollection) -> None:
    """Of a piece of one frame there is nothing to predict."""
    if (shortest := int(music.pieces.lengths.min())) < 2:
        name = music.names[int(np.argmin(music.pieces.lengths))]
        raise DataError(
            f"{source_name(source)}: piece {name} is too short to learn from",
            expected="2 frames at least",
            got=str(shortest),
            do="leave it out",
        )


def _divided(source: Source, pieces: Ragged, share: float, seed: int) -> tuple[Splits[Ragged], str]:
    count = len(pieces)
    if count >= _FEW:
        order, out = np.random.default_rng(seed).permutation(count), max(1, round(share * count))
        cuts = np.split(order, [count - 2 * out, count - out])
        parts = Splits(*(pieces.select(np.sort(places)) for places in cuts))
        return parts, f"{out} each for validation and test, by the seed"
    held_frames = np.maximum(np.round(share * pieces.lengths).astype(np.int64), 2)
    train = pieces.lengths - 2 * held_frames
    if train.min() < 2:
        shortest = int(np.argmin(train))
        raise DataError(
            f"{source_name(source)}: piece {shortest + 1} is too short to hold out its end",
            expected=f"6 frames at least, or {_FEW} pieces",
            got=f"{pieces.lengths[shortest]} frames in one of {count} pieces",
            do="give more pieces, or set frames_per_beat higher",
            shell="give more pieces, or shorter frames with --set frames_per_beat=8",
        )
    parts = Splits(
        Ragged(pieces.values, pieces.starts, train),
        Ragged(pieces.values, pieces.starts + train, held_frames),
        Ragged(pieces.values, pieces.starts + train + held_frames, held_frames),
    )
    return parts, f"of each piece the last {share:.0%} are the test, and as much before it the validation"
