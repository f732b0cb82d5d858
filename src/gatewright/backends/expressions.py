"""Expressions in the text of a program, without needless parentheses: what backends share that write C or Triton."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum


class CodePrecedence(IntEnum):
    """How tightly the outermost operator of an expression binds."""

    CHOICE = 0
    COMPARISON = 1
    SUM = 2
    PRODUCT = 3
    SIGN = 4
    ATOM = 5


@dataclass(frozen=True, slots=True)
class CodeExpression:
    """A text, and what may stand around it without parentheses."""

    text: str
    precedence: CodePrecedence = CodePrecedence.ATOM

    def within(self, precedence: CodePrecedence) -> str:
        """The text for a place in which only what binds at least so tightly may stand."""
        return self.text if self.precedence >= precedence else f"({self.text})"


WriteExpression = Callable[[Sequence[CodeExpression]], CodeExpression]
"""An expression from those of its operands."""


def infix(sign: str, precedence: CodePrecedence) -> WriteExpression:
    """An operator that is read from the left: what stands to its right binds more tightly."""

    def write(args: Sequence[CodeExpression]) -> CodeExpression:
        left, right = args
        text = f"{left.within(precedence)} {sign} {right.within(CodePrecedence(precedence + 1))}"
        return CodeExpression(text, precedence)

    return write


def negative(args: Sequence[CodeExpression]) -> CodeExpression:
    """An operand with a minus before it."""
    return CodeExpression(f"-{args[0].within(CodePrecedence.ATOM)}", CodePrecedence.SIGN)


def unchanged(args: Sequence[CodeExpression]) -> CodeExpression:
    """The operand itself."""
    return args[0]


def signed(text: str) -> CodeExpression:
    """A number."""
    return CodeExpression(text, CodePrecedence.SIGN if text.startswith("-") else CodePrecedence.ATOM)
