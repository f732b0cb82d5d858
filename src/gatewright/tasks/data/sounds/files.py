"""Sound out of files and streams: mono samples at one rate. soundfile and SciPy load when they are needed."""

import math
import struct
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError
from gatewright.tasks.data.reading import check_plain

Samples = NDArray[np.float32]

SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".w64", ".caf")
LONGEST = 600  # seconds of one sound
_LOUDEST = 1e9  # largest sample that is accepted; float32 holds its square
_FASTEST = 2_000_000  # samples in a second; more need a filter as long, and are no sound
_FORMAT_BYTES = 16  # that a WAV file has at least to say of its samples
_UNKNOWN_SIZE = 0x7FFFF000  # what programs that write to a pipe put for a size, or more


class Sound(NamedTuple):
    """Mono samples (count,), float32 in [-1, 1], and how many there are in a second."""

    samples: Samples
    rate: int


def sound_rate(path: Path) -> int:
    """The sample rate that the head of a file names."""
    import soundfile

    check_plain(path)
    try:
        return int(soundfile.info(path).samplerate)
    except (soundfile.LibsndfileError, OSError) as error:
        raise _unreadable(path, error) from error


def read_sound(path: Path) -> Sound:
    """The sound of a file, the mean of its channels.

    Raises DataError for a file that is empty, damaged, cut short, or longer than ten minutes.
    """
    import soundfile

    check_plain(path)
    try:
        with soundfile.SoundFile(path) as opened:
            rate, frames = int(opened.samplerate), int(opened.frames)
            check_rate(rate, str(path))
            if frames > LONGEST * rate:
                raise DataError(
                    f"{path}: the sound is too long to be one example",
                    expected=f"{LONGEST} seconds at most",
                    got=f"{frames / rate:,.0f} seconds",
                    do="divide it; answers for a long sound come window by window from a stream",
                    shell="divide it; answers for a long sound come window by window: "
                    f"gatewright predict RUN --data - < {path.name}",
                )
            samples: Any = opened.read(dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError, RuntimeError) as error:
        raise _unreadable(path, error) from error
    if len(samples) < frames or _is_cut(path):
        raise DataError(
            f"{path}: the file ends early",
            expected="all of the sound that its head tells of",
            got=f"{len(samples) / rate:.3f} seconds",
            do="copy it again, or leave it out",
        )
    return Sound(mono(samples, str(path)), rate)


def mono(samples: NDArray[Any], name: str) -> Samples:
    """Samples (count,) or (count, channels), whole numbers of 16 or 32 bits or parts of 1, as the mean of channels.

    Raises DataError where there is no sample, or one that is no finite number.
    """
    samples = np.asarray(samples)
    if samples.ndim not in (1, 2) or samples.dtype.kind not in "if":
        raise DataError(
            f"{name} is no sound",
            expected="numbers (samples,) or (samples, channels)",
            got=f"{samples.dtype} of shape {samples.shape}",
        )
    if not samples.size:
        raise DataError(f"{name}: the sound is empty", expected="a sample at least", do="leave it out")
    if samples.dtype.kind == "i":
        samples = samples / -float(np.iinfo(samples.dtype).min)
    mixed = samples.astype(np.float32) if samples.ndim == 1 else samples.mean(1, dtype=np.float32)
    if not np.isfinite(mixed).all():
        raise DataError(
            f"{name}: sample {int(np.argmin(np.isfinite(mixed))):,} is no finite number", do="leave the sound out"
        )
    loudest = int(np.argmax(np.abs(mixed)))
    if abs(mixed[loudest]) > _LOUDEST:
        raise DataError(
            f"{name}: sample {loudest:,} is absurdly large",
            expected="numbers from -1 to 1",
            got=f"{mixed[loudest]:.4g}",
            do="leave the sound out",
        )
    return mixed


def check_rate(rate: int, name: str) -> None:
    """Refuse a sample rate that no sound has, as a damaged head may name."""
    if not 0 < rate <= _FASTEST:
        raise DataError(
            f"{name}: the sample rate is absurd",
            expected=f"1 to {_FASTEST:,} samples a second",
            got=f"{rate:,}",
            do="get the sound again, or leave it out",
        )


def at_rate(sound: Sound, rate: int) -> Samples:
    """The samples at another rate (SciPy's resample_poly, low-pass filtered at the lower Nyquist frequency)."""
    if sound.rate == rate:
        return sound.samples
    from scipy.signal import resample_poly

    shared = math.gcd(sound.rate, rate)
    resampled: Any = resample_poly(sound.samples, rate // shared, sound.rate // shared)
    return resampled.astype(np.float32)


class SampleStream:
    """A stream of sound: 16-bit PCM, little-endian and mono, or a WAV file, which names its rate and channels."""

    def __init__(self, stream: BinaryIO, rate: int) -> None:
        self._head = stream.read(4)
        self._stream = stream
        self.rate, self._channels, self._bytes = rate, 1, 2
        self._left: int | None = None  # bytes of samples that are to come, where a head says so
        if self._head == b"RIFF":
            self._open_wave()

    def take(self, samples: int) -> Samples:
        """The next mono samples; fewer, or none, where the stream ends."""
        width = self._channels * self._bytes
        size = samples * width if self._left is None else min(samples * width, self._left)
        content = self.read(size)
        if self._left is not None:  # bytes after the data chunk of a WAV file are not samples
            self._left -= len(content)
            if len(content) < size:
                raise DataError(
                    "standard input ends early",
                    expected="all of the sound that its head tells of",
                    got=f"{self._left:,} bytes less",
                    do="send the whole file; the answers up to here are right",
                )
        if len(content) % width:
            raise DataError(
                "standard input ends within a sample",
                expected=f"samples of {width} bytes",
                got=f"{len(content) % width} bytes at the end",
                do="give 16-bit little-endian mono PCM, or a WAV file",
            )
        numbers = np.frombuffer(content, "<i2").reshape(-1, self._channels)
        return mono(numbers, "standard input") if numbers.size else np.empty(0, np.float32)

    def read(self, size: int) -> bytes:
        """The next bytes, as many as that unless the stream ends."""
        head, self._head = self._head[:size], self._head[size:]
        return head + self._stream.read(size - len(head))

    def _open_wave(self) -> None:
        """Read the head up to the samples, which last until the stream ends."""
        self.read(12)
        while True:
            name, size = self.read(4), int.from_bytes(self.read(4), "little")
            if name == b"data":
                self._left = size if 0 < size < _UNKNOWN_SIZE else None
                return
            content = self.read(size + size % 2)
            if len(content) < size or not name or (name == b"fmt " and size < _FORMAT_BYTES):
                raise DataError("standard input is no WAV file", expected="a chunk 'data'", got="its end")
            if name == b"fmt ":
                self._take_format(content)

    def _take_format(self, content: bytes) -> None:
        coding, channels, rate, bits = struct.unpack_from("<HHI6xH", content)
        if coding == 0xFFFE:  # extensible: the coding is the first field of the sub-format
            coding = int.from_bytes(content[24:26], "little")
        if coding != 1 or bits != 16 or not channels or not rate:
            raise DataError(
                "standard input: this kind of WAV is not read from a stream",
                expected="16-bit PCM",
                got=f"coding {coding} of {bits} bits, {channels} channels, {rate} Hz",
                do="write 16-bit PCM, or give a file",
            )
        check_rate(rate, "standard input")
        self.rate, self._channels = rate, channels


def _is_cut(path: Path) -> bool:
    """Whether a RIFF file is shorter than its head says; libsndfile then reads what there is."""
    with path.open("rb") as opened:
        head = opened.read(8)
    size = int.from_bytes(head[4:8], "little")
    return head[:4] == b"RIFF" and 0 < size < _UNKNOWN_SIZE and path.stat().st_size < size + 8


def _unreadable(path: Path, error: Exception) -> DataError:
    size = path.stat().st_size if path.is_file() else None
    got = "no file" if size is None else "an empty file" if size == 0 else " ".join(str(error).split(": ")[-1].split())
    return DataError(
        f"{path} cannot be read as sound",
        expected="a sound file such as .wav or .flac",
        got=got,
        do="repair it, or leave it out",
    )
