"""The configuration of a Keras model, for each version of Keras: its layers in order, each with its settings."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

from numpy.typing import NDArray

from gatewright.convert.keras_files import functional
from gatewright.convert.refusals import understood
from gatewright.errors import ConversionError
from gatewright.untrusted.json_text import parse_json

Config = Mapping[str, Any]
MODELS = ("Sequential", "Functional", "Model")
_PACKAGES = ("keras", "tf_keras", "tensorflow")


@dataclass(frozen=True, slots=True)
class KerasVersion:
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
        """The default activation of gates."""
        return "sigmoid" if self.major >= 3 or self.hybrid else "hard_sigmoid_theano"

    @property
    def zeroes_both(self) -> bool:
        """Whether layers of two directions give out zeros at masked steps."""
        return self.major >= 3 or self.hybrid


def version_of(text: str | None) -> KerasVersion:
    """A version by its text; Keras 1 wrote none beside bare weights."""
    match = re.match(r"(\d+)(?:\.(\d+))?", text or "1")
    number = tuple(int(part) for part in (match.groups() if match else ("1",)) if part is not None)
    return KerasVersion(number, hybrid="-tf" in (text or "") or (2, 4) <= number < (3,))


@dataclass(frozen=True, slots=True)
class KerasLayer:
    """One call of one layer: its class, its name, its settings, and its arrays by their names in the table of layouts.

    A layer of two directions has the arrays of both, as `forward/kernel` and `backward/kernel`; one of several cells
    those of each, as `cell0/kernel`.
    """

    kind: str
    name: str
    config: Config
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict[str, NDArray[Any]])
    call: functional.LayerCall = functional.PLAIN
    path: tuple[str, ...] = ()  # the names of the models that hold it, and its own
    groups: tuple[str, ...] = ()  # the same in a file of Keras 3

    def inner(self, which: str = "layer") -> "KerasLayer | None":
        """The layer, or the cell, that a wrapper holds."""
        wrapped = self.config.get(which)
        return layer_of(wrapped) if isinstance(wrapped, Mapping) else None


def layer_of(entry: Config) -> KerasLayer:
    """A layer by its entry in a configuration.

    Raises ConversionError for a class that is not Keras's own: it may compute anything, whatever it is called.
    """
    config = entry.get("config")
    settings = config if isinstance(config, Mapping) else {"layers": config}  # Sequential of Keras 1 and 2 is a list
    layer = KerasLayer(str(entry.get("class_name")), str(entry.get("name") or settings.get("name")), settings)
    module = entry.get("module", _PACKAGES[0])
    if str(module).partition(".")[0] not in _PACKAGES or ">" in layer.kind:
        raise ConversionError(
            f"layer {layer.name!r} is of a class that is not Keras's own",
            expected="a layer of Keras",
            got=str(entry.get("registered_name") or layer.kind),
            do="choose other layers with prefix",
        )
    return layer


def layers_of(config: Any) -> list[KerasLayer]:
    """The layers of a model that is a chain, from the input to the output; those of models in it in their places."""
    with _configured():
        return [*_in_turn(_model(config), None)]


def every_layer(config: Any) -> list[KerasLayer]:
    """All layers of a model and of the models in it, however they are connected."""
    with _configured():
        return [*_all(_model(config))]


def _configured() -> AbstractContextManager[None, bool | None]:
    """A block that reads a configuration which is whole: the file is not damaged, it is not understood."""
    return understood(
        "the configuration of its model is not understood",
        expected="layers and calls as Keras 1, 2 and 3 write them",
        do="save the model with Keras 3 as .keras",
    )


def _model(config: Any) -> KerasLayer:
    if not isinstance(config, Mapping) or "class_name" not in config:
        raise ConversionError("its configuration is no model of Keras", expected="class_name and config")
    model = replace(layer_of(config), path=(), groups=())
    if model.kind not in MODELS:
        raise ConversionError(
            f"the model is a {model.kind}", expected="Sequential, or a functional model that is a chain of layers"
        )
    return model


def _in_turn(model: KerasLayer, output: int | None) -> Iterator[KerasLayer]:
    placed = _placed(model)
    if model.kind == "Sequential":
        calls = [(name, functional.PLAIN) for name in placed]
    else:
        entries = {str(entry.get("name")): entry for entry in model.config["layers"]}
        models = frozenset(name for name, layer in placed.items() if layer.kind in MODELS)
        calls = functional.FunctionalGraph(entries, model.path, models).chain(model.config, output)
    for name, call in calls:
        layer = replace(placed[name], call=call)
        if layer.kind in MODELS:
            yield KerasLayer(
                "InputLayer", name, {}, call=replace(call, output=0)
            )  # the call of the model: its mask and arguments
            yield from _in_turn(layer, call.output)
        else:
            yield layer


def _all(model: KerasLayer) -> Iterator[KerasLayer]:
    for layer in _placed(model).values():
        if layer.kind in MODELS:
            yield from _all(layer)
        else:
            yield layer


def _placed(model: KerasLayer) -> dict[str, KerasLayer]:
    listed = model.config.get("layers")
    if not isinstance(listed, Sequence) or not all(isinstance(entry, Mapping) for entry in listed):
        raise ConversionError("its configuration has no list of layers", got=type(listed).__name__)
    layers = [layer_of(entry) for entry in listed]
    groups = group_names([layer.kind for layer in layers])
    placed = {
        layer.name: replace(layer, path=(*model.path, layer.name), groups=(*model.groups, group))
        for layer, group in zip(layers, groups, strict=True)
    }
    if len(placed) != len(layers):
        raise ConversionError("two layers have one name", got=", ".join(layer.name for layer in layers))
    return placed


def parsed(text: str) -> Any:
    """A configuration out of its text."""
    try:
        return parse_json(text)
    except ValueError as error:
        raise ConversionError("its configuration is no JSON", got=str(error)[:200]) from error


def group_names(kinds: Sequence[str]) -> list[str]:
    """The groups of layers of these classes, in order."""
    counts: dict[str, int] = {}
    names: list[str] = []
    for kind in kinds:
        name = snake_case(kind)
        count = counts[name] = counts.get(name, -1) + 1
        names.append(f"{name}_{count}" if count else name)
    return names


def kind_of(group: str) -> str:
    """The class in a name such as lstm_1."""
    return re.sub(r"_\d+$", "", group)


def snake_case(kind: str) -> str:
    """SimpleRNN as simple_rnn."""
    once = re.sub(r"\W+", "", kind)
    once = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", once)
    return re.sub("([a-z])([A-Z])", r"\1_\2", once).lower()
