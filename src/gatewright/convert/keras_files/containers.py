"""Where the arrays of each layer lie in the files of Keras 1 and 2 (.h5) and of Keras 3 (.weights.h5, .keras)."""

import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from gatewright.convert.keras_files import architecture
from gatewright.convert.keras_files.architecture import KerasLayer, KerasVersion, group_names, kind_of, version_of
from gatewright.convert.keras_files.hdf5 import HdfGroup, opened
from gatewright.convert.keras_files.recurrence import DIRECTIONS
from gatewright.convert.naming import in_order
from gatewright.convert.refusals import check_exists, read_whole
from gatewright.errors import ConversionError
from gatewright.untrusted.unpacking import WEIGHTS_LIMIT

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
ROOTS = ("layers", "_layer_checkpoint_dependencies")  # the second in versions of TensorFlow's Keras
NAMES = {
    "": ("kernel", "bias"),
    "cell": ("kernel", "recurrent_kernel", "bias"),
    "embedding": ("embeddings",),
    "normalization": ("mean", "variance", "count"),
    "layer_normalization": ("gamma", "beta"),
    "batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
}
"""The names of the numbered arrays: of a layer with a cell, of layers of some classes, and of any other layer ("")."""
_OPTIONAL = {"gamma": "scale", "beta": "center"}  # arrays that a setting takes away
PLACES = {
    "": "",
    "cell": "",
    "layer": "",
    "forward_layer/cell": DIRECTIONS[0],
    "backward_layer/cell": DIRECTIONS[1],
}
"""The groups below a layer of Keras 3 that hold its arrays, and the direction of each."""
_KNOWN = {"vars", "seed_generator", *(place.partition("/")[0] for place in PLACES if place)}
Labelled = list[tuple[str, NDArray[Any]]]
_KERAS1 = re.compile(r"(?:.*_)?((?:W|U|b)(?:_[a-z])?)")


@dataclass(frozen=True, slots=True)
class KerasFile:
    """The layers of a file: in order where it has the configuration, else by the names of their groups."""

    layers: tuple[KerasLayer, ...]
    version: KerasVersion
    described: bool


def read(path: Path, *, connected: bool = True) -> KerasFile:
    """The layers of a file of Keras, with their arrays: as they are connected, or all that there are."""
    check_exists(path, "a file of weights")
    with path.open("rb") as file:
        if file.read(4) == b"PK\x03\x04":
            return _read_zip(path, connected=connected)
    with opened(path) as root:
        config, version = root.text("model_config"), root.text("keras_version")
        weights = root.group("model_weights") or root
        version = version or weights.text("keras_version")
        names = weights.texts("layer_names")
        if names is not None:
            labelled = {name: _labelled(weights, name) for name in names}
            return _grouped(labelled, config, version_of(version), connected=connected)
        if any(root.group(root_name) for root_name in ROOTS):
            return KerasFile(tuple(_unnamed(root)), version_of("3"), described=False)
        raise ConversionError(
            f"{path} holds no weights of Keras",
            expected="the attribute layer_names (Keras 1 and 2) or the group layers (Keras 3)",
            got="a file of Keras 0" if root.labelled("nb_layers") else ", ".join(root.names()[:12]) or "nothing",
        )


def _read_zip(path: Path, *, connected: bool) -> KerasFile:
    expected = f"a .keras file with {CONFIG}, {METADATA} and {WEIGHTS}"
    with read_whole(path, expected), zipfile.ZipFile(path) as archive:
        config = architecture.parsed(_member(path, archive, CONFIG).decode("utf-8"))
        metadata = architecture.parsed(_member(path, archive, METADATA).decode("utf-8"))
        weights = _member(path, archive, WEIGHTS)
    version = version_of(str(metadata.get("keras_version")) if isinstance(metadata, Mapping) else None)
    with opened(path, weights) as root:
        layers = architecture.layers_of(config) if connected else architecture.every_layer(config)
        return KerasFile(
            tuple(replace(layer, arrays=_of_layer(root, layer)) for layer in layers), version, described=True
        )


def _member(path: Path, archive: zipfile.ZipFile, name: str) -> bytes:
    """One file in a .keras file, if it is not larger than that allows."""
    most = WEIGHTS_LIMIT.of(path.stat().st_size)
    with archive.open(name) as content:
        member = content.read(most + 1)
    if len(member) > most:
        raise ConversionError(f"{name} is larger than it can be", expected=f"at most {most:,} bytes")
    return member


def _labelled(weights: HdfGroup, name: str) -> Labelled:
    """The arrays of a layer, or of a model among the layers, with their labels, in order."""
    group = weights.group(name)
    labels = group.texts("weight_names") if group else None
    if group is None or labels is None:
        raise ConversionError(f"layer {name!r} has no weights", expected="a group with weight_names")
    return list(zip(labels, map(group.array, labels), strict=True))


def _grouped(
    groups: Mapping[str, Labelled], config: str | None, version: KerasVersion, *, connected: bool
) -> KerasFile:
    """A file of Keras 1 or 2: a group for each layer, labelled with the names of its arrays in order."""
    if config is None:
        alone = [KerasLayer("", name, {}, path=(name,)) for name in groups]
        layers = [replace(layer, arrays=_keyed(layer, groups[layer.name], version)) for layer in alone]
        return KerasFile(tuple(layers), version, described=False)
    model = architecture.parsed(config)
    everything = architecture.every_layer(model)
    of_each = _shared_out(everything, groups)
    arrays = {layer.path: _keyed(layer, of_each[layer.path], version) for layer in everything}
    layers = architecture.layers_of(model) if connected else everything
    return KerasFile(
        tuple(replace(layer, arrays=arrays.get(layer.path, {})) for layer in layers), version, described=True
    )


def _shared_out(layers: Sequence[KerasLayer], groups: Mapping[str, Labelled]) -> dict[tuple[str, ...], Labelled]:
    """The arrays of each layer. Those of an inner model are in one group, and their labels name the layers."""
    shares: dict[tuple[str, ...], Labelled] = {layer.path: [] for layer in layers}
    inside: dict[str, dict[str, list[tuple[str, ...]]]] = {}  # by the model's name, and that of a layer in it
    for layer in layers:
        if len(layer.path) == 1:
            shares[layer.path] = groups.get(layer.name, [])
        else:
            inside.setdefault(layer.path[0], {}).setdefault(layer.name, []).append(layer.path)
    for name, named in inside.items():
        for label, array in groups.get(name, ()):
            owners = [owner for piece in {*label.split("/")[:-1]} for owner in named.get(piece, ())]
            if len(owners) != 1:
                raise ConversionError(
                    f"the label of array {label!r} does not tell of which layer of model {name!r} it is",
                    expected=f"the name of one layer in it: {', '.join(named)}",
                    do="save the model as .keras with Keras 3",
                )
            shares[owners[0]].append((label, array))
    return shares


def _keyed(layer: KerasLayer, labelled: Labelled, version: KerasVersion) -> dict[str, NDArray[Any]]:
    """The arrays of one layer by their names; those of a second direction or cell have the same names again."""
    runs: list[dict[str, NDArray[Any]]] = [{}]
    for label, array in labelled:
        key = _key(label, version)
        if key in runs[-1]:
            runs.append({})
        runs[-1][key] = array
    directions = DIRECTIONS if _has_directions(layer, [label for label, _ in labelled], len(runs)) else ("",)
    cells = len(runs) // len(directions)
    if len(runs) % len(directions) or (cells > 1 and layer.kind not in ("RNN", "Bidirectional")):
        raise ConversionError(
            f"layer {layer.name!r} has several arrays of one name",
            got=", ".join(label for label, _ in labelled),
            do="" if layer.kind else "save the whole model",
        )
    prefixes = [f"{side}{f'cell{cell}/' if cells > 1 else ''}" for side in directions for cell in range(cells)]
    return {f"{prefix}{key}": array for prefix, run in zip(prefixes, runs, strict=True) for key, array in run.items()}


def _has_directions(layer: KerasLayer, labels: Sequence[str], runs: int) -> bool:
    """Whether a layer has two directions: by its class, or by the names of the second half of its arrays."""
    if layer.kind:
        return layer.kind == "Bidirectional" and runs > 1
    return runs == len(DIRECTIONS) and all("backward" in label for label in labels[len(labels) // 2 :])


def _key(label: str, version: KerasVersion) -> str:
    """The name of an array from its label: W_i of lstm_1_W_i:0, kernel of lstm_1/kernel:0."""
    last = re.sub(r":\d+$", "", label).rpartition("/")[2]
    if version.major == 1:
        match = _KERAS1.fullmatch(last)
        return match.group(1) if match else last
    return last


def _unnamed(root: HdfGroup) -> list[KerasLayer]:
    """The layers of a file of Keras 3 that holds weights alone, by kind and number; it tells no other order."""
    layers: list[KerasLayer] = []
    for top in ROOTS:
        group = root.group(top)
        for name in sorted(group.names(), key=in_order) if group else ():
            inside = root.group(f"{top}/{name}")
            others = sorted({*(inside.names() if inside else ())} - _KNOWN)
            if others or root.group(f"{top}/{name}/cell/cells"):
                raise ConversionError(
                    f"layer {name!r} holds other layers",
                    got=", ".join(others) or "several cells",
                    do="save the model as .keras",
                )
            arrays = _numbered(root, f"{top}/{name}", NAMES.get(kind_of(name), NAMES[""]))
            layers.append(KerasLayer("", name, {}, arrays, path=(name,)))
    return layers


def _of_layer(root: HdfGroup, layer: KerasLayer) -> dict[str, NDArray[Any]]:
    if not layer.groups:
        return {}
    path = ""
    for group in layer.groups:
        top = next((root_name for root_name in ROOTS if root.group(f"{path}{root_name}/{group}")), ROOTS[0])
        path += f"{top}/{group}/"
    names = NAMES.get(kind_of(layer.groups[-1]), NAMES[""])
    names = [name for name in names if layer.config.get(_OPTIONAL.get(name, ""), True)]
    cells = layer.inner("cell")
    listed = cells.config.get("cells") if cells else None
    if not isinstance(listed, Sequence):
        return _numbered(root, path.rstrip("/"), names)
    arrays: dict[str, NDArray[Any]] = {}
    for index, group in enumerate(group_names([str(entry["class_name"]) for entry in listed])):
        own = _numbered(root, f"{path}cell/cells/{group}", NAMES["cell"])
        arrays |= {f"cell{index}/{name}": array for name, array in own.items()}
    return arrays


def _numbered(root: HdfGroup, path: str, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {}
    for place, prefix in PLACES.items():
        group = root.group("/".join(part for part in (path, place, "vars") if part))
        if group is None:
            continue
        known = NAMES["cell"] if place.endswith("cell") else names
        for index in range(len(group.names())):
            name = known[index] if index < len(known) else str(index)
            arrays[f"{prefix}{name}"] = group.array(str(index))
    return arrays
