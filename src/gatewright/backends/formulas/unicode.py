"""The equations of a cell, and of its gradient, as plain text with mathematical signs, to be read in a terminal."""

from collections.abc import Mapping
from textwrap import wrap

from gatewright.backends.formulas.cell_lines import cell_lines
from gatewright.backends.formulas.gradient_lines import gradient_lines
from gatewright.backends.formulas.naming import GREEK, Word, word
from gatewright.backends.formulas.signs import Definitions, Signs, definitions, number_of, rules_of
from gatewright.backends.formulas.tree import Apply, Form, Line, Mark, Name, Sign, StepIndex
from gatewright.backends.formulas.typeset import (
    Breaks,
    Formula,
    Notation,
    Pen,
    Precedence,
    Rule,
    columns,
    infix,
    iverson,
    rows,
    write,
)
from gatewright.lang.ops import Op
from gatewright.trace.ir import Trace

WIDTH = 80
_TIMES = {StepIndex.NONE: "", StepIndex.NOW: "ₜ", StepIndex.BEFORE: "ₜ₋₁"}
_SIGNS = {Sign.EQUALS: "=", Sign.ADDS: "+=", Sign.DRAWN: "∼"}
_ACCENTS = {"tilde": "\u0303", "hat": "\u0302", "check": "\u030c"}
_BELOW = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_ABOVE = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
_DEFINITIONS: Definitions = {
    Op.HARD_SIGMOID: "hardsigmoid(a; s) = min(max(s a + 0.5, 0), 1)",
    Op.SOFTPLUS: "softplus(a) = log(1 + exp(a))",
    Form.STEP: "step(a) = [a > 0] + 1/2 [a = 0]",
}


def equations(trace: Trace, width: int = WIDTH) -> str:
    """One step of a cell, a line for each value that has a name."""
    lines = cell_lines(trace)
    return "\n".join([page(lines, width), *_definitions(lines)])


def gradient(trace: Trace, width: int = WIDTH) -> str:
    """The gradient of a cell: back-propagation through time, derived as by hand."""
    lines = gradient_lines(trace)
    steps = tuple(line for line in lines if line.left.time is not StepIndex.NONE)
    sums = tuple(line for line in lines if line.left.time is StepIndex.NONE)
    parts = [
        "\n".join(wrap(_notes(trace, lines), width)),
        f"For t = T, ..., 1:\n{page(steps, width)}",
        f"For the parameters, summed over all steps:\n{page(sums, width)}" if sums else "",
        "\n".join(_definitions(lines)),
    ]
    return "\n\n".join(filter(None, parts))


def _notes(trace: Trace, lines: tuple[Line, ...]) -> str:
    """What the signs mean."""
    inner = any(Mark.INNER in line.left.marks for line in lines)
    first, *others = [spell(Name(state.name, time=StepIndex.NOW)) for state in trace.states]
    begins = "".join(f", ∂{other} as 0" for other in others)
    return (
        "∂v stands for ∂L/∂v, the derivative of the loss by v"
        + ("; δ_g for that by the sum which W_g, U_g and b_g enter. " if inner else ". ")
        + f"∂{first} begins as what the loss says of {first} itself{begins}; += adds to it."
    )


def page(lines: tuple[Line, ...], width: int = WIDTH) -> str:
    """Lines under each other, their signs aligned; what is too long is broken."""
    names = max((columns(spell(line.left)) for line in lines), default=0)
    signs = max((len(_SIGNS[line.sign]) for line in lines), default=0)
    indent = " " * (names + signs + 2)
    text: list[str] = []
    for line in lines:
        left = spell(line.left)
        head = f"{left}{' ' * (names - columns(left))} {_SIGNS[line.sign]:>{signs}} "
        first, *others = _right_side(line, width - len(indent))
        text += [head + first, *(indent + row for row in others)]
    return "\n".join(text)


def _right_side(line: Line, width: int) -> list[str]:
    """The rows of what stands after the sign."""
    if isinstance(line.right, Apply) and line.right.op is Op.WHERE:
        choice = _cases(line.right)
        if max(map(columns, choice)) <= width:
            return choice
    *others, last = rows(write(line.right, NOTATION).text, width, _BREAKS)
    return [*others, f"{last}  ({line.remark})" if line.remark else last]


def _cases(choice: Apply) -> list[str]:
    """A choice on two rows, after a brace."""
    condition, yes, no = (write(arg, NOTATION) for arg in choice.args)
    pen = Pen(choice, (condition, yes, no), _group)
    broad = max(columns(yes.text), columns(no.text))
    texts = [text.text + " " * (broad - columns(text.text)) for text in (yes, no)]
    return [f"⎧ {texts[0]}  if {iverson(pen, SIGNS.unequal)}", f"⎩ {texts[1]}  otherwise"]


def _definitions(lines: tuple[Line, ...]) -> list[str]:
    return [f"where {text}" for text in definitions(lines, _DEFINITIONS)]


def spell(name: Name) -> str:
    """A name: hₜ₋₁, W_r, ∂hₜ."""
    spelled = word(name.identifier)
    if Mark.INNER in name.marks:
        return f"δ_{_letters(spelled)}{_below(spelled)}{_TIMES[name.time]}"
    marks = "".join("∂" if mark is Mark.ADJOINT else "d" for mark in name.marks)
    return f"{marks}{_letters(spelled)}{_below(spelled)}{_TIMES[name.time]}"


def _letters(spelled: Word) -> str:
    letters = GREEK.get(spelled.letters, spelled.letters)
    if not spelled.accent:
        return letters
    return letters + _ACCENTS[spelled.accent] if len(letters) == 1 else f"{letters}_{spelled.accent}"


def _below(spelled: Word) -> str:
    texts = [_letters(part) + _below(part) for part in spelled.below]
    return "".join(text.translate(_BELOW) if text.isdigit() else f"_{text}" for text in texts)


def _group(text: str) -> str:
    return f"({text})"


def _where(pen: Pen) -> Formula:
    yes, no = (pen.arg(index, Precedence.SUM) for index in (1, 2))
    return Formula(f"{yes} if {iverson(pen, SIGNS.unequal)} else {no}", Precedence.CHOICE)


SIGNS = Signs(
    minus="−",
    times=" ⊙ ",
    dot=" · ",
    space=" ",
    squared="²",
    transposed="ᵀ",
    unequal="≠",
    not_less="≥",
    not_more="≤",
    sigma="σ",
    over_time="Σₜ ",
    infinity="∞",
    function=str,
    fraction=lambda above, below: Formula(f"{above}/{below}", Precedence.QUOTIENT),
    power_of_ten=lambda exponent: Formula(f"10{str(exponent).translate(_ABOVE)}"),
    count=lambda axis: f"n_{axis}",
    ones=lambda axes: f"𝟏_{'×'.join(axes)}",
)
RULES: Mapping[Op | Form, Rule] = {
    **rules_of(SIGNS),
    Op.DIV: infix(" / ", Precedence.QUOTIENT, Precedence.APPLICATION),
    Op.SQRT: lambda pen: Formula(f"√{pen.arg(0, Precedence.ATOM)}"),
    Op.WHERE: _where,
}

NOTATION = Notation(RULES, spell, number_of(SIGNS), _group)
_BREAKS = Breaks(sums=(" + ", " − "), products=(" ⊙ ", " · "), width_of=columns)
