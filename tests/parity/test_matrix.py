"""Every cell on every backend, in every dtype and odd size, against the float64 reference."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gatewright import cells
from gatewright.backends import numpy_ref
from gatewright.trace import reads, trace_cell
from tests.parity.assertions import assert_parity
from tests.parity.matrix import (
    BACKENDS,
    CELLS,
    EXTENTS,
    FEWER_EXTENTS,
    MODELS,
    QUICK_BACKENDS,
    SLICED,
    TRANSFORMERS,
    Problem,
    Results,
    kind,
    with_oracle,
)


@pytest.fixture(scope="module", params=CELLS)
def name(request: pytest.FixtureRequest) -> str:
    """A row of the matrix. All tests of one row run together, so that they share what the oracle says."""
    return request.param


def check(given: Problem, want: Results, backend: str, dtype: str) -> None:
    assert_parity(
        BACKENDS[backend](given, dtype), want, dtype=dtype, steps=given.steps, width=given.width, backend=backend,
        cell=f"{given.trace.name} of {given.batch} rows, lengths {given.lengths}",
    )  # fmt: skip


@pytest.mark.parametrize(("backend", "dtype"), [("torch", "float64"), ("torch", "float32"), ("numpy", "float32")])
def test_outputs_states_gates_and_gradients(name: str, backend: str, dtype: str) -> None:
    for (steps, batch), ragged in (FEWER_EXTENTS if name in SLICED else EXTENTS).items():
        for lengths in ragged:
            check(*with_oracle(name, steps, batch, lengths=lengths), backend, dtype)


def test_in_pieces_it_is_what_it_is_whole(name: str) -> None:
    for lengths in (None, (3, 0, 7)):
        given, want = with_oracle(name, 7, 3, lengths=lengths)
        check(replace(given, chunk=3), want, "torch", "float64")


def test_truncated_gradients(name: str) -> None:
    for lengths in (None, (4, 0, 7)):
        given, want = with_oracle(name, 7, 3, lengths=lengths, chunk=3, truncate=True)
        check(given, want, "torch", "float64")


def test_the_reference_in_pieces_is_what_it_is_whole(name: str) -> None:
    given, want = with_oracle(name, 7, 3, lengths=(3, 0, 7))
    states, outputs = given.states, []
    for piece in given.pieces(3):
        run = numpy_ref.run(piece.trace, piece.inputs, piece.params, states, lengths=piece.lengths, noises=piece.noises)
        states = run.finals
        outputs.append(run.output)
    got = {"output": np.concatenate(outputs), "finals": states}
    assert_parity(got, {key: want[key] for key in got}, dtype="float64", steps=7, cell=name, backend="numpy")


def poisoned(given: Problem) -> Problem:
    """The same problem with NaN wherever a row is over."""
    assert given.lengths is not None
    over = np.arange(given.steps)[:, None] >= np.array(given.lengths)

    def poison(array: np.ndarray) -> np.ndarray:
        return np.where(over.reshape(*over.shape, *[1] * (array.ndim - 2)), np.nan, array)

    inputs = {name: poison(array) for name, array in given.inputs.items()}
    return replace(given, inputs=inputs, d_output=poison(given.d_output))


@pytest.mark.parametrize("backend", QUICK_BACKENDS)
def test_no_nan_leaks_out_of_the_padding(name: str, backend: str) -> None:
    given, want = with_oracle(name, 7, 3, lengths=(3, 0, 7))
    bad = poisoned(given)
    assert all(np.isnan(array[3:, 0]).all() for array in bad.inputs.values())
    assert all(np.isfinite(leaf).all() for leaf in leaves(want))
    check(bad, want, backend, "float64")


def leaves(results: Any) -> list[np.ndarray]:
    return [leaf for value in results.values() for leaf in leaves(value)] if isinstance(results, dict) else [results]


def test_the_oracle_says_something_of_every_number_that_goes_in(name: str) -> None:
    given, want = with_oracle(name, 7, 3, lengths=None)
    unread = {state.name for state in given.trace.states} - reads(given.trace)
    unread |= {"mask"}  # it is compared, and not computed with
    for group in ("d_inputs", "d_params", "d_states"):
        zero = {key for key, array in want[group].items() if not array.any()}
        assert zero <= unread, f"{group} of {sorted(zero - unread)} is zero everywhere"


def test_the_matrix_has_every_cell_and_every_transformer() -> None:
    assert set(cells.CATALOGUE) <= set(CELLS)
    assert {f"{transformer}({name})" for name in cells.CATALOGUE for transformer in TRANSFORMERS} <= set(CELLS)
    assert {(steps, batch) for steps in (0, 1, 7) for batch in (1, 3)} == set(EXTENTS)


def test_every_cell_that_is_not_transformed_and_a_cell_of_every_kind_run_on_all_sizes() -> None:
    assert not set(cells.CATALOGUE) & SLICED
    kinds = {name: kind(trace_cell(cell)) for name, cell in cells.CATALOGUE.items()}
    tried = [kinds[name] for name in MODELS]
    assert set(tried) == set(kinds.values())
    assert len(tried) == len(set(tried))  # one cell of a kind
    assert all(set(ragged) <= set(EXTENTS[extent]) for extent, ragged in FEWER_EXTENTS.items())
