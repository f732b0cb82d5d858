"""The parity matrix over Triton's kernels, in the interpreter: a slice of it; all cells under `-m exhaustive`."""

import pytest

from tests.parity.assertions import assert_parity
from tests.parity.matrix import CELLS, Problem, Results, torch_results, triton_results, with_oracle
from tests.parity.test_matrix import poisoned

# With 17 rows more than one tile of rows has work. No size of SIZES is a power of two but one.
EXTENTS = {(0, 3): None, (1, 1): None, (7, 3): (3, 0, 7), (7, 17): (7, 0, 3, *range(1, 8), *range(1, 8))}
SLICE = ("gru", "mingru", "fastrnn", "layer_norm(elman)", "lstm", "zoneout(gru)", "masked(lstm)")


def check(got: Results, want: Results, given: Problem, dtype: str, steps: int) -> None:
    who = f"{given.trace.name} of {given.batch} rows, lengths {given.lengths}"
    assert_parity(got, want, dtype=dtype, steps=steps, width=given.width, backend="triton", cell=who)


def check_cell(name: str, dtype: str, extents: dict[tuple[int, int], tuple[int, ...] | None]) -> None:
    for (steps, batch), lengths in extents.items():
        given, want = with_oracle(name, steps, batch, lengths=lengths)
        check(triton_results(poisoned(given) if lengths else given, dtype), want, given, dtype, steps)


def check_twice(name: str) -> None:
    given, _ = with_oracle(name, 3, 3, lengths=(2, 0, 3))
    got, want = triton_results(given, "float64", twice=True), torch_results(given, "float64", twice=True)
    check(got, want, given, "float64", 2 * given.steps)


@pytest.mark.parametrize("name", SLICE)
def test_outputs_states_gates_and_gradients(name: str) -> None:
    extents = list(EXTENTS.items())
    place = SLICE.index(name)
    check_cell(name, "float64" if place % 2 else "float32", dict([extents[place % 4], extents[2]]))


@pytest.mark.parametrize("name", SLICE[::2])
def test_gradients_of_gradients(name: str) -> None:
    check_twice(name)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", CELLS)
def test_every_cell(name: str) -> None:
    for dtype in ("float64", "float32"):
        check_cell(name, dtype, EXTENTS)
    check_twice(name)
