"""The persistent form of loops in Triton's interpreter, against the reference.

The interpreter runs the programs of a grid one after the other, so that a barrier between two of them would wait for
ever. Most tests have one program for each tile of rows; one test gives every program a process of its own.
"""

import multiprocessing
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from triton.runtime.interpreter import interpreter_builder

from gatewright.backends.triton import persistent_kernel
from gatewright.backends.triton.chips import CHIPS
from gatewright.backends.triton.kernel_text import Argument, ArgumentKind
from gatewright.backends.triton.load import kernel
from gatewright.backends.triton.persistent_kernel import COUNTERS, PersistentLoop, persistent_text
from gatewright.backends.triton.stepped import SteppedLoop, with_step_arrays
from gatewright.schedule.plan import plan
from tests.backends.triton.staged import DOUBLE, check_against_reference, check_ragged, random_arrays, traces

ALONE = partial(PersistentLoop, programs=1)


@pytest.mark.parametrize("name", ["gru", "layer_norm(gru)", "slstm"])
def test_cells_in_double_precision(name: str, rng: np.random.Generator) -> None:
    for trace in traces(name).values():
        check_against_reference(trace, 3, 17, DOUBLE, rng, make_loop=ALONE)


@pytest.mark.parametrize("name", ["gru", "layer_norm(lstm)"])
def test_rows_that_end_early(name: str, rng: np.random.Generator) -> None:
    for kind in ("saving", "gradient"):
        check_ragged(traces(name)[kind], (3, 0, 7, 1), rng, ALONE)


class OneProgram:
    """A kernel of which one program of the grid runs."""

    def __init__(self, function: Any, program: tuple[int, int]) -> None:
        self.function, self.program = function, program

    def __getitem__(self, grid: tuple[int, int]) -> Any:
        set_index, set_dimensions = interpreter_builder.set_grid_idx, interpreter_builder.set_grid_dim
        replaced: Any = interpreter_builder  # this process runs nothing else
        replaced.set_grid_idx = lambda *_: set_index(*self.program, 0)
        replaced.set_grid_dim = lambda *_: set_dimensions(*grid, 1)
        return self.function[(1, 1)]


def run_one_program(
    loop: PersistentLoop, program: tuple[int, int], arrays: dict[Argument, Tensor], steps: int, batch: int
) -> None:
    """What a process does that plays one program of a grid."""
    torch.set_num_threads(1)
    persistent_kernel.kernel = lambda text: OneProgram(kernel(text), program)
    with np.errstate(all="ignore"):  # rows beyond the last may divide by zero
        loop.run(arrays, steps, batch)


@pytest.mark.parametrize("name", ["gru", "layer_norm(gru)"])
def test_programs_wait_for_each_other(name: str, rng: np.random.Generator) -> None:
    """Two tiles of rows with two programs each, every program in a process of its own, over shared memory."""
    steps, batch = 3, 17
    program, sizes = plan(traces(name)["step"]), {"hidden": 12, "input": 3}
    loop = PersistentLoop(program, sizes, DOUBLE, programs=2)
    arrays: dict[Argument, Tensor] = random_arrays(loop, program, sizes, steps, batch, rng)
    arrays = with_step_arrays(program, sizes, loop.kernel.arguments, DOUBLE, arrays, batch)
    alone = {argument: array.clone() for argument, array in arrays.items()}
    with np.errstate(all="ignore"):
        PersistentLoop(program, sizes, DOUBLE, programs=1).run(alone, steps, batch)
    arrays[COUNTERS] = torch.zeros(2, dtype=torch.int32)
    for array in arrays.values():
        array.share_memory_()
    assert loop.layout(arrays, batch)[1] == 2
    context = multiprocessing.get_context("fork")
    programs = [(own, tile) for own in range(2) for tile in range(2)]
    processes = [context.Process(target=run_one_program, args=(loop, one, arrays, steps, batch)) for one in programs]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    assert codes == [0] * len(programs)
    h = Argument(ArgumentKind.STATE, "h")
    assert torch.equal(arrays[h], alone[h])
    barriers = loop.kernel.text.count("grid_barrier(counter, goal)")
    assert (
        arrays[COUNTERS].tolist() == [2 * (1 + steps * (barriers - 2))] * 2
    )  # one before the loop, one the definition


def test_a_gru_as_text(golden: Callable[[str, str], None]) -> None:
    program = plan(traces("gru")["step"])
    golden("triton/gru persistent.txt", persistent_text(program, {"input": 40, "hidden": 300}).text)


def test_more_tiles_of_rows_than_processors_are_refused() -> None:
    program, sizes = plan(traces("elman")["step"]), {"hidden": 5, "input": 3}
    loop = PersistentLoop(program, sizes, DOUBLE)
    arrays = {argument: torch.zeros(0) for argument in loop.kernel.arguments}
    with pytest.raises(ValueError, match="8449 rows have more tiles than a GPU has processors: use the stepped form"):
        loop.layout(arrays, 132 * 64 + 1)


def test_chips_of_amd_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(persistent_kernel, "chip_of", lambda device: CHIPS["gfx942"])
    loop = PersistentLoop(plan(traces("elman")["step"]), {"hidden": 5, "input": 3}, DOUBLE)
    arrays = {argument: torch.zeros(0) for argument in loop.kernel.arguments}
    with pytest.raises(ValueError, match="the persistent form does not run on gfx942: use the stepped form"):
        loop.layout(arrays, 1)


def test_a_state_without_a_start_begins_with_zeros(rng: np.random.Generator) -> None:
    program, sizes = plan(traces("lstm")["step"]), {"hidden": 5, "input": 3}
    for loop in (SteppedLoop(program, sizes, DOUBLE), PersistentLoop(program, sizes, DOUBLE, programs=1)):
        arrays: dict[Argument, Tensor] = random_arrays(loop, program, sizes, 2, 3, rng)
        start = Argument(ArgumentKind.START, "h")
        arrays[start].zero_()
        h = arrays[Argument(ArgumentKind.STATE, "h")]
        results: list[Tensor] = []
        for given in (arrays, {argument: array for argument, array in arrays.items() if argument != start}):
            h.fill_(torch.nan)
            loop.run(given, 2, 3)
            results.append(h.clone())
        assert torch.equal(*results)
        assert not results[0][0].any()
        assert results[0][1:].isfinite().all()
