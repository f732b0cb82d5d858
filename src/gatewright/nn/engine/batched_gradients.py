"""Batched gradients: torch.autograd.grad(is_grads_batched=True) and functional.jacobian(vectorize=True).

Both run the backward pass once, over batched tensors of an older kind than torch.func.vmap's. These hide an axis, and
a Python autograd function cannot see it.
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor
from torch._C._functorch import (  # pyright: ignore[reportMissingImports]
    is_legacy_batchedtensor,  # pyright: ignore[reportPrivateUsage]
)

from gatewright.nn.engine.backward import Run
from gatewright.nn.engine.differentiable import Differentiable
from gatewright.nn.engine.mapped import mapped


def has_batches(tensors: Iterable[Tensor | None]) -> bool:
    """Whether any tensor is batched in this way."""
    return any(tensor is not None and is_legacy_batchedtensor(tensor) for tensor in tensors)


def run_batches(run: Run, spec: Differentiable, values: Mapping[str, Tensor], level: int = 0) -> dict[str, Tensor]:
    """As `run`, for batched tensors: the hidden axis is mapped as by vmap. There may be axes at several levels."""
    level = level or _innermost_level()

    def run_below(spec: Differentiable, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return run_batches(run, spec, values, level - 1) if has_batches(values.values()) else run(spec, values)

    # With the axis of the level in front; of one element for a tensor without an axis of that level.
    shown = {name: torch._remove_batch_dim(x, level, 1, 0) for name, x in values.items() if has_batches([x])}  # pyright: ignore[reportPrivateUsage]
    count = max(value.shape[0] for value in shown.values())
    shown = {name: value.expand(count, *value.shape[1:]) for name, value in shown.items()}
    dims = [0 if name in shown else None for name in spec.operands]
    tensors = [shown.get(name, values[name]) for name in spec.operands]
    results, places = mapped(run_below, spec, count, dims, tensors)
    hidden = (torch._add_batch_dim(x, place, level) for x, place in zip(results, places, strict=True))  # pyright: ignore[reportPrivateUsage]
    return dict(zip(spec.results, hidden, strict=True))


def _innermost_level() -> int:
    level = torch._C._vmapmode_increment_nesting()  # pyright: ignore[reportPrivateUsage]
    torch._C._vmapmode_decrement_nesting()  # pyright: ignore[reportPrivateUsage]
    return level - 1
