"""What is exported: a recurrent layer, and what a recipe's network has before and behind it. All of it is NumPy."""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from gatewright.axes import INPUT, bind
from gatewright.errors import GatewrightError, ModelFileError, OptionError
from gatewright.export.forecast import Forecast, forecast_of
from gatewright.export.linear_series import LinearSeries, linear_series_of
from gatewright.export.ngrams import Ngrams, ngrams_of
from gatewright.model_file import ENCODERS, LayerRecord, ModelFile
from gatewright.model_file.converted import gives_last, parts_besides, parts_between
from gatewright.model_file.patches import folded
from gatewright.packing import tensor_name, unpacked

Array = NDArray[Any]
Arrays = Mapping[str, Array]
Encoding = Literal["values", "standardised", "one-hot", "embedding", "embedding-sum"]
Pooling = Literal["each step", "last", "mean", "max"]
DTYPES = ("float32", "float64")


@dataclass(frozen=True, slots=True)
class Level:
    """One level of a stack: the numbers of its directions, by their names in the equations."""

    sizes: Mapping[str, int]
    directions: tuple[Arrays, ...]  # forwards, and backwards where it reads both ways


@dataclass(frozen=True, slots=True)
class Network:
    """A recurrent layer with its numbers; and around it, where `head` is there, what a recipe's network has.

    Symbols (time, batch) or numbers (time, batch, features) -> `encode` -> patches, where the layer reads several steps
    as one -> the layer -> `pool` -> the head's matrix and bias. Without a head the layer's own output is given out.
    """

    layer: LayerRecord
    levels: tuple[Level, ...]
    encode: Encoding = "values"
    pool: Pooling = "each step"
    patch: int = 1  # the steps that the layer reads as one
    patches: Arrays | None = None  # {"weight": (features, patch * input), "bias": (features,)} of several steps
    encoder: Arrays | None = None  # {"weight"} of an embedding (or several), {"mean", "deviation"} of what standardises
    head: Arrays | None = None  # {"weight": (outputs, features), "bias": (outputs,)}
    symbols: int = 0  # that a one-hot encoding knows
    columns: tuple[str, ...] = ()  # the names of the symbols of one step, where it has several
    about: Mapping[str, Any] | None = None  # task, vocabulary, classes, variables, signature: what the numbers mean
    linear: Ngrams | LinearSeries | None = None  # a linear model, whose outputs are averaged with those of the head
    forecast: Forecast | None = None  # around all of this, where it corrects a linear forecast

    @property
    def reads_symbols(self) -> bool:
        """Whether the input is whole numbers."""
        return self.encode in ("one-hot", "embedding", "embedding-sum")

    @property
    def directions(self) -> int:
        """1, or 2 where it reads both ways."""
        return len(self.levels[0].directions)

    @property
    def dtype(self) -> np.dtype[Any]:
        """What it computes with; float32 where it has no parameters."""
        arrays = [array for level in self.levels for one in level.directions for array in one.values()]
        return np.result_type(*arrays) if arrays else np.dtype(np.float32)

    def state_shapes(self) -> dict[str, tuple[int, int]]:
        """The (levels * directions, features) of each state."""
        count = len(self.levels) * self.directions
        return {s.name: (count, *bind(s.shape, self.layer.sizes)) for s in self.layer.trace.states}  # pyright: ignore[reportReturnType]

    @property
    def input_size(self) -> int:
        """The features that it reads where these are no symbols."""
        if self.forecast:
            return len(self.forecast.deviation)
        if self.patches:
            return self.patches["weight"].shape[1] // self.patch
        (axis,) = self.layer.trace.inputs[0].shape
        return self.levels[0].sizes[axis]

    @property
    def output_size(self) -> int:
        """The features that are given out."""
        if self.head:
            return len(self.head["weight"])
        return self.directions * self.emitted

    @property
    def emitted(self) -> int:
        """The features that one direction of the layer gives out at each step."""
        return bind(self.layer.trace.states[0].shape, self.layer.sizes)[0]


def read_network(model: ModelFile, name: str | None = None) -> Network:
    """The network that a model file holds: the whole of it, or, with a `name`, one recurrent layer alone.

    Raises OptionError where a name is needed or is none, and where the network is of a kind that is not exported;
    ModelFileError for a recipe's file that does not fit its recipe.
    """
    if name is not None:
        record = _layer(model, name)
        _refuse_merged(model, record)
        return _alone(model, record)
    said = _described(model)
    if said is not None:
        return _whole(model, said)
    record = _only(model)
    _refuse_parts(model, record)
    beside = sorted(set(model.tensors) - set(record.tensor_shapes()))
    if beside:
        raise OptionError(
            f"the model file has more than its recurrent layer {record.name!r}, and does not say how all is connected",
            expected="a model of a recipe, or a file with one recurrent layer and nothing else",
            got=", ".join(beside[:5]) + (", ..." if len(beside) > 5 else ""),
            do=f"export the layer alone with name={record.name!r}",
            shell=f"export the layer alone with {shlex.join(['--layer', record.name])}",
        )
    return _alone(model, record)


def _refuse_parts(model: ModelFile, record: LayerRecord) -> None:
    """Refuse a converted network of which the recurrent layer is not all."""
    parts = (*parts_besides(model), *(["the last output alone"] if gives_last(model) else []))
    if parts:
        raise OptionError(
            f"the converted model computes more than its recurrent layer {record.name!r}, which alone would be written",
            expected="a file with one recurrent layer that gives every step, and nothing else",
            got=", ".join(parts),
            do="write the whole as ONNX with gw.convert.convert(path, 'whole.onnx'), or give the layer's name, "
            f"{record.name!r}, to export it alone",
            shell="write the whole as ONNX with `gatewright convert`, or export the layer alone with "
            f"{shlex.join(['--layer', record.name])}",
        )


def _refuse_merged(model: ModelFile, record: LayerRecord) -> None:
    """Refuse a layer of a converted network whose output is not that of its two directions side by side."""
    if parts := parts_between(model, [record.name]):
        raise OptionError(
            f"layer {record.name!r} gives what is not exported of a layer alone",
            expected="the outputs of its directions side by side",
            got=", ".join(parts),
            do="write the whole as ONNX with gw.convert.convert(path, 'whole.onnx')",
            shell="write the whole as ONNX with `gatewright convert`",
        )


def _layer(model: ModelFile, name: str) -> LayerRecord:
    records = {record.name: record for record in model.layers}
    if name not in records:
        known = ", ".join(map(repr, records)) or "none"
        raise OptionError(f"the model file has no recurrent layer {name!r}", expected=known)
    return records[name]


def _only(model: ModelFile) -> LayerRecord:
    if len(model.layers) != 1:
        raise OptionError(
            "the model file has no recurrent layer"
            if not model.layers
            else "the model file has several recurrent layers",
            expected="one, or a name",
            got=", ".join(repr(record.name) for record in model.layers) or "none",
            do="give name='...' to export one of them" if model.layers else None,
            shell="export one of them with --layer NAME" if model.layers else None,
        )
    return model.layers[0]


def _alone(model: ModelFile, record: LayerRecord) -> Network:
    network = Network(record, tuple(_levels(record, model.tensors)))
    if network.dtype.name not in DTYPES:
        raise OptionError(
            f"layer {record.name!r} has parameters of a dtype that is not exported",
            expected=" or ".join(DTYPES),
            got=network.dtype.name,
            do="save the model in float32",
        )
    return network


def _described(model: ModelFile) -> Mapping[str, Any] | None:
    """What a file says of the network around its layer, or its recipe, if it is of one; None where nobody does."""
    said = model.settings
    if "encoding" not in said:
        recipe = _recipe(model)
        return None if recipe is None else recipe.described()
    if said["encoding"] not in get_args(Encoding) or said.get("pooling") not in get_args(Pooling):
        raise ModelFileError(
            "the model says of its network what this version does not know",
            expected=f"encoding: {', '.join(get_args(Encoding))}; pooling: {', '.join(get_args(Pooling))}",
            got=f"encoding: {said['encoding']}; pooling: {said.get('pooling')}",
            do="use the version that it was trained with, or train it again",
        )
    return said


def _recipe(model: ModelFile) -> Any:
    """The recipe of a model file, with its settings; None where it is no recipe's."""
    from gatewright.tasks import recipes

    if not recipes.known(model.task):
        return None
    try:
        return recipes.get(model.task).reopened(model.settings["recipe"])
    except (GatewrightError, LookupError, TypeError) as error:
        raise ModelFileError(
            f"the model is not one that this version's recipe {model.task!r} can read",
            got=f"gatewright {model.version}: {error}",
            do="use the version that it was trained with, or train it again",
        ) from error


def _whole(model: ModelFile, said: Mapping[str, Any]) -> Network:
    record, tensors = _only(model), model.tensors
    if not isinstance(meaning := model.settings.get("signature", {}), Mapping):
        raise ModelFileError("the model's signature is no mapping", got=str(meaning)[:80])
    try:
        head, inputs = head_of(tensors), model.settings["inputs"]
        return Network(
            record,
            _alone(model, record).levels,
            encode=said["encoding"],
            pool=said["pooling"],
            patch=said.get("patch", 1),
            patches=patches_of(tensors, said["patch"]) if said.get("patch", 1) > 1 else None,
            encoder={key: tensors[f"encode.{key}"] for key in ENCODERS[said["encoding"]]},
            head=head,
            symbols=inputs,
            columns=tuple(said["columns"]) if said["encoding"] == "embedding-sum" else (),
            about={
                "task": model.task,
                "vocabulary": model.vocabulary,
                **{name: model.settings.get(name) for name in ("classes", "variables")},
                "signature": None if "signature" not in model.settings else {**meaning, **_transitions(tensors)},
            },
            linear=ngrams_of(said, tensors, inputs) or linear_series_of(said, tensors, inputs, head),
            forecast=forecast_of(_recipe(model), tensors, model.settings.get("signature") or {})
            if "forecasts" in said
            else None,
        )
    except LookupError as error:
        raise ModelFileError(f"the model of the recipe {model.task!r} lacks {error}") from error


def _transitions(tensors: Arrays) -> dict[str, Any]:
    """Of a conditional random field, whose emissions are the outputs: how its labels follow each other."""
    scores = {name: tensors[key].tolist() for name in ("first", "next", "last") if (key := f"crf.{name}") in tensors}
    return {"transitions": scores} if scores else {}


def patches_of(tensors: Arrays, steps: int) -> Arrays:
    """The matrix and bias of the patches. Raises KeyError where a tensor is missing."""
    weight = folded(tensors["patch.weight"], tensors["patch.weight_changes"], steps)
    return {"weight": weight, "bias": tensors["patch.bias"]}


def head_of(tensors: Arrays) -> Arrays:
    """The last matrix and bias, which give numbers in the units of their targets where there are such.

    Raises KeyError where a tensor is missing.
    """
    weight, bias = tensors["output.weight"], tensors["output.bias"]
    if "unscaled.deviation" not in tensors:
        return {"weight": weight, "bias": bias}
    deviation, mean = tensors["unscaled.deviation"], tensors["unscaled.mean"]
    return {"weight": weight * deviation[:, np.newaxis], "bias": bias * deviation + mean}


def _levels(record: LayerRecord, tensors: Arrays) -> Iterator[Level]:
    suffixes = (False, True) if record.bidirectional else (False,)
    prefix = f"{record.name}." if record.name else ""
    below = bind(record.trace.states[0].shape, record.sizes)[0] * len(suffixes)
    for level in range(record.num_layers):
        sizes = {**record.sizes, INPUT: below} if level else dict(record.sizes)
        directions = tuple(
            unpacked(
                record.layout,
                [tensors[prefix + tensor_name(packed, level, reverse)] for packed in record.layout],
                record.trace,
                sizes,
            )
            for reverse in suffixes
        )
        yield Level(sizes, directions)
