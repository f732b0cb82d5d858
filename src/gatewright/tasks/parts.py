"""Data sets in parts, as batches that can be asked for by their place."""

import hashlib
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gatewright.tasks.data import UNKNOWN, CharVocabulary, SequentialBatches, split
from gatewright.tasks.recipe import Batches, Data, Sizes

Array = NDArray[Any]
_MEASURED_ROWS = 8  # streams of a text that is measured: each begins without knowing what came before


class Rows(NamedTuple):
    """A batch: inputs (time, rows, ...), targets (rows, ...) or (time, rows, ...)."""

    inputs: Array
    targets: Array


class ArrayBatches:
    """Rows of arrays, in their order, or in one that is drawn for each epoch from (seed, epoch).

    The last batch may be shorter. `timed` says that targets have a time axis before their rows, as inputs have.
    """

    carries_state = False

    def __init__(
        self, inputs: Array, targets: Array, batch: int, *, seed: int | None = None, timed: bool = False
    ) -> None:
        self._inputs, self._targets, self._batch, self._seed = inputs, targets, batch, seed
        self._axis = int(timed)
        self._order: tuple[int, NDArray[np.int64]] | None = None

    def __len__(self) -> int:
        return math.ceil(self._inputs.shape[1] / self._batch)

    def batch(self, epoch: int, position: int) -> Rows:
        """The rows of that place in the epoch's order."""
        rows = self._drawn(epoch)[position * self._batch : (position + 1) * self._batch]
        return Rows(self._inputs[:, rows], np.take(self._targets, rows, axis=self._axis))

    def _drawn(self, epoch: int) -> NDArray[np.int64]:
        count = self._inputs.shape[1]
        if self._seed is None:
            return np.arange(count)
        if self._order is None or self._order[0] != epoch:
            self._order = epoch, np.random.default_rng([self._seed, epoch]).permutation(count)
        return self._order[1]


class MadeBatches:
    """Batches that a function makes anew, from a seed that is another for each of them."""

    carries_state = False

    def __init__(self, make: Callable[[int], Rows], count: int, *, seed: int) -> None:
        self._make, self._count, self._seed = make, count, seed

    def __len__(self) -> int:
        return self._count

    def batch(self, epoch: int, position: int) -> Rows:
        """The batch of that place; always the same for the same seed."""
        drawn = np.random.SeedSequence([self._seed, epoch, position]).generate_state(1, np.uint64)
        return self._make(int(drawn[0]))


def text_data(text: str, name: str, *, batch: int, steps: int, held_out: float, tokens: int | None, seed: int) -> Data:
    """The characters of a text: its beginning to train on, its last shares for the validation and the test.

    Without a share held out the training part itself is measured. `tokens` keeps only the start of the training part.
    """
    vocabulary = CharVocabulary.from_text(text, unknown=True)
    found = split(vocabulary.encode(text), validation=held_out, test=held_out, train_tokens=tokens)
    train = SequentialBatches(found.train, batch, steps, random_offset=True, seed=seed)
    parts: dict[str, Batches] = {"train": train}
    if held_out:
        rows = min(batch, _MEASURED_ROWS)
        parts["validation"] = SequentialBatches(found.validation, rows, steps, keep_tail=True)
        parts["test"] = SequentialBatches(found.test, rows, steps, keep_tail=True)
    measured = ("validation", "test") if held_out else ("train",)
    sizes = Sizes(len(vocabulary), len(vocabulary), vocabulary.symbols)
    origin = {"text": name, "sha256": hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()}
    return Data(parts, sizes, measured, origin)


def whole_text(text: str, sizes: Sizes, *, steps: int) -> Data:
    """All of a text to be measured, in symbols that are known already."""
    tokens = vocabulary_of(sizes).encode(text)
    rows = min(_MEASURED_ROWS, max(1, len(tokens) // (2 * steps)))
    return Data({"text": SequentialBatches(tokens, rows, steps, keep_tail=True)}, sizes, ("text",))


def vocabulary_of(sizes: Sizes) -> CharVocabulary:
    """The characters that a network was made for."""
    symbols = sizes.vocabulary or ()
    unknown = symbols[:1] == (UNKNOWN,)
    return CharVocabulary(symbols[int(unknown) :], unknown=unknown)
