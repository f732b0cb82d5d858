"""`quantize`: a copy of a model whose recurrent layers multiply whole numbers of eight bits."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from gatewright.errors import OptionError
from gatewright.int8 import Loss
from gatewright.nn.accelerate import accelerate_recurrent
from gatewright.nn.derived_layers import layer_of
from gatewright.nn.layers import GRU, LSTM, RNN
from gatewright.nn.quantized import QuantizedRecurrent
from gatewright.nn.recurrent import Recurrent

_MODEL = "model"
_KINDS = (Recurrent, RNN, GRU, LSTM)
_DERIVED = "its class is derived from a layer's, and has code of its own, which a quantised layer would not run"
_CELL = "it is a cell of one step, and only layers of sequences and streams have weights in int8"


@dataclass(frozen=True)
class Quantization:
    """The result of `quantize`.

    - `model`: the copy, for inference.
    - `layers`: the names of its recurrent layers in eight bits.
    - `left`: recurrent layers and cells that stayed in float32, and why.
    - `loss`: how far its outputs on the sample are from those of the model; None without a sample.
    """

    model: nn.Module
    layers: tuple[str, ...]
    left: Mapping[str, str]
    loss: Loss | None

    def __str__(self) -> str:
        lines = [f"{name or 'the model itself'}: weights in int8" for name in self.layers]
        lines += [f"{name or 'the model itself'}: left, {reason}" for name, reason in self.left.items()]
        return "\n".join([*lines, *([str(self.loss)] if self.loss else [])])


def quantize(model: nn.Module, sample: Tensor | Sequence[Any] | None = None) -> Quantization:
    """Copy a layer or a model for inference, with the matrices of its recurrent layers in eight bits.

        small = gw.nn.quantize(model, sample)
        print(small)
        scores = small.model(x)

    Every recurrent layer of gatewright.nn and of torch.nn becomes a `QuantizedRecurrent` in the copy: each row of a
    matrix has a scale, vectors are rounded when they are multiplied, sums, gates and states are float32. Any cell can
    be quantised, and nothing is calibrated. `sample` is an input of the model, or a tuple of its arguments; what the
    copy loses on it is measured.

    The copy is in evaluation, and has no gradients. Its matrices take a quarter of the memory of float32. Left as they
    are, each with its reason in the result, are cells of one step, and layers of classes with code of their own.

    Raises OptionError for a model without recurrent layers, and for layers that are not float32 on the CPU or have
    matrices that are not finite.
    """
    holder = nn.ModuleDict({_MODEL: copy.deepcopy(model).eval().requires_grad_(requires_grad=False)})
    report = accelerate_recurrent(holder)  # within a holder, a layer alone has an owner too
    left = {_name(swap.name): swap.reason for swap in report.swaps if not swap.swapped}
    left |= {_name(name): _CELL for name, module in holder.named_modules() if isinstance(module, nn.RNNCellBase)}
    left |= {_name(name): _DERIVED for name, module in holder.named_modules() if layer_of(module) is not module}
    layers = {name: layer for name, layer in holder.named_modules() if isinstance(layer, Recurrent)}
    left |= {_name(name): reason for name, layer in layers.items() if (reason := _obstacle(layer))}
    chosen = {name: layer for name, layer in layers.items() if _name(name) not in left}
    if not chosen:
        raise OptionError(
            "the model has no recurrent layer that can be quantised",
            expected="layers of gatewright.nn, or torch.nn's RNN, GRU and LSTM",
            got="; ".join(f"{name}: {reason}" for name, reason in left.items()) or type(model).__name__,
        )
    for name, layer in chosen.items():
        _require_float32(_name(name), layer)
    _replace(holder, {layer: _quantized(layer) for layer in chosen.values()})
    copied = holder[_MODEL]
    names = tuple(map(_name, chosen))
    return Quantization(copied, names, left, None if sample is None else _loss(model, copied, sample))


def _name(path: str) -> str:
    return path.removeprefix(_MODEL).removeprefix(".")


def _obstacle(layer: Recurrent) -> str | None:
    """Why a layer stays as it is; None where it does not."""
    if isinstance(layer, QuantizedRecurrent):
        return "it is quantised already"
    kind = type(layer).__mro__[1] if is_parametrized(layer) else type(layer)
    if kind not in _KINDS:
        return _DERIVED
    names = {name for names in layer.packed_names for name in names}
    has_all = is_parametrized(layer) or names == {name for name, _ in layer.named_parameters(recurse=False)}
    return None if has_all else "its weights are not parameters of its own (weight norm, pruning or the like)"


def _quantized(layer: Recurrent) -> QuantizedRecurrent:
    """The quantised layer, from one that nothing else needs."""
    if is_parametrized(layer):
        # torch's remove_parametrizations would change the class, which the copy shares with the caller's layer.
        values = {name: getattr(layer, name).detach() for names in layer.packed_names for name in names}
        layer.__class__ = type(layer).__mro__[1]
        del layer.parametrizations
        for name, value in values.items():
            layer._parameters[name] = nn.Parameter(value, requires_grad=False)  # pyright: ignore[reportPrivateUsage]
    return QuantizedRecurrent(layer)


def _replace(holder: nn.Module, replacements: Mapping[nn.Module, nn.Module]) -> None:
    """Put modules in the places of others: in all of them, where a module has several."""
    for owner in list(holder.modules()):
        for name, child in list(owner._modules.items()):  # pyright: ignore[reportPrivateUsage]
            if child is not None and child in replacements:
                owner._modules[name] = replacements[child]  # pyright: ignore[reportPrivateUsage]


def _require_float32(name: str, layer: Recurrent) -> None:
    for parameter in layer.parameters():
        if parameter.dtype != torch.float32 or not parameter.is_cpu:
            raise OptionError(
                f"the layer {name!r} cannot be quantised" if name else "the layer cannot be quantised",
                expected="parameters in float32 on the CPU",
                got=f"{str(parameter.dtype).removeprefix('torch.')} on {parameter.device.type}",
                do="call quantize(model.float().cpu(), ...)",
            )


@torch.inference_mode()
def _loss(model: nn.Module, copied: nn.Module, sample: Tensor | Sequence[Any]) -> Loss:
    arguments = (sample,) if isinstance(sample, Tensor) else tuple(sample)
    modes = {module: module.training for module in model.modules()}
    try:
        want = _first(model.eval()(*arguments))
    finally:
        for module, training in modes.items():
            module.training = training
    got = _first(copied(*arguments))
    return Loss.between(want.double().numpy(), got.double().numpy(), "the sample")


def _first(result: Any) -> Tensor:
    """The first tensor of a model's result."""
    tensor = next(_tensors(result), None)
    if tensor is None:
        raise OptionError("the model's result has no tensor to compare", got=type(result).__name__)
    return tensor


def _tensors(result: Any) -> Iterator[Tensor]:
    if isinstance(result, Tensor):
        yield result
    elif isinstance(result, Mapping):
        for value in result.values():
            yield from _tensors(value)
    elif isinstance(result, Sequence) and not isinstance(result, str):
        for value in result:
            yield from _tensors(value)
