"""Files that hold arrays by name: which of them are recurrent layers, and of which layout."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.convert import apply
from gatewright.convert.equations import Equations
from gatewright.convert.layouts import Layout, layouts
from gatewright.convert.naming import NAMINGS, Naming, Place, in_order, locate, name_of
from gatewright.convert.network import Network, Parameters, Part, Recurrent
from gatewright.errors import ConversionError

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Reading:
    """One way to understand a file's arrays: which of them are whose."""

    framework: str
    layers: Mapping[Place, tuple[Layout, dict[str, str]]]  # names in the file by names in the table

    @property
    def used(self) -> set[str]:
        """The arrays that belong to a recurrent layer."""
        return {name for _, names in self.layers.values() for name in names.values()}


def readings(arrays: Arrays, framework: str) -> Iterator[Reading]:
    """Every way in which arrays are layers of that framework."""
    for naming in NAMINGS[framework]:
        rows = layouts(framework)
        known = [name for row in rows for name, *_ in row.stored()]
        groups: dict[Place, dict[str, str]] = {}
        for name in arrays:
            for place, array in _candidates(name, naming, known):
                groups.setdefault(place, {})[array] = name
        found = {place: (row, names) for place, group in groups.items() for row, names in _best(rows, group, arrays)}
        if found:
            yield Reading(framework, found)


def read(arrays: Arrays, framework: str, facts: Mapping[str, Any]) -> Network:
    """The recurrent layers among arrays of that framework; `facts` overrule what its layers compute by default.

    Raises ConversionError where there are none, or the arrays can be understood in two ways.
    """
    found = sorted(readings(arrays, framework), key=lambda one: len(one.used), reverse=True)
    if not found:
        raise ConversionError(
            f"no recurrent layer of {framework} is among these arrays",
            expected="; ".join(
                f"{row.title}: {', '.join(name for name, *_ in row.stored())}" for row in layouts(framework)
            ),
            got=_shown(arrays),
            do="name the layout with --from, or leave it out to have it guessed",
        )
    best = found[0]
    parts = tuple(_stack(best, arrays, facts))
    rest = {name: array for name, array in arrays.items() if name not in best.used}
    return Network(parts, framework, rest)


def write(network: Network, framework: str) -> dict[str, NDArray[Any]]:
    """The arrays of that framework's layers, by name.

    Raises ConversionError, with the reason, where they cannot compute the same.
    """
    stack = network.recurrent
    _refuse_between(network, framework)
    if len(stack) < len(network.parts):
        others = sorted({type(part).__name__ for part in network.parts} - {"Recurrent"})
        network = network.noting(f"{framework} keeps recurrent layers here; left out: {', '.join(others)}")
    rows = [choose(framework, layer.equations, layer.directions[0]) for layer in stack]
    both = any(len(layer.directions) == 2 for layer in stack)
    naming = _naming_for(framework, layers=len(stack), both=both)
    arrays: dict[str, NDArray[Any]] = {}
    for index, (layer, row) in enumerate(zip(stack, rows, strict=True)):
        for direction, parameters in enumerate(layer.directions):
            backwards = bool(direction) or layer.backwards
            place = Place(naming.prefix, index, backwards)
            scope = f"{row.family}_cell" if framework.startswith("tf1") else "cell"
            for array, value in apply.write(row, parameters, layer.equations).items():
                arrays[name_of(array, place, naming, scope)] = value
    return arrays


def _refuse_between(network: Network, framework: str) -> None:
    """Refuse what stands between recurrent layers, which arrays of a stack cannot say."""
    places = [index for index, part in enumerate(network.parts) if isinstance(part, Recurrent)]
    between = network.parts[places[0] : places[-1]] if places else ()
    others = [type(part).__name__ for part in between if not isinstance(part, Recurrent)]
    others += ["a layer that gives its last output alone" for part in between if _gives_last(part)]
    if others:
        raise ConversionError(
            f"arrays of {framework} are a stack of recurrent layers, each of which reads the one below",
            got=f"{', '.join(others)} between them",
            do="convert the layers one by one",
        )


def _gives_last(part: Part) -> bool:
    return isinstance(part, Recurrent) and part.returns == "last"


def choose(framework: str, equations: Equations, parameters: Parameters) -> Layout:
    """The first row of the framework that computes these equations.

    Raises ConversionError with the reasons of all rows where none does.
    """
    reasons: list[str] = []
    for row in layouts(framework, equations.family):
        try:
            apply.write(row, parameters, equations)
        except ConversionError as error:
            reasons.append(error.problem + (f" ({error.expected}, not {error.got})" if error.got else ""))
        else:
            return row
    raise ConversionError(
        f"no layer of {framework} computes {equations}",
        expected=", ".join(row.title for row in layouts(framework)) or "a framework that the table knows",
        got="; ".join(reasons) or f"it has no {equations.family}",
        do="choose another layout, or export the equations to ONNX",
    )


def _candidates(name: str, naming: Naming, known: Iterable[str]) -> Iterator[tuple[Place, str]]:
    found = locate(name, naming, list(dict.fromkeys(known)))
    if found is not None:
        yield found


def _best(rows: Iterable[Layout], group: Mapping[str, str], arrays: Arrays) -> Iterator[tuple[Layout, dict[str, str]]]:
    """The row that explains the most arrays of one layer, if any explains them."""
    fitting: list[tuple[int, Layout, dict[str, str]]] = []
    for row in rows:
        names = {name: group[name] for name, *_ in row.stored() if name in group}
        try:
            apply.read(row, {name: arrays[full] for name, full in names.items()})
        except ConversionError:
            continue
        fitting.append((len(names), row, names))
    if not fitting:
        return
    most = max(count for count, *_ in fitting)
    best = [(row, names) for count, row, names in fitting if count == most]
    if len(best) > 1:
        raise ConversionError(
            f"the arrays {', '.join(best[0][1].values())} fit several layouts",
            expected="one of " + ", ".join(row.key for row, _ in best),
            do="name it with --from",
        )
    yield best[0]


def _stack(reading: Reading, arrays: Arrays, facts: Mapping[str, Any]) -> Iterator[Recurrent]:
    """The layers from the bottom to the top, both directions of each together."""
    places = sorted(reading.layers, key=lambda one: (in_order(one.prefix), one.layer, one.backwards))
    for (_, _), both in groupby(places, key=lambda one: (one.prefix, one.layer)):
        pair = list(both)
        row, _ = reading.layers[pair[0]]
        equations = apply.equations_of(row, **facts)
        directions = tuple(
            apply.read(row, {name: arrays[full] for name, full in reading.layers[place][1].items()}, equations)
            for place in pair
        )
        yield Recurrent(equations, directions, backwards=len(pair) == 1 and pair[0].backwards)


def _naming_for(framework: str, *, layers: int, both: bool) -> Naming:
    for naming in NAMINGS[framework]:
        if (naming.directions is not None or not both) and ("{layer}" in naming.template or layers == 1):
            if naming.directions is not None and not both and framework.startswith("tf1"):
                continue
            return naming
    raise ConversionError(
        f"{framework} has no names for these layers",
        expected="one layer of one direction",
        got=f"{layers} layers" + (" of two directions" if both else ""),
        do="convert them one by one",
    )


def _shown(arrays: Arrays) -> str:
    texts = [f"{name} {np.shape(array)}" for name, array in list(arrays.items())[:12]]
    return ", ".join(texts) + (f" and {len(arrays) - 12} more" if len(arrays) > 12 else "") or "no arrays"


def with_equations(layer: Recurrent, **facts: Any) -> Recurrent:
    """The same parameters in other equations, as a file's settings say."""
    return replace(layer, equations=replace(layer.equations, **facts))
