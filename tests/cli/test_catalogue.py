"""`gatewright cells` and `gatewright show`, as a person meets them."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gatewright import cells, cli
from gatewright.backends.formulas import latex, unicode
from gatewright.derive import vjp
from gatewright.drawing import diagram
from gatewright.trace import trace_cell
from gatewright.trace.text import parse


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Run a command that succeeds, and give what it printed."""

    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["gatewright", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        assert not ended.value.code, printed.err
        return "".join(f"{line.rstrip()}\n" for line in printed.out.splitlines())

    return run


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Run a command that is asked for what cannot be, and give its message."""

    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["gatewright", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 2
        return capsys.readouterr().err

    return run


def test_cells(said, golden: Callable[[str, str], None]) -> None:
    golden("cli/cells.txt", said("cells", "--input", "28", "--hidden", "256"))


def test_cells_fit_a_terminal_however_large(said) -> None:
    assert max(map(len, said("cells", "--hidden", "1024").splitlines())) <= 80


def test_cells_as_json(said) -> None:
    found = json.loads(said("cells", "--input", "3", "--hidden", "2", "--json"))
    assert list(found) == list(cells.CATALOGUE)
    assert found["elman"]["parameter_count"] == 2 * 3 + 2 * 2 + 2
    assert [one["name"] for one in found["elman"]["parameters"]] == ["W.h", "U.h", "b.h"]


SHOWN = {
    "gru": ("gru", "--input", "28"),
    "gru_reset_after_gradient": ("gru(reset=after)", "--gradient"),
    "lstm_projected": ("lstm_projected", "--size", "projection=64"),
    "masked_slstm": ("masked(slstm)",),
    "layer_norm_zoneout_lstm": ("layer_norm(zoneout(0.1)(lstm))",),
    "fastgrnn": ("fastgrnn",),
    "sru": ("sru",),
}


@pytest.mark.parametrize("name", SHOWN)
def test_show(name: str, said, golden: Callable[[str, str], None]) -> None:
    golden(f"cli/show_{name}.txt", said("show", *SHOWN[name]))


def test_show_as_latex(said) -> None:
    trace = trace_cell(cells.get("gru")(reset="after"))
    assert said("show", 'gru(reset="after")', "--latex") == f"{latex.equations(trace)}\n"
    assert said("show", "gru(reset=after)", "--latex", "--gradient") == f"{latex.gradient(trace)}\n"


def test_show_as_a_trace(said) -> None:
    trace = trace_cell(cells.get("lstm"))
    assert parse(said("show", "lstm", "--trace")) == trace
    assert parse(said("show", "lstm", "--trace", "--gradient")) == vjp(trace)


def test_show_as_a_diagram(said, refused, tmp_path: Path) -> None:
    path = tmp_path / "gru.svg"
    assert said("show", "gru(reset=after)", "--diagram", str(path)) == f"written: {path}\n"
    assert path.read_text(encoding="utf-8") == diagram(cells.get("gru")(reset="after")).svg
    assert refused("show", "gru", "--diagram", str(tmp_path / "gru.png")) == (
        f"error: a diagram is an SVG file, and {tmp_path / 'gru.png'} is not\n  do: give a path that ends in .svg\n"
    )
    assert refused("show", "gru", "--diagram", str(path), "--latex") == (
        "error: --diagram writes a file, and the other options print text\n  do: ask for one of them\n"
    )


def test_show_as_json(said) -> None:
    trace = trace_cell(cells.get("lstm"))
    found = json.loads(said("show", "lstm", "--hidden", "4", "--json"))
    assert found["sizes"] == {"input": 128, "hidden": 4}
    assert found["latex"] == latex.equations(trace)
    assert "gradient" not in found
    more = json.loads(said("show", "lstm", "--json", "--trace", "--gradient", "--latex"))
    assert more["gradient"] == unicode.gradient(trace)
    assert more["gradient_latex"] == latex.gradient(trace)
    assert parse(more["trace"]) == trace


def test_show_a_cell_of_a_file(said, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "import gatewright as gw\n\n\n@gw.cell\ndef forgetful(x, h, W, b):\n"
        '    """Forgets all."""\n    c_tilde = gw.tanh(W.c @ x + b.c)\n    return c_tilde + 0 * h\n',
        encoding="utf-8",
    )
    shown = said("show", f"{path}:forgetful", "--input", "3", "--hidden", "2")
    assert "  c\u0303ₜ = tanh(W_c xₜ + b_c)\n" in shown
    assert "Weights and biases: 8 numbers" in shown
    assert shown.startswith("Forgets all.\nforgetful\n\nOne step\n")


def test_what_cannot_be_shown_is_said(refused) -> None:
    assert refused("show", "gruu").startswith("error: the catalogue has no cell 'gruu'\n  expected: perhaps gru")
    assert refused("show", "gru", "--size", "projection=3") == (
        "error: cell 'gru' has no axis 'projection'\n  expected: input, hidden\n  got: projection\n"
    )
    assert refused("show", "gru", "--size", "projection") == (
        "error: --size gives an axis a size\n  expected: AXIS=N, as in projection=64\n  got: 'projection'\n"
    )
    assert refused("show", "gru", "--latex", "--trace") == (
        "error: --latex and --trace are two ways to write a cell\n  do: ask for one of them, or for --json\n"
    )
