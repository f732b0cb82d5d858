"""How torch multiplies float32 numbers, as it was before."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def float32_products_kept() -> Iterator[None]:
    """Put the settings of tf32 back that a test changes: plans of layers follow them.

    cuDNN's is set in the older way, since torch refuses to read that one once the newer one was set.
    """
    by_cudnn, by_cublas = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.fp32_precision
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = by_cudnn
        torch.backends.cuda.matmul.fp32_precision = by_cublas
