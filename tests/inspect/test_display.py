"""What `print` and notebooks show of cells, Traces and layers."""
# pyright: reportPrivateUsage=false, reportMissingParameterType=false

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

import gatewright as gw
from gatewright import cells
from gatewright.backends.formulas import latex, mathml, unicode
from gatewright.backends.formulas.cell_lines import cell_lines
from gatewright.derive import vjp
from gatewright.trace import trace_cell
from gatewright.trace.ir import renamed
from tests.backends.formulas.cases import CASES

GRU, LSTM = cells.get("gru"), cells.get("lstm")
EMPTY = {"br", "hr", "img", "input", "meta", "link"}


class Reader(HTMLParser):
    """Holds that every element is closed, and collects elements and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: set[str] = set()
        self.words: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.elements.add(tag)
        self.open += [tag] if tag not in EMPTY else []

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))


def test_print_shows_the_equations_of_a_cell() -> None:
    assert str(GRU) == (
        "gru: Gated recurrent unit (GRU)\n\n"
        "rₜ = σ(W_r xₜ + U_r hₜ₋₁ + b_r)\n"
        "zₜ = σ(W_z xₜ + U_z hₜ₋₁ + b_z)\n"
        "nₜ = tanh(W_n xₜ + U_n (rₜ ⊙ hₜ₋₁) + b_n)\n"
        "hₜ = zₜ ⊙ hₜ₋₁ + (1 − zₜ) ⊙ nₜ\n\n"
        "rₜ scales hₜ₋₁ before its matrix does\n"
        "zₜ near 1 keeps the old state"
    )
    assert repr(GRU) == "<gatewright cell gru>"


def test_what_gates_do_is_told_from_the_equations() -> None:
    assert "rₜ scales the product of hₜ₋₁ and its matrix\n" in str(GRU(reset="after"))
    assert "rₜ scales the product of hₜ₋₁ and its matrix\n" in str(GRU(reset="after", recurrent_bias=False))
    assert "zₜ near 1 replaces the old state" in str(GRU(update="replaces"))
    assert "zₜ near 1 replaces the old state" in str(cells.get("mingru"))
    assert str(LSTM).endswith(
        "iₜ scales what is added to the state\nfₜ near 1 keeps the old state\noₜ scales what a layer gives out"
    )
    assert "fₜ near 1 keeps the old state" in str(cells.get("slstm"))


def test_a_trace_shows_its_equations_and_keeps_its_representation() -> None:
    trace = trace_cell(GRU)
    assert unicode.equations(trace) in str(trace)
    assert repr(trace).startswith("Trace(name='gru', inputs=(Var(")
    assert trace._repr_latex_() == f"$$\n{latex.equations(trace)}\n$$"
    assert unicode.equations(vjp(trace)) in str(vjp(trace))


@pytest.mark.parametrize("name", CASES)
def test_the_page_of_a_cell_names_every_parameter_gate_and_equation(name: str) -> None:
    trace = trace_cell(CASES[name])
    page = Reader(CASES[name]._repr_html_() or "")
    assert {"math", "svg", "table"} <= page.elements
    for param in trace.params:
        shape = f"({', '.join(param.shape)})" if param.shape else ""
        assert param.name in page.text
        assert shape in page.text
    assert mathml.equations(trace) in (CASES[name]._repr_html_() or "")
    assert mathml.equations(trace).count("<tr>") == len(cell_lines(trace))


def test_the_formulas_of_a_page() -> None:
    gru = Reader(mathml.equations(trace_cell(GRU))).text
    assert gru == "rt=σ(Wrxt+Urht−1+br)zt=σ(Wzxt+Uzht−1+bz)nt=tanh(Wnxt+Un(rt⊙ht−1)+bn)ht=zt⊙ht−1+(1−zt)⊙nt"
    assert "<mfrac>" in mathml.equations(trace_cell(cells.get("minlstm")))
    assert "otherwise" in Reader(mathml.equations(trace_cell(gw.masked(GRU)))).text


def test_the_convention_is_on_the_page() -> None:
    text = Reader(GRU._repr_html_() or "").text
    assert "Convention: z = 1 keeps the old state (PyTorch" in text
    assert "Differs from the paper: the paper has no biases" in text


def test_a_layer_shows_the_sizes_of_its_parameters() -> None:
    pytest.importorskip("torch")
    layer = gw.nn.GRU(3, 4)
    text = Reader(layer._repr_html_() or "").text
    assert text.startswith("GRU(3, 4)")
    assert "WrW.r4 × 3weights of xₜ in rₜ" in text
    assert "scales the product of hₜ₋₁ and its matrix" in text
    assert layer._repr_latex_() == GRU(reset="after")._repr_latex_()
    assert str(layer) == repr(layer) == "GRU(3, 4)"
    assert "WrW.r4 × 3" in Reader(gw.nn.GRUCell(3, 4)._repr_html_() or "").text
    wide = gw.nn.Recurrent("lstm_projected", 3, 4, sizes={"projection": 2})
    assert "4 × 2" in Reader(wide._repr_html_() or "").text


HOSTILE = '</div><script>alert("x")</script>&\'$\\frac{}$]]>-->\x1b[31m\u202e'


def test_hostile_names_are_text() -> None:
    about = replace(GRU.about, title=HOSTILE, convention=HOSTILE, paper=HOSTILE, differs=HOSTILE)
    cell = replace(GRU, name=HOSTILE, about=about)
    trace = renamed(trace_cell(cell), {"r": HOSTILE, "z": "{$%&#^~_<", "n": 300 * "é"})
    for shown in (cell, trace):
        page = Reader(shown._repr_html_() or "")
        assert "script" not in page.elements
        assert "\x1b" not in page.text + str(shown)
        assert "\u202e" not in page.text + str(shown)
    written = trace._repr_latex_() or ""
    assert re.findall(r"(?<!\\)\$", written) == ["$"] * 4  # those around the equations
    assert r"\{\$\%\&\#\wedge \sim " in written
    assert written.replace(r"\{", "").replace(r"\}", "").count("{") == written.replace(r"\{", "").replace(
        r"\}", ""
    ).count("}")


@gw.cell
def broken(x, h, W, U):
    """Adds what does not fit."""
    return W.h @ x + x


def test_a_cell_with_wrong_equations_is_shown_by_its_name() -> None:
    assert str(broken) == "<gatewright cell broken>"
    assert broken._repr_html_() is None
    assert broken._repr_latex_() is None
