"""Steps take no memory, streams give theirs back, and other threads are not in the way."""

import gc
import sys
import threading
import time
import tracemalloc
import weakref
from importlib import import_module
from typing import Any

import numpy as np
import pytest

import gatewright as gw
from gatewright import cells
from gatewright.stream import prepared_layer
from gatewright.trace import trace_cell
from tests.stream.cases import draw

module = import_module("gatewright.stream.stream")


def stream_of(cell=cells.lstm, batch: int = 1, input: int = 8, hidden: int = 16) -> "gw.stream.Stream":
    sizes = {"input": input, "hidden": hidden}
    return gw.stream.from_parameters(
        cell, draw(trace_cell(cell), np.random.default_rng(0), "float32", sizes), batch=batch
    )


@pytest.mark.parametrize("batch", [1, 3])
def test_steps_allocate_nothing_that_stays(batch: int) -> None:
    stream = stream_of(batch=batch)
    x = np.ones((batch, 8) if batch > 1 else 8, "float32")
    for _ in range(100):
        stream.step(x)
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(2000):
        stream.step(x)
    assert sys.getallocatedblocks() - before < 20


def test_a_step_allocates_no_memory_for_numbers() -> None:
    """At no time: the peak is that of a few small objects of Python's, however wide the layer."""
    stream = stream_of(input=300, hidden=500)
    x = np.ones(300, "float32")
    stream.step(x)
    tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        start, _ = tracemalloc.get_traced_memory()
        for _ in range(50):
            stream.step(x)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - start < 1000


def test_a_stream_that_nobody_needs_is_gone() -> None:
    gc.collect()
    before = prepared_layers()
    stream = stream_of()
    assert prepared_layers() == before + 1
    watched, y = weakref.ref(stream), stream.step(np.ones(8))
    del stream
    gc.collect()
    assert watched() is None
    assert prepared_layers() == before
    assert np.isfinite(y).all()  # the numbers stay for as long as somebody refers to them


def prepared_layers() -> int:
    return sum(type(each) is prepared_layer.PreparedLayer for each in gc.get_objects())


def test_streams_of_one_model_share_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    real = prepared_layer.Engine
    monkeypatch.setattr(
        prepared_layer, "Engine", lambda *given, **named: made.append(real(*given, **named)) or made[-1]
    )
    first, second = stream_of(hidden=23), stream_of(hidden=23)
    assert len(made) == 1
    assert not np.shares_memory(first.step(np.ones(8)), second.step(np.ones(8)))


def test_streams_of_several_threads_are_independent() -> None:
    xs = np.random.default_rng(1).standard_normal((400, 8)).astype("float32")
    want = stream_of().run(xs)
    results: list[np.ndarray] = []

    def work() -> None:
        stream = stream_of()
        results.append(np.stack([stream.step(x).copy() for x in xs]))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    for result in results:
        np.testing.assert_array_equal(result, want)


@pytest.mark.parametrize(("hidden", "lets_others_run"), [(16, False), (1200, True)])
def test_only_a_long_step_lets_other_threads_run(
    hidden: int, lets_others_run: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A short one keeps Python's lock, so that no other thread can take it in the middle of a step."""
    keeps: list[bool] = []
    real = module.CommandList

    def commands(calls: Any, *, keep_lock: bool, keep: Any) -> Any:
        keeps.append(keep_lock)
        return real(calls, keep_lock=keep_lock, keep=keep)

    monkeypatch.setattr(module, "CommandList", commands)
    stream_of(hidden=hidden)
    assert keeps == [not lets_others_run]


def test_a_chunk_lets_other_threads_run() -> None:
    stream = stream_of(hidden=256)
    xs = np.zeros((20000, 8), "float32")
    ticks: list[float] = []
    done = threading.Event()

    def tick() -> None:
        while not done.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    begin = time.perf_counter()
    stream.run(xs)
    end = time.perf_counter()
    done.set()
    thread.join()
    assert sum(begin < one < end for one in ticks) > 3
