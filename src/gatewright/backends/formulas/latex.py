"""The equations of a cell, and of its gradient, as LaTeX. amsmath is all that it needs."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from gatewright.backends.formulas.cell_lines import cell_lines
from gatewright.backends.formulas.gradient_lines import gradient_lines
from gatewright.backends.formulas.naming import GREEK, Word, word
from gatewright.backends.formulas.signs import Definitions, Signs, definitions, number_of, rules_of
from gatewright.backends.formulas.tree import Form, Line, Mark, Name, Sign, StepIndex
from gatewright.backends.formulas.typeset import (
    Breaks,
    Formula,
    Notation,
    Pen,
    Precedence,
    Rule,
    fence,
    iverson,
    rows,
    write,
)
from gatewright.lang.ops import Op
from gatewright.trace.ir import Trace

_COMMANDS = {"exp", "log", "max", "min", "tanh"}
# A Trace that was read from a file may have any letters in its names.
_SPECIAL = {letter: f"\\{letter}" for letter in "_{}$%&#"} | {
    "\\": r"\backslash ", "^": r"\wedge ", "~": r"\sim ", "<": "{<}", ">": "{>}",
}  # fmt: skip
_TALL = re.compile(r"\\(frac|begin|sum|sqrt)")
_WIDTH = 100  # printed letters in a line; longer sums are broken
_TIMES = {StepIndex.NONE: "", StepIndex.NOW: "t", StepIndex.BEFORE: "t-1"}
_SIGNS = {Sign.EQUALS: "=", Sign.ADDS: r"\mathrel{+}=", Sign.DRAWN: r"\sim"}
_DEFINITIONS: Definitions = {
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
    first, *others = [Name(state.name, time=StepIndex.NOW) for state in trace.states]
    adjoints = [spell(replace(name, marks=(Mark.ADJOINT,))) for name in (first, *others)]
    sums = r"\text{, and } \delta_g \text{ for that by the sum which } W_g, U_g, b_g \text{ enter}" if inner else ""
    zeros = "".join(rf",\ {symbol} \text{{ as }} 0" for symbol in adjoints[1:])
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
    # a line is broken before the terms of a sum that is too long to print
    broken = [" \\\\\n&\\qquad {} ".join(rows(formula(line), _WIDTH, _BREAKS)) for line in lines]
    body = " \\\\\n".join([*(notes or []), *broken, *definitions(lines, _DEFINITIONS)])
    return f"\\begin{{aligned}}\n{body}\n\\end{{aligned}}"


def _printed(text: str) -> int:
    """About how many letters a formula is when it is printed."""
    signs = re.sub(r"\\[a-z]+(?!\w)", "x", text)
    return len(re.sub(r"\\(operatorname|mathrm|left|right|begin|end|text)|[{}_^&]", "", signs))


def spell(name: Name) -> str:
    """A name: h_{t-1}, W_r, \\bar{h}_t."""
    if Mark.INNER in name.marks:
        return rf"\delta_{{{_index(word(name.identifier))},{_TIMES[name.time]}}}"
    spelled = word(name.identifier)
    head = _head(spelled)
    for mark in name.marks:
        head = rf"\{_over(mark, spelled)}{{{head}}}"
    below = [*map(_index, spelled.below), *filter(None, [_TIMES[name.time]])]
    return head + _lowered(",".join(below))


def _over(mark: Mark, spelled: Word) -> str:
    single = len(spelled.letters) == 1 or spelled.letters in GREEK
    return "dot" if mark is Mark.TANGENT else "bar" if single else "overline"


def _lowered(text: str) -> str:
    if not text:
        return ""
    return f"_{text}" if len(text) == 1 or re.fullmatch(r"\\[a-zA-Z]+", text) else f"_{{{text}}}"


def _head(spelled: Word) -> str:
    letters = _letters(spelled.letters, longest=1)
    if not spelled.accent:
        return letters
    wide = spelled.accent in ("tilde", "hat") and letters.startswith(r"\mathrm")
    return rf"\{'wide' if wide else ''}{spelled.accent}{{{letters}}}"


def _index(spelled: Word) -> str:
    letters = _letters(spelled.letters, longest=2)
    accented = rf"\{spelled.accent}{{{letters}}}" if spelled.accent else letters
    return ",".join([accented, *map(_index, spelled.below)])


def _letters(letters: str, longest: int) -> str:
    """Greek by its command; words upright, so that they are not read as products of their letters."""
    if letters in GREEK:
        return rf"\{letters}"
    if (len(letters) <= longest and letters not in _SPECIAL) or letters.isdigit():
        return "".join(_SPECIAL.get(letter, letter) for letter in letters)
    return rf"\mathrm{{{''.join(_SPECIAL.get(letter, letter) for letter in letters)}}}"


def _where(pen: Pen) -> Formula:
    condition = iverson(pen, SIGNS.unequal)
    yes, no = pen.args[1].text, pen.args[2].text
    cases = rf"\begin{{cases}} {yes} & \text{{if }} {condition} \\ {no} & \text{{otherwise}} \end{{cases}}"
    return Formula(cases, Precedence.CHOICE)


def _ones(axes: Sequence[str]) -> str:
    places = r" \times ".join(_index(word(axis)) for axis in axes)
    return rf"\mathbf{{1}}_{{{places}}}"


SIGNS = Signs(
    minus="-",
    times=r" \odot ",
    dot=r" \cdot ",
    space=r"\, ",
    squared="^2",
    transposed=r"^\top",
    unequal=r"\neq",
    not_less=r"\geq",
    not_more=r"\leq",
    sigma=r"\sigma",
    over_time=r"\sum_t ",
    infinity=r"\infty",
    function=lambda name: rf"\{name}" if name in _COMMANDS else rf"\operatorname{{{name}}}",
    fraction=lambda above, below: Formula(rf"\tfrac{{{above}}}{{{below}}}"),
    power_of_ten=lambda exponent: Formula(f"10^{{{exponent}}}", Precedence.POWER),
    count=lambda axis: f"n{_lowered(_index(word(axis)))}",
    ones=_ones,
)
RULES: Mapping[Op | Form, Rule] = {
    **rules_of(SIGNS),
    Op.DIV: lambda pen: Formula(rf"\frac{{{pen.args[0].text}}}{{{pen.args[1].text}}}", Precedence.PRODUCT),
    Op.SQRT: fence(r"\sqrt{{{0}}}"),
    Op.WHERE: _where,
}

NOTATION = Notation(
    RULES, spell, number_of(SIGNS), lambda text: rf"\left({text}\right)" if _TALL.search(text) else f"({text})"
)
_BREAKS = Breaks(
    sums=(" + ", " - "), products=(), width_of=_printed, deepest=0
)  # rows cannot break within \\left( \\right)
