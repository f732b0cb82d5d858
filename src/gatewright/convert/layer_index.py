"""The layers of a file of arrays: which arrays belong to which layer, by name, and the order of the layers."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.convert import apply
from gatewright.convert.layouts import Layout, layouts
from gatewright.convert.naming import NAMINGS, LayerPlace, Naming, in_order, locate, module_of, path_of, unnumbered
from gatewright.convert.overrides import UnorderedError
from gatewright.errors import ConversionError

Arrays = Mapping[str, NDArray[Any]]
MOST_NAMES = 12  # of arrays, in one message
NamedRow = tuple[Layout, dict[str, str]]
"""A row, and the names of its arrays in the file by those in the table."""
_ENDS = "./_"  # characters that may follow the name of a module


class NoLayerError(ConversionError):
    """No array has a name of the framework's."""


@dataclass(frozen=True, slots=True)
class NamedArrays:
    """The arrays at one place: their names in the file by their names in the table, as that naming has them."""

    naming: Naming
    names: dict[str, str]


@dataclass(frozen=True, slots=True)
class LayerIndex:
    """The arrays of a file by layer."""

    framework: str
    arrays: Arrays
    groups: Mapping[LayerPlace, NamedArrays]  # of all arrays that have a name of the framework
    layers: Mapping[LayerPlace, NamedRow]  # of those that are whole
    contradictions: Mapping[LayerPlace, ConversionError]  # of those that no override lets be read

    def module(self, place: LayerPlace) -> str:
        """The name by which a user chooses a layer."""
        return module_of(place, self.groups[place].naming)


def reading(arrays: Arrays, framework: str, overrides: Mapping[str, Any]) -> LayerIndex:
    """Which arrays belong to which layer: each by the most telling naming that its name has.

    Raises ConversionError where no layer is among them, or none that agrees with the overrides.
    """
    groups = _groups(arrays, framework)
    layers: dict[LayerPlace, NamedRow] = {}
    contradictions: dict[LayerPlace, ConversionError] = {}
    for place, group in groups.items():
        fitting = list(_fitting(place, group.names, framework, arrays, overrides))
        agreeing = [entry for entry in fitting if entry[0].agrees(overrides)]
        if agreeing:
            layers[place] = _best(agreeing)
        elif fitting:
            contradictions[place] = _contradiction(framework, [row for row, _ in fitting], overrides)
    index = LayerIndex(framework, arrays, groups, layers, contradictions)
    if layers:
        return index
    if contradictions:
        raise next(iter(contradictions.values()))
    misfit = _misfit(index)
    none = f"no recurrent layer of {framework} is among these arrays"
    if misfit is not None:
        misfit.locate(none)
        raise misfit
    raise NoLayerError(
        none,
        expected="; ".join(
            f"{row.title}: {', '.join(name for name, *_ in row.stored())}" for row in layouts(framework)
        ),
        got=shown(arrays),
        do="name another layout, or none to have it guessed",
        shell="name the layout with --from, or leave it out to have it guessed",
    )


def _contradiction(framework: str, rows: Sequence[Layout], overrides: Mapping[str, Any]) -> ConversionError:
    """The error for overrides that no row agrees with: those that none has, or else all that are constrained."""
    asked = {name: value for name, value in overrides.items() if any(row.choices(name) for row in rows)}
    unmet = {name: value for name, value in asked.items() if not any(row.agrees({name: value}) for row in rows)}
    unmet = unmet or asked
    valid = (
        f"{row.title}: " + ", ".join(f"{name} {' or '.join(map(str, row.choices(name)))}" for name in unmet)
        for row in rows
    )
    return ConversionError(
        f"no layer of {framework} that these arrays can be has {' and '.join(f'{n} {v}' for n, v in unmet.items())}",
        expected="; ".join(valid),
        do=f"leave {' and '.join(unmet)} out, or give another value",
    )


def _groups(arrays: Arrays, framework: str) -> dict[LayerPlace, NamedArrays]:
    known = tuple(dict.fromkeys(name for row in layouts(framework) for name, *_ in row.stored()))
    groups: dict[LayerPlace, NamedArrays] = {}
    last_steps = {re.escape(name.rpartition("/")[2]) for name in known}
    likely = re.compile("|".join(last_steps))  # most names of a large file are told apart by this one search
    for name in arrays:
        if not likely.search(name):
            continue
        path = path_of(name, framework)
        for naming in NAMINGS[framework]:
            located = locate(path, naming, known)
            if located is None:
                continue
            place, array = located
            names = groups.setdefault(place, NamedArrays(naming, {})).names
            if array in names:
                raise ConversionError(f"{names[array]!r} and {name!r} are one array of {framework} by two names")
            names[array] = name
            break
    return groups


def _misfit(nothing_read: LayerIndex) -> ConversionError | None:
    """The error of the array that does not fit, where all names of a layer are there, and no row has their shapes."""
    errors: list[ConversionError] = []
    for names in (group.names for group in nothing_read.groups.values()):
        for row in layouts(nothing_read.framework):
            if not all(stored.optional or name in names for name, stored, _ in row.stored()):
                continue
            try:
                apply.read_layers(row, nothing_read.arrays, names)
            except ConversionError as error:
                errors.append(error)
            else:
                return None
    return errors[0] if errors else None


def _fitting(
    place: LayerPlace, group: Mapping[str, str], framework: str, arrays: Arrays, overrides: Mapping[str, Any]
) -> Iterator[NamedRow]:
    """The rows that can read the arrays of one layer, by the name of its cell and by their shapes."""
    for row in layouts(framework):
        if row.scopes and cell_of(place) not in row.scopes and overrides.get("family") is None:
            continue
        names = {name: group[name] for name, *_ in row.stored() if name in group}
        try:
            apply.read_layers(row, arrays, names)
        except ConversionError:
            continue
        yield row, names


def _best(fitting: Sequence[NamedRow]) -> NamedRow:
    """The row that explains the most arrays of one layer; several such rows are refused."""
    most = max(len(names) for _, names in fitting)
    best = [(row, names) for row, names in fitting if len(names) == most]
    if len(best) > 1:
        raise ConversionError(
            f"the arrays {', '.join(best[0][1].values())} fit several layouts",
            expected="one of " + ", ".join(row.key for row, _ in best),
            do='say which it is, as in family="lstm"',
            shell="say which it is, as in --family lstm",
        )
    return best[0]


def cell_of(place: LayerPlace) -> str:
    """The name of the cell there, without the number that tells it from others."""
    return re.sub(r"_\d+$", "", place.scope)


def ordered(index: LayerIndex, prefix: str | Sequence[str] | None) -> list[LayerPlace]:
    """The places of the layers that are meant, from the bottom to the top: those of each prefix, or all."""
    places = sorted(index.layers, key=lambda layer: (in_order(layer.prefix), layer.layer, layer.backwards))
    if prefix is not None:
        wanted = [path_of(name, index.framework) for name in ([prefix] if isinstance(prefix, str) else prefix)]
        of_each = [_of_prefix(index, places, name) for name in wanted]
        if not all(of_each):
            raise ConversionError(
                f"no layer has prefix {wanted[of_each.index([])]!r}",
                expected=" or ".join(dict.fromkeys(repr(index.module(place)) for place in places)),
            )
        for name, chosen in zip(wanted, of_each, strict=True):
            if len({(place.prefix, place.paired) for place in chosen}) > 1:
                raise unordered(index, chosen, f"several modules have names that begin with {name!r}")
        return [place for chosen in of_each for place in chosen]
    layers = {(place.prefix, place.layer) for place in places}
    kinds = {(place.prefix, place.layer, place.paired, place.scope) for place in places}
    if len({unnumbered(place.prefix) for place in places}) > 1 or len(kinds) > len(layers):
        raise unordered(index, places, "the names of these layers do not tell in which order they follow one another")
    return places


def unordered(index: LayerIndex, places: Iterable[LayerPlace], problem: str) -> UnorderedError:
    """The error that asks for the layers and their order."""
    names = tuple(dict.fromkeys(index.module(place) for place in places))
    first = names[:2]
    error = UnorderedError(
        problem,
        got=", ".join(map(repr, names)),
        do=f"name those that are meant, in their order, as in prefix={first!r}",
        shell=f"name those that are meant, in their order, as in {' '.join(f'--prefix {name}' for name in first)}",
    )
    error.modules = names
    return error


def _of_prefix(index: LayerIndex, places: Sequence[LayerPlace], wanted: str) -> list[LayerPlace]:
    """The layers with that name, or else those with names that begin with it."""
    name = wanted.rstrip(_ENDS)
    exact = [place for place in places if wanted == place.prefix] or [
        place for place in places if name in (place.prefix.rstrip(_ENDS), index.module(place).rstrip(_ENDS))
    ]
    return exact or [place for place in places if re.match(rf"{re.escape(name)}[{_ENDS}]", place.prefix)]


def shown(arrays: Arrays) -> str:
    """Arrays by name and shape; of many, the first."""
    texts = [f"{name} {np.shape(array)}" for name, array in arrays.items()]
    more = f" and {len(texts) - MOST_NAMES} more" if len(texts) > MOST_NAMES else ""
    return ", ".join(texts[:MOST_NAMES]) + more or "no arrays"
