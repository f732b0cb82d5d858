"""Checkpoints of TensorFlow, an .index file beside its data: opened by TensorFlow, where it is installed."""

import re
from collections.abc import Mapping
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from gatewright.convert import flat
from gatewright.convert.files import check_finite
from gatewright.convert.keras_files.architecture import KerasLayer, version_of
from gatewright.convert.keras_files.bare import network_of_weights
from gatewright.convert.keras_files.containers import KerasFile
from gatewright.convert.naming import in_order
from gatewright.convert.overrides import PREFIX
from gatewright.convert.refusals import check_exists, read_whole
from gatewright.errors import ConversionError
from gatewright.network import Network

Arrays = Mapping[str, NDArray[Any]]
_VARIABLE = "/.ATTRIBUTES/VARIABLE_VALUE"  # after the name of each variable that an object keeps
_SLOT = "/.OPTIMIZER_SLOT/"
_NUMBERED = "layer_with_weights-"  # Keras's name of a layer, by its place in the model
_PATH = re.compile(r"(.+?)(?:/(forward|backward)_layer)?(?:/cell(/cells/\d+)?)?/([^/]+)")
_KERAS = version_of("2.15.0-tf")


def read(path: Path, overrides: Mapping[str, Any]) -> Network:
    """The recurrent layers of a checkpoint: of a Keras model, or of variables by name as TensorFlow 1 has them."""
    return network_of(path, variables(path), overrides)


def write(network: Network, path: Path) -> None:
    """Refuse to write."""
    del network
    raise ConversionError(
        f"{path}: checkpoints of TensorFlow are read, and not written",
        do="write .h5 or .keras, load that with Keras, and save the checkpoint there",
    )


def variables(path: Path) -> dict[str, NDArray[Any]]:
    """The variables of a checkpoint that are floating-point numbers, by name."""
    check_exists(path, "the .index file of a checkpoint")
    try:
        from tensorflow import train
    except ImportError as error:
        raise ConversionError(
            f"{path} is a checkpoint of TensorFlow, and TensorFlow is not installed",
            do="pip install 'gatewright[tensorflow]', or save the model as .keras or .h5 where it was made",
        ) from error
    expected = "the .index file of a checkpoint, with its .data files beside it"
    with read_whole(path, expected, "copy or download all files of the checkpoint again"):
        reader = train.load_checkpoint(str(path.with_suffix("")))
        kinds = {name: kind for name, kind in reader.get_variable_to_dtype_map().items() if kind.is_floating}
        shapes = reader.get_variable_to_shape_map()
        claimed = sum(kind.size * prod(shapes[name]) for name, kind in kinds.items())
        stored = sum(file.stat().st_size for file in path.parent.glob(f"{path.stem}.data-*"))
        if claimed > stored:
            raise ValueError(f"{claimed:,} bytes of numbers in {stored:,} bytes of data")
        arrays = {name: reader.get_tensor(name) for name in kinds}
    for name, array in arrays.items():
        check_finite(path, name, array)
    return arrays


def network_of(path: Path, arrays: Arrays, overrides: Mapping[str, Any]) -> Network:
    """The recurrent layers among the variables of a checkpoint, by their names there."""
    named = {
        name.removesuffix(_VARIABLE): array
        for name, array in arrays.items()
        if name.endswith(_VARIABLE) and _SLOT not in name
    }
    if not named:
        return flat.read(arrays, "tf1", overrides)
    layers: dict[str, dict[str, NDArray[Any]]] = {}
    unused: dict[str, NDArray[Any]] = {}
    for name in sorted(named, key=in_order):
        match = _PATH.fullmatch(name)
        if match is None or name.startswith("optimizer/"):
            unused[name] = named[name]
            continue
        layer, direction, cell, last = match.groups()
        key = f"{direction}/{last}" if direction else last
        layers.setdefault(f"{layer}/cell{cell}" if cell else layer, {})[key] = named[name]
    recurrent = [name for name, own in layers.items() if any("recurrent_kernel" in key for key in own)]
    if overrides.get(PREFIX) is None and len(recurrent) > 1 and not _in_one_model(recurrent):
        raise ConversionError(
            f"{path}: the names of these layers do not tell in which order they follow one another",
            got=", ".join(recurrent),
            do="name those that are meant with prefix, in their order",
        )
    listed = tuple(KerasLayer("", name, {}, own, path=(name,)) for name, own in layers.items())
    network = network_of_weights(path, KerasFile(listed, _KERAS, described=False), overrides)
    return replace(network, layout="tf2", rest={**network.rest, **unused})


def _in_one_model(names: list[str]) -> bool:
    """Whether layers are numbered by their places in one model."""
    return len({name.partition(_NUMBERED)[0] for name in names}) == 1 and all(_NUMBERED in name for name in names)
