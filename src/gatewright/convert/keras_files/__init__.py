"""Files of Keras 1, 2 and 3: whole models and bare weights. Reading needs h5py, and never Keras."""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from gatewright.convert.keras_files import containers, storing, writing
from gatewright.convert.keras_files.architecture import KerasVersion, version_of
from gatewright.convert.keras_files.bare import network_of_weights
from gatewright.convert.keras_files.reading import input_shape, network_of, network_of_some
from gatewright.convert.overrides import PREFIX, refused_overrides
from gatewright.errors import ConversionError
from gatewright.files import write_atomically
from gatewright.network import Activation, Dense, Embedding, Masking, Network

BACKEND = "KERAS_BACKEND"  # the variable that selects its backend; Keras reads it when it is imported
WEIGHTS_SUFFIX = ".weights.h5"
SUFFIXES = (".h5", ".hdf5")


def read(path: Path, overrides: Mapping[str, Any]) -> Network:
    """The network in a file of Keras, whose version it tells.

    Overrides of the cell config count where the file holds weights alone.

    Raises ConversionError where the file is damaged, or holds what has no counterpart.
    """
    prefix = overrides.get(PREFIX)
    model = containers.read(path, connected=prefix is None)
    if not model.described:
        network = network_of_weights(path, model, overrides)
    elif overrides.keys() - {PREFIX}:
        raise refused_overrides("keras that hold a whole model", overrides, frozenset({PREFIX}))
    elif prefix is None:
        network = network_of(model.layers, model.version)
    else:
        network = network_of_some(model.layers, prefix, model.version)
    return replace(network, layout="keras1" if model.version.major == 1 else "keras")


def write(network: Network, path: Path) -> None:
    """Write .keras or .weights.h5 of Keras 3, or .h5 of Keras 2, which Keras 3 opens as well."""
    bare = path.name.endswith(WEIGHTS_SUFFIX)
    third = bare or path.suffix not in SUFFIXES
    if bare:
        writing.check_weights_alone(network)
    layers = writing.layers_of(network, version_of(storing.KERAS3 if third else storing.KERAS2), bare=bare)
    dtype = writing.dtype_of(network)
    stored = storing.zipped if third else storing.grouped
    write_atomically(path, storing.weights(path, layers) if bare else stored(path, layers, dtype))


def write_keras1(network: Network, path: Path) -> None:
    """Write the weights of layers of Keras 1, in the order in which Keras 1 creates them."""
    writing.check_weights_alone(network)
    write_atomically(path, storing.keras1(path, writing.keras1(network)))


def run(path: Path, inputs: NDArray[Any], overrides: Mapping[str, Any] | None = None) -> NDArray[Any]:
    """Outputs of the model in a file, computed by Keras, for inputs as `gatewright.convert.run` takes them.

    Raises ImportError where no Keras is installed that computes what the file says, and ConversionError for a file that
    holds no model, or of which some layers were chosen.
    """
    keras = _library()
    overrides = overrides or {}
    model = containers.read(path, connected=False)
    if not model.described:
        raise ConversionError(f"{path} holds weights alone, and Keras needs a model to run them in")
    if overrides.get(PREFIX) is not None:
        raise ConversionError(f"layers of {path} were chosen, and Keras runs the whole model")
    known = read(path, overrides)
    if reason := _changed_since(known, model.version):
        raise ImportError(f"{path} has {reason} of Keras {model.version.major}, and this is Keras {keras.__version__}")
    loaded: Any = keras.saving.load_model(path, compile=False)
    for layer in loaded._flatten_layers():
        if layer.dtype_policy.name.startswith("mixed"):  # its weights are float32, and so it computes here
            layer.dtype_policy = "float32"
    sequences = len(known.reads) == 2 or isinstance(known.parts[0], Embedding)
    rows = inputs.swapaxes(0, 1) if sequences else inputs
    outputs: NDArray[Any] = keras.ops.convert_to_numpy(*keras.tree.flatten(loaded(rows, training=False)))
    return outputs.swapaxes(0, 1) if outputs.ndim == 3 else outputs


def _library() -> Any:
    """Keras. Where no backend is selected, one that is installed: its default needs TensorFlow."""
    before = os.environ.get(BACKEND)
    selected = backend(os.environ, lambda name: find_spec(name) is not None)
    try:
        if selected is not None:
            os.environ[BACKEND] = selected
        import keras
    finally:
        os.environ.pop(BACKEND, None)
        if before is not None:
            os.environ[BACKEND] = before
    return keras


def backend(environment: Mapping[str, str], installed: Callable[[str], bool]) -> str | None:
    """The backend of Keras: the selected one, or the first that is installed; None leaves it to Keras."""
    chosen = environment.get(BACKEND)
    return chosen or next((name for name in ("tensorflow", "torch", "jax") if installed(name)), None)


def _changed_since(network: Network, version: KerasVersion) -> str:
    """The part of a network of that version that Keras 3 computes differently; empty where there is none."""
    equations = [config for layer in network.recurrent for config in layer.cell_configs]
    functions = {function for config in equations for function in (config.gate, config.activation, config.output)}
    functions |= {part.activation for part in network.parts if isinstance(part, Dense)}
    functions |= {part.function for part in network.parts if isinstance(part, Activation)}
    if version.major < 3 and version.hard_sigmoid in functions:
        return "the hard_sigmoid"
    masked = any(isinstance(part, Masking) or getattr(part, "masks_zero", False) for part in network.parts)
    both = any(len(layer.directions) == 2 and layer.returns == "sequence" for layer in network.recurrent)
    return "the outputs at masked steps of two directions" if masked and both and not version.zeroes_both else ""


def fixed_sizes(path: Path) -> tuple[int | None, int | None]:
    """The steps and the rows of a batch that a model demands; None where it takes any number."""
    model = containers.read(path, connected=False)
    shapes = (input_shape(layer) for layer in model.layers)
    batch, *row = next((shape for shape in shapes if shape is not None), (None,))
    return (row[0] if row else None), batch
