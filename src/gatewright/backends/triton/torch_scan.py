"""Scans by torch's operations, on any device: what kernels of scans do where no kernel can run."""

from collections.abc import Iterable, Sequence
from functools import reduce

import torch
from torch import Tensor


def coupled_scan(
    slopes: Sequence[Sequence[Tensor]], offsets: Sequence[Tensor], firsts: Sequence[Tensor], *, backwards: bool = False
) -> list[Tensor]:
    """The states slopes @ states + offsets, step after step along the first axis, by torch's operations.

    `slopes` are n rows of n tensors (time, batch, ...), `offsets` n of them; `firsts` are the n states before the first
    step, (batch, ...). Each turn joins to every step what is known of twice as many steps before it.
    """
    rows = range(len(offsets))

    def turned(value: Tensor) -> Tensor:
        return value.flip(0) if backwards else value

    slope = [[turned(slopes[row][column]) for column in rows] for row in rows]
    offset = [turned(offsets[row]).clone() for row in rows]
    for row in rows:
        for column in rows:
            offset[row][:1] += slope[row][column][:1] * firsts[column]
    reach = 1
    while reach < len(offset[0]):
        late, early = slice(reach, None), slice(None, -reach)
        offset, slope = (
            [
                torch.cat([
                    offset[row][:reach],
                    _moved(offset[row][late], ((slope[row][k][late], offset[k][early]) for k in rows)),
                ])
                for row in rows
            ],
            [
                [
                    torch.cat([
                        slope[row][c][:reach],
                        torch.stack([_product(slope[row][k][late], slope[k][c][early]) for k in rows]).sum(0),
                    ])
                    for c in rows
                ]
                for row in rows
            ],
        )  # fmt: skip
        reach *= 2
    return [turned(value) for value in offset]


def _moved(offset: Tensor, terms: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """An offset plus slopes times states. The slopes of many steps may be infinite where a state is 0, and stays 0."""

    def added(total: Tensor, term: tuple[Tensor, Tensor]) -> Tensor:
        slope, state = term
        return torch.where((state == 0) & ~slope.isnan(), total, torch.addcmul(total, slope, state))

    return reduce(added, terms, offset)


def _product(second: Tensor, first: Tensor) -> Tensor:
    """The slope of two steps: 0 where one is 0 and the other has become infinite."""
    product = second * first
    return torch.where(product.isnan() & ~second.isnan() & ~first.isnan(), 0.0, product)
