"""The rules by which torch computes equations: of a Trace operation by operation, and of what surrounds kernels."""

from operator import add, mul, neg, sub, truediv

import torch
import torch.nn.functional as F
from torch import Tensor

from gatewright.backends.base import ArrayRules
from gatewright.lang.ops import Op


def rules(like: Tensor) -> ArrayRules:
    """One rule for each op; numbers become tensors of `like`'s dtype and device where torch asks for tensors."""

    def tensor(value: Tensor | float) -> Tensor:
        return value if isinstance(value, Tensor) else torch.full((), value, dtype=like.dtype, device=like.device)

    def features(a: Tensor, rank: int) -> list[int]:
        return list(range(-rank, 0))

    return {
        Op.NEG: neg,
        Op.ABS: torch.abs,
        Op.SIGN: torch.sign,
        Op.EXP: torch.exp,
        Op.LOG: torch.log,
        Op.SQRT: torch.sqrt,
        Op.SIGMOID: torch.sigmoid,
        Op.TANH: torch.tanh,
        Op.RELU: torch.relu,
        Op.HARD_SIGMOID: lambda a, slope: F.hardtanh(slope * a + 0.5, 0.0, 1.0),  # clamp has a slope at its corners
        Op.SOFTPLUS: lambda a: torch.logaddexp(a, torch.zeros_like(a)),
        Op.ADD: add,
        Op.SUB: sub,
        Op.MUL: mul,
        Op.DIV: truediv,
        Op.MAXIMUM: lambda a, b: torch.maximum(tensor(a), tensor(b)),
        Op.MINIMUM: lambda a, b: torch.minimum(tensor(a), tensor(b)),
        Op.LESS: lambda a, b: (a < b).to(like.dtype),
        Op.WHERE: lambda c, a, b: torch.where(tensor(c) != 0, tensor(a), tensor(b)),
        Op.MATMUL: _matmul,
        Op.TRANSPOSE: lambda a: a.transpose(-1, -2),
        Op.OUTER: lambda a, b: a[..., :, None] * b[..., None, :],
        Op.SUM: lambda a, rank: a.sum(features(a, rank)) if rank else a,
        Op.MEAN: lambda a, rank: a.mean(features(a, rank)) if rank else a,
        Op.EXPAND: lambda a, sizes: (t := tensor(a))[(..., *(None,) * len(sizes))].expand(*t.shape, *sizes),
        Op.SIZE: lambda count: tensor(float(count)),
        Op.RELABEL: lambda a: a,
    }


def _matmul(matrix: Tensor, vector: Tensor) -> Tensor:
    if matrix.dim() == 2:
        return F.linear(vector, matrix)
    return (matrix @ vector[..., None])[..., 0]
