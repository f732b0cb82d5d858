"""Kernels of a single step that read matrices where they are, against the float64 reference."""

import numpy as np
import pytest

from gatewright import cells
from gatewright.backends.llvm.jit.target import runnable, target_named
from gatewright.schedule.residuals import save
from gatewright.trace import Trace, trace_cell
from tests.backends.llvm.engines import On, check, engine, run, sizes_of
from tests.parity.matrix import CELLS
from tests.schedule.running import Given, draw

SIZES = [(1, 1), (3, 2), (5, 17), (33, 33), (16, 64), (70, 24)]
"""Input and hidden: no vector, less than one, one and a bit, whole ones, two and a half."""


def pair_of(name: str) -> tuple[Trace, Trace]:
    """The step that saves, and its gradient."""
    pair = save(trace_cell(CELLS[name]))
    return pair.forward, pair.backward


def one_step(trace: Trace, batch: int, wide: int = 5, hidden: int = 17) -> Given:
    return draw(trace, sizes_of(trace, wide, hidden), 1, batch, np.random.default_rng(batch))


@pytest.mark.parametrize("name", [*cells.CATALOGUE, "masked(lstm_projected)", "layer_norm(gru)", "residual(gru)"])
def test_every_cell_and_its_gradient(name: str) -> None:
    for trace in pair_of(name):
        check(one_step(trace, 3), packs=False)


@pytest.mark.parametrize(("wide", "hidden"), SIZES)
@pytest.mark.parametrize(("name", "dtype"), [("lstm", "float32"), ("gru", "float64"), ("fastgrnn_low_rank", "float32")])
def test_any_number_of_rows_of_any_size(name: str, dtype: str, wide: int, hidden: int) -> None:
    for trace in pair_of(name):
        for batch in (1, 2, 4, 5, 11):
            check(one_step(trace, batch, wide, hidden), On(dtype), packs=False)


@pytest.mark.parametrize("target", ["x86-64-v2", "x86-64-v3", "x86-64-v4", "neon"])
@pytest.mark.parametrize(("name", "dtype"), [("lstm", "float32"), ("layer_norm(gru)", "float64")])
def test_kinds_of_processors(name: str, dtype: str, target: str) -> None:
    if not runnable(target_named(target)):
        pytest.skip(f"this machine does not run code for {target}")
    for trace in pair_of(name):
        check(one_step(trace, 5, 5, 24), On(dtype, target), packs=False)


def test_one_module_serves_all_numbers_of_rows() -> None:
    for trace in pair_of("gru"):
        given = one_step(trace, 1)
        modules = {id(engine(given).kernels(1, batch, packs=False)[1]) for batch in (1, 2, 3, 8, 31, 100)}
        assert len(modules) == 1


def test_nothing_is_packed() -> None:
    for trace in pair_of("lstm"):
        kernels, library = engine(one_step(trace, 1)).kernels(1, 1, packs=False)
        assert kernels.panels == []
        with pytest.raises(KeyError):
            library["pack"]


def test_a_row_does_not_depend_on_the_rows_beside_it() -> None:
    """A row that stands alone in its tile has a code of its own, which adds in the same order."""
    forward, _ = pair_of("lstm")
    given = one_step(forward, 9, 33, 40)
    whole = run(given, packs=False)["states"]["h"]
    for count in (1, 2, 5, 8):
        few = draw(forward, given.sizes, 1, count, np.random.default_rng(0))
        few.inputs.update({name: array[:, :count] for name, array in given.inputs.items()})
        few.states.update({name: array[:count] for name, array in given.states.items()})
        few.params.update(given.params)
        assert np.array_equal(run(few, packs=False)["states"]["h"], whole[:, :count])
