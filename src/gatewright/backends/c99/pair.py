"""The two files: a header that says what there is, and the code."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from textwrap import wrap

import numpy as np

from gatewright.backends.c99.arrays import byte_count, definition
from gatewright.backends.c99.functions import Functions
from gatewright.backends.c99.lines import WIDTH
from gatewright.backends.c99.names import identifier
from gatewright.backends.c99.parts import Constant, Part, Stack
from gatewright.backends.c99.quantised import Quantised
from gatewright.backends.c99.steps import Step
from gatewright.lang.ops import Op


@dataclass(frozen=True, slots=True)
class Remarks:
    """What the header's comment says beside what the code tells: plain text, no line too long."""

    title: str
    equations: Mapping[str, str] = field(default_factory=dict[str, str])  # by a title
    input: str = ""
    output: str = ""
    more: Sequence[str] = ()  # paragraphs


@dataclass(frozen=True, slots=True)
class Pair:
    """The texts of NAME.h and NAME.c."""

    header: str
    source: str
    state_bytes: int
    constant_bytes: int


def pair(stack: Stack, remarks: Remarks) -> Pair:
    """A stack as C."""
    return _Writer(stack, remarks).pair()


class _Writer:
    def __init__(self, stack: Stack, remarks: Remarks) -> None:
        self.stack, self.remarks, self.name = stack, remarks, stack.name
        self.functions = Functions(stack.name, stack.dtype, stack.math)
        self.sizes: dict[str, int] = {}
        self.bounds = self._bounds()
        self.fields = {
            part.name: {state.name: _joined(part.name, identifier(state.name)) for state in part.kept()}
            for part in stack.parts
        }
        self.steps = [self._step(part) for part in stack.parts]

    # Sizes

    def _bounds(self) -> dict[str, dict[str, str]]:
        """For each part the names of its axes' sizes. A part's input is what the part below gives."""
        first, last = self.stack.parts[0], self.stack.parts[-1]
        symbols = self.stack.symbols
        entry = self._size("symbols" if symbols else "input", symbols.count if symbols else first.input_size)
        exit_ = self._size("output", last.output_size)
        if symbols is not None and symbols.table is not None:
            entry = self._size("embedding", first.input_size)
        found: dict[str, dict[str, str]] = {}
        below = entry
        for part in self.stack.parts:
            (input_axis,), (output_axis,) = part.trace.inputs[0].shape, part.trace.states[0].shape
            named = {axis: "" for axis in part.trace.axes()}
            named[input_axis] = below
            if output_axis == "output":
                named[output_axis] = exit_
            for axis in named:
                named[axis] = named[axis] or self._size(_joined(part.name, identifier(axis)), part.sizes[axis])
            found[part.name], below = named, named[output_axis]
        return found

    def _size(self, name: str, size: int) -> str:
        self.sizes[f"{self.name}_{name}".upper()] = size
        return f"{self.name}_{name}".upper()

    # Parts

    def _step(self, part: Part) -> Step:
        return Step(
            part,
            self.functions,
            bounds=self.bounds[part.name],
            constants={name: f"{self.name}_{_joined(part.name, identifier(name))}" for name in part.constants},
            fields=self.fields[part.name],
            one_hot=self._looks_up(part),
        )

    def _looks_up(self, part: Part) -> bool:
        """Whether a symbol's number chooses a column of each matrix, and no vector is needed."""
        symbols, x = self.stack.symbols, part.trace.inputs[0]
        if symbols is None or symbols.table is not None or part is not self.stack.parts[0]:
            return False
        return all(one.op is Op.MATMUL and one.args[0] != x for one in part.trace.equations if x in one.args)

    def _function(self, part: Part) -> str:
        return f"{self.name}_{part.name or 'layer'}"

    def _inline(self) -> bool:
        """Whether the step is that of the only part."""
        symbols = self.stack.symbols
        return len(self.stack.parts) == 1 and (symbols is None or self._looks_up(self.stack.parts[0]))

    def _is_kept(self, part: Part) -> bool:
        return part.trace.states[0] in part.kept()

    def _given(self, part: Part) -> str:
        """Where a part's output lies once it was computed."""
        if self._is_kept(part):
            return f"state->{self.fields[part.name][part.trace.states[0].name]}"
        return "y" if part is self.stack.parts[-1] else f"{part.name or 'layer'}_y"

    def _part_function(self, part: Part, step: Step) -> str:
        real = self.stack.real
        head = ", ".join(
            [
                *([f"{self.name}_state *state"] if part.kept() else []),
                "int symbol" if step.one_hot else f"const {real} *x",
                *([] if self._is_kept(part) else [f"{real} *y"]),
            ]
        )
        return _function(f"static void {self._function(part)}({head})", step.lines.lines)

    def _call(self, part: Part, step: Step, x: str) -> str:
        words = [
            *(["state"] if part.kept() else []),
            "symbol" if step.one_hot else x,
            *([] if self._is_kept(part) else [self._given(part)]),
        ]
        return f"    {self._function(part)}({', '.join(words)});"

    # The files

    def pair(self) -> Pair:
        """Both texts."""
        body = self._main()
        functions = (
            ""
            if self._inline()
            else "\n".join(
                self._part_function(part, step) for part, step in zip(self.stack.parts, self.steps, strict=True)
            )
            + "\n"
        )
        ops = {op for step in self.steps for op in step.ops}
        helpers = self.functions.text(ops)
        code = f"{helpers}\n{functions}{self._reset()}\n{body}"
        arrays = self._arrays()
        include = self._includes(helpers + code)
        source = "\n".join([_comment([f"See {self.stack.header}."]), include, arrays, code])
        source = re.sub(r"\n{3,}", "\n\n", source)
        return Pair(self._header(arrays + code), source, self._state_bytes(), self._constant_bytes())

    def _state_bytes(self) -> int:
        """What a state takes."""
        states = [(self.bounds[part.name], state) for part in self.stack.parts for state in part.kept()]
        numbers = sum(prod(self.sizes[bounds[axis]] for axis in state.shape) for bounds, state in states)
        return numbers * np.dtype(self.stack.dtype).itemsize

    def _constant_bytes(self) -> int:
        return sum(byte_count(self.stack, constant) for constant, _ in self._constants().values())

    def _includes(self, code: str) -> str:
        lines = [f'#include "{self.stack.header}"', ""]
        if re.search(r"\bu?int(32|64)_t\b", code):
            lines += ["#include <stdint.h>", ""]
        if self.stack.math == "libm" and re.search(r"\b(exp|log|sqrt|tanh|fabs|log1p)f?\(", code):
            lines += ["#include <math.h>", ""]
        return "\n".join(lines)

    def _constants(self) -> dict[str, tuple[Constant, tuple[str, ...]]]:
        """Every array that is read, by its name in C, with the names of its sizes."""
        found: dict[str, tuple[Constant, tuple[str, ...]]] = {}
        symbols = self.stack.symbols
        if symbols is not None and symbols.table is not None:
            bounds = (f"{self.name}_symbols".upper(), f"{self.name}_embedding".upper())
            found[f"{self.name}_embedding"] = (symbols.table, bounds)
        for part, step in zip(self.stack.parts, self.steps, strict=True):
            shapes = {param.name: param.shape for param in part.trace.params}
            for name in step.used:
                bounds = tuple(self.bounds[part.name][axis] for axis in shapes[name])
                found[step.constants[name]] = (part.constants[name], bounds)
        return found

    def _arrays(self) -> str:
        constants = self._constants()
        table = f"{self.name}_embedding"
        texts = [definition(self.stack, name, *given, by_column=name != table) for name, given in constants.items()]
        if not texts:
            return ""
        note = ["Matrices lie column by column, NAME[column][row]."]
        if any(isinstance(constant, Quantised) for constant, _ in constants.values()):
            note.append("Row i of a matrix of whole numbers is to be multiplied by NAME_scale[i].")
        return "\n".join([_comment(note), *texts]) + "\n"

    def _reset(self) -> str:
        lines: list[str] = []
        for part in self.stack.parts:
            for state in part.kept():
                place = f"state->{self.fields[part.name][state.name]}"
                zero = "0.0f" if self.stack.real == "float" else "0.0"
                if not state.shape:
                    lines.append(f"    {place} = {zero};")
                    continue
                bound = self.bounds[part.name][state.shape[0]]
                lines += _loop(bound, f"{place}[i] = {zero};")
        lines = lines or ["    state->nothing = 0;"]
        return _function(f"void {self.name}_reset({self.name}_state *state)", lines)

    def _signature(self) -> str:
        real, upper = self.stack.real, self.name.upper()
        given = "int symbol" if self.stack.symbols else f"const {real} x[{upper}_INPUT]"
        return f"void {self.name}_step({self.name}_state *state, {given}, {real} y[{upper}_OUTPUT])"

    def _main(self) -> str:
        lines: list[str] = []
        if self._inline():
            lines += self.steps[0].lines.lines
        else:
            lines += self._calls()
        last = self.stack.parts[-1]
        if self._is_kept(last):
            bound = f"{self.name}_output".upper()
            lines += ["", *_loop(bound, f"y[i] = {self._given(last)}[i];")]
        return _function(self._signature(), lines)

    def _calls(self) -> list[str]:
        """One part after the other, each on what the one below gave."""
        real, symbols = self.stack.real, self.stack.symbols
        lines: list[str] = []
        below = "x"
        if symbols is not None and symbols.table is not None:
            below, lines = self._embedded()
        elif symbols is not None and not self.steps[0].one_hot:
            lines = [f"    {real} x[{self.name.upper()}_SYMBOLS] = {{0}};", "", f"    x[symbol] = 1;"]
        for part, step in zip(self.stack.parts, self.steps, strict=True):
            if not self._is_kept(part) and part is not self.stack.parts[-1]:
                bound = self.bounds[part.name][part.trace.states[0].shape[0]]
                lines.insert(0, f"    {real} {self._given(part)}[{bound}];")
            lines.append(self._call(part, step, below))
            below = self._given(part)
        return lines

    def _embedded(self) -> tuple[str, list[str]]:
        """Where the row of a symbol lies, and what brings it there."""
        table = self.stack.symbols.table if self.stack.symbols else None
        name, upper = f"{self.name}_embedding", self.name.upper()
        if not isinstance(table, Quantised):
            return f"{name}[symbol]", []
        return "x", [
            f"    {self.stack.real} x[{upper}_EMBEDDING];",
            "",
            *_loop(f"{upper}_EMBEDDING", f"x[i] = {name}_scale[symbol] * {name}[symbol][i];"),
        ]

    def _header(self, code: str) -> str:
        upper, real = self.name.upper(), self.stack.real
        states = [
            f"    {real} {self.fields[part.name][state.name]}"
            + "".join(f"[{self.bounds[part.name][axis]}]" for axis in state.shape)
            + ";"
            for part in self.stack.parts
            for state in part.kept()
        ] or ["    char nothing;"]
        always = {f"{upper}_INPUT", f"{upper}_SYMBOLS", f"{upper}_OUTPUT"}
        text = code + "\n".join(states)
        sizes = {name: size for name, size in self.sizes.items() if name in always or re.search(rf"\b{name}\b", text)}
        return "\n".join(
            [
                _comment([short for line in self._remarks() for short in _wrapped(line)]),
                f"#ifndef {upper}_H",
                f"#define {upper}_H",
                "",
                "#ifdef __cplusplus",
                'extern "C" {',
                "#endif",
                "",
                "enum {",
                ",\n".join(f"    {name} = {size}" for name, size in sizes.items()),
                "};",
                "",
                "/* What a step needs of the one before it. */",
                "typedef struct {",
                *states,
                f"}} {self.name}_state;",
                "",
                "/* Begin anew: every state is 0. To be called before the first step. */",
                f"void {self.name}_reset({self.name}_state *state);",
                "",
                f"/* Take one step: read {'symbol' if self.stack.symbols else 'x'}, write y. */",
                f"{self._signature()};",
                "",
                "#ifdef __cplusplus",
                "}",
                "#endif",
                "",
                f"#endif /* {upper}_H */",
                "",
            ]
        )

    def _remarks(self) -> list[str]:
        remarks, real = self.remarks, self.stack.real
        lines = [f"{self.name}: {remarks.title}", ""]
        for title, equations in remarks.equations.items():
            lines += [title, "", *(f"    {line}" for line in equations.splitlines()), ""]
        given = "symbol" if self.stack.symbols else "x"
        upper = self.name.upper()
        lines += [f"{given}: {remarks.input}", f"y: {remarks.output}", "", "How it is called:", ""]
        declared = "int symbol;" if self.stack.symbols else f"{real} x[{upper}_INPUT];"
        lines += [
            f"    {self.name}_state state;",
            f"    {declared}",
            f"    {real} y[{upper}_OUTPUT];",
            "",
            f"    {self.name}_reset(&state);",
            f"    {self.name}_step(&state, {given}, y);    and so on, with each {given} in turn",
            "",
        ]
        lines += [
            f"A state has {self._state_bytes()} bytes, the constants have {self._constant_bytes()}. Nothing is allocated, and nothing is shared",
            "between states: each may have a thread of its own."
            + ("" if self.stack.symbols else " x and y may not overlap."),
        ]
        for paragraph in remarks.more:
            lines += ["", *paragraph.splitlines()]
        return lines


def _joined(part: str, name: str) -> str:
    return f"{part}_{name}" if part else name


def _wrapped(line: str) -> list[str]:
    indent = " " * (len(line) - len(line.lstrip()))
    return wrap(line, WIDTH - 3, subsequent_indent=indent + "    ", drop_whitespace=True) or [""]


def _loop(bound: str, statement: str) -> list[str]:
    return [f"    for (int i = 0; i < {bound}; ++i) {{", f"        {statement}", "    }"]


def _function(head: str, lines: Sequence[str]) -> str:
    text = "\n".join(lines)
    unused = [
        f"    (void){word};"
        for word in ("state", "symbol", "x")
        if re.search(rf"\b{word}\b", head.partition("(")[2]) and not re.search(rf"\b{word}\b", text)
    ]
    return "\n".join([head, "{", *unused, *lines, "}", ""])


def _comment(lines: Sequence[str]) -> str:
    lines = [line.replace("*/", "* /").replace("/*", "/ *") for line in lines]
    if len(lines) == 1:
        return f"/* {lines[0]} */"
    return "\n".join(["/*", *(f" * {line}".rstrip() for line in lines), " */"])
