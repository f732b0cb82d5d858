"""What a converted model file says of its network: all parts in order, of which the recurrent layers are some."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from gatewright.errors import ModelFileError
from gatewright.model_file.record import ModelFile

TASK = "converted"
PARTS = "parts"
"""The setting that lists the parts of the network. One that is RECURRENT is a level of a layer of the file."""
RECURRENT = "Recurrent"


def parts_besides(model: ModelFile) -> tuple[str, ...]:
    """What a converted network computes besides its recurrent layers, as the reader of an error would call it.

    Files that list no parts give nothing. Raises ModelFileError where the parts are no list of settings.
    """
    return _besides(_listed(model), [layer.name for layer in model.layers])


def parts_between(model: ModelFile, names: Sequence[str]) -> tuple[str, ...]:
    """The same for the parts from the first to the last of the layers of these names."""
    listed = _listed(model)
    places = [index for index, part in enumerate(listed) if _is_of(part, names)]
    return _besides(listed[places[0] : places[-1] + 1] if places else [], names)


def _listed(model: ModelFile) -> list[Mapping[str, Any]]:
    listed: Any = model.settings.get(PARTS, []) if model.task == TASK else []
    if not isinstance(listed, list) or not all(isinstance(part, Mapping) for part in cast("list[Any]", listed)):
        raise ModelFileError("the file's parts are no list of settings", got=str(listed)[:80])
    return cast("list[Mapping[str, Any]]", listed)


def _besides(parts: Sequence[Mapping[str, Any]], names: Sequence[str]) -> tuple[str, ...]:
    return tuple(_described(part) for part in parts if not _is_of(part, names) or _merges(part))


def _is_of(part: Mapping[str, Any], names: Sequence[str]) -> bool:
    return part.get("part") == RECURRENT and part.get("layer") in names


def _merges(part: Mapping[str, Any]) -> bool:
    """Whether the outputs of the two directions become one."""
    return part.get("merge", "concat") != "concat"


def _described(part: Mapping[str, Any]) -> str:
    kind, function = part.get("part"), part.get("function") or part.get("activation")
    if kind == RECURRENT:
        merged = f", its two directions merged by {part.get('merge')}" if _merges(part) else ""
        return f"layer {part.get('layer')!r}{merged}"
    return f"{kind} ({function})" if function not in (None, "identity") else str(kind)
