"""The equations of a cell as MathML, which browsers and notebooks typeset by themselves."""

from collections.abc import Iterator, Mapping
from html import escape

from gatewright.backends.formulas import typeset, unicode
from gatewright.backends.formulas.cell_lines import cell_lines
from gatewright.backends.formulas.naming import GREEK, Word, word
from gatewright.backends.formulas.signs import number_of
from gatewright.backends.formulas.tree import INDICATORS, Apply, Form, Line, Mark, Name, Sign, StepIndex, Tree
from gatewright.backends.formulas.typeset import Formula, Notation, Pen, Precedence, Rule, infix, write
from gatewright.lang.ops import Op
from gatewright.trace.ir import Trace
from gatewright.untrusted.printable import printable

_TIMES = {StepIndex.NONE: "", StepIndex.NOW: "<mi>t</mi>", StepIndex.BEFORE: "<mi>t</mi><mo>−</mo><mn>1</mn>"}
_SIGNS = {Sign.EQUALS: "=", Sign.ADDS: "+=", Sign.DRAWN: "∼"}
_ACCENTS = {"tilde": "~", "hat": "^", "check": "ˇ"}
_MARKS = {Mark.ADJOINT: "∂", Mark.INNER: "δ", Mark.TANGENT: "d"}
_OPEN, _CLOSE = "<mo>[</mo>", "<mo>]</mo>"


def equations(trace: Trace) -> str:
    """One step of a cell as an HTML table, a row for each value that has a name."""
    lines = cell_lines(trace)
    rows = "".join(f"<tr>{''.join(_cells(line))}</tr>" for line in lines)
    # functions that not everybody knows are explained by the plain notation
    meanings = [text for text in unicode.equations(trace).split("\n") if text.startswith("where ")]
    notes = "".join(f"<div>{escape(text)}</div>" for text in meanings)
    return f'<table style="border:none;border-collapse:collapse;margin:.4em 0"><tbody>{rows}</tbody></table>{notes}'


def _cells(line: Line) -> Iterator[str]:
    remark = f" &nbsp; ({escape(line.remark)})" if line.remark else ""
    style = "border:none;background:none;padding:.15em .3em;text-align"
    yield f'<td style="{style}:right">{math(line.left)}</td>'
    yield f'<td style="{style}:center"><math><mo>{escape(_SIGNS[line.sign])}</mo></math></td>'
    yield f'<td style="{style}:left">{math(line.right)}{remark}</td>'


def math(tree: Tree) -> str:
    """A formula as a `math` element."""
    return f'<math displaystyle="true">{write(tree, NOTATION).text}</math>'


def spell(name: Name) -> str:
    """A name with its index."""
    spelled = word(name.identifier)
    marks = "".join(f"<mo>{_MARKS[mark]}</mo>" for mark in name.marks)
    below = "<mo>,</mo>".join([*map(_flat, spelled.below), *filter(None, [_TIMES[name.time]])])
    head = _head(spelled)
    return f"<mrow>{marks}{f'<msub>{head}<mrow>{below}</mrow></msub>' if below else head}</mrow>"


def _head(spelled: Word) -> str:
    letters = f"<mi>{escape(printable(GREEK.get(spelled.letters, spelled.letters)))}</mi>"
    return f"<mover>{letters}<mo>{_ACCENTS[spelled.accent]}</mo></mover>" if spelled.accent else letters


def _flat(spelled: Word) -> str:
    return "<mo>,</mo>".join([_head(spelled), *map(_flat, spelled.below)])


def _group(text: str) -> str:
    return f"<mrow><mo>(</mo>{text}<mo>)</mo></mrow>"


def _number(value: float) -> Formula:
    plain = number_of(unicode.SIGNS)(value)
    return Formula(f"<mn>{plain.text}</mn>", plain.binding)


def _call(name: str) -> Rule:
    return lambda pen: Formula(f"<mi>{name}</mi>{_group('<mo>,</mo>'.join(arg.text for arg in pen.args))}")


def _relation(sign: str, turned: str) -> Rule:
    """[a < b]; a number stands on the right."""

    def rule(pen: Pen) -> Formula:
        a, b = (arg.text for arg in pen.args)
        inner = f"{b}<mo>{turned}</mo>{a}" if pen.is_number(0) else f"{a}<mo>{sign}</mo>{b}"
        return Formula(f"{_OPEN}{inner}{_CLOSE}")

    return rule


def _where(pen: Pen) -> Formula:
    condition, yes, no = (arg.text for arg in pen.args)
    test = pen.tree.args[0]
    if isinstance(test, Apply) and test.op in INDICATORS:
        condition = condition.removeprefix(_OPEN).removesuffix(_CLOSE)
    else:
        condition += "<mo>≠</mo><mn>0</mn>"
    rows = (
        f"<mtr><mtd>{yes}</mtd><mtd><mtext>&nbsp;if&nbsp;</mtext>{condition}</mtd></mtr>"
        f"<mtr><mtd>{no}</mtd><mtd><mtext>&nbsp;otherwise</mtext></mtd></mtr>"
    )
    return Formula(f'<mrow><mo stretchy="true" form="prefix">{{</mo><mtable>{rows}</mtable></mrow>', Precedence.CHOICE)


def _hard_sigmoid(pen: Pen) -> Formula:
    slope = _number(float(pen.attrs["slope"])).text
    return Formula(f"<mi>hardsigmoid</mi>{_group(f'{pen.args[0].text}<mo>;</mo>{slope}')}")


def _in_plain_signs(pen: Pen) -> Formula:
    """What hardly ever stands in a cell, in the signs of the plain notation."""
    plain = write(pen.tree, unicode.NOTATION)
    return Formula(f"<mtext>{escape(printable(plain.text))}</mtext>", plain.binding)


_FUNCTIONS = {
    Op.SIGMOID: "σ", Op.TANH: "tanh", Op.RELU: "ReLU", Op.SOFTPLUS: "softplus", Op.EXP: "exp", Op.LOG: "log",
    Op.SIGN: "sign", Op.MAXIMUM: "max", Op.MINIMUM: "min", Op.SUM: "sum", Op.MEAN: "mean", Form.STEP: "step",
    Form.BERNOULLI: "Bernoulli",
}  # fmt: skip
RULES: Mapping[Op | Form, Rule] = {
    **dict.fromkeys(unicode.RULES, _in_plain_signs),
    **{op: _call(name) for op, name in _FUNCTIONS.items()},
    Op.HARD_SIGMOID: _hard_sigmoid,
    Op.NEG: lambda pen: Formula(f"<mrow><mo>−</mo>{pen.arg(0, Precedence.QUOTIENT)}</mrow>", Precedence.SUM),
    Op.ABS: lambda pen: Formula(f"<mrow><mo>|</mo>{pen.args[0].text}<mo>|</mo></mrow>"),
    Op.ADD: infix("<mo>+</mo>", Precedence.SUM),
    Op.SUB: infix("<mo>−</mo>", Precedence.SUM, Precedence.QUOTIENT),
    Op.MUL: typeset.product("<mo>⊙</mo>", "<mo>·</mo>"),
    Op.DIV: lambda pen: Formula(
        f"<mfrac><mrow>{pen.args[0].text}</mrow><mrow>{pen.args[1].text}</mrow></mfrac>", Precedence.PRODUCT
    ),
    Op.SQRT: lambda pen: Formula(f"<msqrt>{pen.args[0].text}</msqrt>"),
    Op.MATMUL: infix("", Precedence.APPLICATION),
    Op.RELABEL: lambda pen: pen.args[0],
    Op.LESS: _relation("&lt;", "&gt;"),
    Op.WHERE: _where,
    Form.SQUARE: lambda pen: Formula(
        f"<msup><mrow>{pen.arg(0, Precedence.ATOM)}</mrow><mn>2</mn></msup>", Precedence.POWER
    ),
}

NOTATION = Notation(RULES, spell, _number, _group)
