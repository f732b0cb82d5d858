"""Any Trace on random numbers: by its Program in the interpreter, and by the reference."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gatewright.axes import bind
from gatewright.backends import numpy_ref
from gatewright.backends.base import execute, prepare
from gatewright.schedule.interpret import interpret
from gatewright.schedule.plan import plan
from gatewright.schedule.program import Program
from gatewright.trace import Equation, Trace, Var
from tests.parity.assertions import assert_parity

DIVIDERS = {"n"}  # the state of sLSTM that its equations divide by
Arrays = dict[str, np.ndarray]
Results = dict[str, Arrays]


@dataclass(frozen=True)
class Given:
    """A trace and everything that is needed to run it; a gradient of odd order runs backwards in time."""

    trace: Trace
    sizes: Mapping[str, int]
    steps: int
    batch: int
    inputs: Arrays
    noises: Arrays
    params: Arrays
    states: Arrays
    backwards: bool

    @property
    def sequences(self) -> Arrays:
        """All that comes anew at every step."""
        return {**self.inputs, **self.noises}


def draw(trace: Trace, sizes: Mapping[str, int], steps: int, batch: int, rng: np.random.Generator) -> Given:
    """Random numbers for every leaf, which float32 holds exactly; none is small, and whatever divides is positive."""

    def numbers(value: Var, *leading: int) -> np.ndarray:
        shape = (*leading, *bind(value.shape, sizes))
        size = rng.uniform(0.25, 1.0, shape)
        if value.name == "mask":
            size = (size > 0.5).astype(float)
        elif value.name not in DIVIDERS and not value.name.startswith("saved("):
            size *= rng.choice([-1.0, 1.0], shape)
        return size.astype(np.float32).astype(np.float64)

    return Given(
        trace, sizes, steps, batch,
        inputs={value.name: numbers(value, steps, batch) for value in trace.inputs},
        noises={one.var.name: numbers(one.var, steps, batch) for one in trace.noises},
        params={value.name: numbers(value) / 2 ** len(value.shape) for value in trace.params},
        states={value.name: numbers(value, batch) for value in trace.states},
        backwards=trace.name.startswith("d(") and not trace.name.startswith("d(d("),
    )  # fmt: skip


def oracle(given: Given) -> Results:
    """What the reference gives, in float64."""
    run = numpy_ref.run(
        given.trace, given.inputs, given.params, given.states, noises=given.noises, backwards=given.backwards
    )
    return {"states": run.sequences, "emits": run.emits, "sums": run.sums}


def interpreted(given: Given, program: Program | None = None) -> Results:
    """What the interpreter gives, of the trace's own plan unless another is given."""
    result = interpret(
        program or plan(given.trace), given.sequences, given.params, given.states,
        sizes=given.sizes, execute=compute, backwards=given.backwards,
    )  # fmt: skip
    return {
        "states": {name: after(whole, given.backwards) for name, whole in result.states.items()},
        "emits": result.emits,
        "sums": result.sums,
    }


def compute(equations: Sequence[Equation], values: dict[str, Any], sizes: Mapping[str, int]) -> None:
    """Equations by the rules of the reference."""
    with np.errstate(all="ignore"):
        execute(prepare(equations, numpy_ref.RULES, sizes), values)


def after(states: np.ndarray, backwards: bool) -> np.ndarray:
    """The states after each step, of an array that has one slot more."""
    return states[:-1] if backwards else states[1:]


def check(given: Given, program: Program | None = None) -> None:
    """Hold the interpreter to the reference."""
    assert_parity(
        interpreted(given, program), oracle(given), dtype="float64", steps=given.steps, width=256,
        cell=given.trace.name, backend="interpreter",
    )  # fmt: skip
