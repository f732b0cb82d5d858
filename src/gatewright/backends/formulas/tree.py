"""A formula as a tree: names, numbers, and operations on them. LaTeX and plain text are both written from it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum, StrEnum

from gatewright.axes import Shape
from gatewright.lang.ops import Attrs, Op


class Form(StrEnum):
    """What formulas have besides the ops of a Trace."""

    SQUARE = "square"
    STEP = "step"  # 1 where a > 0, 1/2 where a is 0, else 0
    NOT_LESS = "not_less"  # 1 where a >= b
    BETWEEN = "between"  # 1 where a < b < c
    NONZERO = "nonzero"  # 1 where a is not 0
    ZERO = "zero"  # 1 where a is 0
    OVER_TIME = "over_time"  # the sum over all time steps
    BERNOULLI = "bernoulli"  # the distribution of a random mask


class StepIndex(Enum):
    """Which step a name is of."""

    NONE = "the same at every step"
    NOW = "t"
    BEFORE = "t-1"


class Mark(Enum):
    """What a name says of the value that it is made from."""

    ADJOINT = "the derivative of the loss by it"
    INNER = "the derivative of the loss by the sum that this gate squashes"
    TANGENT = "its derivative in a given direction"


@dataclass(frozen=True, slots=True)
class Name:
    """A value that is written as a letter."""

    identifier: str
    shape: Shape = ()
    time: StepIndex = StepIndex.NONE
    marks: tuple[Mark, ...] = ()  # the innermost first


@dataclass(frozen=True, slots=True)
class Number:
    """A number."""

    value: float

    @property
    def shape(self) -> Shape:
        return ()


@dataclass(frozen=True, slots=True)
class Apply:
    """An operation on formulas."""

    op: Op | Form
    args: tuple["Tree", ...]
    shape: Shape = ()
    attrs: Attrs = ()


Tree = Name | Number | Apply


class Sign(Enum):
    """What stands between the two sides of a line."""

    EQUALS = "="
    ADDS = "+="
    DRAWN = "~"


@dataclass(frozen=True, slots=True)
class Line:
    """left = right. `remark` is said after it."""

    left: Name
    right: Tree
    sign: Sign = Sign.EQUALS
    remark: str = ""


def nodes(tree: Tree) -> Iterator[Tree]:
    """The tree and all of its parts."""
    yield tree
    if isinstance(tree, Apply):
        for arg in tree.args:
            yield from nodes(arg)


def substitute(tree: Tree, known: Mapping[Name, Tree]) -> Tree:
    """The tree with some names replaced by what they stand for, all the way down."""
    if isinstance(tree, Name) and tree in known:
        return substitute(known[tree], known)
    if isinstance(tree, Apply):
        return replace(tree, args=tuple(substitute(arg, known) for arg in tree.args))
    return tree


INDICATORS = frozenset({Op.LESS, Form.NOT_LESS, Form.BETWEEN, Form.NONZERO, Form.ZERO})
"""Conditions that count as numbers: 1 where they hold, else 0."""
