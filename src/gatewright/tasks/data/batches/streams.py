"""Truncated back-propagation through sequences of different lengths: chunks in parallel streams."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gatewright.tasks.data.batches.arrays import EpochOrder
from gatewright.tasks.data.batches.buckets import check_sequences, tensor_dtype
from gatewright.tasks.data.ragged import Array, Numbers, Ragged


class StreamBatch(NamedTuple):
    """Inputs and targets (longest, rows, ...), the rows' lengths (rows,), and which rows `continues` (rows,).

    A row that continues goes on with the state in which the same row of the batch before it ended; another one begins a
    sequence. A row without a step has length 0 and changes no state.
    """

    inputs: Array
    targets: Array
    lengths: Numbers
    continues: NDArray[np.bool_]


class RaggedStreams:
    """Sequences of any lengths in `batch` parallel streams, `steps` at a time at most.

    Each sequence is cut into as few chunks as that allows, all about equally long. An epoch puts the sequences one
    after the other in an order drawn from (seed, epoch), and divides the chunks among the streams, so that every batch
    but a few of the last has all its rows and every step is read once an epoch. The state is carried from chunk to
    chunk, and begins anew with each sequence. Where a stream ends within a sequence, the next stream begins with the
    rest of it, from a state of zeros: this happens batch - 1 times an epoch at most.
    """

    carries_state = True

    def __init__(self, inputs: Ragged, targets: Ragged, batch: int, steps: int, *, seed: int | None = None) -> None:
        check_sequences(inputs, targets, batch=batch, steps=steps)
        self._batch = batch
        self._counts = -(-inputs.lengths // steps)  # chunks of each sequence
        self._first = np.cumsum(self._counts) - self._counts  # the place of each sequence's first chunk
        place = np.arange(self._counts.sum()) - np.repeat(self._first, self._counts)  # within its sequence
        whole, parts = np.repeat(inputs.lengths, self._counts), np.repeat(self._counts, self._counts)
        begins, ends = whole * place // parts, whole * (place + 1) // parts
        self._continues = np.append(place > 0, False)
        self._inputs = _chunks(inputs, self._counts, begins, ends)
        self._targets = _chunks(targets, self._counts, begins, ends)
        self._order = EpochOrder(len(inputs), seed)
        self._last: tuple[int, Numbers] | None = None

    def __len__(self) -> int:
        return math.ceil(len(self._continues[:-1]) / self._batch)

    def batch(self, epoch: int, position: int) -> StreamBatch:
        """The next chunk of every stream."""
        chunks = self._streams(epoch)[:, position]
        return StreamBatch(
            self._inputs.padded(chunks, dtype=tensor_dtype(self._inputs.values)),
            self._targets.padded(chunks, dtype=tensor_dtype(self._targets.values)),
            self._inputs.lengths[chunks],
            self._continues[chunks] & (position > 0),
        )

    def _streams(self, epoch: int) -> Numbers:
        """The chunks of each stream, (rows, batches); streams are filled up with the empty chunk."""
        if self._last is None or self._last[0] != epoch:
            order = self._order(epoch)
            counts = self._counts[order]
            begins = np.cumsum(counts) - counts
            chunks = np.repeat(self._first[order] - begins, counts) + np.arange(counts.sum())
            empty = len(chunks)
            filled = np.full(len(self) * self._batch, empty)
            filled[:empty] = chunks
            self._last = epoch, filled.reshape(self._batch, len(self))
        return self._last[1]


def _chunks(sequences: Ragged, counts: Numbers, begins: Numbers, ends: Numbers) -> Ragged:
    """The chunks one after the other, and after them an empty one."""
    starts = np.repeat(sequences.starts, counts) + begins
    return Ragged(sequences.values, np.append(starts, 0), np.append(ends - begins, 0))
