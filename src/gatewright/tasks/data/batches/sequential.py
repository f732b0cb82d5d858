"""Batches of a long sequence of tokens, each the next token's prediction."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError, ShapeError
from gatewright.tasks.data.batches.arrays import check_sizes

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
