"""A process of its own that says how long the first forward and backward run of a layer takes: `CELL T,B,I,H`."""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

began = time.perf_counter()
import gatewright  # noqa: E402

ALONE = time.perf_counter() - began


def main(name: str, shape: str) -> None:
    """Print seconds: of the import, of the first call, of a later one."""
    import torch

    began = time.perf_counter()
    from gatewright import nn  # noqa: F401

    layers = time.perf_counter() - began
    from benchmarks.cells import CELLS
    from benchmarks.shapes import Shape

    torch.set_num_threads(1)
    gatewright.set_num_threads(1)
    _wake(torch.nn.Linear(2, 2), torch.zeros(1, 2))
    sizes = Shape.parse(shape)
    layer = CELLS[name].build(sizes, "llvm")
    x = torch.zeros(sizes.steps, sizes.batch, sizes.inputs, requires_grad=True)
    first, *later = (_seconds(lambda: layer(x)[0].sum().backward()) for _ in range(6))
    print(json.dumps({"import": ALONE, "import_nn": layers, "first": first, "later": min(later)}))


def _wake(layer: Any, x: Any) -> None:
    """What torch does only once is no part of the first call of ours."""
    layer(x).sum().backward()


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


if __name__ == "__main__":
    main(*sys.argv[1:])
