"""Parameters from arrays and back, by a row of the table of layouts. What a layout cannot express is refused."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.cell_config.activations import HARD_SLOPES, ODD_ABOUT_HALF, odd_about_half, parsed
from gatewright.cell_config.config import ACTIVATION_FIELDS, CellConfig
from gatewright.convert.layout import Layout, Stored
from gatewright.convert.patterns import AXES, ShapedArray, infer, pack, pattern, unpack
from gatewright.errors import ConversionError
from gatewright.lang.param import Param
from gatewright.network import Parameters

Arrays = Mapping[str, NDArray[Any]]


def read(layout: Layout, arrays: Arrays, config: CellConfig | None = None) -> Parameters:
    """The parameters in arrays of that layout, by their names in the equations.

    `b.r` is the bias beside W, `bh.r` that beside U, where a layout keeps the two apart.
    """
    config = config or layout.cell_config
    present = [(name, stored, stored.kinds.split(), gates) for name, stored, gates in _present(layout, arrays)]
    sizes = infer(
        [
            ShapedArray(
                name,
                # without a projection there are as many states as units
                pattern(stored.axes if layout.projection else stored.axes.replace("state", "hidden")),
                {"side": len(kinds), "gate": len(gates)},
                np.shape(arrays[name]),
            )
            for name, stored, kinds, gates in present
        ]
    )
    sizes.setdefault("state", sizes["hidden"])
    parts: dict[Param, NDArray[Any]] = {}
    for name, stored, kinds, gates in present:
        unpacked = unpack(np.asarray(arrays[name]), pattern(stored.axes), kinds, gates, sizes)
        parts |= {slot: part.T.reshape(part.shape) for slot, part in unpacked.items()} if stored.buffer else unpacked
    if layout.update == "replaces":
        parts = _inverted(parts, config.gate, layout.key)
    return {
        str(param): np.ascontiguousarray(part)
        for param, part in parts.items()
        if not (config.coupled and param.gate == "f")  # its place in the arrays, which nothing reads
    }


_BIASES = ("b", "bh")


def write(layout: Layout, parameters: Parameters, config: CellConfig) -> dict[str, NDArray[Any]]:
    """The arrays of a layout that computes the same as those parameters in those equations."""
    _refuse_other_functions(layout, config)
    parts: dict[Param, NDArray[Any]] = {Param.parse(name): np.asarray(value) for name, value in parameters.items()}
    sizes = _sizes(parts)
    parts = _with_biases(layout, parts, config, sizes)
    if layout.update == "replaces":
        parts = _inverted(parts, config.gate, layout.key)
    biased = any(param.space in _BIASES for param in parts)  # a framework's layer has all of its biases, or none
    arrays: dict[str, NDArray[Any]] = {}
    for name, stored, gates in layout.stored():
        slots = [Param(kind, gate) for kind in stored.kinds.split() for gate in gates]
        missing = [slot for slot in slots if slot not in parts]
        if stored.optional and len(missing) == len(slots) and not (biased and stored.kinds in _BIASES):
            continue
        zero = {slot: np.zeros([sizes[axis] for axis in AXES[slot.space]], _dtype(parts)) for slot in missing}
        whole = {**parts, **zero}
        if stored.buffer:
            whole |= {slot: whole[slot].reshape(whole[slot].T.shape).T for slot in slots}
        arrays[name] = pack(whole, pattern(stored.axes), stored.kinds.split(), gates, sizes)
    return arrays


def write_directions(
    layout: Layout, directions: Sequence[Parameters], configs: Sequence[CellConfig]
) -> list[dict[str, NDArray[Any]]]:
    """The arrays of each direction of a layer, with zeros for those that the other direction alone has."""
    written = [write(layout, parameters, config) for parameters, config in zip(directions, configs, strict=True)]
    samples = {name: array for arrays in written for name, array in arrays.items()}
    names = [name for name, *_ in layout.stored() if name in samples]
    return [
        {name: arrays[name] if name in arrays else np.zeros_like(samples[name]) for name in names} for arrays in written
    ]


def read_layers(
    layout: Layout, arrays: Arrays, names: Mapping[str, str], config: CellConfig | None = None
) -> list[Parameters]:
    """The parameters of the layers that lie in those arrays, of `names` in the file by the table's: mostly one."""
    return [read(layout, own, config) for own in split_layers(layout, {name: arrays[names[name]] for name in names})]


def split_layers(layout: Layout, arrays: Arrays) -> list[Arrays]:
    """The arrays of each layer, of a layout that has those of all layers in one."""
    gates = {name: len(of_array) for name, stored, of_array in layout.stored() if name in arrays and stored.layers}
    if not gates:
        return [arrays]
    counts = {divmod(np.shape(arrays[name])[0] if np.ndim(arrays[name]) else 0, gate) for name, gate in gates.items()}
    layers, left = max(counts)
    if len(counts) > 1 or left or not layers:
        raise ConversionError(
            f"{layout.key}: the arrays are not of the same number of layers",
            expected=", ".join(f"{gate} entries of {name} for each layer" for name, gate in gates.items()),
            got=", ".join(f"{name} of shape {np.shape(arrays[name])}" for name in gates),
        )
    return [
        {
            name: array[index * gates[name] : (index + 1) * gates[name]] if name in gates else array
            for name, array in arrays.items()
        }
        for index in range(layers)
    ]


def join_layers(layout: Layout, layers: Sequence[Arrays]) -> dict[str, NDArray[Any]]:
    """The arrays of all layers in one, as `split_layers` takes them apart."""
    shapes = [{name: array.shape for name, array in layer.items()} for layer in layers]
    if any(shape != shapes[0] for shape in shapes):
        raise ConversionError(
            f"{layout.title} has layers of one shape", expected=f"{shapes[0]} for each layer", got=f"{shapes}"
        )
    return {name: np.concatenate([layer[name] for layer in layers]) for name in layers[0]}


def _present(layout: Layout, arrays: Arrays) -> Iterator[tuple[str, Stored, tuple[str, ...]]]:
    for name, stored, gates in layout.stored():
        if name in arrays:
            yield name, stored, gates
        elif not stored.optional:
            raise ConversionError(
                f"{layout.key}: array {name!r} is missing",
                expected=", ".join(name for name, *_ in layout.stored()),
                got=", ".join(arrays) or "no arrays",
            )


def _refuse_other_functions(layout: Layout, config: CellConfig) -> None:
    """Refuse equations that the framework's layer does not have, whatever its weights are."""
    wrong: list[str] = []
    if layout.family != config.family:
        wrong.append(f"it is no {config.family}")
    elif layout.reset != config.reset:
        wrong.append(
            f"it resets the state {layout.reset} the recurrent product, and these weights {config.reset} it: "
            "two functions, which no weights make equal"
        )
    for what in ACTIVATION_FIELDS[config.family]:
        has, wanted = getattr(layout, what) or (config.activation,), getattr(config, what)
        fits_activation = wanted in has or parsed(wanted)[0] in has
        wrong += [] if fits_activation else [f"its {what} activation is {' or '.join(has)}, and not {wanted}"]
    if config.peepholes and not (layout.peepholes or layout.optional_peepholes):
        wrong.append("it has no peepholes")
    if layout.coupled != config.coupled:
        wrong.append(f"its input and forget gates are {'' if layout.coupled else 'not '}coupled")
    if config.clip and not layout.clip:
        wrong.append(f"it does not clip what gates and candidate read, which here is done at {config.clip:g}")
    if layout.projection != config.projection:
        wrong.append(f"it has {'a' if layout.projection else 'no'} projection")
    if (config.cell_clip or config.proj_clip) and not layout.clips:
        wrong.append("it clips no memory")
    if wrong:
        raise ConversionError(
            f"{layout.title} cannot compute this layer: {'; '.join(wrong)}",
            expected=str(layout.cell_config),
            got=str(config),
            do="choose a layout that can: gatewright convert --explain lists them",
        )


def _with_biases(
    layout: Layout, parts: Mapping[Param, NDArray[Any]], config: CellConfig, sizes: Mapping[str, int]
) -> dict[Param, NDArray[Any]]:
    """The parts with the biases that the layout has: added up where it has one, zero where ours has none."""
    slots = {
        Param(kind, gate) for _, stored, gates in layout.stored() for kind in stored.kinds.split() for gate in gates
    }
    with_biases = dict(parts)
    zero = np.zeros(sizes["hidden"], _dtype(parts))
    if config.forget_bias != layout.forget_bias:
        constant = np.asarray(config.forget_bias - layout.forget_bias, zero.dtype)
        forget = Param("b", "f")
        with_biases[forget] = with_biases.get(forget, zero) + constant
    for gate in config.gates:
        outer, inner = Param("b", gate), Param("bh", gate)
        outside, inside = with_biases.get(outer), with_biases.get(inner)
        if inside is not None and inner not in slots:
            if config.reset == "after" and gate == "n" and inside.any():
                raise _no_bias(layout, "bias of the candidate inside of the reset (PyTorch's b_hn)")
            with_biases[outer] = (zero if outside is None else outside) + (
                0 if gate == "n" and config.reset == "after" else inside
            )
            del with_biases[inner]
        if outer in with_biases and outer not in slots and with_biases[outer].any():
            raise _no_bias(layout, f"bias of gate {gate}")
    return with_biases


def _no_bias(layout: Layout, what: str) -> ConversionError:
    return ConversionError(
        f"{layout.title} has no {what}, and here it is not zero",
        expected="zeros",
        do="choose a layout that has it: gatewright convert --explain lists them",
    )


def _inverted(parts: Mapping[Param, NDArray[Any]], gate: str, key: str) -> dict[Param, NDArray[Any]]:
    """The update gate with the other side: 1 - sigmoid(a) is sigmoid(-a)."""
    if not odd_about_half(gate):
        raise ConversionError(
            f"{key}: an update gate of {gate} cannot be inverted by its weights", expected=", ".join(ODD_ABOUT_HALF)
        )
    return {param: -part if param.gate == "z" else part for param, part in parts.items()}


def invert_update(parameters: Parameters, config: CellConfig) -> Parameters:
    """Parameters of a GRU whose update gate of 1 replaces, converted to one whose gate of 1 keeps, or back."""
    parts: dict[Param, NDArray[Any]] = {Param.parse(name): value for name, value in parameters.items()}
    inverted = _inverted(parts, config.gate, str(config))
    return {str(param): value for param, value in inverted.items()}


def with_slope(parameters: Parameters, config: CellConfig, gate: str) -> tuple[Parameters, CellConfig]:
    """Parameters for gates with a hard sigmoid of another slope: clip(a / 5 + 1/2) is clip((6/5 a) / 6 + 1/2)."""
    factor = HARD_SLOPES[config.gate] / HARD_SLOPES[gate]
    gates = tuple(f".{name}" for name in config.gates if name in ("r", "z", "i", "f", "o"))
    steeper = {
        name: (value * np.float64(factor)).astype(value.dtype) if name.endswith(gates) else value
        for name, value in parameters.items()
    }
    return steeper, replace(config, gate=gate, forget_bias=config.forget_bias * factor)


def config_of(layout: Layout, **overrides: Any) -> CellConfig:
    """The cell config of a layer of that layout, with overrides of activations and constants."""
    overrides = {name: value for name, value in overrides.items() if value is not None}
    if not layout.output and "activation" in overrides:
        overrides.setdefault("output", overrides["activation"])
    config = replace(layout.cell_config, **overrides)
    if not layout.output and config.output != config.activation:
        raise ConversionError(
            f"{layout.title} has one activation for the candidate and the output",
            got=f"activation {config.activation}, output {config.output}",
            do="leave output out",
        )
    return config


def _sizes(parts: Mapping[Param, NDArray[Any]]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for (kind, _), part in parts.items():
        sizes |= dict(zip(AXES[kind], part.shape, strict=True))
    return sizes


def _dtype(parts: Mapping[Param, NDArray[Any]]) -> Any:
    return np.result_type(*(part.dtype for part in parts.values()))
