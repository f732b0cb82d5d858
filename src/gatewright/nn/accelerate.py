"""`accelerate`: swap every recurrent layer of a model, whoever wrote it, for one that runs on the compiled engine."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

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
    compute the same numbers within rounding. They are no torch.nn.LSTM to isinstance(), though.

    Left, each with its reason in the report, are modules that are not exactly of these types (a subclass may do
    something of its own), layers whose parameters are not their own (weight norm, pruning), those that the compiled
    engine cannot run where they are (a GPU, bfloat16), and torch.nn's RNNCell, GRUCell and LSTMCell: a single step is
    fastest there. backend="llvm" swaps cells too, and raises OptionError, with the model as it was, for what the engine
    cannot run.

        report = gw.nn.accelerate(model)
        print(report)
        report.undo()
    """
    seats = list(_recurrent_modules(model))
    # everything is made before anything is put in its place: an error leaves the model as it was
    made = {id(module): _replacement(module, owner, backend) for owner, _, _, module in seats}
    swaps: list[Swap] = []
    places: list[Seat] = []
    for owner, name, path, module in seats:
        new = made[id(module)]  # one module in two places stays one module
        kind = type(module).__name__
        if isinstance(new, str) or owner is None:
            swaps.append(Swap(path, kind, swapped=False, reason=str(new)))
        else:
            places.append((owner, name, module))
            setattr(owner, name, new)
            plan = new.plan()
            swaps.append(Swap(path, kind, swapped=True, reason=f"{plan.backend}: {plan.reason}"))
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
    if isinstance(module, nn.RNNCellBase):
        names = {"weight_ih", "weight_hh"} | ({"bias_ih", "bias_hh"} if module.bias else set())
    else:
        names = {name for names in getattr(module, "_all_weights", []) for name in names}
    own = dict(module.named_parameters(recurse=False))
    if names != set(own) or not all(isinstance(one, nn.Parameter) for one in own.values()):  # pyright: ignore[reportUnnecessaryIsInstance]
        return "its weights are not parameters of its own (weight norm, weight drop, pruning or the like)"
    return None


def _replacement(module: nn.Module, owner: nn.Module | None, backend: str) -> Swapped | str:
    """A layer that holds the same parameters and hooks, or why there is none."""
    obstacle = _obstacle(module, owner, backend)
    if obstacle is not None:
        return obstacle
    make, options = _SWAPS[type(module)]
    layer = make(**{name: getattr(module, name) for name in options}, backend=backend, device="meta")
    for name, parameter in module.named_parameters(recurse=False):
        layer.register_parameter(name, parameter)
    plan = layer.plan()
    if backend == "auto" and plan.backend != "llvm":
        return plan.reason  # operation by operation it would only be slower
    for name, value in vars(module).items():
        if "_hook" in name:  # the very same, so that handles remove from both
            setattr(layer, name, value)
    return layer.train(module.training)
