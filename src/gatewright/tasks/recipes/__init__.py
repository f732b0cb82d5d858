"""The recipes, by name: each file in this folder holds one, and is found by being here."""

import importlib
import pkgutil
from collections.abc import Mapping
from difflib import get_close_matches

from gatewright.errors import OptionError
from gatewright.tasks.recipe import Recipe

_MODULES = [importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]

RECIPES: Mapping[str, type[Recipe]] = {
    kind.name: kind
    for module in _MODULES
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, Recipe) and kind.__module__ == module.__name__
}

ALIASES: Mapping[str, str] = {alias: kind.name for kind in RECIPES.values() for alias in kind.aliases}
"""Other names of recipes, which earlier versions had."""


def known(name: str) -> bool:
    """Whether a recipe has, or had, that name."""
    return name in RECIPES or name in ALIASES


def get(name: str) -> type[Recipe]:
    """The recipe of that name; an OptionError with the nearest names where there is none."""
    name = ALIASES.get(name, name)
    if name not in RECIPES:
        near = get_close_matches(name, RECIPES, n=2)
        raise OptionError(
            f"there is no recipe named {name!r}",
            expected="one of " + ", ".join(RECIPES),
            do="did you mean " + " or ".join(near) + "?" if near else "list them with: gatewright recipes",
        )
    return RECIPES[name]
