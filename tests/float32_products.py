"""How torch multiplies float32 numbers, as it was before."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def float32_products_kept() -> Iterator[None]:
    """Put the settings of tf32 back that a test changes: plans of layers follow them.

    They are set in the older way: torch refuses to read that one after a mix of both.
    """
    by_cudnn, by_cublas = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = by_cudnn
        torch.backends.cuda.matmul.allow_tf32 = by_cublas
