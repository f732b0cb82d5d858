"""Which operator of ONNX computes a cell, told by its equations: whoever wrote them, and under whatever names."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import permutations
from typing import Any

from gatewright.backends.onnx.normal_form import (
    Activated,
    Constants,
    Leaf,
    Matrix,
    Sum,
    Term,
    Times,
    normal_forms,
)
from gatewright.backends.onnx.operators import (
    IDENTITY,
    OPERATORS,
    SLOTS,
    SYMMETRIC,
    Activation,
    Operator,
    activation,
)
from gatewright.trace.build import trace_cell
from gatewright.trace.ir import Literal, Trace, Var

Bound = Mapping[str, Any]
"""What the names of an operator's cell stand for: a matrix's name, constants, or (op, activation) of a slot."""


@dataclass(frozen=True, slots=True)
class Recognised:
    """A cell as an operator: what its parameters are there."""

    operator: Operator
    activations: tuple[Activation, ...]
    matrices: Mapping[str, str]  # the operator's W.z -> the parameter's name
    vectors: Mapping[str, Constants]  # the operator's b.z -> parameters and numbers to be added

    @property
    def has_biases(self) -> bool:
        """Whether anything is added to a gate."""
        return any(self.per_gate("b")) or any(self.recurrent_biases())

    def per_gate(self, space: str) -> list[Constants]:
        """What the gates have in a space, W, U, b or p, in the operator's order: parameters and numbers to be added."""
        row = self.operator
        return [self._signed(gate, f"{space}.{_name(gate)}") for gate in (row.peepholes if space == "p" else row.gates)]

    def recurrent_biases(self) -> list[Constants]:
        """The second bias of each gate; () for a gate that has none."""
        own = self.operator.recurrent_biases
        return [self._signed(gate, own[gate]) if gate in own else () for gate in self.operator.gates]

    def _signed(self, gate: str, name: str) -> Constants:
        matrix = self.matrices.get(name)
        constants = self.vectors.get(name, ()) if matrix is None else ((1, Var(matrix, ())),)
        return tuple((-sign, atom) for sign, atom in constants) if gate.startswith("-") else constants


def _name(gate: str) -> str:
    return gate.removeprefix("-")


@lru_cache(maxsize=256)
def recognise(trace: Trace, operators: tuple[Operator, ...] = OPERATORS) -> Recognised | None:
    """The operator that computes an evaluated trace, if there is one: of ONNX, or of those that are given."""
    given = normal_forms(trace)
    for operator in operators:
        wanted = _forms(operator)
        if len(wanted) != len(given) or _extents(trace) != _extents(trace_cell(operator.cell)):
            continue
        for bound in _all(list(zip(wanted, given, strict=True)), {}):
            found = _recognised(operator, bound)
            if found is not None:
                return found
    return None


def _extents(trace: Trace) -> list[int]:
    """Which states are of one size: that of the first state that has it stands for each. A projection has two."""
    shapes = [state.shape for state in trace.states]
    return [shapes.index(shape) for shape in shapes]


@cache
def _forms(operator: Operator) -> tuple[Sum, ...]:
    return normal_forms(trace_cell(operator.cell))


def _recognised(operator: Operator, bound: Bound) -> Recognised | None:
    slots = [bound[slot] for slot in operator.activations]
    if operator.turned and bound["gate"][0] not in SYMMETRIC:
        return None
    return Recognised(
        operator,
        activations=tuple(found for _, found in slots),
        matrices={name: one for name, one in bound.items() if isinstance(one, str)},
        vectors={name: one for name, one in bound.items() if not isinstance(one, str) and name not in SLOTS.values()},
    )


def _all(pairs: Sequence[tuple[Sum, Sum]], bound: Bound) -> Iterator[Bound]:
    """Every way in which all pairs agree at once."""
    if not pairs:
        yield bound
        return
    for more in _sum(*pairs[0], bound):
        yield from _all(pairs[1:], more)


def _sum(wanted: Sum, given: Sum, bound: Bound) -> Iterator[Bound]:
    yield from _same_terms(wanted, given, bound)
    slot = _slot(wanted)
    if slot is not None:  # a place for an activation, where the cell has none
        more = _bind(bound, SLOTS[slot.op], (None, IDENTITY))
        yield from _sum(slot.argument, given, more) if more is not None else ()


def _slot(wanted: Sum) -> Activated | None:
    term = wanted.terms[0][1] if len(wanted.terms) == 1 and not wanted.constants else None
    return term if isinstance(term, Activated) else None


def _same_terms(wanted: Sum, given: Sum, bound: Bound) -> Iterator[Bound]:
    start = _constants(wanted.constants, given.constants, bound)
    if start is None or len(wanted.terms) != len(given.terms):
        return
    for order in permutations(given.terms):
        if all(one[0] == other[0] for one, other in zip(wanted.terms, order, strict=True)):
            pairs = [(one[1], other[1]) for one, other in zip(wanted.terms, order, strict=True)]
            yield from _terms(pairs, start)


def _terms(pairs: Sequence[tuple[Term, Term]], bound: Bound) -> Iterator[Bound]:
    if not pairs:
        yield bound
        return
    for more in _term(*pairs[0], bound):
        yield from _terms(pairs[1:], more)


def _term(wanted: Term, given: Term, bound: Bound) -> Iterator[Bound]:
    match wanted, given:
        case Leaf(), Leaf() if wanted == given:
            yield bound
        case Matrix(), Matrix():
            more = _bind(bound, wanted.name, given.name)
            yield from _sum(wanted.vector, given.vector, more) if more is not None else ()
        case Activated(), Activated():
            found = activation(given.op, dict(given.attrs))
            more = _bind(bound, SLOTS[wanted.op], (given.op, found)) if found else None
            yield from _sum(wanted.argument, given.argument, more) if more is not None else ()
        case Times(), Times() if len(wanted.factors) == len(given.factors):
            for order in permutations(given.factors):
                yield from _all(list(zip(wanted.factors, order, strict=True)), bound)
        case _:
            return


def _constants(wanted: Constants, given: Constants, bound: Bound) -> Bound | None:
    """A parameter of the operator's cell takes any sum of constants, none of them too; a number itself alone."""
    match wanted:
        case ():
            return None if given else bound
        case ((1, Var(name)),):
            return _bind(bound, name, given)
        case ((sign, Literal(value)),):
            numbers = [own * atom.value for own, atom in given if isinstance(atom, Literal)]
            return bound if len(numbers) == len(given) and numbers == [sign * value] else None
        case _:
            return None


def _bind(bound: Bound, name: str, what: object) -> Bound | None:
    """With one more name bound; None where it stands for something else already."""
    return {**bound, name: what} if bound.get(name, what) == what else None
