"""RTNeural's model files: JSON of its own kind (Keras' layers in order), or of PyTorch's state dict.

GuitarML and Automated-GuitarAmpModelling write `model_data` beside the state dict. It describes `SimpleRNN`: a
recurrent layer `rec`, a linear one `lin`, and, where `skip` is not 0, that many features of the input added to the
output. Proteus and AIDA-X read such files.

What such a file says is bounded by its size, and nothing in it is believed before it is looked at.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from gatewright.convert import apply, flat, flat_writing
from gatewright.convert.layouts import BY_KEY
from gatewright.convert.overrides import refused_overrides
from gatewright.convert.refusals import check_exists, located, read_whole
from gatewright.errors import ConversionError
from gatewright.files import write_atomically
from gatewright.lang.param import in_space
from gatewright.network import AddInput, Dense, Network, Part, RecurrentPart
from gatewright.network.part import Flow
from gatewright.untrusted.json_text import parse_json

Array = NDArray[Any]
Object = Mapping[str, Any]

MOST_BYTES = 2**26
"""RTNeural runs networks on every sample of a sound: no such network needs a larger file."""
MOST_RANK = 4
ACTIVATIONS: Mapping[str, str] = {
    "": "identity",
    "linear": "identity",
    **{name: name for name in ("elu", "relu", "sigmoid", "softmax", "tanh")},
}
"""Of dense layers: RTNeural's name, and ours."""
GUITARML = "SimpleRNN"
"""The class of the model that GuitarML's files describe."""
_DENSE = ("dense", "time-distributed-dense")
_RECURRENT = ("gru", "lstm")
_ARRAYS = ("kernel", "recurrent_kernel", "bias")
UNKNOWN_ACTIVATIONS = "the file does not say which activations are after dense layers: none, as they are read here"


def read(path: Path, overrides: dict[str, Any]) -> Network:
    """The network in a file of either kind.

    Raises ConversionError, which names the layer, where the file is damaged or has a layer that a network here cannot
    have.
    """
    check_exists(path, "an RTNeural .json file")
    if path.stat().st_size > MOST_BYTES:
        raise ConversionError(f"{path} is too large for a file of RTNeural", expected=f"{MOST_BYTES:,} bytes at most")
    with read_whole(path, "a complete JSON file"):
        loaded = parse_json(path.read_bytes(), finite=True)
    content = _object(loaded, "the file")
    if "layers" in content:
        if overrides:
            raise refused_overrides("rtneural", overrides, frozenset())
        return _with_input(Network(tuple(_layers(content)), "rtneural"), content.get("in_skip", 0))
    if isinstance(content.get("state_dict"), dict):
        network = _state_dict(path, content["state_dict"], overrides)
        return _checked(network, _object(content.get("model_data", {}), "model_data"))
    return _state_dict(path, content, overrides)


def write(network: Network, path: Path) -> None:
    """Write RTNeural's own kind."""
    layers = [_written(part) for part in _streaming(network)]
    _write(path, {"in_shape": [None, None, network.parts[0].width], "layers": layers})


def write_torch(network: Network, path: Path) -> None:
    """Write the kind of a PyTorch state dict, as RTNeural's loaders of single layers read it."""
    content: dict[str, Any] = {}
    for index, part in enumerate(_streaming(network)):
        if isinstance(part, RecurrentPart):
            kind, arrays = part.cell_config.family, flat_writing.write(Network((part,)), "torch")
            flat_writing.choose("rtneural", part.cell_config, part.directions[0])  # raises where it has no such layer
        else:
            if part.activation != "identity":
                raise ConversionError(
                    f"layer {index} is dense with activation {part.activation}, which a state dict cannot say",
                    do="write RTNeural's own kind: target_layout='rtneural'",
                    shell="write RTNeural's own kind: --to rtneural",
                )
            kind, arrays = "dense", {"weight": part.weight, "bias": _bias(part)}
        content |= {f"{kind}{index}.{name}": array.tolist() for name, array in arrays.items()}
    _write(path, content)


def _checked(network: Network, model_data: Mapping[str, Any]) -> Network:
    """The network of a state dict, checked against the sizes in the file, with its skip connection."""
    if (model := model_data.get("model", GUITARML)) != GUITARML:
        got = str(model)[:40]
        raise ConversionError("its model is another one", expected=GUITARML, got=got, do="name another file")
    first, width = network.recurrent[0], network.parts[-1].gives(Flow()).features
    has = {
        "unit_type": first.cell_config.family.upper(),
        "num_layers": len(network.recurrent),
        "hidden_size": first.hidden,
        "input_size": first.inputs,
        "output_size": width,
        "bias_fl": bool(in_space(first.directions[0], "b")),
    }
    wrong = {name: model_data[name] for name, value in has.items() if name in model_data and model_data[name] != value}
    if wrong:
        raise ConversionError(
            "its weights are not what its model_data says",
            expected=", ".join(f"{name} {str(value)[:40]}" for name, value in wrong.items()),
            got=", ".join(f"{name} {has[name]}" for name in wrong),
            do="export the model again",
        )
    return replace(_with_input(network, model_data.get("skip", 0)), notes=())  # its dense layer has no activation


def _with_input(network: Network, skip: Any) -> Network:
    """The network with that many features of its input added to its output."""
    width, inputs = network.parts[-1].gives(Flow()).features, network.parts[0].width or 0
    if not isinstance(skip, int) or not 0 <= skip <= inputs or skip not in (0, 1, width):
        raise ConversionError(
            "the input that skips the layers does not fit",
            expected=f"0, 1 or {width} of {inputs} features",
            got=str(skip)[:40],
        )
    return replace(network, parts=(*network.parts, AddInput(int(skip)))) if skip else network


def _layers(content: Object) -> Iterator[Part]:
    layers = content["layers"]
    if not isinstance(layers, list) or not layers:
        raise ConversionError("its layers are no list", got=type(layers).__name__)
    size = _last(content.get("in_shape"), "in_shape")
    before: Part | None = None
    for index, layer in enumerate(cast("list[Any]", layers)):
        kind = str(_object(layer, f"layer {index}").get("type"))[:40]
        with located(f"layer {index} ({kind})"):
            part = _layer(kind, layer, before)
        if part is not before and before is not None:
            yield before
        before = part
        weight = part.weight.shape if isinstance(part, Dense) else (part.hidden, part.inputs)
        declared = _last(layer.get("shape"), f"shape of layer {index}")
        if weight[0] != declared or (kind != "activation" and weight[1] != size):
            raise ConversionError(
                f"layer {index} ({kind}): its weights do not fit its shape",
                expected=f"{size} to {declared}, as the file says",
                got=f"weights of {weight[1]} to {weight[0]}",
                do="export the model again: RTNeural would read beyond such weights, or leave some out",
            )
        size = declared
    if before is not None:
        yield before


def _layer(kind: str, layer: Object, before: Part | None) -> Dense | RecurrentPart:
    activation = layer.get("activation", "")
    if kind == "activation" and isinstance(before, Dense) and before.activation == "identity":
        return replace(before, activation=_activation(activation))
    if kind in _DENSE:
        weight, *bias = _weights(layer, (2, 1))
        if len(bias) != 1 or bias[0].shape != weight.shape[1:]:
            raise ConversionError("its bias does not fit", got=f"{[array.shape for array in bias]}")
        return Dense(np.ascontiguousarray(weight.T), bias[0], _activation(activation))
    if kind in _RECURRENT:
        if activation not in ("", "tanh"):
            what = f"its activation is {str(activation)[:40]!r}, and RTNeural computes tanh whatever the file says"
            raise ConversionError(what, expected="tanh")
        row = BY_KEY[f"rtneural/{kind}"]
        arrays = _weights(layer, (2, 2, 2 if kind == "gru" else 1))
        if len(arrays) != len(_ARRAYS):
            raise ConversionError(f"it has {len(arrays)} arrays", expected=", ".join(_ARRAYS))
        return RecurrentPart(row.cell_config, (apply.read(row, dict(zip(_ARRAYS, arrays, strict=True))),))
    raise ConversionError(
        "a network here has no such layer",
        expected=", ".join((*_DENSE, *_RECURRENT)),
        do="convert a model of these layers, or take the recurrent layer out of the file",
    )


def _state_dict(path: Path, content: Object, overrides: dict[str, Any]) -> Network:
    groups: dict[str, dict[str, Array]] = {}
    for name, value in content.items():
        prefix, _, array = name.rpartition(".")
        groups.setdefault(prefix, {})[array] = _array(f"array {name[:80]!r}", value)
    parts: list[Part] = []
    for prefix, arrays in groups.items():
        if set(arrays) in ({"weight"}, {"weight", "bias"}):
            parts.append(_dense(prefix, arrays))
        else:
            parts += _torch_layers(prefix, arrays, overrides)
    if not any(isinstance(part, RecurrentPart) for part in parts):
        raise ConversionError(
            f"{path} holds no recurrent layer",
            expected="RTNeural's layers, or a PyTorch state dict",
            got=", ".join(list(content)[:8]) or "nothing",
        )
    dense = sum(isinstance(part, Dense) for part in parts)
    return Network(tuple(parts), "rtneural", notes=(UNKNOWN_ACTIVATIONS,) if dense else ())


def _torch_layers(prefix: str, arrays: Mapping[str, Array], overrides: dict[str, Any]) -> tuple[Part, ...]:
    with located(f"{prefix!r} is no layer of PyTorch's"):
        network = flat.read(arrays, "torch", overrides)
    if network.rest:
        raise ConversionError(f"{prefix!r} has arrays that belong to no layer", got=", ".join(network.rest))
    return network.parts


def _dense(prefix: str, arrays: Mapping[str, Array]) -> Dense:
    weight, bias = arrays["weight"], arrays.get("bias")
    if weight.ndim != 2 or (bias is not None and bias.shape != weight.shape[:1]):
        raise ConversionError(
            f"{prefix!r} is no dense layer",
            expected="weight (outputs, inputs) and bias (outputs,)",
            got=", ".join(f"{name} {array.shape}" for name, array in arrays.items()),
            do="convert a model without convolutions",
        )
    return Dense(weight, bias)


def _weights(layer: Object, ranks: tuple[int, ...]) -> list[Array]:
    weights = layer.get("weights")
    if not isinstance(weights, list):
        raise ConversionError("it has no list of weights")
    values = cast("list[Any]", weights)[: len(ranks) + 1]
    arrays = [_array(f"array {index}", value) for index, value in enumerate(values)]
    for index, (array, rank) in enumerate(zip(arrays, ranks, strict=False)):
        if array.ndim != rank:
            raise ConversionError(f"array {index} has {array.ndim} axes", expected=str(rank))
    return arrays


def _array(where: str, value: Any) -> Array:
    """An array from nested lists; float32 where the decimals are those of float32 numbers."""
    shape: list[int] = []
    inner = value
    while isinstance(inner, list) and len(shape) <= MOST_RANK:
        shape.append(len(cast("list[Any]", inner)))
        inner = cast("list[Any]", inner)[0] if inner else None
    numbers: list[float] = []
    if not shape or len(shape) > MOST_RANK or 0 in shape or not _flatten(value, shape, numbers):
        raise ConversionError(f"{where} is no array of numbers", expected="lists of the same length, of finite numbers")
    array = np.array(numbers, np.float64).reshape(shape)
    if not np.isfinite(array).all():
        raise ConversionError(f"{where} holds a number that is not finite")
    return array.astype(np.float32) if is_single(array) else array


def is_single(array: Array) -> bool:
    """Whether numbers that were read from decimals are those of single precision, exact or rounded to some digits.

    A number counts as such where the nearest one of float32, printed with as many digits, is that number. What was
    printed of double precision with 16 or 17 digits is not.
    """
    with np.errstate(over="ignore"):
        narrow = array.astype(np.float32).astype(np.float64)
    if not np.isfinite(narrow).all():
        return False
    others = narrow != array
    return all(map(_is_rounded, array[others].tolist(), narrow[others].tolist()))


def _is_rounded(number: float, narrow: float) -> bool:
    digits = repr(abs(number)).partition("e")[0].replace(".", "").strip("0")
    return float(f"{narrow:.{len(digits) - 1}e}") == number


def _flatten(value: Any, shape: list[int], numbers: list[float]) -> bool:
    """Whether lists have that shape and hold numbers, which are put after the others."""
    if not isinstance(value, list) or len(cast("list[Any]", value)) != shape[0]:
        return False
    if len(shape) > 1:
        return all(_flatten(item, shape[1:], numbers) for item in cast("list[Any]", value))
    if not all(type(item) is float or (type(item) is int and abs(item) < 2**53) for item in cast("list[Any]", value)):
        return False
    numbers.extend(map(float, cast("list[Any]", value)))
    return True


def _object(value: Any, what: str) -> Object:
    if not isinstance(value, dict):
        raise ConversionError(f"{what} is no JSON object", got=type(value).__name__)
    return cast("Object", value)


def _last(shape: Any, what: str) -> int:
    last = cast("list[Any]", shape)[-1] if isinstance(shape, list) and shape else None
    if type(last) is not int:
        raise ConversionError(f"{what} does not end with a number of features", got=str(last)[:40])
    return last


def _activation(name: Any) -> str:
    if not isinstance(name, str) or name not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        raise ConversionError("its activation is none that is known", expected=known, got=str(name)[:40])
    return ACTIVATIONS[name]


def _streaming(network: Network) -> Iterator[Dense | RecurrentPart]:
    """The parts, as RTNeural runs them: on every sample, as it comes."""
    if not network.recurrent:
        raise ConversionError("there is no recurrent layer to write")
    for part in network.parts:
        if not isinstance(part, Dense | RecurrentPart):
            raise ConversionError("RTNeural has dense and recurrent layers here", got=part.kind)
        if isinstance(part, RecurrentPart) and (part.backwards or len(part.directions) > 1 or part.returns == "last"):
            raise ConversionError(
                "RTNeural runs on every sample as it comes",
                expected="layers that read forwards and give every step",
                got="a layer that reads backwards, or gives its last step only",
            )
        yield part


def _written(part: Dense | RecurrentPart) -> dict[str, Any]:
    if isinstance(part, Dense):
        theirs = {ours: name for name, ours in ACTIVATIONS.items() if name != "linear"}
        if part.activation not in theirs:
            raise ConversionError(f"RTNeural has no activation {part.activation!r}", expected=", ".join(theirs))
        kind, activation, size = "dense", theirs[part.activation], len(part.weight)
        arrays = [part.weight.T, _bias(part)]
    else:
        row = flat_writing.choose("rtneural", part.cell_config, part.directions[0])
        named = apply.write(row, part.directions[0], part.cell_config)
        kind, activation, size = row.family, "tanh", part.hidden
        arrays = [named[name] for name in _ARRAYS]
    return {
        "type": kind,
        "activation": activation,
        "shape": [None, None, size],
        "weights": [array.tolist() for array in arrays],
    }


def _bias(part: Dense) -> Array:
    return np.zeros(len(part.weight), part.weight.dtype) if part.bias is None else part.bias


def _write(path: Path, content: Object) -> None:
    write_atomically(path, json.dumps(content, allow_nan=False, indent=1).encode())
