"""How threads share units: where they need a barrier."""

import pytest

from gatewright.backends.llvm.codegen.kernels import LOOP
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
