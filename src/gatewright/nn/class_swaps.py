"""Modules of torch that `accelerate` leaves in their places: only their class becomes gatewright.nn's.

- torch.nn.Linear, where a step of it is measured to be faster by the engine on this machine.
- torch.nn.Embedding, where its vectors have the width that a recurrent layer on the engine reads.
"""

import time
from collections.abc import Collection, Iterator
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import nn

from gatewright import threads
from gatewright.nn.embedding import FoldedEmbedding
from gatewright.nn.engine.differentiable import DTYPES
from gatewright.nn.linear import Linear, has_instructions
from gatewright.nn.precision import NARROW

MIN_WEIGHTS = 1 << 16
"""Linear layers with fewer weights are neither measured nor reported: few batches have the rows for the engine."""
FASTER = 1.03
"""How many times as fast the engine must be: less may be chance."""
_ROWS = 256
_SIZES = 256, 512, 1024
"""Layers are measured by their sizes rounded up to one of these, so that a model is measured in a second or two."""
_ROUNDS = 5


class ClassSwap(NamedTuple):
    """A module, its path, its class, the class that it gets, or None where it is left, and the reason."""

    module: nn.Module
    path: str
    old: type[nn.Module]
    new: type[nn.Module] | None
    reason: str


def class_swaps(model: nn.Module, widths: Collection[int]) -> Iterator[ClassSwap]:
    """What becomes of the linear layers and embeddings of a model; `widths` are those of recurrent layers' inputs."""
    for path, module in model.named_modules():
        if "forward" in vars(module):
            continue
        if type(module) is nn.Linear and module.weight.numel() >= MIN_WEIGHTS:
            yield _of_linear(module, path)
        elif type(module) is nn.Embedding and module.embedding_dim in widths:
            yield _of_embedding(module, path)


def _of_linear(module: nn.Linear, path: str) -> ClassSwap:
    weight = module.weight
    if not weight.is_cpu or weight.dtype not in (*DTYPES, *NARROW):
        where = f"{str(weight.dtype).removeprefix('torch.')} on {weight.device}"
        return ClassSwap(
            module, path, type(module), None, f"the engine runs floating-point numbers on the CPU, and this is {where}"
        )
    if weight.dtype in NARROW:  # torch's product without instructions takes too long to be measured
        name = str(weight.dtype).removeprefix("torch.")
        if has_instructions(weight.dtype):
            return ClassSwap(module, path, type(module), None, f"this processor multiplies {name}: torch is as fast")
        return ClassSwap(module, path, type(module), Linear, f"this processor has no instructions that multiply {name}")
    times = times_as_fast(_rounded(module.in_features), _rounded(module.out_features), weight.dtype)
    measured = f"with {_ROWS} rows, a step of a layer of about this size is {times:.2f} times as fast as torch's"
    if times < FASTER:
        return ClassSwap(module, path, type(module), None, f"too little to gain here: {measured}")
    return ClassSwap(module, path, type(module), Linear, f"{measured}; with little work it is torch's")


def _of_embedding(module: nn.Embedding, path: str) -> ClassSwap:
    if module.max_norm or module.sparse or module.scale_grad_by_freq:
        return ClassSwap(module, path, type(module), None, "it has max_norm, sparse or scale_grad_by_freq")
    reason = "a recurrent layer multiplies its table once where it has at most half as many rows as a batch has steps"
    return ClassSwap(module, path, type(module), FoldedEmbedding, reason)


def _rounded(size: int) -> int:
    return next((known for known in _SIZES if size <= known), _SIZES[-1])


def times_as_fast(in_features: int, out_features: int, dtype: torch.dtype) -> float:
    """How many times as fast as torch's a step of the engine's linear layer is: outputs and gradients of 256 rows.

    It is measured once in a process for each size, dtype and number of threads.
    """
    return _times_as_fast(in_features, out_features, dtype, threads.get_num_threads())


@lru_cache(maxsize=64)
def _times_as_fast(in_features: int, out_features: int, dtype: torch.dtype, _threads: int) -> float:
    seconds: dict[type[nn.Linear], list[float]] = {nn.Linear: [], Linear: []}
    with torch.inference_mode(mode=False), torch.enable_grad(), torch.autocast("cpu", enabled=False):
        shapes = ((out_features, in_features), (out_features,))
        values = [torch.zeros(shape, dtype=dtype, device="cpu") for shape in shapes]
        inputs = torch.zeros(_ROWS, in_features, dtype=dtype, device="cpu", requires_grad=True)
        for _ in range(1 + _ROUNDS):
            for kind, own in seconds.items():
                layer = kind(in_features, out_features, device="meta", dtype=dtype)
                layer.weight, layer.bias = map(nn.Parameter, values)
                start = time.perf_counter()
                output = layer(inputs)
                torch.autograd.grad(output, [inputs, layer.weight, layer.bias], torch.ones_like(output))
                own.append(time.perf_counter() - start)
    theirs, ours = (min(own[1:]) for own in seconds.values())  # the first run compiles
    return theirs / ours
