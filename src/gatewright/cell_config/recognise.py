"""From a Trace to its cell config, recognised by the equations; names and the order of terms do not count.

The normal forms of a Trace are matched with those of one cell for each structure (`_structures`). The match says which
activations it has, and which parameters stand for those of the config's own cell.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import permutations, product
from typing import Any

from gatewright.cell_config.activations import name_of, odd_about_half
from gatewright.cell_config.config import CellConfig, no_config
from gatewright.cell_config.normal_form import (
    Activated,
    Bounded,
    Constants,
    ElementProduct,
    FormTerm,
    Leaf,
    MatrixProduct,
    NormalForm,
    normal_forms,
)
from gatewright.lang import exp, sigmoid, tanh
from gatewright.lang.ops import Op
from gatewright.trace.build import trace_cell
from gatewright.trace.ir import Literal, Trace, Var

MOST_LIMITS = 4
"""A Trace with more bounds is none of the known cells. It limits the work: every pair of bounds is tried."""
_FIELDS: Mapping[Op, str] = {Op.SIGMOID: "gate", Op.TANH: "activation", Op.EXP: "output"}
"""Placeholders: where these ops stand in the cell of a structure, the Trace may have any activation.

Its name becomes the value of that field of the config.
"""
_Agree = Callable[[Any, Any, "Bindings"], Iterator["Bindings"]]
Bindings = Mapping[str, str | Constants]
"""The result of a match: activations by field, matrices and constants by their names in the config's own cell."""


@dataclass(frozen=True, slots=True)
class RecognisedCell:
    """The cell config of a Trace, and the names that the Trace has for the parameters of the config's own cell."""

    config: CellConfig
    inverted: bool  # a GRU whose update gate of 1 replaces the state: the numbers of z change their sign
    bindings: Bindings

    def constants(self, space: str, gate: str) -> Constants:
        """The value of a parameter of the config's own cell, as a signed sum of parameters of the Trace and numbers.

        `bh` is the bias beside U of a GRU that resets after the product; it cannot be added to the bias beside W. The
        forget gate of coupled gates is 1 - i: the input gate with negated numbers. The sum is empty where the Trace has
        no such parameter.
        """
        coupled = self.config.coupled and gate == "f"
        name = f"{space}.{'i' if coupled else gate}" if space != "bh" else f"b.h{gate}"
        bound = self.bindings.get(name, ())
        constants = ((1, Var(bound, ())),) if isinstance(bound, str) else bound
        negated = coupled or (self.inverted and gate == "z")
        return tuple((-sign, atom) for sign, atom in constants) if negated else constants

    def of_gates(self, space: str, gates: Sequence[str]) -> list[Constants]:
        """The constants of several gates, in that order."""
        return [self.constants(space, gate) for gate in gates]

    def matrix(self, name: str) -> str | None:
        """The name that the Trace has for a matrix of the config's own cell; None where it has no such matrix."""
        bound = self.bindings.get(name)
        return bound if isinstance(bound, str) else None

    @property
    def has_biases(self) -> bool:
        """Whether anything is added to a gate."""
        return any(self.constants(space, gate) for space in ("b", "bh") for gate in self.config.gates)

    @property
    def has_own_names(self) -> bool:
        """Whether every parameter has the name that it has in the config's own cell."""
        return all(
            bound in (name, ()) or (isinstance(bound, tuple) and _is_alone(name, bound))
            for name, bound in self.bindings.items()
            if name not in _FIELDS.values()
        )


def _is_alone(name: str, constants: Constants) -> bool:
    """Whether constants are the parameter of that name; a forget gate's may have a number beside it."""
    kept = [(sign, atom) for sign, atom in constants if not (name == "b.f" and isinstance(atom, Literal))]
    return [(sign, atom.name) for sign, atom in kept if isinstance(atom, Var)] == [(1, name)] and len(kept) == 1


@lru_cache(maxsize=256)
def recognise(trace: Trace) -> RecognisedCell | None:
    """The cell config of an evaluated Trace, whatever its parameters are called; None where it has none."""
    return next(_matches(trace), None)


def config_of(trace: Trace) -> tuple[CellConfig, bool]:
    """The cell config of a Trace whose parameters have the usual names, and whether its update gate is inverted.

    Raises ConversionError where it is no RNN, GRU or LSTM of those that frameworks have.
    """
    for cell in _matches(trace):
        if cell.has_own_names:
            return cell.config, cell.inverted
    raise no_config(trace)


def _matches(trace: Trace) -> Iterator[RecognisedCell]:
    forms = normal_forms(trace)
    for config, inverted in _structures(trace):
        template = _template(config, inverted)
        if _extents(template) != _extents(trace) or len(template.inputs) != len(trace.inputs):
            continue
        for bindings in _all_agree(list(zip(normal_forms(template), forms, strict=True)), {}):
            recognised = _with_activations(config, bindings)
            if not inverted or odd_about_half(recognised.gate):  # otherwise no weights of z invert it
                yield RecognisedCell(recognised, inverted, bindings)


def _structures(trace: Trace) -> Iterator[tuple[CellConfig, bool]]:
    """Every structure that the Trace may have, and whether its update gate is inverted."""
    if len(trace.states) == 1:
        # No Trace fits two of these: they differ in the number of states, or in the terms of a sum.
        yield CellConfig("rnn"), False
        for reset, inverted in product(("before", "after"), (False, True)):
            yield CellConfig("gru", reset=reset), inverted
        return
    numbers = {arg.value for equation in trace.equations for arg in equation.args if isinstance(arg, Literal)}
    limits = sorted(number for number in numbers if number > 0 and -number in numbers)
    limits = [*limits[:MOST_LIMITS], 0.0]
    for peepholes, coupled, cell_clip in product((False, True), (False, True), limits):
        yield CellConfig("lstm", peepholes=peepholes, coupled=coupled, cell_clip=cell_clip), False
    for peepholes, cell_clip, proj_clip in product((False, True), limits, limits):
        config = CellConfig("lstm", peepholes=peepholes, projection=True, cell_clip=cell_clip, proj_clip=proj_clip)
        yield config, False


@lru_cache(maxsize=128)
def _template(config: CellConfig, inverted: bool) -> Trace:
    """The cell of a structure, with a placeholder for each of its activations."""
    cell = config.cell_with(sigmoid, tanh, exp)
    return trace_cell(cell(update="replaces") if inverted else cell)


def _extents(trace: Trace) -> list[int]:
    """Which states are of one size: that of the first state that has it stands for each. A projection has two."""
    shapes = [state.shape for state in trace.states]
    return [shapes.index(shape) for shape in shapes]


def _with_activations(config: CellConfig, bindings: Bindings) -> CellConfig:
    """The config of a structure with the activations that were found, and the number beside the forget gate's bias."""
    fields: dict[str, Any] = {field: bindings[field] for field in _FIELDS.values() if field in bindings}
    bias = bindings.get("b.f", ())
    numbers = [sign * atom.value for sign, atom in bias if isinstance(atom, Literal)] if isinstance(bias, tuple) else []
    return replace(config, **fields, forget_bias=float(sum(numbers)))


def _all_agree(pairs: Sequence[tuple[Any, Any]], bindings: Bindings, agree: _Agree | None = None) -> Iterator[Bindings]:
    """Every match of all pairs at once. The first of a pair is always the template's."""
    if not pairs:
        yield bindings
        return
    for more in (agree or _agree)(*pairs[0], bindings):
        yield from _all_agree(pairs[1:], more, agree)


def _agree(wanted: NormalForm, got: NormalForm, bindings: Bindings) -> Iterator[Bindings]:
    yield from _same_terms(wanted, got, bindings)
    placeholder = wanted.terms[0][1] if len(wanted.terms) == 1 and not wanted.constants else None
    if isinstance(placeholder, Activated):  # where the Trace has no activation at all
        more = _bind(bindings, _FIELDS[placeholder.op], "identity")
        yield from _agree(placeholder.argument, got, more) if more is not None else ()


def _same_terms(wanted: NormalForm, got: NormalForm, bindings: Bindings) -> Iterator[Bindings]:
    start = _same_constants(wanted.constants, got.constants, bindings)
    if start is None or len(wanted.terms) != len(got.terms):
        return
    # At most four terms: a template has no longer sum, and unequal lengths were refused.
    for order in permutations(got.terms):
        if all(ours[0] == theirs[0] for ours, theirs in zip(wanted.terms, order, strict=True)):
            pairs = [(ours[1], theirs[1]) for ours, theirs in zip(wanted.terms, order, strict=True)]
            yield from _all_agree(pairs, start, _same_term)


def _same_term(wanted: FormTerm, got: FormTerm, bindings: Bindings) -> Iterator[Bindings]:
    match wanted, got:
        case Leaf(), Leaf() if wanted == got:
            yield bindings
        case MatrixProduct(), MatrixProduct():
            more = _bind(bindings, wanted.name, got.name)
            yield from _agree(wanted.vector, got.vector, more) if more is not None else ()
        case Activated(), Activated():
            name = name_of(got.op, dict(got.attrs))
            more = _bind(bindings, _FIELDS[wanted.op], name) if name else None
            yield from _agree(wanted.argument, got.argument, more) if more is not None else ()
        case Bounded(), Bounded() if (wanted.op, wanted.bound) == (got.op, got.bound):
            yield from _agree(wanted.argument, got.argument, bindings)
        case ElementProduct(), ElementProduct() if len(wanted.factors) == len(got.factors):
            for order in permutations(got.factors):
                yield from _all_agree(list(zip(wanted.factors, order, strict=True)), bindings)
        case _:
            return


def _same_constants(wanted: Constants, got: Constants, bindings: Bindings) -> Bindings | None:
    """A parameter of the template matches any sum of constants, an empty one too; a number matches only itself."""
    match wanted:
        case ():
            return None if got else bindings
        case ((1, Var(name)),):
            return _bind(bindings, name, got)
        case ((sign, Literal(value)),):
            numbers = [own * atom.value for own, atom in got if isinstance(atom, Literal)]
            return bindings if len(numbers) == len(got) and numbers == [sign * value] else None
        case _:
            return None


def _bind(bindings: Bindings, name: str, bound: str | Constants) -> Bindings | None:
    """With one more name bound; None where it stands for something else already."""
    return {**bindings, name: bound} if bindings.get(name, bound) == bound else None
