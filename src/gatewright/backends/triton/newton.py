"""Cells whose units recur each by itself, parallel in time: Newton's iterations over all steps at once.

All states of a sequence solve one system, `s[t] = f(s[t - 1], x[t])` for every t. Newton's iteration linearises f
around a guess of all states, for all steps at once; the linear system that is left is an affine recurrence, which a
scan solves (Danieli, Rodriguez, Sarabia, Suau & Zappella 2025, ParaRNN: unlocking parallel training of nonlinear RNNs
for large language models, arXiv:2510.21450; Lim, Zhu, Selfridge & Kasim 2024, Parallelizing non-linear sequential
models over the sequence length, arXiv:2309.12252). Here the Jacobian is derived from the equations of any cell, and an
iteration is one kernel. The gradient of a cell is affine in what it carries, so one iteration solves it exactly.

After i iterations the first i steps are exact. How many are needed depends on the weights: few where the cell forgets,
many where it is chaotic. So what was reached is reported, and a result that is not within the tolerance is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from gatewright.axes import bind
from gatewright.backends.triton.kernel_precision import KernelPrecision
from gatewright.backends.triton.newton_iteration import (
    IterationSizes,
    KernelIteration,
    NewtonArrays,
    NewtonIteration,
    Tensors,
    TorchIteration,
)
from gatewright.backends.triton.program_memory import widened
from gatewright.backends.triton.program_run import ProgramRun, ProgramTensors
from gatewright.backends.triton.random_values import with_drawn
from gatewright.errors import ConvergenceError, OptionError, OptionTypeError, TraceError
from gatewright.schedule.linearized import linearized, unit_recurrence
from gatewright.schedule.plan import plan
from gatewright.trace.ir import Trace, Var

TOLERANCES: Mapping[str, float] = {"float64": 1e-10, "float32": 1e-4}
"""What the last correction may be, in parts of the largest state, by dtype. A correction is about the error of the
states before it; as Newton's iteration converges, the error after it is about its square, or that of rounding."""
MOST_STATES_OF_A_KERNEL = 2  # the matrices of more do not stay in registers


@dataclass(frozen=True, slots=True)
class Newton:
    """How Newton's iterations are done.

    - `tolerance`: what correction and residual may be at the end, in parts of the largest state; None is 1e-10 in
      float64 and 1e-4 in float32.
    - `max_iterations`: of each window of time.
    - `window`: pieces of so many steps are solved one after the other, each from the states that the one before ended
      with. Less is parallel, and fewer iterations are needed. None is all steps at once.
    - `falls_back`: where the tolerance is not reached a layer runs the loop, step by step, and its report says so. By
      default it raises ConvergenceError.

    Raises OptionError for numbers that are not positive, OptionTypeError for what is no number.
    """

    tolerance: float | None = None
    max_iterations: int = 50
    window: int | None = None
    falls_back: bool = False

    def __post_init__(self) -> None:
        _check_positive("max_iterations", self.max_iterations, int)
        if self.window is not None:
            _check_positive("window", self.window, int)
        if self.tolerance is not None:
            _check_positive("tolerance", self.tolerance, float)
        if not isinstance(self.falls_back, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise OptionTypeError("falls_back is not a yes or no", expected="True or False", got=repr(self.falls_back))


def _check_positive(name: str, value: object, kind: type[int] | type[float]) -> None:
    if isinstance(value, bool) or not isinstance(value, int | kind):
        expected = "a whole number" if kind is int else "a number"
        raise OptionTypeError(f"{name} of Newton is of the wrong type", expected=expected, got=repr(value))
    if not value > 0:
        raise OptionError(f"{name} is not positive", expected="more than 0", got=repr(value))


@dataclass(frozen=True, slots=True)
class NewtonReport:
    """How a solution was reached.

    - `iterations`: of all windows of time together.
    - `correction`: the most that the last iteration of a window changed a state, in parts of the largest state, or of 1
      where all are smaller. It is an estimate of the error before that iteration, and a bound of the one after it.
    - `residual`: the most by which a state before the last iteration differed from its step, in the same parts.
    - `tolerance`: that both were held to.
    - `fell_back`: it was not reached, and the loop gave the result.
    """

    iterations: int
    correction: float
    residual: float
    tolerance: float
    fell_back: bool = False

    def __str__(self) -> str:
        result = "not reached: the loop ran" if self.fell_back else "reached"
        return (
            f"{_counted(self.iterations)}, correction {self.correction:.1e}, residual {self.residual:.1e}, tolerance "
            f"{self.tolerance:.1e} {result}"
        )


class NotSolvedError(ConvergenceError):
    """A system of all steps that was not solved: how far the iterations came is in `report`."""

    report: NewtonReport


@dataclass(frozen=True, slots=True)
class NewtonSolution:
    """What a Program of the trace would give, and how it was reached."""

    tensors: ProgramTensors
    report: NewtonReport


def solve(
    trace: Trace,
    sizes: Mapping[str, int],
    inputs: Tensors,
    params: Tensors,
    starts: Mapping[str, Tensor | None],
    lengths: Tensor | None = None,
    options: Newton | None = None,
    **solver: Any,
) -> NewtonSolution:
    """Run a trace over a sequence by Newton's iterations; the arguments are those of `NewtonSolver` and its `solve`."""
    return NewtonSolver(trace, sizes, **solver).solve(inputs, params, starts, lengths, options)


class NewtonSolver:
    """A trace whose units recur each by itself, with its sizes, its dtypes and its direction in time.

    The trace may be a cell, a step that saves, its gradient (with `backwards=True`) or a further derivative. `kernels`
    runs iterations as Triton kernels, else by torch; by default kernels run where they can, for one or two states.

    Raises TraceError where a unit needs others as well.
    """

    def __init__(
        self,
        trace: Trace,
        sizes: Mapping[str, int],
        precision: KernelPrecision | None = None,
        *,
        backwards: bool = False,
        kernels: bool | None = None,
    ) -> None:
        obstacle = unit_recurrence(trace).obstacle
        if obstacle:
            raise TraceError(
                f"cell {trace.name!r} cannot be solved for all steps at once",
                expected="a cell whose units recur each by itself",
                got=obstacle,
                do="run the loop, step by step",
            )
        self.trace, self.sizes, self.backwards, self.kernels = trace, sizes, backwards, kernels
        self.precision = precision or KernelPrecision()
        self.dtype: torch.dtype = getattr(torch, self.precision.numbers)
        self.step = linearized(trace)
        self.known = ProgramRun(plan(self.step.known), sizes, self.precision, backwards=backwards)
        self.rest = ProgramRun(plan(_rest(trace)), sizes, self.precision, backwards=backwards)
        self._iterations: dict[bool, NewtonIteration] = {}

    def iteration(self, device: torch.device) -> NewtonIteration:
        """How an iteration is computed on a device."""
        fits = len(self.step.states) <= MOST_STATES_OF_A_KERNEL
        as_kernel = fits and self.known.runs_kernels(device) if self.kernels is None else self.kernels
        if as_kernel not in self._iterations:
            params = frozenset(param.name for param in self.trace.params)
            self._iterations[as_kernel] = (
                KernelIteration(self.step, params, self.sizes, self.precision, backwards=self.backwards)
                if as_kernel
                else TorchIteration(self.step, self.sizes, backwards=self.backwards)
            )
        return self._iterations[as_kernel]

    @torch.no_grad()
    def solve(
        self,
        inputs: Tensors,
        params: Tensors,
        starts: Mapping[str, Tensor | None],
        lengths: Tensor | None = None,
        options: Newton | None = None,
    ) -> NewtonSolution:
        """Find all states, and from them what the trace emits and sums. The tensors are those of `ProgramRun.run`.

        Raises NotSolvedError where the tolerance was not reached, or, with a step that is affine, where products of
        slopes overflowed.
        """
        options = options or Newton()
        known = self.known.run(inputs, params, {}, lengths).emits if self.step.known.emits else {}
        like = next(iter(inputs.values()))
        steps, batch = like.shape[:2]
        given = with_drawn(self.trace, self.sizes, inputs, self.dtype)
        values = {name: tensor.contiguous() for name, tensor in {**given, **known}.items()}
        run = _Run(self, values, params, options)
        first = {state.name: self._start(state, starts, batch, like.device) for state in self.step.states}
        states, report = run.windows(first, steps, lengths)
        return NewtonSolution(self._result(states, inputs, params, starts, lengths), report)

    def _start(self, state: Var, starts: Mapping[str, Tensor | None], batch: int, device: torch.device) -> Tensor:
        given = starts.get(state.name)
        shape = (batch, *bind(state.shape, self.sizes))
        return torch.zeros(shape, dtype=self.dtype, device=device) if given is None else given.contiguous()

    def _result(
        self,
        states: dict[str, Tensor],
        inputs: Tensors,
        params: Tensors,
        starts: Mapping[str, Tensor | None],
        lengths: Tensor | None,
    ) -> ProgramTensors:
        """Everything else, for all steps at once: no other state is read."""
        slot = 1 if self.backwards else 0
        before = {name: whole[slot : slot + len(whole) - 1] for name, whole in states.items()}
        found = self.rest.run({**inputs, **before}, params, {}, lengths)
        emits = {name: found.emits[name] for name, _ in self.trace.emits}
        for state in self.trace.states:
            if state.name not in states:
                new = found.emits[_new(state.name)]
                start = self._start(state, starts, new.shape[1], new.device)
                states[state.name] = self._with_start(new, start, lengths)
        return ProgramTensors({state.name: states[state.name] for state in self.trace.states}, emits, found.sums)

    def _with_start(self, new: Tensor, start: Tensor, lengths: Tensor | None) -> Tensor:
        """A state before and after every step, of its values after every step and of that before the first."""
        if not self.backwards:
            return torch.cat([start[None], new])
        whole = torch.cat([new, torch.zeros_like(start)[None]])
        last = torch.full(start.shape[:1], len(new), device=start.device) if lengths is None else lengths.long()
        whole[last, torch.arange(len(start), device=start.device)] = start
        return whole


@lru_cache(maxsize=64)
def _rest(trace: Trace) -> Trace:
    """What is left of a trace once the states are known that it reads: they are inputs."""
    states = unit_recurrence(trace).states
    others = [(state.name, new) for state, new in trace.updates() if state not in states]
    return replace(
        trace,
        inputs=(*trace.inputs, *states),
        states=(),
        next_states=(),
        emits=(*trace.emits, *((_new(name), value) for name, value in others)),
        gates=(),
    )


def _new(state: str) -> str:
    return f"new({state})"


class _Run:
    """The iterations of one call."""

    def __init__(self, solver: NewtonSolver, values: Tensors, shared: Tensors, options: Newton) -> None:
        self.solver, self.values, self.shared, self.options = solver, values, shared, options
        tolerance = options.tolerance
        self.tolerance = TOLERANCES[solver.precision.numbers] if tolerance is None else tolerance
        self.iterations, self.residual, self.correction = 0, 0.0, 0.0
        self.iterate = solver.iteration(next(iter(values.values())).device)

    def windows(
        self, starts: dict[str, Tensor], steps: int, lengths: Tensor | None
    ) -> tuple[dict[str, Tensor], NewtonReport]:
        """All windows, one after the other, in the direction of time."""
        backwards, window = self.solver.backwards, self.options.window or max(steps, 1)
        whole = {name: start.new_zeros((steps + 1, *start.shape)) for name, start in starts.items()}
        firsts = range(0, steps, window) if steps else range(1)
        for first in reversed(firsts) if backwards else firsts:
            end = min(first + window, steps)
            left = None if lengths is None else (lengths - first).clamp(0, end - first).to(torch.int32)
            values = {name: tensor[first:end] for name, tensor in self.values.items()}
            solved = self._window(NewtonArrays(values, self.shared, starts, left), end - first)
            for name, states in solved.items():
                whole[name][first : end + 1] = states
            starts = {name: _ends(states, left, backwards) for name, states in solved.items()}
        if lengths is not None:  # slots that no step has written are zero
            slots = torch.arange(steps + 1, device=lengths.device)[:, None] <= lengths
            whole = {name: torch.where(widened(slots, states.dim()), states, 0.0) for name, states in whole.items()}
        return whole, NewtonReport(self.iterations, self.correction, self.residual, self.tolerance)

    def _window(self, arrays: NewtonArrays, steps: int) -> dict[str, Tensor]:
        guess = {name: start.expand(steps + 1, *start.shape).contiguous() for name, start in arrays.starts.items()}
        new = {name: states.clone() for name, states in guess.items()}
        if not steps or not next(iter(guess.values())).numel():
            return guess
        if self.solver.step.is_affine:  # slopes and offsets are not a guess: the states are exact
            sizes = self.iterate(arrays, guess, new)
            self.iterations += 1
            if not sizes.state < float("inf"):
                raise self._unsolved(sizes, steps)
            return new
        sizes = IterationSizes(*[float("inf")] * 3)
        for _ in range(self.options.max_iterations):
            sizes = self.iterate(arrays, guess, new)
            self.iterations += 1
            guess, new = new, guess
            if not sizes.state < float("inf"):
                # products of slopes overflowed: keep the guess there. The first steps are exact, and one more each time
                for name, states in guess.items():
                    states.copy_(torch.where(states.isfinite(), states, new[name]))
            scale = max(sizes.state, 1.0)
            residual, correction = sizes.residual / scale, sizes.correction / scale
            if sizes.state < float("inf") and max(residual, correction) <= self.tolerance:
                self.residual, self.correction = max(self.residual, residual), max(self.correction, correction)
                return guess
        raise self._unsolved(sizes, steps)

    def _unsolved(self, sizes: IterationSizes, steps: int) -> NotSolvedError:
        shorter = f"Newton(window={steps // 8}) solves shorter pieces one after the other; " if steps >= 16 else ""
        count = 1 if self.solver.step.is_affine else self.options.max_iterations
        error = NotSolvedError(
            f"cell {self.solver.trace.name!r}: {_counted(count)} over {steps} steps did not converge",
            expected=f"a residual and a correction of at most {self.tolerance:.1e} of the largest state",
            got=f"residual {sizes.residual:.1e}, correction {sizes.correction:.1e}, largest state {sizes.state:.1e}",
            do=f"{shorter}Newton(falls_back=True) runs a layer's loop, step by step, where this happens",
        )
        scale = max(sizes.state, 1.0)
        correction, residual = (
            size / scale if scale < float("inf") else scale for size in (sizes.correction, sizes.residual)
        )
        error.report = NewtonReport(self.iterations, correction, residual, self.tolerance, fell_back=True)
        return error


def _counted(iterations: int) -> str:
    return f"{iterations} iteration{'' if iterations == 1 else 's'}"


def _ends(states: Tensor, lengths: Tensor | None, backwards: bool) -> Tensor:
    """The states after the last step that each row takes."""
    if backwards or lengths is None:
        return states[0 if backwards else -1].clone()
    return states[lengths.long(), torch.arange(states.shape[1], device=states.device)]
