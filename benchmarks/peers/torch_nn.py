"""torch.nn.GRU, LSTM and RNN."""

import torch

from benchmarks.peers.layers import forward_of, training_of
from benchmarks.problem import Job, Problem


def forward(problem: Problem, threads: int) -> Job:
    """The output."""
    return forward_of(_layer(problem), problem)


def training(problem: Problem, threads: int) -> Job:
    """The output and all gradients."""
    return training_of(_layer(problem), problem)


def _layer(problem: Problem) -> torch.nn.Module:
    assert problem.cell.native
    return getattr(torch.nn, problem.cell.native)(problem.shape.inputs, problem.shape.hidden)
