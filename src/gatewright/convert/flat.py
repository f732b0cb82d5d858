"""Reading arrays by name: the recurrent layers among them, and the embedding and head that some frameworks keep."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

from numpy.typing import NDArray

from gatewright.convert import apply, completeness, heads, reparametrized
from gatewright.convert.completeness import NotWholeError
from gatewright.convert.layer_index import LayerIndex, NoLayerError, ordered, reading
from gatewright.convert.naming import LayerPlace
from gatewright.convert.overrides import PREFIX, assumed
from gatewright.errors import ConversionError
from gatewright.network import Network, Part, RecurrentPart

__all__ = ["NoLayerError", "NotWholeError", "read"]

Arrays = Mapping[str, NDArray[Any]]


def read(arrays: Arrays, framework: str, overrides: Mapping[str, Any]) -> Network:
    """The recurrent layers among arrays of a framework, and the parts that it keeps around them.

    `overrides` are what its layers compute where the arrays do not say it, and `prefix`, of one layer or of several in
    their order, which of the layers are meant.

    Raises ConversionError where there are none, where they are not whole, where the arrays can be understood in two
    ways, or where the layers do not follow one another.
    """
    overrides = dict(overrides)
    prefix = overrides.pop(PREFIX, None)
    arrays, notes = reparametrized.folded(arrays) if framework == "torch" else (arrays, ())
    index = reading(arrays, framework, overrides)
    places = ordered(index, prefix)
    completeness.check(index, places, chosen=prefix is not None)
    stack = list(_stack(index, places, arrays, overrides))
    layers = tuple(layer for _, layer in stack)
    notes = (*notes, *completeness.check_stack(index, stack, places, chosen=prefix is not None))
    parts: tuple[Part, ...] = layers
    used = {name for place in places for name in index.layers[place][1].values()}
    row = heads.around(framework, layers[0].cell_config.family)
    if row is not None:
        parts, around, lacking = heads.read(row, layers, arrays)
        used, notes = used | around, (*notes, *lacking)
    completeness.check_rest(index, places, used)
    unused = {name: array for name, array in arrays.items() if name not in used}
    taken = {
        name: values
        for place, layer in zip(places, layers, strict=False)
        for name, values in assumed(index.layers[place][0], layer.cell_config, overrides).items()
    }
    return Network(parts, framework, unused, notes, assumed=taken)


def _stack(
    index: LayerIndex, places: Iterable[LayerPlace], arrays: Arrays, overrides: Mapping[str, Any]
) -> Iterator[tuple[str, RecurrentPart]]:
    """The layers from the bottom to the top, both directions of each together, with their prefix."""
    before = 0
    for (prefix, _), both in groupby(places, key=lambda place: (place.prefix, place.layer)):
        pair = list(both)
        if len(pair) == 1 and pair[0].paired:
            raise ConversionError(
                f"layer {prefix!r} reads in one direction, and by its name it is one of two",
                do="look whether the file holds the other direction",
            )
        row, other = (index.layers[place][0] for place in (pair[0], pair[-1]))
        if row is not other:
            raise ConversionError(f"the directions of layer {prefix!r} are of two kinds: {row.title}, {other.title}")
        config = apply.config_of(row, **overrides)
        of_each = [apply.read_layers(row, arrays, index.layers[place][1], config) for place in pair]
        for directions in zip(*of_each, strict=True):
            layer = RecurrentPart(config, directions, backwards=len(pair) == 1 and pair[0].backwards)
            if before not in (0, layer.inputs):
                raise ConversionError(
                    f"layer {prefix!r} does not follow the one before it",
                    expected=f"a layer of {before} features, which the one before gives",
                    got=f"{layer.inputs}",
                    do="name those that are meant with prefix, or convert them one by one",
                )
            before = sum(heads.width(parameters) for parameters in directions)
            yield prefix, layer
