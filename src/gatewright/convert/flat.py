"""Files that hold arrays by name: which of them are recurrent layers, and of which layout."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.convert import apply, heads
from gatewright.convert.equations import Equations
from gatewright.convert.layouts import Layout, layouts
from gatewright.convert.naming import (
    NAMINGS,
    SEPARATORS,
    Naming,
    Place,
    in_order,
    locate,
    name_of,
    path_of,
    unnumbered,
)
from gatewright.convert.network import Network, Parameters, Part, Recurrent
from gatewright.errors import ConversionError

Arrays = Mapping[str, NDArray[Any]]
PREFIX = "prefix"
"""The fact that is none of the equations: which layers of a file are meant."""


class NoLayerError(ConversionError):
    """Arrays of which none is called as one of the framework's."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Which of a file's arrays are whose."""

    framework: str
    layers: Mapping[Place, tuple[Layout, dict[str, str]]]  # names in the file by names in the table


def read(arrays: Arrays, framework: str, facts: Mapping[str, Any]) -> Network:
    """The recurrent layers among arrays of that framework, and what the framework keeps around them.

    `facts` are what its layers compute where the arrays do not say it, and `prefix`, of one layer or of several in
    their order, which of the layers are meant.

    Raises ConversionError where there are none, where the arrays can be understood in two ways, or where the layers
    do not follow one another.
    """
    found, places = located(arrays, framework, facts)
    facts = {name: value for name, value in facts.items() if name != PREFIX}
    layers = tuple(_stack(found, places, arrays, facts))
    used = {name for place in places for name in found.layers[place][1].values()}
    parts, around = layers, set[str]()
    row = heads.around(framework, layers[0].equations.family)
    if row is not None:
        parts, around = heads.read(row, layers, arrays)
    rest = {name: array for name, array in arrays.items() if name not in used | around}
    return Network(parts, framework, rest)


def located(arrays: Arrays, framework: str, facts: Mapping[str, Any]) -> tuple[Reading, list[Place]]:
    """Which arrays are whose, and the places of the layers from the bottom to the top.

    Raises ConversionError where there are none, or their order is not known.
    """
    facts = dict(facts)
    prefix = facts.pop(PREFIX, None)
    found = _reading(arrays, framework, facts)
    if not found.layers:
        misfit = _misfit(arrays, framework)
        none = f"no recurrent layer of {framework} is among these arrays"
        if misfit is not None:
            raise ConversionError(f"{none}: {misfit.problem}", expected=misfit.expected, got=misfit.got, do=misfit.do)
        raise NoLayerError(
            none,
            expected="; ".join(
                f"{row.title}: {', '.join(name for name, *_ in row.stored())}" for row in layouts(framework)
            ),
            got=_shown(arrays),
            do="name the layout with --from, or leave it out to have it guessed",
        )
    return found, _in_order(found, prefix)


def _reading(arrays: Arrays, framework: str, facts: Mapping[str, Any]) -> Reading:
    """Which arrays belong to which layer: each by the most telling naming that its name has."""
    rows = layouts(framework)
    groups = _groups(arrays, framework)
    fitting = {place: list(_best(rows, place, group, arrays, facts)) for place, group in groups.items()}
    return Reading(framework, {place: best[0] for place, best in fitting.items() if best})


def _groups(arrays: Arrays, framework: str) -> dict[Place, dict[str, str]]:
    """The names in the file of the arrays at each place, by their names in the table."""
    known = tuple(dict.fromkeys(name for row in layouts(framework) for name, *_ in row.stored()))
    groups: dict[Place, dict[str, str]] = {}
    for name in arrays:
        path = path_of(name, framework)
        places = (locate(path, naming, known) for naming in NAMINGS[framework])
        if (first := next((one for one in places if one is not None), None)) is not None:
            place, array = first
            if array in groups.setdefault(place, {}):
                raise ConversionError(
                    f"{groups[place][array]!r} and {name!r} are one array of {framework} by two names"
                )
            groups[place][array] = name
    return groups


def _misfit(arrays: Arrays, framework: str) -> ConversionError | None:
    """Which array it is, where all of a layer's are there by name, and no row has the shapes that they have."""
    found: list[ConversionError] = []
    for group in _groups(arrays, framework).values():
        for row in layouts(framework):
            if not all(one.optional or name in group for name, one, _ in row.stored()):
                continue
            try:
                for one in apply.split_layers(row, {name: arrays[full] for name, full in group.items()}):
                    apply.read(row, one)
            except ConversionError as error:
                found.append(error)
            else:
                return None
    return found[0] if found else None


def write(network: Network, framework: str) -> dict[str, NDArray[Any]]:
    """The arrays of that framework's layers, by name, and of what it keeps around them.

    Raises ConversionError, with the reason, where they cannot compute the same.
    """
    stack = network.recurrent
    if not stack:
        raise ConversionError(f"{framework} keeps recurrent layers, and this network has none")
    _refuse_between(network, framework)
    rows = [choose(framework, layer.equations, layer.directions[0]) for layer in stack]
    of_each = [
        _with_all([apply.write(row, parameters, layer.equations) for parameters in layer.directions])
        for layer, row in zip(stack, rows, strict=True)
    ]
    if rows[0].stacked and not any(layer.backwards or len(layer.directions) == 2 for layer in stack):
        of_each = [[apply.join_layers(rows[0], [one for (one,) in of_each])]]
    arrays: dict[str, NDArray[Any]] = {}
    modules = _modules(stack, rows, of_each)
    for index, (layer, row, directions) in enumerate(zip(stack, rows, of_each, strict=False)):
        both = len(directions) == 2
        naming = _naming_for(framework, layers=len(of_each), both=both, alone=layer.backwards)
        scope = row.scopes[0] if row.scopes else f"{row.family}_cell"
        prefix, number = naming.prefix, index
        if naming.modules and modules[-1] > 0:
            prefix, number = f"{modules[index]}.", index - modules.index(modules[index])
        for direction, values in enumerate(directions):
            place = Place(prefix, number, bool(direction) or layer.backwards, scope)
            arrays |= {name_of(array, place, naming): value for array, value in values.items()}
    around = heads.around(framework, stack[0].equations.family)
    return arrays if around is None else arrays | (heads.write(around, network) or {})


def _with_all(directions: list[dict[str, NDArray[Any]]]) -> list[dict[str, NDArray[Any]]]:
    """The arrays of both directions, with zeros for biases that one of them alone has."""
    either = {name: array for one in directions for name, array in one.items()}
    return [{name: one.get(name, np.zeros_like(array)) for name, array in either.items()} for one in directions]


def _modules(stack: Sequence[Recurrent], rows: Sequence[Layout], arrays: Sequence[Sequence[Arrays]]) -> list[int]:
    """Of which module each layer is, where those of one module are alike but for what the first of them reads."""
    keys = [
        (
            row.key,
            layer.equations,
            layer.hidden,
            layer.backwards,
            [(len(one), heads.width(each)) for one, each in zip(written, layer.directions, strict=False)],
        )
        for layer, row, written in zip(stack, rows, arrays, strict=False)
    ]
    return [*accumulate((one != other for one, other in pairwise(keys)), initial=0)]


def _refuse_between(network: Network, framework: str) -> None:
    """Refuse what stands between recurrent layers, and directions that are merged: arrays of a stack say neither."""
    merged = next((layer for layer in network.recurrent if layer.merge != "concat"), None)
    if merged is not None:
        raise ConversionError(
            f"arrays of {framework} are layers that give both directions side by side",
            expected="merge 'concat'",
            got=f"merge {merged.merge!r}",
            do="write .keras, or a model file of Gatewright's own",
        )
    places = [index for index, part in enumerate(network.parts) if isinstance(part, Recurrent)]
    between = network.parts[places[0] : places[-1]]
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


def _best(
    rows: Iterable[Layout], place: Place, group: Mapping[str, str], arrays: Arrays, facts: Mapping[str, Any]
) -> Iterator[tuple[Layout, dict[str, str]]]:
    """The row that explains the most arrays of one layer, if any explains them."""
    fitting: list[tuple[int, Layout, dict[str, str]]] = []
    for row in rows:
        if not _is_meant(row, place, facts):
            continue
        names = {name: group[name] for name, *_ in row.stored() if name in group}
        try:
            for one in apply.split_layers(row, {name: arrays[full] for name, full in names.items()}):
                apply.read(row, one)
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
            do='say which it is, as in family="lstm"',
        )
    yield best[0]


def _is_meant(row: Layout, place: Place, facts: Mapping[str, Any]) -> bool:
    """Whether a row may be that of a layer, by the name of its cell and by what was said of it."""
    cell = re.sub(r"_\d+$", "", place.scope)
    named = not row.scopes or cell in row.scopes or facts.get("family") is not None
    return named and apply.fits(row, facts) and apply.has_activations(row, facts)


def _in_order(reading: Reading, prefix: str | Sequence[str] | None) -> list[Place]:
    """The places of the layers from the bottom to the top."""
    places = sorted(reading.layers, key=lambda one: (in_order(one.prefix), one.layer, one.backwards))
    separator = SEPARATORS.get(reading.framework, "")
    if prefix is not None:
        wanted = [path_of(one, reading.framework) for one in ([prefix] if isinstance(prefix, str) else prefix)]
        of_each = [[one for one in places if one.prefix.removesuffix(separator) == name] for name in wanted]
        if not all(of_each):
            raise ConversionError(
                f"no layer has prefix {wanted[of_each.index([])]!r}",
                expected=" or ".join(dict.fromkeys(repr(one.prefix) for one in places)),
            )
        return [place for some in of_each for place in some]
    layers = {(one.prefix, one.layer) for one in places}
    kinds = {(one.prefix, one.layer, one.paired, one.scope) for one in places}
    if len({unnumbered(one.prefix) for one in places}) > 1 or len(kinds) > len(layers):
        raise ConversionError(
            "the names of these layers do not tell in which order they follow one another",
            got=", ".join(dict.fromkeys(repr(one.prefix) for one in places)),
            do='name those that are meant, in their order, as in prefix=("encoder.", "decoder.")',
        )
    return places


def _stack(reading: Reading, places: Iterable[Place], arrays: Arrays, facts: Mapping[str, Any]) -> Iterator[Recurrent]:
    """The layers from the bottom to the top, both directions of each together."""
    before = 0
    for (prefix, _), both in groupby(places, key=lambda one: (one.prefix, one.layer)):
        pair = list(both)
        if len(pair) == 1 and pair[0].paired:
            raise ConversionError(
                f"layer {prefix!r} reads in one direction, and by its name it is one of two",
                do="look whether the file holds the other direction",
            )
        row, other = (reading.layers[place][0] for place in (pair[0], pair[-1]))
        if row is not other:
            raise ConversionError(f"the directions of layer {prefix!r} are of two kinds: {row.title}, {other.title}")
        equations = apply.equations_of(row, **facts)
        of_each = [_levels(reading.layers[place], arrays, equations) for place in pair]
        for directions in zip(*of_each, strict=True):
            layer = Recurrent(equations, directions, backwards=len(pair) == 1 and pair[0].backwards)
            if before not in (0, layer.inputs):
                raise ConversionError(
                    f"layer {prefix!r} does not follow the one before it",
                    expected=f"a layer of {before} features, which the one before gives",
                    got=f"{layer.inputs}",
                    do="name those that are meant with prefix, or convert them one by one",
                )
            before = sum(heads.width(one) for one in directions)
            yield layer


def _levels(layer: tuple[Layout, Mapping[str, str]], arrays: Arrays, equations: Equations) -> list[Parameters]:
    """The parameters of the layers that lie in the arrays of one place: mostly one."""
    row, names = layer
    of_each = apply.split_layers(row, {name: arrays[full] for name, full in names.items()})
    return [apply.read(row, one, equations) for one in of_each]


def _naming_for(framework: str, *, layers: int, both: bool, alone: bool) -> Naming:
    """How layers are named where nothing else is known: `alone` for one that only reads backwards."""
    for naming in NAMINGS[framework]:
        many = "{layer}" in naming.template
        if naming.reads_only or (layers > 1 and not many):
            continue
        if naming.directions is not None and not naming.tells_direction:
            return naming  # one word more or less tells everything
        if not alone and both == naming.tells_direction and many == (layers > 1):
            return naming
    raise ConversionError(
        f"{framework} has no names for these layers",
        expected="one layer of one direction",
        got=f"{layers} layers" + (" of two directions" if both else " that read backwards" if alone else ""),
        do="convert them one by one",
    )


def _shown(arrays: Arrays) -> str:
    texts = [f"{name} {np.shape(array)}" for name, array in list(arrays.items())[:12]]
    return ", ".join(texts) + (f" and {len(arrays) - 12} more" if len(arrays) > 12 else "") or "no arrays"
