"""One of Newton's iterations over all steps of a sequence: as one kernel, or by torch's operations on any device."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from gatewright.backends.base import execute, prepare
from gatewright.backends.torch_rules import rules
from gatewright.backends.triton.kernel_precision import KernelPrecision
from gatewright.backends.triton.kernel_text import ArgumentKind
from gatewright.backends.triton.program_memory import widened
from gatewright.backends.triton.scan_kernel import LENGTHS
from gatewright.backends.triton.scan_launch import ScanKernel
from gatewright.backends.triton.scan_stage import CoupledScan, LargestMagnitude, ScanSource, ScanStage
from gatewright.backends.triton.torch_scan import coupled_scan
from gatewright.schedule.linearized import LinearizedStep, after
from gatewright.schedule.program import Stage, Storage, Store
from gatewright.trace.analysis import needed
from gatewright.trace.ir import Atom, Equation, Literal, Var, names_of

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class NewtonArrays:
    """What an iteration works on.

    - `values` (steps, batch, ...): inputs of the step, and what is known of all steps.
    - `shared` (...): parameters.
    - `starts` (batch, ...): the states before the first step.
    - `lengths` (batch,), int32, or None.
    """

    values: Tensors
    shared: Tensors
    starts: Tensors
    lengths: Tensor | None

    def active(self, steps: int) -> Tensor | None:
        """Which rows take which steps, (steps, batch); None where all do."""
        if self.lengths is None:
            return None
        return torch.arange(steps, device=self.lengths.device)[:, None] < self.lengths


@dataclass(frozen=True, slots=True)
class IterationSizes:
    """The largest magnitudes over all states, rows and steps; infinite where something is not finite.

    - `residual`: of the difference between a state of the guess and what its step makes of the state before.
    - `correction`: of the difference between a new state and the guess.
    - `state`: of a new state.
    """

    residual: float
    correction: float
    state: float


class NewtonIteration(Protocol):
    """From the states `guess` to better ones in `new`: by name, (steps + 1, batch, ...)."""

    def __call__(self, arrays: NewtonArrays, guess: Tensors, new: Tensors) -> IterationSizes:
        """Compute all new states."""
        ...


def used_equations(step: LinearizedStep) -> tuple[Equation, ...]:
    """What new states, slopes and offsets are made of."""
    atoms: list[Atom] = [*step.new, *step.offsets, *(slope for row in step.slopes for slope in row)]
    used = needed(step.trace.equations, names_of(atoms))
    return tuple(equation for equation in step.trace.equations if equation.target.name in used)


def newton_stage(step: LinearizedStep, params: frozenset[str]) -> ScanStage:
    """An iteration as a stage of coupled scans. The states of the guess are arrays of their own: `guess(h)`.

    `params` are the names of the parameters among the inputs of the step.
    """
    kinds = {True: ArgumentKind.SHARED, False: ArgumentKind.SEQUENCE}
    sources = {value.name: ScanSource(kinds[value.name in params], value.name) for value in step.trace.inputs}
    magnitudes: list[LargestMagnitude] = []
    targets = tuple(Var(f"solved({state.name})", state.shape) for state in step.states)
    for state, new, target in zip(step.states, step.new, targets, strict=True):
        sources[state.name] = ScanSource(ArgumentKind.STATE, _guess(state.name))
        sources[after(state.name)] = ScanSource(ArgumentKind.STATE, _guess(state.name), is_after=True)
        was = Var(after(state.name), state.shape)
        magnitudes += [
            LargestMagnitude(f"residual({state.name})", new, was),
            LargestMagnitude(f"correction({state.name})", target, was),
            LargestMagnitude(f"size({state.name})", target),
        ]
    stage = Stage(
        axis=step.states[0].shape[0] if step.states[0].shape else None,
        products=(),
        equations=used_equations(step),
        stores=tuple(
            Store(target, state.name, Storage.STATE) for target, state in zip(targets, step.states, strict=True)
        ),
    )
    scan = CoupledScan(targets, step.states, step.slopes, step.offsets)
    return ScanStage(step.trace.name, stage, (scan,), sources, tuple(magnitudes))


def _guess(state: str) -> str:
    return f"guess({state})"


class KernelIteration:
    """An iteration by a kernel: coefficients, scan, and how far the guess was off.

    `spans` cuts time into so many pieces that run at once; without it the number follows from the GPU.
    """

    def __init__(
        self,
        step: LinearizedStep,
        params: frozenset[str],
        sizes: Mapping[str, int],
        precision: KernelPrecision,
        *,
        backwards: bool,
        spans: int | None = None,
    ) -> None:
        self.spans = spans
        self.kernel = ScanKernel(newton_stage(step, params), sizes, precision, backwards=backwards)

    def __call__(self, arrays: NewtonArrays, guess: Tensors, new: Tensors) -> IterationSizes:
        """Launch the kernel, and wait for it; there is at least one step, row and feature."""
        like = next(iter(arrays.starts.values()))
        magnitudes = self.kernel.scan.magnitudes
        steps = len(next(iter(guess.values()))) - 1
        spans = self.kernel.spans(steps, len(like), like.device) if self.spans is None else min(self.spans, steps)
        found = torch.empty((len(magnitudes), spans, *like.shape), dtype=like.dtype, device=like.device)
        tables: dict[ArgumentKind, Tensors] = {
            ArgumentKind.SEQUENCE: arrays.values,
            ArgumentKind.SHARED: arrays.shared,
            ArgumentKind.STATE: {**new, **{_guess(name): states for name, states in guess.items()}},
            ArgumentKind.START: arrays.starts,
            ArgumentKind.ROW: {part.array: row for part, row in zip(magnitudes, found.unbind(0), strict=True)},
        }
        pointers = {
            argument: arrays.lengths if argument == LENGTHS else tables[argument.kind][argument.name]
            for argument in self.kernel.arguments
        }
        self.kernel.run(pointers, steps, len(like), spans=spans)
        # the magnitudes of a state lie one behind the other: residual, correction, size
        by_kind = found.view(-1, 3, spans * like.numel()).amax((0, 2))
        return IterationSizes(*by_kind.tolist())  # one transfer from the device


class TorchIteration:
    """An iteration by torch's operations."""

    def __init__(self, step: LinearizedStep, sizes: Mapping[str, int], *, backwards: bool) -> None:
        self.step, self.sizes, self.backwards = step, sizes, backwards
        self.equations = used_equations(step)

    def __call__(self, arrays: NewtonArrays, guess: Tensors, new: Tensors) -> IterationSizes:
        """Compute coefficients, the scan, and how far the guess was off."""
        step, steps = self.step, len(next(iter(guess.values()))) - 1
        slot, following = (1, 0) if self.backwards else (0, 1)
        was = [guess[state.name][following : following + steps] for state in step.states]
        values: dict[str, Any] = {**arrays.shared, **arrays.values}
        values |= {name: states[slot : slot + steps] for name, states in guess.items()}
        execute(prepare(self.equations, rules(was[0]), self.sizes), values)
        active = arrays.active(steps)

        def taken(atom: Atom, otherwise: Tensor | float) -> Tensor:
            """A value at all steps; another where a row does not take a step."""
            value = was[0].new_full((), atom.value) if isinstance(atom, Literal) else values[atom.name]
            value = value[..., None] if value.dim() == 2 < was[0].dim() else value
            whole = value.expand_as(was[0])
            return whole if active is None else torch.where(widened(active, whole.dim()), whole, otherwise)

        slopes = [
            [taken(slope, float(row == column)) for column, slope in enumerate(slopes)]
            for row, slopes in enumerate(step.slopes)
        ]
        offsets = [taken(offset, 0.0) for offset in step.offsets]
        firsts = [arrays.starts[state.name] for state in step.states]
        for state, solved in zip(
            step.states, coupled_scan(slopes, offsets, firsts, backwards=self.backwards), strict=True
        ):
            whole = new[state.name][following : following + steps]
            whole.copy_(solved if active is None else torch.where(widened(active, solved.dim()), solved, whole))
        now = [new[state.name][following : following + steps] for state in step.states]
        residuals = [taken(value, old) - old for value, old in zip(step.new, was, strict=True)]
        corrections = [
            after - old if active is None else torch.where(widened(active, old.dim()), after - old, 0.0)
            for after, old in zip(now, was, strict=True)
        ]
        return IterationSizes(_largest(residuals), _largest(corrections), _largest(now))


def _largest(values: Sequence[Tensor]) -> float:
    """The largest magnitude; infinite where one is not finite."""
    sizes = [value.abs().nan_to_num(nan=float("inf"), posinf=float("inf")).max() for value in values if value.numel()]
    return float(torch.stack(sizes).max()) if sizes else 0.0
