"""Writes docs/reference/: every public name, every command, every setting of a recipe, every error.

    python -m tools.reference            write the pages
    python -m tools.reference --check    fail if one is not up to date

The pages of names hold a line for each name, from the first sentence of its docstring, and the directive from which the
site's tool makes the full entry. Commands come from the command line itself, settings from the recipes.
"""

import argparse
import inspect
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import typer

import gatewright
from gatewright import errors
from gatewright.cells import CATALOGUE, FAMILIES, modules
from gatewright.cli import app
from gatewright.cli.shell import EXIT_CODES, exit_code
from gatewright.tasks.recipes import RECIPES
from gatewright.tasks.settings import described
from tests.paths import ROOT

FOLDER = ROOT / "docs" / "reference"
MARK = "<!-- Made by `make docs` from the code: change the docstrings, or tools/reference.py. -->"
PACKAGES = ("nn", "nn.init", "inspect", "look", "tasks", "stream", "export", "convert", "model_file")
_GROUPS = {
    "task": "The task and its data",
    "columns": "Columns and files",
    "network": "The network",
    "training": "The training",
}

ABOUT_ERRORS = """\
Every error that Gatewright raises on purpose is a `gw.errors.GatewrightError`, which `gw.GatewrightError` names too.
Its text names your object and what is wrong with it. The lines `expected:`, `got:` and `do:` follow where they help;
they are the attributes `expected`, `got` and `do` as well. A command prints the same text and ends with an exit code;
`gatewright --debug COMMAND` prints the traceback too."""
ABOUT_COMMANDS = """\
What `gatewright COMMAND --help` prints, for every command. [The commands](../commands.md) shows them at work."""
ABOUT_SETTINGS = """\
Settings are changed with `--set NAME=VALUE` on the command line, or as arguments of `gw.tasks.train`.
`gatewright recipes RECIPE` prints the same."""


def pages() -> dict[Path, str]:
    """The text of every page that is made, by its path."""
    texts = {"gw": names_page("gw", gatewright)}
    texts |= {name: names_page(f"gw.{name}", import_module(f"gatewright.{name}")) for name in PACKAGES}
    texts |= {
        "cells": cells_page(),
        "errors": errors_page(),
        "command-line": commands_page(),
        "settings": settings_page(),
    }
    return {FOLDER / f"{name}.md": f"{MARK}\n\n{text.rstrip()}\n" for name, text in texts.items()}


def names_page(title: str, module: ModuleType) -> str:
    """The public names of a module: a table of them, and an entry for each."""
    public = public_names(module)
    anchors = numbered(f"{title}.{name}" for name in public if not current_name(public, name))
    rows, entries = list[tuple[str, str]](), list[str]()
    for name, value in public.items():
        full = f"{title}.{name}"
        if current := current_name(public, name):
            rows.append((f"`{full}`", f"The earlier name of `{title}.{current}`."))
        else:
            rows.append((f"[`{full}`](#{anchors[full]})", first_sentence(value)))
            entries.append(f"## {full}\n\n::: {place(module, name)}")
    return "\n\n".join(
        [f"# {title}", markdown(inspect.getdoc(module) or ""), table(("name", "what it is"), rows), *entries]
    )


def public_names(module: ModuleType) -> dict[str, object]:
    """What a module offers: its `__all__`, or the functions and classes that are defined in it."""
    defined = inspect.getmembers(module, lambda value: getattr(value, "__module__", "") == module.__name__)
    own = [name for name, value in defined if inspect.isclass(value) or inspect.isroutine(value)]
    names = (name for name in getattr(module, "__all__", own) if not name.startswith("_"))
    return {name: getattr(module, name) for name in names if not inspect.ismodule(getattr(module, name))}


def current_name(public: Mapping[str, object], name: str) -> str:
    """The name that a class has now, where `name` is an earlier one; "" otherwise."""
    value = public[name]
    now = value.__name__ if inspect.isclass(value) else name
    return now if now != name and public.get(now) is value else ""


def place(module: ModuleType, name: str) -> str:
    """Where a name is defined, for the site's tool."""
    value = getattr(module, name)
    if inspect.isclass(value) or inspect.isfunction(value):
        return f"{value.__module__}.{value.__qualname__}"
    return f"{module.__name__}.{name}"


def first_sentence(value: object) -> str:
    """The first sentence of a docstring, on one line."""
    if not (inspect.isclass(value) or inspect.isroutine(value)):
        return "A mapping." if isinstance(value, Mapping) else "A value."
    text = " ".join((inspect.getdoc(value) or "").split("\n\n")[0].split())
    return (re.match(r".+?(?<!al)[.?!](?= |$)", text) or [text])[0].removesuffix(":")


def numbered(headings: Iterable[str]) -> dict[str, str]:
    """The fragment of each heading's address; the second of two alike has a number."""
    anchors, counts = dict[str, str](), Counter[str]()
    for heading in headings:
        fragment = anchor(heading)
        anchors[heading] = f"{fragment}_{counts[fragment]}" if counts[fragment] else fragment
        counts[fragment] += 1
    return anchors


def anchor(heading: str) -> str:
    """The fragment of a heading's address."""
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading.lower())).strip("-")


def markdown(docstring: str) -> str:
    """A docstring as Markdown: what is indented by four spaces is Python."""
    parts = re.split(r"((?:^ {4}.*(?:\n|\Z)|^\n(?= {4}))+)", docstring, flags=re.MULTILINE)
    parts[1::2] = [f"<!-- not run: an excerpt -->\n```python\n{inspect.cleandoc(code)}\n```" for code in parts[1::2]]
    return "\n\n".join(part.strip() for part in parts if part.strip())


def table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A table of Markdown."""
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(f"| {' | '.join(_cell(text) for text in line)} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def cells_page() -> str:
    """The catalogue of cells: by family, with an entry for each."""
    parts = [
        "# gw.cells",
        markdown("\n\n".join((inspect.getdoc(import_module("gatewright.cells")) or "").split("\n\n")[:2])),
    ]
    for family, names in FAMILIES.items():
        rows = ((f"[`{name}`](#{anchor(f'gw.cells.{name}')})", CATALOGUE[name].about.title) for name in names)
        parts += [f"**{family}**", table(("cell", "what it is"), rows)]
    defined = {name: f"{module.__name__}.{name}" for module in modules() for name in module.__all__}
    for name, cell in CATALOGUE.items():
        about = cell.about
        facts = [
            f"{label}: {text}"
            for label, text in (
                ("Paper", about.paper),
                ("Convention", about.convention),
                ("What differs", about.differs),
            )
            if text
        ]
        parts += [
            f"## gw.cells.{name}",
            f"*{about.title}.*",
            "\n".join(f"- {fact}" for fact in facts),
            f"::: {defined[name]}",
        ]
    return "\n\n".join(part for part in parts if part)


def errors_page() -> str:
    """The classes of errors, what else catches them, and the exit codes of commands."""
    classes = [
        value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, errors.GatewrightError)
    ]
    rows = []
    for kind in classes:
        bases = ", ".join(
            f"`{base.__name__}`"
            for base in kind.__mro__[1:]
            if base.__name__ not in ("object", "BaseException", "Exception")
        )
        rows.append(
            (f"`gw.errors.{kind.__name__}`", first_sentence(kind), bases or "`Exception`", str(exit_code(kind(""))))
        )
    codes = ((str(code), meaning) for code, meaning in EXIT_CODES.items())
    return "\n\n".join(
        [
            "# Errors",
            ABOUT_ERRORS,
            table(("class", "what it means", "is also caught as", "exit code of a command"), rows),
            "## Exit codes",
            table(("exit code", "meaning"), codes),
        ]
    )


def commands_page() -> str:
    """Every command with its arguments, options and examples."""
    program: Any = typer.main.get_command(app)
    rows = [
        (f"[`gatewright {name}`](#{anchor(f'gatewright {name}')})", _summary(command))
        for name, command in program.commands.items()
    ]
    parts = [
        "# Command line",
        ABOUT_COMMANDS,
        table(("command", "what it does"), rows),
    ]
    for name, command in program.commands.items():
        parts += [*command_parts(name, command)]
    return "\n\n".join(parts)


def _summary(command: Any) -> str:
    return inspect.cleandoc(command.help or "").split("\n\n")[0]


def command_parts(name: str, command: Any) -> Iterator[str]:
    """The heading, the text, the options and the examples of a command."""
    yield f"## gatewright {name}"
    yield inspect.cleandoc(command.help or "")
    shown = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
    rows = ((_written(parameter), _explained(parameter)) for parameter in shown)
    yield table(("argument or option", "what it is"), rows)
    examples = [line.strip() for line in (command.epilog or "").splitlines() if line.startswith("    ")]
    if examples:
        yield "```sh\n" + "\n".join(examples) + "\n```"


def _written(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{(parameter.metavar or parameter.name).upper()}`"
    value = "" if parameter.is_flag else f" {parameter.metavar or parameter.opts[0].strip('-').upper()}"
    return " ".join(f"`{option}{value}`" for option in (*parameter.opts, *parameter.secondary_opts))


def _explained(parameter: Any) -> str:
    default = parameter.show_default if isinstance(getattr(parameter, "show_default", None), str) else parameter.default
    is_shown = isinstance(default, str | int | float) and not isinstance(default, bool) and not parameter.required
    return f"{parameter.help or ''}{f' Default: {default}.' if is_shown else ''}"


def settings_page() -> str:
    """Every setting of every recipe."""
    parts = [
        "# Recipes and their settings",
        ABOUT_SETTINGS,
        table(
            ("recipe", "what it learns"),
            ((f"[`{name}`](#{anchor(name)})", kind.about) for name, kind in RECIPES.items()),
        ),
    ]
    for name, kind in RECIPES.items():
        parts += [f"## {name}", f"{kind.about[:1].upper()}{kind.about[1:]}.".replace("..", ".")]
        if kind.data_forms:
            parts += [f"`--data`: {kind.data_forms}, such as", f"```text\n{kind.data_example.strip()}\n```"]
        settings = described(kind)
        for group, title in _GROUPS.items():
            rows = [
                (f"`{setting.name}`", _default(setting), _about(setting))
                for setting in settings
                if setting.group == group
            ]
            if rows:
                parts += [f"**{title}**", table(("setting", "default", "what it is"), rows)]
        parts += [f"- `preset={preset}`: {about}" for preset, about in kind.presets.items()]
    return "\n\n".join(parts)


def _default(setting: Any) -> str:
    return f"`{setting.shown_default}`" if setting.shown_default else "(empty)"


def _about(setting: Any) -> str:
    choices = f" ({setting.kind.removeprefix('one of ')})" if setting.kind.startswith("one of ") else ""
    return f"{setting.about}{choices}".replace("*", "\\*").replace("<", "&lt;")


def outdated() -> list[str]:
    """The pages that are not what they should be."""
    return [
        path.name for path, text in pages().items() if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]


def main() -> None:
    """Write the pages, or with --check fail where one is old."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the files instead of writing them")
    if parser.parse_args().check:
        if old := outdated():
            sys.exit(f"not up to date: {', '.join(old)}: make docs")
        return
    FOLDER.mkdir(exist_ok=True)
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
