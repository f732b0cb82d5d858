"""What the documents show works: their Python runs, it prints what they say, and their commands exist."""

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from gatewright.cli.shell import repeat_option
from tests.architecture.documents import FENCE, SHELLS, blocks, commands, run_in_order
from tests.paths import PACKAGE, ROOT, SHARED_DATA, package_files

DOCUMENTS = [path for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))] if path.is_file()]
WITHOUT_PYTHON = {
    "docs/reference/environment.md",
    "docs/benchmarks.md",
    "docs/commands.md",
    "docs/decisions.md",
    "docs/exercises.md",
    "docs/guides/many-machines.md",
    "docs/parallel.md",
    "docs/results.md",
    "docs/start/install.md",
    "docs/system.md",
    "docs/tagging.md",
}
MADE = "<!-- Made by `make docs`"
LINKED = [path for path in (*DOCUMENTS, ROOT / "CONTRIBUTING.md") if path.is_file()]
# To another file of the project, and the name of one.
FILE = re.compile(r"`([\w/]+\.py)`")
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")
NAMES = [path.relative_to(ROOT).as_posix() for path in DOCUMENTS]
# The data sets at hand; blocks of a document that need another one are left out.
DATA = [path.name for path in SHARED_DATA.iterdir()] if SHARED_DATA.is_dir() else []
PICTURE = re.compile(r"\]\(pictures/([\w-]+\.svg)\)")


NAMED = list(zip(DOCUMENTS, NAMES, strict=True))
SLOW = {"docs/learn/four-exercises.md"}  # trains a dozen networks


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, marks=[pytest.mark.slow] * (name in SLOW))
        for path, name in zip(DOCUMENTS, NAMES, strict=True)
    ],
    ids=NAMES,
)
def test_the_python_of_a_document_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, name = path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix()
    found = blocks(text)
    is_without = name in WITHOUT_PYTHON or text.startswith(MADE) or path.name == "index.md"
    assert is_without or any(block.language == "python" for block in found)
    if any("torch" in block.content for block in found):
        pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    if any(block.needs in DATA for block in found):
        monkeypatch.setenv("GATEWRIGHT_DATA", str(SHARED_DATA))
    run_in_order(found, str(path), DATA)


def test_pages_draw_their_pictures() -> None:
    """`python -m tools.pictures_of_pages` takes the pictures from what a page's code writes."""
    pictures = {path: PICTURE.findall(path.read_text(encoding="utf-8")) for path in DOCUMENTS}
    assert sum(map(len, pictures.values())) > 3
    for path, names in pictures.items():
        code = "".join(block.content for block in blocks(path.read_text(encoding="utf-8")) if block.run)
        assert [name for name in names if f'savefig("{name}")' not in code] == [], path.name


def prose(path: Path) -> str:
    """A document without its blocks."""
    return FENCE.sub("", path.read_text(encoding="utf-8"))


def test_links_of_documents_lead_somewhere() -> None:
    wrong = {
        path.name: [link for link in LINK.findall(prose(path)) if not (path.parent / link).exists()] for path in LINKED
    }
    assert {name: broken for name, broken in wrong.items() if broken} == {}


def missing_files(text: str, known: frozenset[str]) -> list[str]:
    """The files that a text names and that are neither in the package nor in the project."""
    return [
        name
        for name in FILE.findall(text)
        if not (any((folder / name).is_file() for folder in (PACKAGE, ROOT)) if "/" in name else name in known)
    ]


def test_files_that_documents_name_exist() -> None:
    known = frozenset(place.name for place in package_files())
    wrong = {path.name: missing_files(prose(path), known) for path in LINKED}
    assert {name: files for name, files in wrong.items() if files} == {}


def test_a_file_that_does_not_exist_is_found() -> None:
    text = "`lang/ops.py`, `tests/paths.py`, `ops.py`; `lang/op.py` and `op.py`"
    assert missing_files(text, frozenset({"ops.py"})) == ["lang/op.py", "op.py"]


def documented_commands() -> Iterator[tuple[str, list[str]]]:
    for path, name in zip(DOCUMENTS, NAMES, strict=True):
        for block in blocks(path.read_text(encoding="utf-8")):
            if block.language in SHELLS:
                for arguments in commands(block, "gatewright"):
                    yield f"{name}: gatewright {' '.join(arguments)}", arguments


def misuse(program: Any, arguments: Sequence[str]) -> str | None:
    """Why the command line would refuse these arguments before it does anything; None where it would not."""
    name, *rest = repeat_option(arguments or [""], "--set")
    if name not in program.commands:
        return f"there is no command {name!r}"
    parameters = program.commands[name].params
    values = []
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            values.append(word)
        elif problem := misused_option(word, parameters, rest):
            return f"{name} {problem}"
    places = [each for each in parameters if each.param_type_name == "argument"]
    least = sum(abs(each.nargs) for each in places if each.required)
    most = math.inf if any(each.nargs < 0 for each in places) else sum(each.nargs for each in places)
    return None if least <= len(values) <= most else f"{name} does not take {len(values)} arguments"


def misused_option(word: str, parameters: Sequence[Any], rest: list[str]) -> str | None:
    """What is wrong with an option; if nothing is, its value is taken out of the `rest` of the line."""
    option, _, value = word.partition("=")
    known = [each for each in parameters if option in (*each.opts, *each.secondary_opts)]
    if option == "--help" or (known and (known[0].is_flag or value)):
        return None
    if not known:
        return f"has no option {option}"
    if not rest:
        return f"{option} needs a value"
    rest.pop(0)
    return None


def test_commands_of_documents_exist() -> None:
    typer = pytest.importorskip("typer")
    from gatewright import cli

    program = typer.main.get_command(cli.app)
    wrong = {command: misuse(program, arguments) for command, arguments in documented_commands()}
    assert len(wrong) > 50
    assert {command: problem for command, problem in wrong.items() if problem} == {}


DOCUMENT = """\
# A title

```python
a = 1
print(a + 1)
```

```output
2
```

<!-- not run: it takes an hour -->
```python
raise SystemExit
```

```sh
cd somewhere  # gatewright is not called here
.venv/bin/gatewright train adding \\
    --out 'runs/a b'  # and a remark
```

<!-- needs the data set birds -->
```python
print(a + 2)
```

```output
3
```
"""


def test_a_document_is_taken_apart() -> None:
    found = blocks(DOCUMENT)
    assert [(block.language, block.line, block.run, block.needs) for block in found] == [
        ("python", 4, True, ""),
        ("output", 9, True, ""),
        ("python", 14, False, ""),
        ("sh", 18, True, ""),
        ("python", 25, True, "birds"),
        ("output", 29, True, ""),
    ]
    assert commands(found[3], "gatewright") == [["train", "adding", "--out", "runs/a b"]]
    assert run_in_order(found, "a document", ["birds"]) == [4, 25]


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("2\n```", "3\n```", AssertionError),
        ("a = 1", "a = b", NameError),
        ("<!-- not", "<!--", SystemExit),
        ("a + 2", "a + 3", AssertionError),
    ],
)
def test_a_document_that_is_not_true_fails(old: str, new: str, error: type[BaseException]) -> None:
    assert old in DOCUMENT
    with pytest.raises(error):
        run_in_order(blocks(DOCUMENT.replace(old, new)), "a document", ["birds"])


def test_a_block_without_its_data_is_left_out() -> None:
    document = blocks(DOCUMENT.replace("a + 2", "a + 3"))
    assert run_in_order(document, "a document", ["bees"]) == [4]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("train adding --out a --set k=v --quick", None),
        ("train adding --out=a", None),
        ("train --help adding", None),
        ("add 1", None),
        ("add 1 2 3", None),
        ("add", "add does not take 0 arguments"),
        ("fly", "there is no command 'fly'"),
        ("", "there is no command ''"),
        ("train adding --speed 3", "train has no option --speed"),
        ("train adding --out", "train --out needs a value"),
        ("train", "train does not take 0 arguments"),
        ("train adding text", "train does not take 2 arguments"),
    ],
)
def test_a_command_that_does_not_exist_is_seen(line: str, reason: str | None) -> None:
    typer = pytest.importorskip("typer")
    app = typer.Typer()

    @app.command()
    def train(recipe: str, out: str = "", set: list[str] | None = None, quick: bool = False) -> None:
        """Train."""

    @app.command()
    def add(numbers: list[int]) -> None:
        """Add."""

    assert misuse(typer.main.get_command(app), line.split()) == reason
