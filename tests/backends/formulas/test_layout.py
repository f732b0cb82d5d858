"""Formulas fit a terminal, and are broken where they may be."""

import pytest

from gatewright.backends.formulas import unicode
from gatewright.backends.formulas.typeset import Breaks, columns, rows
from gatewright.trace import trace_cell
from tests.backends.formulas.cases import CASES

BREAKS = Breaks(sums=(" + ",), products=(" * ",), width_of=len)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("width", [60, 80])
def test_every_line_fits(name: str, width: int) -> None:
    trace = trace_cell(CASES[name])
    for line in f"{unicode.equations(trace, width)}\n{unicode.gradient(trace, width)}".split("\n"):
        assert columns(line) <= width, line


@pytest.mark.parametrize(
    ("text", "width", "broken"),
    [
        ("a + b + c", 9, ["a + b + c"]),
        ("a + b + c", 8, ["a + b", "+ c"]),
        ("aaaa * bbbb + c", 14, ["aaaa * bbbb", "+ c"]),
        ("aaaaaa * (bbbb + c)", 16, ["aaaaaa", "* (bbbb + c)"]),
        ("ffff(aaaa + bbbb)", 12, ["ffff(aaaa", "+ bbbb)"]),
        ("ffffffffffff", 5, ["ffffffffffff"]),
    ],
)
def test_a_formula_is_broken_where_it_hurts_least(text: str, width: int, broken: list[str]) -> None:
    assert rows(text, width, BREAKS) == broken


def test_a_formula_is_not_broken_deeper_than_allowed() -> None:
    shallow = Breaks(sums=(" + ",), products=(), width_of=len, deepest=0)
    assert rows("f(a + b + c)", 6, shallow) == ["f(a + b + c)"]


def test_accents_take_no_column() -> None:
    assert columns("c\u0303ₜ") == 2
