"""Labelled sounds as log-mel features: to train on, to validate and to test with."""

import math
import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError
from gatewright.tasks.data.ragged import LabelledSequences, Numbers, Ragged, Splits, check_classes, completed, held_out
from gatewright.tasks.data.sounds.files import Sound, at_rate
from gatewright.tasks.data.sounds.log_mel import LogMel
from gatewright.tasks.data.sounds.sources import SoundSource

_THREADS = 8


def sounds_in_parts(source: SoundSource, *, validation: float, test: float, seed: int) -> Splits[SoundSource]:
    """The sounds to train on, to validate and to test with: as the source says, and what it lacks held out by seed.

    Where groups are known, such as speakers, all sounds of some are held out; else the same share of each class.
    """
    check_classes(source.name, _numbered(source, class_names(source)), class_names(source))
    named = [part or "train" for part in source.parts or [""] * len(source)]
    if "train" not in named:
        raise DataError(f"{source.name} has no sounds to train on", got=", ".join(sorted(set(named))))
    parts = {part: source.select([place for place, name in enumerate(named) if name == part]) for part in set(named)}
    return completed(parts, validation, test, lambda part, share: _divided(part, share, seed))


def class_names(source: SoundSource) -> tuple[str, ...]:
    """The classes in the order of their names."""
    return tuple(sorted(set(source.labels or ())))


def labelled(
    source: SoundSource, log_mel: LogMel, classes: Sequence[str], *, longest: float | None = None
) -> tuple[LabelledSequences, NDArray[np.float64], int]:
    """The features of all sounds with the numbers of their classes; the seconds of each, and how many were cut."""
    features, seconds, cut = features_of(source, log_mel, longest=longest)
    return LabelledSequences(features, _numbered(source, classes), tuple(classes)), seconds, cut


def features_of(
    source: SoundSource, log_mel: LogMel, *, longest: float | None = None
) -> tuple[Ragged, NDArray[np.float64], int]:
    """The features of all sounds, (frames, bands) each, read side by side; `longest` seconds of each."""
    from concurrent.futures import ThreadPoolExecutor

    def read(place: int) -> tuple[NDArray[np.float32], float, bool]:
        sound = source.sound(place)
        count, is_cut = len(sound.samples), False
        if longest is not None and count > longest * sound.rate:
            sound, is_cut = Sound(sound.samples[: max(1, int(longest * sound.rate))], sound.rate), True
        return log_mel(at_rate(sound, log_mel.sample_rate)), count / sound.rate, is_cut

    # In threads: reading, resampling and the FFT all let others run.
    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as threads:
        features, seconds, cut = zip(*threads.map(read, range(len(source))), strict=True)
    return Ragged.join(features), np.array(seconds), sum(cut)


def _numbered(source: SoundSource, classes: Sequence[str]) -> Numbers:
    numbers = {name: number for number, name in enumerate(classes)}
    labels = source.labels or ()
    unknown = sorted({label for label in labels if label not in numbers})
    if unknown:
        raise DataError(
            f"{source.name} has classes that the model does not know",
            expected=", ".join(classes),
            got=", ".join(unknown),
            do="give sounds of the classes that the model was trained on",
            shell="give sounds of the classes that the model was trained on, with --data",
        )
    return np.array([numbers[label] for label in labels], np.int64)


def _divided(source: SoundSource, share: float, seed: int) -> tuple[SoundSource, SoundSource]:
    if source.groups is None:
        kept, out = held_out(_numbered(source, class_names(source)), share, seed)
        return source.select(kept.tolist()), source.select(out.tolist())
    names = sorted(set(source.groups))
    if len(names) < 2:
        raise DataError(
            f"{source.name} has too few groups to hold some out",
            expected="three at least: to train on, to validate and to test with",
            got=", ".join(names),
            do="leave out the setting id, so that sounds are held out, whoever made them",
        )
    count = min(math.ceil(share * len(names)), len(names) - 1)
    chosen = {names[place] for place in np.random.default_rng(seed).permutation(len(names))[:count]}
    out = [group in chosen for group in source.groups]
    return source.select(np.flatnonzero(np.logical_not(out)).tolist()), source.select(np.flatnonzero(out).tolist())
