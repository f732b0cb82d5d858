"""Everything that the package prints goes through one console, or one function: no file prints by itself."""

import ast
from collections.abc import Iterator

import pytest

from tests.paths import ROOT, package_files

PRINTERS = {"src/gatewright/terminal.py", "src/gatewright/untrusted/printable.py"}
FORBIDDEN = {"print", "typer.echo", "typer.secho", "click.echo", "sys.stdout.write", "sys.stderr.write", "rich.print"}


def own_prints(source: str) -> Iterator[str]:
    """What prints past the console: calls of other functions, consoles of Rich, and text with markup."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=function) if ast.unparse(function) in FORBIDDEN:
                yield f"line {node.lineno}: {ast.unparse(function)}"
            case ast.ImportFrom(module="rich.console", names=names) if any(one.name == "Console" for one in names):
                yield f"line {node.lineno}: rich.console.Console"
            case ast.ImportFrom(module="rich" | "rich.status" | "rich.markup"):
                yield f"line {node.lineno}: {node.module}"
            case ast.Attribute(attr="from_markup"):
                yield f"line {node.lineno}: from_markup"
            case ast.keyword(arg="markup", value=ast.Constant(value=True)):
                yield f"line {node.value.lineno}: markup=True"
            case _:
                pass


def test_no_file_prints_by_itself() -> None:
    found = {
        str(path.relative_to(ROOT)): list(own_prints(path.read_text(encoding="utf-8"))) for path in package_files()
    }
    assert {file: prints for file, prints in found.items() if prints and file not in PRINTERS} == {}
    assert all(found[file] for file in PRINTERS), "they print, so what prints is found"


@pytest.mark.parametrize(
    "line",
    [
        "print(name)",
        "typer.echo(name)",
        "sys.stdout.write(name)",
        "from rich.console import Console",
        "from rich.console import Group, Console as C",
        "from rich import print as show",
        "Text.from_markup(name)",
        "console.print(name, markup=True)",
    ],
)
def test_a_print_is_found(line: str) -> None:
    assert list(own_prints(line))


def test_what_goes_through_the_console_is_no_print() -> None:
    assert not list(own_prints("console.print(name)\nprint_text(name)\nfrom rich.text import Text"))
