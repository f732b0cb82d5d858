"""Steps recorded as graphs: what a CUDA graph does is played here by calls that are kept and repeated."""

import gc
from collections.abc import Callable, Generator, Hashable
from contextlib import contextmanager
from functools import partial
from threading import current_thread, main_thread
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from gatewright.backends.triton.step_graphs import (
    Launch,
    RecordedSteps,
    StepGraphCache,
    UnrecordedSteps,
    allocate_apart,
    pieces,
    record_graph,
)
from gatewright.backends.triton.stepped import SteppedLoop
from tests.backends.triton.processes import checked_output
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


class Streams:
    """A CUDA device that records calls; what was launched without a graph, by number of steps, and what by graphs."""

    shape = "shape"
    captures = fails = False

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: self.captures)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda device: SimpleNamespace(cuda_stream=1))
        monkeypatch.setenv("TRITON_INTERPRET", "0")
        self.cache = StepGraphCache(self.record, lambda allocate, device: allocate())
        self.launched: list[int] = []
        self.recorded: list[int] = []

    def record(self, launch: Callable[[], None]) -> KeptCalls:
        before = len(self.launched)
        launch()
        self.recorded += self.launched[before:]
        del self.launched[before:]
        return KeptCalls(lambda: None)

    def launch(self, table: Tensor, count: int) -> None:
        if self.fails:
            raise RuntimeError("no kernel")
        self.launched.append(count)

    def run(self, steps: int) -> tuple[list[int], list[int]]:
        """What one run launches and records."""
        self.launched, self.recorded = [], []
        table = torch.zeros(2, dtype=torch.int64)
        with self.cache.steps(torch.device("cuda:0"), self.shape, lambda: table, self.launch) as loop:
            loop.take(steps)
        return self.launched, self.recorded


def test_nothing_is_recorded_before_a_run_has_ended_well(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = Streams(monkeypatch)
    streams.fails = True
    with pytest.raises(RuntimeError, match="no kernel"):
        streams.run(9)
    streams.fails = False
    assert streams.run(0) == ([0], [])  # no kernel of a step was compiled
    assert streams.run(9) == ([9], [])
    assert streams.run(9) == ([], [8, 1])
    assert streams.run(10) == ([], [])
    streams.shape = "another"
    assert streams.run(9) == ([9], [])


def test_what_could_not_be_recorded_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = Streams(monkeypatch)
    streams.run(9)
    streams.fails = True
    with pytest.raises(RuntimeError, match="no kernel"):
        streams.run(9)
    streams.fails = False
    assert streams.run(9) == ([], [8, 1])


def test_a_caller_records_a_graph_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = Streams(monkeypatch)
    for _ in range(2):
        streams.captures = True
        assert streams.run(9) == ([9], [])
        streams.captures = False
        streams.run(9)
    assert streams.run(9) == ([], [])


def test_kernels_in_the_interpreter_are_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = Streams(monkeypatch)
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert [streams.run(9) for _ in range(2)] == [([9], [])] * 2


class PlayedGraph:
    """A CUDA graph that is recorded while `noted` looks on."""

    def __init__(self, noted: list[object]) -> None:
        self.noted = noted

    def capture_begin(self, capture_error_mode: str) -> None:
        self.noted.append(capture_error_mode)

    def capture_end(self) -> None:
        self.noted.append("end")


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What happens on a device that is played."""
    found: list[object] = []

    @contextmanager
    def stream(entered: object) -> Generator[None]:
        found.append((entered, current_thread() is main_thread()))
        yield

    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: PlayedGraph(found))
    monkeypatch.setattr(torch.cuda, "Stream", lambda: "new")
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: "present")
    monkeypatch.setattr(torch.cuda, "stream", stream)
    return found


@pytest.mark.parametrize("collects", [True, False])
def test_nothing_is_collected_while_a_graph_is_recorded(collects: bool, noted: list[object]) -> None:
    was = gc.isenabled()
    try:
        (gc.enable if collects else gc.disable)()
        record_graph(lambda: noted.append(gc.isenabled()))
        with pytest.raises(RuntimeError, match="no kernel"):
            record_graph(partial(fail, "no kernel"))
        assert gc.isenabled() is collects
    finally:
        (gc.enable if was else gc.disable)()
    assert noted == [("new", True), "thread_local", False, "end", ("new", True), "thread_local", "end"]


def fail(said: str) -> None:
    raise RuntimeError(said)


def test_what_is_kept_is_allocated_by_another_thread_on_the_present_stream(noted: list[object]) -> None:
    table = torch.zeros(2)
    assert allocate_apart(lambda: table, torch.device("cuda:0")) is table
    assert noted == [("present", False)]


def test_a_table_that_is_kept_is_allocated_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    streams, apart = Streams(monkeypatch), list[torch.device]()
    streams.cache = StepGraphCache(streams.record, lambda allocate, device: (apart.append(device), allocate())[1])
    for kept in (0, 1, 1):
        streams.run(9)
        assert len(apart) == kept


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_graphs_on_a_gpu() -> None:
    checked_output("-m", "tests.backends.triton.graphs_on_gpu")
