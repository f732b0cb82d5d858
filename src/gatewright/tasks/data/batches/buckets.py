"""Batches of sequences of different lengths, put together so that little of them is padding."""

import math
from typing import NamedTuple

import numpy as np

from gatewright.errors import DataError, ShapeError
from gatewright.tasks.data.batches.arrays import EpochOrder, check_sizes
from gatewright.tasks.data.ragged import Array, LabelledSequences, Numbers, Ragged


class RaggedBatch(NamedTuple):
    """Inputs (longest, rows, ...), targets (rows,) or (longest, rows, ...), and the rows' lengths (rows,), int64.

    Numbers of symbols come as int64, everything else as float32.
    """

    inputs: Array
    targets: Array
    lengths: Numbers


class RaggedBatches:
    """Batches of sequences that are about equally long, each sequence once an epoch.

    An epoch shuffles the sequences by (seed, epoch), sorts each pool of `pool` batches by length, cuts the pools into
    batches, and shuffles those. pool=1 is plain random batching; a larger pool has less padding, and mixes sequences
    less. Without a seed all sequences are one pool and batches come from short to long, which
    suits a part that is only measured. Every batch can be asked for by its place, so a run can go on anywhere; the last
    pool may leave one batch short. Targets are one number a sequence, or sequences as long as the inputs. `symbols`
    says that inputs of several numbers a step are numbers of symbols.
    """

    carries_state = False

    def __init__(
        self,
        inputs: Ragged,
        targets: Ragged | Array,
        batch: int,
        *,
        seed: int | None = None,
        pool: int = 50,
        fill: float = 0,
        target_fill: float = 0,
        symbols: bool = False,
    ) -> None:
        check_sequences(inputs, targets, batch=batch, pool=pool)
        self.inputs, self.targets, self._batch = inputs, targets, batch
        self._fill, self._target_fill = fill, target_fill
        self._input_dtype = np.int64 if symbols else tensor_dtype(inputs.values)
        self._seed = seed
        self._pool = pool * batch if seed is not None else len(inputs)
        self._order = EpochOrder(len(inputs), seed)
        self._cut: tuple[int, list[Numbers]] | None = None

    def __len__(self) -> int:
        return math.ceil(len(self.inputs) / self._batch)

    def batch(self, epoch: int, position: int) -> RaggedBatch:
        """The batch at that place of the epoch."""
        rows = self.rows(epoch)[position]
        if isinstance(self.targets, Ragged):
            targets = self.targets.padded(rows, self._target_fill, tensor_dtype(self.targets.values))
        else:
            targets = self.targets[rows].astype(tensor_dtype(self.targets))
        inputs = self.inputs.padded(rows, self._fill, self._input_dtype)
        return RaggedBatch(inputs, targets, self.inputs.lengths[rows])

    def rows(self, epoch: int) -> list[Numbers]:
        """Which sequences each batch of that epoch holds."""
        drawn = 0 if self._seed is None else epoch
        if self._cut is None or self._cut[0] != drawn:
            self._cut = drawn, self._batches_of(drawn)
        return self._cut[1]

    def _batches_of(self, epoch: int) -> list[Numbers]:
        order, lengths = self._order(epoch), self.inputs.lengths
        pools = (order[start : start + self._pool] for start in range(0, len(order), self._pool))
        by_length = [pool[np.argsort(lengths[pool], kind="stable")] for pool in pools]
        batches = [
            rows[start : start + self._batch] for rows in by_length for start in range(0, len(rows), self._batch)
        ]
        if self._seed is None:
            return batches
        # A stream of its own: the order of batches has nothing to do with the order of sequences.
        return [batches[place] for place in np.random.default_rng([self._seed, epoch, 1]).permutation(len(batches))]


class MeasuredExamples(RaggedBatches):
    """Batches of sequences that are only measured, from short to long."""

    def __init__(self, examples: LabelledSequences, batch: int = 100) -> None:
        super().__init__(examples.sequences, examples.labels, batch)
        self.examples = examples


def check_sequences(inputs: Ragged, targets: Ragged | Array, **sizes: int) -> None:
    """Refuse sizes below 1, sequences without a step, and targets that are not the sequences' own."""
    check_sizes(**sizes)
    if len(targets) != len(inputs):
        raise ShapeError("each sequence has a target", expected=f"{len(inputs)} targets", got=str(len(targets)))
    if not len(inputs):
        raise DataError("there is no sequence to make batches of")
    if not inputs.lengths.min():
        raise DataError(
            f"sequence {int(np.argmin(inputs.lengths))} is empty", expected="a step at least", do="leave it out"
        )
    if isinstance(targets, Ragged) and not np.array_equal(targets.lengths, inputs.lengths):
        wrong = int(np.argmax(targets.lengths != inputs.lengths))
        raise ShapeError(
            f"the targets of sequence {wrong} are not as long as its inputs",
            expected=f"{inputs.lengths[wrong]} steps",
            got=str(targets.lengths[wrong]),
        )


def tensor_dtype(values: Array) -> type[np.generic]:
    """int64 for one whole number a step, which is a symbol or a class; float32 for everything else."""
    return np.int64 if values.ndim == 1 and np.issubdtype(values.dtype, np.integer) else np.float32
