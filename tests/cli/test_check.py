"""`gatewright check` as a person meets it."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from gatewright.backends import numpy_ref
from gatewright.cells import CATALOGUE
from gatewright.derive import rules, vjp
from gatewright.lang import Op

Said = tuple[int, str, str]
MY_CELL = """
import gatewright as gw

@gw.cell
def leaky(x, h, W, U, b, *, rate=0.1):
    return (1 - rate) * h + rate * gw.relu(W.h @ x + U.h @ h + b.h)
"""


@pytest.fixture
def check(invoke: Callable[..., Said]) -> Callable[..., Said]:
    """The command."""
    return partial(invoke, "check")


def test_cells_that_are_right(check: Callable[..., Said]) -> None:
    code, out, _ = check("gru", "lstm(forget_bias=1)", "layer_norm(elman)")
    lines = out.splitlines()
    assert code == 0
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["worst", "relative", "gradient", "second", "forward"]
    assert lines[1].split() == ["error", "against", *["differ.", "autograd"] * 3]
    assert [line.split()[0] for line in lines[2:5]] == ["gru", "lstm(forget_bias=1)", "layer_norm(elman)"]
    for line in lines[2:5]:
        *numbers, verdict = line.split()[1:]
        assert verdict == "ok"
        assert all(0 <= float(number) <= 1e-6 for number in numbers)
        assert len(numbers) == 6
    assert lines[5:] == ["3 cells: every derivative is right to 1e-06"]


def test_the_whole_catalogue(check: Callable[..., Said]) -> None:
    code, out, _ = check("--all", "--no-autograd")
    assert code == 0
    assert out.count(" ok\n") == len(CATALOGUE)
    assert out.endswith(f"{len(CATALOGUE)} cells: every derivative is right to 1e-06\n")


def test_a_cell_that_is_wrong(check: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numpy_ref, "derivative", vjp)
    monkeypatch.setitem(rules.RULES, Op.TANH, lambda g, y, a: (g,))
    code, out, _ = check("gru_input_gates", "hgrn", "--steps", "1", "--no-autograd")
    lines = out.splitlines()
    assert code == 1
    assert [lines[2].split()[-1], lines[3].split()[-1]] == ["FAIL", "ok"]
    assert lines[4].startswith("gru_input_gates: gradient by ")
    assert "by central differences" in lines[4]
    assert lines[-2].startswith("gru_input_gates: and ")
    assert lines[-1] == "1 of 2 cells failed"
    code, out, _ = check("gru_input_gates", "--steps", "1", "--no-autograd", "--json")
    told = json.loads(out)
    wrong = {row["leaf"] for row in told["cells"][0]["rows"] if row["derivative"] == "gradient" and row["error"] > 1e-6}
    assert (code, told["passed"], wrong) == (1, False, {"x", "h", "W.r", "W.n", "U.n", "b.r"})


def test_numbers_that_were_drawn_anew_are_told(check: Callable[..., Said]) -> None:
    code, out, _ = check("irnn", "--hidden", "12", "--steps", "8", "--batch", "4", "--no-autograd")
    assert code == 0
    said = out.splitlines()[3]
    assert said.startswith("irnn: the numbers were drawn anew ")
    assert "since a kink lay within the step; this is seed " in said


def test_a_cell_of_ones_own(check: Callable[..., Said], tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(MY_CELL)
    code, out, _ = check(f"{file}:leaky", "--seed", "3", "--input", "2", "--hidden", "5", "--batch", "2", "--json")
    (told,) = json.loads(out)["cells"]
    assert code == 0
    assert (told["cell"], told["sizes"], len(told["lengths"])) == ("leaky", {"input": 2, "hidden": 5}, 2)
    assert told["seed"] >= 3
    assert {row["leaf"] for row in told["rows"]} >= {"x", "h", "W.h", "U.h", "b.h"}


@pytest.mark.parametrize(("arguments", "got"), [((), "neither"), (("gru", "--all"), "both")])
def test_what_cannot_be_asked(check: Callable[..., Said], arguments: tuple[str, ...], got: str) -> None:
    code, out, messages = check(*arguments)
    assert (code, out) == (2, "")
    assert messages == (
        "error: gatewright check needs cells to check\n"
        "  expected: cells by name, or --all\n"
        f"  got: {got}\n"
        "  do: gatewright check gru, or gatewright check --all\n"
    )


def test_an_unknown_cell(check: Callable[..., Said]) -> None:
    code, out, messages = check("gur")
    assert (code, out) == (2, "")
    assert "error: the catalogue has no cell 'gur'\n  expected: perhaps sgu or mgu or gru or tgru\n" in messages
