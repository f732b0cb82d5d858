"""Whatever is a Trace can be written: a gradient as it is computed, a directional derivative, a second gradient."""

import pytest

from gatewright import cells
from gatewright.backends.formulas import latex, unicode
from gatewright.backends.formulas.tree import Name
from gatewright.derive import jvp, vjp
from gatewright.trace import trace_cell
from tests.backends.formulas.cases import CASES
from tests.backends.formulas.reader import read_lines

ELMAN = trace_cell(cells.get("elman"))


@pytest.mark.parametrize("name", CASES)
def test_a_gradient_as_it_is_computed(name: str) -> None:
    trace = trace_cell(CASES[name])
    back = vjp(trace)
    sums = [line.left for line in read_lines(unicode.equations(back)) if line.right.startswith("Σₜ ")]
    assert sums == [f"∂{unicode.spell(Name(param.name))}" for param in trace.params]
    rows = latex.equations(back).split("\n")
    assert len([row for row in rows if r" &= \sum_t " in row]) == len(sums)


def test_the_gradient_of_an_elman_network_as_it_is_computed() -> None:
    assert unicode.equations(vjp(ELMAN)).split("\n") == [
        "hₜ    = tanh(W_h xₜ + U_h hₜ₋₁ + b_h)",
        "aₜ    = (∂hₜ + ∂h_outₜ) ⊙ (1 − hₜ²)",
        "∂hₜ₋₁ = U_hᵀ aₜ",
        "∂xₜ   = W_hᵀ aₜ",
        "∂W_h  = Σₜ aₜ xₜᵀ",
        "∂U_h  = Σₜ aₜ hₜ₋₁ᵀ",
        "∂b_h  = Σₜ aₜ",
    ]


def test_a_directional_derivative() -> None:
    assert unicode.equations(jvp(ELMAN)).split("\n") == [
        "hₜ  = tanh(W_h xₜ + U_h hₜ₋₁ + b_h)",
        "dhₜ = (dW_h xₜ + W_h dxₜ + dU_h hₜ₋₁ + U_h dhₜ₋₁ + db_h) ⊙ (1 − hₜ²)",
    ]


def test_a_second_gradient() -> None:
    text = unicode.equations(vjp(vjp(ELMAN)))
    assert "∂∂W_h" in text
    assert "(" not in "".join(line.left for line in read_lines(text))
    assert r"\bar{\bar{W}}_h" in latex.equations(vjp(vjp(ELMAN)))
