"""The LaTeX of every cell can be typeset. Of the sums over time, which are all alike, two a cell are tried."""

import re
from functools import cache

import pytest

from gatewright.backends.formulas import latex
from gatewright.trace import trace_cell
from tests.backends.formulas.cases import CASES

# What the parser of matplotlib does not know, and the nearest that it does.
UNKNOWN = {r"\tfrac": r"\frac", r"\mathrel{+}=": "+=", r"\qquad {}": r"\quad", "&": "", r"\text{": r"\mathrm{"}


def rows(tex: str) -> list[str]:
    """The rows of an `aligned` environment."""
    begin, *middle, end = tex.split("\n")
    assert (begin, end) == (r"\begin{aligned}", r"\end{aligned}")
    assert all(row.endswith(r" \\") for row in middle[:-1])
    assert not middle[-1].endswith("\\")
    return [row.removesuffix(r" \\") for row in middle]


def texts(name: str) -> list[str]:
    trace = trace_cell(CASES[name])
    return [latex.equations(trace), latex.gradient(trace)]


@pytest.mark.parametrize("name", CASES)
def test_every_row_is_aligned_at_one_place_and_its_braces_match(name: str) -> None:
    for row in [row for tex in texts(name) for row in rows(tex)]:
        choices = row.count(r"\begin{cases}")
        assert row.count("&") == 1 + 2 * choices, row
        assert row.count(r"\left(") == row.count(r"\right)"), row
        depth = 0
        for brace in re.findall(r"[{}]", row):
            depth += 1 if brace == "{" else -1
            assert depth >= 0, row
        assert depth == 0, row


@pytest.mark.parametrize("name", CASES)
def test_every_row_but_choices_can_be_parsed(name: str) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib's parser of formulas is not installed")
    for tex in texts(name):
        sums = [row for row in rows(tex) if r"\sum_t" in row]
        for row in [row for row in rows(tex) if r"\begin{cases}" not in row and row not in sums[2:]]:
            _check_parse(row)


@cache
def _check_parse(row: str) -> None:
    from matplotlib.mathtext import MathTextParser

    for unknown, known in UNKNOWN.items():
        row = row.replace(unknown, known)
    MathTextParser("path").parse(f"${row}$")


def test_a_wrong_formula_is_seen() -> None:
    pytest.importorskip("matplotlib", reason="matplotlib's parser of formulas is not installed")
    for wrong in (r"h_t &= \sigmoid(x_t)", r"h_t &= \sigma(x_t}", r"h_t &= x_{t"):
        with pytest.raises(ValueError, match="Expected|Unknown"):
            _check_parse(wrong)
