"""The launch of the resident form: its options, and a run on torch tensors."""

import numpy as np
import pytest
import torch

from gatewright.backends.triton.chips import CHIPS
from gatewright.backends.triton.kernel_precision import KernelPrecision
from gatewright.backends.triton.kernel_text import Argument, ArgumentKind
from gatewright.backends.triton.resident_loop import ResidentLoop
from gatewright.schedule.plan import plan
from gatewright.trace import trace_cell
from tests.parity.matrix import CELLS

DOUBLE = KernelPrecision("float64", "float64")
SIZES = {"input": 3, "hidden": 5}


def arrays_of(loop: ResidentLoop, steps: int, batch: int, rng: np.random.Generator) -> dict[Argument, torch.Tensor]:
    """Random arrays for all pointers but the lengths."""
    sequence, state, start = ArgumentKind.SEQUENCE, ArgumentKind.STATE, ArgumentKind.START
    leading = {sequence: (steps, batch), state: (steps + 1, batch), start: (batch,)}
    arrays = {}
    for argument in loop.arguments:
        if argument.kind is not ArgumentKind.LENGTHS:
            axes = loop.program.shapes[argument.name]
            shape = (*leading.get(argument.kind, ()), *(SIZES[axis] for axis in axes))
            arrays[argument] = torch.from_numpy(rng.normal(size=shape))
    return arrays


def test_a_run_on_tensors(rng: np.random.Generator) -> None:
    """An Elman network, written down once more."""
    loop = ResidentLoop(plan(trace_cell(CELLS["elman"])), SIZES, DOUBLE)
    arrays = arrays_of(loop, 3, 2, rng)
    loop.run(arrays, 3, 2)
    (before,) = (array for argument, array in arrays.items() if argument.kind is ArgumentKind.SEQUENCE)
    (matrix,) = (array for argument, array in arrays.items() if argument.kind is ArgumentKind.SHARED)
    states = arrays[Argument(ArgumentKind.STATE, "h")]
    expected = [arrays[Argument(ArgumentKind.START, "h")]]
    for step in before:
        expected.append(torch.tanh(step + expected[-1] @ matrix.T))
    torch.testing.assert_close(states, torch.stack(expected), rtol=0, atol=1e-14)


def test_nothing_is_launched_for_no_rows(rng: np.random.Generator) -> None:
    loop = ResidentLoop(plan(trace_cell(CELLS["elman"])), SIZES, DOUBLE)
    arrays = arrays_of(loop, 3, 0, rng)
    loop.run(arrays, 3, 0)
    assert all(not array.numel() for argument, array in arrays.items() if argument.kind is not ArgumentKind.SHARED)


@pytest.mark.parametrize(
    ("name", "hidden", "rows", "warps"),
    [("gru", 5, 16, 1), ("gru", 64, 16, 4), ("lstm", 128, 16, 8), ("indrnn", 512, 1, 2), ("gru", 1024, 16, 16)],
)
def test_options_follow_from_sizes(name: str, hidden: int, rows: int, warps: int) -> None:
    loop = ResidentLoop(plan(trace_cell(CELLS[name])), {"input": 3, "hidden": hidden}, KernelPrecision())
    candidates = list(loop.candidates(ragged=False))
    assert (candidates[0].constants["BM"], candidates[0].warps) == (rows, warps)
    assert [options.constants["STAGES"] for options in candidates] == sorted(
        (options.constants["STAGES"] for options in candidates), reverse=True
    )


def test_what_cannot_fit_is_not_compiled() -> None:
    """The three matrices of a GRU of 128 units take 96 KiB in bfloat16, three loads two steps ahead 48 more."""
    precision = KernelPrecision("float32", "bfloat16")
    loop = ResidentLoop(plan(trace_cell(CELLS["gru"])), {"input": 3, "hidden": 128}, precision)
    ahead, plain = (
        next(one for one in loop.candidates(ragged=False) if one.constants["STAGES"] == stages) for stages in (3, 1)
    )
    assert loop.least_bytes(ahead, {}) == 144 * 1024
    assert loop.least_bytes(plain, {}) == 96 * 1024
    wide = ResidentLoop(plan(trace_cell(CELLS["gru"])), {"input": 3, "hidden": 1000}, precision)
    assert wide.options_on(CHIPS["sm_90"], {}) is None
