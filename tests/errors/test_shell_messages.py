"""What a command says of a wrong use can be typed in a shell: no objects of Python, and settings by their names.

An error that both a caller in Python and a command can meet has a remedy for each, `do` and `shell`.
"""

import ast
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from gatewright.cells import get
from gatewright.errors import OptionError
from gatewright.tasks.recipes import RECIPES
from tests.paths import ROOT

SOURCE = ROOT / "src/gatewright"
# What a command runs. Cells are Python in a user's file, so that errors of `lang` and `trace` speak Python; layers,
# kernels and streams have no command.
FOLDERS = (
    "cell_config",
    "cells",
    "cli",
    "convert",
    "export",
    "inspect",
    "model_file",
    "network",
    "tasks",
    "untrusted",
)
PYTHON = re.compile(
    r"(?<!@)\bgw\.\w|\bgatewright\.\w+\.\w|\bunknown=True|\b(?!coupled)[a-z_]+=(?:True|False|None|'|\")|\b[A-Z][a-z]+[A-Z]\w*\(|__\w+__"
)
SET = re.compile(r"--set (\w+)=")
SETTINGS = {field.name for kind in RECIPES.values() for field in dataclasses.fields(kind)}
ELSEWHERE = {  # these are met in Python alone, or quote Python that the user has written
    "convert/keras_files/reading.py": "a call in the user's own Keras code",
    "export/sources.py": "a command gives a path",
    "tasks/data/texts/vocabulary.py": "recipes make vocabularies that know unknown characters",
    "tasks/data/images/labelled.py": "recipes give pixel orders that fit",
}


class Said(NamedTuple):
    """A text of an error as a command shows it."""

    place: str
    text: str


def shown(path: Path) -> Iterator[Said]:
    """The fixed texts of the errors that a file raises."""
    for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id.endswith("Error"):
            given = {keyword.arg: keyword.value for keyword in call.keywords}
            remedy = given.get("shell", given.get("do"))
            for part in (*call.args, given.get("expected"), given.get("got"), remedy):
                if part is not None:
                    place = f"{path.relative_to(SOURCE)}:{call.lineno}"
                    yield from (Said(place, text) for text in _constants(part))


def _constants(part: ast.expr) -> Iterator[str]:
    """What is written in a string, and in what is put together to one, with an ellipsis for each value."""
    if isinstance(part, ast.JoinedStr):
        yield "".join(str(one.value) if isinstance(one, ast.Constant) else "…" for one in part.values)
    elif isinstance(part, ast.Constant) and isinstance(part.value, str):
        yield part.value
    elif isinstance(part, ast.IfExp):
        yield from (*_constants(part.body), *_constants(part.orelse))
    elif isinstance(part, ast.BinOp | ast.BoolOp):
        for one in (part.left, part.right) if isinstance(part, ast.BinOp) else part.values:
            yield from _constants(one)


ALL = [said for folder in FOLDERS for path in sorted((SOURCE / folder).rglob("*.py")) for said in shown(path)]


def test_the_scan_sees_what_it_is_for() -> None:
    assert len(ALL) > 500
    wrong = (
        "gw.cells.CATALOGUE has all names",
        "expected ModelFile(inputs=2)",
        "give layer='recurrent'",
        "train with bidirectional=False",
        "call gatewright.model_file.save",
    )
    assert [text for text in wrong if not PYTHON.search(text)] == []
    assert not PYTHON.search("put @gw.cell above the function")
    assert SET.findall("--set num_steps=...") == ["num_steps"]
    assert "num_steps" not in SETTINGS


def test_a_command_does_not_speak_python() -> None:
    elsewhere = tuple(f"{path}:" for path in ELSEWHERE)
    assert [said for said in ALL if PYTHON.search(said.text) and not said.place.startswith(elsewhere)] == []


OPTION = re.compile(r"(?<![\w-])--[a-z]")
COMMAND = re.compile(r"\b(?:gatewright|torchrun|pip) \w?")  # a whole command says what its options are of
OF_COMMANDS = ("cli/", "tasks/settings.py")  # only commands raise their errors: settings.py reads the texts of --set


def remedies(path: Path) -> Iterator[Said]:
    """What the errors that a file raises tell a caller in Python to do."""
    for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(call, ast.Call):
            place = f"{path.relative_to(SOURCE)}:{call.lineno}"
            for keyword in call.keywords:
                if keyword.arg == "do":
                    yield from (Said(place, text) for text in _constants(keyword.value))


def test_python_is_told_no_options_of_a_command() -> None:
    """Python meets all other errors too, so that an option of a command stands in `shell` alone."""
    told = [said for path in sorted(SOURCE.rglob("*.py")) for said in remedies(path)]
    told = [said for said in told if not said.place.startswith(OF_COMMANDS)]
    assert len(told) > 250
    assert OPTION.search("name another with --out")
    assert OPTION.search("train with --set horizon=3")
    assert [said for said in told if OPTION.search(said.text) and not COMMAND.search(said.text)] == []


def test_what_is_excused_needs_it() -> None:
    excused = {said.place.partition(":")[0] for said in ALL if PYTHON.search(said.text)}
    assert set(ELSEWHERE) <= excused


def test_settings_have_their_names() -> None:
    named = {name for said in ALL for name in SET.findall(said.text)}
    assert named <= SETTINGS, named - SETTINGS


def test_an_error_has_a_remedy_for_each() -> None:
    try:
        get("gruu")
    except OptionError as error:
        said, in_shell = str(error).splitlines(), error.in_shell().splitlines()
    assert said[:-1] == in_shell[:-1]
    assert said[-1] == "  do: gw.cells.CATALOGUE has all names; pass a cell of your own itself, not by its name"
    assert in_shell[-1] == "  do: list the catalogue with: gatewright cells; a cell of your own is my_cells.py:my_cell"
