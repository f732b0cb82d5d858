"""Delay lines: a state that is read some steps after it was returned. Each value that waits is a state of its own."""

from collections.abc import Mapping, Sequence

from gatewright.errors import CellError, OptionError
from gatewright.lang.symbol import Symbol


def delay_line(cell: str, state: str, option: str, steps: object) -> list[str]:
    """The states of a delay line of that many steps: the one that is read in this step first, the newest last.

    Raises OptionError unless the number of steps is a whole number of at least 1.
    """
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
        raise OptionError(
            f"cell {cell!r} cannot hold its state {state!r} back for {option}={steps!r} steps",
            expected="a whole number of at least 1",
            got=repr(steps),
        )
    return [state, *(f"{state}_{number}" for number in range(2, steps + 1))]


def moved_on(cell: str, new: object, lines: Mapping[str, Sequence[str]], old: Mapping[str, Symbol]) -> object:
    """What a cell returned, with every delay line moved on by a step.

    Raises CellError where the cell did not return one value for each of its own states.
    """
    values: tuple[object, ...] = tuple(new) if isinstance(new, tuple | list) else (new,)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    if len(values) != len(lines):
        raise CellError(
            f"cell {cell!r} does not return its states",
            expected=f"{len(lines)} values, the new {', '.join(lines)}",
            got=f"{len(values)}",
            do=f"end the cell with `return {', '.join(lines)}`, in the order of its signature",
        )
    pairs = zip(values, lines.values(), strict=True)
    return tuple(moved for value, (_, *waiting) in pairs for moved in (*(old[state] for state in waiting), value))
