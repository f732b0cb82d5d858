"""The two files: a header that says what there is, and the code."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gatewright.backends.c99.layout import StackNames
from gatewright.backends.c99.lines import comment, wrapped
from gatewright.backends.c99.parts import CellStack
from gatewright.backends.c99.source import signature, source


@dataclass(frozen=True, slots=True)
class Remarks:
    """What the header's comment says beside what the code tells."""

    title: str
    equations: Mapping[str, str] = field(default_factory=dict[str, str])  # by a title
    input: str = ""
    output: str = ""
    more: Sequence[str] = ()  # paragraphs


@dataclass(frozen=True, slots=True)
class CSources:
    """The texts of NAME.h and NAME.c."""

    header: str
    source: str
    state_bytes: int
    constant_bytes: int


def pair(stack: CellStack, remarks: Remarks) -> CSources:
    """A stack as C."""
    layout = StackNames(stack)
    code = source(layout)
    return CSources(_header(layout, remarks, code), code, layout.state_bytes(), layout.constant_bytes())


_HEADER = """{remarks}
#ifndef {upper}_H
#define {upper}_H

#ifdef __cplusplus
extern "C" {{
#endif

enum {{
{sizes}
}};

/* What a step needs of the one before it. */
typedef struct {{
{states}
}} {name}_state;

/* Begin anew: every state is 0. To be called before the first step. */
void {name}_reset({name}_state *state);

/* Take one step: read {given}, write y. */
{signature};

#ifdef __cplusplus
}}
#endif

#endif /* {upper}_H */
"""


def _header(layout: StackNames, remarks: Remarks, code: str) -> str:
    name = layout.stack.name
    states = "\n".join(_states(layout)) or "    char nothing;"
    always = {layout.size("input"), layout.size("symbols"), layout.size("output")}
    used = [size for size in layout.sizes if size in always or re.search(rf"\b{size}\b", code + states)]
    return _HEADER.format(
        remarks=comment([short for line in _remarks(layout, remarks) for short in wrapped(line)]),
        name=name,
        upper=name.upper(),
        sizes=",\n".join(f"    {size} = {layout.sizes[size]}" for size in used),
        states=states,
        given=_given(layout),
        signature=signature(layout),
    )


def _given(layout: StackNames) -> str:
    return "symbol" if layout.stack.symbols else "x"


def _states(layout: StackNames) -> list[str]:
    """The members of the struct."""
    return [
        f"    {layout.stack.real} {layout.fields[part.name][state.name]}"
        + "".join(f"[{layout.bounds[part.name][axis]}]" for axis in state.shape)
        + ";"
        for part in layout.stack.parts
        for state in part.kept()
    ]


def _remarks(layout: StackNames, remarks: Remarks) -> list[str]:
    name, real, input_name = layout.stack.name, layout.stack.real, _given(layout)
    lines = [f"{name}: {remarks.title}", ""]
    for title, equations in remarks.equations.items():
        lines += [title, "", *(f"    {line}" for line in equations.splitlines()), ""]
    lines += [
        f"{input_name}: {remarks.input}",
        f"y: {remarks.output}",
        "",
        "How it is called:",
        "",
        f"    {name}_state state;",
        "    int symbol;" if layout.stack.symbols else f"    {real} x[{layout.size('input')}];",
        f"    {real} y[{layout.size('output')}];",
        "",
        f"    {name}_reset(&state);",
        f"    {name}_step(&state, {input_name}, y);    and so on, with each {input_name} in turn",
        "",
        f"A state has {layout.state_bytes()} bytes, the constants have {layout.constant_bytes()}. Nothing is "
        "allocated, and nothing is shared between states: each may have a thread of its own."
        + ("" if layout.stack.symbols else " x and y may not overlap."),
    ]
    for paragraph in remarks.more:
        lines += ["", *paragraph.splitlines()]
    return lines
