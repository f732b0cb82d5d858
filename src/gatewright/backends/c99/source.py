"""The text of NAME.c."""

import re
from collections.abc import Iterator
from textwrap import wrap

import numpy as np

from gatewright.backends.c99.layout import StackNames
from gatewright.backends.c99.lines import WIDTH, comment, function, loop
from gatewright.backends.c99.parts import Array, CellPart, CellStack, Constant
from gatewright.backends.c99.rules import number
from gatewright.backends.c99.steps import StepWriter
from gatewright.int8 import Quantised

_ROLLED = """/* gcc unrolls a loop of few turns before it looks for vectors, and then finds slow ones. */
#if defined(__GNUC__) && !defined(__clang__)
#define {0}_ROLLED _Pragma("GCC unroll 1")
#else
#define {0}_ROLLED
#endif
"""


def source(layout: StackNames) -> str:
    """Constants, functions, the step of each part, and what can be called."""
    functions = layout.functions.text({op for step in layout.steps for op in step.values.ops})
    steps = zip(layout.stack.parts, layout.steps, strict=True)
    parts = [] if layout.is_inline() else [_part(layout, part, step) for part, step in steps]
    code = "\n".join([functions, *parts, _reset(layout), _step(layout)])
    head = comment([f"See {layout.stack.header}."])
    rolled = _ROLLED.format(layout.stack.name.upper()) if "_ROLLED\n" in code else ""
    text = "\n".join([head, *_includes(layout, code), rolled, _constants(layout), code])
    return re.sub(r"\n{3,}", "\n\n", text)


def signature(layout: StackNames) -> str:
    """The head of the function that takes a step."""
    name, real = layout.stack.name, layout.stack.real
    parameter = "int symbol" if layout.stack.symbols else f"const {real} x[{layout.size('input')}]"
    return f"void {name}_step({name}_state *state, {parameter}, {real} y[{layout.size('output')}])"


def _includes(layout: StackNames, code: str) -> list[str]:
    lines = [f'#include "{layout.stack.header}"', ""]
    if re.search(r"\bu?int(32|64)_t\b", code):
        lines += ["#include <stdint.h>", ""]
    if layout.stack.math == "libm" and re.search(r"\b(exp|log|sqrt|tanh|fabs|log1p)f?\(", code):
        lines += ["#include <math.h>", ""]
    return lines


def _constants(layout: StackNames) -> str:
    placed = layout.constants
    if not placed:
        return ""
    note = ["Matrices lie column by column, NAME[column][row]."]
    if layout.table in placed:
        note.append("A row of the embedding is that of a symbol.")
    if any(isinstance(value.constant, Quantised) for value in placed.values()):
        note.append("Row i of a matrix of whole numbers is to be multiplied by NAME_scale[i].")
    texts = [
        _definition(layout.stack, name, array.constant, array.bounds, array.by_column) for name, array in placed.items()
    ]
    return "\n".join([comment(note), *texts]) + "\n"


def _definition(stack: CellStack, name: str, constant: Constant, bounds: tuple[str, ...], by_column: bool) -> str:
    """A constant array; `bounds` names the sizes of its axes. Matrices lie column by column, or as they are."""
    turn = -1 if by_column else 1
    brackets = "".join(f"[{bound}]" for bound in bounds[::turn])
    if isinstance(constant, Quantised):
        scale = _array(f"static const {stack.real} {name}_scale[{bounds[0]}]", constant.scales, stack.dtype)
        numbers = constant.numbers.T if by_column else constant.numbers
        return f"{scale}\n{_array(f'static const signed char {name}{brackets}', numbers, None)}"
    numbers = np.asarray(constant, stack.dtype)
    return _array(f"static const {stack.real} {name}{brackets}", numbers.T if by_column else numbers, stack.dtype)


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


def _part(layout: StackNames, part: CellPart, step: StepWriter) -> str:
    """The function of one part. Its output is in its state, or goes to y."""
    real = layout.stack.real
    parameters = [f"{layout.stack.name}_state *state"] if part.kept() else []
    parameters += ["int symbol" if step.one_hot else f"const {real} *x"]
    parameters += [] if layout.keeps_output(part) else [f"{real} *y"]
    return function(f"static void {_name(layout, part)}({', '.join(parameters)})", step.lines.lines)


def _name(layout: StackNames, part: CellPart) -> str:
    return f"{layout.stack.name}_{part.name or 'layer'}"


def _reset(layout: StackNames) -> str:
    name = layout.stack.name
    zero = "0.0f" if layout.stack.real == "float" else "0.0"
    lines: list[str] = []
    for part in layout.stack.parts:
        for state in part.kept():
            place = f"state->{layout.fields[part.name][state.name]}"
            if state.shape:
                lines += loop(layout.bounds[part.name][state.shape[0]], f"{place}[i] = {zero};")
            else:
                lines.append(f"    {place} = {zero};")
    return function(f"void {name}_reset({name}_state *state)", lines or ["    state->nothing = 0;"])


def _step(layout: StackNames) -> str:
    lines = list(layout.steps[0].lines.lines) if layout.is_inline() else _calls(layout)
    last = layout.stack.parts[-1]
    if layout.keeps_output(last):
        lines += ["", *loop(layout.size("output"), f"y[i] = {layout.given(last)}[i];")]
    return function(signature(layout), lines)


def _calls(layout: StackNames) -> list[str]:
    """One part after the other, each on what the one below gave."""
    below, declared, lines = _encoded(layout)
    for part, step in zip(layout.stack.parts, layout.steps, strict=True):
        output = layout.given(part)
        if not layout.keeps_output(part) and part is not layout.stack.parts[-1]:
            bound = layout.bounds[part.name][part.trace.states[0].shape[0]]
            declared.append(f"    {layout.stack.real} {output}[{bound}];")
        words = ["state"] if part.kept() else []
        words += ["symbol" if step.one_hot else below]
        words += [] if layout.keeps_output(part) else [output]
        lines.append(f"    {_name(layout, part)}({', '.join(words)});")
        below = output
    return [*declared, *([""] if declared else []), *lines]


def _encoded(layout: StackNames) -> tuple[str, list[str], list[str]]:
    """Where the input of the first part lies; what is declared for that, and what brings it there."""
    symbols, real = layout.stack.symbols, layout.stack.real
    if symbols is None or layout.steps[0].one_hot:
        return "x", [], []
    if symbols.table is None:
        return "x", [f"    {real} x[{layout.size('symbols')}] = {{0}};"], ["    x[symbol] = 1;"]
    if not isinstance(symbols.table, Quantised):
        return f"{layout.table}[symbol]", [], []
    bound, table = layout.size("embedding"), layout.table
    row = loop(bound, f"x[i] = {table}_scale[symbol] * {table}[symbol][i];")
    return "x", [f"    {real} x[{bound}];"], row
