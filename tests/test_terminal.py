"""The console: whatever is printed through it, nothing of it is a command to Rich or to the terminal."""

import io
import re

import pytest
from rich.panel import Panel
from rich.progress import Progress, TextColumn
from rich.table import Table
from rich.text import Text

from gatewright.terminal import Terminal

HOSTILE = "\x1b]0;title\x07[bold]x[/bold][/nothing]:smile:\u202e\x9b\r"
SHOWN = "]0;title[bold]x[/bold][/nothing]"
OWN = re.compile("\x1b\\[[0-9;?]*[a-zA-Z]")  # what Rich itself writes: colours, movements of the cursor


def written(show: str, *, terminal: bool) -> str:
    file = io.StringIO()
    console = Terminal(file=file, force_terminal=terminal, width=200, color_system="standard" if terminal else None)
    table = Table(HOSTILE, title=HOSTILE)
    table.add_column(HOSTILE)
    table.add_row(HOSTILE, Text(HOSTILE, "red"))
    match show:
        case "status":
            with console.status(HOSTILE) as status:
                status.update(HOSTILE)
        case "progress":
            with Progress(TextColumn("{task.description}", markup=False), console=console) as bar:
                bar.add_task(HOSTILE)
        case _:
            console.print(
                {"text": HOSTILE, "styled": Text(HOSTILE, "bold"), "table": table, "panel": Panel(HOSTILE)}[show]
            )
    return file.getvalue()


@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "file"])
@pytest.mark.parametrize("show", ["text", "styled", "table", "panel", "status", "progress"])
def test_nothing_that_is_shown_steers(show: str, terminal: bool) -> None:
    own = OWN.findall(written(show, terminal=terminal)) if terminal else []
    rest = OWN.sub("", written(show, terminal=terminal))
    assert "\x1b" not in rest
    assert not {"\x9b", "\u202e", "\x07"} & set(rest)
    assert not any(code.endswith("J") for code in own)
    if terminal or show not in ("status", "progress"):
        assert SHOWN in rest.replace(r"\x1b", "").replace(r"\x07", "")


def test_a_table_is_as_wide_as_what_is_shown() -> None:
    file = io.StringIO()
    table = Table("name", "n", box=None, pad_edge=False)
    table.add_row("a\x1bb", "1")
    table.add_row("abcdef", "2")
    Terminal(file=file, width=40).print(table)
    assert file.getvalue().splitlines()[1:] == ["a\\x1bb  1", "abcdef  2"]
