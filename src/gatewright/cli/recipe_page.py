"""The page of one recipe: its data, its settings, and its expected results."""

import dataclasses
from itertools import pairwise
from textwrap import indent, wrap
from typing import TYPE_CHECKING, Any

from rich.table import Table

from gatewright.cli.shell import SettingsCommand, out, print_json

if TYPE_CHECKING:
    from gatewright.tasks.recipe import Expected, Recipe

_TITLES = {
    "task": "of the task and its data",
    "columns": "of columns and files",
    "network": "of the network",
    "training": "of the training",
}
_SETTING, _DEFAULT = 18, 18  # columns
_WIDTH = 80


class RecipeHelp(SettingsCommand):
    """A command whose `--help` beside the name of a recipe shows that recipe."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Show the recipe, or take the arguments as every command does."""
        if {"--help", "-h"} & set(args):
            from gatewright.tasks.recipes import get, known

            flags = {
                option for parameter in self.params if getattr(parameter, "is_flag", False) for option in parameter.opts
            }
            places = (word for before, word in pairwise(["", *args]) if before in flags or not before.startswith("-"))
            name = next((word for word in places if known(word)), None)
            if name is not None:
                show_recipe(get(name), as_json=False)
                out().print("\nThe options of the command: gatewright train --help")
                ctx.exit()
        return super().parse_args(ctx, args)


def show_recipe(kind: "type[Recipe]", *, as_json: bool) -> None:
    """All of a recipe, for a person or as JSON."""
    from gatewright.tasks.settings import described

    settings = described(kind)
    if as_json:
        print_json(
            {
                "name": kind.name,
                "about": kind.about,
                "data": {"forms": kind.data_forms, "example": kind.data_example},
                "settings": [dataclasses.asdict(setting) for setting in settings],
            }
        )
        return
    console = out()
    data = ["--data: none; the recipe makes its own data"]
    if kind.data_forms:
        data = [*wrap(f"--data: {kind.data_forms}, such as", _WIDTH), *indent(kind.data_example, "    ").splitlines()]
    console.print(f"{kind.name}: {kind.about}\n", *data, sep="\n")
    for group, title in _TITLES.items():
        shown = [setting for setting in settings if setting.group == group]
        if not shown:
            continue
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("setting", min_width=_SETTING, no_wrap=True)
        table.add_column("default", min_width=_DEFAULT, max_width=_DEFAULT, overflow="fold")
        table.add_column("what it is")
        for setting in shown:
            choices = f" ({setting.kind.removeprefix('one of ')})" if setting.kind.startswith("one of ") else ""
            table.add_row(setting.name, setting.shown_default, setting.about + choices)
        console.print(f"\nSettings {title}, changed with --set NAME=VALUE:", style="bold")
        console.print(table)
    for name, preset in kind.presets.items():
        console.print(f"\npreset={name}: {preset}")
    for name, expected in kind.expected.items():
        console.print(f"\nreaches{f' with preset={name}' if name else ''} {reach(expected)}")


def reach(expected: "Expected | None") -> str:
    """What a recipe reaches, and in how long."""
    return f"{expected} (about {expected.seconds:g} s)" if expected is not None else ""
