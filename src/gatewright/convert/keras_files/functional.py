"""The calls of a functional model of Keras: the tensor that each layer reads, by layer, call and output.

Keras 1 and 2 write a call as a list `[layer, node, tensor, arguments]`, Keras 3 as arguments with tensors in them,
whose history is `[layer, node, tensor]`. `node` counts the calls of a layer, `tensor` what one call gives.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gatewright.errors import ConversionError

Entry = Mapping[str, Any]
_MASKS = ("NotEqual", "Any", "Cast")  # operations that Keras 3 lists for the origin of a mask


@dataclass(frozen=True, slots=True)
class KerasTensor:
    """One output of a call of a layer."""

    layer: str
    node: int
    index: int


@dataclass(frozen=True, slots=True)
class MaskSource:
    """Steps are padding where all of a tensor is this value; a chain without calls tells the value alone."""

    value: Any
    tensor: KerasTensor | None = None
    model: tuple[str, ...] = ()  # the models that hold that tensor, by their names

    def __str__(self) -> str:
        return f"{self.tensor.layer if self.tensor else 'the input'} is not {self.value}"


@dataclass(frozen=True, slots=True)
class LayerCall:
    """One call of a layer."""

    source: KerasTensor | None = None
    output: int = 0  # which of the tensors that it gives is read
    mask: MaskSource | None = None  # passed by name; otherwise the layer takes the mask of its input
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])  # its further arguments


PLAIN = LayerCall()
"""That of a layer in a sequential model."""


@dataclass(frozen=True, slots=True)
class FunctionalGraph:
    """The layers of a functional model by their names."""

    entries: Mapping[str, Entry]
    path: tuple[str, ...] = ()
    models: frozenset[str] = frozenset()  # those of its layers that are models themselves

    def chain(self, model: Entry, output: int | None) -> list[tuple[str, LayerCall]]:
        """The calls from the input to one output, the only one where no number is given."""
        starts, ends = ([*tensors(model.get(which))] for which in ("input_layers", "output_layers"))
        if len(starts) != 1 or (output is None and len(ends) != 1) or (output or 0) >= len(ends):
            raise ConversionError(
                "the model has several inputs or outputs",
                expected="one of each",
                got=f"{', '.join(end.layer for end in starts)} and {', '.join(end.layer for end in ends)}",
                do="choose layers with prefix",
            )
        calls: list[tuple[str, LayerCall]] = []
        used: set[tuple[str, int]] = set()
        tensor: KerasTensor | None = ends[output or 0]
        while tensor is not None:
            place = tensor.layer, self._node(tensor)
            if place in used:
                raise ConversionError(f"layer {tensor.layer!r} is read before it is made")
            used.add(place)
            call = self._call(tensor)
            calls.append((tensor.layer, call))
            tensor = call.source
        calls.reverse()
        self._check_whole(calls[0][0], starts[0].layer, used)
        return calls

    def _check_whole(self, first: str, start: str, used: set[tuple[str, int]]) -> None:
        """Refuse a model that has more than the chain."""
        branches = [
            name
            for name, entry in self.entries.items()
            if entry.get("class_name") not in _MASKS
            for node in range(max(1, len(entry.get("inbound_nodes") or ())))
            if (name, node) not in used
        ]
        if first != start or branches:
            raise ConversionError(
                "the model is no chain of layers",
                expected="each layer reads the one before",
                got=", ".join(dict.fromkeys(branches)) or f"{first} reads nothing",
                do="choose layers with prefix",
            )

    def _node(self, tensor: KerasTensor) -> int:
        entry = self.entries.get(tensor.layer)
        if entry is None:
            raise ConversionError(f"layer {tensor.layer!r} is read before it is made")
        count = len(entry.get("inbound_nodes") or ())
        if tensor.layer in self.models:  # Keras counts the creation of a model as a call in some places
            if count > 1:
                raise ConversionError(
                    f"model {tensor.layer!r} is called more than once, and its file does not tell which call is read",
                    expected="one call of each model in a model",
                    got=f"{count} calls",
                    do="choose layers with prefix",
                )
            return 0
        if not 0 <= tensor.node < max(1, count):
            raise ConversionError(
                f"call {tensor.node} of layer {tensor.layer!r} is read, and the file does not tell of it",
                expected=f"{count} calls",
                do="save the model again as .keras with Keras 3",
            )
        return tensor.node

    def _call(self, tensor: KerasTensor) -> LayerCall:
        nodes = self.entries[tensor.layer].get("inbound_nodes") or ()
        if not nodes:
            return LayerCall(output=tensor.index)
        operand, others = _arguments(nodes[self._node(tensor)])
        sources = [*tensors(operand)]
        if len(sources) != 1:
            kind = self.entries[tensor.layer].get("class_name")
            raise ConversionError(
                f"layer {tensor.layer!r} ({kind}) reads more than the output of one layer",
                expected="one input, and a state that begins at zero",
                got=", ".join(f"{source.layer}, tensor {source.index}" for source in sources) or "nothing",
                do="choose layers with prefix",
            )
        mask = others.pop("mask", None)
        return LayerCall(sources[0], tensor.index, None if mask is None else self._mask(mask, tensor.layer), others)

    def _mask(self, mask: Any, layer: str) -> MaskSource:
        """The mask that a layer is given, if it is one that Masking or an Embedding makes."""
        sources, others = self._before("Any", [*tensors(mask)])
        sources, others = self._before("NotEqual", sources)
        if len(sources) == 1 and list(others) == ["1"]:
            (tensor,), _ = self._before("Cast", sources)  # to the precision that a layer computes with
            return MaskSource(others["1"], tensor, self.path)
        raise ConversionError(
            f"the mask of layer {layer!r} is not the one that its layers make",
            expected="that of a Masking layer or an Embedding before it",
            got=", ".join(source.layer for source in sources) or str(mask)[:80],
        )

    def _before(self, kind: str, read: list[KerasTensor]) -> tuple[list[KerasTensor], dict[str, Any]]:
        """The inputs and arguments of the operation that made a tensor, if it is of that kind."""
        entry = self.entries.get(read[0].layer, {}) if len(read) == 1 else {}
        if entry.get("class_name") != kind:
            return read, {}
        source, others = _arguments(entry["inbound_nodes"][0])
        return [*tensors(source)], others


def tensors(listed: Any) -> Iterator[KerasTensor]:
    """The tensors in a list of places, or in the arguments of a call, however deep they lie."""
    if isinstance(listed, Mapping):
        inside = listed.get("config")
        if listed.get("class_name") == "__keras_tensor__" and isinstance(inside, Mapping):
            yield from tensors(inside.get("keras_history"))
        elif "class_name" not in listed:
            for value in listed.values():
                yield from tensors(value)
    elif isinstance(listed, Sequence) and not isinstance(listed, str):
        match listed:
            case [str(layer), int(node), int(index), *_]:
                yield KerasTensor(layer, node, index)
            case _:
                for entry in listed:
                    yield from tensors(entry)


def _arguments(node: Any) -> tuple[Any, dict[str, Any]]:
    """The input of a call and its further arguments: by name, or by position where they have none."""
    if isinstance(node, Mapping):
        operand, *more = node.get("args") or [None]
        others = {str(place): argument for place, argument in enumerate(more, 1)} | dict(node.get("kwargs") or {})
    else:
        operand = node
        whole = node if node and isinstance(node[0], str) else node[0] if node else ()
        others = dict(whole[3]) if len(whole) > 3 else {}
    training = others.pop("training", None)
    return operand, {name: other for name, other in others.items() if other is not None} | (
        {"training": 1} if training else {}
    )
