"""Batches: streams that continue from one to the next."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gatewright.errors import DataError, OptionError, ShapeError
from gatewright.tasks.data.batches.sequential import Batch, SequentialBatches

TOKENS = np.arange(1000, dtype=np.uint16)


def epoch_of(batches: SequentialBatches, epoch: int = 0) -> list[Batch]:
    return [batches.batch(epoch, position) for position in range(len(batches))]


def the_same(one: list[Batch], other: list[Batch]) -> bool:
    return len(one) == len(other) and all(
        np.array_equal(a.inputs, b.inputs) and np.array_equal(a.targets, b.targets)
        for a, b in zip(one, other, strict=True)
    )


def test_sequential_batches_are_the_books() -> None:
    batches = epoch_of(SequentialBatches(np.arange(35), batch=2, steps=5))
    assert [batch.inputs.T.tolist() for batch in batches] == [
        [[0, 1, 2, 3, 4], [17, 18, 19, 20, 21]],
        [[5, 6, 7, 8, 9], [22, 23, 24, 25, 26]],
        [[10, 11, 12, 13, 14], [27, 28, 29, 30, 31]],
    ]
    assert all(np.array_equal(batch.targets, batch.inputs + 1) for batch in batches)


@given(
    size=st.integers(2, 300),
    batch=st.integers(1, 7),
    steps=st.integers(1, 9),
    random_offset=st.booleans(),
    keep_tail=st.booleans(),
    epoch=st.integers(0, 5),
)
def test_streams_continue_and_end_together(
    size: int, batch: int, steps: int, random_offset: bool, keep_tail: bool, epoch: int
) -> None:
    assume(size > batch * steps + steps)
    batches = SequentialBatches(np.arange(size), batch, steps, random_offset=random_offset, keep_tail=keep_tail)
    streams = np.concatenate([batches.batch(epoch, place).inputs for place in range(len(batches))])
    targets = np.concatenate([batches.batch(epoch, place).targets for place in range(len(batches))])
    assert np.array_equal(targets, streams + 1)
    assert np.array_equal(streams[1:], streams[:-1] + 1)
    assert targets.max() < size
    first = streams[0, 0]
    assert first < steps if random_offset else first == 0
    if keep_tail:  # each stream then ends where the next one starts
        assert np.array_equal(streams[0, 1:], targets[-1, :-1])
    if keep_tail and not random_offset and batch == 1:
        assert len(streams) == size - 1
    if not keep_tail:
        assert len(streams) == len(batches) * steps


def test_the_offset_differs_between_epochs_and_takes_every_value() -> None:
    batches = SequentialBatches(TOKENS, 4, 5, random_offset=True)
    assert {int(batches.batch(epoch, 0).inputs[0, 0]) for epoch in range(40)} == {0, 1, 2, 3, 4}


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    def epochs(seed: int) -> list[list[Batch]]:
        batches = SequentialBatches(TOKENS, 4, 6, random_offset=True, seed=seed)
        return [epoch_of(batches, epoch) for epoch in range(3)]

    assert all(the_same(one, other) for one, other in zip(epochs(5), epochs(5), strict=True))
    first, second, third = epochs(5)
    assert not (the_same(first, second) and the_same(second, third))
    assert not all(the_same(one, other) for one, other in zip(epochs(5), epochs(6), strict=True))
    assert the_same(
        second, [SequentialBatches(TOKENS, 4, 6, random_offset=True, seed=5).batch(1, p) for p in range(len(second))]
    )


def test_a_batch_is_int64_and_its_own() -> None:
    tokens = np.arange(100)
    batch = SequentialBatches(tokens, 1, 5, random_offset=False).batch(0, 0)
    for array in batch:
        assert array.shape == (5, 1)
        assert array.dtype == np.int64
        assert array.flags.c_contiguous
        assert array.flags.writeable
        assert not np.shares_memory(array, tokens)


@pytest.mark.parametrize("random_offset", [False, True])
def test_the_shortest_text_is_said_and_is_enough(random_offset: bool) -> None:
    needed = 4 * 6 + 1 + 5 * random_offset
    assert len(SequentialBatches(np.arange(needed), 4, 6, random_offset=random_offset)) == 1
    with pytest.raises(DataError) as caught:
        SequentialBatches(np.arange(needed - 1), 4, 6, random_offset=random_offset)
    assert str(caught.value) == (
        "the text is too short for one batch\n"
        f"  expected: at least {needed} tokens for batch=4, steps=6\n"
        f"  got: {needed - 1} tokens\n"
        "  do: use a longer text, or a smaller batch or steps"
    )


@pytest.mark.parametrize("random_offset", [False, True])
def test_with_its_tail_a_shorter_text_is_enough(random_offset: bool) -> None:
    needed = 4 + 1 + 5 * random_offset
    batches = SequentialBatches(np.arange(needed), 4, 6, random_offset=random_offset, keep_tail=True)
    assert [batch.inputs.shape for batch in epoch_of(batches)] == [(1, 4)]
    with pytest.raises(DataError, match=f"expected: at least {needed} tokens"):
        SequentialBatches(np.arange(needed - 1), 4, 6, random_offset=random_offset, keep_tail=True)


def test_wrong_tokens_and_options_are_errors() -> None:
    with pytest.raises(ShapeError, match=r"got: shape \(10, 10\), int64"):
        SequentialBatches(np.zeros((10, 10), np.int64), 2, 2, random_offset=False, seed=0)
    with pytest.raises(ShapeError, match=r"got: shape \(100,\), float64"):
        SequentialBatches(np.zeros(100), 2, 2, random_offset=False, seed=0)
    with pytest.raises(OptionError, match="batch is too small\n  expected: at least 1\n  got: 0"):
        SequentialBatches(TOKENS, 0, 2, random_offset=False, seed=0)
    with pytest.raises(OptionError, match="steps is too small"):
        SequentialBatches(TOKENS, 2, 0, random_offset=False, seed=0)
    with pytest.raises(OptionError, match="seed is too small"):
        SequentialBatches(TOKENS, 2, 2, random_offset=False, seed=-1)
