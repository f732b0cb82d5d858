"""The smallest backend that can be: plain Python floats, one row after the other, by the recipe of CONTRIBUTING.md.

It shows what a backend that folds over a Trace has to bring: values with `ndim`, a rule for every op, a loop over the
steps, and the gradient as the derived trace run backwards. It also holds the reference to numbers that are not NumPy's.
"""

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gatewright.axes import bind
from gatewright.backends.base import ArrayRules, PreparedEquation, execute, prepare
from gatewright.derive import adjoint, seed, vjp
from gatewright.lang import Op
from gatewright.trace import Atom, Literal
from tests.parity.matrix import Problem, Results

Data = Any
"""A float, a list of floats, or a list of such lists."""


@dataclass(frozen=True)
class Value:
    """A value of one row. There are no axes in front, so `execute` asks for nothing but `ndim`."""

    data: Data

    @property
    def ndim(self) -> int:
        return 0 if not isinstance(self.data, list) else 1 + isinstance(self.data[0], list)


def each(function: Callable[..., float]) -> Callable[..., Value]:
    """The rule of an op that takes each element by itself; a scalar stands for all elements."""

    def broadcast(*parts: Data) -> Data:
        lengths = [len(part) for part in parts if isinstance(part, list)]
        if not lengths:
            return float(function(*parts))
        return [broadcast(*(part[i] if isinstance(part, list) else part for part in parts)) for i in range(lengths[0])]

    return lambda *args, **attrs: Value(broadcast(*map(data_of, args), *attrs.values()))


def data_of(value: Value | float) -> Data:
    return value.data if isinstance(value, Value) else value


def total(a: Value, rank: int) -> Value:
    return Value(math.fsum(a.data) if rank == 1 else math.fsum(map(math.fsum, a.data)) if rank else a.data)


def expanded(number: float, sizes: Sequence[int]) -> Data:
    return [expanded(number, sizes[1:]) for _ in range(sizes[0])] if sizes else number


def sigmoid(a: float) -> float:
    return 1 / (1 + math.exp(-a)) if a >= 0 else math.exp(a) / (1 + math.exp(a))


RULES: ArrayRules = {
    Op.NEG: each(operator.neg),
    Op.ABS: each(abs),
    Op.SIGN: each(lambda a: (a > 0) - (a < 0)),
    Op.EXP: each(math.exp),
    Op.LOG: each(math.log),
    Op.SQRT: each(math.sqrt),
    Op.SIGMOID: each(sigmoid),
    Op.TANH: each(math.tanh),
    Op.RELU: each(lambda a: max(a, 0.0)),
    Op.HARD_SIGMOID: each(lambda a, slope: min(max(slope * a + 0.5, 0.0), 1.0)),
    Op.SOFTPLUS: each(lambda a: max(a, 0.0) + math.log1p(math.exp(-abs(a)))),
    Op.ADD: each(operator.add),
    Op.SUB: each(operator.sub),
    Op.MUL: each(operator.mul),
    Op.DIV: each(operator.truediv),
    Op.MAXIMUM: each(max),
    Op.MINIMUM: each(min),
    Op.LESS: each(operator.lt),
    Op.WHERE: each(lambda condition, a, b: a if condition else b),
    Op.MATMUL: lambda m, v: Value([sum(map(operator.mul, row, v.data)) for row in m.data]),
    Op.TRANSPOSE: lambda m: Value(list(map(list, zip(*m.data, strict=True)))),
    Op.OUTER: lambda a, b: Value([[left * right for right in b.data] for left in a.data]),
    Op.SUM: total,
    Op.MEAN: lambda a, rank: Value(total(a, rank).data / (len(a.data) if rank else 1)),
    Op.EXPAND: lambda a, sizes: Value(expanded(data_of(a), sizes)),
    Op.SIZE: lambda count: Value(float(count)),
    Op.RELABEL: lambda a: a,
}


def computed(calls: Sequence[PreparedEquation], given: Mapping[str, Data]) -> dict[str, Value]:
    """All values of one step of one row."""
    values = {name: Value(data) for name, data in given.items()}
    execute(calls, values)
    return values


def data_of_atom(atom: Atom, values: Mapping[str, Value]) -> Data:
    return atom.value if isinstance(atom, Literal) else values[atom.name].data


class Run:
    """A trace over all rows of a problem, and its gradient."""

    def __init__(self, given: Problem) -> None:
        self.given, self.trace, self.backward = given, given.trace, vjp(given.trace)
        self.calls, self.backward_calls = (
            prepare(trace.equations, RULES, given.sizes) for trace in (self.trace, self.backward)
        )
        self.params = {name: array.tolist() for name, array in given.params.items()}
        self.output = np.zeros_like(given.d_output)
        self.finals = {name: array.copy() for name, array in given.states.items()}
        shapes = {name: bind(value.shape, given.sizes) for name, value in self.trace.gates}
        self.gates = {name: np.zeros((given.steps, given.batch, *shape)) for name, shape in shapes.items()}
        self.d_inputs, self.d_params, self.d_states = (
            {name: np.zeros_like(array) for name, array in arrays.items()}
            for arrays in (given.inputs, given.params, given.states)
        )

    def forward(self, row: int, length: int) -> list[dict[str, Data]]:
        """Run a row. Returns what went into each of its steps: inputs, random values and the states before it."""
        trace, given = self.trace, self.given
        states = {name: array[row].tolist() for name, array in given.states.items()}
        known: list[dict[str, Data]] = []
        for t in range(length):
            sequences = {**given.inputs, **given.noises}
            known.append({**{name: array[t, row].tolist() for name, array in sequences.items()}, **states})
            values = computed(self.calls, {**self.params, **known[t]})
            states = {state.name: data_of_atom(new, values) for state, new in trace.updates()}
            self.output[t, row] = states[trace.states[0].name]
            for name, value in trace.gates:
                self.gates[name][t, row] = values[value.name].data
        for name, data in states.items():
            self.finals[name][row] = data
        return known

    def back(self, row: int, known: list[dict[str, Data]]) -> None:
        """Add a row's part to the gradients, from its last step to its first."""
        given, first = self.given, self.trace.states[0].name
        carried = {adjoint(name): array[row].tolist() for name, array in given.d_finals.items()}
        for t in reversed(range(len(known))):
            seeds = {seed(first): given.d_output[t, row].tolist()}
            values = computed(self.backward_calls, {**self.params, **known[t], **carried, **seeds})
            carried = {state.name: data_of_atom(new, values) for state, new in self.backward.updates()}
            for name, value in self.backward.emits:
                self.d_inputs[self.backward.adjoint_of(name)][t, row] = data_of_atom(value, values)
            for name, value in self.backward.sums:
                self.d_params[self.backward.adjoint_of(name)] += np.asarray(data_of_atom(value, values))
        for name, array in self.d_states.items():
            array[row] = carried[adjoint(name)]


def plain_results(given: Problem, dtype: str) -> Results:
    """What plain floats give for a problem of the parity matrix; they are float64."""
    assert dtype == "float64"
    run = Run(given)
    for row in range(given.batch):
        length = given.steps if given.lengths is None else given.lengths[row]
        run.back(row, run.forward(row, length))
    return {
        "output": run.output, "finals": run.finals, "gates": run.gates,
        "d_inputs": run.d_inputs, "d_params": run.d_params, "d_states": run.d_states,
    }  # fmt: skip
