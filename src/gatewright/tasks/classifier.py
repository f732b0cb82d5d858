"""What recipes that tell the class of an example have in common."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from gatewright.tasks.answers.predictor import Examples
from gatewright.tasks.objectives import Classes
from gatewright.tasks.recipe import Recipe

if TYPE_CHECKING:
    from gatewright.tasks.answers.predictor import Predictor
    from gatewright.tasks.model import Model


@dataclass(frozen=True)
class Classifier(Recipe):
    """One class for each example. `Sizes.classes` of its data are the names of the classes, in their order."""

    next_command: ClassVar[str] = "gatewright predict {model} --data {data}"
    reads_lines: ClassVar[bool] = False  # whether `examples` takes a list of texts, so that a line is an example

    @abstractmethod
    def examples(self, source: object, model: "Model") -> Examples:
        """The examples of a source, prepared as those were that the model was trained on; labels are not needed.

        Raises DataError where the source does not fit the model.
        """

    def objective(self) -> Classes:
        """Cross entropy of the classes."""
        return Classes()

    def predictor(self, model: "Model") -> "Predictor":
        """The class of each example and all probabilities."""
        from gatewright.tasks.answers.predictor import ClassPredictor

        return ClassPredictor(model)
