"""Names of axes. Inside a cell every shape is a tuple of names; sizes are bound when a layer is made."""

from collections.abc import Mapping

from gatewright.errors import OptionError

Shape = tuple[str, ...]
"""The axes of one row's value, without batch and time: () is a scalar, ("hidden",) a vector.

An axis is "input", "hidden", or one that a cell declares ("projection", "context")."""

INPUT: str = "input"
HIDDEN: str = "hidden"
OPEN: str = "?"
"""The axis of a parameter that the operand of its first use will tell."""


def show_shape(shape: Shape) -> str:
    """("hidden", "input") -> "(hidden, input)"."""
    return f"({', '.join(shape)})"


def bind(shape: Shape, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """Give every axis its size.

    Raises OptionError where an axis has no size yet.
    """
    missing = [axis for axis in shape if axis not in sizes]
    if missing:
        known = ", ".join(f"{axis}={size}" for axis, size in sizes.items())
        raise OptionError(
            f"the size of axis {missing[0]!r} is not known",
            expected="a size for every axis that the cell uses",
            got=known or "no sizes",
            do=f"pass sizes={{{missing[0]!r}: ...}}",
            shell=f"give it: --set axes={missing[0]}=N where a recipe is trained, --size {missing[0]}=N with show",
        )
    return tuple(sizes[axis] for axis in shape)
