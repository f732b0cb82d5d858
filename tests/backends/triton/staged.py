"""A Program on random numbers in Triton's interpreter, with its loop and its other passes by kernels of stages."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from gatewright.axes import bind
from gatewright.backends.triton.kernel_precision import KernelPrecision
from gatewright.backends.triton.kernel_text import Argument, ArgumentKind
from gatewright.backends.triton.pass_kernels import PassKernels
from gatewright.backends.triton.stage_kernel import LENGTHS
from gatewright.backends.triton.stepped import SteppedLoop
from gatewright.backends.triton.value_places import place_of
from gatewright.derive import vjp
from gatewright.schedule.interpret import ProgramInterpreter
from gatewright.schedule.plan import plan
from gatewright.schedule.program import Product, Program
from gatewright.schedule.residuals import save
from gatewright.trace import Trace, simplify, trace_cell
from tests.backends.triton.drawn import draw, seeds_of
from tests.parity.assertions import assert_parity
from tests.parity.matrix import CELLS, sizes_for
from tests.schedule.running import Given, Results, after, compute, oracle

DOUBLE = KernelPrecision("float64", "float64")
SINGLE = KernelPrecision("float32", "float32")


class Loop(Protocol):
    """The loop of a Program by kernels."""

    @property
    def arguments(self) -> tuple[Argument, ...]:
        """The arrays that a caller gives."""
        ...

    def run(self, arrays: Mapping[Argument, Tensor], steps: int, batch: int) -> None:
        """Take all steps."""
        ...


MakeLoop = Callable[..., Loop]


@dataclass
class StagedInterpreter(ProgramInterpreter):
    """The interpreter of Programs with kernels in the place of its passes. The arrays have the type of the numbers.

    All arrays are filled with NaN where nothing is stored, so that whatever a kernel reads without cause shows.
    """

    precision: KernelPrecision = DOUBLE
    lengths: tuple[int, ...] | None = None
    make_loop: MakeLoop = SteppedLoop

    def run_loop(self) -> None:
        """All steps by the kernels of the loop."""
        loop = self.make_loop(self.program, self.sizes, self.precision, backwards=self.backwards)
        arrays = self.arrays()
        slot = -1 if self.backwards else 0
        stored = {store.name for stage in self.program.loop for store in stage.stores}
        for name, state in self.states.items():
            if name in stored:
                arrays[Argument(ArgumentKind.START, name)] = torch.from_numpy(state[slot].copy())
                state[slot] = np.nan  # the kernel writes it
        loop.run(arrays, self.steps, self.batch)

    def run_pass(self, stages: Any, *, whole: bool, t: int = 0) -> None:
        """A pass over all steps, by kernels where it has no scans."""
        if not whole or any(stage.scans for stage in stages):
            super().run_pass(stages, whole=whole, t=t)
            return
        passed = PassKernels(self.program, stages, self.sizes, self.precision, backwards=self.backwards)
        passed.run(self.arrays(), self.steps, self.batch, self.multiplied)

    def arrays(self) -> dict[Argument, Tensor]:
        """Everything that kernels may point to; tensors share the memory of the interpreter's arrays."""
        kinds = {
            ArgumentKind.STATE: self.states,
            ArgumentKind.SEQUENCE: {**self.inputs, **self.sequences},
            ArgumentKind.SHARED: self.shared,
        }
        arrays = {
            Argument(kind, name): torch.from_numpy(np.ascontiguousarray(array, self.precision.numbers))
            for kind, named in kinds.items()
            for name, array in named.items()
        }
        for name, seeds in seeds_of(self.program.trace, self.steps, self.batch).items():
            arrays[Argument(ArgumentKind.SEEDS, name)] = torch.from_numpy(seeds)
        if self.lengths is not None:
            arrays[LENGTHS] = torch.tensor(self.lengths, dtype=torch.int32)
        return arrays

    def multiplied(self, products: Sequence[Product]) -> list[Tensor]:
        """Products for all lines."""
        arrays, shifts = self.arrays(), {"before": self.before, "after": self.after, "lead": 0}
        results: list[Tensor] = []
        for product in products:
            terms: list[Tensor] = []
            for term in product.terms:
                place = place_of(self.program, term.vector.name)
                is_random = place.argument.kind is ArgumentKind.SEEDS
                array = torch.from_numpy(self.inputs[term.vector.name]) if is_random else arrays[place.argument]
                vectors = array[shifts[place.lead] :][: self.steps]
                matrix = arrays[Argument(ArgumentKind.SHARED, term.matrix)]
                terms.append(vectors @ (matrix if term.transposed else matrix.mT))
            results.append(sum(terms[1:], terms[0]).contiguous())
            if product.target.name in self.sequences:
                torch.from_numpy(self.sequences[product.target.name]).copy_(results[-1])
        return results


def staged(
    given: Given,
    program: Program,
    precision: KernelPrecision,
    make_loop: MakeLoop = SteppedLoop,
    lengths: tuple[int, ...] | None = None,
) -> Results:
    """What a Program gives with all of its passes by kernels of stages."""

    def cast(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: array.astype(precision.numbers) for name, array in arrays.items()}

    machine = StagedInterpreter(
        program, cast(given.sequences), cast(given.params), given.sizes, compute, given.backwards,
        precision, lengths, make_loop,
    )  # fmt: skip
    with np.errstate(all="ignore"):  # rows that are not computed may divide by zero
        result = machine.run(cast(given.states))
    states = result.states if lengths else {n: after(whole, given.backwards) for n, whole in result.states.items()}
    return {"states": states, "emits": result.emits, "sums": result.sums}


def traces(name: str) -> dict[str, Trace]:
    """What is run of a cell: the step, the step that saves, its gradient, and the gradient of the gradient."""
    step = simplify(trace_cell(CELLS[name]))
    pair = save(step, (step.states[0].name,))
    gradient = vjp(step, outputs=[state.name for state in step.states])
    twice = vjp(gradient, outputs=[state.name for state in gradient.states])
    return {"step": step, "saving": pair.forward, "gradient": pair.backward, "twice": twice}


def draw_wide(trace: Trace, steps: int, batch: int, hidden: int, rng: np.random.Generator) -> Given:
    """Random numbers for a trace with a wide hidden state; matrices are scaled so that it stays of the order of 1."""
    given = draw(trace, {**sizes_for(trace), "hidden": hidden}, steps, batch, rng)
    params = {name: array / (hidden**0.5 if array.ndim == 2 else 1) for name, array in given.params.items()}
    params = {name: array.astype(np.float32).astype(np.float64) for name, array in params.items()}
    return replace(given, params=params)


def check_against_reference(
    trace: Trace,
    steps: int,
    batch: int,
    precision: KernelPrecision,
    rng: np.random.Generator,
    make_loop: MakeLoop = SteppedLoop,
) -> None:
    """Hold kernels to the reference."""
    given = draw(trace, sizes_for(trace), steps, batch, rng)
    assert_parity(
        staged(given, plan(trace), precision, make_loop), oracle(given), dtype=precision.numbers, steps=steps,
        width=256, cell=trace.name, backend="triton",
    )  # fmt: skip


def check_ragged(
    trace: Trace, lengths: tuple[int, ...], rng: np.random.Generator, make_loop: MakeLoop = SteppedLoop
) -> None:
    """Hold kernels to the reference, row by row: each row takes its own number of steps.

    In padding inputs are NaN. What is written there is not looked at, but for states beyond a row's end: they stay NaN.
    """
    steps, batch = max(lengths), len(lengths)
    given = draw(trace, sizes_for(trace), steps, batch, rng)
    padding = np.arange(steps)[:, None] >= np.array(lengths)

    def with_padding(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        padded = {name: array.copy() for name, array in arrays.items()}
        for array in padded.values():
            array[padding] = np.nan
        return padded

    poisoned = replace(given, inputs=with_padding(given.inputs), noises=with_padding(given.noises))
    got = staged(poisoned, plan(trace), DOUBLE, make_loop, lengths)
    for row, length in enumerate(lengths):
        for name, states in got["states"].items():
            assert np.isnan(states[length + 1 :, row]).all(), (name, row)
        if not length:
            continue
        want = oracle(_row_of(given, row, length))
        own = slice(0, length) if given.backwards else slice(1, length + 1)
        part = {
            "states": {name: states[own, row : row + 1] for name, states in got["states"].items()},
            "emits": {name: emit[:length, row : row + 1] for name, emit in got["emits"].items()},
        }
        expected = {"states": want["states"], "emits": want["emits"]}
        assert_parity(part, expected, dtype="float64", steps=steps, width=256, cell=f"{trace.name}, row {row}")


def _row_of(given: Given, row: int, length: int) -> Given:
    """The problem of one row."""

    def cut(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: array[:length, row : row + 1] for name, array in arrays.items()}

    starts = {name: state[row : row + 1] for name, state in given.states.items()}
    return replace(
        given, steps=length, batch=1, inputs=cut(given.inputs), noises=cut(given.noises), states=starts
    )  # fmt: skip


def random_arrays(
    loop: Loop, program: Program, sizes: Mapping[str, int], steps: int, batch: int, rng: np.random.Generator
) -> dict[Argument, Tensor]:
    """Random numbers for all arrays of a loop; all rows take all steps."""
    leading = {
        ArgumentKind.SEQUENCE: (steps, batch), ArgumentKind.STATE: (steps + 1, batch), ArgumentKind.START: (batch,),
    }  # fmt: skip
    return {
        argument: torch.from_numpy(
            rng.normal(size=(*leading.get(argument.kind, ()), *bind(program.shapes[argument.name], sizes)))
        )
        for argument in loop.arguments
        if argument.kind is not ArgumentKind.LENGTHS
    }
