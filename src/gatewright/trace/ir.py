"""The Trace: one time step of a cell, or of a cell's derivative, in single assignment."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from gatewright.axes import Shape
from gatewright.lang.ops import Attrs, Op
from gatewright.lang.symbol import Where


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


@dataclass(frozen=True, slots=True)
class Equation:
    """target = op(args), and the line that it was written on."""

    target: Var
    op: Op
    args: tuple[Atom, ...]
    attrs: Attrs = ()
    where: Where | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Noise:
    """A value drawn at random, 1 with the given probability, else 0; in evaluation it is that probability."""

    var: Var
    probability: float
    per: str  # "step" or "sequence"


@dataclass(frozen=True, slots=True)
class Trace:
    """One time step: what goes in, the equations, what comes out. Pure; no loop.

    - `inputs` come anew at every step, `states` from the step before, `params` are the same for all rows and steps.
    - `next_states` are the states for the step after, in the order of `states`. A layer emits the first.
    - `emits` are further values given out at every step; `sums` are added up over all rows and steps. A cell has none
      of either; its gradient emits the gradient of the input and sums those of the parameters.
    - `gates` maps a gate's name to its value.
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

    def __hash__(self) -> int:
        """Of what is at hand at once: traces are the keys of caches that every call of a layer asks."""
        return hash((self.name, len(self.params), len(self.equations), len(self.emits)))

    def leaves(self) -> Iterator[Var]:
        """Every value that no equation defines."""
        yield from self.inputs
        yield from self.states
        yield from self.params
        yield from (noise.var for noise in self.noises)

    def outputs(self) -> Iterator[Atom]:
        """Every value that leaves the step."""
        yield from self.next_states
        yield from (value for _, value in self.emits)
        yield from (value for _, value in self.sums)

    def axes(self) -> tuple[str, ...]:
        """The names of all axes, in the order in which they are met."""
        values = [*self.leaves(), *(equation.target for equation in self.equations)]
        return tuple(dict.fromkeys(axis for value in values for axis in value.shape))

    def spaces(self) -> dict[str, tuple[Var, ...]]:
        """The parameters by their space: {"W": (W.r, W.z), "U": ...}."""
        spaces: dict[str, list[Var]] = {}
        for param in self.params:
            spaces.setdefault(param.name.partition(".")[0], []).append(param)
        return {space: tuple(params) for space, params in spaces.items()}
