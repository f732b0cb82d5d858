"""The table of layouts: every row both ways, every pair, and what is said of them."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from gatewright.cell_config.config import CellConfig
from gatewright.cell_config.recognise import config_of
from gatewright.convert import apply, run
from gatewright.convert.explain import explain, mapping, where
from gatewright.convert.layouts import BY_KEY, LAYOUTS, Layout
from gatewright.convert.patterns import AXES, pattern
from gatewright.errors import ConversionError
from gatewright.network import Network, Parameters, RecurrentPart
from gatewright.trace import trace_cell

SIZES = {"input": 2, "hidden": 3, "state": 3}


def sizes_of(row: Layout) -> dict[str, int]:
    """Sizes that tell every axis from every other."""
    return {**SIZES, "state": 4} if row.projection else SIZES


def drawn(row: Layout) -> dict[str, NDArray[np.float64]]:
    """Random arrays of a layout."""
    generator = np.random.default_rng(5)
    return {
        name: generator.standard_normal(
            pattern(one.axes).shape({**sizes_of(row), "side": len(one.kinds.split()), "gate": len(gates)})
        )
        for name, one, gates in row.stored()
    }


def outputs(equations: CellConfig, parameters: Parameters) -> NDArray[np.float64]:
    """What a layer computes for one random input."""
    inputs = np.random.default_rng(6).standard_normal((6, 2, SIZES["input"]))
    return run(Network((RecurrentPart(equations, (parameters,)),)), inputs)


def with_parameters(row: Layout, arrays: dict[str, NDArray[np.float64]]) -> tuple[CellConfig, Parameters]:
    """A layer of that layout; ONNX's has peepholes where there is a P."""
    parameters = apply.read(row, arrays)
    peepholes = any(name.startswith("p.") for name in parameters)
    return apply.config_of(row, peepholes=peepholes), parameters


@pytest.mark.parametrize("row", LAYOUTS, ids=lambda row: row.key)
def test_a_row_is_read_and_written_bit_for_bit(row: Layout) -> None:
    arrays = drawn(row)
    if row.coupled:  # nothing reads the forget gate's place in its arrays
        arrays = apply.write(row, apply.read(row, arrays), row.cell_config)
    again = apply.write(row, apply.read(row, arrays), row.cell_config)
    assert again.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(again[name], array, err_msg=name)


INVERTED = replace(BY_KEY["keras/gru"], variant="inverted", update="replaces")


@pytest.mark.parametrize("row", [*LAYOUTS, INVERTED], ids=lambda row: row.key)
def test_what_is_said_of_a_place_is_true(row: Layout) -> None:
    """The text that tells where a parameter lies cuts out that very parameter, with its sign."""
    arrays = drawn(row)
    parameters = apply.read(row, arrays)
    for name, value in parameters.items():
        negated = where(row, name).startswith("-")
        text = where(row, name).removeprefix("-")
        array, bracket, cut = text.partition("[")
        cut, _, turned = cut.partition("]")
        expression = f"array{bracket}{cut}{']' if bracket else ''}{turned}"
        if not bracket and text.endswith(".T"):
            array, expression = text.removesuffix(".T"), "array.T"
        for factor in range(9, 1, -1):
            expression = expression.replace(f"{factor}H", f"{factor}*H")
        found = eval(expression, {"array": arrays[array], "H": SIZES["hidden"], "I": SIZES["input"]})
        np.testing.assert_array_equal(-found if negated else found, value, err_msg=f"{name} at {text}")


PAIRS = [(one, other) for one, other in product(LAYOUTS, LAYOUTS) if one.family == other.family]


@pytest.mark.parametrize(("one", "other"), PAIRS, ids=lambda row: row.key)
def test_a_pair_computes_the_same_or_is_refused_as_was_said(one: Layout, other: Layout) -> None:
    equations, parameters = with_parameters(one, drawn(one))
    said = mapping(one, other)
    try:
        arrays = apply.write(other, parameters, equations)
    except ConversionError:
        arrays = None
    if arrays is None:
        must_be_zero = any(moved.target == "must be zero" for moved in said.moved)
        assert said.refused or said.conditions or must_be_zero
    else:
        assert not said.refused
        target, again = with_parameters(other, arrays)
        target = apply.config_of(
            other,
            gate=equations.gate,
            activation=equations.activation,
            output=equations.output,
            peepholes=target.peepholes,
        )
        np.testing.assert_allclose(outputs(target, again), outputs(equations, parameters), atol=1e-12)


def test_every_refusal_gives_its_reason() -> None:
    reasons = {said.refused for one, other in PAIRS if (said := mapping(one, other)).refused}
    assert any("before the recurrent product" in reason for reason in reasons)
    assert all(len(reason.split()) >= 4 for reason in reasons)


def test_an_inverted_update_gate_is_negated() -> None:
    row = BY_KEY["torch/gru"]
    parameters = apply.read(row, drawn(row))
    turned = apply.invert_update(parameters, row.cell_config)
    assert {name for name in parameters if not np.array_equal(parameters[name], turned[name])} == {
        "W.z",
        "U.z",
        "b.z",
        "bh.z",
    }
    cell = row.cell_config.cell()
    assert config_of(trace_cell(cell)) == (row.cell_config, False)
    assert config_of(trace_cell(cell(update="replaces"))) == (row.cell_config, True)


def test_axes_that_do_not_fit_are_named() -> None:
    arrays = drawn(BY_KEY["keras/gru"])
    with pytest.raises(
        ConversionError, match=r"array 'recurrent_kernel' does not fit its layout\n.*hidden \(gate hidden\)"
    ):
        apply.read(BY_KEY["keras/gru"], {**arrays, "recurrent_kernel": arrays["recurrent_kernel"][:, :-1]})


def test_a_missing_array_is_named() -> None:
    arrays = drawn(BY_KEY["dl4mt/gru"])
    del arrays["Ux"]
    with pytest.raises(ConversionError, match=r"dl4mt/gru: array 'Ux' is missing"):
        apply.read(BY_KEY["dl4mt/gru"], arrays)


def test_unknown_layouts_are_refused_with_those_that_are_known() -> None:
    with pytest.raises(ConversionError, match=r"there is no layout 'kears'\n  expected: torch, keras"):
        explain("kears", "torch")


def test_every_kind_of_parameter_has_its_axes() -> None:
    assert {kind for row in LAYOUTS for one in row.arrays for kind in one.kinds.split()} <= set(AXES)
