"""How well each class is told from the others: precision, recall and F1 by class, and what is taken for what."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
_SCORES = ("precision", "recall", "f1")


@dataclass(frozen=True, eq=False)
class ClassReport:
    """The answers about one part of a data set, counted by what is true and by what was predicted.

    `confusion` is (true classes, predicted classes). Scores are those of scikit-learn: precision is the share of the
    answers of a class that are right, recall the share of its examples that are found, F1 their harmonic mean; where
    there is nothing to divide by, a score is 0. The macro average counts every class alike that is there or predicted.
    """

    classes: tuple[str, ...]
    confusion: Counts
    unscored: str = ""  # a row and column that is no class: what is none, such as tokens outside of entities

    @cached_property
    def scores(self) -> Mapping[str, Mapping[str, float]]:
        """By class: precision, recall, f1, and the number of its examples."""
        places = [place for place, name in enumerate(self.classes) if name != self.unscored]
        values = self._scored(labels=places, average=None)
        examples = self.confusion.sum(1)
        return {
            self.classes[place]: {
                **{score: float(values[row][column]) for row, score in enumerate(_SCORES)},
                "examples": int(examples[place]),
            }
            for column, place in enumerate(places)
        }

    @cached_property
    def macro(self) -> Mapping[str, float]:
        """The means over the classes of precision, recall and f1."""
        there = np.flatnonzero(self.confusion.any(0) | self.confusion.any(1)).tolist()
        labels = [place for place in there if self.classes[place] != self.unscored]
        means = self._scored(labels=labels, average="macro")[:3] if labels else (0, 0, 0)
        return dict(zip(_SCORES, map(float, means), strict=True))

    def _scored(self, **options: Any) -> Any:
        from sklearn.metrics import precision_recall_fscore_support

        true, predicted = np.nonzero(self.confusion)
        weights = self.confusion[true, predicted]
        score: Any = precision_recall_fscore_support  # its types say that zero_division is a text
        return score(true, predicted, sample_weight=weights, zero_division=0, **options)

    def mistaken_for(self, name: str) -> tuple[str, int]:
        """The class that examples of another are most often taken for, and how often; ("", 0) where all are right."""
        place = self.classes.index(name)
        wrong = self.confusion[place].copy()
        wrong[place] = 0
        worst = int(wrong.argmax())
        return (self.classes[worst], int(wrong[worst])) if wrong[worst] else ("", 0)

    def kept(self) -> dict[str, Any]:
        """All of it, ready for JSON; of the confusion matrix the counts that are not 0: [true, predicted, count]."""
        true, predicted = np.nonzero(self.confusion)
        counts = self.confusion[true, predicted].tolist()
        names = [(self.classes[row], self.classes[column]) for row, column in zip(true, predicted, strict=True)]
        return {
            "classes": {name: dict(values) for name, values in self.scores.items()},
            "macro": dict(self.macro),
            "confusion": [[*pair, count] for pair, count in zip(names, counts, strict=True)],
            "unscored": self.unscored,
        }

    @classmethod
    def restored(cls, kept: Mapping[str, Any]) -> Self:
        """The report that `kept` gave."""
        unscored = str(kept.get("unscored", ""))
        classes = (*kept["classes"], *([unscored] if unscored else []))
        places = {name: place for place, name in enumerate(classes)}
        confusion = np.zeros((len(classes), len(classes)), np.int64)
        for true, predicted, count in kept["confusion"]:
            confusion[places[true], places[predicted]] = count
        return cls(classes, confusion, unscored)
