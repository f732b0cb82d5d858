"""The catalogue finds every file of cells, knows every name, and says what it does not know."""

import pkgutil
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from gatewright import cells
from gatewright.errors import OptionError
from gatewright.lang import Cell, relu, tanh
from gatewright.trace import trace_cell

MODULES = [found.name for found in pkgutil.iter_modules(cells.__path__) if not found.name.startswith("_")]


def test_names_are_in_order_and_unique() -> None:
    assert list(cells.CATALOGUE) == sorted(cells.CATALOGUE)
    assert all(cell.name == name for name, cell in cells.CATALOGUE.items())
    assert not set(cells.CATALOGUE) & set(cells.ALIASES)
    assert sorted(name for names in cells.FAMILIES.values() for name in names) == list(cells.CATALOGUE)
    assert len(cells.FAMILIES) == len(MODULES)


def test_no_file_hides_a_cell_of_its_name() -> None:
    assert not set(MODULES) & {*cells.CATALOGUE, *cells.ALIASES, *cells.__all__}


def test_a_new_file_is_found_by_being_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ours.py").write_text('"""Cells of ours."""\n')
    (tmp_path / "_theirs.py").write_text("")
    monkeypatch.setattr(cells, "__path__", [*cells.__path__, str(tmp_path)])
    # what the import leaves behind is taken away again with the patches
    monkeypatch.setitem(sys.modules, "gatewright.cells.ours", ModuleType("ours"))
    monkeypatch.setattr(cells, "ours", None, raising=False)
    monkeypatch.delitem(sys.modules, "gatewright.cells.ours")
    found = [module.__name__.rpartition(".")[2] for module in cells.modules()]
    assert sorted(found) == sorted([*MODULES, "ours"])


def test_a_cell_is_had_in_three_ways() -> None:
    assert cells.gru is cells.get("gru")
    assert cells.get("gru") is cells.CATALOGUE["gru"]
    assert cells.get("rnn") is cells.elman
    assert cells.ugrnn is cells.gru_update_only
    assert cells.ALIASES == {
        "br": "brc",
        "nbr": "nbrc",
        "reslstm": "residual_lstm",
        "rnn": "elman",
        "ugrnn": "gru_update_only",
    }
    assert {"gru", "rnn", "get"} <= set(dir(cells))


def test_an_unknown_name_is_told_what_is_near() -> None:
    with pytest.raises(OptionError) as raised:
        cells.get("GRUU")
    assert str(raised.value) == (
        "the catalogue has no cell 'GRUU'\n"
        "  expected: perhaps gru or tgru or ligru or mingru\n"
        "  got: 'GRUU'\n"
        "  do: gw.cells.CATALOGUE has all names; pass a cell of your own itself, not by its name"
    )
    with pytest.raises(OptionError, match=f"one of {', '.join(cells.CATALOGUE)}"):
        cells.get("xyzzy")
    with pytest.raises(AttributeError, match="the catalogue has no cell 'lsmt'"):
        _ = cells.lsmt
    assert not hasattr(cells, "__wrapped__")


@pytest.mark.parametrize("cell", cells.CATALOGUE.values(), ids=lambda cell: cell.name)
def test_every_cell_says_what_it_is(cell: Cell) -> None:
    for text in (cell.about.title, cell.about.paper, cell.about.convention, cell.about.differs):
        assert text, f"{cell.name} leaves something out"
        assert "  " not in text
        assert not text.endswith((".", ";", " "))
    assert re.search(r"(19|20)\d\d|none|Dive into Deep Learning", cell.about.paper)


@pytest.mark.parametrize("cell", cells.CATALOGUE.values(), ids=lambda cell: cell.name)
def test_initial_values_are_of_parameters(cell: Cell) -> None:
    assert set(cell.initial) <= {param.name for param in trace_cell(cell).params}


def test_a_bound_cell_of_its_own_name_can_be_bound_again() -> None:
    assert cells.ligru.label == "ligru"
    assert cells.ligru(activation=tanh).label == "ligru(activation=tanh)"
    assert cells.ligru(activation=relu).label == "ligru"
    assert trace_cell(cells.ligru).equations == trace_cell(cells.gru_update_only(activation=relu)).equations


def assert_message(cell: Cell, message: str) -> None:
    with pytest.raises(OptionError) as raised:
        trace_cell(cell)
    assert str(raised.value) == message


def test_options_that_are_words_are_checked() -> None:
    assert_message(
        cells.gru(reset="befor"),
        "cell 'gru' has no variant reset='befor'\n"
        '  expected: reset="before", reset="after"\n'
        "  got: 'befor'\n"
        "  do: name one of the expected words",
    )
    for cell in (
        cells.gru(update="z"),
        cells.sru(skip="z"),
        cells.qrnn(pool="z"),
        cells.slstm(forget="z"),
        cells.nas(merge="z"),
        cells.residual_lstm(shortcut="z"),
    ):
        with pytest.raises(OptionError, match=f"cell '{cell.name}' has no variant .*='z'"):
            trace_cell(cell)


def test_gates_that_are_left_out_cannot_be_coupled() -> None:
    assert_message(
        cells.lstm_peephole(coupled=True, forget_gate=False),
        "cell 'lstm_peephole' has no two gates to couple\n"
        "  expected: coupled=True with an input gate and a forget gate\n"
        "  got: input_gate=True, forget_gate=False\n"
        "  do: leave out coupled=True, or leave both gates in",
    )


@pytest.mark.parametrize("depth", [0, -1, 1.0, True, "2"])
def test_a_depth_that_is_none_is_refused(depth: object) -> None:
    assert_message(
        cells.rhn(depth=depth),
        f"cell 'rhn' cannot be {depth!r} layers deep\n  expected: a whole number of at least 1\n  got: {depth!r}",
    )
