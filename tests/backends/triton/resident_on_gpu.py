"""Resident kernels on a GPU, against the reference: `python -m tests.backends.triton.resident_on_gpu`."""

import numpy as np

from gatewright.backends.triton.kernel_precision import KernelPrecision
from gatewright.trace import Trace
from tests.backends.triton.drawn import draw
from tests.backends.triton.test_resident_kernel import RAGGED, SINGLE, TESTED, check, check_lengths, traces
from tests.parity.matrix import CELLS, sizes_for

WIDE = {"hidden": 50, "projection": 24, "hidden_rank": 8}


def wide(trace: Trace) -> dict[str, int]:
    """Sizes that fill more than one lane of a tensor core; axes that are used for one another stay of one size."""
    has_relabels = any(equation.op == "relabel" for equation in trace.equations)
    sizes = sizes_for(trace)
    return sizes if has_relabels else sizes | {axis: size for axis, size in WIDE.items() if axis in sizes}


def main() -> None:
    """Run all checks."""
    rng = np.random.default_rng(0)
    count = 0
    for name in TESTED:
        for kind, trace in traces(CELLS[name]).items():
            check(draw(trace, wide(trace), 4, 19, rng), SINGLE)
            count += 1
            if kind in ("saving", "gradient") and "slstm" not in name and "layer_norm" not in name:
                precision = KernelPrecision("float32", "bfloat16")
                check(draw(trace, wide(trace), 3, 2, rng), precision, products="bfloat16")
                count += 1
    for name in RAGGED:
        check_lengths(name, SINGLE, rng)
    print(f"{count} programs agree with the reference, and rows of different lengths with rows alone")


if __name__ == "__main__":
    main()
