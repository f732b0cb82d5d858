"""Networks in Gatewright's own model files: of a recipe, of a conversion, or one recurrent layer alone."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from inspect import isabstract
from typing import Any, cast, get_args

import numpy as np

from gatewright.errors import ModelFileError
from gatewright.model_file import LayerRecord, ModelFile
from gatewright.model_file.converted import PARTS, RECURRENT
from gatewright.network import beside, steps
from gatewright.network import parts as simple
from gatewright.network.functions import known
from gatewright.network.part import Array, Arrays, Part
from gatewright.network.recurrent import Merge, Padding, RecurrentPart, Returns
from gatewright.packing import parts as slots_of
from gatewright.packing import tensor_name

Settings = Mapping[str, Any]
KINDS: Mapping[str, type[Part]] = {
    kind.kind: kind
    for _, kind in sorted({**vars(simple), **vars(steps), **vars(beside)}.items())
    if isinstance(kind, type) and issubclass(kind, Part) and not isabstract(kind)
}
"""The parts that a file lists with their settings: all of these modules. Recurrent layers have records of their own."""


def _is_count(value: Any) -> bool:
    return type(value) is int and value > 0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _is_shape(value: Any) -> bool:
    sizes = cast("list[Any]", value) if isinstance(value, list) else []
    fits = all(type(size) is int and (size > 0 or size == -1) for size in sizes)
    return fits and 1 <= len(sizes) <= 2 and sizes.count(-1) <= 1


_RANKS = {"weight": 2, "bias": 1, "mean": 1, "deviation": 1, "variance": 1, "gain": 1, "energy": 1}
_VALID: Mapping[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("masks_zero", "zeros_if_empty"), lambda value: isinstance(value, bool)),
    **dict.fromkeys(("symbols", "features", "size", "longest", "buckets", "factor", "modulus", "times"), _is_count),
    "backward": lambda value: type(value) is int and value >= 0,
    "index": lambda value: type(value) is int,
    "epsilon": lambda value: _is_number(value) and value >= 0,
    "value": _is_number,
    **dict.fromkeys(("activation", "function"), lambda value: isinstance(value, str) and known(value)),
    "shape": _is_shape,
    "columns": lambda value: isinstance(value, list) and all(isinstance(n, str) for n in cast("list[Any]", value)),
}
"""What settings may be, by the name of the part's field; arrays have a rank instead."""


def described(part: Part, prefix: str) -> tuple[dict[str, Any], dict[str, Array]]:
    """A part that is no recurrent layer as settings and as tensors, whose names begin with the prefix."""
    arrays = part.arrays()
    values = {field.name: getattr(part, field.name) for field in fields(part) if field.name not in arrays}
    settings = {
        name: list(value) if isinstance(value, tuple) else value  # pyright: ignore[reportUnknownArgumentType]
        for name, value in values.items()
        if value is not None
    }
    return {"part": part.kind, **settings}, {f"{prefix}.{name}": array for name, array in arrays.items()}


def part_of(settings: Settings, prefix: str, tensors: Arrays) -> Part:
    """The part that was described so.

    Raises ModelFileError where it is none.
    """
    kind = KINDS.get(str(settings.get("part")))
    if kind is None:
        known_kinds = ", ".join((*KINDS, RECURRENT))
        raise ModelFileError(f"{prefix} is no part of a network", expected=known_kinds, got=str(settings.get("part")))
    values: dict[str, Any] = {}
    for field in fields(kind):
        name = field.name
        if name in _RANKS and f"{prefix}.{name}" in tensors:
            values[name] = array_of(f"{prefix}.{name}", tensors)
        elif name in settings and name in _VALID:
            value = settings[name]
            if not _VALID[name](value):
                raise ModelFileError(f"{prefix}: {name} of a {kind.kind} cannot be {value!r}")
            values[name] = tuple(cast("list[Any]", value)) if isinstance(value, list) else value
    try:
        return kind(**values)
    except TypeError as error:
        raise ModelFileError(f"{prefix} is a {kind.kind} that lacks something: {error}") from error


def array_of(name: str, tensors: Arrays) -> Array:
    """A tensor of floating-point numbers of the rank that its name asks for.

    Raises KeyError where there is none, and ModelFileError where it is another.
    """
    array, rank = tensors[name], _RANKS[name.rpartition(".")[2]]
    if array.ndim != rank or array.dtype.kind != "f" or not array.size:
        raise ModelFileError(
            f"tensor {name!r} does not fit",
            expected=f"{rank} axes of floating-point numbers",
            got=f"shape {array.shape} of {array.dtype}",
        )
    return array


def layers_of(record: LayerRecord, tensors: Arrays) -> Iterator[RecurrentPart]:
    """The levels of a record, from the bottom to the top."""
    for level in range(record.num_layers):
        sizes = record.sizes_of(level)
        directions: list[Arrays] = []
        for reverse in record.directions:
            values: dict[str, Array] = {}
            for packed in record.layout:
                array = tensors[record.prefix + tensor_name(packed, level, reverse)]
                for name, value in slots_of(packed, array, record.trace, sizes).items():
                    # A bias that comes a second time is that beside U, as torch keeps the two apart.
                    values[name.replace("b.", "bh.", 1) if name in values else name] = value
            directions.append(values)
        yield RecurrentPart(record.trace, tuple(directions), axes=sizes)


def layer_name(record: LayerRecord, level: int) -> str:
    """What arrays of a level are called by in exported files."""
    return f"{record.prefix}l{level}"


def listed_parts(model: ModelFile) -> tuple[tuple[Part, ...], tuple[str, ...]]:
    """The parts that a converted file lists, and their names.

    Raises ModelFileError where they make no network.
    """
    listed: Any = model.settings[PARTS]
    if not isinstance(listed, list) or not listed or not all(isinstance(i, dict) for i in cast("list[Any]", listed)):
        raise ModelFileError("the file's parts are no list of settings", got=str(cast("Any", listed))[:80])
    left = {
        (record.name, level): (layer, layer_name(record, level))
        for record in model.layers
        for level, layer in enumerate(layers_of(record, model.tensors))
    }
    parts: list[Part] = []
    names: list[str] = []
    for index, settings in enumerate(cast("list[dict[str, Any]]", listed)):
        if settings.get("part") != RECURRENT:
            parts.append(part_of(settings, f"part{index}", model.tensors))
            names.append(f"{parts[-1].kind.lower()}{index}")
            continue
        returns, padding, merge = settings.get("returns"), settings.get("padding"), settings.get("merge", "concat")
        place = next((p for p in left if list(p) == [settings.get("layer"), settings.get("level")]), None)
        valid = returns in get_args(Returns) and padding in get_args(Padding) and merge in get_args(Merge)
        if place is None or not valid:
            raise ModelFileError(f"part{index} is none of the file's layers", expected=str([*left]), got=str(settings))
        layer, name = left.pop(place)
        parts.append(replace(layer, returns=returns, padding=padding, merge=merge))
        names.append(name)
    if left:
        raise ModelFileError("the file's parts leave out layers", got=str([*left]))
    return tuple(parts), tuple(names)


def stacks(parts: Sequence[Part]) -> list[Part | list[RecurrentPart]]:
    """The parts, with layers that are alike and follow one another in one list."""
    grouped: list[Part | list[RecurrentPart]] = []
    for part in parts:
        stack = grouped[-1] if grouped else None
        if not isinstance(part, RecurrentPart):
            grouped.append(part)
        elif isinstance(stack, list) and _can_follow(part, stack[-1]):
            stack.append(part)
        else:
            grouped.append([part])
    return grouped


def _can_follow(layer: RecurrentPart, below: RecurrentPart) -> bool:
    """Whether a layer is like the one below and reads all of its steps and both of its directions."""
    if below.returns != "sequence" or below.merge != "concat":
        return False
    return (layer.cell, layer.hidden, layer.widths) == (below.cell, below.hidden, below.widths)


def unscaled(weight: Array, bias: Array, tensors: Arrays) -> tuple[Array, Array]:
    """A matrix and a bias (outputs first) that give numbers in the units of their targets where there are such."""
    if "unscaled.deviation" not in tensors:
        return weight, bias
    mean, deviation = (array_of(f"unscaled.{name}", tensors) for name in ("mean", "deviation"))
    return weight * deviation[:, np.newaxis], bias * deviation + mean
