"""The message about a cell that was defined again quotes the line as it is now."""

import linecache
from pathlib import Path

import pytest

from gatewright.errors import CellError
from gatewright.trace import trace_cell

CELL = """\
import gatewright as gw

@gw.cell
def unit(x, h, W, U, b):
    return {equation}
"""
FIRST, SECOND = "gw.tanh(W.h @ x + U.h @ x)", "gw.sigmoid(W.h @ x + U.h @ x + b.h)"


def message(equation: str, file: str) -> str:
    names: dict[str, object] = {}
    exec(compile(CELL.format(equation=equation), file, "exec"), names)
    with pytest.raises(CellError) as refused:
        trace_cell(names["unit"])  # pyright: ignore[reportArgumentType]
    return str(refused.value)


def test_a_cell_that_was_changed_in_its_file(tmp_path: Path) -> None:
    file = tmp_path / "my_cells.py"
    for equation in (FIRST, SECOND, FIRST):
        file.write_text(CELL.format(equation=equation), encoding="utf-8")
        assert f"({file}, line 5: `return {equation}`)" in message(equation, str(file))


def test_a_cell_that_was_run_again_in_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    # a notebook puts the text of what it runs into the cache of lines, without a file and without a date
    for equation in (FIRST, SECOND):
        source = CELL.format(equation=equation)
        lines = source.splitlines(keepends=True)
        monkeypatch.setitem(linecache.cache, "<ipython-input-3>", (len(source), None, lines, "<ipython-input-3>"))
        assert f"(<ipython-input-3>, line 5: `return {equation}`)" in message(equation, "<ipython-input-3>")
