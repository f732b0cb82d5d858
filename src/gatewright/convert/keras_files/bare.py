"""Files of Keras that hold weights alone: which layers are recurrent, and in which order they are."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, pairwise, permutations
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from gatewright.convert.keras_files.architecture import Layer
from gatewright.convert.keras_files.containers import Model, kind_of
from gatewright.convert.keras_files.recurrence import guessed
from gatewright.convert.naming import in_order
from gatewright.convert.network import Network, Recurrent
from gatewright.errors import ConversionError

MOST_LAYERS = 7  # whose orders are tried
_TURNED = ("flatten", "reshape", "permute", "repeat_vector")  # layers without weights that change a width


def network_of_weights(path: Path, model: Model, facts: Mapping[str, Any]) -> Network:
    """The recurrent layers among bare weights; what else there is, is kept by its name.

    Raises ConversionError where there are none, or their order cannot be known.
    """
    recurrent: dict[str, Recurrent] = {}
    rest: dict[str, NDArray[Any]] = {}
    for layer in model.layers:
        found = guessed(layer.arrays, layer.name, model.version, facts) if layer.arrays else None
        if found is None:
            rest |= {f"{layer.name}/{name}": array for name, array in layer.arrays.items()}
        else:
            recurrent[layer.name] = found
    if not recurrent:
        raise ConversionError(f"{path} has no recurrent layer", got=", ".join(rest) or "no arrays")
    if model.version.major >= 3 and len({kind_of(name) for name in recurrent}) > 1:
        names = [name for name in _order(path, model.layers, recurrent) if name in recurrent]
    else:
        names = list(recurrent)
    return Network(tuple(recurrent[name] for name in names), rest=rest).noting(
        "the file holds weights alone: activations and the other layers are not in it, and those of Keras "
        f"{model.version.major} were taken; all outputs are taken to be sequences"
    )


def _order(path: Path, layers: Sequence[Layer], recurrent: Mapping[str, Recurrent]) -> Sequence[str]:
    """The only order in which each layer can read the one before it; Keras 3 tells that of layers of a kind alone."""
    widths = {layer.name: _widths(layer, recurrent.get(layer.name)) for layer in layers if layer.arrays}
    known = {name: width for name, width in widths.items() if width is not None}
    fitting: list[tuple[str, ...]] = []
    turned = [layer.name for layer in layers if kind_of(layer.name) in _TURNED]
    if len(known) == len(widths) <= MOST_LAYERS and not turned:
        fitting = list(islice(_fitting(known), 2))
    if len(fitting) != 1:
        raise ConversionError(
            f"{path} holds weights alone, and does not tell in which order its layers are",
            got=", ".join(layer.name for layer in layers),
            do="save the whole model as .keras",
        )
    return fitting[0]


def _fitting(widths: Mapping[str, tuple[int, int]]) -> Iterator[tuple[str, ...]]:
    for order in permutations(widths):
        in_turn = all(
            kind_of(one) != kind_of(two) or in_order(one) < in_order(two)
            for index, one in enumerate(order)
            for two in order[index + 1 :]
        )
        if in_turn and all(widths[one][1] == widths[two][0] for one, two in pairwise(order)):
            yield order


def _widths(layer: Layer, recurrent: Recurrent | None) -> tuple[int, int] | None:
    """How many features a layer reads and gives; an embedding reads none that another layer gives."""
    if recurrent is not None:
        return recurrent.inputs, recurrent.outputs
    matrix = next(iter(layer.arrays.values()))
    if matrix.ndim != 2:
        return None
    return (0 if "embeddings" in layer.arrays else matrix.shape[0]), matrix.shape[1]
