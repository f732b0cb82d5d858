"""`accelerate`: swap every recurrent layer of a model, whoever wrote it, for one that runs on the compiled engine."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import nn

from gatewright.nn.layers import GRU, LSTM, RNN
from gatewright.nn.recurrent import Recurrent
from gatewright.nn.single_steps import TORCH_IS_FASTER, GRUCell, LSTMCell, RNNCell

Swapped = Recurrent | RNNCell | GRUCell | LSTMCell
_CELL = ("input_size", "hidden_size", "bias")
_LAYER = (*_CELL, "num_layers", "batch_first", "dropout", "bidirectional")
_SWAPS: dict[type[nn.Module], tuple[Callable[..., Swapped], tuple[str, ...]]] = {
    nn.RNN: (RNN, (*_LAYER, "nonlinearity")),
    nn.GRU: (GRU, _LAYER),
    nn.LSTM: (LSTM, (*_LAYER, "proj_size")),
    nn.RNNCell: (RNNCell, (*_CELL, "nonlinearity")),
    nn.GRUCell: (GRUCell, _CELL),
    nn.LSTMCell: (LSTMCell, _CELL),
}
_HOOKS = (
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_backward_hooks",
    "_backward_pre_hooks",
)


Seat = tuple[nn.Module, str, nn.Module]
"""A module that holds another, its name there, and the one that was there before."""


@dataclass(frozen=True, slots=True)
class Swap:
    """What became of one recurrent module: `swapped`, or left as it was for a `reason`."""

    name: str
    kind: str
    swapped: bool
    reason: str

    def __str__(self) -> str:
        return (
            f"{self.name or 'the model itself'} ({self.kind}): {'swapped' if self.swapped else 'left'}, {self.reason}"
        )


@dataclass(frozen=True)
class Report:
    """What `accelerate` did. `undo()` puts every module back; the parameters were the same all along."""

    swaps: tuple[Swap, ...]
    places: list[tuple[nn.Module, str, nn.Module]] = field(
        default_factory=list[tuple[nn.Module, str, nn.Module]], repr=False
    )

    def __str__(self) -> str:
        return "\n".join(map(str, self.swaps)) or "the model has no recurrent layer"

    def undo(self) -> None:
        """Put the layers that were swapped out back in their places."""
        while self.places:
            owner, name, old = self.places.pop()
            old.train(getattr(owner, name).training)
            setattr(owner, name, old)


def accelerate(model: nn.Module, backend: str = "auto") -> Report:
    """Replace every torch.nn.RNN, GRU and LSTM within a model, in place, by the layer of that name in gatewright.nn.

    The new layers hold the very same parameters and hooks, so that optimizers, state dicts and handles stay valid, and
    compute the same numbers within rounding. Modules that are not exactly of these types (a subclass may do something
    of its own) and layers whose parameters are not their own (weight norm, pruning) are left, each with its reason in
    the report. So are torch.nn's RNNCell, GRUCell and LSTMCell, since a single step is fastest there; backend="llvm"
    swaps them too.

        report = gw.nn.accelerate(model)
        print(report)
        report.undo()
    """
    swaps: list[Swap] = []
    places: list[Seat] = []
    done: dict[int, Swapped] = {}
    for owner, name, path, module in list(_recurrent_modules(model)):
        reason = _obstacle(module, owner, backend)
        if reason is None and owner is not None:
            if id(module) not in done:  # one module in two places stays one module
                done[id(module)] = _swapped(module, backend)
            places.append((owner, name, module))
            setattr(owner, name, done[id(module)])
            reason = str(done[id(module)].plan())
            swaps.append(Swap(path, type(module).__name__, swapped=True, reason=reason))
        else:
            swaps.append(Swap(path, type(module).__name__, swapped=False, reason=str(reason)))
    return Report(tuple(swaps), places)


def _recurrent_modules(model: nn.Module) -> Iterator[tuple[nn.Module | None, str, str, nn.Module]]:
    """Every recurrent module of torch's, with the module that holds it, its name there, and its path."""
    if _is_torchs(model):
        yield None, "", "", model
    for path, owner in model.named_modules():
        for name, child in owner.named_children():
            if _is_torchs(child):
                yield owner, name, f"{path}.{name}" if path else name, child


def _is_torchs(module: nn.Module) -> bool:
    return isinstance(module, nn.RNNBase | nn.RNNCellBase) and not isinstance(module, RNNCell | GRUCell | LSTMCell)


def _obstacle(module: nn.Module, owner: nn.Module | None, backend: str) -> str | None:
    if type(module) not in _SWAPS:
        return "it is a subclass, which may do something of its own"
    if isinstance(module, nn.RNNCellBase) and backend != "llvm":
        return TORCH_IS_FASTER
    if owner is None:
        return "it has no owner to be replaced in: make it a part of a module, or use gatewright.nn's layer"
    if isinstance(module, torch.jit.ScriptModule):
        return "it is compiled by TorchScript"
    if isinstance(module, nn.RNNCellBase):
        names = {"weight_ih", "weight_hh"} | ({"bias_ih", "bias_hh"} if module.bias else set())
    else:
        names = {name for names in getattr(module, "_all_weights", []) for name in names}
    if names != set(dict(module.named_parameters(recurse=False))):
        return "its weights are not parameters of its own (weight norm, pruning or another parametrisation)"
    return None


def _swapped(module: nn.Module, backend: str) -> Swapped:
    """A layer that holds the same parameters and hooks."""
    make, options = _SWAPS[type(module)]
    layer = make(**{name: getattr(module, name) for name in options}, backend=backend, device="meta")
    for name, parameter in module.named_parameters(recurse=False):
        layer.register_parameter(name, parameter)
    for hooks in _HOOKS:  # the very same, so that handles remove from both
        setattr(layer, hooks, getattr(module, hooks))
    return layer.train(module.training)
