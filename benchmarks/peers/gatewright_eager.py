"""Gatewright's layer, operation by operation in torch."""

from benchmarks.peers.layers import forward_of, training_of
from benchmarks.problem import Job, Problem


def forward(problem: Problem, threads: int) -> Job:
    """The output."""
    return forward_of(problem.cell.build(problem.shape, "torch"), problem)


def training(problem: Problem, threads: int) -> Job:
    """The output and all gradients."""
    return training_of(problem.cell.build(problem.shape, "torch"), problem)
