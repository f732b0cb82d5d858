"""A cell is named by a text that is parsed and never evaluated."""

from pathlib import Path

import pytest

import gatewright as gw
from gatewright.errors import OptionError
from gatewright.tasks.cell_spec import read_cell


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("gru", "gru"),
        (" gru( reset = after ) ", 'gru(reset="after")'),
        ('gru(reset="after", recurrent_bias=False)', 'gru(reset="after", recurrent_bias=False)'),
        ("gru(gate=hard_sigmoid_theano)", "gru(gate=hard_sigmoid_theano)"),
        ("rnn", "elman"),
        ("zoneout(0.1)(lstm)", "zoneout(0.1)(lstm)"),
        ("layer_norm(gru(update=replaces))", 'layer_norm(gru(update="replaces"))'),
    ],
)
def test_what_can_be_named(text: str, label: str) -> None:
    assert read_cell(text).label == label


@pytest.mark.parametrize(
    "text",
    [
        "",
        "gru(",
        "gru.x",
        "gru + lstm",
        "gru('after')",
        "gru(**{})",
        "gru(reset=print(1))",
        "[gru]",
        "layer_norm(gru)(gru)",
    ],
)
def test_what_cannot_be_read(text: str) -> None:
    with pytest.raises(OptionError) as caught:
        read_cell(text)
    assert str(caught.value) == (
        f"the cell {text!r} cannot be read\n"
        "  expected: a name of the catalogue, with options, as in gru or gru(reset=after); a variation of a cell, as "
        "in zoneout(0.1)(lstm); or a cell in a file, as in my_cells.py:my_cell\n"
        "  do: list the catalogue with: gatewright cells"
    )


@pytest.mark.parametrize(
    ("text", "beginning"),
    [
        ("gro", "the catalogue has no cell 'gro'"),
        ("gru(rest=1)", "cell 'gru' has no option 'rest'"),
        ("zoneout(0.1)", "'zoneout(0.1)' is no cell but makes one of another"),
        ("zoneout(rote=0.1)(gru)", "'zoneout(rote=0.1)(gru)' cannot be made"),
    ],
)
def test_what_there_is_not(text: str, beginning: str) -> None:
    with pytest.raises(OptionError) as caught:
        read_cell(text)
    assert str(caught.value).startswith(beginning)


def test_a_cell_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "import gatewright as gw\n\n\n@gw.cell\ndef leaky(x, h, W, b):\n    return 0.9 * h + gw.tanh(W.n @ x + b.n)\n"
    )
    found = read_cell(f"{path}:leaky")
    assert isinstance(found, gw.Cell)
    assert found.name == "leaky"
    with pytest.raises(OptionError) as caught:
        read_cell(f"{path}:leeky")
    assert str(caught.value) == f"{path} has no cell named 'leeky'\n  expected: one of leaky"
    with pytest.raises(OptionError) as caught:
        read_cell(f"{tmp_path}/none.py:leaky")
    assert str(caught.value) == f"there is no file {tmp_path}/none.py to take the cell 'leaky' from"
