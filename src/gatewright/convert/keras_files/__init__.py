"""Files of Keras 1, 2 and 3: whole models and bare weights. Reading needs h5py, and never Keras."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise, permutations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.convert.keras_files import containers, storing, writing
from gatewright.convert.keras_files.architecture import version_of
from gatewright.convert.keras_files.reading import network_of
from gatewright.convert.keras_files.recurrence import guessed
from gatewright.convert.network import Embedding, Network, Recurrent
from gatewright.errors import ConversionError
from gatewright.files import write_atomically

WEIGHTS_SUFFIX = ".weights.h5"
SUFFIXES = (".h5", ".hdf5")
MOST_ORDERS = 1000


def read(framework: str, path: Path, facts: Mapping[str, Any]) -> Network:
    """The network in a file of Keras 1 ("keras1"), or of Keras 2 or 3 ("keras").

    `facts` count where the file holds weights alone.

    Raises ConversionError where the file is damaged, or holds what has no counterpart.
    """
    model = containers.read(path)
    of = "keras1" if model.version.major == 1 else "keras"
    if of != framework:
        raise ConversionError(f"{path} is a file of Keras {model.version.major}", do=f"read it as {of}")
    if model.described:
        found = network_of(model.layers, model.version, str(path))
        return replace(found, layout=framework)
    return replace(_bare(path, model, facts), layout=framework)


def write(network: Network, path: Path) -> None:
    """Write .keras or .weights.h5 of Keras 3, or .h5 of Keras 2, which Keras 3 opens as well.

    Raises ConversionError, with the reason, where Keras cannot compute the same.
    """
    bare = path.name.endswith(WEIGHTS_SUFFIX)
    third = bare or path.suffix not in SUFFIXES
    layers = writing.layers_of(network, version_of(storing.KERAS3 if third else storing.KERAS2), bare=bare)
    dtype = writing.dtype_of(network)
    if bare:
        content = storing.weights(path, layers)
    else:
        content = storing.zipped(path, layers, dtype) if third else storing.grouped(path, layers, dtype)
    write_atomically(path, content)


def write_keras1(network: Network, path: Path) -> None:
    """Write the weights of layers of Keras 1, in the order in which it makes them.

    Raises ConversionError, with the reason, where Keras 1 cannot compute the same.
    """
    write_atomically(path, storing.keras1(path, writing.keras1(network)))


def run(path: Path, inputs: NDArray[Any]) -> NDArray[Any]:
    """What Keras computes with the model in a file, for inputs as `gatewright.convert.run` takes them.

    Raises ImportError where no Keras is installed that computes what the file says.
    """
    import keras

    model = containers.read(path)
    if not model.described:
        raise ImportError(f"{path} holds weights alone, and Keras needs a model to run them in")
    known = read("keras", path, {})
    if model.version.major < 3 and any(one.equations.gate == model.version.hard_sigmoid for one in known.recurrent):
        raise ImportError(f"{path} has the hard_sigmoid of Keras 2, and this is Keras {keras.__version__}")
    loaded = keras.saving.load_model(path, compile=False)
    sequences = len(known.reads) == 2 or isinstance(known.parts[0], Embedding)
    outputs = np.asarray(loaded.predict(inputs.swapaxes(0, 1) if sequences else inputs, verbose=0))
    return outputs.swapaxes(0, 1) if outputs.ndim == 3 else outputs


def _bare(path: Path, model: containers.Model, facts: Mapping[str, Any]) -> Network:
    """The recurrent layers among bare weights; what else there is, is kept by its name."""
    recurrent: dict[str, Recurrent] = {}
    rest: dict[str, NDArray[Any]] = {}
    for layer in model.layers:
        found = guessed(layer.arrays, layer.name, model.version, facts)
        if found is None:
            rest |= {f"{layer.name}/{name}": array for name, array in layer.arrays.items()}
        else:
            recurrent[layer.name] = found
    if not recurrent:
        raise ConversionError(f"{path} has no recurrent layer", got=", ".join(rest) or "no arrays")
    parts = _ordered(path, recurrent) if model.version.major >= 3 else tuple(recurrent.values())
    return Network(parts, rest=rest).noting(
        "the file holds weights alone: activations and the other layers are not in it, and those of Keras "
        f"{model.version.major} were taken; all outputs are taken to be sequences"
    )


def _ordered(path: Path, layers: Mapping[str, Recurrent]) -> tuple[Recurrent, ...]:
    """Layers of Keras 3 in the order of the model, of which bare weights tell only that among layers of one kind."""
    kinds = {containers.kind_of(name) for name in layers}
    if len(kinds) == 1:
        return tuple(layers.values())
    fitting: list[tuple[str, ...]] = []
    for count, order in enumerate(permutations(layers)):
        if count > MOST_ORDERS:
            break
        if _in_turn(order) and all(
            layers[one].hidden * len(layers[one].directions) == layers[two].inputs for one, two in pairwise(order)
        ):
            fitting.append(order)
    if len(fitting) != 1:
        raise ConversionError(
            f"{path} holds weights alone, and does not tell in which order its layers are",
            got=", ".join(layers),
            do="save the whole model as .keras",
        )
    return tuple(layers[name] for name in fitting[0])


def _in_turn(order: tuple[str, ...]) -> bool:
    """Whether layers of one kind come in the order of their numbers."""
    return all(
        containers.kind_of(one) != containers.kind_of(two) or containers.in_order(one) < containers.in_order(two)
        for index, one in enumerate(order)
        for two in order[index + 1 :]
    )
