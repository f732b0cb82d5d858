"""Equinox's cells: their arrays by the names of their paths, held to Equinox itself, both ways."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gatewright import convert
from gatewright.convert import files
from gatewright.errors import ConversionError

jax = pytest.importorskip("jax", reason="needs JAX")
eqx = pytest.importorskip("equinox", reason="needs Equinox")

ROUNDING = 2e-6  # JAX computes in float32
INPUTS = np.random.default_rng(0).standard_normal((7, 2, 3)).astype(np.float32)  # (time, batch, features)
CELLS = {"gru": eqx.nn.GRUCell, "lstm": eqx.nn.LSTMCell}


def outputs(cell: Any, inputs: np.ndarray = INPUTS) -> np.ndarray:
    """What a cell gives over a sequence, row by row."""

    def row(xs: Any) -> Any:
        zero = jax.numpy.zeros(cell.hidden_size)

        def step(carry: Any, x: Any) -> Any:
            carry = cell(x, carry)
            return carry, carry[0] if isinstance(carry, tuple) else carry

        return jax.lax.scan(step, (zero, zero) if isinstance(cell, eqx.nn.LSTMCell) else zero, xs)[1]

    return np.asarray(jax.vmap(row, in_axes=1, out_axes=1)(inputs))


def saved(path: Path, tree: Any) -> None:
    """The arrays of a tree by the names that JAX has for their paths."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    np.savez(path, **{jax.tree_util.keystr(where): np.asarray(leaf) for where, leaf in leaves})


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("kind", CELLS)
def test_both_ways(kind: str, use_bias: bool, tmp_path: Path) -> None:
    cell = CELLS[kind](3, 5, use_bias=use_bias, key=jax.random.key(0))
    saved(tmp_path / "theirs.npz", cell)
    network = convert.read(tmp_path / "theirs.npz", "equinox")
    np.testing.assert_allclose(convert.run(network, INPUTS), outputs(cell), atol=ROUNDING, rtol=0)
    assert not network.rest
    convert.convert(tmp_path / "theirs.npz", tmp_path / "again.npz", source_layout="equinox", target_layout="equinox")
    again = files.read_arrays(tmp_path / "again.npz")
    assert {name.removeprefix("cell.") for name in again} == {
        name for name in ("weight_ih", "weight_hh", "bias", "bias_n") if getattr(cell, name, None) is not None
    }
    for name, array in again.items():
        np.testing.assert_array_equal(array, getattr(cell, name.removeprefix("cell.")))


@pytest.mark.parametrize("kind", CELLS)
def test_weights_of_another_framework(kind: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    rows = 5 * {"gru": 3, "lstm": 4}[kind]
    shapes = {"i2h_weight": (rows, 3), "h2h_weight": (rows, 5), "i2h_bias": rows, "h2h_bias": rows}
    arrays = {f"l0_{array}": rng.normal(size=shape).astype(np.float32) for array, shape in shapes.items()}
    np.savez(tmp_path / "gluon.npz", **arrays)
    convert.convert(tmp_path / "gluon.npz", tmp_path / "theirs.npz", target_layout="equinox")
    cell = CELLS[kind](3, 5, key=jax.random.key(0))
    for name, array in files.read_arrays(tmp_path / "theirs.npz").items():
        own = name.removeprefix("cell.")
        cell = eqx.tree_at(lambda tree, own=own: getattr(tree, own), cell, jax.numpy.asarray(array))
    wanted = convert.run(convert.read(tmp_path / "gluon.npz", "gluon"), INPUTS)
    np.testing.assert_allclose(outputs(cell), wanted, atol=ROUNDING, rtol=0)


def test_a_list_of_cells_is_a_stack(tmp_path: Path) -> None:
    keys = jax.random.split(jax.random.key(0), 2)
    cells = [eqx.nn.GRUCell(3, 5, key=keys[0]), eqx.nn.LSTMCell(5, 4, key=keys[1])]
    saved(tmp_path / "theirs.npz", {"cells": cells})
    network = convert.read(tmp_path / "theirs.npz", "equinox")
    wanted = outputs(cells[1], outputs(cells[0]))
    np.testing.assert_allclose(convert.run(network, INPUTS), wanted, atol=ROUNDING, rtol=0)
    convert.convert(tmp_path / "theirs.npz", tmp_path / "again.npz", source_layout="equinox", target_layout="equinox")
    assert files.read_arrays(tmp_path / "again.npz").keys() >= {"cells.0.bias_n", "cells.1.bias"}


def test_what_equinox_has_not(tmp_path: Path) -> None:
    arrays = {"W_xh": np.ones((3, 2)), "W_hh": np.ones((2, 2)), "b_h": np.ones(2)}
    np.savez(tmp_path / "rnn.npz", **arrays)
    with pytest.raises(ConversionError, match="no layer of equinox computes RNN"):
        convert.convert(tmp_path / "rnn.npz", tmp_path / "out.npz", target_layout="equinox")
