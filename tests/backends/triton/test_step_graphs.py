"""Steps recorded as graphs: what a CUDA graph does is played here by calls that are kept and repeated."""

import os
import subprocess
import sys
from collections.abc import Callable, Generator, Hashable
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from gatewright.backends.triton.step_graphs import Launch, RecordedSteps, StepGraphCache, UnrecordedSteps, pieces
from gatewright.backends.triton.stepped import SteppedLoop
from tests.backends.triton.staged import DOUBLE, check_against_reference, traces

CPU = torch.device("cpu")


class KeptCalls:
    """Launches that are kept, to be repeated."""

    def __init__(self, launch: Callable[[], None]) -> None:
        self.replay = launch


class PiecewiseCache(StepGraphCache):
    """Steps in pieces, as graphs take them; one table serves all runs, as it does for graphs."""

    def __init__(self) -> None:
        super().__init__()
        self.recorded: RecordedSteps | None = None

    @contextmanager
    def steps(
        self, device: torch.device, shape: Hashable, table: Callable[[], Tensor], launch: Launch
    ) -> Generator[UnrecordedSteps | RecordedSteps]:
        if self.recorded is None:
            self.recorded = RecordedSteps(table(), launch, KeptCalls)
        yield self.recorded


@pytest.mark.parametrize(("steps", "lengths"), [(0, []), (7, [1] * 7), (75, [64, 8, 1, 1, 1]), (144, [64, 64, 8, 8])])
def test_pieces(steps: int, lengths: list[int]) -> None:
    assert list(pieces(steps)) == lengths


def test_one_recording_serves_all_tensors_and_lengths_of_sequences(rng: np.random.Generator) -> None:
    for kind in ("saving", "gradient"):
        graphs = PiecewiseCache()
        for steps in (10, 3, 17):
            check_against_reference(traces("gru")[kind], steps, 3, DOUBLE, rng, partial(SteppedLoop, graphs=graphs))


def test_a_cpu_has_no_graphs() -> None:
    table, launched = torch.zeros(2, dtype=torch.int64), list[tuple[Tensor, int]]()
    with StepGraphCache().steps(CPU, "shape", lambda: table, lambda *call: launched.append(call)) as loop:
        loop.take(5)
    assert launched == [(table, 5)]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_graphs_on_a_gpu() -> None:
    """In a process of its own, in which kernels are compiled."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "tests.backends.triton.graphs_on_gpu"]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
