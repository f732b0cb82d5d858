"""Networks in Gatewright's own model files, which carry their equations."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
from numpy.typing import NDArray

from gatewright import model_file
from gatewright.axes import INPUT
from gatewright.cell_config.config import CellConfig, of_settings
from gatewright.cell_config.recognise import config_of
from gatewright.convert import files, heads, own_parts
from gatewright.convert.apply import invert_update
from gatewright.errors import ConversionError
from gatewright.lang.param import Param
from gatewright.model_file import LayerRecord, ModelFile
from gatewright.model_file.converted import PARTS, RECURRENT, TASK
from gatewright.network import Merge, Network, Padding, Parameters, Part, RecurrentPart, Returns, checked
from gatewright.packing import layout_of, parts, tensor_name
from gatewright.trace import structural_hash
from gatewright.trace.simplify import without_chance

_EQUATIONS = "equations"  # the choices of each layer by its name: activations may have numbers, which cannot be guessed


def read(path: Path, facts: dict[str, Any]) -> Network:
    """The network of a model file: of a recipe's, of a converted one, or else its recurrent layers alone.

    Raises ModelFileError for a damaged file, and ConversionError for a cell that no framework has.
    """
    del facts
    model = model_file.load(path)
    try:
        for name, array in model.tensors.items():
            files.check_finite(path, name, array)
        return _network(model)
    except ConversionError as error:
        if str(path) in error.problem:
            raise
        raise ConversionError(
            f"{path}: {error.problem}", expected=error.expected, got=error.got, do=error.do
        ) from error


def _network(model: ModelFile) -> Network:
    said = model.settings
    equations = said.get(_EQUATIONS) if model.task == TASK else None
    layers = {
        (record.name, level): layer
        for record in model.layers
        for level, layer in enumerate(_levels(record, model, equations))
    }
    own = {name for record in model.layers for name in record.tensor_shapes()}
    rest = {name: array for name, array in model.tensors.items() if name not in own}
    if model.task == TASK and PARTS in said:
        return Network(checked(tuple(_listed(said[PARTS], layers, rest))), "gatewright")
    stack = list(layers.values())
    alone = Network(tuple(stack), "gatewright", rest)
    if "forecasts" in said:
        return alone.noting(
            "the network corrects a linear forecast, which no layout can say: its layers were read alone"
        )
    if said.get("patch", 1) != 1:
        return alone.noting("the network reads patches of steps, which no layout can say: its layers were read alone")
    if "ngrams" in said or "linear" in said:
        what = "scores of n-grams" if "ngrams" in said else "answers of a linear model"
        return alone.noting(f"{what} are added to the network's, which no layout can say: its layers were read alone")
    if "encoding" not in said or "pooling" not in said or len(model.layers) != 1:
        return alone
    parts, used = own_parts.of_recipe(said, stack, rest)
    whole = Network(parts, "gatewright", {name: one for name, one in rest.items() if name not in used})
    if said["pooling"] == "each step":
        return whole
    return whole.noting(
        f"the network gives the {said['pooling']} of a row's steps: padding counts, unless it is masked"
    )


def _listed(
    said: Any, layers: Mapping[tuple[str, int], RecurrentPart], tensors: Mapping[str, NDArray[Any]]
) -> Iterator[Part]:
    """The parts that a file lists, with the layers that it keeps by name and level."""
    if not isinstance(said, list) or not said or not all(isinstance(one, dict) for one in cast("list[Any]", said)):
        raise ConversionError("the file's parts are no list of settings", got=str(cast("Any", said))[:80])
    left = dict(layers)
    for index, one in enumerate(cast("list[dict[str, Any]]", said)):
        if one.get("part") != RECURRENT:
            yield own_parts.read(one, f"part{index}", tensors)
            continue
        returns, padding, merge = one.get("returns"), one.get("padding"), one.get("merge", "concat")
        place = next((place for place in left if list(place) == [one.get("layer"), one.get("level")]), None)
        known = returns in get_args(Returns) and padding in get_args(Padding) and merge in get_args(Merge)
        if place is None or not known:
            raise ConversionError(f"part{index} is none of the file's layers", expected=str([*left]), got=str(one))
        yield replace(left.pop(place), returns=returns, padding=padding, merge=merge)
    if left:
        raise ConversionError("the file's parts leave out layers", got=str([*left]))


def write(network: Network, path: Path) -> None:
    """Write a model file that `gw.stream` and `gw.nn` run.

    Raises ConversionError where a layer reads backwards alone.
    """
    if any(layer.backwards for layer in network.recurrent):
        raise ConversionError(
            "a model file holds layers that read forwards, or in both directions",
            got="a layer that reads backwards",
            do="turn its input round, and convert the layer as one that reads forwards",
        )
    tensors: dict[str, NDArray[Any]] = {}
    records: list[LayerRecord] = []
    listed: list[dict[str, Any]] = []
    equations: dict[str, Any] = {}
    for found in _stacks(network.parts):
        if not isinstance(found, list):
            said, arrays = own_parts.described(found, f"part{len(listed)}")
            listed.append(said)
            tensors |= arrays
            continue
        name = f"recurrent{len(records) or ''}"
        records.append(_record(name, found, tensors))
        equations[name] = asdict(found[0].equations)
        for level, one in enumerate(found):
            said = {"layer": name, "level": level, "returns": one.returns, "padding": one.padding}
            said |= {} if one.merge == "concat" else {"merge": one.merge}
            listed.append({"part": RECURRENT, **said})
    settings = {_EQUATIONS: equations, PARTS: listed}
    model_file.save(path, ModelFile(tensors, tuple(records), TASK, settings))


def _stacks(parts: Sequence[Part]) -> list[Part | list[RecurrentPart]]:
    """The parts, with layers that are alike and follow one another in one list."""
    found: list[Part | list[RecurrentPart]] = []
    for part in parts:
        stack = found[-1] if found else None
        if not isinstance(part, RecurrentPart):
            found.append(part)
        elif isinstance(stack, list) and _side_by_side(stack[-1]) and _alike(stack[-1]) == _alike(part):
            stack.append(part)
        else:
            found.append([part])
    return found


def _side_by_side(layer: RecurrentPart) -> bool:
    """Whether another layer of the same stack can follow, which reads all steps and both directions."""
    return layer.returns == "sequence" and layer.merge == "concat"


def _levels(record: LayerRecord, model: ModelFile, said: Any) -> Iterator[RecurrentPart]:
    equations, inverted = _chosen(record, said) or config_of(without_chance(record.trace))
    prefix = f"{record.name}." if record.name else ""
    for level in range(record.num_layers):
        directions: list[Parameters] = []
        for backwards in (False, True)[: 1 + record.bidirectional]:
            found: dict[str, NDArray[Any]] = {}
            for packed in record.layout:
                array = model.tensors[prefix + tensor_name(packed, level, backwards)]
                reads_input = array.ndim == 2 and Param.parse(packed.slots[0]).space == "W"
                width = array.shape[-1] if reads_input else record.sizes[INPUT]
                for name, part in parts(packed, array, record.trace, {**record.sizes, INPUT: width}).items():
                    found[_canonical(name, found)] = part
            directions.append(invert_update(found, equations) if inverted else found)
        yield RecurrentPart(equations, tuple(directions))


def _chosen(record: LayerRecord, said: Any) -> tuple[CellConfig, bool] | None:
    """The choices that the file says, where the layer's Trace is really made by them.

    Raises ConversionError where what it says cannot be chosen.
    """
    if said is None:
        return None
    chosen = cast("dict[str, Any]", said).get(record.name) if isinstance(said, dict) else said
    if chosen is None:
        return None
    equations = of_settings(record.name, chosen)
    made = structural_hash(equations.trace)
    return (equations, False) if made == structural_hash(record.trace) else None


def _canonical(name: str, found: Parameters) -> str:
    """`b.hn`, and a bias that comes a second time, are beside U."""
    if name == "b.hn":
        return "bh.n"
    return name.replace("b.", "bh.", 1) if name in found else name


def _alike(layer: RecurrentPart) -> tuple[Any, ...]:
    return layer.equations, layer.hidden, heads.width(layer.directions[0]), len(layer.directions)


def _record(name: str, stack: list[RecurrentPart], tensors: dict[str, NDArray[Any]]) -> LayerRecord:
    """The record of layers that differ in their weights only; their tensors are added."""
    first = stack[0]
    trace = first.equations.trace
    layout = layout_of(trace)
    for level, layer in enumerate(stack):
        for backwards, parameters in enumerate(layer.directions):
            values = layer.equations.parameters(parameters)
            for packed in layout:
                key = f"{name}.{tensor_name(packed, level, bool(backwards))}"
                tensors[key] = np.concatenate([np.atleast_1d(values[slot]) for slot in packed.slots])
    return LayerRecord(
        name=name,
        trace=trace,
        sizes=first.sizes,
        layout=layout,
        num_layers=len(stack),
        bidirectional=len(first.directions) == 2,
    )
