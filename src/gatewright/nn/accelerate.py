"""`accelerate`: swap every recurrent layer of a model, whoever wrote it, for one that runs on the compiled engine."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import nn

from gatewright.nn.layers import GRU, LSTM, RNN
from gatewright.nn.recurrent import Recurrent

_Make = Callable[..., Recurrent]
_SWAPS: dict[type[nn.Module], tuple[_Make, tuple[str, ...]]] = {
    nn.RNN: (RNN, ("nonlinearity",)),
    nn.GRU: (GRU, ()),
    nn.LSTM: (LSTM, ("proj_size",)),
}
_CELLS = (nn.RNNCell, nn.GRUCell, nn.LSTMCell)
_COMMON = ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional")


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

    The new layers hold the very same parameters, so that optimizers, state dicts and references stay valid, and
    compute the same numbers within rounding. Modules that are not exactly of these types (a subclass may do something
    of its own) and layers whose parameters are not their own (weight norm, pruning) are left, each with its reason in
    the report.

        report = gw.nn.accelerate(model)
        print(report)
        report.undo()
    """
    swaps: list[Swap] = []
    places: list[Seat] = []
    done: dict[int, Recurrent] = {}
    for owner, name, path, module in list(_recurrent_modules(model)):
        reason = _obstacle(module, owner)
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
    if isinstance(model, (nn.RNNBase, *_CELLS)):
        yield None, "", "", model
    for path, owner in model.named_modules():
        for name, child in owner.named_children():
            if isinstance(child, (nn.RNNBase, *_CELLS)):
                yield owner, name, f"{path}.{name}" if path else name, child


def _obstacle(module: nn.Module, owner: nn.Module | None) -> str | None:
    if isinstance(module, _CELLS):
        return "a cell is called one step at a time from Python, which takes longer than its arithmetic"
    if type(module) not in _SWAPS:
        return "it is a subclass, which may do something of its own"
    if owner is None:
        return "it has no owner to be replaced in: make it a part of a module, or use gatewright.nn's layer"
    if isinstance(module, torch.jit.ScriptModule):
        return "it is compiled by TorchScript"
    names = {name for names in getattr(module, "_all_weights", []) for name in names}
    if names != set(dict(module.named_parameters(recurse=False))):
        return "its weights are not parameters of its own (weight norm, pruning or another parametrisation)"
    return None


def _swapped(module: nn.Module, backend: str) -> Recurrent:
    """A layer that holds the same parameters and hooks."""
    make, further = _SWAPS[type(module)]
    options = {name: getattr(module, name) for name in (*_COMMON, *further)}
    layer = make(**options, backend=backend, device="meta")
    for name, parameter in module.named_parameters(recurse=False):
        layer.register_parameter(name, parameter)
    for hooks in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"):
        getattr(layer, hooks).update(getattr(module, hooks))
    return layer.train(module.training)
