"""Truncated back-propagation through time: batches of one long sequence, or of many of any lengths."""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError, ShapeError
from gatewright.tasks.data.batches.arrays import EpochOrder, check_sizes
from gatewright.tasks.data.batches.buckets import check_sequences, tensor_dtype
from gatewright.tasks.data.ragged import Array, Numbers, Ragged

Tokens = NDArray[np.integer[Any]]


class Batch(NamedTuple):
    """What the network reads, and at each place the token that comes next; both (steps, batch), int64."""

    inputs: NDArray[np.int64]
    targets: NDArray[np.int64]


class SequentialBatches:
    """Truncated back-propagation through time: row r of each batch continues row r of the batch before it.

    The tokens are cut into `batch` contiguous streams of equal length, and a batch is the next `steps` of every
    stream, so a state can be carried from batch to batch; at position 0 it begins anew. With `random_offset` each
    epoch starts at one of the first `steps` tokens, drawn from (seed, epoch). What does not fill a batch at a stream's
    end is left out, or comes as a last, shorter batch with `keep_tail`.
    """

    carries_state = True

    def __init__(
        self,
        tokens: Tokens,
        batch: int,
        steps: int,
        *,
        random_offset: bool = False,
        seed: int = 0,
        keep_tail: bool = False,
    ) -> None:
        if tokens.ndim != 1 or not np.issubdtype(tokens.dtype, np.integer):
            got = f"shape {tokens.shape}, {tokens.dtype}"
            raise ShapeError("tokens are one row of whole numbers", expected="shape (n,), integers", got=got)
        check_sizes(batch=batch, steps=steps)
        check_sizes(0, seed=seed)
        self.tokens = tokens
        self._rows = batch
        self._steps = steps
        self.random_offset = random_offset
        self.seed = seed
        self.keep_tail = keep_tail
        # What no epoch may count on as input: the last token, and those before the latest possible start.
        unusable = 1 + (steps - 1 if random_offset else 0)
        self._stream_length = max(len(tokens) - unusable, 0) // batch
        if len(self) < 1:
            needed = batch * (1 if keep_tail else steps) + unusable
            raise DataError(
                "the text is too short for one batch",
                expected=f"at least {needed} tokens for batch={batch}, steps={steps}",
                got=f"{len(tokens)} tokens",
                do="use a longer text, or a smaller batch or steps",
                shell="use a longer text, or smaller sizes: --set batch=... --set steps=...",
            )

    def __len__(self) -> int:
        """The number of batches in an epoch, the same in each."""
        whole, rest = divmod(self._stream_length, self._steps)
        return whole + (self.keep_tail and rest > 0)

    def batch(self, epoch: int, position: int) -> Batch:
        """The steps of that position in every stream."""
        start = int(np.random.default_rng([self.seed, epoch]).integers(self._steps)) if self.random_offset else 0
        steps = slice(position * self._steps, min((position + 1) * self._steps, self._stream_length))
        whole = self._stream_length * self._rows
        streams = (self.tokens[begin : begin + whole].reshape(self._rows, -1).T for begin in (start, start + 1))
        # Copies: changing a batch does not change the tokens.
        return Batch(*(np.array(tokens[steps], np.int64, order="C") for tokens in streams))


class StreamBatch(NamedTuple):
    """Inputs and targets (longest, rows, ...), the rows' lengths (rows,), and which rows `continues` (rows,).

    A row that continues starts from the final state of the same row of the batch before it; another one begins a
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
