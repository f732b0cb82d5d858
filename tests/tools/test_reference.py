"""docs/reference/ has every public name, command, setting and error, and is up to date."""

import re
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import gatewright
from gatewright import errors, tasks
from gatewright.cells import CATALOGUE
from gatewright.tasks.recipes import RECIPES

pytest.importorskip("torch")
reference = pytest.importorskip("tools.reference", reason="the tools do not come with an installed package")


def page(name: str) -> str:
    return (reference.FOLDER / f"{name}.md").read_text(encoding="utf-8")


def test_the_reference_is_up_to_date() -> None:
    assert reference.outdated() == [], "make docs"


@pytest.mark.parametrize("package", ["nn", "inspect", "look", "tasks", "stream", "export", "convert"])
def test_every_public_name_has_a_line(package: str) -> None:
    text = page(package)
    names = import_module(f"gatewright.{package}").__all__
    assert [name for name in names if f"`gw.{package}.{name}`" not in text and name != "init"] == []


def test_every_cell_recipe_and_error_is_there() -> None:
    assert [name for name in CATALOGUE if f"## gw.cells.{name}\n" not in page("cells")] == []
    assert [name for name in RECIPES if f"## {name}\n" not in page("settings")] == []
    kinds = [name for name in vars(errors) if name.endswith("Error")]
    assert [name for name in kinds if f"`gw.errors.{name}`" not in page("errors")] == []
    assert len(kinds) > 8


def sections(text: str) -> dict[str, str]:
    """The second-level sections of a page, by heading."""
    return {heading: body for heading, _, body in (part.partition("\n") for part in text.split("\n## ")[1:])}


def test_every_name_of_the_package_has_a_line() -> None:
    import gatewright

    names = [name for name in gatewright.__all__ if not isinstance(getattr(gatewright, name), ModuleType)]
    assert [name for name in names if not name.startswith("__") and f"`gw.{name}`" not in page("gw")] == []


def test_every_command_and_option_is_there() -> None:
    typer = pytest.importorskip("typer")
    from gatewright import cli

    documented = sections(page("command-line"))
    program = typer.main.get_command(cli.app)
    assert {f"gatewright {name}" for name in program.commands} <= set(documented)
    missing = [
        f"{name} {option}"
        for name, command in program.commands.items()
        for parameter in command.params
        for option in parameter.opts
        if option.startswith("--") and option not in documented[f"gatewright {name}"]
    ]
    assert missing == []


def test_every_setting_of_every_recipe_is_there() -> None:
    documented = sections(page("settings"))
    settings = {name: [field.name for field in fields(recipe)] for name, recipe in RECIPES.items()}
    missing = [
        f"{name}: {setting}"
        for name, names in settings.items()
        for setting in names
        if f"`{setting}`" not in documented[name]
    ]
    assert missing == []
    assert sum(map(len, settings.values())) > 200


def test_every_file_of_a_run_is_there(tmp_path: Path) -> None:
    text = page("files")
    run = tasks.train("adding", quick=True, epochs=1, out=tmp_path / "run", watch=True)
    assert [path.name for path in run.folder.iterdir() if f"`{path.name}" not in text] == []


def test_every_environment_variable_is_there() -> None:
    source = Path(gatewright.__file__).parent
    texts = [file.read_text(encoding="utf-8") for file in source.rglob("*.py")]
    read = {name for text in texts for name in re.findall(r'"(GATEWRIGHT_[A-Z]+)"', text)}
    assert len(read) >= 5
    assert set(re.findall(r"^\| `(GATEWRIGHT_[A-Z]+)`", page("environment"), re.MULTILINE)) == read


def test_an_old_page_is_seen(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "pages", lambda: {tmp_path / "a.md": "new", tmp_path / "b.md": "b"})
    (tmp_path / "a.md").write_text("old", encoding="utf-8")
    (tmp_path / "b.md").write_text("b", encoding="utf-8")
    assert reference.outdated() == ["a.md"]


def test_a_page_of_names() -> None:
    module = ModuleType("a_module", "A module.\n\nIt is used so:\n\n    a = 1\n\n    b = 2\n\nThat is all.")
    module.__all__ = ["Now", "Before", "make", "Make"]
    module.Now = type("Now", (), {"__doc__": "It is. More.", "__module__": "a_module"})
    module.Before = module.Now
    module.Make = type("Make", (), {"__doc__": "A class: for\ntests\n\nMore.", "__module__": "a_module"})
    module.make = 3
    assert reference.names_page("gw.a", module) == (
        "# gw.a\n\nA module.\n\nIt is used so:\n\n"
        "<!-- not run: an excerpt -->\n```python\na = 1\n\nb = 2\n```\n\nThat is all.\n\n"
        "| name | what it is |\n| --- | --- |\n"
        "| [`gw.a.Now`](#gwanow) | It is. |\n"
        "| `gw.a.Before` | The earlier name of `gw.a.Now`. |\n"
        "| [`gw.a.make`](#gwamake) | A value. |\n"
        "| [`gw.a.Make`](#gwamake_1) | A class: for tests |\n\n"
        "## gw.a.Now\n\n::: a_module.Now\n\n"
        "## gw.a.make\n\n::: a_module.make\n\n"
        "## gw.a.Make\n\n::: a_module.Make"
    )
