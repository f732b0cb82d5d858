"""What recipes that tell the class of an example have in common."""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from gatewright.errors import DataError
from gatewright.tasks.answers.predictor import ClassPredictor, Examples
from gatewright.tasks.objectives import Classes
from gatewright.tasks.recipe import Recipe
from gatewright.tasks.trained_model import TrainedModel


@dataclass(frozen=True)
class Classifier(Recipe):
    """One class for each example. `Sizes.classes` of its data are the names of the classes, in their order."""

    predictor_class = ClassPredictor
    objective_class = Classes
    next_command: ClassVar[str] = "gatewright predict {model} --data {data}"
    reads_lines: ClassVar[bool] = False  # whether `examples` takes a list of texts, so that a line is an example

    @abstractmethod
    def examples(self, source: object, model: TrainedModel) -> Examples:
        """The examples of a source, prepared as those were that the model was trained on; labels are not needed.

        Raises DataError where the source does not fit the model.
        """


def check_known_labels(source: str, labels: Iterable[str], classes: Sequence[str]) -> None:
    """Refuse data with labels that a model does not know, with both lists."""
    present = sorted(set(labels))
    unknown = [label for label in present if label not in classes]
    if unknown:
        raise DataError(
            f"{source} has labels that the model does not know: {', '.join(unknown[:10])}",
            expected=f"the model's: {', '.join(classes)}",
            got=", ".join(present[:50]) + (", ..." if len(present) > 50 else ""),
            do="give data with the model's labels, or name their column with label=...",
            shell="give data with the model's labels, or name their column with --set label=...",
        )


def check_two_labels(source: str, item: str, labels: Iterable[str]) -> None:
    """Refuse data to train on in which every item has the same label."""
    present = set(labels)
    if len(present) < 2:
        raise DataError(
            f"{source}: every {item} has the label {''.join(present)!r}",
            expected="two different labels at least",
            do="name the column of the labels: label='COLUMN'",
            shell="name the column of the labels: --set label=COLUMN",
        )
