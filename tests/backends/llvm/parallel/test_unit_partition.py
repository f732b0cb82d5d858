"""How threads share units: where they need a barrier."""

import pytest

import gatewright as gw
from gatewright.backends.llvm.codegen.kernels import LOOP
from gatewright.cells import CATALOGUE
from gatewright.schedule.plan import plan
from gatewright.schedule.residuals import save
from gatewright.trace import trace_cell
from tests.backends.llvm.parallel.test_work_partition import kernels_of
from tests.backends.llvm.runtime.test_engine import pair_of


@pytest.mark.parametrize(
    ("name", "before", "at_end"),
    [
        ("gru", {1}, True),  # the reset state is whole before it is multiplied, and read before the next is stored
        ('gru(reset="after")', set(), True),
        ("lstm", set(), True),
        ("lstm_peephole", set(), True),
        ("mingru", set(), False),  # units recur each by itself
        ("indrnn", set(), False),
        ("sru", set(), False),
        ("layer_norm(gru)", None, True),
    ],
)
def test_where_threads_that_share_units_have_barriers(name: str, before: set[int] | None, at_end: bool) -> None:
    units = kernels_of(pair_of(name)[0], 64, 1, 64).units[LOOP]
    assert units.barrier_at_end == at_end
    if before is None:
        assert len(units.barriers_before) > 2
        assert units.in_rows
    else:
        assert units.barriers_before == before
        assert not units.in_rows


@gw.cell
def activated_state(x, h, W, U, b):
    return W.h @ x + U.h @ gw.tanh(h) + b.h


def test_a_buffer_of_one_step_is_not_overwritten_while_others_read_it() -> None:
    """Each thread reads its own units of the state only, but all units of tanh(h): the next step must not store that
    before everybody has multiplied it."""
    units = kernels_of(trace_cell(activated_state), 64, 1, 64).units[LOOP]
    assert units.barriers_before == {1}
    assert units.barrier_at_end


@pytest.mark.parametrize("normalised", [False, True])
def test_scalars_are_stored_by_stages_that_every_thread_computes(normalised: bool) -> None:
    """So no thread ever waits for a scalar that another one stores."""
    for cell in CATALOGUE.values():
        pair = save(trace_cell(gw.layer_norm(cell) if normalised else cell))
        for program in (plan(pair.forward), plan(pair.backward)):
            stages = [stage for _, stages in program.passes() for stage in stages if stage.axis]
            assert all(program.shapes[store.name] for stage in stages for store in stage.stores), cell
