"""`accelerate`: replace every recurrent layer of a model by one that runs on the compiled engine, and other parts."""

import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache

import torch
from torch import nn
from torch.nn import RNNBase, RNNCellBase  # as they are now: programs put our layers in place of torch.nn's
from torch.nn.modules.module import _WrappedHook  # pyright: ignore[reportPrivateUsage]
from torch.nn.utils.parametrize import is_parametrized

from gatewright.errors import OptionError
from gatewright.nn.backends import ENGINES
from gatewright.nn.class_swaps import ClassSwap, class_swaps
from gatewright.nn.derived_layers import base_of, is_on_engine, obstacle_of, put_on_engine, take_off_engine
from gatewright.nn.layers import GRU, LSTM, RNN
from gatewright.nn.recurrent import Recurrent
from gatewright.nn.single_steps import GRUCell, LSTMCell, RNNCell

Replacement = Recurrent | RNNCell | GRUCell | LSTMCell
_CELL = ("input_size", "hidden_size", "bias")
_LAYER = (*_CELL, "num_layers", "batch_first", "dropout", "bidirectional")
_SWAPS: dict[type[nn.Module], tuple[Callable[..., Replacement], tuple[str, ...]]] = {
    nn.RNN: (RNN, (*_LAYER, "nonlinearity")),
    nn.GRU: (GRU, _LAYER),
    nn.LSTM: (LSTM, (*_LAYER, "proj_size")),
    nn.RNNCell: (RNNCell, (*_CELL, "nonlinearity")),
    nn.GRUCell: (GRUCell, _CELL),
    nn.LSTMCell: (LSTMCell, _CELL),
}

_ENGINE = ("auto", "llvm")
_COMPUTED = "its weights are not parameters of its own (weight norm, weight drop, pruning or the like)"


@dataclass(frozen=True, slots=True)
class _Swapped:
    """A layer that was replaced: its owner and name there, its path in the model, the old and the new layer."""

    owner: nn.Module
    name: str
    path: str
    old: nn.Module
    new: Replacement


@dataclass(frozen=True, slots=True)
class Swap:
    """The result for one module: `swapped`, or left as it was, and the `reason`."""

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
    """The result of `accelerate`. `undo()` puts every module back; both layers hold the same parameters."""

    swaps: tuple[Swap, ...]
    _swapped: list[_Swapped] = field(default_factory=list[_Swapped], repr=False)
    _derived: list[nn.Module] = field(default_factory=list[nn.Module], repr=False)
    _reclassed: list[ClassSwap] = field(default_factory=list[ClassSwap], repr=False)

    def __str__(self) -> str:
        return "\n".join(map(str, self.swaps)) or "the model has no recurrent layer"

    def undo(self) -> None:
        """Put the old layers back in their places, with the parameters that the new ones have now.

        Raises OptionError, with the model as it was, where another layer has replaced a new one since, or where its
        weights are computed from others now (weight norm, pruning).
        """
        for swapped in self._swapped:
            _require_as_left(swapped)
        for swap in self._reclassed:
            _require_class(swap)
        while self._swapped:
            swapped = self._swapped.pop()
            for name, parameter in _parameters(swapped.new):
                if getattr(swapped.old, name) is not parameter:  # replaced, as by load_state_dict(assign=True)
                    setattr(swapped.old, name, parameter)
            _rebind_hooks(swapped.old)
            swapped.old.train(swapped.new.training)
            setattr(swapped.owner, swapped.name, swapped.old)
        while self._derived:
            take_off_engine(self._derived.pop())
        while self._reclassed:
            swap = self._reclassed.pop()
            swap.module.__class__ = swap.old


def _require_as_left(swapped: _Swapped) -> None:
    now = getattr(swapped.owner, swapped.name, None)
    if now is not swapped.new:
        problem, do = f"{type(now).__name__} stands there by now", "put the layer of gatewright.nn back"
    elif sorted(name for name, _ in _parameters(swapped.new)) != sorted(_names_of(swapped.old)):
        problem, do = "its weights are not parameters of its own by now", "remove weight norm, pruning or the like"
    else:
        return
    raise OptionError(
        f"the layer {swapped.path!r} cannot be put back",
        expected="it as accelerate left it",
        got=problem,
        do=f"{do} first",
    )


def _require_class(swap: ClassSwap) -> None:
    if type(swap.module) is not swap.new:
        raise OptionError(
            f"the layer {swap.path!r} cannot be put back",
            expected="it as accelerate left it",
            got=f"its class is {type(swap.module).__name__} by now",
            do="remove weight norm, pruning or the like first",
        )


def accelerate(model: nn.Module, backend: str = "auto") -> Report:
    """Replace every torch.nn.RNN, GRU, LSTM and their cells in a model, in place, by gatewright.nn's of the name.

    The new layers hold the very same parameters and hooks, so that optimizers, state dicts and handles stay valid, and
    compute the same numbers within rounding. To isinstance() they are torch.nn.RNNBase, but no torch.nn.LSTM. A layer
    of a class that is derived from torch.nn's stays the object that it is, with all that is its own: only what it calls
    as super().forward(...) runs on the engine.

    Left, each with its reason in the report, are TorchScript, layers to which something was done (weight norm, pruning,
    a forward or buffers of their own), derived classes whose forward does not call torch.nn's, and those that no
    engine runs where they are (on a GPU what cuDNN runs, bfloat16 cells). The last raise OptionError with an engine
    asked for by name, backend="llvm" or "triton", and the model stays as it was.

    Two further kinds of modules stay the objects that they are, and get the class of gatewright.nn that is derived from
    theirs. A torch.nn.Linear of 65,536 weights or more becomes a gatewright.nn.Linear where that is measured to be
    faster on this machine; it takes up to a second to measure sizes that are new to the process. A torch.nn.Embedding
    becomes a gatewright.nn.FoldedEmbedding where a recurrent layer that runs on the engine reads vectors of its width.

        report = gw.nn.accelerate(model)
        print(report)
        report.undo()

    An accelerated model is traced and exported as any other: torch.jit.trace, torch.fx, torch.export and
    torch.onnx.export record it for any number of steps and rows; torch.jit.script cannot, so undo() first. Another
    process that loads such a trace or program needs `import gatewright.nn` where the graph holds gatewright::run.
    """
    report = accelerate_recurrent(model, backend)
    if backend not in _ENGINE:
        return report
    widths = {width for module in model.modules() if (width := _width_on_engine(module)) is not None}
    swaps: list[Swap] = []
    for swap in list(class_swaps(model, widths)):
        swaps.append(Swap(swap.path, swap.old.__name__, swapped=swap.new is not None, reason=swap.reason))
        if swap.new is not None:
            swap.module.__class__ = swap.new
            report._reclassed.append(swap)  # pyright: ignore[reportPrivateUsage]
    return replace(report, swaps=(*report.swaps, *swaps))


def _width_on_engine(module: nn.Module) -> int | None:
    """The features of the input of a recurrent layer that runs on the engine."""
    if isinstance(module, Recurrent):
        return module.input_size
    return module.input_size if isinstance(module, RNNBase) and is_on_engine(module) else None


def accelerate_recurrent(model: nn.Module, backend: str = "auto") -> Report:
    """`accelerate` for recurrent layers alone."""
    modules = list(_recurrent_modules(model))
    # All replacements are made before any is put in its place: an error leaves the model as it was.
    replacements = {id(module): _replacement(module, owner, backend) for owner, _, _, module in modules}
    swaps: list[Swap] = []
    replaced: list[_Swapped] = []
    derived: list[nn.Module] = []
    for owner, name, path, module in modules:
        new = replacements[id(module)]  # one module in two places stays one module
        kind = _kind(module)
        if isinstance(new, str):
            swaps.append(Swap(path, kind, swapped=False, reason=new))
            continue
        plan = new.plan()
        reason = f"{plan.backend}: {plan.reason}"
        if type(module) not in _SWAPS:  # of a derived class
            reason += f"; it stays a {kind}, whose calls of torch's forward run so"
            if module not in derived:
                assert isinstance(new, Recurrent)
                put_on_engine(module, new)
                derived.append(module)
        elif owner is not None:
            replaced.append(_Swapped(owner, name, path, module, new))
            setattr(owner, name, new)
            _rebind_hooks(new)
        swaps.append(Swap(path, kind, swapped=True, reason=reason))
    return Report(tuple(swaps), replaced, derived)


def _recurrent_modules(model: nn.Module) -> Iterator[tuple[nn.Module | None, str, str, nn.Module]]:
    """Every recurrent module of torch's, with its owner, its name there, and its path."""
    if _is_torchs(model):
        yield None, "", "", model
    for path, owner in model.named_modules():
        # named_children() would list a child under one of its names only.
        for name, child in owner._modules.items():  # pyright: ignore[reportPrivateUsage]
            if child is not None and _is_torchs(child):
                yield owner, name, f"{path}.{name}" if path else name, child


def _is_torchs(module: nn.Module) -> bool:
    if isinstance(module, torch.jit.ScriptModule):
        return _kind(module) in {kind.__name__ for kind in _SWAPS}
    is_recurrent = isinstance(module, RNNBase | RNNCellBase)
    return is_recurrent and not isinstance(module, Replacement) and not is_on_engine(module)


def _kind(module: nn.Module) -> str:
    if isinstance(module, torch.jit.ScriptModule):
        return str(module.original_name)
    return type(module).__name__


def _obstacle(module: nn.Module, owner: nn.Module | None) -> str | None:
    if isinstance(module, torch.jit.ScriptModule):
        return "it is TorchScript, in which nothing can be replaced: accelerate the model before it is scripted"
    if is_parametrized(module):
        return _COMPUTED
    if base_of(module) is None and type(module) not in _SWAPS:
        return "it is derived from none of torch.nn's layers"
    if sorted(_names_of(module)) != sorted(name for name, _ in _parameters(module)):
        return _COMPUTED
    return obstacle_of(module) if type(module) not in _SWAPS else _obstacle_to_replace(module, owner)


def _obstacle_to_replace(module: nn.Module, owner: nn.Module | None) -> str | None:
    if owner is None:
        return "it has no owner to be replaced in: make it a part of a module, or use gatewright.nn's layer"
    overridden = [name for name in _added(module) if hasattr(type(module), name)]
    strange = [name for name, _ in (*module.named_buffers(recurse=False), *module.named_children())] + overridden
    if strange:
        return f"it has something of its own that torch's {type(module).__name__} has not: {', '.join(strange)}"
    return None


def _names_of(module: nn.Module) -> list[str]:
    """The names of the parameters that an unaltered module of torch's has."""
    if isinstance(module, RNNCellBase):
        return ["weight_ih", "weight_hh", *(["bias_ih", "bias_hh"] if module.bias else [])]
    return [name for names in getattr(module, "_all_weights", []) for name in names]


def _parameters(module: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """The parameters of a module itself, each under all of its names."""
    named = module.named_parameters(recurse=False, remove_duplicate=False)
    return [(name, parameter) for name, parameter in named if isinstance(parameter, nn.Parameter)]  # pyright: ignore[reportUnnecessaryIsInstance]


def _added(module: nn.Module) -> list[str]:
    """The attributes that were added to a module of torch's."""
    compiled = "_compiled_call_impl"  # by module.compile(): it calls the old layer, and undo() puts that back with it
    return [name for name in vars(module) if name not in _attributes(type(module)) and name != compiled]


@cache
def _attributes(kind: type[nn.Module]) -> frozenset[str]:
    return frozenset(vars(kind(1, 1, device="meta")))  # where no random numbers are drawn


def _rebind_hooks(module: nn.Module) -> None:
    """Hooks that are called with the module they were registered on are called with this one from now on."""
    for hook in module._load_state_dict_pre_hooks.values():  # pyright: ignore[reportPrivateUsage]
        if isinstance(hook, _WrappedHook) and hook.with_module:
            hook.module = weakref.ref(module)


def _replacement(module: nn.Module, owner: nn.Module | None, backend: str) -> Replacement | str:
    """The layer that will run a module, with the same parameters and hooks, or why there is none."""
    obstacle = _obstacle(module, owner)
    if obstacle is not None:
        return obstacle
    make, options = _SWAPS[base_of(module) or type(module)]
    layer = make(**{name: getattr(module, name) for name in options}, backend=backend, device="meta")
    for name, parameter in _parameters(module):
        layer.register_parameter(name, parameter)
    plan = layer.plan()
    if backend == "auto" and plan.backend not in ENGINES:
        return plan.reason  # torch's own would run it
    if type(module) not in _SWAPS:
        return layer
    for name, value in vars(module).items():
        if "_hook" in name:  # the very same, so that handles remove from both
            setattr(layer, name, value)
    for name in _added(module):
        setattr(layer, name, getattr(module, name))
    return layer.train(module.training)
