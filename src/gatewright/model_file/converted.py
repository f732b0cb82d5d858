"""What a converted model file says of its network: all parts in order, of which the recurrent layers are some."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from gatewright.errors import ModelFileError
from gatewright.model_file.record import ModelFile

TASK = "converted"
PARTS = "parts"
"""The setting that lists the parts of the network. One that is RECURRENT is a level of a layer of the file."""
RECURRENT = "Recurrent"


def parts_besides(model: ModelFile, names: Sequence[str] | None = None) -> tuple[str, ...]:
    """What a converted network computes besides its recurrent layers, as the reader of an error would call it.

    With `names`, of the parts from the first to the last of these layers alone. Files that list no parts give nothing.
    Raises ModelFileError where the parts are no list of settings.
    """
    listed: Any = model.settings.get(PARTS, []) if model.task == TASK else []
    if not isinstance(listed, list) or not all(isinstance(part, Mapping) for part in cast("list[Any]", listed)):
        raise ModelFileError("the file's parts are no list of settings", got=str(listed)[:80])
    parts = cast("list[Mapping[str, Any]]", listed)
    wanted = [layer.name for layer in model.layers] if names is None else names
    is_layer = [part.get("part") == RECURRENT and part.get("layer") in wanted for part in parts]
    places = [index for index, is_one in enumerate(is_layer) if is_one]
    if names is not None:
        first, last = (places[0], places[-1]) if places else (0, -1)
        parts, is_layer = parts[first : last + 1], is_layer[first : last + 1]
    return tuple(_described(part) for part, is_one in zip(parts, is_layer, strict=True) if not is_one or _merges(part))


def _merges(part: Mapping[str, Any]) -> bool:
    """Whether the outputs of the two directions become one."""
    return part.get("merge", "concat") != "concat"


def _described(part: Mapping[str, Any]) -> str:
    kind, function = part.get("part"), part.get("function") or part.get("activation")
    if kind == RECURRENT:
        merged = f", its two directions merged by {part.get('merge')}" if _merges(part) else ""
        return f"layer {part.get('layer')!r}{merged}"
    return f"{kind} ({function})" if function not in (None, "identity") else str(kind)
