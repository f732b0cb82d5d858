"""Predictions for sounds: the class of each sound, or of each window of a stream."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import OptionError
from gatewright.tasks.answers.predictor import ClassPredictor
from gatewright.tasks.data.sounds.files import SampleStream
from gatewright.tasks.data.sounds.log_mel import LogMel, Samples, seconds_to_samples


class SoundPredictor(ClassPredictor):
    """The class of each sound with its probabilities; a sound is found by its `file`, or its `row` in a list.

    A source is a file, a folder, a table of files, `(array, rate)` with samples (count,) or (count, channels), or
    `(arrays, rate)`.
    """

    def step_names(self, rows: Sequence[NDArray[Any]]) -> list[list[str]]:
        """The time at which each frame begins."""
        log_mel = LogMel.of_signature(self.model.signature["features"])
        return [[f"{frame * log_mel.hop / log_mel.sample_rate:.3g} s" for frame in range(len(row))] for row in rows]

    def predict_stream(self, stream: BinaryIO, **options: Any) -> Iterator[Mapping[str, Any]]:
        """An answer for each window of a stream, as soon as its last sample is there.

        The stream is raw PCM (16 bits, little-endian, mono, at `stream_rate`) or a WAV file of 16 bits. Window i has
        the samples from i * hop on, `window` of them, where both are `stream_window` and `stream_hop` in samples of the
        stream; its answer is that of `predict((samples, rate))`, after its `start` and `end` in seconds. A stream that
        is shorter than a window is answered as it is; else samples after the last whole window are not answered.
        """
        self.check_top(options.get("top"))
        sounds = SampleStream(stream, self.recipe.stream_rate or self.recipe.sample_rate)
        rate = sounds.rate
        window, hop = (seconds_to_samples(seconds, rate) for seconds in self.stream_seconds())
        if window > 600 * rate or hop > window:
            raise OptionError(
                "a stream cannot be answered in such windows",
                expected="stream_hop <= stream_window <= 600 seconds",
                got=f"stream_window={window / rate:g}, stream_hop={hop / rate:g}",
            )
        self.stream_remark = (
            f"stream: {rate:,} samples a second, windows of {window / rate:.4g} seconds every {hop / rate:.4g} "
            "(stream_rate, stream_window, stream_hop)"
        )
        samples, start = sounds.take(window), 0
        while len(samples) == window:
            yield self._answer(samples, start, rate, options)
            samples, start = np.concatenate([samples[hop:], sounds.take(hop)]), start + hop
        if start == 0 and len(samples):
            yield self._answer(samples, 0, rate, options)

    def stream_seconds(self) -> tuple[float, float]:
        """The seconds of a window, and from one to the next."""
        window = self.recipe.stream_window or self.model.signature["seconds"]["median"]
        return window, self.recipe.stream_hop or window / 4

    def _answer(self, samples: Samples, start: int, rate: int, options: Mapping[str, Any]) -> Mapping[str, Any]:
        answer = self.predict((samples, rate), **options).iloc[0].to_dict()
        del answer["row"]
        return {"start": start / rate, "end": (start + len(samples)) / rate, **answer}
