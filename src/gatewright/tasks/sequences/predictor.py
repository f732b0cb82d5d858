"""Predictions for time series: the class of each series, or the numbers of its targets."""

from collections.abc import Mapping
from typing import Any

from gatewright.errors import OptionError
from gatewright.tasks.answers.predictor import ClassPredictor, Examples, pooled_outputs
from gatewright.tasks.data.ragged import Ragged
from gatewright.tasks.data.sequences.sources import (
    KnownSeries,
    read_unlabelled,
    read_unlabelled_line,
)


class SequencesPredictor(ClassPredictor):
    """The class of each series with its probabilities, or a column for each target.

    Series come in the forms that the recipe reads, with labels or without, which are ignored; a key says which is
    which: its `id`, `line`, `file` or `row`. Channels are found by their names.
    """

    def predict_line(self, line: str, **options: Any) -> Mapping[str, Any]:
        """The answer for a line with a series of one channel: a value a step, with or without a label before them.

        Raises OptionError where the model reads several channels, and DataError where the line is no series.
        """
        model = self.model
        if model.sizes.inputs > 1:
            raise OptionError(
                "a line of standard input is a series of one channel",
                expected=f"series of {model.sizes.inputs} channels: {', '.join(model.sizes.variables or ())}",
                do="give a file or folder",
                shell="give a file or folder with --data",
            )
        sequences = read_unlabelled_line(line, self.recipe, self._known()).sequences
        if not options.get("any_scale"):
            self.check_scale(sequences, "the line")
        self.check_top(options.get("top"))
        return {name: values[0] for name, values in self.answers(sequences, options.get("top")).items()}

    def examples(self, source: object) -> Examples:
        """The series of a source, as they were read in training."""
        series = read_unlabelled(source, self.recipe, self._known())
        return Examples(series.sequences, {series.key: series.keys})

    def _known(self) -> KnownSeries:
        model = self.model
        longest = model.signature.get("lengths", {}).get("longest")
        return KnownSeries(model.sizes.variables, model.signature.get("key", ""), longest, model.sizes.classes or ())

    def answers(self, sequences: Ragged, top: int | None) -> dict[str, list[Any]]:
        """The columns of classes; of a regression a column for each target, by its name."""
        if self.model.sizes.classes:
            return super().answers(sequences, top)
        outputs = pooled_outputs(self.model.network, sequences)
        targets: list[str] = self.model.signature["columns"]["targets"]
        return {name: outputs[:, place].tolist() for place, name in enumerate(targets)}

    def check_top(self, top: int | None) -> None:
        """Refuse more classes than there are, and any of a regression."""
        if self.model.sizes.classes:
            super().check_top(top)
        elif top is not None:
            raise OptionError("option 'top' is of classes, and the model tells numbers", do="leave it out")
