"""Gatewright's layer, on the compiled engine."""

from benchmarks.peers.layers import forward_of, training_of
from benchmarks.problem import Job, Problem


def forward(problem: Problem, threads: int) -> Job:
    """The output."""
    return forward_of(problem.cell.build(problem.shape, "llvm"), problem)


def training(problem: Problem, threads: int) -> Job:
    """The output and all gradients."""
    return training_of(problem.cell.build(problem.shape, "llvm"), problem)
