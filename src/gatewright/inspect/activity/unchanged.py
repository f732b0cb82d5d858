"""A model that runs to be looked at, and is as before afterwards."""

from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from copy import copy
from typing import Any, cast

import torch
from torch import Tensor, nn

_COLLECTIONS = (list, dict, set, deque, defaultdict, OrderedDict, Counter)
_OF_EVERY_MODULE = frozenset(vars(nn.Module()))


@contextmanager
def evaluation_mode(model: nn.Module) -> Generator[None]:
    """Evaluation mode; afterwards the mode of every module is as before."""
    modes = {module: module.training for module in model.modules()}
    try:
        model.eval()
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def unchanged(model: nn.Module) -> Generator[None]:
    """Evaluation mode. Afterwards modes, buffers, attributes and random numbers are as before.

    Attributes count as well: many modules keep a hidden state, a counter or a list in one from call to call.
    """
    kept = [_Kept(module) for module in model.modules() if not isinstance(module, torch.jit.ScriptModule)]
    generator = torch.get_rng_state()
    try:
        with evaluation_mode(model):
            yield
    finally:
        for module in kept:
            module.restore()
        torch.set_rng_state(generator)


class _Kept:
    """The attributes and buffers of one module, and copies of the values of its tensors that are no parameters."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.attributes = _own_attributes(module)
        self.buffers: dict[str, Tensor | None] = dict(vars(module)["_buffers"])
        held = list(_held(self.attributes.values(), set()))
        self.contents = [(value, copy(value)) for value in held if type(value) in _COLLECTIONS]
        tensors = [value for value in held if isinstance(value, Tensor) and not isinstance(value, nn.Parameter)]
        tensors += [buffer for buffer in self.buffers.values() if buffer is not None]
        self.values = [(tensor, _version(tensor), tensor.detach().clone()) for tensor in tensors]

    def restore(self) -> None:
        """Put back what is no longer the same."""
        own = vars(self.module)
        for name in _own_attributes(self.module).keys() - self.attributes.keys():
            del own[name]
        own |= self.attributes
        own["_buffers"].clear()
        own["_buffers"].update(self.buffers)
        for collection, content in self.contents:
            _refill(collection, content)
        for tensor, version, value in self.values:
            if version is None or _version(tensor) != version:  # a new version would empty caches of packed weights
                with torch.no_grad():
                    tensor.copy_(value)


def _own_attributes(module: nn.Module) -> dict[str, Any]:
    """The attributes of a module that its own code may change from call to call.

    Not those of nn.Module itself, and not private ones of recurrent layers and of gatewright's, which are caches.
    """
    has_caches = isinstance(module, nn.RNNBase) or any(
        kind.__module__.startswith("gatewright.") for kind in type(module).__mro__
    )
    return {
        name: value
        for name, value in vars(module).items()
        if name not in _OF_EVERY_MODULE and not (has_caches and name.startswith("_"))
    }


def _held(values: Iterable[Any], known: set[int]) -> Generator[Any]:
    """The values, and what is in collections among them, such as the states of an LSTM."""
    for value in values:
        if id(value) not in known:  # a list may hold itself
            known.add(id(value))
            yield value
            yield from _held(_items(value), known)


def _items(value: Any) -> Iterable[Any]:
    """What a collection holds."""
    if isinstance(value, dict):
        return list(cast("dict[Any, Any]", value).values())
    return cast("Iterable[Any]", value) if isinstance(value, (list, tuple, deque)) else ()


def _refill(collection: Any, content: Any) -> None:
    """Give a list, dict, set or queue its content of before."""
    if _identities(collection) != _identities(content):
        collection.clear()
        collection.extend(content) if isinstance(collection, (list, deque)) else collection.update(content)


def _identities(collection: Any) -> list[int]:
    """What a collection holds, told by identity: many values cannot be compared, as arrays."""
    return [*map(id, collection), *(map(id, collection.values()) if isinstance(collection, dict) else ())]


def _version(tensor: Tensor) -> int | None:
    """A number that grows when a tensor is changed in place; None for a tensor that does not count."""
    return None if tensor.is_inference() else tensor._version  # pyright: ignore[reportPrivateUsage]
