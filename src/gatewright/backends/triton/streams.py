"""Two streams of a GPU: the kernels of two runs side by side, of which neither reads what the other writes."""

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TypeVar

import torch
from torch import Tensor

Result = TypeVar("Result")


def run_on_two_streams(
    like: Tensor,
    first: Callable[[], Result],
    second: Callable[[], Result],
    tensors_of: Callable[[Result], Iterable[Tensor | None]],
) -> tuple[Result, Result]:
    """Launch two runs, the second on a stream of its own; whatever is launched later waits for both.

    The second run allocates memory of its own stream. Its results, which `tensors_of` lists, are used on the present
    stream: their memory is not given out again before that stream is done with it. On a CPU, in the interpreter, one
    run follows the other.
    """
    if not like.is_cuda:
        return first(), second()
    present = torch.cuda.current_stream(like.device)
    other = second_stream(present)
    other.wait_stream(present)  # until operands are complete
    try:
        with torch.cuda.stream(other):
            beside = second()
        own = first()
    finally:
        present.wait_stream(other)  # before any memory that the second run reads is written again
    for tensor in tensors_of(beside):
        if tensor is not None:
            tensor.record_stream(present)
    return own, beside


@lru_cache(maxsize=64)
def second_stream(present: torch.cuda.Stream) -> torch.cuda.Stream:
    """The stream beside a stream: always the same, so that graphs of steps that were recorded for it serve again."""
    return torch.cuda.Stream(present.device)
