"""Predictions of a trained model for new data, as a DataFrame. torch and pandas are imported when they are used."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import GatewrightError, OptionError
from gatewright.tasks.answers.network_inputs import MANY, NetworkInputs, padded
from gatewright.tasks.data.batches.buckets import RaggedBatches
from gatewright.tasks.data.published.sources import IN_MEMORY, source_name
from gatewright.tasks.data.ragged import Ragged
from gatewright.tasks.data.scaling import check_scales, variable_scales
from gatewright.tasks.run_data import Batches, Data
from gatewright.tasks.trained_model import TrainedModel

if TYPE_CHECKING:
    from pandas import DataFrame
    from torch import Tensor, nn


ANY_SCALE = {"any_scale": "accept numbers of another scale than those that the model was trained on"}
"""The option of predictors that call `check_scale`."""

_ROWS = 100  # of a batch


@dataclass(frozen=True)
class Examples:
    """The inputs of a prediction: sequences as the network reads them, and what identifies each in the answer.

    `keys` are columns of the answer, such as `line`, `id` or `file`, with a value for each sequence. `remarks` are
    lines for a person about how the data was read.
    """

    sequences: Ragged
    keys: Mapping[str, Sequence[Any]]
    remarks: tuple[str, ...] = ()


class Predictor(ABC):
    """Predictions of one model; `Recipe.predictor` makes it. What the rows of an answer hold is said by each kind."""

    needs_data: ClassVar[bool] = True
    """Whether `predict` has nothing to answer without data."""
    options: ClassVar[Mapping[str, str]] = {}
    """What `predict` can be asked for beside the data: names, each with a line that says what it does."""
    suffixes: ClassVar[tuple[str, ...]] = ()
    """Files beside tables that `encode` can write, such as ".png"."""
    stream_remark: str = ""
    """How a stream is read, once its first answer is there: a line for a person, where something was inferred."""

    remarks: tuple[str, ...] = ()
    """How the latest data was read: lines for a person, where something was inferred."""

    totals: Mapping[str, Any] = {}
    """What the latest answers come to together, such as the perplexity of a text: the `attrs` of the DataFrame."""

    def __init__(self, model: TrainedModel) -> None:
        self.model = model
        self.recipe: Any = model.recipe

    def predict(self, source: object, **options: Any) -> "DataFrame":
        """A row for each answer, about a file, a folder or data in memory; `options` are those that are declared.

        Raises DataError where the source cannot be read or does not fit the model.
        """
        import pandas as pd

        if source is None and self.needs_data:
            raise OptionError(
                "there is no data to answer for",
                expected=self.model.recipe.data_forms or None,
                do="give a file, a folder or data in memory",
                shell="name a file or folder with --data",
            )
        answers = pd.DataFrame(self.table(source, **options))
        answers.attrs.update(self.totals)
        return answers

    @abstractmethod
    def table(self, source: object, **options: Any) -> Any:
        """The answers, as columns or rows that pandas makes a DataFrame of."""

    def predict_line(self, line: str, **options: Any) -> Mapping[str, Any]:
        """The answer for a line of text; an OptionError where lines make no sense to the model."""
        raise OptionError(
            f"a model of the recipe {self.model.recipe.name!r} does not read lines of text",
            do="give a file or folder",
            shell="give a file or folder with --data",
        )

    def predict_stream(self, stream: BinaryIO, **options: Any) -> Iterator[Mapping[str, Any]]:
        """An answer for each line of text in a stream of bytes, as it comes; `line` says which."""
        from gatewright.tasks.data.reading import decoded

        for number, content in enumerate(stream, 1):
            line = decoded("standard input", content, offset=number - 1, line=number).rstrip("\r\n")
            try:
                answer = self.predict_line(line, **options)
            except GatewrightError as error:
                error.locate(f"standard input, line {number}")
                raise
            yield {"line": number, **answer}

    def network_inputs(self, source: object) -> Iterator[NetworkInputs]:
        """What the network reads of data, in batches, with names for its steps; each kind of predictor says which.

        Raises OptionError where there is no data, and DataError where the source cannot be read or does not fit.
        """
        raise OptionError(
            f"the network of the recipe {self.model.recipe.name!r} cannot be looked into",
            do="record its layers: gw.inspect.record(run.model.network, inputs)",
            shell="record its layers in Python, as docs/commands.md says",
        )

    def own_inputs(self) -> Iterator[NetworkInputs]:
        """What the network reads where there is no other data: that on which it was measured, or a part of it.

        Raises OptionError where there is none of it any more.
        """
        raise self.no_data("look at")

    def no_data(self, what: str) -> OptionError:
        """The error where data is needed."""
        return OptionError(
            f"there is nothing to {what}",
            expected=self.model.recipe.data_forms or None,
            do="give data, or a text: text='...'",
            shell="name a file or folder with --data, or give a text with --text",
        )

    def encode(self, answers: "DataFrame", suffix: str, source: object) -> bytes:
        """The content of a file of one of `suffixes` with those answers, which are about `source`."""
        raise OptionError(f"a model of the recipe {self.model.recipe.name!r} writes no {suffix} files")

    def written(self, answers: "DataFrame") -> "DataFrame":
        """The latest answers as a text file has them, such as with dates in the notation of the data."""
        return answers

    def available(self) -> tuple[str, ...]:
        """Those of the options that mean something for this model: `any_scale` where it knows scales."""
        scaled = bool(self.model.sizes.variables and self.model.signature.get("variables"))
        return tuple(name for name in self.options if scaled or name != "any_scale")

    def check_options(self, options: Mapping[str, Any]) -> None:
        """Refuse an option that this model does not have."""
        available = self.available()
        unknown = next((name for name in options if name not in available), None)
        if unknown is not None:
            raise OptionError(
                f"a model of the recipe {self.model.recipe.name!r} has no option {unknown!r} for its answers",
                expected="one of " + ", ".join(available) if available else "none",
                do="leave it out",
            )

    def check_scale(self, sequences: Ragged, source: object) -> None:
        """Refuse features in other units, where the model keeps the scale of those that it was trained on."""
        names, trained = self.model.sizes.variables, self.model.signature.get("variables")
        if names and trained:
            values = sequences.compact().values
            check_scales(trained, variable_scales(values, names), source_name(source))


class ClassPredictor(Predictor):
    """The class of each example, with its probability and those of all classes, by their names.

    Columns are the keys of the examples, then `class`, `probability`, and `p_NAME` for each class; with `top=K` they
    are `class_1`, `probability_1`, `class_2` and so on, the most probable class first.
    """

    options: ClassVar[Mapping[str, str]] = {
        "top": "the K most probable classes, in place of one and all probabilities",
        **ANY_SCALE,
    }

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes; their numbers where a model of an earlier version has no names."""
        return self.model.sizes.classes or tuple(map(str, range(self.model.sizes.outputs)))

    def table(self, source: object, **options: Any) -> dict[str, list[Any]]:
        """The columns. Raises OptionError where there are fewer than `top` classes."""
        self.check_top(options.get("top"))
        examples = self.examples(source)
        self.remarks = examples.remarks
        if not options.get("any_scale"):
            self.check_scale(examples.sequences, source)
        keys = {name: list(values) for name, values in examples.keys.items()}
        return {**keys, **self.answers(examples.sequences, options.get("top"))}

    def predict_line(self, line: str, **options: Any) -> Mapping[str, Any]:
        """The same for one line, which is one example, where the recipe reads texts."""
        if not self.recipe.reads_lines:
            return super().predict_line(line)
        self.check_top(options.get("top"))
        answers = self.answers(self.examples([line]).sequences, options.get("top"))
        return {name: values[0] for name, values in answers.items()}

    def examples(self, source: object) -> Examples:
        """The examples of a source, as the recipe reads them for this model."""
        return self.recipe.examples(source, self.model)

    def network_inputs(self, source: object) -> Iterator[NetworkInputs]:
        """All examples; symbols have the names that the model knows them by."""
        examples, sizes = self.examples(source), self.model.sizes
        self.remarks, sequences = examples.remarks, examples.sequences
        keys = row_names(examples.keys)
        for first in range(0, len(sequences), MANY):
            stop = min(first + MANY, len(sequences))
            values, lengths = padded(sequences, first, stop)
            symbols = self.step_names([sequences[row] for row in range(first, stop)])
            yield NetworkInputs(
                values,
                lengths,
                keys[first:stop],
                symbols,
                self.feature_names(),
                sizes.classes,
                reads_lengths=True,
                output_kind="class",
            )

    def own_inputs(self) -> Iterator[NetworkInputs]:
        """The examples of the part that the network was measured on; a row is named by its place and its class."""
        sizes = self.model.sizes
        part, batches = measured_part(self.model, self.no_data("look at"))
        place = 0
        for position in range(len(batches)):
            batch = batches.batch(0, position)
            count = batch.inputs.shape[1]
            ends = getattr(batch, "lengths", None)
            ends = np.full(count, len(batch.inputs), np.int64) if ends is None else np.asarray(ends, np.int64)
            for first in range(0, count, MANY):
                lengths = ends[first : first + MANY]
                values = np.asarray(batch.inputs)[: lengths.max(), first : first + MANY]
                targets = batch.targets[first : first + MANY] if sizes.classes else [None] * len(lengths)
                names = ["" if target is None else f": {self.classes[int(target)]}" for target in targets]
                yield NetworkInputs(
                    values,
                    lengths,
                    [f"{part} {place + number}{name}" for number, name in enumerate(names, 1)],
                    self.step_names([values[:length, row] for row, length in enumerate(lengths.tolist())]),
                    self.feature_names(),
                    sizes.classes,
                    reads_lengths=True,
                    output_kind="class",
                )
                place += len(lengths)

    def feature_names(self) -> tuple[str, ...] | None:
        """The names of the numbers of a step: those of the data, or columns of pixels where a step is a row of them."""
        sizes, signature = self.model.sizes, self.model.signature
        if sizes.variables is None and signature.get("order") == "rows" and signature.get("columns") == sizes.inputs:
            return tuple(f"column {number}" for number in range(1, sizes.inputs + 1))
        return sizes.variables

    def step_names(self, rows: Sequence[NDArray[Any]]) -> list[list[str]] | None:
        """The names of the steps of sequences, where these are symbols."""
        vocabulary = self.model.sizes.vocabulary
        if vocabulary is None:
            return None
        return [[vocabulary[number] for number in row.reshape(len(row), -1)[:, 0].tolist()] for row in rows]

    def answers(self, sequences: Ragged, top: int | None) -> dict[str, list[Any]]:
        """The columns of the answer, one value for each sequence."""
        from scipy.special import softmax

        probabilities: NDArray[np.float64] = softmax(pooled_outputs(self.model.network, sequences), axis=1)
        ranked = np.argsort(-probabilities, axis=1, kind="stable")
        columns: dict[str, list[Any]] = {}
        for rank in range(top or 1):
            suffix = "" if top is None else f"_{rank + 1}"
            places = ranked[:, rank]
            columns[f"class{suffix}"] = [self.classes[place] for place in places]
            columns[f"probability{suffix}"] = np.take_along_axis(probabilities, places[:, None], 1)[:, 0].tolist()
        if top is None:
            columns |= {f"p_{name}": probabilities[:, place].tolist() for place, name in enumerate(self.classes)}
        return columns

    def check_top(self, top: int | None) -> None:
        """Refuse to give more classes than there are."""
        if top is not None and not 1 <= top <= len(self.classes):
            raise OptionError(
                "option 'top' is out of range",
                expected=f"1 to {len(self.classes)}, the number of classes",
                got=str(top),
            )


def row_names(keys: Mapping[str, Sequence[Any]]) -> list[str]:
    """A name for each example by its keys; files without the folder that all of them are in."""
    columns = {name: list(map(str, values)) for name, values in keys.items()}
    if "file" in columns:
        folder = os.path.commonpath([Path(file).parent for file in columns["file"]] or [""])
        columns["file"] = [os.path.relpath(file, folder or None) for file in columns["file"]]
    return [" ".join(key) for key in zip(*columns.values(), strict=True)]


def own_source(model: TrainedModel, error: OptionError) -> object:
    """The name or path of the data that a model was trained on. Raises the error where that was data in memory."""
    source = model.recipe.default_source() if model.source is None else model.source
    if source is None or source == IN_MEMORY:
        raise error
    return source


def measured_part(model: TrainedModel, error: OptionError) -> tuple[str, Batches]:
    """The name and the batches of the part of its own data that a model was measured on: the test, if there is one.

    Raises the error where the model was trained on data in memory.
    """
    if model.source == IN_MEMORY:
        raise error
    data: Data = model.recipe.evaluation(None, model)
    part = "test" if "test" in data.measured else data.measured[-1]
    return part, data.parts[part]


def run_network(network: "nn.Module", inputs: Any, state: Any = None) -> "tuple[Tensor, Any]":
    """What a network gives in evaluation for an array or a tensor, in float64 on the CPU; and the state after it."""
    import torch

    with torch.no_grad():
        outputs, state = network.eval()(torch.as_tensor(inputs).to(next(network.parameters()).device), state)
    return outputs.double().cpu(), state


def pooled_outputs(network: "nn.Module", sequences: Ragged) -> NDArray[np.float64]:
    """(sequences, outputs): what a network that pools over time gives for each sequence, in evaluation.

    Sequences are read in batches of about equally long ones, whose padding has no effect.
    """
    outputs: NDArray[np.float64] | None = None
    for rows, _, values in evaluated(network, RaggedBatches(sequences, np.zeros(len(sequences), np.int64), _ROWS)):
        outputs = np.empty((len(sequences), values.shape[1])) if outputs is None else outputs
        outputs[rows] = values.cpu().numpy()
    return outputs if outputs is not None else np.empty((0, 0))


def evaluated(network: "nn.Module", batches: RaggedBatches) -> "Iterator[tuple[NDArray[np.int64], Tensor, Tensor]]":
    """For each batch its rows, their lengths, and the network's outputs in float64, on the network's device."""
    import torch

    device = next(network.parameters()).device
    network.eval()
    for position, rows in enumerate(batches.rows(0)):
        batch = batches.batch(0, position)
        inputs, lengths = (torch.as_tensor(values).to(device) for values in (batch.inputs, batch.lengths))
        with torch.no_grad():  # not around the yield: it would hold for the caller's code too
            outputs = network(inputs, None, lengths)[0].double()
        yield rows, lengths, outputs
