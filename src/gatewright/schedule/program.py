"""The Program: what a code generator reads. A Trace laid out over a whole sequence.

Passes run one after the other: `before` over all steps and rows at once; `scan`, where it was chosen, by scans over all
steps; `loop` step by step; `after` over all steps and rows at once. A pass is a list of stages; within a stage every
unit of every row can be computed on its own. What a later stage needs of an earlier one is stored; everything else
lives in registers.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from gatewright.axes import Shape
from gatewright.lang.ops import Op
from gatewright.trace.ir import Atom, Equation, Trace, Var


class Phase(StrEnum):
    """When a value is known, and the pass that computes it. The members are in the order of time."""

    BEFORE = "before"  # for all steps at once, before the loop
    SCAN = "scan"  # for all steps at once, by scans or from what scans give
    LOOP = "loop"  # step by step
    AFTER = "after"  # for all steps at once, after the loop


class Storage(StrEnum):
    """Where a value is found."""

    INPUT = "input"  # given for every step: (time, batch, ...)
    RANDOM = "random"  # drawn for every step: given like an input, or drawn where it is read
    STATE = "state"  # carried, as it was before the step: (time + 1, batch, ...) has a slot before and after each step
    NEW = "new"  # the new value of a state, found in the slot after the step
    SEQUENCE = "sequence"  # computed and kept for every step: (time, batch, ...)
    ROW = "row"  # computed and kept within one step: (batch, ...)
    SHARED = "shared"  # a parameter, or computed from parameters only


@dataclass(frozen=True, slots=True)
class Term:
    """matrix @ vector, or transposed matrix @ vector."""

    matrix: str
    transposed: bool
    vector: Var


@dataclass(frozen=True, slots=True)
class Product:
    """target = the sum of its terms: products that meet in one sum are accumulated together."""

    target: Var
    terms: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class Reduction:
    """target = the sum or the mean of a vector's features."""

    target: Var
    op: Op
    vector: Var


@dataclass(frozen=True, slots=True)
class Scan:
    """target = slope * state + offset for all steps: an associative scan, from the state before the first step.

    The target is the state's new value. Slope and offset are of its shape or scalars.
    """

    target: Var
    state: Var
    slope: Atom
    offset: Atom


Work = Product | Reduction | Equation | Scan
"""One thing to compute for a row. The equations are elementwise."""


def operands(work: Work) -> tuple[Atom, ...]:
    """What is computed from, matrices aside."""
    if isinstance(work, Product):
        return tuple(term.vector for term in work.terms)
    if isinstance(work, Scan):
        return work.slope, work.offset
    return (work.vector,) if isinstance(work, Reduction) else work.args


def needs_whole(work: Work) -> bool:
    """Whether each unit of the result needs all units of the operands, and not only its own."""
    return isinstance(work, Product | Reduction)


@dataclass(frozen=True, slots=True)
class Store:
    """Keep a value: a state's new value under the name of the state, others under their own."""

    value: Atom
    name: str
    storage: Storage


@dataclass(frozen=True, slots=True)
class Stage:
    """Values along one axis. Products first, then equations in order, scans, stores; or reductions alone."""

    axis: str | None
    products: tuple[Product, ...]
    equations: tuple[Equation, ...]
    stores: tuple[Store, ...]
    reductions: tuple[Reduction, ...] = ()
    scans: tuple[Scan, ...] = ()

    def reads(self) -> Iterator[Atom]:
        """Every value that the stage uses, its own results included."""
        for work in self.works():
            yield from operands(work)
        yield from (store.value for store in self.stores)

    def works(self) -> Iterator[Work]:
        """Everything that the stage computes, in order."""
        yield from self.products
        yield from self.reductions
        yield from self.equations
        yield from self.scans


@dataclass(frozen=True, slots=True)
class RowSum:
    """target = the sum over all steps and rows of left, or of the outer product of left and right."""

    target: Var
    left: Var
    right: Var | None = None


@dataclass(frozen=True, slots=True)
class Program:
    """A Trace laid out over a sequence."""

    trace: Trace
    storage: Mapping[str, Storage]  # of every leaf, of what the prologue computes, and of every value that is kept
    shapes: Mapping[str, Shape]  # of the same values
    new_values: Mapping[str, str]  # for every value with storage NEW, the state that it is the new value of
    prologue: tuple[Equation, ...]  # of parameters only, once
    before: tuple[Stage, ...]
    loop: tuple[Stage, ...]
    after: tuple[Stage, ...]
    row_sums: tuple[RowSum, ...]
    epilogue: tuple[Equation, ...]  # of sums and parameters only, once
    sums: tuple[tuple[str, Atom], ...]
    scan: tuple[Stage, ...] = ()

    def probability(self, name: str) -> float:
        """With which a random value is 1."""
        return next(noise.probability for noise in self.trace.noises if noise.var.name == name)

    def passes(self) -> Iterator[tuple[Phase, tuple[Stage, ...]]]:
        """The passes, in the order in which they run."""
        yield Phase.BEFORE, self.before
        yield Phase.SCAN, self.scan
        yield Phase.LOOP, self.loop
        yield Phase.AFTER, self.after


class Save(StrEnum):
    """What a forward run saves."""

    VALUES = "values"  # every value that the gradient needs and is costly to compute again: the fastest gradient
    NOTHING = "nothing"  # inputs and states only; the gradient repeats the step: the least memory


class Time(StrEnum):
    """How states that are affine in themselves, element by element, get from one step to the next."""

    LOOP = "loop"  # one step after the other, as all other states: the least work, parallel over rows and units
    SCAN = "scan"  # by associative scans before the loop: more work, parallel over steps too. For GPU engines


@dataclass(frozen=True, slots=True)
class Choices:
    """What is saved for the gradient, and how states that allow it get from step to step."""

    save: Save = Save.VALUES
    time: Time = Time.LOOP
