"""A Trace over a sequence by Newton's iterations over all steps at once, its gradient by one scan."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import reduce
from typing import Any

from torch import Tensor

from gatewright.backends.triton.newton import Newton, NewtonReport, NewtonSolver, NotSolvedError
from gatewright.backends.triton.program_run import ProgramTensors
from gatewright.nn.engine.device_operation import DeviceOperation, RunKind
from gatewright.schedule.linearized import unit_recurrence
from gatewright.schedule.program import Program

_reports: ContextVar[list[NewtonReport] | None] = ContextVar("reports of Newton's iterations", default=None)


@contextmanager
def newton_reports() -> Generator[list[NewtonReport]]:
    """The reports of all runs within, but for runs of gradients."""
    reports = list[NewtonReport]()
    token = _reports.set(reports)
    try:
        yield reports
    finally:
        _reports.reset(token)


class NewtonOperation(DeviceOperation):
    """A Trace whose units recur each by itself, solved for all steps at once: by kernels where they can run, else by
    torch's operations."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._solvers: dict[RunKind, NewtonSolver | None] = {}

    def compute(
        self,
        kind: RunKind,
        inputs: Mapping[str, Tensor],
        params: Mapping[str, Tensor],
        starts: Mapping[str, Tensor | None],
        lengths: Tensor | None,
    ) -> ProgramTensors:
        """Solve the system of all steps.

        A gradient needs no iterations, since it is affine in what it carries. Where products of its slopes overflow, or
        what comes in is not finite, the loop computes it.
        """
        solver, options = self._solver(kind), self.spec.newton or Newton()
        if solver is None:
            return super().compute(kind, inputs, params, starts, lengths)
        reports = _reports.get() if isinstance(kind, str) else None
        try:
            solution = solver.solve(inputs, params, starts, lengths, options)
        except NotSolvedError as error:
            if not (options.falls_back or solver.step.is_affine):
                raise
            if reports is not None:
                reports.append(error.report)
            return super().compute(kind, inputs, params, starts, lengths)
        if reports is not None:
            reports.append(solution.report)
        return solution.tensors

    def scheduled(self, program: Program) -> Program:
        """The Program with its loop: it runs where a scan fails."""
        return program

    def _solver(self, kind: RunKind) -> NewtonSolver | None:
        """What solves the steps of a kind; None where they carry nothing from one to the next."""
        if kind not in self._solvers:
            run = self.run_of(kind)
            trace, solver = run.program.trace, None
            if unit_recurrence(trace).states:
                solver = NewtonSolver(trace, run.sizes, run.precision, backwards=run.backwards)
            self._solvers[kind] = solver
        return self._solvers[kind]


def merged(reports: list[NewtonReport]) -> NewtonReport:
    """One report of the pieces of a sequence, one solved after the other."""

    def both(first: NewtonReport, second: NewtonReport) -> NewtonReport:
        return NewtonReport(
            first.iterations + second.iterations,
            max(first.correction, second.correction),
            max(first.residual, second.residual),
            first.tolerance,
            first.fell_back or second.fell_back,
        )

    return reduce(both, reports)
