"""The Trace: one time step of a cell, or of a cell's derivative, in single assignment."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum

from gatewright.axes import Shape
from gatewright.lang.display import TextDisplay
from gatewright.lang.ops import Attrs, Op
from gatewright.lang.param import Param
from gatewright.lang.symbol import Redraw, Where
from gatewright.trace.names import split_derived


@dataclass(frozen=True, slots=True)
class Var:
    """A named value of one row. Values that the user did not name are called %0, %1, ..."""

    name: str
    shape: Shape


@dataclass(frozen=True, slots=True)
class Literal:
    """A number written in an equation."""

    value: float

    @property
    def shape(self) -> Shape:
        return ()


Atom = Var | Literal


def names_of(atoms: Iterable[Atom]) -> frozenset[str]:
    """The names of the values among atoms; numbers have none."""
    return frozenset(atom.name for atom in atoms if isinstance(atom, Var))


@dataclass(frozen=True, slots=True)
class Equation:
    """target = op(args), and the line that it was written on."""

    target: Var
    op: Op
    args: tuple[Atom, ...]
    attrs: Attrs = ()
    where: Where | None = field(default=None, compare=False)


class Role(StrEnum):
    """How a leaf of a Trace meets time; its value is its keyword in the text of a Trace."""

    INPUT = "input"  # anew at every step
    STATE = "state"  # from the step before
    PARAM = "param"  # the same for all rows and steps
    NOISE = "noise"  # drawn at random, for every row by itself


@dataclass(frozen=True, slots=True)
class Noise:
    """A value drawn at random, 1 with the given probability, else 0; in evaluation it is that probability."""

    var: Var
    probability: float
    per: Redraw  # compare with ==: layers that an older version pickled hold plain text here


@dataclass(frozen=True, slots=True)
class Trace(TextDisplay):
    """One time step: what goes in, the equations, what comes out. Pure; no loop.

    - `inputs` come anew at every step, `states` from the step before, `params` are the same for all rows and steps.
    - `next_states` are the states for the step after, in the order of `states`. A layer emits the first.
    - `emits` are further values given out at every step; `sums` are added up over all rows and steps. A cell has none
      of either; its gradient emits the gradient of the input and sums those of the parameters.
    - `gates` maps a gate's name to its value.
    - `order` is 0 for a step. For a gradient it is the number in the names that the gradient added: 1 for d(h), 2 for
      d2(h). A step with its tangents (`jvp`) keeps the order of the trace that it was made of.
    """

    name: str
    inputs: tuple[Var, ...]
    states: tuple[Var, ...]
    params: tuple[Var, ...]
    noises: tuple[Noise, ...]
    equations: tuple[Equation, ...]
    next_states: tuple[Atom, ...]
    emits: tuple[tuple[str, Atom], ...] = ()
    sums: tuple[tuple[str, Atom], ...] = ()
    gates: tuple[tuple[str, Var], ...] = ()
    order: int = 0

    def __hash__(self) -> int:
        """Of what is at hand at once: traces are the keys of caches that every call of a layer asks."""
        return hash((self.name, len(self.params), len(self.equations), len(self.emits)))

    def __setstate__(self, state: list[object]) -> None:
        """Unpickle. Layers that were pickled before `order` was a field hold traces of cells, of order 0."""
        for known, value in zip(fields(self), [*state, 0], strict=False):
            object.__setattr__(self, known.name, value)

    def roles(self) -> Iterator[tuple[Role, Var]]:
        """Every value that no equation defines, and how it meets time."""
        yield from ((Role.INPUT, value) for value in self.inputs)
        yield from ((Role.STATE, value) for value in self.states)
        yield from ((Role.PARAM, value) for value in self.params)
        yield from ((Role.NOISE, noise.var) for noise in self.noises)

    def leaves(self) -> Iterator[Var]:
        """Every value that no equation defines."""
        return (value for _, value in self.roles())

    def outputs(self) -> Iterator[Atom]:
        """Every value that leaves the step."""
        yield from self.next_states
        yield from (value for _, value in self.emits)
        yield from (value for _, value in self.sums)

    def values(self) -> Iterator[Var]:
        """Every value: leaves, then what equations define."""
        yield from self.leaves()
        yield from (equation.target for equation in self.equations)

    def updates(self) -> Iterator[tuple[Var, Atom]]:
        """Each state and its value for the step after."""
        return zip(self.states, self.next_states, strict=True)

    def definitions(self) -> dict[str, Equation]:
        """The equations by the names of what they define."""
        return {equation.target.name: equation for equation in self.equations}

    def axes(self) -> tuple[str, ...]:
        """The names of all axes, in the order in which they are met."""
        return tuple(dict.fromkeys(axis for value in self.values() for axis in value.shape))

    def spaces(self) -> dict[str, tuple[Var, ...]]:
        """The parameters by their space: {"W": (W.r, W.z), "U": ...}."""
        spaces: dict[str, list[Var]] = {}
        for param in self.params:
            spaces.setdefault(Param.parse(param.name).space, []).append(param)
        return {space: tuple(params) for space, params in spaces.items()}

    def adjoint_of(self, output: str) -> str | None:
        """The name of the leaf that an output of a gradient is the gradient by: x, for d(x)."""
        name = split_derived(output)
        return name.of if name is not None and name.is_adjoint and name.order == self.order else None

    def output_shape(self, name: str, value: Atom) -> Shape:
        """The shape of an output for one row.

        It is the value's own, or, where a gradient is the plain number 0, that of the leaf which it is the gradient by.
        """
        of = self.adjoint_of(name) if isinstance(value, Literal) else None
        return next((leaf.shape for leaf in self.leaves() if leaf.name == of), value.shape)


def renamed(trace: Trace, names: Mapping[str, str]) -> Trace:
    """The trace with the values of some equations renamed: old name -> new name. Leaves keep theirs."""

    def var(old: Var) -> Var:
        return Var(names.get(old.name, old.name), old.shape)

    new = with_uses(trace, var)
    return replace(
        new,
        equations=tuple(replace(equation, target=var(equation.target)) for equation in new.equations),
        gates=tuple((name, var(value)) for name, value in trace.gates),
    )


def with_uses(trace: Trace, new: Callable[[Var], Atom]) -> Trace:
    """The trace that uses `new(value)` wherever it used a value, in equations and outputs; what they define stays."""

    def atom(old: Atom) -> Atom:
        return new(old) if isinstance(old, Var) else old

    return replace(
        trace,
        equations=tuple(replace(equation, args=tuple(map(atom, equation.args))) for equation in trace.equations),
        next_states=tuple(map(atom, trace.next_states)),
        emits=tuple((name, atom(value)) for name, value in trace.emits),
        sums=tuple((name, atom(value)) for name, value in trace.sums),
    )
