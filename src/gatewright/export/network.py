"""The network of a model file that is exported: the whole of it, or one recurrent layer."""

import shlex
from collections.abc import Mapping
from typing import Any

import numpy as np

from gatewright.errors import GatewrightError, ModelFileError, OptionError
from gatewright.model_file import LayerRecord, ModelFile
from gatewright.model_file.converted import PARTS, TASK
from gatewright.network import Network
from gatewright.network.forecast import Forecast, ForecastOutput, ForecastSteps, ForecastWindow
from gatewright.network.part import Arrays, Part
from gatewright.network.recipe_parts import check, recipe_parts
from gatewright.network.stored import layer_name, layers_of, listed_parts

DTYPES = ("float32", "float64")


def read_network(model: ModelFile, name: str | None = None) -> Network:
    """The network that a model file holds: the whole of it, or, with a `name`, one recurrent layer alone.

    Raises OptionError where a name is needed or is none, and where the network is of a kind that is not exported;
    ModelFileError for a file whose parts make no network.
    """
    if name is not None:
        return _layers(model, _record(model, name))
    settings = _described(model)
    if settings is not None:
        return _recipe_network(model, settings)
    if model.task == TASK and PARTS in model.settings:
        parts, names = listed_parts(model)
        first = model.layers[0].batch_first if model.layers else False
        return _exported(Network(parts, names=names, about={"task": model.task}, batch_first=first))
    record = _only(model)
    beside = sorted(set(model.tensors) - set(record.tensor_shapes()))
    if beside:
        raise OptionError(
            f"the model file has more than its recurrent layer {record.name!r}, and does not say how all is connected",
            expected="a model of a recipe, or a file with one recurrent layer and nothing else",
            got=", ".join(beside[:5]) + (", ..." if len(beside) > 5 else ""),
            do=f"export the layer alone with name={record.name!r}",
            shell=f"export the layer alone with {shlex.join(['--layer', record.name])}",
        )
    return _layers(model, record)


def _record(model: ModelFile, name: str) -> LayerRecord:
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


def _layers(model: ModelFile, record: LayerRecord) -> Network:
    """One recurrent layer with all its levels, as it is merged where its file lists it."""
    names = tuple(layer_name(record, level) for level in range(record.num_layers))
    if model.task == TASK and PARTS in model.settings:
        parts = tuple(part for part, name in zip(*listed_parts(model), strict=True) if name in names)
    else:
        parts = tuple(layers_of(record, model.tensors))
    return _exported(Network(parts, names=names, batch_first=record.batch_first))


def _exported(network: Network) -> Network:
    """The network, where its numbers are of a dtype that can be exported."""
    for index, part in enumerate(network.parts):
        arrays = part.arrays().values()
        dtype = np.result_type(*arrays) if arrays else np.dtype("float32")
        if dtype.name not in DTYPES:
            raise OptionError(
                f"layer {network.name_of(index).rpartition('.')[0]!r} has parameters of a dtype that is not exported",
                expected=" or ".join(DTYPES),
                got=dtype.name,
                do="save the model in float32",
            )
    return network


def _described(model: ModelFile) -> Mapping[str, Any] | None:
    """What a file says of the network around its layer, or its recipe, if it is of one; None where nobody does."""
    if "encoding" in model.settings:
        check(model.settings)
        return model.settings
    recipe = _recipe(model)
    return None if recipe is None else recipe.described()


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


def _recipe_network(model: ModelFile, settings: Mapping[str, Any]) -> Network:
    record, tensors = _only(model), model.tensors
    if not isinstance(meaning := model.settings.get("signature", {}), Mapping):
        raise ModelFileError("the model's signature is no mapping", got=str(meaning)[:80])
    alone = _layers(model, record)
    try:
        layers = dict(zip(alone.names, alone.recurrent, strict=True))
        parts = recipe_parts({**settings, "inputs": model.settings["inputs"]}, layers, tensors)
        about = {
            "task": model.task,
            "vocabulary": model.vocabulary,
            **{name: model.settings.get(name) for name in ("classes", "variables")},
            "signature": None if "signature" not in model.settings else {**meaning, **_transitions(tensors)},
        }
        if "forecasts" in settings and (forecast := _forecast_of(_recipe(model), tensors, meaning or {})) is not None:
            parts = _around(parts, forecast)
            about |= forecast.about
    except LookupError as error:
        raise ModelFileError(f"the model of the recipe {model.task!r} lacks {error}") from error
    return Network(tuple(parts.values()), names=tuple(parts), about=about, batch_first=record.batch_first)


def _transitions(tensors: Arrays) -> dict[str, Any]:
    """Of a conditional random field, whose emissions are the outputs: how its labels follow each other."""
    scores = {name: tensors[key].tolist() for name in ("first", "next", "last") if (key := f"crf.{name}") in tensors}
    return {"transitions": scores} if scores else {}


def _forecast_of(recipe: object, tensors: Arrays, signature: Mapping[str, Any]) -> Forecast | None:
    """How a recipe's network forecasts; None where it does something else.

    Raises KeyError for a tensor that is missing, and ModelFileError for a model of an earlier version.
    """
    from gatewright.tasks.forecasting.network import SOFTPLUS_IS_1
    from gatewright.tasks.forecasting.windows import LEAST_SPREAD
    from gatewright.tasks.recipes.series import Series

    if not isinstance(recipe, Series):
        return None
    if "season" in tensors and "weight" not in tensors:
        raise ModelFileError(
            "the model forecasts as an earlier version did, by changes of the seasonal naive forecast",
            expected="a model that corrects a linear forecast",
            do="train it again",
        )
    mean, deviation = tensors["scaling.mean"], tensors["scaling.deviation"]
    values = tuple(f"quantile {level:g}" for level in recipe.objective().levels)
    return Forecast(
        mean=mean,
        deviation=deviation,
        history=recipe.history,
        horizon=recipe.horizon,
        weight=np.concatenate([tensors["weight"], tensors["rest"]], 1),
        width=tensors["residual"].T[:, None, :, None],
        widening=tensors["widening"].T,
        share=float(tensors["share"]),
        trust=float(tensors["trust"]),
        at_first=SOFTPLUS_IS_1,
        logarithm=tensors["logarithm"],
        inner_mean=tensors["inner.mean"],
        inner_deviation=tensors["inner.deviation"],
        least=tensors["least"],
        lowest=tensors["lowest"] * deviation + mean,
        least_spread=LEAST_SPREAD,
        known_mean=tensors["known_scaling.mean"],
        known_deviation=tensors["known_scaling.deviation"],
        effect=tensors["effect"],
        values=values,
        is_measured=len(signature.get("series", ())) <= 1,
        about={
            "history": recipe.history,
            "horizon": recipe.horizon,
            "season": int(tensors["season"]),
            "values": values,
        },
    )


def _around(parts: Mapping[str, Part], forecast: Forecast) -> dict[str, Part]:
    """The parts of a network that corrects a linear forecast."""
    layers = {name: part for name, part in parts.items() if name not in ("encode", "output")}
    steps = {"to_come": ForecastSteps(forecast), "output": parts["output"], "forecast": ForecastOutput(forecast)}
    return {"window": ForecastWindow(forecast), **layers, **steps}
