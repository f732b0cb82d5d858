"""Arrays of numbers as C initialises them."""

from collections.abc import Iterator
from textwrap import wrap

import numpy as np

from gatewright.backends.c99.expressions import number
from gatewright.backends.c99.lines import WIDTH
from gatewright.backends.c99.parts import Array, CellStack, Constant, Quantised


def definition(
    stack: CellStack, name: str, constant: Constant, bounds: tuple[str, ...], *, by_column: bool = True
) -> str:
    """A constant array; `bounds` names the sizes of its axes. Matrices lie column by column, or as they are."""
    turn = -1 if by_column else 1
    brackets = "".join(f"[{bound}]" for bound in bounds[::turn])
    if isinstance(constant, Quantised):
        scale = _array(f"static const {stack.real} {name}_scale[{bounds[0]}]", constant.scales, stack.dtype)
        numbers = constant.numbers.T if by_column else constant.numbers
        return f"{scale}\n{_array(f'static const signed char {name}{brackets}', numbers, None)}"
    numbers = np.asarray(constant, stack.dtype)
    return _array(f"static const {stack.real} {name}{brackets}", numbers.T if by_column else numbers, stack.dtype)


def byte_count(stack: CellStack, constant: Constant) -> int:
    """How much memory an array takes."""
    size = np.dtype(stack.dtype).itemsize
    if isinstance(constant, Quantised):
        return constant.numbers.size + constant.scales.size * size
    return constant.size * size


def _array(head: str, array: Array, dtype: str | None) -> str:
    return "\n".join([f"{head} = {{", *_rows(array, dtype), "};", ""])


def _rows(array: Array, dtype: str | None) -> Iterator[str]:
    if array.ndim == 1:
        yield from _filled("    ", array, dtype, "")
        return
    for row in array:
        lines = list(_filled("     ", row, dtype, " "))
        lines[0] = "    {" + lines[0].strip()
        yield from [*lines[:-1], lines[-1].rstrip(",") + "},"]


def _filled(indent: str, row: Array, dtype: str | None, end: str) -> Iterator[str]:
    texts = [str(int(element)) if dtype is None else number(float(element), dtype).text for element in row]
    yield from wrap(", ".join(texts) + ",", WIDTH, initial_indent=indent, subsequent_indent=indent)
