"""The equations of a cell, and of its gradient, as LaTeX. amsmath is all that it needs."""

import re
from collections.abc import Mapping
from dataclasses import replace

from gatewright.backends.formulas.cell_lines import cell_lines
from gatewright.backends.formulas.gradient_lines import gradient_lines
from gatewright.backends.formulas.layout import Breaks, rows
from gatewright.backends.formulas.numbers import written
from gatewright.backends.formulas.tree import Form, Line, Mark, Name, Sign, Time, ops_of
from gatewright.backends.formulas.typeset import (
    Binding,
    Notation,
    Pen,
    Rule,
    Text,
    call,
    fence,
    infix,
    iverson,
    prefix,
    product,
    relation,
    square,
    suffix,
    through,
    write,
)
from gatewright.backends.formulas.words import GREEK, Word, word
from gatewright.lang.ops import Op, axes_of
from gatewright.trace.ir import Trace

_TALL = re.compile(r"\\(frac|begin|sum|sqrt)")
_WIDTH = 100  # printed letters in a line; longer sums are broken
_TIMES = {Time.NONE: "", Time.NOW: "t", Time.BEFORE: "t-1"}
_SIGNS = {Sign.EQUALS: "=", Sign.ADDS: r"\mathrel{+}=", Sign.DRAWN: r"\sim"}
_DEFINITIONS: Mapping[Op | Form, str] = {
    Op.HARD_SIGMOID: r"\operatorname{hardsigmoid}(a;\, s) &= \min(\max(s a + 0.5,\, 0),\, 1)",
    Op.SOFTPLUS: r"\operatorname{softplus}(a) &= \log(1 + \exp(a))",
    Form.STEP: r"\operatorname{step}(a) &= [a > 0] + \tfrac{1}{2} [a = 0]",
}


def equations(trace: Trace) -> str:
    """One step of a cell as an `aligned` environment, to stand in `equation` or between dollar signs."""
    return _aligned(cell_lines(trace))


def gradient(trace: Trace) -> str:
    """The gradient of a cell as an `aligned` environment: back-propagation through time, derived as by hand."""
    lines = gradient_lines(trace)
    return _aligned(lines, _notes(trace, lines))


def _notes(trace: Trace, lines: tuple[Line, ...]) -> list[str]:
    """What the signs mean."""
    inner = any(Mark.INNER in line.left.marks for line in lines)
    first, *others = [Name(state.name, time=Time.NOW) for state in trace.states]
    adjoints = [spell(replace(name, marks=(Mark.ADJOINT,))) for name in (first, *others)]
    sums = r"\text{, and } \delta_g \text{ for that by the sum which } W_g, U_g, b_g \text{ enter}" if inner else ""
    zeros = "".join(rf",\ {one} \text{{ as }} 0" for one in adjoints[1:])
    return [
        rf"&\text{{where }} \bar{{v}} \text{{ stands for }} \partial L / \partial v{sums};",
        rf"&{adjoints[0]} \text{{ begins as what the loss says of }} {spell(first)} \text{{ itself}}{zeros}",
    ]


def formula(line: Line) -> str:
    """One line, with `&` before the sign that it is aligned at."""
    left, right = spell(line.left), write(line.right, NOTATION).text
    remark = rf" \quad\text{{{line.remark}}}" if line.remark else ""
    return f"{left} &{_SIGNS[line.sign]} {right}{remark}"


def _aligned(lines: tuple[Line, ...], notes: list[str] | None = None) -> str:
    used = ops_of(lines)
    rows = [*(notes or []), *map(_broken, lines), *(text for op, text in _DEFINITIONS.items() if op in used)]
    body = " \\\\\n".join(rows)
    return f"\\begin{{aligned}}\n{body}\n\\end{{aligned}}"


def _broken(line: Line) -> str:
    """A line, broken before the terms of a sum that is too long to print."""
    return " \\\\\n&\\qquad {} ".join(rows(formula(line), _WIDTH, _BREAKS))


def _printed(text: str) -> int:
    """About how many letters a formula is when it is printed."""
    return len(
        re.sub(
            r"\\(operatorname|mathrm|left|right|begin|end|text)|[{}_^&]",
            "",
            re.sub(r"\\[a-z]+(?!\w)", "x", text),
        )
    )


def spell(name: Name) -> str:
    """A name: h_{t-1}, W_r, \\bar{h}_t."""
    if Mark.INNER in name.marks:
        return rf"\delta_{{{_index(word(name.identifier))},{_TIMES[name.time]}}}"
    found = word(name.identifier)
    head = _head(found)
    for mark in name.marks:
        head = rf"\{_over(mark, found)}{{{head}}}"
    below = [*map(_index, found.below), *filter(None, [_TIMES[name.time]])]
    return head + _lowered(",".join(below))


def _over(mark: Mark, found: Word) -> str:
    single = len(found.letters) == 1 or found.letters in GREEK
    return "dot" if mark is Mark.TANGENT else "bar" if single else "overline"


def _lowered(text: str) -> str:
    if not text:
        return ""
    return f"_{text}" if len(text) == 1 or re.fullmatch(r"\\[a-zA-Z]+", text) else f"_{{{text}}}"


def _head(found: Word) -> str:
    letters = _letters(found.letters, longest=1)
    if not found.accent:
        return letters
    wide = found.accent in ("tilde", "hat") and letters.startswith(r"\mathrm")
    return rf"\{'wide' if wide else ''}{found.accent}{{{letters}}}"


def _index(found: Word) -> str:
    letters = _letters(found.letters, longest=2)
    accented = rf"\{found.accent}{{{letters}}}" if found.accent else letters
    return ",".join([accented, *map(_index, found.below)])


def _letters(letters: str, longest: int) -> str:
    """Greek by its command; words upright, so that they are not read as products of their letters."""
    if letters in GREEK:
        return rf"\{letters}"
    if (len(letters) <= longest and letters != "_") or letters.isdigit():
        return letters
    return rf"\mathrm{{{letters}}}".replace("_", r"\_")


def _number(value: float) -> Text:
    found = written(value)
    sign, digits, binding = (
        ("-" if found.negative else ""),
        found.digits.replace("∞", r"\infty"),
        Binding.ATOM,
    )
    if found.denominator:
        digits = rf"\tfrac{{{digits}}}{{{found.denominator}}}"
    if found.exponent:
        power = f"10^{{{found.exponent}}}"
        binding = Binding.POWER if digits == "1" else Binding.PRODUCT
        digits = power if digits == "1" else rf"{digits} \cdot {power}"
    return Text(sign + digits, Binding.SUM if sign else binding)


def _group(text: str) -> str:
    return rf"\left({text}\right)" if _TALL.search(text) else f"({text})"


def _where(pen: Pen) -> Text:
    condition = iverson(pen, r"\neq")
    yes, no = pen.args[1].text, pen.args[2].text
    cases = rf"\begin{{cases}} {yes} & \text{{if }} {condition} \\ {no} & \text{{otherwise}} \end{{cases}}"
    return Text(cases, Binding.CHOICE)


def _hard_sigmoid(pen: Pen) -> Text:
    operands = rf"{pen.args[0].text};\, {_number(float(pen.attrs['slope'])).text}"
    return Text(rf"\operatorname{{hardsigmoid}}{pen.group(operands)}")


def _size(pen: Pen) -> Text:
    counts = [f"n{_lowered(_index(word(axis)))}" for axis in axes_of(str(pen.attrs["axes"]))]
    return Text(r" \cdot ".join(counts) or "1", Binding.PRODUCT if len(counts) > 1 else Binding.ATOM)


def _expand(pen: Pen) -> Text:
    axes = r" \times ".join(_index(word(axis)) for axis in axes_of(str(pen.attrs["axes"])))
    return Text(rf"{pen.arg(0, Binding.APPLICATION)} \mathbf{{1}}_{{{axes}}}", Binding.APPLICATION)


def _sum_over_time(pen: Pen) -> Text:
    return Text(rf"\sum_t {pen.arg(0, Binding.PRODUCT)}", Binding.PRODUCT)


RULES: Mapping[Op | Form, Rule] = {
    Op.NEG: prefix("-"),
    Op.ABS: fence("|{0}|"),
    Op.SIGN: call(r"\operatorname{sign}"),
    Op.EXP: call(r"\exp"),
    Op.LOG: call(r"\log"),
    Op.SQRT: fence(r"\sqrt{{{0}}}"),
    Op.SIGMOID: call(r"\sigma"),
    Op.TANH: call(r"\tanh"),
    Op.RELU: call(r"\operatorname{ReLU}"),
    Op.HARD_SIGMOID: _hard_sigmoid,
    Op.SOFTPLUS: call(r"\operatorname{softplus}"),
    Op.ADD: infix(" + ", Binding.SUM),
    Op.SUB: infix(" - ", Binding.SUM, Binding.QUOTIENT),
    Op.MUL: product(r" \odot ", r" \cdot "),
    Op.DIV: lambda pen: Text(rf"\frac{{{pen.args[0].text}}}{{{pen.args[1].text}}}", Binding.PRODUCT),
    Op.MAXIMUM: call(r"\max"),
    Op.MINIMUM: call(r"\min"),
    Op.LESS: relation("<", ">"),
    Op.WHERE: _where,
    Op.MATMUL: infix(" ", Binding.APPLICATION),
    Op.TRANSPOSE: suffix(r"^\top"),
    Op.OUTER: lambda pen: Text(
        rf"{pen.arg(0, Binding.APPLICATION)} {pen.arg(1, Binding.ATOM)}^\top", Binding.APPLICATION
    ),
    Op.SUM: call(r"\operatorname{sum}"),
    Op.MEAN: call(r"\operatorname{mean}"),
    Op.EXPAND: _expand,
    Op.SIZE: _size,
    Op.RELABEL: through,
    Form.SQUARE: square("^2"),
    Form.STEP: call(r"\operatorname{step}"),
    Form.NOT_LESS: relation(r"\geq", r"\leq"),
    Form.BETWEEN: fence("[{0} < {1} < {2}]"),
    Form.NONZERO: fence(r"[{0} \neq 0]"),
    Form.ZERO: fence("[{0} = 0]"),
    Form.OVER_TIME: _sum_over_time,
    Form.BERNOULLI: call(r"\operatorname{Bernoulli}"),
}

NOTATION = Notation(RULES, spell, _number, _group)
_BREAKS = Breaks(
    sums=(" + ", " - "), products=(), width_of=_printed, deepest=0
)  # rows cannot break within \\left( \\right)
