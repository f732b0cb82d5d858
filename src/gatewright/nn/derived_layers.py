"""Layers that somebody derived from torch.nn's: all that is their own stays, and torch's forward runs on the engine.

A layer stays the object that it is, with its parameters, hooks and attributes; it becomes one of a class between its
own and torch.nn's, so that `super().forward(...)`, or a forward that was not overridden, meets the engine.
"""

from collections.abc import Mapping
from functools import cache
from types import CodeType, new_class
from typing import Any, cast

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from gatewright.nn.recurrent import Recurrent

_LAYER = "_gatewright_layer"
_READ_BY_FORWARD = (
    "check_input",
    "check_hidden_size",
    "check_forward_args",
    "get_expected_hidden_size",
    "get_expected_cell_size",
    "permute_hidden",
    "__getattr__",
)
"""What torch's forward asks of a layer, and the engine does not."""


class _TorchLayerOnEngine(nn.Module):
    """What stands between a class of somebody's own and torch.nn's."""

    def forward(self, input: Tensor | PackedSequence, hx: Any = None) -> Any:
        """As torch.nn's, by the layer that shares the parameters."""
        layer: Recurrent = self.__dict__[_LAYER]
        layer.training, layer.dropout = self.training, cast("float", self.dropout)
        for name in (name for names in layer.packed_names for name in names):
            if name not in layer._parameters:  # computed from others by now  # pyright: ignore[reportPrivateUsage]
                layer.__dict__[name] = getattr(self, name)
        return layer(input, hx)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        """For pickle and copy: the class between was made here, and has no place where it could be imported from."""
        return _restore, (type(self).__mro__[1],), self.__getstate__()  # pyright: ignore[reportAttributeAccessIssue]


class _RNNOnEngine(_TorchLayerOnEngine, nn.RNN):
    pass


class _GRUOnEngine(_TorchLayerOnEngine, nn.GRU):
    pass


class _LSTMOnEngine(_TorchLayerOnEngine, nn.LSTM):
    pass


_BETWEEN: Mapping[type[nn.RNNBase], type[_TorchLayerOnEngine]] = {
    nn.RNN: _RNNOnEngine,
    nn.GRU: _GRUOnEngine,
    nn.LSTM: _LSTMOnEngine,
}


def base_of(module: nn.Module) -> type[nn.RNNBase] | None:
    """The layer of torch.nn that a module's class is derived from."""
    return next((base for base in _BETWEEN if isinstance(module, base)), None)


def is_on_engine(module: nn.Module) -> bool:
    """Whether a layer was put on the engine."""
    return isinstance(module, _TorchLayerOnEngine)


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
    names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "__doc__": kind.__doc__}
    return new_class(kind.__name__, (kind, between), exec_body=lambda space: space.update(names))


def _restore(kind: type[nn.Module]) -> nn.Module:
    made = _derived(kind)
    return made.__new__(made)


def put_on_engine(module: nn.Module, layer: Recurrent) -> None:
    """Let a layer's forward run by another one, which has its parameters."""
    layer._parameters = module._parameters  # the same: what is put in place of one is in both  # pyright: ignore[reportPrivateUsage]
    module.__dict__[_LAYER] = layer  # no child: the parameters are the module's own
    module.__class__ = _derived(type(module))


def take_off_engine(module: nn.Module) -> None:
    """Undo `put_on_engine`."""
    del module.__dict__[_LAYER]
    module.__class__ = type(module).__mro__[1]
