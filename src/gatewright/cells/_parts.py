"""What the files of the catalogue share: checks of options, trivial functions, and naming a variant."""

from collections.abc import Mapping
from dataclasses import replace

from gatewright.errors import OptionError
from gatewright.lang import Cell, Symbol, maximum, minimum


def identity(value: Symbol) -> Symbol:
    """The activation that leaves its argument as it is."""
    return value


def plus(value: Symbol, number: float) -> Symbol:
    """The sum, without an operation where the number is 0."""
    return value + number if number else value


def clip(value: Symbol, limit: float) -> Symbol:
    """The value cut off at -limit and limit, or as it is where the limit is 0."""
    return minimum(maximum(value, -limit), limit) if limit else value


def one_of(cell: str, choices: Mapping[str, tuple[str, ...]], **given: str) -> None:
    """Check options that are words.

    Raises OptionError, which names the cell, the option and the words that it can be.
    """
    for option, value in given.items():
        if value not in choices[option]:
            raise OptionError(
                f"cell {cell!r} has no variant {option}={value!r}",
                expected=", ".join(f'{option}="{word}"' for word in choices[option]),
                got=repr(value),
                do="name one of the expected words",
            )


def named(cell: Cell, name: str, **about: str) -> Cell:
    """A cell whose options are bound, as a cell of its own: what was bound becomes its default."""
    return replace(
        cell,
        name=name,
        about=replace(cell.about, **about),
        options={},
        defaults={**cell.defaults, **cell.options},
    )
