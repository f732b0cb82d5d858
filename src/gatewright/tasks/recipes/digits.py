"""Handwritten digits of 8 x 8 pixels, told apart by reading them row by row."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from gatewright.tasks.data import load_digits
from gatewright.tasks.objectives import Classes
from gatewright.tasks.parts import ArrayBatches
from gatewright.tasks.recipe import Data, Expected, Pooling, Recipe, Schedule, Sizes


@dataclass(frozen=True)
class Digits(Recipe):
    """A row of pixels is one step; the state after the last row says which digit it was."""

    name: ClassVar[str] = "digits"
    about: ClassVar[str] = "classify scikit-learn's 8 x 8 handwritten digits, one row of pixels a step"
    pool: ClassVar[Pooling] = "last"
    expected: ClassVar[Mapping[str, Expected]] = {"": Expected("test", "accuracy", at_least=0.96, seconds=20)}
    quick: ClassVar[str] = "epochs=5"
    search: ClassVar[str] = "rate=log:1e-3..2e-2 hidden=64,128,256 dropout=0..0.6 batch=16,32,64"

    hidden: int = 128
    epochs: int = 40
    rate: float = 5e-3
    schedule: Schedule = "one-cycle"
    batch: int = 32
    dropout: float = 0.4
    patience: int = 15

    def objective(self) -> Classes:
        """Cross entropy of the ten digits."""
        return Classes()

    def data(self, source: object) -> Data:
        """The digits that scikit-learn carries, split by the seed."""
        self.needs_no_data(source)
        digits = load_digits(seed=self.seed)
        parts = {
            "train": ArrayBatches(digits.train.inputs, digits.train.labels, self.batch, seed=self.seed),
            "validation": ArrayBatches(digits.validation.inputs, digits.validation.labels, 500),
            "test": ArrayBatches(digits.test.inputs, digits.test.labels, 500),
        }
        return Data(parts, Sizes(inputs=8, outputs=10), measured=("validation", "test"))
