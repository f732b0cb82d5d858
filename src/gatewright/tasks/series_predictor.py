"""What a network of labelled time series answers: the class of each series, or the numbers of its targets."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gatewright.errors import OptionError
from gatewright.tasks.data.series_sources import KnownSeries, read_unlabelled
from gatewright.tasks.predict import ClassPredictor, Examples, Predictor, pooled_outputs

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

        if options.get("top") is not None:
            raise OptionError("option 'top' is of classes, and the model tells numbers", do="leave it out")
        self.needs_source(source)
        examples = self.examples(source)
        if not options.get("any_scale"):
            self.check_scale(examples.sequences, source)
        outputs = pooled_outputs(self.model.network, examples.sequences)
        targets: list[str] = self.model.signature["columns"]["targets"]
        columns = {name: outputs[:, place].tolist() for place, name in enumerate(targets)}
        return pd.DataFrame({**{name: list(values) for name, values in examples.keys.items()}, **columns})

    def predict_line(self, line: str, **options: Any) -> Mapping[str, Any]:
        """Refused: a line is no series."""
        return Predictor.predict_line(self, line, **options)

    def examples(self, source: object) -> Examples:
        """The series of a source, as they were read in training."""
        model = self.model
        recipe: Any = model.recipe
        lengths = model.signature.get("lengths", {})
        classes, key = model.sizes.classes or (), model.signature.get("key", "")
        known = KnownSeries(model.sizes.variables, key, lengths.get("longest"), classes)
        series = read_unlabelled(source, recipe, known)
        return Examples(series.sequences, {series.key: series.keys})
