"""Files of Keras 1, 2 and 3 as those wrote them, made by h5py alone."""

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
INPUTS, UNITS = 3, 4
KERNELS = {"SimpleRNN": 1, "GRU": 3, "LSTM": 4}


def drawn(*shape: int, seed: int = 0) -> Array:
    """Random weights."""
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def kernels(kind: str, *, inputs: int = INPUTS, seed: int = 0, after: bool = True) -> dict[str, Array]:
    """The arrays of a layer from Keras 2 on."""
    gates = KERNELS[kind]
    bias = (2, gates * UNITS) if kind == "GRU" and after else (gates * UNITS,)
    return {
        "kernel": drawn(inputs, gates * UNITS, seed=seed),
        "recurrent_kernel": drawn(UNITS, gates * UNITS, seed=seed + 1),
        "bias": drawn(*bias, seed=seed + 2),
    }


def layer(kind: str, name: str, **config: Any) -> dict[str, Any]:
    """A layer of a configuration."""
    return {"class_name": kind, "config": {"name": name, **config}}


def legacy(
    path: Path,
    layers: Sequence[dict[str, Any]],
    arrays: Mapping[str, Mapping[str, Array]],
    *,
    version: str | None = "2.1.3",
    bare: bool = False,
) -> Path:
    """A file of Keras 1 or 2: a group for each layer, with its arrays by their full names."""
    import h5py

    with h5py.File(path, "w") as file:
        root = file if bare else file.create_group("model_weights")
        if not bare:
            file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": list(layers)}).encode()
        for place in (file, root):
            if version is not None:
                place.attrs["keras_version"] = version.encode()
        root.attrs["layer_names"] = np.array([one["config"]["name"].encode() for one in layers])
        for one in layers:
            group = root.create_group(one["config"]["name"])
            found = arrays.get(one["config"]["name"], {})
            group.attrs["weight_names"] = np.array([name.encode() for name in found]) if found else np.zeros(0)
            for name, array in found.items():
                group[name] = array
    return path


def numbered(path: Path, groups: Mapping[str, Sequence[Array]]) -> Path:
    """Bare weights of Keras 3."""
    import h5py

    with h5py.File(path, "w") as file:
        for group, arrays in groups.items():
            for index, array in enumerate(arrays):
                file[f"layers/{group}/vars/{index}"] = array
    return path


def zipped(path: Path, config: Any, groups: Mapping[str, Sequence[Array]], *, version: str = "3.3.0") -> Path:
    """A whole model of Keras 3."""
    weights = numbered(path.with_name("model.weights.h5"), groups)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": version}))
        archive.writestr("config.json", json.dumps(config))
        archive.write(weights, "model.weights.h5")
    return path


def sequential(*layers: dict[str, Any]) -> dict[str, Any]:
    """The configuration of a model of Keras 3."""
    return {"class_name": "Sequential", "config": {"name": "model", "layers": list(layers)}}


def functional(*layers: tuple[dict[str, Any], Sequence[str]], ends: Sequence[str]) -> dict[str, Any]:
    """The configuration of a functional model of Keras 2: layers with those that they read."""
    listed = [
        {
            **one,
            "name": one["config"]["name"],
            "inbound_nodes": [[[name, 0, 0, {}] for name in sources]] if sources else [],
        }
        for one, sources in layers
    ]
    first = [[listed[0]["name"], 0, 0]]
    config = {"layers": listed, "input_layers": first, "output_layers": [[name, 0, 0] for name in ends]}
    return {"class_name": "Model", "config": config}
