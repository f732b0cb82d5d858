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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Protocol

import torch
from torch import Tensor

from gatewright.axes import bind
from gatewright.backends.base import execute, prepare
from gatewright.backends.torch_rules import rules
from gatewright.backends.triton.kernel_precision import KernelPrecision
from gatewright.backends.triton.kernel_text import ArgumentKind
from gatewright.backends.triton.program_memory import widened
from gatewright.backends.triton.program_run import ProgramRun, ProgramTensors
from gatewright.backends.triton.scan_kernel import LENGTHS
from gatewright.backends.triton.scan_launch import ScanKernel
from gatewright.backends.triton.scan_stage import CoupledScan, LargestMagnitude, ScanSource, ScanStage
from gatewright.errors import ConvergenceError, OptionError, TraceError
from gatewright.schedule.linearized import LinearizedStep, after, linearized, unit_recurrence
from gatewright.schedule.plan import plan
from gatewright.schedule.program import Stage, Storage, Store
from gatewright.trace.ir import Atom, Literal, Trace, Var, names_of

Tensors = Mapping[str, Tensor]
TOLERANCES: Mapping[str, float] = {"float64": 1e-10, "float32": 1e-4}
"""What the last correction may be, in parts of the largest state, by dtype. A correction is about the error of the
states before it; as Newton's iteration converges, the error after it is about its square, or that of rounding."""
MAX_ITERATIONS = 50


@dataclass(frozen=True, slots=True)
class NewtonReport:
    """How a solution was reached.

    - `iterations`: of all windows of time together.
    - `correction`: the most that the last iteration of a window changed a state, in parts of the largest state, or of 1
      where all are smaller. It is an estimate of the error before that iteration, and a bound of the one after it.
    - `residual`: the most by which a state before the last iteration differed from its step, in the same parts.
    - `tolerance`: that both were held to.
    """

    iterations: int
    correction: float
    residual: float
    tolerance: float


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
    **options: Any,
) -> NewtonSolution:
    """Run a trace over a sequence by Newton's iterations; the arguments are those of `NewtonSolver` and its `solve`."""
    ours = {name: options.pop(name) for name in ("precision", "backwards", "kernels") if name in options}
    return NewtonSolver(trace, sizes, **ours).solve(inputs, params, starts, lengths, **options)


class NewtonSolver:
    """A trace whose units recur each by itself, with its sizes, its dtypes and its direction in time.

    The trace may be a cell, a step that saves, its gradient (with `backwards=True`) or a further derivative. `kernels`
    runs iterations as Triton kernels, which is right on a GPU; without them they are torch's operations, on any device.

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

    @torch.no_grad()
    def solve(
        self,
        inputs: Tensors,
        params: Tensors,
        starts: Mapping[str, Tensor | None],
        lengths: Tensor | None = None,
        *,
        tolerance: float | None = None,
        max_iterations: int = MAX_ITERATIONS,
        window: int | None = None,
    ) -> NewtonSolution:
        """Find all states, and from them what the trace emits and sums.

        The tensors are those of `ProgramRun.run`. `window` solves pieces of so many steps one after the other, each
        from the states that the one before ended with: less is parallel, and fewer iterations are needed.

        Raises ConvergenceError where the tolerance was not reached in `max_iterations`, OptionError for options that
        are not positive.
        """
        tolerance = TOLERANCES[self.precision.numbers] if tolerance is None else tolerance
        _hold_positive(tolerance=tolerance, max_iterations=max_iterations, window=1 if window is None else window)
        known = self.known.run(inputs, params, {}, lengths).emits if self.step.known.emits else {}
        like = next(iter(inputs.values()))
        steps, batch = like.shape[:2]
        values = {name: tensor.contiguous() for name, tensor in {**inputs, **known}.items()}
        run = _Run(self, values, params, tolerance, max_iterations)
        first = {state.name: self._start(state, starts, batch, like.device) for state in self.step.states}
        states, report = run.windows(first, steps, batch, lengths, window or max(steps, 1))
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


def _hold_positive(**options: float) -> None:
    for name, value in options.items():
        if not value > 0:
            raise OptionError(f"{name} is not positive", expected="more than 0", got=repr(value))


class _Iteration(Protocol):
    """One iteration over the steps of a window: from the states `guess` to `new`; both (steps + 1, batch, ...).

    It returns the largest residual of the guess, the largest change, and the largest new state.
    """

    def __call__(
        self,
        values: Tensors,
        params: Tensors,
        starts: Tensors,
        guess: Tensors,
        new: Tensors,
        lengths: Tensor | None,
    ) -> tuple[float, float, float]: ...


class _Run:
    """The iterations of one call."""

    def __init__(
        self, solver: NewtonSolver, values: Tensors, params: Tensors, tolerance: float, max_iterations: int
    ) -> None:
        self.solver, self.values, self.params = solver, values, params
        self.tolerance, self.max_iterations = tolerance, max_iterations
        self.iterations, self.residual, self.correction = 0, 0.0, 0.0
        self.iterate: _Iteration = (_KernelIteration if self._has_kernels() else _TorchIteration)(solver)

    def _has_kernels(self) -> bool:
        chosen = self.solver.kernels
        return next(iter(self.values.values())).is_cuda if chosen is None else chosen

    def windows(
        self, starts: dict[str, Tensor], steps: int, batch: int, lengths: Tensor | None, window: int
    ) -> tuple[dict[str, Tensor], NewtonReport]:
        """All windows, one after the other, in the direction of time."""
        backwards = self.solver.backwards
        whole = {name: start.new_zeros((steps + 1, *start.shape)) for name, start in starts.items()}
        firsts = range(0, steps, window) if steps else range(1)
        for first in reversed(firsts) if backwards else firsts:
            end = min(first + window, steps)
            taken = None if lengths is None else (lengths - first).clamp(0, end - first).to(torch.int32)
            solved = self._window(starts, slice(first, end), taken)
            for name, states in solved.items():
                whole[name][first : end + 1] = states
            starts = {name: _ends(states, taken, backwards) for name, states in solved.items()}
        if lengths is not None:  # slots that no step has written are zero
            slots = torch.arange(steps + 1, device=lengths.device)[:, None] <= lengths
            whole = {name: torch.where(widened(slots, states.dim()), states, 0.0) for name, states in whole.items()}
        return whole, NewtonReport(self.iterations, self.correction, self.residual, self.tolerance)

    def _window(self, starts: dict[str, Tensor], span: slice, lengths: Tensor | None) -> dict[str, Tensor]:
        steps = span.stop - span.start
        values = {name: tensor[span] for name, tensor in self.values.items()}
        guess = {name: start.expand(steps + 1, *start.shape).contiguous() for name, start in starts.items()}
        new = {name: states.clone() for name, states in guess.items()}
        if not steps:
            return guess
        residual = correction = float("inf")
        for _ in range(1 if self.solver.step.is_affine else self.max_iterations):
            residual, correction, largest = self.iterate(values, self.params, starts, guess, new, lengths)
            self.iterations += 1
            guess, new = new, guess
            if self.solver.step.is_affine:
                residual = correction = 0.0  # the states are exact: there was nothing to guess
                break
            if not largest < float("inf"):  # products of slopes overflowed: the steps up to there are right
                for name, states in guess.items():
                    states.copy_(torch.where(states.isfinite(), states, new[name]))
                continue
            scale = max(largest, 1.0)
            residual, correction = residual / scale, correction / scale
            if max(residual, correction) <= self.tolerance:
                break
        else:
            raise self._unsolved(residual, correction, span)
        self.residual, self.correction = max(self.residual, residual), max(self.correction, correction)
        return guess

    def _unsolved(self, residual: float, correction: float, span: slice) -> ConvergenceError:
        steps = span.stop - span.start
        shorter = f", or solve shorter pieces one after the other: window={max(steps // 8, 1)}" if steps > 1 else ""
        return ConvergenceError(
            f"cell {self.solver.trace.name!r}: {self.max_iterations} iterations over {steps} steps did not converge",
            expected=f"residual and correction of at most {self.tolerance:.1e} of the largest state",
            got=f"residual {residual:.1e}, correction {correction:.1e}",
            do=f"run the loop, step by step{shorter}",
        )


def _ends(states: Tensor, lengths: Tensor | None, backwards: bool) -> Tensor:
    """The states after the last step that each row takes."""
    if backwards or lengths is None:
        return states[0 if backwards else -1].clone()
    return states[lengths.long(), torch.arange(states.shape[1], device=states.device)]


class _KernelIteration:
    """An iteration as one kernel: coefficients, scan, and how far the guess was off."""

    def __init__(self, solver: NewtonSolver) -> None:
        self.solver = solver
        self.stage = newton_stage(solver.trace, solver.step)
        self.kernel = ScanKernel(self.stage, solver.sizes, solver.precision, backwards=solver.backwards)

    def __call__(
        self,
        values: Tensors,
        params: Tensors,
        starts: Tensors,
        guess: Tensors,
        new: Tensors,
        lengths: Tensor | None,
    ) -> tuple[float, float, float]:
        like = next(iter(starts.values()))
        rows = {part.array: torch.empty_like(like) for part in self.stage.magnitudes}
        states = {**new, **{_guess(name): tensor for name, tensor in guess.items()}}
        tables: dict[ArgumentKind, Mapping[str, Tensor]] = {
            ArgumentKind.SEQUENCE: values,
            ArgumentKind.SHARED: params,
            ArgumentKind.STATE: states,
            ArgumentKind.START: starts,
            ArgumentKind.ROW: rows,
        }
        arrays = {
            argument: lengths if argument == LENGTHS else tables[argument.kind][argument.name]
            for argument in self.kernel.arguments
        }
        steps, batch = next(iter(guess.values())).shape[0] - 1, like.shape[0]
        self.kernel.run(arrays, steps, batch)
        # one transfer from the device tells all three
        kinds = ("residual", "correction", "size")
        found = torch.stack(
            [
                torch.stack(
                    [rows[part.array].max() for part in self.stage.magnitudes if part.array.startswith(kind)]
                ).max()
                for kind in kinds
            ]
        ).tolist()
        return found[0], found[1], found[2]


def _guess(state: str) -> str:
    return f"guess({state})"


@lru_cache(maxsize=64)
def newton_stage(trace: Trace, step: LinearizedStep) -> ScanStage:
    """One of Newton's iterations as a stage of coupled scans."""
    params = {param.name for param in trace.params}
    sources = {
        value.name: ScanSource(ArgumentKind.SHARED if value.name in params else ArgumentKind.SEQUENCE, value.name)
        for value in step.trace.inputs
    }
    taken = names_of(value for value in step.trace.values())
    targets: list[Var] = []
    magnitudes: list[LargestMagnitude] = []
    for state, new in zip(step.states, step.new, strict=True):
        sources[state.name] = ScanSource(ArgumentKind.STATE, _guess(state.name))
        sources[after(state.name)] = ScanSource(ArgumentKind.STATE, _guess(state.name), is_after=True)
        target = Var(f"solved {state.name}", state.shape)
        assert target.name not in taken
        targets.append(target)
        before = Var(after(state.name), state.shape)
        magnitudes += [
            LargestMagnitude(f"residual({state.name})", new, before),
            LargestMagnitude(f"correction({state.name})", target, before),
            LargestMagnitude(f"size({state.name})", target),
        ]
    stage = Stage(
        axis=step.states[0].shape[0] if step.states[0].shape else None,
        products=(),
        equations=_used(step),
        stores=tuple(
            Store(target, state.name, Storage.STATE) for target, state in zip(targets, step.states, strict=True)
        ),
    )
    scan = CoupledScan(tuple(targets), step.states, step.slopes, step.offsets)
    return ScanStage(step.trace.name, stage, (scan,), sources, tuple(magnitudes))


def _used(step: LinearizedStep) -> Any:
    from gatewright.trace.analysis import needed

    atoms: Sequence[Atom] = [*step.new, *step.offsets, *(atom for row in step.slopes for atom in row)]
    used = needed(step.trace.equations, names_of(atoms))
    return tuple(equation for equation in step.trace.equations if equation.target.name in used)


class _TorchIteration:
    """An iteration by torch's operations."""

    def __init__(self, solver: NewtonSolver) -> None:
        self.step, self.backwards = solver.step, solver.backwards
        like = torch.empty((), dtype=solver.dtype)
        self.calls = prepare(_used(solver.step), rules(like), solver.sizes)

    def __call__(
        self,
        values: Tensors,
        params: Tensors,
        starts: Tensors,
        guess: Tensors,
        new: Tensors,
        lengths: Tensor | None,
    ) -> tuple[float, float, float]:
        old, after_old = (1, 0) if self.backwards else (0, 1)
        steps = next(iter(guess.values())).shape[0] - 1
        found: dict[str, Any] = {**params, **values}
        found |= {name: states[old : old + steps] for name, states in guess.items()}
        execute(self.calls, found)
        states = self.step.states
        now = [guess[state.name][after_old : after_old + steps] for state in states]

        def spread(atom: Atom, neutral: float) -> Tensor:
            value = torch.full_like(now[0], atom.value) if isinstance(atom, Literal) else found[atom.name]
            value = value.expand_as(now[0])
            if lengths is None:
                return value
            active = torch.arange(steps, device=lengths.device)[:, None] < lengths
            return torch.where(widened(active, value.dim()), value, neutral)

        slopes = [
            [spread(slope, float(row == column)) for column, slope in enumerate(slopes)]
            for row, slopes in enumerate(self.step.slopes)
        ]
        offsets = [spread(offset, 0.0) for offset in self.step.offsets]
        firsts = [starts[state.name] for state in states]
        solved = coupled_scan(slopes, offsets, firsts, backwards=self.backwards)
        residuals: list[Tensor] = []
        for state, value, was, is_now in zip(states, self.step.new, now, solved, strict=True):
            whole = new[state.name]
            active = None if lengths is None else torch.arange(steps, device=lengths.device)[:, None] < lengths
            kept = is_now if active is None else torch.where(widened(active, is_now.dim()), is_now, was)
            whole[after_old : after_old + steps] = kept
            wanted = spread(value, 0.0)
            shown = was if active is None else torch.where(widened(active, was.dim()), was, 0.0)
            residuals.append(_largest(wanted - shown))
        corrections = [
            _largest(new[s.name][after_old : after_old + steps] - was) for s, was in zip(states, now, strict=True)
        ]
        sizes = [_largest(new[state.name]) for state in states]
        return tuple(torch.stack([torch.stack(p).max() for p in (residuals, corrections, sizes)]).tolist())


def _largest(value: Tensor) -> Tensor:
    """The largest magnitude; infinite where one is NaN."""
    return value.abs().nan_to_num(nan=float("inf"), posinf=float("inf")).max()


def coupled_scan(
    slopes: Sequence[Sequence[Tensor]], offsets: Sequence[Tensor], firsts: Sequence[Tensor], *, backwards: bool = False
) -> list[Tensor]:
    """The states slopes @ states + offsets, step after step along the first axis, by torch's operations.

    `slopes` are n rows of n tensors (time, batch, ...), `offsets` n of them; `firsts` are the n states before the first
    step, (batch, ...). Each turn joins to every step what is known of twice as many steps before it.
    """
    rows = range(len(offsets))

    def flip(value: Tensor) -> Tensor:
        return value.flip(0) if backwards else value

    slope = [[flip(slopes[row][column]) for column in rows] for row in rows]
    offset = [flip(offsets[row]).clone() for row in rows]
    for row in rows:
        offset[row][:1] += sum(slope[row][k][:1] * firsts[k] for k in rows)
    reach = 1
    while reach < offset[0].shape[0]:
        last, first = slice(reach, None), slice(None, -reach)
        offset, slope = (
            [
                torch.cat(
                    [
                        offset[row][:reach],
                        sum((slope[row][k][last] * offset[k][first] for k in rows), offset[row][last]),
                    ]
                )
                for row in rows
            ],
            [
                [
                    torch.cat(
                        [
                            slope[row][column][:reach],
                            sum((slope[row][k][last] * slope[k][column][first] for k in rows), torch.zeros(())),
                        ]
                    )
                    for column in rows
                ]
                for row in rows
            ],
        )
        reach *= 2
    return [flip(value) for value in offset]
