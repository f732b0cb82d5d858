"""From a tree to text: one fold with a notation's table of rules, and only the parentheses that are needed.

What is too long for a line is broken rather at a sum than at a product, and outside of brackets.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from unicodedata import combining

from gatewright.backends.formulas.tree import INDICATORS, Apply, Form, Name, Number, Tree
from gatewright.lang.ops import ACTIVATIONS, Op


class Precedence(IntEnum):
    """How tightly a text holds together, the loosest first."""

    CHOICE = 0  # a where c, else b
    SUM = 1
    QUOTIENT = 2
    PRODUCT = 3
    APPLICATION = 4  # a matrix before a vector
    POWER = 5
    ATOM = 6


@dataclass(frozen=True, slots=True)
class Formula:
    """A formula, written, and how tightly it holds together."""

    text: str
    binding: Precedence = Precedence.ATOM


class Pen:
    """What a rule writes one operation with."""

    def __init__(self, tree: Apply, args: tuple[Formula, ...], group: Callable[[str], str]) -> None:
        self.tree, self.args, self.group = tree, args, group
        self.attrs = dict(tree.attrs)

    def arg(self, index: int, needed: Precedence) -> str:
        """An operand, in parentheses where it holds together less tightly than needed."""
        text = self.args[index]
        return text.text if text.binding >= needed else self.group(text.text)

    def is_number(self, index: int) -> bool:
        """Whether an operand is a number."""
        return isinstance(self.tree.args[index], Number)


Rule = Callable[[Pen], Formula]


@dataclass(frozen=True, slots=True)
class Notation:
    """A way to write trees: a rule for every operation, names, numbers and parentheses."""

    rules: Mapping[Op | Form, Rule]
    name: Callable[[Name], str]
    number: Callable[[float], Formula]
    group: Callable[[str], str]


def write(tree: Tree, notation: Notation) -> Formula:
    """Write a tree. The one fold of both notations."""
    if isinstance(tree, Name):
        return Formula(notation.name(tree))
    if isinstance(tree, Number):
        return notation.number(tree.value)
    args = tuple(write(arg, notation) for arg in tree.args)
    return notation.rules[tree.op](Pen(tree, args, notation.group))


def infix(sign: str, binding: Precedence, right: Precedence | None = None) -> Rule:
    """The rule of a + b; `right` is what the right side needs where that is more than the left."""
    return lambda pen: Formula(f"{pen.arg(0, binding)}{sign}{pen.arg(1, right or binding)}", binding)


def call(name: str) -> Rule:
    """name(a, b)"""
    return lambda pen: Formula(f"{name}{pen.group(', '.join(arg.text for arg in pen.args))}")


def fence(text: str) -> Rule:
    """A text with its own brackets, {0} and {1} in it standing for the operands."""
    return lambda pen: Formula(text.format(*(arg.text for arg in pen.args)))


def square(sign: str) -> Rule:
    """The rule of a squared. A function's sign stands before its operand: tanh²(c)."""

    def rule(pen: Pen) -> Formula:
        base, text = pen.tree.args[0], pen.arg(0, Precedence.ATOM)
        if isinstance(base, Apply) and base.op in ACTIVATIONS and "(" in text:
            bracket = text.index("(")
            name = text[:bracket].removesuffix("\\left")
            return Formula(f"{name}{sign}{text[len(name) :]}", Precedence.POWER)
        return Formula(f"{text}{sign}", Precedence.POWER)

    return rule


def product(elementwise: str, scalar: str) -> Rule:
    """The rule of a * b: one sign for two vectors, another where one is a scalar, none after a number."""

    def rule(pen: Pen) -> Formula:
        sign = elementwise if all(arg.shape for arg in pen.tree.args) else scalar
        if pen.is_number(0) and not pen.is_number(1):
            sign = " "
        return Formula(f"{pen.arg(0, Precedence.PRODUCT)}{sign}{pen.arg(1, Precedence.PRODUCT)}", Precedence.PRODUCT)

    return rule


def relation(sign: str, turned: str) -> Rule:
    """[a < b]: 1 where it holds, else 0. A number stands on the right: [b > 0] for [0 < b]."""

    def rule(pen: Pen) -> Formula:
        a, b = (text.text for text in pen.args)
        return Formula(f"[{b} {turned} {a}]" if pen.is_number(0) else f"[{a} {sign} {b}]")

    return rule


def iverson(pen: Pen, unequal: str) -> str:
    """The condition of a choice, without the brackets that make a number of it."""
    condition = pen.tree.args[0]
    if isinstance(condition, Apply) and condition.op in INDICATORS:
        return pen.args[0].text[1:-1]
    return f"{pen.arg(0, Precedence.SUM)} {unequal} 0"


def columns(text: str) -> int:
    """The columns that a text takes in a terminal; accents take none."""
    return sum(not combining(character) for character in text)


@dataclass(frozen=True, slots=True)
class Breaks:
    """Before which signs a formula may be broken, and how wide its text is."""

    sums: tuple[str, ...]
    products: tuple[str, ...]
    width_of: Callable[[str], int]
    deepest: int | None = None  # the number of brackets that may be open at a break; None: any


def rows(text: str, width: int, breaks: Breaks) -> list[str]:
    """A formula cut into rows of at most `width`, where it can be."""
    cut: list[str] = []
    while breaks.width_of(text) > width:
        places = [place for place in _places(text, breaks) if breaks.width_of(text[: place[1]]) <= width]
        if not places:
            break
        # the outermost place is the best; of those the last, but no row is left nearly empty
        outermost = [place for place in places if breaks.width_of(text[: place[1]]) > width // 3] or places
        _, index = min(outermost, key=lambda place: (place[0], -place[1]))
        cut.append(text[:index])
        text = text[index + 1 :]  # without the space before the sign
    return [*cut, text]


def _places(text: str, breaks: Breaks) -> list[tuple[int, int]]:
    """Where a formula may be broken: how bad that is, and the index of the space before the sign."""
    depth, places = 0, list[tuple[int, int]]()
    for index, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if breaks.deepest is not None and depth > breaks.deepest:
            continue
        if index and text.startswith(breaks.sums, index):
            places.append((2 * depth, index))
        elif index and text.startswith(breaks.products, index):
            places.append((2 * depth + 1, index))
    return places
