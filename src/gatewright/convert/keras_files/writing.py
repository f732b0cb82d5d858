"""A network as the layers of a Keras model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright import network as net
from gatewright.cell_config.activations import HARD_SLOPES
from gatewright.cell_config.config import CellConfig
from gatewright.convert import apply
from gatewright.convert.flat_writing import between, choose
from gatewright.convert.keras_files import functions, normalization
from gatewright.convert.keras_files.architecture import KerasLayer, KerasVersion, version_of
from gatewright.convert.keras_files.functional import LayerCall
from gatewright.convert.keras_files.reading import POOLS
from gatewright.convert.keras_files.recurrence import DIRECTIONS
from gatewright.convert.keras_files.storing import OPERATION
from gatewright.convert.layouts import Layout
from gatewright.convert.refusals import no_skip
from gatewright.errors import ConversionError
from gatewright.lang.param import Param, in_space

CLASSES = {"rnn": "SimpleRNN", "gru": "GRU", "lstm": "LSTM"}


@dataclass
class _KerasWriter:
    """The layers written so far, and whether a mask passes through them."""

    version: KerasVersion
    bare: bool
    masked: bool = False
    before: net.Part | None = None  # of the part that is written
    following: net.Part | None = None
    layers: list[KerasLayer] = field(default_factory=list[KerasLayer])

    def add(self, kind: str, config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]] | None = None) -> None:
        self.layers.append(KerasLayer(kind, "", config, arrays or {}))


def layers_of(network: net.Network, version: KerasVersion, *, bare: bool = False) -> list[KerasLayer]:
    """The layers of a sequential model that computes the same as a network, without their names.

    Those of `bare` weights have a bias each, by whose shape a GRU tells where it resets.
    """
    writer = _KerasWriter(version, bare)
    shape = [None, *network.reads]
    if len(shape) == 2 and isinstance(network.parts[0], net.Masking):
        raise ConversionError(
            "Keras is told how many features a Masking layer reads, and this network does not say it",
            got="a Reshape behind it",
        )
    symbols = isinstance(network.parts[0], net.Embedding | net.OneHot)
    key = "batch_shape" if version.major >= 3 else "batch_input_shape"
    writer.add("InputLayer", {key: shape, "dtype": "int32" if symbols else dtype_of(network)})
    for before, part, following in zip((None, *network.parts), network.parts, (*network.parts[1:], None), strict=False):
        write = _WRITERS.get(type(part))
        if isinstance(part, net.AddInput):
            raise no_skip("the models of Keras")
        if write is None:
            raise ConversionError(f"Keras has no layer that is a {part.kind}")
        writer.before, writer.following = before, following
        write(part, writer)
    return writer.layers


def check_weights_alone(network: net.Network) -> None:
    """Refuse networks that a file of weights cannot express: it is read as a stack of recurrent layers."""
    others, last = between(network)
    unsaid = [f"{kind} between recurrent layers" for kind in others]
    for layer in network.recurrent:
        unsaid += [f"directions whose outputs are merged by {layer.merge}"] if layer.merge != "concat" else []
        unsaid += ["directions of different equations"] if layer.second else []
        unsaid += ["a layer that reads backwards"] if layer.backwards else []
    if unsaid := [*unsaid, *last]:
        raise ConversionError(
            "a file that holds weights alone cannot say what this network computes",
            expected="recurrent layers that follow one another, forwards or in both directions",
            got=", ".join(dict.fromkeys(unsaid)),
            do="write .keras, which holds the whole model",
        )


def dtype_of(network: net.Network) -> str:
    arrays = [
        parameter for layer in network.recurrent for parameters in layer.directions for parameter in parameters.values()
    ]
    return str(np.result_type(*arrays))


def _step(part: net.TakeStep, writer: _KerasWriter) -> None:
    """An operation, which makes the model a functional one."""
    if writer.bare:
        raise ConversionError("a file of weights has no place for one step of a sequence", do="write .keras")
    writer.masked = False
    ends = {"start": None, "stop": None, "step": None}
    if writer.version.major >= 3:
        call = LayerCall(arguments={"1": [{"class_name": "__slice__", "config": ends}, part.index]})
        writer.layers.append(KerasLayer(OPERATION, "", {}, call=call))
    else:
        call = LayerCall(arguments={"slice_spec": [ends, part.index]})
        writer.layers.append(KerasLayer("SlicingOpLambda", "", {"function": "__operators__.getitem"}, call=call))


def _embedding(part: net.Embedding | net.OneHot, writer: _KerasWriter) -> None:
    weight = part.weight if isinstance(part, net.Embedding) else np.eye(part.symbols, dtype=np.float32)
    writer.masked = isinstance(part, net.Embedding) and part.masks_zero
    config = {"input_dim": weight.shape[0], "output_dim": weight.shape[1], "mask_zero": writer.masked}
    writer.add("Embedding", config, {"embeddings": weight})


def _pool(part: net.Mean | net.Max, writer: _KerasWriter) -> None:
    if writer.masked and isinstance(part, net.Max):
        raise ConversionError(
            "the maximum over all steps in Keras takes in those that are padding", got="steps that are masked"
        )
    writer.masked = False
    name = next(name for name, kind in POOLS.items() if isinstance(part, kind))
    writer.add(name, {"data_format": "channels_last", "keepdims": False})


def _reshape(part: net.Reshape, writer: _KerasWriter) -> None:
    if writer.masked and writer.version.major < 3:
        raise ConversionError("Keras 2 has no mask before a Reshape", do="write .keras, for Keras 3")
    writer.masked = False
    writer.add("Reshape", {"target_shape": list(part.shape)})


def _reverse(_: net.Reverse, writer: _KerasWriter) -> None:
    before = writer.before
    if not (isinstance(before, net.RecurrentPart) and before.backwards and before.returns == "sequence"):
        raise ConversionError(
            "Keras reverses steps only after a layer that goes backwards",
            got=before.kind if before else "the input",
        )


def _masking(part: net.Masking, writer: _KerasWriter) -> None:
    writer.masked = True
    writer.add("Masking", {"mask_value": part.value})


def _activation(name: str, writer: _KerasWriter) -> None:
    """A function as a layer: one of its own, where it has numbers."""
    own = functions.written(name, writer.version)
    if own is None:
        writer.add("Activation", {"activation": functions.name_of(name, writer.version)})
    else:
        writer.add(*own)


def _dense(part: net.Dense, writer: _KerasWriter) -> None:
    arrays = {"kernel": part.weight.T} | ({} if part.bias is None else {"bias": part.bias})
    apart = functions.written(part.activation, writer.version) is not None
    function = functions.name_of("identity" if apart else part.activation, writer.version)
    config = {"units": len(part.weight), "activation": function}
    writer.add("Dense", {**config, "use_bias": part.bias is not None}, arrays)
    if apart:
        _activation(part.activation, writer)


def _recurrent(layer: net.RecurrentPart, writer: _KerasWriter) -> None:
    both, sequence = len(layer.directions) == 2, layer.returns == "sequence"
    if sequence and layer.backwards and not isinstance(writer.following, net.Reverse):
        raise ConversionError(
            "Keras gives the outputs of a layer that goes backwards in the order in which it made them",
            expected="a layer of two directions, or the last output alone",
        )
    if both and sequence and writer.masked and layer.padding != "zeros":
        raise ConversionError(
            "a layer of two directions gives zeros at masked steps in Keras", got="the state as it stays"
        )
    layer = _with_its_gate(layer, writer.version)
    row = choose("keras", layer.cell_config, layer.directions[0])
    configs = layer.cell_configs
    directions = [
        _biased(parameters, layer.cell_config) if writer.bare else parameters for parameters in layer.directions
    ]
    written = apply.write_directions(row, directions, configs)
    config, *second = (
        _settings(layer, direction, row, writer) | {"use_bias": "bias" in written[0]} for direction in configs
    )
    kind = CLASSES[row.family]
    if both:
        arrays = {
            f"{prefix}{name}": direction
            for prefix, arrays_of_direction in zip(DIRECTIONS, written, strict=True)
            for name, direction in arrays_of_direction.items()
        }
        wrapper = {"layer": {"class_name": kind, "config": config}, "merge_mode": layer.merge}
        if layer.second:
            wrapper["backward_layer"] = {"class_name": kind, "config": second[0]}
        writer.add("Bidirectional", wrapper, arrays)
    else:
        if layer.padding == "zeros" and sequence:  # otherwise Keras gives zeros for a row that ends in padding
            config["zero_output_for_mask"] = True
        writer.add(kind, config | {"go_backwards": layer.backwards}, written[0])
    writer.masked = writer.masked and sequence


def _with_its_gate(layer: net.RecurrentPart, version: KerasVersion) -> net.RecurrentPart:
    """The layer with hard gates of that version's slope: their weights are scaled to compute the same."""
    pairs = [
        (parameters, equations)
        if equations.gate not in HARD_SLOPES or equations.gate == version.hard_sigmoid
        else apply.with_slope(parameters, equations, version.hard_sigmoid)
        for parameters, equations in zip(layer.directions, layer.cell_configs, strict=True)
    ]
    equations = [config for _, config in pairs]
    second = equations[-1] if equations[-1] != equations[0] else None
    return replace(layer, cell=equations[0], second=second, directions=tuple(parameters for parameters, _ in pairs))


def _settings(layer: net.RecurrentPart, equations: CellConfig, row: Layout, writer: _KerasWriter) -> dict[str, Any]:
    config: dict[str, Any] = {
        "units": layer.hidden,
        "activation": functions.name_of(equations.activation, writer.version),
        "return_sequences": layer.returns == "sequence",
    }
    if row.family != "rnn":
        config["recurrent_activation"] = functions.name_of(equations.gate, writer.version)
    if row.family == "gru":
        config["reset_after"] = row.reset == "after"
    if row.family == "lstm":
        config["unit_forget_bias"] = False
        _one_activation(equations)
    return config


def _one_activation(equations: CellConfig) -> None:
    if equations.activation != equations.output:
        raise ConversionError(
            "an LSTM of Keras has one activation for the candidate and the output",
            got=f"{equations.activation} and {equations.output}",
        )


_WRITERS: Mapping[type[net.Part], Callable[[Any, _KerasWriter], None]] = {
    net.Embedding: _embedding,
    net.OneHot: _embedding,
    net.Masking: _masking,
    net.Activation: lambda part, writer: _activation(part.function, writer),
    net.Reshape: _reshape,
    net.Reverse: _reverse,
    net.Dense: _dense,
    net.RecurrentPart: _recurrent,
    net.Mean: _pool,
    net.Max: _pool,
    net.Scale: lambda part, writer: writer.add("Normalization", *normalization.written(part, bare=writer.bare)),
    net.LayerNorm: lambda part, writer: writer.add(*normalization.written_with(part)),
    net.BatchNorm: lambda part, writer: writer.add(*normalization.written_with(part)),
    net.TakeStep: _step,
}


def keras1(network: net.Network) -> list[KerasLayer]:
    """The layers of a network that have weights, with their arrays as Keras 1 has them, in its order."""
    layers: list[KerasLayer] = []
    for part in network.parts:
        match part:
            case net.Embedding():
                layers.append(KerasLayer("Embedding", "", {}, {"W": part.weight}))
            case net.Dense():
                bias = {} if part.bias is None else {"b": part.bias}
                layers.append(KerasLayer("Dense", "", {}, {"W": part.weight.T, **bias}))
            case net.RecurrentPart():
                layers.append(_keras1(part))
            case _:
                pass  # layers without weights are in no file of weights
    return layers


def _keras1(layer: net.RecurrentPart) -> KerasLayer:
    layer = _with_its_gate(layer, version_of("1"))
    row = choose("keras1", layer.cell_config, layer.directions[0])
    if row.family == "lstm":
        _one_activation(layer.cell_config)
    place = {gate: index for index, gate in enumerate(row.gates.split())}
    by_gate = sorted(
        row.stored(), key=lambda stored: place[stored[2][0]]
    )  # as Keras 1 lists them: W_i, U_i, b_i, W_c ...
    kind = CLASSES[row.family]
    both = len(layer.directions) == 2
    arrays: dict[str, NDArray[Any]] = {}
    for prefix, parameters in zip(DIRECTIONS if both else ("",), layer.directions, strict=True):
        written = apply.write(row, _biased(parameters, layer.cell_config), layer.cell_config)
        arrays |= {f"{prefix}{name}": written[name] for name, *_ in by_gate}
    inner = {"layer": {"class_name": kind, "config": {}}} if both else {}
    return KerasLayer("Bidirectional" if both else kind, "", inner, arrays)


def _biased(parameters: Mapping[str, NDArray[Any]], equations: CellConfig) -> dict[str, NDArray[Any]]:
    """Parameters with a bias for each gate, as Keras 1 always has."""
    kernel = next(iter(in_space(parameters, "U").values()))
    zero = np.zeros(kernel.shape[0], kernel.dtype)
    return {**{str(Param("b", gate)): zero for gate in equations.gates}, **parameters}
