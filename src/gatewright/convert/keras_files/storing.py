"""Files of Keras, written with h5py alone: .h5 of Keras 1 and 2, .weights.h5 and .keras of Keras 3."""

import io
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.convert.keras_files.architecture import KerasLayer, group_names, snake_case
from gatewright.convert.keras_files.chain_state import FAMILIES
from gatewright.convert.keras_files.containers import CONFIG, METADATA, NAMES, PLACES, WEIGHTS
from gatewright.convert.keras_files.hdf5 import library

OPERATION = "GetItem"
_MODULES = {OPERATION: "keras.src.ops.numpy", "SlicingOpLambda": "keras.src.layers.core.tf_op_layer"}
KERAS2, KERAS3 = "2.15.0", "3.3.0"  # the versions that written files claim


def zipped(path: Path, layers: Sequence[KerasLayer], dtype: str) -> bytes:
    """A .keras file."""
    model = _model(_named(layers), dtype, _called)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(zipfile.ZipInfo(METADATA), json.dumps({"keras_version": KERAS3}))
        archive.writestr(zipfile.ZipInfo(CONFIG), json.dumps(model))
        archive.writestr(zipfile.ZipInfo(WEIGHTS), weights(path, layers))
    return content.getvalue()


def weights(path: Path, layers: Sequence[KerasLayer]) -> bytes:
    """A .weights.h5 file; a .keras file contains one too."""
    content = io.BytesIO()
    with library(path).File(content, "w") as file:
        file.create_group("vars")
        for layer, group in zip(layers, group_names([layer.kind for layer in layers]), strict=True):
            if layer.kind == OPERATION:
                continue
            file.create_group(f"layers/{group}/vars")
            for place, index, array in _numbered(layer):
                file[f"layers/{group}/{place}vars/{index}"] = np.ascontiguousarray(array)
    return content.getvalue()


def grouped(path: Path, layers: Sequence[KerasLayer], dtype: str) -> bytes:
    """An .h5 file of Keras 2, with the model's configuration."""
    named = _named(layers)
    model = _model(named, dtype, _read_by_place)
    content = io.BytesIO()
    with library(path).File(content, "w") as file:
        file.attrs["keras_version"] = KERAS2.encode()
        file.attrs["backend"] = b"tensorflow"
        file.attrs["model_config"] = json.dumps(model).encode()
        root = file.create_group("model_weights")
        root.attrs["keras_version"] = KERAS2.encode()
        root.attrs["backend"] = b"tensorflow"
        _groups(root, named, "{layer}/{array}:0", "{layer}/{direction}{inner}/{array}:0")
    return content.getvalue()


def keras1(path: Path, layers: Sequence[KerasLayer]) -> bytes:
    """An .h5 file of weights of Keras 1."""
    content = io.BytesIO()
    with library(path).File(content, "w") as file:
        _groups(file, _named(layers, "_1"), "{layer}_{array}", "{direction}{inner}_{array}")
    return content.getvalue()


def _model(layers: Sequence[KerasLayer], dtype: str, call: Callable[..., Any]) -> dict[str, Any]:
    """The configuration of a model: a sequential one, unless an operation is among its layers."""
    listed: list[dict[str, Any]] = []
    for layer in layers:
        config: Mapping[str, Any] = {"name": layer.name, "dtype": dtype, **layer.config}
        if call is _called or "backward_layer" in config:  # Keras 3 is always told both directions
            config = _with_backward_layer(config)
        listed.append(_serialised(layer.kind, config))
    if not any(layer.call.arguments for layer in layers):
        config = {"name": "converted", "layers": listed}
        return {"module": "keras", "class_name": "Sequential", "config": config, "registered_name": None}
    connected = [{**listed[0], "name": layers[0].name, "inbound_nodes": []}]
    for before, layer, entry in zip(layers, layers[1:], listed[1:], strict=False):
        connected.append({**entry, "name": layer.name, "inbound_nodes": [call(before.name, layer.call.arguments)]})
    ends = {"input_layers": [[layers[0].name, 0, 0]], "output_layers": [[layers[-1].name, 0, 0]]}
    config = {"name": "converted", "layers": connected, **ends}
    module = "keras.src.models.functional"
    return {"module": module, "class_name": "Functional", "config": config, "registered_name": "Functional"}


def _called(before: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """A call in Keras 3, by its arguments."""
    config = {"shape": [None], "dtype": "float32", "keras_history": [before, 0, 0]}  # only the history is read
    return {"args": [{"class_name": "__keras_tensor__", "config": config}, *arguments.values()], "kwargs": {}}


def _read_by_place(before: str, arguments: Mapping[str, Any]) -> list[Any]:
    """A call in Keras 2, by its input: alone for an operation, otherwise in a list."""
    place = [before, 0, 0, dict(arguments)]
    return place if arguments else [place]


def _groups(root: Any, layers: Sequence[KerasLayer], label: str, label_of_two: str) -> None:
    """A group for each layer, labelled with the names of its arrays in order, as Keras 1 and 2 have it."""
    root.attrs["layer_names"] = np.array([layer.name.encode() for layer in layers])
    for layer in layers:
        group = root.create_group(layer.name)
        labels: list[bytes] = []
        for name, array in layer.arrays.items():
            direction, _, last = name.rpartition("/")
            inner = layer.inner()
            template = label_of_two if direction else label
            labels.append(
                template.format(
                    layer=layer.name, direction=f"{direction}_", inner=inner.name if inner else "", array=last
                ).encode()
            )
            group[labels[-1]] = np.ascontiguousarray(array)
        group.attrs["weight_names"] = np.array(labels) if labels else np.zeros(0)


def _named(layers: Sequence[KerasLayer], suffix: str = "") -> list[KerasLayer]:
    names = group_names([layer.kind for layer in layers])
    return [
        replace(layer, name=name + suffix, config=_with_inner_name(layer.config, suffix))
        for layer, name in zip(layers, names, strict=True)
    ]


def _with_inner_name(config: Mapping[str, Any], suffix: str) -> Mapping[str, Any]:
    inner = config.get("layer")
    if not isinstance(inner, Mapping):
        return config
    within = {"name": group_names([inner["class_name"]])[0] + suffix, **inner["config"]}
    return {**config, "layer": {**inner, "config": within}}


def _with_backward_layer(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings of both directions. Keras 3 makes the second of the first where it is not given, and then takes it
    for another one now and then, since it tells objects apart by where they lie in memory."""
    inner = config.get("layer")
    if not isinstance(inner, Mapping):
        return config
    other = config.get("backward_layer", inner)["config"]
    settings = {**other, "name": f"backward_{inner['config']['name']}", "go_backwards": True}
    return {**config, "backward_layer": {**inner, "config": settings}}


def _serialised(kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """A layer's settings with the further entries that Keras 3 needs, in its own files and in wrappers of others."""
    inner = {
        key: _serialised(inside["class_name"], {"dtype": config["dtype"], **inside["config"]})
        for key, inside in config.items()
        if key in ("layer", "backward_layer")
    }
    config = {**config, **inner}
    if kind == OPERATION:
        del config["dtype"]  # an operation takes it from its input
    module, registered = _MODULES.get(kind, "keras.layers"), kind if kind in _MODULES else None
    return {"module": module, "class_name": kind, "config": config, "registered_name": registered}


def _numbered(layer: KerasLayer) -> Iterator[tuple[str, str, NDArray[Any]]]:
    """Where the arrays of a layer lie below its group in Keras 3, and their numbers."""
    cell = "cell" if layer.kind in FAMILIES or layer.kind == "Bidirectional" else ""
    known = NAMES.get(snake_case(layer.kind), NAMES[cell])
    for name, array in layer.arrays.items():
        direction, slash, last = name.rpartition("/")
        place = next(
            place for place, prefix in PLACES.items() if prefix == direction + slash and place.endswith(cell or place)
        )
        names = [candidate for candidate in known if direction + slash + candidate in layer.arrays]
        yield f"{place}/" if place else "", str(names.index(last)), array
