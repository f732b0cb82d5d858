"""Whoever watches the operations that run by a TorchDispatchMode, such as torch.utils.flop_counter.FlopCounterMode.

A layer that is watched runs the engine as the operation `gatewright::run`, which such a mode can see and count.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch.utils.flop_counter import register_flop_formula

from gatewright.axes import bind
from gatewright.lang.ops import Op
from gatewright.nn.graphs.custom_ops import operation


def is_watched() -> bool:
    """Whether a TorchDispatchMode is at work."""
    return torch._C._len_torch_dispatch_stack() > 0  # pyright: ignore[reportPrivateUsage]


@register_flop_formula(torch.ops.gatewright.run)
def products(key: str, values: Sequence[torch.Size], *_: Any, **__: Any) -> int:
    """The floating point operations of the products that `gatewright::run` computes, as torch counts those of mm.

    A product of a matrix and a vector has two for each number of the matrix, in every step of every row; so has the
    gradient by a matrix, a sum of outer products. `values` are shapes; the first is that of a sequence.
    """
    ran = operation(key).ran
    steps, batch = values[0][:2]
    counted = (equation for equation in ran.trace.equations if equation.op in (Op.MATMUL, Op.OUTER))
    matrices = (equation.args[0] if equation.op is Op.MATMUL else equation.target for equation in counted)
    return sum(2 * steps * batch * prod(bind(matrix.shape, ran.sizes)) for matrix in matrices)
