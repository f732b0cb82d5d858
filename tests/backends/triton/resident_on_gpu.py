"""Resident kernels on a GPU, against the reference: `python -m tests.backends.triton.resident_on_gpu`."""

from functools import partial

import numpy as np

from gatewright.backends.triton.kernel_precision import KernelPrecision
from gatewright.trace import Trace
from tests.backends.triton.checks import Checks
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
    rng, checks = np.random.default_rng(0), Checks()
    narrow = KernelPrecision("float32", "bfloat16")
    for name in TESTED:
        for kind, trace in traces(CELLS[name]).items():
            checks.run(f"{name}, {kind}", partial(check, draw(trace, wide(trace), 4, 19, rng), SINGLE))
            if kind in ("saving", "gradient") and "slstm" not in name and "layer_norm" not in name:
                given = draw(trace, wide(trace), 3, 2, rng)
                checks.run(f"{name}, {kind}, bfloat16", partial(check, given, narrow, products="bfloat16"))
    for name in RAGGED:
        checks.run(f"{name}, rows of different lengths", partial(check_lengths, name, SINGLE, rng))
    checks.end("resident kernels against the reference")


if __name__ == "__main__":
    main()
