"""Writing a network as arrays by name: its recurrent layers, and the parts that the framework keeps around them."""

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

from numpy.typing import NDArray

from gatewright.cell_config.config import CellConfig
from gatewright.convert import apply, heads
from gatewright.convert.layouts import Layout, layouts
from gatewright.convert.naming import NAMINGS, LayerPlace, Naming, name_of
from gatewright.errors import ConversionError
from gatewright.network import Network, Parameters, RecurrentPart

Arrays = Mapping[str, NDArray[Any]]


def write(network: Network, framework: str) -> dict[str, NDArray[Any]]:
    """The arrays of the framework's layers, by name, and of the parts that it keeps around them."""
    stack = network.recurrent
    if not stack:
        raise ConversionError(f"{framework} keeps recurrent layers, and this network has none")
    _refuse_between(network, framework)
    rows = [choose(framework, layer.cell_config, layer.directions[0]) for layer in stack]
    of_each = [
        apply.write_directions(row, layer.directions, layer.cell_configs)
        for layer, row in zip(stack, rows, strict=True)
    ]
    if rows[0].stacked and not any(layer.backwards or len(layer.directions) == 2 for layer in stack):
        of_each = [[apply.join_layers(rows[0], [of_layer for (of_layer,) in of_each])]]
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
            place = LayerPlace(prefix, number, bool(direction) or layer.backwards, scope)
            arrays |= {name_of(array, place, naming): value for array, value in values.items()}
    around = heads.around(framework, stack[0].cell_config.family)
    return arrays if around is None else arrays | (heads.write(around, network) or {})


def _modules(stack: Sequence[RecurrentPart], rows: Sequence[Layout], arrays: Sequence[Sequence[Arrays]]) -> list[int]:
    """The module of each layer, by number. Layers of one module are alike, but for the input size of the first."""
    keys = [
        (
            row.key,
            layer.cell_config,
            layer.hidden,
            layer.backwards,
            [
                (len(before), heads.width(parameters))
                for before, parameters in zip(written, layer.directions, strict=False)
            ],
        )
        for layer, row, written in zip(stack, rows, arrays, strict=False)
    ]
    return [*accumulate((before != other for before, other in pairwise(keys)), initial=0)]


def _refuse_between(network: Network, framework: str) -> None:
    """Refuse parts between recurrent layers, and merged directions: arrays of a stack cannot express them."""
    merged = next((layer for layer in network.recurrent if layer.merge != "concat"), None)
    if merged is not None:
        raise ConversionError(
            f"arrays of {framework} are layers that give both directions side by side",
            expected="merge 'concat'",
            got=f"merge {merged.merge!r}",
            do="write .keras, or a model file of Gatewright's own",
        )
    others, last = between(network)
    if others or last:
        raise ConversionError(
            f"arrays of {framework} are a stack of recurrent layers, each of which reads the one below",
            got=f"{', '.join([*others, *last])} between them",
            do="convert the layers one by one",
        )


def between(network: Network) -> tuple[list[str], list[str]]:
    """What keeps recurrent layers from being a stack: kinds of parts between them, and layers without a sequence."""
    places = [index for index, part in enumerate(network.parts) if isinstance(part, RecurrentPart)]
    parts = network.parts[places[0] : places[-1]] if places else ()
    others = [part.kind for part in parts if not isinstance(part, RecurrentPart)]
    last = [part for part in parts if isinstance(part, RecurrentPart) and part.returns == "last"]
    return others, ["a layer that gives its last output alone"] * len(last)


def choose(framework: str, config: CellConfig, parameters: Parameters) -> Layout:
    """The first row of the framework that computes these equations."""
    reasons: list[str] = []
    for row in layouts(framework, config.family):
        try:
            apply.write(row, parameters, config)
        except ConversionError as error:
            reasons.append(error.problem + (f" ({error.expected}, not {error.got})" if error.got else ""))
        else:
            return row
    raise ConversionError(
        f"no layer of {framework} computes {config}",
        expected=", ".join(row.title for row in layouts(framework)) or "a framework that the table knows",
        got="; ".join(reasons) or f"it has no {config.family}",
        do="choose another layout, or export the equations to ONNX",
        shell=_way_out(framework, config),
    )


def _way_out(framework: str, config: CellConfig) -> str:
    """The command to type where a framework has no such layer. A GRU can be trained again with the other reset."""
    has = {row.reset for row in layouts(framework, config.family) if row.reset}
    other = "; or write the model as ONNX: gatewright export RUN FILE.onnx"
    if config.reset and has and config.reset not in has:
        return f"train the network again with --cell 'gru(reset={has.pop()})', which {framework} has{other}"
    return f"choose another layout with --to{other}"


def _naming_for(framework: str, *, layers: int, both: bool, alone: bool) -> Naming:
    """How layers are named where nothing else is known: `alone` for one that only reads backwards."""
    matches: list[tuple[bool, Naming]] = []
    for naming in NAMINGS[framework]:
        many = "{layer}" in naming.template
        if naming.reads_only or (layers > 1 and not many):
            continue
        if naming.directions is not None and not naming.tells_direction:
            return naming  # one word more or less tells everything
        if not alone and both == naming.tells_direction:
            matches.append((many != (layers > 1), naming))
    if matches:  # a single layer has a number only where the framework has no names without one
        return min(matches, key=lambda match: match[0])[1]
    raise ConversionError(
        f"{framework} has no names for these layers",
        expected="one layer of one direction",
        got=f"{layers} layers" + (" of two directions" if both else " that read backwards" if alone else ""),
        do="convert them one by one",
    )
