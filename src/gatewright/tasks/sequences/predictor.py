"""What a network of labelled time series answers: the class of each series, or the numbers of its targets."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from gatewright.errors import OptionError
from gatewright.tasks.answers.predictor import ClassPredictor, Examples, pooled_outputs
from gatewright.tasks.data.ragged import Ragged
from gatewright.tasks.data.series.sources import (
    KnownSeries,
    SeriesReading,
    read_unlabelled,
    read_unlabelled_line,
)

if TYPE_CHECKING:
    from pandas import DataFrame


class SeriesPredictor(ClassPredictor):
    """The class of each series with its probabilities, or a column for each target.

    Series come in the forms that the recipe reads, with labels or without, which are ignored; a key says which is
    which: its `id`, `line`, `file` or `row`. Channels are found by their names.
    """

    def predict(self, source: object, **options: Any) -> "DataFrame":
        """A row for each series.

        Raises OptionError for an option that there is not, and DataError where the data cannot be read.
        """
        if self.model.sizes.classes:
            return super().predict(source, **options)
        import pandas as pd

        self._refuse_top(options)
        self.needs_source(source)
        examples = self.examples(source)
        if not options.get("any_scale"):
            self.check_scale(examples.sequences, source)
        columns = self._numbers(examples.sequences)
        return pd.DataFrame({**{name: list(values) for name, values in examples.keys.items()}, **columns})

    def predict_line(self, line: str, **options: Any) -> Mapping[str, Any]:
        """The answer for a line with a series of one channel: a value a step, with or without a label before them.

        Raises OptionError where the model reads several channels, and DataError where the line is no series.
        """
        model, recipe = self.model, cast("SeriesReading", self.model.recipe)
        if model.sizes.inputs > 1:
            raise OptionError(
                "a line of standard input is a series of one channel",
                expected=f"series of {model.sizes.inputs} channels: {', '.join(model.sizes.variables or ())}",
                do="give a file or folder",
                shell="give a file or folder with --data",
            )
        sequences = read_unlabelled_line(line, recipe, self._known()).sequences
        if not options.get("any_scale"):
            self.check_scale(sequences, "the line")
        if model.sizes.classes:
            self._check_top(options.get("top"))
            columns = self._columns(self.probabilities(sequences), options.get("top"))
        else:
            self._refuse_top(options)
            columns = self._numbers(sequences)
        return {name: values[0] for name, values in columns.items()}

    def examples(self, source: object) -> Examples:
        """The series of a source, as they were read in training."""
        series = read_unlabelled(source, cast("SeriesReading", self.model.recipe), self._known())
        return Examples(series.sequences, {series.key: series.keys})

    def _known(self) -> KnownSeries:
        model = self.model
        longest = model.signature.get("lengths", {}).get("longest")
        return KnownSeries(model.sizes.variables, model.signature.get("key", ""), longest, model.sizes.classes or ())

    def _numbers(self, sequences: Ragged) -> dict[str, list[float]]:
        """The targets of each series, by their names."""
        outputs = pooled_outputs(self.model.network, sequences)
        targets: list[str] = self.model.signature["columns"]["targets"]
        return {name: outputs[:, place].tolist() for place, name in enumerate(targets)}

    def _refuse_top(self, options: Mapping[str, Any]) -> None:
        if options.get("top") is not None:
            raise OptionError("option 'top' is of classes, and the model tells numbers", do="leave it out")
