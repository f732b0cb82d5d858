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
        indices = [index for index, name in enumerate(self.classes) if name != self.unscored]
        *scores, _ = self._scored(labels=indices, average=None)
        examples = self.confusion.sum(1)[indices]
        columns = {**dict(zip(_SCORES, scores, strict=True)), "examples": examples}
        return {
            self.classes[index]: {name: values[row].item() for name, values in columns.items()}
            for row, index in enumerate(indices)
        }

    @cached_property
    def macro(self) -> Mapping[str, float]:
        """The means over the classes of precision, recall and f1."""
        present = np.flatnonzero(self.confusion.any(0) | self.confusion.any(1)).tolist()
        labels = [index for index in present if self.classes[index] != self.unscored]
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
        index = self.classes.index(name)
        mistakes = self.confusion[index].copy()
        mistakes[index] = 0
        worst = int(mistakes.argmax())
        return (self.classes[worst], int(mistakes[worst])) if mistakes[worst] else ("", 0)

    def kept(self) -> dict[str, Any]:
        """All of it, ready for JSON; of the confusion matrix the counts that are not 0: [true, predicted, count]."""
        true, predicted = np.nonzero(self.confusion)
        counts = zip(true, predicted, self.confusion[true, predicted].tolist(), strict=True)
        return {
            "classes": {name: dict(values) for name, values in self.scores.items()},
            "macro": dict(self.macro),
            "confusion": [[self.classes[row], self.classes[column], count] for row, column, count in counts],
            "unscored": self.unscored,
        }

    @classmethod
    def restored(cls, kept: Mapping[str, Any]) -> Self:
        """The report that `kept` gave."""
        unscored = str(kept.get("unscored", ""))
        classes = (*kept["classes"], *([unscored] if unscored else []))
        indices = {name: index for index, name in enumerate(classes)}
        confusion = np.zeros((len(classes), len(classes)), np.int64)
        for true, predicted, count in kept["confusion"]:
            confusion[indices[true], indices[predicted]] = count
        return cls(classes, confusion, unscored)
