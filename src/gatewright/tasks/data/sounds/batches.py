"""Batches of sounds to train on, each changed a little, so that other voices, rooms and levels are known too."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gatewright.tasks.data.batches.buckets import RaggedBatch, RaggedBatches
from gatewright.tasks.data.ragged import LabelledSequences, Ragged
from gatewright.tasks.data.scaling import Scaling
from gatewright.tasks.data.sequences.batches import interpolated
from gatewright.tasks.data.sounds.log_mel import LogMel, hertz_to_mel

Features = NDArray[np.float32]


@dataclass(frozen=True)
class SoundVariation:
    """Random changes of the features of a sound; the fields are deviations and bounds at strength 1.

    `speed` (of the logarithm) makes it shorter or longer, `pitch` (of the logarithm) moves its frequencies, so that
    both together are a change of speed; `gain` is added to the logarithm of the power; noise lies `quietest` to
    `loudest` decibels below the sound, in every second one; up to `silence` seconds are put before and after it;
    two stretches of up to the share `time_mask` and two of bands are covered by the mean (SpecAugment, Park et al.
    2019, 1904.08779).
    """

    strength: float
    log_mel: LogMel
    speed: float = 0.1
    pitch: float = 0.08
    gain: float = 1.0
    quietest: float = 45.0
    loudest: float = 10.0
    silence: float = 0.1
    time_mask: float = 0.1
    band_mask: float = 0.15

    def apply(self, features: Features, mean: NDArray[np.float64], draw: np.random.Generator) -> Features:
        """Those features (frames, bands), changed; their number of frames may be another."""
        speed, pitch = np.exp(self.strength * np.array([self.speed, self.pitch]) * draw.normal(size=2))
        changed = self.warped(features, speed, pitch) + self.strength * self.gain * draw.normal()
        changed = self._surrounded(changed, draw)
        if draw.random() < 0.5 * min(self.strength, 1.0):
            changed = self._noisy(changed, draw)
        changed = np.maximum(changed, np.log(self.log_mel.floor)).astype(np.float32)
        self._mask(changed, mean, draw)
        return changed

    def warped(self, features: Features, speed: float, pitch: float) -> NDArray[np.float64]:
        """Read at other times and frequencies, between which it is linear."""
        frames, bands = features.shape
        times = np.linspace(0, frames - 1, max(1, round(frames / speed)))
        inner = self.log_mel.edges[1:-1]
        mels = hertz_to_mel(np.array([inner[0], inner[-1]]))
        places = (hertz_to_mel(inner / pitch) - mels[0]) / max(mels[1] - mels[0], 1e-9) * (bands - 1)
        return interpolated(interpolated(features, times).T, np.clip(places, 0, bands - 1)).T

    def _surrounded(self, features: NDArray[np.float64], draw: np.random.Generator) -> NDArray[np.float64]:
        """With frames like its quietest ones before and after."""
        most = self.strength * self.silence * self.log_mel.sample_rate / self.log_mel.hop
        before, behind = np.floor(draw.uniform(0, most + 1, 2)).astype(int)
        level = features.mean(1)
        quiet = features[level <= np.quantile(level, 0.1)]
        added = quiet[draw.integers(0, len(quiet), before + behind)]
        return np.concatenate([added[:before], features, added[before:]])

    def _noisy(self, features: NDArray[np.float64], draw: np.random.Generator) -> NDArray[np.float64]:
        """With steady noise that is white, or has less power the higher the frequency."""
        power = np.exp(features)
        edges = self.log_mel.edges
        shape = (edges[2:] - edges[:-2]) / edges[1:-1] ** draw.uniform(0, 1.5)
        level = 10 ** (-draw.uniform(self.loudest, self.quietest) / 10) * np.quantile(power.sum(1), 0.9)
        noise = level * shape / shape.sum() * draw.gamma(3, 1 / 3, power.shape)
        return np.log(power + noise)

    def _mask(self, features: Features, mean: NDArray[np.float64], draw: np.random.Generator) -> None:
        """Cover stretches of time and of bands, in place."""
        for share, axis in ((self.time_mask, 0), (self.time_mask, 0), (self.band_mask, 1), (self.band_mask, 1)):
            size = features.shape[axis]
            width = int(draw.uniform(0, self.strength * share * size + 1))
            start = int(draw.integers(0, max(1, size - width + 1)))
            if axis == 0:
                features[start : start + width] = mean
            else:
                features[:, start : start + width] = mean[start : start + width]


class SoundBatches:
    """Batches to train on, of about equally long sounds, each changed anew by (seed, epoch, position)."""

    carries_state = False

    def __init__(
        self, sounds: LabelledSequences, batch: int, *, seed: int, scaling: Scaling, variation: SoundVariation
    ) -> None:
        self.examples = sounds
        self._batches = RaggedBatches(sounds.sequences, sounds.labels, batch, seed=seed)
        self._seed, self._mean, self._variation = seed, scaling.mean, variation

    def __len__(self) -> int:
        return len(self._batches)

    def batch(self, epoch: int, position: int) -> RaggedBatch:
        """The batch at that place of the epoch."""
        if not self._variation.strength:
            return self._batches.batch(epoch, position)
        draw = np.random.default_rng([self._seed, epoch, position, 2])
        rows = self._batches.rows(epoch)[position]
        changed = [self._variation.apply(self.examples.sequences[row], self._mean, draw) for row in rows.tolist()]
        inputs = Ragged.join(changed)
        return RaggedBatch(inputs.padded(np.arange(len(rows))), self.examples.labels[rows], inputs.lengths)
