"""A model that runs to be looked at, and is as before afterwards."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def unchanged(model: nn.Module) -> Generator[None]:
    """Evaluation mode. Afterwards modes, buffers, attributes and random numbers are as before.

    Attributes count as well: many modules keep a hidden state or a counter in one from call to call.
    """
    modes = {module: module.training for module in model.modules()}
    kept = [_Kept(module) for module in modes if not isinstance(module, torch.jit.ScriptModule)]
    generator = torch.get_rng_state()
    try:
        model.eval()
        yield
    finally:
        for module in kept:
            module.restore()
        for module, mode in modes.items():
            module.training = mode
        torch.set_rng_state(generator)


class _Kept:
    """The attributes and buffers of one module, and copies of the values of its tensors that are no parameters."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.attributes = _public(module)
        self.buffers: dict[str, Tensor | None] = dict(vars(module)["_buffers"])
        tensors = [*self.buffers.values(), *_tensors(self.attributes.values())]
        self.values = [(tensor, _version(tensor), tensor.detach().clone()) for tensor in tensors if tensor is not None]

    def restore(self) -> None:
        """Put back what is no longer the same."""
        own = vars(self.module)
        for name in _public(self.module).keys() - self.attributes.keys():
            del own[name]
        own |= self.attributes
        own["_buffers"].clear()
        own["_buffers"].update(self.buffers)
        for tensor, version, value in self.values:
            if version is None or _version(tensor) != version:  # a new version would empty caches of packed weights
                with torch.no_grad():
                    tensor.copy_(value)


def _public(module: nn.Module) -> dict[str, Any]:
    return {name: value for name, value in vars(module).items() if not name.startswith("_")}


def _tensors(values: Any) -> Generator[Tensor]:
    """The tensors among values, and in tuples and lists among them, such as the states of an LSTM."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (tuple, list)):
            yield from _tensors(value)


def _version(tensor: Tensor) -> int | None:
    """A number that grows when a tensor is changed in place; None for a tensor that does not count."""
    return None if tensor.is_inference() else tensor._version  # pyright: ignore[reportPrivateUsage]
