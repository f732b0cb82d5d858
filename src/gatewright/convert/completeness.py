"""Checks that layers were read as a whole: arrays beside them that belong to no layer are refused."""

import re
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np

from gatewright.convert.layer_index import LayerIndex, NamedArrays, cell_of, shown, unordered
from gatewright.convert.layouts import Layout, layouts
from gatewright.convert.naming import LayerPlace, module_of, numbers_of, path_of, territory
from gatewright.errors import ConversionError
from gatewright.network import RecurrentPart

_COMMON = re.compile(r"\w|[WUb]x|b_\w|bias|kernel|projection/kernel")
"""Names of arrays that layers of other kinds have too: alone they are no sign of a recurrent layer."""
_BIASES = ("b", "bh")
_GENERATORS = "rngs"  # the step of a path of flax.nnx below which random generators keep their state
_CHOOSE = "name them with prefix"


class NotWholeError(ConversionError):
    """Layers that lack an array, or arrays that belong to none. `known` counts arrays with names of the framework."""

    known: int = 0


def check(index: LayerIndex, places: Sequence[LayerPlace], *, chosen: bool) -> None:
    """Refuse layers that are not whole: an array, a direction or a number of theirs is missing, or has another shape.

    `chosen` says whether the user named the layers: then what else is in the file does not matter.

    Raises NotWholeError, which names the arrays.
    """
    modules = {index.module(place) for place in places}
    stacks = set[LayerPlace]() if chosen else {replace(place, layer=0) for place in places}
    for place, group in index.groups.items():
        if place in index.layers:
            continue
        telling = not chosen and any(_is_telling(row, place, group) for row in layouts(index.framework))
        if telling or index.module(place) in modules or replace(place, layer=0) in stacks:
            raise index.contradictions.get(place) or _broken(index, place, group)
    for place in places:
        _refuse_half(index, place)
    for prefix, layers in groupby(places, key=lambda place: place.prefix):
        of_one = list(layers)
        if index.groups[of_one[0]].naming.modules:
            _refuse_unlike(index, of_one)
        if {layer for layer in index.layers if layer.prefix == prefix} == set(of_one):
            _refuse_gaps(index, of_one)


def check_rest(index: LayerIndex, places: Sequence[LayerPlace], used: Set[str]) -> None:
    """Refuse arrays that have names of a layer's module and belong to no layer."""
    beside = {name for place in places for name in index.groups[place].names.values()}
    inside = {territory(place, index.groups[place].naming) for place in places}
    alone = "" in inside and index.framework in ("torch", "equinox")  # the module is the whole file
    lengths = sorted({len(path) for path in inside if path})

    def is_of_a_layer(name: str, path: str) -> bool:
        within = name in beside or any(path[:length] in inside for length in lengths)
        return within or (alone and not re.search(r"[./]", path))

    strays = _strays(index, used, is_of_a_layer)
    if strays:
        raise _error(
            index,
            f"arrays lie beside those of a layer of {index.framework}, and belong to none",
            expected="nothing else in the layer's module: with other arrays it computes something else",
            got=shown({name: index.arrays[name] for name in strays}),
            do="look what the model does with them; where that is nothing, save the file again without them",
        )


def check_stack(
    index: LayerIndex, stack: Sequence[tuple[str, RecurrentPart]], places: Sequence[LayerPlace], *, chosen: bool
) -> tuple[str, ...]:
    """Notes of layers that were taken for a stack: by the numbers in their names, where the user named none.

    Raises ConversionError, which asks for their order, where they may as well be something else: a number is missing
    between them, other arrays lie between them, or all of them can read the same input.
    """
    notes = _different(index, places)
    modules = {prefix: [layer for _, layer in layers] for prefix, layers in groupby(stack, key=lambda entry: entry[0])}
    if chosen or len(modules) < 2:
        return notes
    numbers = [numbers_of(prefix) for prefix in modules]
    longest = max(map(len, numbers))
    steps = zip(
        *((*number, *[0] * (longest - len(number))) for number in numbers), strict=True
    )  # the first may have none
    counts = {place: column for place, column in enumerate(steps) if len(set(column)) > 1}
    place, column = next(iter(counts.items()))
    if len(counts) > 1 or list(column) != list(range(column[0], column[0] + len(modules))):
        raise unordered(index, places, "the numbers of these modules do not follow one another")
    used = {name for place in places for name in index.layers[place][1].values()}
    ends = map(re.escape, (_up_to_number(prefix, place) for prefix in modules))
    within = re.compile(f"(?:{'|'.join(ends)})(?!\\d).*", re.DOTALL)
    if others := _strays(index, used, lambda _, path: within.fullmatch(path) is not None):
        problem = f"with these modules lie other arrays, such as {others[0]}, which may act on them"
        raise unordered(index, places, problem)
    inputs = {layers[0].inputs for layers in modules.values()}
    if len(inputs) == 1:
        raise unordered(index, places, "these modules may be one above the other, or side by side")
    return (*notes, f"taken for layers one above the other, by their numbers and sizes: {', '.join(modules)}")


def _up_to_number(prefix: str, place: int) -> str:
    """A prefix up to one of the numbers in it, or all of it where it has not so many."""
    ends = [match.end() for match in re.finditer(r"\d{1,9}", prefix)]
    return prefix[: ends[place]] if place < len(ends) else prefix


def _strays(index: LayerIndex, used: Set[str], is_inside: Callable[[str, str], bool]) -> list[str]:
    """Arrays inside of some modules, by their name and path, that belong to no recurrent layer."""
    paths = {name: path_of(name, index.framework) for name in index.arrays}
    shapes = {name: np.shape(array) for name, array in index.arrays.items()}
    read = {paths[name]: shapes[name] for name in used}
    unread = [(name, path) for name, path in paths.items() if name not in used and is_inside(name, path)]
    return [name for name, path in unread if not _is_harmless(path, shapes[name], read)]


def _different(index: LayerIndex, places: Sequence[LayerPlace]) -> tuple[str, ...]:
    """A note where layers of one family differ: with biases and without, projected and not."""
    kinds: dict[str, dict[str, list[str]]] = {}
    for place in places:
        row, names = index.layers[place]
        biased = any(stored.kinds in _BIASES and name in names for name, stored, _ in row.stored())
        kind = row.title + ("" if biased else " without biases")
        kinds.setdefault(row.family, {}).setdefault(kind, []).append(_label(index, place))
    return tuple(
        "these layers are of several kinds: "
        + "; ".join(f"{' and '.join(labels)}: {kind}" for kind, labels in of_family.items())
        for of_family in kinds.values()
        if len(of_family) > 1
    )


def _is_telling(row: Layout, place: LayerPlace, group: NamedArrays) -> bool:
    """Whether names are a sign of a recurrent layer of that row."""
    own = [name for name, *_ in row.stored() if name in group.names]
    return cell_of(place) in row.scopes if row.scopes and own else any(not _COMMON.fullmatch(name) for name in own)


def _is_harmless(path: str, shape: tuple[int, ...], used: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether an array is an optimizer's, kept by the name of a weight and one step more, or a generator's state."""
    weight, _, step = path.rpartition("/")
    return used.get(weight) == shape or (_GENERATORS in weight.split("/") and bool(step))


def _broken(index: LayerIndex, place: LayerPlace, group: NamedArrays) -> NotWholeError:
    rows = [row for row in layouts(index.framework) if any(name in group.names for name, *_ in row.stored())]
    known = [[name for name, *_ in row.stored()] for row in rows]
    closest = max(known, key=lambda names: sum(name in group.names for name in names) - len(names) / 100)
    missing = [name for name in closest if name not in group.names]
    what = f"without {' and '.join(missing)}" if missing else "with arrays that do not fit each other"
    return _error(
        index,
        f"{_label(index, place)} is no whole layer: it is {what}",
        expected=", ".join(closest),
        got=shown({full: index.arrays[full] for full in group.names.values()}),
        do=f"look whether the file is complete; to convert the other layers alone, {_CHOOSE}",
    )


def _refuse_half(index: LayerIndex, place: LayerPlace) -> None:
    row, names = index.layers[place]
    biases = [name for name, stored, _ in row.stored() if stored.optional and stored.kinds in _BIASES]
    missing = [name for name in biases if name not in names]
    if 0 < len(missing) < len(biases):
        raise _error(
            index,
            f"{_label(index, place)} has a part of its biases",
            expected=f"{' and '.join(biases)}, or none",
            got=", ".join(names[name] for name in biases if name in names),
            do="look whether the file is complete; a bias that is zero must be there as zeros",
        )


def _refuse_unlike(index: LayerIndex, places: Sequence[LayerPlace]) -> None:
    """Refuse layers and directions of one module that have not the same arrays."""
    first = places[0]
    if len({(other.layer, other.backwards) for other in places}) != (
        len({other.layer for other in places}) * len({other.backwards for other in places})
    ):
        lone = next(other for other in places if replace(other, backwards=not other.backwards) not in index.layers)
        raise _error(
            index,
            f"{_label(index, lone)} has no other direction, and another layer of its module has both",
            expected="both directions of every layer",
            got=shown({name: index.arrays[name] for name in index.layers[lone][1].values()}),
            do="look whether the file is complete",
        )
    for place in places:
        wanted, got = (_units(index, other) for other in (first, place))
        if wanted != got:
            raise _error(
                index,
                f"{_label(index, place)} is not like {_label(index, first)}, which is of the same module",
                expected=", ".join(f"{name} {shape}" for name, shape in wanted.items()),
                got=", ".join(f"{name} {shape}" for name, shape in got.items()),
                do="look whether the file is complete",
            )


def _units(index: LayerIndex, place: LayerPlace) -> dict[str, Any]:
    """The shapes of a layer's arrays; of the weights of its input, which alone may differ, the rows."""
    row, names = index.layers[place]
    inputs = {name for name, stored, _ in row.stored() if stored.kinds == "W"}
    shapes = {name: np.shape(index.arrays[full]) for name, full in names.items()}
    return {name: (shape[0], "...") if name in inputs else shape for name, shape in shapes.items()}


def _refuse_gaps(index: LayerIndex, places: Sequence[LayerPlace]) -> None:
    """Refuse layer numbers with gaps; numbers before the first may be of layers that are not recurrent."""
    naming = index.groups[places[0]].naming
    if "{layer}" not in naming.template:
        return
    numbers = sorted({place.layer for place in places})
    before = [module_of(replace(places[0], layer=number), naming) for number in range(numbers[0])]
    taken = [any(path_of(name, index.framework).startswith(module) for name in index.arrays) for module in before]
    if numbers[-1] - numbers[0] >= len(numbers) or not all(taken) or (before and naming.modules):
        raise _error(
            index,
            f"the layers of {places[0].prefix!r} do not follow one another",
            expected=f"numbers from 0 to {len(numbers) - 1}",
            got=", ".join(map(str, numbers)),
            do="look whether the file is complete"
            + ("" if naming.modules else f"; where nothing is between them, {_CHOOSE}"),
        )


def _label(index: LayerIndex, place: LayerPlace) -> str:
    naming = index.groups[place].naming
    numbered = f"layer {place.layer} of " if "{layer}" in naming.template else ""
    return f"{numbered}{place.prefix!r}" + (", the direction that reads backwards," if place.backwards else "")


def _error(index: LayerIndex, problem: str, *, do: str, **more: str) -> NotWholeError:
    error = NotWholeError(problem, do=do, shell=do.replace(_CHOOSE, "name them with --prefix"), **more)
    error.known = sum(len(group.names) for group in index.groups.values())
    return error
