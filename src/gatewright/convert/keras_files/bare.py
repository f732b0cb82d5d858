"""Files of Keras that hold weights alone: finding the recurrent layers and their order."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, pairwise, permutations
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from gatewright.convert.keras_files.architecture import KerasLayer, kind_of
from gatewright.convert.keras_files.containers import KerasFile
from gatewright.convert.keras_files.recurrence import guessed
from gatewright.convert.naming import in_order
from gatewright.convert.overrides import PREFIX, Assumed
from gatewright.errors import ConversionError
from gatewright.network import Network, RecurrentPart

MOST_LAYERS = 7  # of which all orders are tried
_RESHAPING = ("flatten", "reshape", "permute", "repeat_vector")  # layers without weights that change a width


def network_of_weights(path: Path, model: KerasFile, overrides: Mapping[str, Any]) -> Network:
    """The recurrent layers among bare weights, or those that `prefix` names. Other arrays are kept by name.

    Raises ConversionError where there are none, where their order cannot be known, and where they are no stack.
    """
    recurrent: dict[str, RecurrentPart] = {}
    assumed: dict[str, Assumed] = {}
    unused: dict[str, NDArray[Any]] = {}
    for layer in model.layers:
        guess = guessed(layer.arrays, layer.name, model.version, overrides) if layer.arrays else None
        if guess is None:
            unused |= {f"{layer.name}/{name}": array for name, array in layer.arrays.items()}
        else:
            recurrent[layer.name], assumed[layer.name] = guess
    if not recurrent:
        raise ConversionError(f"{path} has no recurrent layer", got=", ".join(unused) or "no arrays")
    prefix = overrides.get(PREFIX)
    names = _named(path, prefix, recurrent) if prefix is not None else _stack(path, model, recurrent)
    for layer in model.layers:
        if layer.name in recurrent and layer.name not in names:
            unused |= {f"{layer.name}/{name}": array for name, array in layer.arrays.items()}
    _check_fits(path, [(name, recurrent[name]) for name in names])
    taken = {fact: values for name in names for fact, values in assumed[name].items()}
    return Network(tuple(recurrent[name] for name in names), rest=unused, assumed=taken).noting(
        "the file holds weights alone: what its other layers compute is not in it; recurrent layers are taken to "
        "follow one another, to read forwards or in both directions side by side, and to give every step"
    )


def _named(path: Path, prefix: str | Sequence[str], recurrent: Mapping[str, RecurrentPart]) -> list[str]:
    names = [name.rstrip("./") for name in ([prefix] if isinstance(prefix, str) else prefix)]
    unknown = [name for name in names if name not in recurrent]
    if unknown:
        raise ConversionError(
            f"{path} has no recurrent layer {unknown[0]!r}", expected=" or ".join(map(repr, recurrent))
        )
    return names


def _stack(path: Path, model: KerasFile, recurrent: Mapping[str, RecurrentPart]) -> list[str]:
    """All recurrent layers, in their order, if nothing with weights stands between them."""
    layers = [layer for layer in model.layers if layer.arrays]
    names = [layer.name for layer in layers]
    if model.version.major >= 3 and len({kind_of(name) for name in recurrent}) > 1:
        names = list(_order(path, model.layers, recurrent))
    places = [index for index, name in enumerate(names) if name in recurrent]
    between = [name for name in names[places[0] : places[-1]] if name not in recurrent]
    if model.version.major >= 3 and len({kind_of(name) for name in recurrent}) == 1:
        between = _possibly_between(layers, recurrent)  # the file has layers by kind
    if between:
        first, *_, last = [name for name in names if name in recurrent]
        raise ConversionError(
            f"{path} holds weights alone, and other layers stand, or may stand, between its recurrent ones",
            expected="recurrent layers that follow one another",
            got=f"{', '.join(between)} between {first} and {last}",
            do="save the whole model as .keras, or name the layers that are meant with prefix, in their order",
        )
    return [name for name in names if name in recurrent]


def _possibly_between(layers: Sequence[KerasLayer], recurrent: Mapping[str, RecurrentPart]) -> list[str]:
    """The layers through which the features of one recurrent layer may reach the next."""
    others = {layer.name: _widths(layer, None) for layer in layers if layer.name not in recurrent}
    for lower, _ in pairwise(recurrent.values()):
        reached = {lower.outputs}
        for _ in others:
            reached |= {pair[1] for pair in others.values() if pair and pair[0] in reached}
        through = [name for name, pair in others.items() if pair is None or pair[0] in reached]
        back = [name for name in through if (pair := others[name]) is None or pair[1] == lower.outputs]
        if back:
            return through
    return []


def _check_fits(path: Path, layers: Sequence[tuple[str, RecurrentPart]]) -> None:
    for (below, lower), (name, upper) in pairwise(layers):
        if lower.outputs != upper.inputs:
            raise ConversionError(
                f"{path} holds weights alone, and its layers are no stack: {name!r} does not follow {below!r}",
                expected=f"a layer that reads the {lower.outputs} features that {below!r} gives",
                got=", ".join(f"{title} from {layer.inputs} to {layer.outputs}" for title, layer in layers),
                do=f"name those that are meant in their order, as in prefix={below!r}",
            )


def _order(path: Path, layers: Sequence[KerasLayer], recurrent: Mapping[str, RecurrentPart]) -> Sequence[str]:
    """The only order in which each layer fits the one before it. Keras 3 numbers only layers of the same class."""
    widths = {layer.name: _widths(layer, recurrent.get(layer.name)) for layer in layers if layer.arrays}
    known = {name: width for name, width in widths.items() if width is not None}
    fitting: list[tuple[str, ...]] = []
    reshaping = [layer.name for layer in layers if kind_of(layer.name) in _RESHAPING]
    if len(known) == len(widths) <= MOST_LAYERS and not reshaping:
        fitting = list(islice(_fitting(known), 2))
    if len(fitting) != 1:
        raise ConversionError(
            f"{path} holds weights alone, and does not tell in which order its layers are",
            got=", ".join(layer.name for layer in layers),
            do="save the whole model as .keras, or name the layers that are meant with prefix, in their order",
        )
    return fitting[0]


def _fitting(widths: Mapping[str, tuple[int, int]]) -> Iterator[tuple[str, ...]]:
    for order in permutations(widths):
        in_turn = all(
            kind_of(lower) != kind_of(upper) or in_order(lower) < in_order(upper)
            for index, lower in enumerate(order)
            for upper in order[index + 1 :]
        )
        if in_turn and all(widths[lower][1] == widths[upper][0] for lower, upper in pairwise(order)):
            yield order


def _widths(layer: KerasLayer, recurrent: RecurrentPart | None) -> tuple[int, int] | None:
    """How many features a layer reads and gives; an embedding reads none that another layer gives."""
    if recurrent is not None:
        return recurrent.inputs, recurrent.outputs
    matrix = next(iter(layer.arrays.values()))
    if all(array.ndim == 1 and array.shape == matrix.shape for array in layer.arrays.values()):
        return matrix.shape[0], matrix.shape[0]  # a layer that normalises
    if matrix.ndim != 2:
        return None
    return (0 if "embeddings" in layer.arrays else matrix.shape[0]), matrix.shape[1]
