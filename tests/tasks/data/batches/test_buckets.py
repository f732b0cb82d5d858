"""Batches by length: nothing is lost, little is padding, any place can be asked for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewright.errors import DataError, OptionError, ShapeError
from gatewright.tasks.data.batches.buckets import RaggedBatch, RaggedBatches
from gatewright.tasks.data.ragged import Ragged

RNG = np.random.default_rng(0)
# As reviews are: most short, some very long.
LENGTHS = np.maximum(1, RNG.lognormal(5, 0.8, 2000)).astype(np.int64)
TEXTS = Ragged.from_lengths(np.arange(LENGTHS.sum()), LENGTHS)
LABELS = np.arange(2000)


def labels_of(batches: RaggedBatches, epoch: int) -> list[int]:
    found = [batches.batch(epoch, place).targets for place in range(len(batches))]
    return np.concatenate(found).tolist()


def the_same(one: RaggedBatch, other: RaggedBatch) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=60),
    batch=st.integers(1, 9),
    pool=st.integers(1, 4),
    seed=st.none() | st.integers(0, 3),
    epoch=st.integers(0, 3),
)
def test_every_sequence_comes_exactly_once_an_epoch(
    lengths: list[int], batch: int, pool: int, seed: int | None, epoch: int
) -> None:
    sequences = Ragged.from_lengths(np.arange(sum(lengths)), lengths)
    batches = RaggedBatches(sequences, np.arange(len(lengths)), batch, seed=seed, pool=pool)
    found = [batches.batch(epoch, place) for place in range(len(batches))]
    assert sorted(np.concatenate([one.targets for one in found]).tolist()) == list(range(len(lengths)))
    sizes = sorted(len(one.targets) for one in found)
    assert all(size == batch for size in sizes[1:])
    for one in found:
        assert one.inputs.shape == (one.lengths.max(), len(one.lengths))
        for column, (item, length) in enumerate(zip(one.targets, one.lengths, strict=True)):
            assert one.inputs[:length, column].tolist() == sequences[item].tolist()
            assert not one.inputs[length:, column].any()


def padding_share(batches: RaggedBatches, epoch: int = 0) -> float:
    held = sum(int(batches.batch(epoch, place).inputs.size) for place in range(len(batches)))
    return 1 - batches.inputs.steps / held


def test_buckets_waste_far_less_than_random_batches() -> None:
    random = RaggedBatches(TEXTS, LABELS, 16, seed=0, pool=1)
    buckets = RaggedBatches(TEXTS, LABELS, 16, seed=0)
    measured = RaggedBatches(TEXTS, LABELS, 16)
    for epoch in range(3):
        assert padding_share(random, epoch) > 0.5
        assert padding_share(buckets, epoch) < 0.2 * padding_share(random, epoch)
    assert padding_share(measured) <= padding_share(buckets)


def test_epochs_differ_and_depend_on_seed_and_epoch_alone() -> None:
    batches = RaggedBatches(TEXTS, LABELS, 16, seed=5)
    again = RaggedBatches(TEXTS, LABELS, 16, seed=5)
    assert labels_of(batches, 0) == labels_of(again, 0)
    assert labels_of(batches, 0) != labels_of(batches, 1)
    assert labels_of(batches, 0) != labels_of(RaggedBatches(TEXTS, LABELS, 16, seed=6), 0)
    measured = RaggedBatches(TEXTS, LABELS, 16)
    assert labels_of(measured, 0) == labels_of(measured, 7)


def test_batches_do_not_come_by_length_and_meet_others_each_epoch() -> None:
    batches = RaggedBatches(TEXTS, LABELS, 16, seed=0, pool=10)
    longest = np.array([batches.batch(0, place).lengths.max() for place in range(len(batches))])
    assert abs(np.corrcoef(np.arange(len(longest)), longest)[0, 1]) < 0.3
    company = [{frozenset(rows.tolist()) for rows in batches.rows(epoch)} for epoch in range(2)]
    assert not company[0] & company[1]


def test_any_place_can_be_asked_for_first() -> None:
    whole = RaggedBatches(TEXTS, LABELS, 16, seed=1)
    in_order = [whole.batch(epoch, place) for epoch in range(2) for place in range(len(whole))]
    resumed = RaggedBatches(TEXTS, LABELS, 16, seed=1)
    assert the_same(resumed.batch(1, 70), in_order[len(whole) + 70])
    assert the_same(resumed.batch(0, 3), in_order[3])
    assert not the_same(in_order[3], in_order[4])
    assert not resumed.carries_state


def test_the_next_step_is_predicted_with_a_fill_of_its_own() -> None:
    words = Ragged.from_lengths(np.arange(7, dtype=np.uint16), [4, 3])
    batches = RaggedBatches(words.without_last(), words.without_first(), 2, target_fill=-100)
    batch = batches.batch(0, 0)
    assert batch.lengths.tolist() == [2, 3]
    assert batch.inputs.tolist() == [[4, 0], [5, 1], [0, 2]]
    assert batch.targets.tolist() == [[5, 1], [6, 2], [-100, 3]]
    assert batch.inputs.dtype == batch.targets.dtype == batch.lengths.dtype == np.int64


def test_features_come_as_float32() -> None:
    rolls = Ragged.from_lengths(np.ones((5, 88), np.uint8), [3, 2])
    batch = RaggedBatches(rolls.without_last(), rolls.without_first(), 2).batch(0, 0)
    assert batch.inputs.shape == batch.targets.shape == (2, 2, 88)
    assert batch.inputs.dtype == batch.targets.dtype == np.float32


def test_wrong_sequences_and_options_are_errors() -> None:
    with pytest.raises(OptionError, match="batch is too small\n  expected: at least 1\n  got: 0"):
        RaggedBatches(TEXTS, LABELS, 0)
    with pytest.raises(OptionError, match="pool is too small"):
        RaggedBatches(TEXTS, LABELS, 1, pool=0)
    with pytest.raises(ShapeError, match="each sequence has a target\n  expected: 2000 targets\n  got: 1999"):
        RaggedBatches(TEXTS, LABELS[1:], 1)
    with pytest.raises(DataError, match="sequence 1 is empty"):
        RaggedBatches(Ragged.from_lengths(np.zeros(2), [2, 0]), np.zeros(2), 1)
    with pytest.raises(DataError, match="there is no sequence to make batches of"):
        RaggedBatches(Ragged.from_lengths(np.zeros(0), []), np.zeros(0), 1)
    with pytest.raises(
        ShapeError, match="the targets of sequence 1 are not as long as its inputs\n  expected: 2 steps"
    ):
        RaggedBatches(Ragged.from_lengths(np.zeros(4), [2, 2]), Ragged.from_lengths(np.zeros(5), [2, 3]), 1)
