"""The description in a model file's metadata: all that is no tensor, as one JSON text.

What is read is checked to the last field: a file may come from anywhere.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from math import isfinite
from typing import Any, TypeVar

from numpy.typing import NDArray

from gatewright.axes import HIDDEN, INPUT, bind
from gatewright.errors import GatewrightError
from gatewright.model_file import narrow
from gatewright.model_file.record import LayerRecord, ModelFile
from gatewright.packing import Packed
from gatewright.trace import Trace
from gatewright.trace.parse import parse
from gatewright.trace.text import to_text

FORMAT = "gatewright-model"
FORMAT_VERSION = 1
NARROW_VERSION = 2
"""The version of files that keep matrices in fewer bits: earlier readers would take their whole numbers as weights."""
MOST_LAYERS = 10_000

Value = TypeVar("Value")


def write(model: ModelFile) -> str:
    """The description of a model.

    Raises ValueError or TypeError for settings that JSON cannot hold.
    """
    header = {
        "format": FORMAT,
        "format_version": NARROW_VERSION if model.narrow else FORMAT_VERSION,
        "version": model.version,
        "task": model.task,
        "settings": dict(model.settings),
        "vocabulary": model.vocabulary,
        "seed": model.seed,
        "layers": [_layer_to_json(layer) for layer in model.layers],
        **({"narrow": narrow.by_kind(model.narrow)} if model.narrow else {}),
    }
    return json.dumps(header, ensure_ascii=False, allow_nan=False)


def read(header: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> ModelFile:
    """The model of a description.

    Raises ValueError, which says what is wrong with the description.
    """
    vocabulary, seed = header.get("vocabulary"), header.get("seed")
    kinds: dict[str, str] = {}
    if header.get("format_version") == NARROW_VERSION:
        tensors, kinds = narrow.read(header.get("narrow"), tensors)
    else:
        _hold("narrow" not in header, "a list of matrices in fewer bits, which files of format 1 do not have")
    layers = tuple(
        _layer_from_json(_field(entry, dict, f"layer {index}"), index)
        for index, entry in enumerate(_field(header.get("layers"), list, "layers"))
    )
    if len({layer.name for layer in layers}) < len(layers):
        raise ValueError("two layers have one name")
    return ModelFile(
        tensors=tensors,
        layers=layers,
        task=_field(header.get("task"), str, "task"),
        settings=_field(header.get("settings"), dict, "settings"),
        vocabulary=None if vocabulary is None else _words(vocabulary, "vocabulary"),
        seed=None if seed is None else _field(seed, int, "seed"),
        version=_field(header.get("version"), str, "version"),
        narrow=kinds,
    )


def _layer_to_json(layer: LayerRecord) -> dict[str, Any]:
    return {
        "name": layer.name,
        "trace": to_text(layer.trace),
        "sizes": dict(layer.sizes),
        "layout": [[packed.name, list(packed.slots)] for packed in layer.layout],
        "num_layers": layer.num_layers,
        "bidirectional": layer.bidirectional,
        "batch_first": layer.batch_first,
        "dropout": layer.dropout,
        **({"dropout_per": layer.dropout_per} if layer.dropout_per != "step" else {}),
        **({"starts": dict(layer.starts)} if layer.starts else {}),
    }


def _layer_from_json(layer: Mapping[str, Any], index: int) -> LayerRecord:
    at = f"layer {index}: "
    trace = _trace(_field(layer.get("trace"), str, f"{at}trace"), at)
    layers = _field(layer.get("num_layers"), int, f"{at}num_layers")
    dropout = _field(layer.get("dropout"), float, f"{at}dropout")
    dropout_per = _field(layer.get("dropout_per", "step"), str, f"{at}dropout_per")
    _hold(1 <= layers <= MOST_LAYERS, f"{at}num_layers is {layers}")
    _hold(0 <= dropout <= 1, f"{at}dropout is {dropout}")
    _hold(dropout_per in ("step", "sequence"), f"{at}dropout_per is {dropout_per!r}")
    return LayerRecord(
        name=_field(layer.get("name"), str, f"{at}name"),
        trace=trace,
        sizes=_sizes(_field(layer.get("sizes"), dict, f"{at}sizes"), trace, at),
        layout=_layout(_field(layer.get("layout"), list, f"{at}layout"), trace, at),
        num_layers=layers,
        bidirectional=_field(layer.get("bidirectional"), bool, f"{at}bidirectional"),
        batch_first=_field(layer.get("batch_first"), bool, f"{at}batch_first"),
        dropout=dropout,
        dropout_per=dropout_per,
        starts=_starts(_field(layer.get("starts", {}), dict, f"{at}starts"), trace, at),
    )


# A file may come from anywhere, so few texts are kept, and errors none.
_parsed = lru_cache(maxsize=16)(parse)


def _trace(text: str, at: str) -> Trace:
    try:
        trace = _parsed(text)
    except GatewrightError as error:
        raise ValueError(f"{at}{error}") from error
    _hold(bool(trace.inputs and trace.states), f"{at}its equations have no input or no state")
    _hold(all(len(state.shape) == 1 for state in trace.states), f"{at}a state of its equations is no vector")
    _hold(not trace.emits and not trace.sums, f"{at}its equations are those of a gradient")
    return trace


def _sizes(given: Mapping[str, Any], trace: Trace, at: str) -> dict[str, int]:
    sizes = {axis: _field(size, int, f"{at}the size of {axis}") for axis, size in given.items()}
    _hold(all(size > 0 for size in sizes.values()), f"{at}a size is not positive")
    _hold({INPUT, HIDDEN} <= set(sizes), f"{at}the size of the input or of the state is missing")
    try:
        bind(trace.axes(), sizes)
    except GatewrightError as error:
        raise ValueError(f"{at}{error}") from error
    return sizes


def _layout(given: list[Any], trace: Trace, at: str) -> tuple[Packed, ...]:
    layout: list[Packed] = []
    for entry in given:
        pair = _field(entry, list, f"{at}layout")
        _hold(len(pair) == 2, f"{at}an entry of the layout is no pair")
        layout.append(Packed(_field(pair[0], str, f"{at}layout"), _words(pair[1], f"{at}layout")))
    shapes = {param.name: param.shape for param in trace.params}
    slots = [slot for packed in layout for slot in packed.slots]
    _hold(set(slots) == set(shapes), f"{at}the layout does not name the parameters of the equations")
    for packed in layout:
        together = {shapes[slot] for slot in packed.slots}
        _hold(len(together) == 1 and len(set(packed.slots)) == len(packed.slots), f"{at}{packed.name} cannot be packed")
    _hold(len({packed.name for packed in layout}) == len(layout), f"{at}two packed arrays have one name")
    return tuple(layout)


def _starts(given: Mapping[str, Any], trace: Trace, at: str) -> dict[str, float]:
    starts = {name: _field(start, float, f"{at}the start of {name}") for name, start in given.items()}
    _hold(set(starts) <= {param.name for param in trace.params}, f"{at}what has a start is no parameter")
    _hold(all(map(isfinite, starts.values())), f"{at}a start is not finite")
    return starts


def _words(value: object, what: str) -> tuple[str, ...]:
    return tuple(_field(word, str, what) for word in _field(value, list, what))


def _field(value: object, kind: type[Value], what: str) -> Value:
    """A value of exactly that kind: JSON's true is no number. A whole number may stand for a float."""
    if kind is float and type(value) is int:
        value = float(value) if abs(value) < 2**53 else value
    if type(value) is not kind:
        raise ValueError(f"{what} is {'missing' if value is None else f'no {kind.__name__}'}")
    return value  # pyright: ignore[reportReturnType]


def _hold(fits: bool, problem: str) -> None:
    if not fits:
        raise ValueError(problem)
