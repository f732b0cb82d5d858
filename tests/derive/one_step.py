"""One row and one step of a trace as a plain function from arrays to arrays, with its derivatives by name."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from gatewright.axes import bind
from gatewright.backends.base import execute, prepare
from gatewright.backends.numpy_ref import RULES
from gatewright.derive import adjoint, jvp, seed, tangent, vjp
from gatewright.trace.ir import Atom, Literal, Trace, Var

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class OneStep:
    """A trace with sizes. Its outputs are called "next h", "emit d(x)" and "sum d(W.r)"; numbers are left out."""

    trace: Trace
    sizes: Mapping[str, int]
    values: Arrays = field(default_factory=dict)

    @property
    def outputs(self) -> dict[str, Atom]:
        after = {f"next {s.name}": new for s, new in zip(self.trace.states, self.trace.next_states, strict=True)}
        emits = {f"emit {name}": value for name, value in self.trace.emits}
        return {**after, **emits, **{f"sum {name}": value for name, value in self.trace.sums}}

    @property
    def moving(self) -> list[Var]:
        """What derivatives are taken by."""
        return [*self.trace.inputs, *self.trace.states, *self.trace.params]

    def draw(self, rng: np.random.Generator) -> "OneStep":
        """The step with a number for every leaf; random values are drawn as 0 or 1."""
        values = {leaf.name: rng.uniform(-1, 1, bind(leaf.shape, self.sizes)) for leaf in self.trace.leaves()}
        drawn = {noise.var.name: np.heaviside(values[noise.var.name], 0.0) for noise in self.trace.noises}
        return OneStep(self.trace, self.sizes, values | drawn)

    def directions(self, rng: np.random.Generator) -> Arrays:
        """A tangent for every leaf that moves; none for a mask, whose derivative is 0 but at 0."""
        return {
            leaf.name: rng.uniform(-1, 1, bind(leaf.shape, self.sizes)) * (leaf.name != "mask") for leaf in self.moving
        }

    def weights(self, rng: np.random.Generator) -> Arrays:
        """A cotangent for every output."""
        return {name: rng.uniform(-1, 1, array.shape) for name, array in self.run().items()}

    def run(self, values: Arrays | None = None) -> Arrays:
        """All outputs that are not plain numbers."""
        return _run(self.trace, self.sizes, values or self.values, self.outputs)

    def push(self, directions: Arrays) -> Arrays:
        """Forward mode: how each output moves along the directions."""
        pushed = OneStep(jvp(self.trace), self.sizes)
        order = tangent_order(pushed.trace)
        moved = _run(
            pushed.trace,
            self.sizes,
            self.values | {tangent(name, order): array for name, array in directions.items()},
            pushed.outputs,
        )
        kinds = {name: name.partition(" ") for name in self.run()}
        names = {name: f"{kind} {tangent(rest, order)}" for name, (kind, _, rest) in kinds.items()}
        return {name: moved.get(pushed_name, np.float64(0)) for name, pushed_name in names.items()}

    def pull(self, weights: Arrays) -> Arrays:
        """Reverse mode: the gradient by every leaf of what the weights weigh."""
        pulled = OneStep(vjp(self.trace, outputs=()), self.sizes)
        order = pulled.trace.order
        given = dict(self.values)
        for leaf in pulled.trace.leaves():
            given.setdefault(leaf.name, np.zeros(bind(leaf.shape, self.sizes)))
        for name, array in weights.items():
            kind, _, rest = name.partition(" ")
            given[seed(rest, order) if kind == "emit" else adjoint(rest, order)] = array
        found = _run(pulled.trace, self.sizes, given, pulled.outputs)
        kinds = dict.fromkeys((one.name for one in self.trace.states), "next")
        kinds |= dict.fromkeys((one.name for one in self.trace.inputs), "emit")
        names = {leaf.name: f"{kinds.get(leaf.name, 'sum')} {adjoint(leaf.name, order)}" for leaf in self.moving}
        return {name: found.get(pulled_name, np.float64(0)) for name, pulled_name in names.items()}

    def differences(self, directions: Arrays, step: float = 1e-3) -> Arrays:
        """How each output moves along the directions, by differences with an error of the order step**6."""

        def quotient(step: float) -> Arrays:
            above, below = (
                self.run(self.values | {name: self.values[name] + s * along for name, along in directions.items()})
                for s in (step, -step)
            )
            return {name: (above[name] - below[name]) / (2 * step) for name in above}

        one, two, four = quotient(step), quotient(2 * step), quotient(4 * step)
        return {name: (64 * one[name] - 20 * two[name] + four[name]) / 45 for name in one}


def tangent_order(derivative: Trace) -> int:
    """The order of a step with its tangents, as its name tells: 2 of t2(t(elman))."""
    return int(derivative.name[1 : derivative.name.index("(")] or 1)


def inner(one: Arrays, other: Arrays) -> float:
    """The sum of all products."""
    assert one.keys() == other.keys()
    return float(sum(np.sum(one[name] * other[name]) for name in one))


def _run(trace: Trace, sizes: Mapping[str, int], values: Arrays, outputs: Mapping[str, Atom]) -> Arrays:
    found = dict(values)
    execute(prepare(trace.equations, RULES, sizes), found)
    return {name: np.asarray(found[atom.name]) for name, atom in outputs.items() if not isinstance(atom, Literal)}
