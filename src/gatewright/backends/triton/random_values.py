"""Random values that kernels draw by themselves: the seeds that they draw from, and the same values by torch.

A random value of a Program is no array of zeros and ones on a GPU, but an array of seeds (time, batch), one for each
row and step. Unit j of a row is 1 where the Philox generator makes a small enough number of the row's seed and j
(Salmon, Moraes, Dror & Shaw 2011, Parallel random numbers: as easy as 1, 2, 3). So every kernel that needs the value
draws it again, in whatever tiles it computes: forward, backward, twice, and of a part of the steps. Seeds are tensors
like others: torch's generator of the device draws them without the host, also while a CUDA graph is recorded or
replayed, and `vmap`, checkpoints and graphs treat them as they treat inputs.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from gatewright.axes import bind
from gatewright.lang.symbol import Redraw
from gatewright.trace.ir import Trace

# Philox-2x32-10: 20 instructions a number on sm_90, where the form of four numbers that tl.rand has takes 43.
ROUNDS = 10
MULTIPLIER = 0xD256D193
KEY_STEP = 0x9E3779B9
_LOW = 0xFFFFFFFF


def limit(probability: float) -> int:
    """A random number of 32 bits is below it with this probability: none for 0, all for 1."""
    return round(probability * 2**32)


def draw_seeds(trace: Trace, steps: int, batch: int, device: torch.device) -> dict[str, Tensor]:
    """Seeds (time, batch) of every random value of a cell, by torch's generator of the device."""
    seeds: dict[str, Tensor] = {}
    for noise in trace.noises:
        count = steps if noise.per == Redraw.STEP else 1
        drawn = torch.randint(2**63 - 1, (count, batch), dtype=torch.int64, device=device)
        seeds[noise.var.name] = drawn.expand(steps, batch)
    return seeds


def philox(key: Tensor, counter: Tensor, other: Tensor) -> Tensor:
    """The first number of Philox-2x32-10, from a key and a counter of two numbers; all are 32 bits in an int64."""
    for _ in range(ROUNDS):
        wide = counter * MULTIPLIER  # modulo 2**64
        counter, other = (wide >> 32) & _LOW ^ key ^ other, wide & _LOW
        key = key + KEY_STEP & _LOW
    return counter


def drawn(seeds: Tensor, shape: tuple[int, ...], probability: float, dtype: torch.dtype) -> Tensor:
    """The zeros and ones (..., *shape) that kernels draw from seeds (...); the shape has at most one axis."""
    units = torch.arange(shape[0], device=seeds.device) if shape else torch.zeros_like(seeds)
    wide = seeds.unsqueeze(-1) if shape else seeds
    return (philox(wide >> 32 & _LOW, units, wide & _LOW) < limit(probability)).to(dtype)


def with_drawn(
    trace: Trace, sizes: Mapping[str, int], values: Mapping[str, Tensor], dtype: torch.dtype
) -> dict[str, Tensor]:
    """Values by name with zeros and ones, (time, batch, ...), in place of the seeds of random values."""
    random = {
        noise.var.name: drawn(values[noise.var.name], bind(noise.var.shape, sizes), noise.probability, dtype)
        for noise in trace.noises
    }
    return {**values, **random}
