"""Labelled time series of one channel or several, of any length: a class for each, or numbers."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gatewright.tasks.classifier import check_known_labels
from gatewright.tasks.data.batches.buckets import MeasuredExamples
from gatewright.tasks.data.digest import digest_of_labelled
from gatewright.tasks.data.ragged import LabelledSequences
from gatewright.tasks.data.scaling import Scaling, variable_scales
from gatewright.tasks.data.sequences.batches import SeriesBatches, Variation
from gatewright.tasks.data.sequences.cases import Missing
from gatewright.tasks.data.sequences.labelled import LabelledSeries, LabelMeaning, class_names, load_labelled_series
from gatewright.tasks.data.sequences.linear import times_of
from gatewright.tasks.data.sequences.sources import SeriesReading, read_parts
from gatewright.tasks.objectives import Classes, Objective, Targets
from gatewright.tasks.recipe import BidirectionalRecipe, Expected
from gatewright.tasks.run_data import Data, Sizes
from gatewright.tasks.sequences.baselines import reached
from gatewright.tasks.sequences.predictor import SequencesPredictor
from gatewright.tasks.settings import setting
from gatewright.tasks.signatures import RAW_INPUTS, SOFTMAX, SequenceSignature, not_alike, plain_scaling
from gatewright.tasks.trained_model import TrainedModel
from gatewright.untrusted.kinds import Misfit

if TYPE_CHECKING:
    from torch import nn


_PATCHES = 48  # that the longest series is read in


@dataclass(frozen=True)
class Sequences(SeriesReading, BidirectionalRecipe):
    """Each channel is standardised by the training part. The outputs of the steps are pooled into one answer.

    Long series are read in patches and in both directions; the answer is the maximum over the steps of a series.

    The answers of the network are averaged with those of a linear model of the values at equally spaced times. Labels
    may be classes or numbers. Small data gets many epochs with random augmentation and no validation part; then the
    last network is kept.
    """

    name = "sequences"
    about = "classify time series, or predict a number for each: sensors, gestures, outlines, spectra"
    encode = "standardised"
    pool_setting = "read"
    predictor_class = SequencesPredictor
    signature_type = SequenceSignature
    data_forms = (
        "series with a label each: a table with a row for each step and the columns id, time, channels and label; a "
        "file with a series in each row, after its label (UCR .tsv); .ts, .arff or .npz; NAME_TRAIN and NAME_TEST of "
        "these; or a folder for each class with CSV files of a series each. In Python also (arrays, labels) and a "
        "DataFrame"
    )
    next_command = "gatewright predict {model} --data {data}"
    data_example = "id,time,ax,ay,label\n0,0,0.262,0.800,run\n0,1,0.640,0.603,run"
    earlier = {**BidirectionalRecipe.earlier, "patch": 1, "linear": 0}
    expected = {"": Expected("test", "accuracy", at_least=0.97, seconds=40)}
    quick = "epochs=3 updates=10"
    search = "rate=log:1e-3..1e-2 hidden=32,64,128 dropout=0..0.6"

    hidden: int = 64
    dropout: float = 0.1
    batch: int = 16
    epochs: int = 20
    optimiser: Literal["adam", "adamw", "rmsprop", "adadelta", "sgd"] = "adamw"
    weight_decay: float = 0.01
    rate: float = 5e-3
    schedule: Literal["constant", "cosine", "one-cycle", "decay"] = "one-cycle"
    clip: float = 1.0
    read: Literal["last", "mean", "max"] = setting("max", "what of the states says the answer")
    patch: int = setting(0, "steps that are read as one; 0 reads the longest series in 48 patches", least=0)
    linear: int | None = setting(
        None,
        "equally spaced times at which a linear model beside the network reads a series; auto: as many as a "
        "series has steps, 0 is without",
        least=0,
    )
    updates: int = setting(50, "updates in an epoch, at least: few series are gone through several times", least=1)
    vary: float | None = setting(
        None,
        "random changes of series to train on, in time, level and noise; 1 is usual; auto: 1 where labels are classes, "
        "0 where they are numbers, which such changes would falsify",
        least=0,
    )
    held_out: float = setting(0.2, "share for a test where there is none", least=0.001, below=0.5)
    validation: float | None = setting(
        None,
        "share to validate with; auto: as held_out, and of few series nothing (classes: below 100, numbers: below 20)",
        least=0,
        below=0.5,
    )

    def misfit(self, signature: Mapping[str, Any], sizes: Sizes) -> Misfit | None:
        """Channels, targets and lengths."""
        wrong = super().misfit(signature, sizes)
        if wrong or sizes.classes or "columns" not in signature:
            return wrong
        return not_alike("columns.targets", len(signature["columns"]["targets"]), sizes.outputs)

    def objective(self) -> Objective:
        """Cross entropy of the classes; of numbers the squared error."""
        return Targets() if self.task == "regression" else Classes()

    def network_class(self) -> "Callable[..., nn.Module]":
        """One that answers in the units of the targets."""
        from gatewright.tasks.sequences.network import SequencesNetwork

        return SequencesNetwork

    def network_options(self) -> Mapping[str, Any]:
        """The patches, and the linear model; of how many times, data has to say where no setting does."""
        return {"patch": self.patch, "linear": self.linear or 0}

    def described(self) -> dict[str, Any]:
        """The patches and the linear model, too."""
        linear = {"linear": {"times": self.linear}} if self.linear else {}
        return {**super().described(), "patch": self.patch, **linear}

    def default_source(self) -> str:
        """Japanese vowels."""
        return "japanese-vowels"

    def load(self, source: object) -> LabelledSeries:
        """The series of a name, a path or of arrays, in parts."""
        source = self.default_source() if source is None else source
        return load_labelled_series(
            source, validation=self.validation, test=self.held_out, seed=self.seed, reading=self
        )

    def data(self, source: object) -> Data:
        """The same, in batches of about equally long series."""
        series = self.load(source)
        train, meaning = series.parts.train, series.meaning
        scaling = Scaling.of(train.sequences.compact().values)
        measured = {name: part for name, part in series.parts._asdict().items() if name != "train" and len(part)}
        fitted = self._fitted(train, meaning)
        variation = Variation(fitted.get("vary", self.vary))
        batches = SeriesBatches(train, self.batch, self.updates, seed=self.seed, scaling=scaling, variation=variation)
        return Data(
            {"train": batches, **{name: MeasuredExamples(part) for name, part in measured.items()}},
            Sizes(len(series.channels), meaning.outputs, classes=meaning.classes or None, variables=series.channels),
            measured=tuple(measured),
            origin={"sha256": digest_of_labelled((train, *measured.values()))},
            scaling=scaling,
            fitted=fitted,
            remarks=series.remarks,
            signature=_signature(series, scaling, self.missing),
        )

    def _fitted(self, train: LabelledSequences, meaning: LabelMeaning) -> dict[str, Any]:
        """What follows from the data where nobody asked for it."""
        patch = math.ceil(int(train.sequences.lengths.max()) / _PATCHES)
        task = "regression" if meaning.is_regression else "classification"
        return {
            **({} if self.patch else {"patch": patch}),
            **({} if self.task == task else {"task": task}),
            **({} if self.vary is not None else {"vary": 0.0 if meaning.is_regression else 1.0}),
            **({} if self.linear is not None else {"linear": times_of(train.sequences)}),
        }

    def fitted_remark(self, fitted: Mapping[str, Any]) -> str:
        """In what patches series are read, where that follows from the data."""
        patch = fitted.get("patch", 1)
        return f"{patch} steps are read as one (patch=1 reads each by itself)" if patch > 1 else ""

    def prepare(self, network: "nn.Module", data: Data) -> None:
        """Hand it the scaling of the channels and that of the targets, and fit its linear model."""
        from gatewright.tasks.sequences.network import SequencesNetwork

        super().prepare(network, data)
        assert isinstance(network, SequencesNetwork)
        assert data.scaling is not None
        if network.unscaled is not None:
            scaling = data.signature["target_scaling"]
            network.unscaled.take(Scaling(np.array(scaling["mean"]), np.array(scaling["deviation"])))
        train: Any = data.parts["train"]
        network.fit_linear(train.examples, data.scaling)

    def evaluation(self, source: object, model: TrainedModel) -> Data:
        """What the model was trained for; of other data every series, in a part "test" where it has no parts."""
        if source is None:
            return super().evaluation(None, model)
        first, second = read_parts(source, self)
        sets = {"test": first} if second is None else {"train": first, "test": second}
        names = tuple(f"target {place}" for place in range(1, model.sizes.outputs + 1))
        meaning = LabelMeaning(
            model.sizes.classes or (), tuple(model.signature.get("columns", {}).get("targets", names))
        )
        channels = model.sizes.variables or first.channels
        for cases in sets.values():
            if not meaning.is_regression:
                check_known_labels(cases.name, class_names(cases), meaning.classes)
        parts = {name: cases.with_channels(channels) for name, cases in sets.items()}
        labelled = {
            name: LabelledSequences(cases.sequences, meaning.encoded(cases), meaning.classes)
            for name, cases in parts.items()
        }
        batches = {name: MeasuredExamples(part) for name, part in labelled.items()}
        steps = np.concatenate([part.sequences.compact().values for part in labelled.values()])
        signature = {"variables": variable_scales(steps, channels)}
        return Data(batches, model.sizes, measured=tuple(batches), signature=signature)

    def baselines(self, data: Data) -> Mapping[str, Mapping[str, float]]:
        """A ridge regression, and the nearest neighbour or the mean."""
        return reached(data)


def _signature(series: LabelledSeries, scaling: Scaling, missing: Missing) -> dict[str, Any]:
    train, meaning = series.parts.train, series.meaning
    lengths = train.sequences.lengths
    signature: dict[str, Any] = {
        "columns": {"channels": list(series.channels), "targets": list(meaning.targets)},
        "variables": variable_scales(train.sequences.compact().values, series.channels),
        "inputs": RAW_INPUTS,
        "scaling": plain_scaling(scaling),
        "missing": missing,
        "key": series.key,
        "lengths": {"shortest": int(lengths.min()), "longest": int(lengths.max())},
    }
    if meaning.is_regression:
        signature["target_scaling"] = plain_scaling(Scaling.of(train.labels))
        signature["outputs"] = "the targets, in the units of the data"
    else:
        signature["probabilities"] = SOFTMAX
    return signature
