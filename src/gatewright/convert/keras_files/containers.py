"""Where the arrays of each layer lie in the files of Keras 1 and 2 (.h5) and of Keras 3 (.weights.h5, .keras)."""

import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from gatewright.convert.keras_files.architecture import Layer, Version, layers_of, parsed, version_of
from gatewright.convert.keras_files.hdf5 import MOST_RATIO, Tree, opened
from gatewright.convert.keras_files.recurrence import DIRECTIONS
from gatewright.convert.naming import in_order
from gatewright.errors import ConversionError

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
ROOTS = ("layers", "_layer_checkpoint_dependencies")  # the second in versions of TensorFlow's Keras
NAMES = {
    "": ("kernel", "bias"),
    "cell": ("kernel", "recurrent_kernel", "bias"),
    "embedding": ("embeddings",),
    "normalization": ("mean", "variance", "count"),
}
"""What the numbered arrays are, of a layer with a cell, of an embedding, of a normalization and of any other layer."""
PLACES = {
    "": "",
    "cell": "",
    "layer": "",
    "forward_layer/cell": DIRECTIONS[0],
    "backward_layer/cell": DIRECTIONS[1],
}
"""Below a layer of Keras 3, where its arrays lie, and of which direction they are."""
_KNOWN = {"vars", "seed_generator", *(place.partition("/")[0] for place in PLACES if place)}
_KERAS1 = re.compile(r"(?:.*_)?((?:W|U|b)(?:_[a-z])?)")


@dataclass(frozen=True, slots=True)
class Model:
    """What a file holds: its layers in order, where it tells them; otherwise layers by the names of their groups."""

    layers: tuple[Layer, ...]
    version: Version
    described: bool


def read(path: Path) -> Model:
    """The layers of a file of Keras, with their arrays.

    Raises ConversionError where the file is damaged or of another kind.
    """
    if not path.is_file():
        raise ConversionError(f"there is no file {path}", do="give the path of a file of weights")
    with path.open("rb") as file:
        if file.read(4) == b"PK\x03\x04":
            return _read_zip(path)
    with opened(path) as root:
        config, version = root.text("model_config"), root.text("keras_version")
        weights = root.group("model_weights") or root
        version = version or weights.text("keras_version")
        names = weights.texts("layer_names")
        if names is not None:
            return _read_groups(path, weights, names, config, version_of(version))
        if any(root.group(one) for one in ROOTS):
            return Model(tuple(_unnamed(path, root)), version_of("3"), described=False)
        raise ConversionError(
            f"{path} holds no weights of Keras",
            expected="the attribute layer_names (Keras 1 and 2) or the group layers (Keras 3)",
            got="a file of Keras 0" if root.labelled("nb_layers") else ", ".join(root.names()[:12]) or "nothing",
        )


def _read_zip(path: Path) -> Model:
    try:
        with zipfile.ZipFile(path) as archive:
            config = parsed(_member(path, archive, CONFIG).decode("utf-8"), str(path))
            told = parsed(_member(path, archive, METADATA).decode("utf-8"), str(path))
            weights = _member(path, archive, WEIGHTS)
    except ConversionError:
        raise
    except Exception as error:  # a damaged file fails in as many ways as it can be damaged
        raise ConversionError(
            f"{path} cannot be read",
            expected=f"a .keras file with {CONFIG}, {METADATA} and {WEIGHTS}",
            got=f"{type(error).__name__}: {str(error)[:200]}",
            do="copy or download the file again",
        ) from error
    version = version_of(str(told.get("keras_version")) if isinstance(told, Mapping) else None)
    with opened(path, weights) as root:
        layers = layers_of(config, str(path))
        groups = group_names([layer.kind for layer in layers])
        found = [
            replace(layer, arrays=_numbered(root, f"{top}/{group}", kind_of(group)))
            for layer, group in zip(layers, groups, strict=True)
            for top in [next((one for one in ROOTS if root.group(one)), ROOTS[0])]
        ]
        return Model(tuple(found), version, described=True)


def _member(path: Path, archive: zipfile.ZipFile, name: str) -> bytes:
    """One file in a .keras file, if it is not larger than that allows."""
    most = MOST_RATIO * path.stat().st_size
    with archive.open(name) as content:
        found = content.read(most + 1)
    if len(found) > most:
        raise ConversionError(f"{path}: {name} is larger than it can be", expected=f"at most {most:,} bytes")
    return found


def _read_groups(path: Path, weights: Tree, names: Sequence[str], config: str | None, version: Version) -> Model:
    """A file of Keras 1 or 2: a group for each layer, labelled with the names of its arrays in order."""
    arrays: dict[str, dict[str, NDArray[Any]]] = {}
    for name in names:
        group = weights.group(name)
        labels = group.texts("weight_names") if group else None
        if group is None or labels is None:
            raise ConversionError(f"{path}: layer {name!r} has no weights", expected="a group with weight_names")
        keys = [_key(label, version) for label in labels]
        half = len(keys) // 2
        if half and keys[:half] == keys[half:]:
            keys = [f"{prefix}{key}" for prefix in DIRECTIONS for key in keys[:half]]
        arrays[name] = dict(zip(keys, map(group.array, labels), strict=True))
        if len(arrays[name]) != len(labels):
            raise ConversionError(f"{path}: layer {name!r} has several arrays of one name", got=", ".join(labels))
    if config is None:
        return Model(tuple(Layer("", name, {}, one) for name, one in arrays.items()), version, described=False)
    layers = layers_of(parsed(config, str(path)), str(path))
    return Model(tuple(replace(layer, arrays=arrays.get(layer.name, {})) for layer in layers), version, described=True)


def _key(label: str, version: Version) -> str:
    """What an array is, by its label: W_i of lstm_1_W_i:0, kernel of lstm_1/kernel:0."""
    last = re.sub(r":\d+$", "", label).rpartition("/")[2]
    if version.major == 1:
        found = _KERAS1.fullmatch(last)
        return found.group(1) if found else last
    return last


def _unnamed(path: Path, root: Tree) -> list[Layer]:
    """The layers of a file of Keras 3 that holds weights alone, by kind and number; it tells no other order."""
    found: list[Layer] = []
    for top in ROOTS:
        group = root.group(top)
        for name in sorted(group.names(), key=in_order) if group else ():
            inside = root.group(f"{top}/{name}")
            others = sorted({*(inside.names() if inside else ())} - _KNOWN)
            if others:
                raise ConversionError(
                    f"{path}: layer {name!r} holds other layers", got=", ".join(others), do="save the model as .keras"
                )
            found.append(Layer("", name, {}, _numbered(root, f"{top}/{name}", kind_of(name))))
    return found


def _numbered(root: Tree, path: str, kind: str) -> dict[str, NDArray[Any]]:
    """The arrays of one layer of Keras 3."""
    arrays: dict[str, NDArray[Any]] = {}
    for place, prefix in PLACES.items():
        group = root.group("/".join(part for part in (path, place, "vars") if part))
        if group is None:
            continue
        known = NAMES["cell" if place.endswith("cell") else kind if kind in NAMES else ""]
        for index in range(len(group.names())):
            name = known[index] if index < len(known) else str(index)
            arrays[f"{prefix}{name}"] = group.array(str(index))
    return arrays


def group_names(kinds: Sequence[str]) -> list[str]:
    """What Keras 3 calls the groups of layers of these classes, in order: lstm, dense, lstm_1."""
    counts: dict[str, int] = {}
    found: list[str] = []
    for kind in kinds:
        name = snake_case(kind)
        count = counts[name] = counts.get(name, -1) + 1
        found.append(f"{name}_{count}" if count else name)
    return found


def kind_of(group: str) -> str:
    """The class in a name such as lstm_1."""
    return re.sub(r"_\d+$", "", group)


def snake_case(kind: str) -> str:
    """SimpleRNN as simple_rnn."""
    once = re.sub(r"\W+", "", kind)
    once = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", once)
    return re.sub("([a-z])([A-Z])", r"\1_\2", once).lower()
