"""Sums and copies around a kernel, by one native call."""

import numpy as np
import pytest

from gatewright.backends.llvm.runtime.step_commands import BlockCopy, ParameterSum, StepCommands


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [1, 7, 8, 19])
def test_sums_and_copies(dtype: str, size: int, rng: np.random.Generator) -> None:
    a, b = (rng.normal(size=size).astype(dtype) for _ in range(2))
    total, before, after = (np.full(size + 1, 5, dtype) for _ in range(3))
    commands = StepCommands(
        dtype,
        5,
        sums=[ParameterSum(target=2, first=0, second=1, elements=size)],
        before=[BlockCopy(target=3, source=0, size=a.nbytes)],
        after=[BlockCopy(target=4, source=2, size=a.nbytes)],
    )
    commands.run([array.ctypes.data for array in (a, b, total, before, after)], 0)
    for array, expected in ((total, a + b), (before, a), (after, a + b)):
        assert np.array_equal(array[:size], expected)
        assert array[size] == 5  # nothing is written behind the end
