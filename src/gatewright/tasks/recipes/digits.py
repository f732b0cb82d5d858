"""Handwritten digits of 8 x 8 pixels, read row by row and classified."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gatewright.tasks.answers.predictor import Examples
from gatewright.tasks.classifier import Classifier
from gatewright.tasks.data.batches.arrays import ArrayBatches
from gatewright.tasks.data.images.digits import load_digits
from gatewright.tasks.data.images.pictures import BRIGHTEST, Look, load_pictures
from gatewright.tasks.data.ragged import Ragged
from gatewright.tasks.recipe import Expected, Schedule
from gatewright.tasks.run_data import Data, Sizes
from gatewright.tasks.trained_model import TrainedModel

INK = 16  # the brightest pixel of scikit-learn's digits


@dataclass(frozen=True)
class Digits(Classifier):
    """One row of pixels is a step. The digit is predicted from the state after the last row."""

    name = "digits"
    about = "classify scikit-learn's 8 x 8 handwritten digits, one row of pixels a step"
    pool = "last"
    expected = {"": Expected("test", "accuracy", at_least=0.96, seconds=20)}
    quick = "epochs=5"
    search = "rate=log:1e-3..2e-2 hidden=64,128,256 dropout=0..0.6 batch=16,32,64"

    hidden: int = 128
    epochs: int = 40
    rate: float = 5e-3
    schedule: Schedule = "one-cycle"
    batch: int = 32
    dropout: float = 0.4
    patience: int = 15

    def data(self, source: object) -> Data:
        """The digits of scikit-learn, split by the seed."""
        self.needs_no_data(source)
        digits = load_digits(seed=self.seed)
        parts = {
            "train": ArrayBatches(digits.train.inputs, digits.train.labels, self.batch, seed=self.seed),
            "validation": ArrayBatches(digits.validation.inputs, digits.validation.labels, 500),
            "test": ArrayBatches(digits.test.inputs, digits.test.labels, 500),
        }
        signature = {
            "input": "a row of pixels a step, from the top",
            "output": "a score for each class after the last step; softmax gives probabilities",
            "rows": 8,
            "columns": 8,
            "pixels": "from 0 (ground) to 16 (ink), divided by 16",
            "divided_by": INK,
            "order": "rows",
        }
        return Data(parts, Sizes(inputs=8, outputs=10, classes=tuple(map(str, range(10)))), signature=signature)

    def examples(self, source: object, model: TrainedModel) -> Examples:
        """Picture files with values from 0 to 255, and arrays like scikit-learn's with values from 0 to 16."""
        brightest = BRIGHTEST if isinstance(source, str | Path) else INK
        pictures = load_pictures(source, Look(8, 8, 0.0), brightest=brightest)
        return Examples(Ragged.join(list((pictures.images / brightest).astype(np.float32))), pictures.keys)
