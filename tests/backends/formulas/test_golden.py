"""The formulas of every cell of the catalogue, exactly as they are printed."""

from collections.abc import Callable

import pytest

from gatewright.backends.formulas import latex, unicode
from gatewright.trace import trace_cell
from tests.backends.formulas.cases import CASES
from tests.paths import GOLDEN


@pytest.mark.parametrize("name", CASES)
def test_latex(name: str, golden: Callable[[str, str], None]) -> None:
    trace = trace_cell(CASES[name])
    golden(f"latex/{name}.tex", f"{latex.equations(trace)}\n\n{latex.gradient(trace)}\n")


@pytest.mark.parametrize("name", CASES)
def test_text(name: str, golden: Callable[[str, str], None]) -> None:
    trace = trace_cell(CASES[name])
    golden(f"text/{name}.txt", f"{unicode.equations(trace)}\n\n{unicode.gradient(trace)}\n")


@pytest.mark.parametrize(("folder", "ending"), [("latex", ".tex"), ("text", ".txt")])
def test_every_golden_file_has_a_cell(folder: str, ending: str) -> None:
    kept = {path.name.removesuffix(ending) for path in (GOLDEN / folder).iterdir()}
    assert kept == set(CASES)
