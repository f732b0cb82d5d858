"""Layers of classes derived from torch.nn's: torch's forward runs on the engine, everything else stays.

The layer remains the same object with its parameters, hooks and attributes. Its class becomes one that has a class of
ours between its own and torch.nn's: `super().forward(...)`, or a forward that was not overridden, finds the engine.
"""

from collections.abc import Mapping
from functools import cache
from types import CodeType, new_class
from typing import Any, cast

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from gatewright.nn.recurrent import Recurrent

_LAYER, _CLASS = "_gatewright_layer", "_gatewright_class"
_READ_BY_FORWARD = (
    "check_input",
    "check_hidden_size",
    "check_forward_args",
    "get_expected_hidden_size",
    "get_expected_cell_size",
    "permute_hidden",
    "__getattr__",
)
"""Methods that torch's forward calls and the engine does not: an override would be ignored."""


class _TorchLayerOnEngine(nn.Module):
    """The class between a derived class and torch.nn's."""

    def forward(self, input: Tensor | PackedSequence, hx: Any = None) -> Any:
        """As torch.nn's, by the layer that shares the parameters."""
        layer: Recurrent = self.__dict__[_LAYER]
        layer.training, layer.dropout = self.training, cast("float", self.dropout)
        for name in (name for names in layer.packed_names for name in names):
            if name not in layer._parameters:  # computed from others now  # pyright: ignore[reportPrivateUsage]
                layer.__dict__[name] = getattr(self, name)
        return layer(input, hx)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        """For pickle and copy: the class was created here, and cannot be imported by a name."""
        return _restore, (_class_off_engine(self),), self.__getstate__()  # pyright: ignore[reportAttributeAccessIssue]


_BETWEEN: Mapping[type[nn.RNNBase], type[_TorchLayerOnEngine]] = {
    base: type(f"{base.__name__}OnEngine", (_TorchLayerOnEngine, base), {}) for base in (nn.RNN, nn.GRU, nn.LSTM)
}


def base_of(module: nn.Module) -> type[nn.RNNBase] | None:
    """The layer of torch.nn that a module's class is derived from."""
    return next((base for base in _BETWEEN if isinstance(module, base)), None)


def is_on_engine(module: nn.Module) -> bool:
    """Whether a layer was put on the engine."""
    return isinstance(module, _TorchLayerOnEngine)


def layer_of(module: nn.Module) -> nn.Module:
    """The layer that runs a module's forward: one of ours, or the module itself."""
    return module.__dict__.get(_LAYER, module)


def obstacle_of(module: nn.Module) -> str | None:
    """Why a layer of a derived class cannot be put on the engine; None where it can."""
    base = base_of(module)
    own = [kind for kind in type(module).__mro__ if base and kind not in base.__mro__]
    overridden = [name for name in _READ_BY_FORWARD if any(name in vars(kind) for kind in own)]
    if overridden:
        return f"it is a subclass that overrides {', '.join(overridden)}, which torch's forward calls"
    forwards = [vars(kind)["forward"] for kind in own if "forward" in vars(kind)]
    if "forward" in vars(module) or not all(map(_calls_super, forwards)):
        return "it is a subclass whose own forward does not call super().forward"
    return None


def _calls_super(function: Any) -> bool:
    code = getattr(function, "__code__", None)
    return isinstance(code, CodeType) and "super" in code.co_names and "forward" in code.co_names


@cache
def _derived(kind: type[nn.Module]) -> type[nn.Module]:
    between = next(between for base, between in _BETWEEN.items() if issubclass(kind, base))
    names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "__doc__": kind.__doc__, _CLASS: kind}
    bases = (between,) if kind in between.__mro__ else (kind, between)  # torch.nn's own class comes after `between`
    return new_class(kind.__name__, bases, exec_body=lambda space: space.update(names))


def _class_off_engine(module: nn.Module) -> type[nn.Module]:
    return getattr(type(module), _CLASS)


def _restore(kind: type[nn.Module]) -> nn.Module:
    derived = _derived(kind)
    return derived.__new__(derived)


def put_on_engine(module: nn.Module, layer: Recurrent) -> None:
    """Let `layer`, which gets the module's parameters, run its forward."""
    layer._parameters = module._parameters  # the same dict: both see a parameter that is replaced  # pyright: ignore[reportPrivateUsage]
    module.__dict__[_LAYER] = layer  # not a child: the parameters would be listed twice
    module.__class__ = _derived(type(module))


def take_off_engine(module: nn.Module) -> None:
    """Undo `put_on_engine`."""
    del module.__dict__[_LAYER]
    module.__class__ = _class_off_engine(module)
