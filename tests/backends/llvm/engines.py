"""Traces run by the engine, in guarded memory; compiled once for all tests of a process."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from gatewright.axes import bind
from gatewright.backends.llvm.emit.vector_type import Dtype
from gatewright.backends.llvm.jit.target import named
from gatewright.backends.llvm.runtime.engine import Engine
from gatewright.backends.llvm.runtime.executor import Outcome, run_by_name
from gatewright.lang.ops import Op
from gatewright.schedule.plan import plan
from gatewright.trace import Atom, Trace
from tests.backends.llvm.guarded import Guarded
from tests.parity.assertions import assert_parity
from tests.schedule.running import Given, Results, after, oracle


def sizes_of(trace: Trace, wide: int, hidden: int) -> dict[str, int]:
    """A size for every axis; axes that the equations use for one another have the same."""
    sizes = {"input": wide, "hidden": hidden, "projection": hidden // 2 + 1, "input_rank": 2, "hidden_rank": 3}
    sizes["context"] = 4
    for equation in trace.equations:
        if equation.op is Op.RELABEL:
            (one,), (other,) = equation.args[0].shape, equation.target.shape
            sizes["input"] = sizes[one if other == "input" else other]
    return {axis: sizes[axis] for axis in trace.axes()}


@dataclass(frozen=True)
class On:
    """What a trace is run on."""

    dtype: Dtype = "float32"
    target: str = "host"


HERE = On()


@lru_cache(maxsize=256)
def _engine(trace: Trace, sizes: tuple[tuple[str, int], ...], backwards: bool, on: On) -> Engine:
    return Engine(plan(trace), dict(sizes), on.dtype, backwards, named(on.target))


def engine(given: Given, on: On = HERE) -> Engine:
    """The engine of a trace; the same one whenever it is asked for again."""
    return _engine(given.trace, tuple(sorted(given.sizes.items())), given.backwards, on)


def run(given: Given, on: On = HERE, memory: Guarded | None = None) -> Results:
    """What the engine gives; nothing was written out of bounds."""
    arrays = memory or Guarded(on.dtype)
    outcome = run_by_name(engine(given, on), arrays, given.sequences, given.params, given.states)
    arrays.check()
    return results(given, outcome, on.dtype)


def results(given: Given, outcome: Outcome, dtype: str) -> Results:
    """What came out, in the form of the reference's."""

    def whole(name: str, value: Atom, got: Any, *leading: int) -> np.ndarray:
        shape = (*leading, *bind(given.trace.output_shape(name, value), given.sizes))
        return np.broadcast_to(np.asarray(got, dtype if isinstance(got, float) else None), shape)

    trace = given.trace
    return {
        "states": {name: after(array, given.backwards) for name, array in outcome.states.items()},
        "emits": {n: whole(n, value, outcome.emits[n], given.steps, given.batch) for n, value in trace.emits},
        "sums": {n: whole(n, value, outcome.sums[n]) for n, value in trace.sums},
    }


def check(given: Given, on: On = HERE, want: Results | None = None) -> Results:
    """Hold the engine to the reference."""
    got = run(given, on)
    assert_parity(
        got, want or oracle(given), dtype=on.dtype, steps=given.steps, width=256,
        cell=f"{given.trace.name} {dict(given.sizes)} {given.steps}x{given.batch}", backend=f"llvm for {on.target}",
    )  # fmt: skip
    return got


def leaves(found: Mapping[str, Any]) -> list[np.ndarray]:
    """All arrays of results."""
    return [one for value in found.values() for one in (leaves(value) if isinstance(value, dict) else [value])]
