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
        (
            "zoneout(rote=0.1)(gru)",
            "'zoneout(rote=0.1)(gru)' cannot be made: zoneout is given too much, too little or what it does not know",
        ),
        ("gru(gate=foo)", "option 'gate' of cell 'gru' is a function\n  expected: one of sigmoid, tanh, "),
        ("gru(gate=3)", "option 'gate' of cell 'gru' is a function\n"),
        ("mine.py", "'mine.py' names a file and no cell in it\n  do: name a cell of the file: mine.py:my_cell"),
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
    assert str(caught.value) == (
        f"there is no file {tmp_path}/none.py to take the cell 'leaky' from\n"
        "  do: give its path from this folder, or in full"
    )


@pytest.mark.parametrize(
    ("content", "got"),
    [
        ("x = 1\ndef (\n", "SyntaxError in line 2: "),
        ("\n\nimport no_such_package\n", "ModuleNotFoundError in line 3: No module named 'no_such_package'"),
        ("def divide():\n    return 1 / 0\n\n\ndivide()\n", "ZeroDivisionError in line 2: division by zero"),
    ],
)
def test_a_file_that_does_not_run_is_named_with_its_line(content: str, got: str, tmp_path: Path) -> None:
    path = tmp_path / "my cells.py"
    path.write_text(content)
    with pytest.raises(OptionError) as caught:
        read_cell(f"{path}:leaky")
    assert caught.value.problem == f"{path} cannot be run to take the cell 'leaky' from it"
    assert (caught.value.got or "").startswith(got)
    assert caught.value.do == f"mend the file; python '{path}' shows where it stops"


def test_a_function_that_is_no_cell(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def plain(x):\n    return x\n")
    with pytest.raises(OptionError) as caught:
        read_cell(f"{tmp_path}/mine.py:plain")
    assert str(caught.value) == (
        f"{tmp_path}/mine.py has no cell named 'plain'\n  expected: a function with @gw.cell\n"
        "  got: plain is a function that is no cell\n  do: put @gw.cell above the function"
    )
