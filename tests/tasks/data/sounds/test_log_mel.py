"""Log-mel features, compared with numbers of torchaudio and with the page's C code."""

import ctypes
import subprocess
from pathlib import Path

import numpy as np
import pytest

from gatewright.tasks.data.sounds.log_mel import LogMel
from tests.backends.c99.compiled import C99, WARNINGS, compiler

SMALL = LogMel(8000, 200, 80, 10, 60.0, 4000.0)
SOURCE = Path(__file__).parents[4] / "docs" / "log_mel.c"
# torchaudio 2.11: spectrogram (power 2, periodic Hann window, no padding) @ melscale_fbanks(129, 60, 4000, 10, 8000,
# norm=None, mel_scale="htk"), then log(x + 1e-6), in float64
TORCHAUDIO = {
    0: [4.5332, 6.0885, 5.7942, -5.7042, -10.2975, -12.6756, -13.5961, -13.7739, -13.8067, -13.8132],
    5: [-3.4171, 6.0819, 6.0894, 4.3174, -3.6194, -11.6484, -13.5135, -13.767, -13.8059, -13.8135],
    10: [-3.406, 6.0859, 5.7941, -1.9619, 4.8419, 4.1767, -7.1181, -13.2129, -13.7695, -13.8084],
}


def sweep(count: int) -> np.ndarray:
    """A tone, and another that rises."""
    step = np.arange(count)
    return (0.4 * np.sin(2 * np.pi * 440 * step / 8000) + 0.2 * np.sin(step * step * 0.0005)).astype(np.float32)


def test_features_are_those_of_torchaudio() -> None:
    features = SMALL(sweep(1000))
    assert features.shape == (11, 10)
    assert features.dtype == np.float32
    for frame, expected in TORCHAUDIO.items():
        np.testing.assert_allclose(features[frame], expected, atol=4e-4)


def test_frames_begin_at_the_first_sample_and_are_whole() -> None:
    samples = sweep(440)
    features = SMALL(samples)
    assert len(features) == SMALL.frames(440) == 4
    assert SMALL.frames(439) == 3
    assert SMALL.samples(4) == 440
    np.testing.assert_allclose(features[2], SMALL(samples[160:360])[0], rtol=1e-6)


def test_a_short_sound_is_one_frame_with_zeros_behind_it() -> None:
    samples = sweep(50)
    features = SMALL(samples)
    assert features.shape == (1, 10)
    np.testing.assert_array_equal(features, SMALL(np.pad(samples, (0, 150))))
    np.testing.assert_allclose(SMALL(np.zeros(3, np.float32)), np.log(1e-6), rtol=1e-6)


def test_long_sounds_are_read_in_stretches() -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, 80 * 5000).astype(np.float32)
    features = SMALL(samples)
    for frame in (4095, 4096, 4990):
        np.testing.assert_allclose(features[frame], SMALL(samples[80 * frame :][:200])[0], rtol=1e-5)


def test_the_signature_gives_the_features_back() -> None:
    assert LogMel.of_signature(SMALL.signature()) == SMALL


@pytest.mark.parametrize("log_mel", [SMALL, LogMel(16000, 512, 320, 24, 20.0, 7600.0)])
def test_the_c_code_of_the_page_gives_the_same(log_mel: LogMel, tmp_path: Path) -> None:
    samples = sweep(3000)
    np.testing.assert_allclose(c_features(log_mel, samples, tmp_path), log_mel(samples), atol=1e-3)


def c_features(log_mel: LogMel, samples: np.ndarray, folder: Path) -> np.ndarray:
    """The features of the C code that docs/sounds.md shows; the test is skipped where there is no compiler."""
    sizes = {
        "SAMPLE_RATE": log_mel.sample_rate,
        "WINDOW": log_mel.window,
        "FFT": log_mel.fft,
        "BANDS": log_mel.bands,
        "LOWEST": log_mel.lowest,
        "HIGHEST": log_mel.highest,
        "FLOOR": f"{log_mel.floor}f",
    }
    library = folder / "log_mel.so"
    defined = [f"-D{name}={value}" for name, value in sizes.items()]
    flags = [*C99, *WARNINGS, "-O2", "-shared", "-fPIC", *defined]
    subprocess.run([compiler(), *flags, str(SOURCE), "-o", str(library), "-lm"], check=True)
    loaded = ctypes.CDLL(str(library))
    loaded.log_mel_begin()
    features = np.empty((log_mel.frames(len(samples)), log_mel.bands), np.float32)
    for frame in range(len(features)):
        part = np.ascontiguousarray(samples[frame * log_mel.hop :][: log_mel.window])
        row = features[frame]
        loaded.log_mel_frame(part.ctypes.data_as(ctypes.c_void_p), row.ctypes.data_as(ctypes.c_void_p))
    return features
