"""Sequences of different lengths in one flat array, sets of them with labels, and sets in three parts."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError, OptionError, ShapeError

Array = NDArray[Any]
Numbers = NDArray[np.int64]
Kind = TypeVar("Kind")


@dataclass(frozen=True, eq=False, repr=False)
class Ragged:
    """Sequences that lie in one array `values`, (all steps, ...); sequence i begins at starts[i].

    Choosing, reordering and shortening sequences makes new starts and lengths, and copies no values.
    """

    values: Array
    starts: Numbers  # (sequences,)
    lengths: Numbers  # (sequences,)

    def __post_init__(self) -> None:
        fits = self.starts.shape == self.lengths.shape == (self.starts.size,)
        if not fits or min(self.starts.min(initial=0), self.lengths.min(initial=0)) < 0:
            got = f"starts {self.starts.shape}, lengths {self.lengths.shape}"
            raise ShapeError("a Ragged has a start and a length for each sequence, none negative", got=got)
        end = int((self.starts + self.lengths).max(initial=0))
        if end > len(self.values):
            raise ShapeError("a sequence ends beyond the values", expected=f"{len(self.values)} steps", got=str(end))

    @classmethod
    def from_lengths(cls, values: Array, lengths: Sequence[int] | Numbers) -> Self:
        """Sequences of those lengths that lie one after the other and fill the values."""
        sizes = np.asarray(lengths, np.int64).reshape(-1)
        if sizes.sum() != len(values):
            raise ShapeError(
                "the lengths do not add up to the values", expected=f"{len(values)} steps", got=str(sizes.sum())
            )
        return cls(values, np.cumsum(sizes) - sizes, sizes)

    @classmethod
    def join(cls, sequences: Sequence[Array]) -> Self:
        """Those arrays, (steps, ...) each, in one."""
        if not sequences:
            raise OptionError("there is no sequence to join")
        return cls.from_lengths(np.concatenate(sequences), [len(sequence) for sequence in sequences])

    def __len__(self) -> int:
        return len(self.starts)

    def __repr__(self) -> str:
        return f"Ragged({len(self)} sequences, {self.steps} steps of {self.values.shape[1:]}, {self.values.dtype})"

    def __getitem__(self, place: int) -> Array:
        """One sequence, a view of the values."""
        start = self.starts[place]
        return self.values[start : start + self.lengths[place]]

    @property
    def steps(self) -> int:
        """The steps of all sequences together."""
        return int(self.lengths.sum())

    def select(self, places: Any) -> Self:
        """Those sequences, in that order."""
        return type(self)(self.values, self.starts[places], self.lengths[places])

    def without_first(self) -> Self:
        """Each sequence from its second step on: the targets of a network that predicts the next step."""
        return type(self)(self.values, self.starts + 1, self._one_less())

    def without_last(self) -> Self:
        """Each sequence without its last step: the inputs of a network that predicts the next step."""
        return type(self)(self.values, self.starts, self._one_less())

    def shortened(self, limit: int) -> Self:
        """Each sequence's first steps, `limit` at most."""
        if limit < 1:
            raise OptionError("sequences cannot be shortened so", expected="limit >= 1", got=str(limit))
        return type(self)(self.values, self.starts, np.minimum(self.lengths, limit))

    def compact(self) -> Self:
        """The same sequences one after the other in values of their own, which hold nothing else."""
        begins = np.cumsum(self.lengths) - self.lengths
        places = np.repeat(self.starts - begins, self.lengths) + np.arange(self.steps)
        return type(self)(self.values[places], begins, self.lengths)

    def padded(self, places: Numbers, fill: float = 0, dtype: Any = None) -> Array:
        """Those sequences side by side, (longest, sequences, ...); what lies after an end is `fill`."""
        starts, lengths = self.starts[places], self.lengths[places]
        steps = np.arange(lengths.max(initial=0))[:, np.newaxis]  # (longest, 1)
        present = steps < lengths
        padded = self.values[np.where(present, starts + steps, 0)].astype(dtype or self.values.dtype, copy=False)
        padded[~present] = fill
        return padded

    def _one_less(self) -> Numbers:
        if self.lengths.min(initial=1) < 1:
            raise DataError(f"sequence {int(np.argmin(self.lengths))} is empty: it has no step to leave out")
        return self.lengths - 1


@dataclass(frozen=True, eq=False, repr=False)
class LabelledSequences:
    """Sequences with the number of the class of each; or with its targets of a regression, and then without classes.

    Sequences are (steps, channels) of float32, (steps,) of numbers of symbols, or (steps,) of UTF-8 bytes where a text
    has not been divided into words yet.
    """

    sequences: Ragged
    labels: Array  # (sequences,) of int64, or (sequences, targets) of float32
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"LabelledSequences({self.sequences!r}, {self.counts()})"

    def select(self, places: Any) -> Self:
        """Those sequences with their labels."""
        return type(self)(self.sequences.select(places), self.labels[places], self.classes)

    def divided(self, share: float, seed: int) -> tuple[Self, Self]:
        """What is kept, and the share of each class that is held out: see `held_out`."""
        kept, out = held_out(self.labels, share, seed)
        return self.select(kept), self.select(out)

    def counts(self) -> dict[str, int]:
        """How many sequences each class has."""
        counts = np.bincount(self.labels, minlength=len(self.classes)).tolist()
        return dict(zip(self.classes, counts, strict=True))


def class_numbers(
    labels: Sequence[str], classes: Sequence[str], where: Callable[[int], str], noun: str = "class"
) -> Numbers:
    """The place of each label in the classes. Raises DataError, with `where` that example is, for any other label."""
    numbers = {name: place for place, name in enumerate(classes)}
    for place, label in enumerate(labels):
        if label not in numbers:
            problem = f"{where(place)}: the {noun} is unknown"
            raise DataError(problem, expected=f"one of {', '.join(classes)}", got=repr(label[:60]))
    return np.array([numbers[label] for label in labels], np.int64)


def check_classes(source: object, labels: Numbers, names: Sequence[str]) -> None:
    """Refuse data with a single class."""
    if len(present := np.unique(labels)) == 1:
        raise DataError(
            f"{source}: every example is of the class {names[int(present[0])]!r}",
            expected="examples of two classes at least",
            got=f"{len(labels)} of one",
            do="add examples of another class",
        )


class Splits(NamedTuple, Generic[Kind]):
    """A data set in its three parts."""

    train: Kind
    validation: Kind
    test: Kind


def completed(
    parts: Mapping[str, Kind], validation: float, test: float, divide: Callable[[Kind, float], tuple[Kind, Kind]]
) -> Splits[Kind]:
    """The three parts; those that a source lacks are shares of the training part, the test part the first of them.

    `divide` splits a part into what is kept and the share that is held out.
    """
    whole = dict(parts)
    for name, share in (("test", test), ("validation", validation)):
        if name not in whole:
            whole["train"], whole[name] = divide(whole["train"], share)
    return Splits(whole["train"], whole["validation"], whole["test"])


def held_out(labels: Numbers, share: float, seed: int) -> tuple[Numbers, Numbers]:
    """The places to keep and those to hold out, both in rising order; each class gives its share, at random by seed.

    Of few examples one at least is held out, and one at least is kept.
    """
    if not 0 < share < 1:
        raise OptionError("the share to hold out is no share", expected="0 < share < 1", got=str(share))
    if len(labels) < 2:
        raise DataError(
            "nothing would be left in a part",
            expected="an example at least to train on, and one that is held out",
            got=f"{len(labels)} in all",
            do="give more examples",
        )
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    count = min(max(round(share * len(labels)), 1), len(labels) - 1)
    taken = np.zeros(len(labels), np.bool_)
    # Evenly spaced over the classes that lie one after the other: a share of each, and exactly `count` in all.
    taken[by_class[((np.arange(count) + 0.5) * len(labels) / count).astype(np.int64)]] = True
    return np.flatnonzero(~taken), np.flatnonzero(taken)


def doubtful_classes(names: Sequence[str]) -> tuple[str, ...]:
    """Lines on classes that differ only in capital letters or spaces, and on those that are several classes together.

    `Good` and `good` may be one class that is written in two ways. `a;b` beside `a` and `b` may be two labels of one
    example, but a classifier takes each combination as a class of its own.
    """
    plain: dict[str, list[str]] = {}
    for name in names:
        plain.setdefault(" ".join(re.split(r"[\s_-]+", name.lower())), []).append(name)
    alike = [" and ".join(map(repr, several)) for several in plain.values() if len(several) > 1]
    several = [name for name in names if len(parts := re.split(r"\s*[;,|]\s*", name)) > 1 and {*parts} & {*names}]
    remarks = {
        "classes that differ only in capital letters or spaces": alike,
        "each combination of labels is a class of its own": [repr(name) for name in several],
    }
    return tuple(f"{remark}: {', '.join(listed[:3])}" for remark, listed in remarks.items() if listed)
