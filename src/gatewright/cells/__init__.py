"""The catalogue of cells, each the few lines that its paper prints.

    gw.cells.gru, gw.cells.get("gru"), gw.cells.CATALOGUE["gru"]

A file in this folder is found by being here: it lists its cells in `__all__`, and its docstring begins with
what they have in common. `__getattr__` tells a type checker that `gw.cells.anything` is a cell.
"""

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from types import MappingProxyType, ModuleType

from gatewright.cells._parts import identity
from gatewright.errors import OptionError
from gatewright.lang import Cell

__all__ = ["ALIASES", "CATALOGUE", "FAMILIES", "get", "identity"]


def modules() -> Iterator[ModuleType]:
    """The files of cells, imported."""
    for file in pkgutil.iter_modules(__path__):
        if not file.name.startswith("_"):
            yield importlib.import_module(f"{__name__}.{file.name}")


_CELLS = sorted(
    ((name, getattr(module, name), module) for module in modules() for name in module.__all__),
    key=lambda row: row[0],
)

CATALOGUE: Mapping[str, Cell] = MappingProxyType({name: cell for name, cell, _ in _CELLS if name == cell.name})
"""Every cell once, under its own name, in alphabetical order."""

ALIASES: Mapping[str, str] = MappingProxyType({name: cell.name for name, cell, _ in _CELLS if name != cell.name})
"""Further names that some cells are known by: {"rnn": "elman"}."""

FAMILIES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        (family.__doc__ or "").split("\n")[0].rstrip("."): tuple(
            name for name, cell, module in _CELLS if module is family and name == cell.name
        )
        for family in dict.fromkeys(module for _, _, module in _CELLS)
    }
)
"""What the cells of one file have in common, and their names."""


def get(name: str) -> Cell:
    """The cell of that name.

    Raises OptionError for a name that the catalogue does not have; it lists names that are near.
    """
    cell = CATALOGUE.get(ALIASES.get(name, name))
    if cell is None:
        near = get_close_matches(name.lower(), [*CATALOGUE, *ALIASES], n=4, cutoff=0.5)
        raise OptionError(
            f"the catalogue has no cell {name!r}",
            expected=f"perhaps {' or '.join(near)}" if near else f"one of {', '.join(CATALOGUE)}",
            got=repr(name),
            do="gw.cells.CATALOGUE has all names; pass a cell of your own itself, not by its name",
            shell="list the catalogue with: gatewright cells; a cell of your own is my_cells.py:my_cell",
        )
    return cell


def __getattr__(name: str) -> Cell:
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return get(name)
    except OptionError as unknown:
        raise AttributeError(str(unknown)) from None


def __dir__() -> list[str]:
    return [*__all__, *CATALOGUE, *ALIASES]
