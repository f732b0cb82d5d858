"""What Keras says of a model, version by version: its layers in order, each with its settings."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from numpy.typing import NDArray

from gatewright.errors import ConversionError

Config = Mapping[str, Any]
_MASKS = ("NotEqual", "Any")  # operations by which Keras 3 writes out where a mask comes from


@dataclass(frozen=True, slots=True)
class Version:
    """Which Keras wrote a file; `hybrid` is TensorFlow's own Keras 2."""

    number: tuple[int, ...]
    hybrid: bool = False

    @property
    def major(self) -> int:
        """1, 2 or 3."""
        return self.number[0]

    @property
    def hard_sigmoid(self) -> str:
        """Which function `hard_sigmoid` is there."""
        return "hard_sigmoid_keras3" if self.major >= 3 else "hard_sigmoid_theano"

    @property
    def gate(self) -> str:
        """What gates are by default."""
        return "sigmoid" if self.major >= 3 or self.hybrid else "hard_sigmoid_theano"

    @property
    def zeroes_both(self) -> bool:
        """Whether layers of two directions give out zeros at masked steps."""
        return self.major >= 3 or self.hybrid


def version_of(text: str | None) -> Version:
    """A version by its text; Keras 1 wrote none beside bare weights."""
    found = re.match(r"(\d+)(?:\.(\d+))?", text or "1")
    number = tuple(int(part) for part in (found.groups() if found else ("1",)) if part is not None)
    return Version(number, hybrid="-tf" in (text or "") or (2, 4) <= number < (3,))


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: its class, its name, its settings, and its arrays by their names in the table of layouts.

    A layer of two directions has those of both, as `forward/kernel` and `backward/kernel`.
    """

    kind: str
    name: str
    config: Config
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict[str, NDArray[Any]])

    @property
    def inner(self) -> "Layer | None":
        """The layer that a wrapper holds."""
        found = self.config.get("layer")
        return _layer(found) if isinstance(found, Mapping) else None


def layers_of(config: Any, where: str) -> list[Layer]:
    """The layers of a model that is a chain, from the input to the output.

    Raises ConversionError where it is none.
    """
    if not isinstance(config, Mapping) or "class_name" not in config:
        raise ConversionError(f"{where}: its configuration is no model of Keras", expected="class_name and config")
    inside = config.get("config")
    listed = inside.get("layers") if isinstance(inside, Mapping) else inside
    if not isinstance(listed, Sequence) or not all(isinstance(one, Mapping) for one in listed):
        raise ConversionError(f"{where}: its configuration has no list of layers", got=type(listed).__name__)
    if config["class_name"] == "Sequential":
        return [_layer(one) for one in listed]
    if config["class_name"] in ("Model", "Functional") and isinstance(inside, Mapping):
        return _chain(inside, listed, where)
    raise ConversionError(
        f"{where} is a {config['class_name']}", expected="Sequential, or a functional model that is a chain of layers"
    )


def parsed(text: str, where: str) -> Any:
    """A configuration out of its text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConversionError(f"{where}: its configuration is no JSON", got=str(error)[:200]) from error


def _layer(one: Mapping[str, Any]) -> Layer:
    config = one.get("config")
    config = config if isinstance(config, Mapping) else {}
    return Layer(str(one.get("class_name")), str(config.get("name") or one.get("name")), config)


def _chain(model: Config, listed: Sequence[Mapping[str, Any]], where: str) -> list[Layer]:
    """The layers of a functional model, from its one output back to its one input."""
    by_name = {str(one.get("name")): one for one in listed}
    ends = [_ends(model.get(which)) for which in ("input_layers", "output_layers")]
    if any(len(end) != 1 for end in ends):
        raise ConversionError(
            f"{where} has several inputs or outputs", expected="one of each", got=f"{ends[0]} and {ends[1]}"
        )
    found: list[Layer] = []
    name: str | None = ends[1][0]
    while name is not None:
        if name not in by_name or len(found) >= len(by_name):
            raise ConversionError(f"{where}: layer {name!r} is read before it is made")
        found.insert(0, _layer(by_name[name]))
        name = _source(by_name[name], where)
    used = {layer.name for layer in found}
    branches = [name for name, one in by_name.items() if name not in used and one.get("class_name") not in _MASKS]
    if found[0].name != ends[0][0] or branches:
        raise ConversionError(
            f"{where} is no chain of layers", expected="each layer reads the one before", got=", ".join(branches)
        )
    _check_masks(by_name, found, where)
    return found


def _check_masks(by_name: Mapping[str, Mapping[str, Any]], chain: Sequence[Layer], where: str) -> None:
    """Refuse masks that are other than those that the layers of a chain make of what they read."""
    values: dict[str, Any] = {}  # what is padding, by the name of the layer that gives it
    for before, layer in pairwise(chain):
        if layer.kind in ("Masking", "Embedding"):
            values[before.name] = layer.config.get("mask_value", 0.0)
    for name, one in by_name.items():
        if one.get("class_name") != "NotEqual":
            continue
        args = one["inbound_nodes"][0]["args"]
        sources = _tensors(args)
        if len(sources) != 1 or values.get(sources[0][0], ...) != args[-1]:
            raise ConversionError(
                f"{where}: the mask {name!r} is not the one that its layers make",
                expected=", ".join(f"{source} is not {value}" for source, value in values.items()) or "no mask",
                got=f"{', '.join(source for source, _ in sources)} is not {args[-1]}",
            )


def _ends(listed: Any) -> list[str]:
    """The names in a list of places, which Keras 3 writes as a single place where there is one."""
    if isinstance(listed, Sequence) and len(listed) == 3 and isinstance(listed[0], str):
        listed = [listed]
    return [str(one[0]) for one in listed or ()]


def _source(one: Mapping[str, Any], where: str) -> str | None:
    """The name of the layer that this one reads."""
    nodes = one.get("inbound_nodes") or ()
    if len(nodes) > 1:
        raise ConversionError(f"{where}: layer {one.get('name')!r} is used more than once")
    if not nodes:
        return None
    if isinstance(nodes[0], Mapping):
        sources, extra = _tensors(nodes[0].get("args")), nodes[0].get("kwargs") or {}
    else:
        sources = [(str(node[0]), node[1:3]) for node in nodes[0]]
        extra = nodes[0][0][3] if len(nodes[0][0]) > 3 else {}
    passed = [key for key, value in extra.items() if key not in ("mask", "training") and value is not None]
    if len(sources) != 1 or list(sources[0][1]) != [0, 0] or passed:
        raise ConversionError(
            f"{where}: layer {one.get('name')!r} reads more than the output of one layer",
            expected="one input, and a state that begins at zero",
            got=", ".join([name for name, _ in sources] + passed),
        )
    return sources[0][0]


def _tensors(args: Any) -> list[tuple[str, Sequence[int]]]:
    """The layers that the arguments of a call come from."""
    found: list[tuple[str, Sequence[int]]] = []
    for one in args or ():
        if isinstance(one, Mapping) and one.get("class_name") == "__keras_tensor__":
            history = one["config"]["keras_history"]
            found.append((str(history[0]), history[1:]))
        elif isinstance(one, Sequence) and not isinstance(one, str):
            found += _tensors(one)
    return found
