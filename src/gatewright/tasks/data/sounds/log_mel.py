"""Log-mel features of sound: how loud it is in each band of frequencies, frame by frame."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]
Features = NDArray[np.float32]

_AT_ONCE = 4096  # frames in a block, which bounds the memory for spectra


@dataclass(frozen=True)
class LogMel:
    """Features of mono sound, samples (count,) in [-1, 1] -> (frames, bands), float32; docs/sounds.md has them in C.

    Frame i holds the samples from i * hop on, `window` of them, times a periodic Hann window; nothing is put before the
    first. A sound shorter than a window is filled up with zeros after it. The squared magnitudes of its spectrum (FFT
    of `fft` points, zeros after the window) are added up by triangles that are equally wide on the mel scale
    2595 log10(1 + f / 700) (HTK's; O'Shaughnessy 1987), from `lowest` to `highest` hertz, with 1 at each top. The
    feature is the natural logarithm of that sum plus `floor`.
    """

    sample_rate: int
    window: int  # samples
    hop: int  # samples
    bands: int
    lowest: float  # hertz
    highest: float  # hertz
    floor: float = 1e-6

    @property
    def fft(self) -> int:
        """Points of the FFT: the least power of two that is not shorter than the window."""
        return 1 << (self.window - 1).bit_length()

    @cached_property
    def hann(self) -> NDArray[np.float32]:
        """(window,): 0.5 - 0.5 cos(2 pi i / window)."""
        angles = 2 * np.pi * np.arange(self.window) / self.window
        return (0.5 - 0.5 * np.cos(angles)).astype(np.float32)

    @cached_property
    def edges(self) -> NDArray[np.float64]:
        """(bands + 2,) in hertz: band b rises from edge b to edge b + 1 and falls to edge b + 2."""
        low, high = hertz_to_mel(np.array([self.lowest, self.highest]))
        return 700 * (10 ** (np.linspace(low, high, self.bands + 2) / 2595) - 1)

    @cached_property
    def triangles(self) -> NDArray[np.float32]:
        """(fft / 2 + 1, bands): the weight of each frequency of the spectrum in each band."""
        frequencies = np.arange(self.fft // 2 + 1)[:, np.newaxis] * self.sample_rate / self.fft
        low, top, high = self.edges[:-2], self.edges[1:-1], self.edges[2:]
        rising, falling = (frequencies - low) / (top - low), (high - frequencies) / (high - top)
        return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)

    @property
    def empty_bands(self) -> int:
        """How many bands are so narrow that no frequency of the spectrum lies in them."""
        return int((self.triangles.sum(0) == 0).sum())

    def frames(self, samples: int) -> int:
        """How many frames so many samples have."""
        return 1 + max(0, samples - self.window) // self.hop

    def samples(self, frames: int) -> int:
        """The fewest samples with so many frames."""
        return self.window + (frames - 1) * self.hop

    def __call__(self, samples: Samples) -> Features:
        """The features of a sound."""
        from scipy.fft import rfft

        samples = np.pad(samples, (0, max(0, self.window - len(samples))))
        framed = np.lib.stride_tricks.sliding_window_view(samples, self.window)[:: self.hop]
        features = np.empty((len(framed), self.bands), np.float32)
        for start in range(0, len(framed), _AT_ONCE):
            stretch = slice(start, start + _AT_ONCE)
            spectrum: Any = rfft(framed[stretch] * self.hann, self.fft)
            power = np.square(spectrum.real) + np.square(spectrum.imag)
            features[stretch] = np.log(power @ self.triangles + np.float32(self.floor))
        return features

    def signature(self) -> dict[str, Any]:
        """All that somebody needs to compute the same."""
        return {
            **asdict(self),
            "fft": self.fft,
            "frames": "from the first sample on, without padding; zeros after a sound shorter than a window",
            "window_function": "periodic Hann",
            "spectrum": "squared magnitude",
            "mel_scale": "2595 log10(1 + f / 700)",
            "triangles": "linear in hertz, 1 at the top",
            "logarithm": "ln(sum + floor)",
        }

    @classmethod
    def of_signature(cls, signature: Mapping[str, Any]) -> "LogMel":
        """Those of a model's signature."""
        return cls(**{name: signature[name] for name in cls.__dataclass_fields__})


def hertz_to_mel(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
    """HTK's mel scale."""
    return 2595 * np.log10(1 + hertz / 700)


def seconds_to_samples(seconds: float, rate: int) -> int:
    """The nearest number of samples, at least one."""
    return max(1, math.floor(seconds * rate + 0.5))
