"""Traces run by the engine, in guarded memory; compiled once for all tests of a process."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from gatewright.axes import bind
from gatewright.backends.llvm.emit.amx import AmxTiles
from gatewright.backends.llvm.emit.vector_type import Dtype, Products
from gatewright.backends.llvm.jit.target import target_named
from gatewright.backends.llvm.runtime.binding import bind_by_name
from gatewright.backends.llvm.runtime.engine import Engine
from gatewright.backends.llvm.runtime.executor import Executor
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
    products: Products = None
    amx: type[AmxTiles] | None = None


HERE = On()


@lru_cache(maxsize=256)
def _engine(trace: Trace, sizes: tuple[tuple[str, int], ...], backwards: bool, on: On) -> Engine:
    return Engine(plan(trace), dict(sizes), on.dtype, backwards, target_named(on.target), on.products, amx=on.amx)


def engine(given: Given, on: On = HERE) -> Engine:
    """The engine of a trace; the same one whenever it is asked for again."""
    return _engine(given.trace, tuple(sorted(given.sizes.items())), given.backwards, on)


def run(given: Given, on: On = HERE, memory: Guarded | None = None, *, packs: bool = True) -> Results:
    """What the engine gives; nothing was written out of bounds."""
    arrays = memory or Guarded(on.dtype)
    states, emits, sums = run_by_name(engine(given, on), arrays, given, packs=packs)
    arrays.check()
    return results(given, states, emits, sums, on.dtype)


def run_by_name(
    engine: Engine, arrays: Guarded, given: Given, *, packs: bool = True
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """States (time + 1, batch, ...), sequences (time, batch, ...) and sums of a run, each by name."""
    binding, trace = bind_by_name(engine), engine.program.trace
    extent = given.steps, given.batch
    random = [noise.var for noise in trace.noises]
    read = [arrays.contiguous(given.sequences[leaf.name]) for leaf in (*trace.inputs, *random)]
    read += [arrays.contiguous(given.params[leaf.name]) for leaf in trace.params]
    shapes = {state.name: bind(state.shape, engine.sizes) for state in trace.states}
    states = {name: arrays.empty((given.steps + 1, given.batch, *shape)) for name, shape in shapes.items()}
    for name, whole in states.items():
        arrays.fill(whole[-1 if engine.backwards else 0], given.states[name])
    emits = {name: arrays.empty((*extent, *slot.shape)) for name, slot in binding.emitted.items()}
    sums = {name: arrays.zeros(slot.shape) for name, slot in binding.summed.items()}
    Executor(binding, arrays, *extent, packs=packs).run([*read, *states.values(), *emits.values(), *sums.values()])
    return states, emits, sums


def results(
    given: Given, states: Mapping[str, Any], emits: Mapping[str, Any], sums: Mapping[str, Any], dtype: str
) -> Results:
    """What came out, in the form of the reference's."""

    def whole(name: str, value: Atom, got: Any, *leading: int) -> np.ndarray:
        shape = (*leading, *bind(given.trace.output_shape(name, value), given.sizes))
        return np.broadcast_to(np.asarray(got, dtype if isinstance(got, float) else None), shape)

    trace = given.trace
    return {
        "states": {name: after(array, given.backwards) for name, array in states.items()},
        "emits": {n: whole(n, value, emits[n], given.steps, given.batch) for n, value in trace.emits},
        "sums": {n: whole(n, value, sums[n]) for n, value in trace.sums},
    }


def check(given: Given, on: On = HERE, want: Results | None = None, *, packs: bool = True) -> Results:
    """Hold the engine to the reference."""
    got = run(given, on, packs=packs)
    assert_parity(
        got, want or oracle(given), dtype=on.dtype, products=on.products, steps=given.steps, width=256,
        cell=f"{given.trace.name} {dict(given.sizes)} {given.steps}x{given.batch}", backend=f"llvm for {on.target}",
    )  # fmt: skip
    return got


def leaves(found: Mapping[str, Any]) -> list[np.ndarray]:
    """All arrays of results."""
    return [one for value in found.values() for one in (leaves(value) if isinstance(value, dict) else [value])]
