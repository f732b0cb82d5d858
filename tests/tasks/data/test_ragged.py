"""Sequences of different lengths in one array."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gatewright.errors import DataError, OptionError, ShapeError
from gatewright.tasks.data.ragged import LabelledSequences, Ragged, held_out
from gatewright.tasks.data.texts.labelled import load_labelled_texts

LENGTHS = st.lists(st.integers(0, 9), min_size=1, max_size=20)


def counted(lengths: list[int]) -> Ragged:
    """Sequences whose values go on counting from one to the next."""
    return Ragged.from_lengths(np.arange(sum(lengths), dtype=np.uint16), lengths)


@given(LENGTHS, st.data())
def test_sequences_are_what_was_joined_in_any_order(lengths: list[int], data: st.DataObject) -> None:
    ends = np.cumsum(lengths)
    whole = [np.arange(end - length, end) for length, end in zip(lengths, ends, strict=True)]
    places = data.draw(st.lists(st.integers(0, len(lengths) - 1), max_size=30))
    chosen = counted(lengths).select(np.array(places, np.int64))
    assert [one.tolist() for one in map(chosen.__getitem__, range(len(chosen)))] == [whole[p].tolist() for p in places]
    compact = chosen.compact()
    assert compact.values.tolist() == [value for place in places for value in whole[place].tolist()]
    assert [compact[place].tolist() for place in range(len(places))] == [whole[place].tolist() for place in places]
    assert chosen.steps == len(compact.values)


@given(LENGTHS)
def test_padding_fills_what_lies_behind_an_end(lengths: list[int]) -> None:
    assume(sum(lengths))
    sequences = counted(lengths)
    places = np.arange(len(lengths))[::-1]
    found = sequences.padded(places, -100, np.int64)
    assert found.shape == (max(lengths), len(lengths))
    for column, place in enumerate(places):
        assert found[: lengths[place], column].tolist() == sequences[place].tolist()
        assert (found[lengths[place] :, column] == -100).all()


def test_features_follow_time_and_rows() -> None:
    sequences = Ragged.join([np.ones((2, 3)), 2 * np.ones((4, 3))])
    found = sequences.padded(np.array([0, 1]))
    assert found.shape == (4, 2, 3)
    assert found[:, :, 0].tolist() == [[1, 2], [1, 2], [0, 2], [0, 2]]


def test_what_is_read_and_what_is_predicted_are_views() -> None:
    sequences = counted([3, 2])
    read, predicted = sequences.without_last(), sequences.without_first()
    assert [read[0].tolist(), read[1].tolist()] == [[0, 1], [3]]
    assert [predicted[0].tolist(), predicted[1].tolist()] == [[1, 2], [4]]
    assert read.values is sequences.values
    with pytest.raises(DataError, match="sequence 1 is empty"):
        counted([3, 0]).without_last()


def test_sequences_are_shortened() -> None:
    sequences = counted([5, 2])
    start = sequences.shortened(3)
    assert [start[0].tolist(), start[1].tolist()] == [[0, 1, 2], [5, 6]]
    with pytest.raises(OptionError, match="cannot be shortened so"):
        sequences.shortened(0)


def test_wrong_lengths_are_errors() -> None:
    with pytest.raises(ShapeError, match="the lengths do not add up to the values\n  expected: 5 steps\n  got: 4"):
        Ragged.from_lengths(np.zeros(5), [1, 3])
    with pytest.raises(ShapeError, match="a sequence ends beyond the values\n  expected: 5 steps\n  got: 6"):
        Ragged(np.zeros(5), np.array([2]), np.array([4]))
    with pytest.raises(ShapeError, match="none negative"):
        Ragged(np.zeros(5), np.array([2]), np.array([-1]))
    with pytest.raises(OptionError, match="there is no sequence to join"):
        Ragged.join([])


def test_labels_follow_their_sequences() -> None:
    found = LabelledSequences(counted([1, 2, 3]), np.array([1, 0, 1]), ("no", "yes"))
    chosen = found.select(np.array([2, 1]))
    assert (chosen.sequences.lengths.tolist(), chosen.labels.tolist()) == ([3, 2], [1, 0])
    assert found.counts() == {"no": 1, "yes": 2}
    assert repr(found) == ("LabelledSequences(Ragged(3 sequences, 6 steps of (), uint16), {'no': 1, 'yes': 2})")


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.9])
def test_what_is_held_out_has_its_share_of_each_class(share: float) -> None:
    labels = np.repeat([0, 1, 2], [600, 300, 40])
    kept, out = held_out(labels, share, seed=1)
    assert np.array_equal(np.sort(np.concatenate([kept, out])), np.arange(940))
    assert len(out) == round(share * 940)
    assert np.abs(np.bincount(labels[out]) - share * np.bincount(labels)).max() <= 1
    assert np.array_equal(out, held_out(labels, share, seed=1)[1])
    assert not np.array_equal(out, held_out(labels, share, seed=2)[1])


def test_a_part_of_nothing_is_an_error() -> None:
    with pytest.raises(OptionError, match="the share to hold out is no share\n  expected: 0 < share < 1\n  got: 1"):
        held_out(np.zeros(5, np.int64), 1, seed=0)
    with pytest.raises(
        DataError, match="nothing would be left in a part\n.*\n  got: 1 in all\n  do: give more examples"
    ):
        held_out(np.zeros(1, np.int64), 0.5, seed=0)


def test_of_few_examples_one_at_least_is_in_each_part() -> None:
    for share in (0.1, 0.9):
        kept, out = held_out(np.array([0, 1, 0]), share, seed=0)
        assert (len(kept), len(out)) == ((2, 1) if share < 0.5 else (1, 2))
        assert sorted([*kept, *out]) == [0, 1, 2]
    assert [len(part) for part in held_out(np.array([0, 1]), 0.99, seed=0)] == [1, 1]


def test_data_of_one_class_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "texts.csv"
    path.write_text("text,label\n" + "a b c,good\n" * 40)
    with pytest.raises(DataError) as caught:
        load_labelled_texts(path)
    assert str(caught.value) == (
        f"{path}: every example is of the class 'good'\n"
        "  expected: examples of two classes at least\n"
        "  got: 40 of one\n"
        "  do: add examples of another class"
    )
