"""The order of units, courses over rows and pattern search, against loops over steps and rows."""

from collections import defaultdict

import numpy as np
import pytest

pytest.importorskip("torch")

import gatewright as gw
from gatewright.errors import DataError, OptionError
from gatewright.inspect import Activations, LayerActivations, find_pattern, mean_and_spread, unit_order
from gatewright.trace import trace_cell
from tests.inspect.recorded import LENGTHS, recorded_lstm

SYMBOLS = [list("abacab"), list("ab"), list("caab")]


@pytest.fixture
def activations() -> Activations:
    return recorded_lstm(SYMBOLS)


def rows_of(activations: Activations, name: str) -> list[np.ndarray]:
    values = activations.layer().values(name).astype(np.float64)
    return [values[:length, row] for row, length in enumerate(LENGTHS)]


@pytest.mark.parametrize("batches", [1, 2])
@pytest.mark.parametrize("name", ["f", "h", "c"])
def test_units_are_measured(activations: Activations, name: str, batches: int) -> None:
    orders = {order.value: order for order in unit_order([activations] * batches)}
    assert orders.keys() == {"i", "f", "g", "o", "h", "c"}
    order, rows = orders[name], rows_of(activations, name)
    steps = np.concatenate(rows)
    np.testing.assert_allclose(order.variance, steps.var(0))
    groups = defaultdict(list)
    for row, symbols in zip(rows, SYMBOLS, strict=True):
        for value, symbol in zip(row, symbols, strict=True):
            groups[symbol].append(value)
    between = sum(len(group) * (np.mean(group, 0) - steps.mean(0)) ** 2 for group in groups.values())
    np.testing.assert_allclose(order.selectivity, between / len(steps) / steps.var(0), atol=1e-9)
    changes = [(row[step] - row[step - 1]) ** 2 for row in rows for step in range(1, len(row))]
    np.testing.assert_allclose(order.slowness, 1 - np.mean(changes, 0) / (2 * steps.var(0)))
    if name == "f":
        np.testing.assert_allclose(order.saturation, ((steps < 0.1) | (steps > 0.9)).mean(0))
    else:
        assert np.isnan(order.saturation).all()


def test_a_candidate_is_saturated_on_both_sides(activations: Activations) -> None:
    orders = {order.value: order for order in unit_order(activations)}
    steps = np.concatenate(rows_of(activations, "g"))
    np.testing.assert_allclose(orders["g"].saturation, (np.abs(steps) > 0.9).mean(0))


def test_units_are_ordered(activations: Activations) -> None:
    order = unit_order(activations)[0]
    variance = order.variance[order.units()]
    assert (np.diff(variance) <= 0).all()
    assert sorted(order.units("slowness")) == [0, 1, 2, 3, 4]
    with pytest.raises(OptionError, match="units have no order by 'name'\n  expected: variance, selectivity"):
        order.units("name")  # pyright: ignore[reportArgumentType]


def test_without_symbols_there_is_no_selectivity(activations: Activations) -> None:
    bare = Activations(activations.layers, activations.lengths)
    assert np.isnan(unit_order(bare)[0].selectivity).all()
    with pytest.raises(DataError, match="there is no step to measure"):
        unit_order([])


@pytest.mark.parametrize("batches", [1, 3])
def test_courses_from_the_start_and_from_the_end(activations: Activations, batches: int) -> None:
    rows = rows_of(activations, "f")
    course = mean_and_spread([activations] * batches, "f")
    assert course.steps.tolist() == [0, 1, 2, 3, 4, 5]
    assert course.rows.tolist() == [count * batches for count in (3, 3, 2, 2, 1, 1)]
    for step in range(6):
        values = np.array([row[step] for row in rows if len(row) > step])
        np.testing.assert_allclose(course.mean[step], values.mean(0))
        np.testing.assert_allclose(course.deviation[step], values.std(0), atol=1e-9)
    from_end = mean_and_spread([activations] * batches, "f", align="end", steps=3)
    assert from_end.steps.tolist() == [-3, -2, -1]
    for place, step in enumerate((-3, -2, -1)):
        values = np.array([row[step] for row in rows if len(row) >= -step])
        np.testing.assert_allclose(from_end.mean[place], values.mean(0))
        np.testing.assert_allclose(from_end.deviation[place], values.std(0), atol=1e-9)


def test_errors_of_courses(activations: Activations) -> None:
    with pytest.raises(OptionError, match="rows cannot be aligned at 'middle'"):
        mean_and_spread(activations, "f", align="middle")  # pyright: ignore[reportArgumentType]
    with pytest.raises(OptionError, match="no gate or state 'z'"):
        mean_and_spread(activations, "z")
    with pytest.raises(OptionError, match="no recurrent layer 'l1'"):
        mean_and_spread(activations, "f", layer="l1")
    with pytest.raises(DataError, match="there is no step to measure"):
        mean_and_spread([], "f")


def drawn(*rows: str, units: int = 3) -> Activations:
    """Activations where unit 0 is on within brackets, unit 1 is low there, and unit 2 is always on."""
    steps = max(map(len, rows))
    states = np.full((steps, len(rows), units), np.nan, np.float32)
    for place, row in enumerate(rows):
        depth = 0
        for step, symbol in enumerate(row):
            depth += symbol == "("
            states[step, place] = (0.9, -0.8, 0.7) if depth else (0.1, 0.0, 0.7)
            depth -= symbol == ")"
    lengths = np.array([len(row) for row in rows])
    layer = LayerActivations("l0", trace_cell(gw.cells.gru), np.zeros(0), {}, {"h": states}, lengths)
    return Activations({"l0": layer}, lengths, [list(row) for row in rows])


def test_units_that_are_on_only_within_a_span() -> None:
    pattern = find_pattern(drawn("ab(cd)e", "x(y)", "none"), (2, 6))
    assert pattern.units.tolist() == [0, 1]
    assert pattern.signs.tolist() == [1, -1]
    assert [(match.row, match.start, match.stop, match.share) for match in pattern.matches] == [
        (0, 2, 6, 1.0),
        (1, 1, 4, 1.0),
    ]
    assert pattern.lines() == ["ab⟦(cd)⟧e", " x⟦(y)⟧"]


def test_like_spans_are_found_in_a_stream() -> None:
    corpus = (batch for batch in (drawn("none"), drawn("(1234)\n", "a(bc)d"), drawn("zz(y)z")))
    pattern = find_pattern(drawn("ab(cd)e"), (2, 6), corpus=corpus, limit=2, context=1)
    found = [(match.batch, match.row, match.start, match.stop) for match in pattern.matches]
    assert found == [(1, 1, 1, 5), (2, 0, 2, 5)]  # by how near their lengths are to 4
    assert pattern.lines() == ["a⟦(bc)⟧d", "z⟦(y)⟧z"]


def test_a_span_of_no_unit_has_no_matches() -> None:
    pattern = find_pattern(drawn("ab(cd)e"), (3, 5))  # the units are on in the steps beside it as well
    assert pattern.units.tolist() == []
    assert pattern.matches == ()
    assert pattern.lines() == []


def test_a_unit_that_is_on_outside_lowers_the_share() -> None:
    activations = drawn("ab(cd)e", "x(y)zw")
    activations.layer("l0").states["h"][4, 1, 0] = 0.9  # unit 0 stays on after the bracket
    pattern = find_pattern(activations, (2, 6))
    assert [(match.row, match.start, match.stop, match.share) for match in pattern.matches] == [
        (0, 2, 6, 1.0),
        (1, 1, 5, 0.5),
    ]
    strict = find_pattern(activations, (2, 6), least=1.0)
    assert [(match.start, match.stop, match.share) for match in strict.matches] == [(2, 6, 1.0), (1, 4, 0.5)]


@pytest.mark.parametrize("span", [(0, 8), (3, 3), (-1, 2), (5, 4)])
def test_spans_that_do_not_exist(span: tuple[int, int]) -> None:
    with pytest.raises(OptionError, match=r"row 0 has no span .*\n  expected: its first step .* from 0 to 7"):
        find_pattern(drawn("ab(cd)e"), span)


def test_errors_of_patterns() -> None:
    with pytest.raises(OptionError, match="there is no row 1\n  expected: 0 to 0"):
        find_pattern(drawn("ab(cd)e"), (2, 6), row=1)
    with pytest.raises(OptionError, match="no gate or state 'z'"):
        find_pattern(drawn("ab(cd)e"), (2, 6), value="z")
