"""Two runs on two streams of a GPU: in which order they are launched, and what waits for what."""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from gatewright.backends.triton import streams
from gatewright.backends.triton.streams import run_on_two_streams


class PlayedTensor:
    """Stands for a tensor on a GPU."""

    is_cuda, device = True, "cuda:0"

    def __init__(self, events: list[str]) -> None:
        self.events = events

    def record_stream(self, stream: "PlayedStream") -> None:
        self.events.append(f"results are used on {stream.name}")


class PlayedStream:
    def __init__(self, name: str, events: list[str]) -> None:
        self.name, self.events, self.device = name, events, "cuda:0"

    def wait_stream(self, other: "PlayedStream") -> None:
        self.events.append(f"{self.name} waits for {other.name}")


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What happens on the streams of a device that is played."""
    happened: list[str] = []
    present = [PlayedStream("present", happened)]

    @contextmanager
    def stream(other: PlayedStream) -> Generator[None]:
        present.append(other)
        yield
        present.pop()

    played = SimpleNamespace(
        current_stream=lambda device: present[-1],
        stream=stream,
        Stream=lambda device: PlayedStream("second", happened),
    )
    monkeypatch.setattr(torch, "cuda", played)
    streams.second_stream.cache_clear()
    yield happened
    streams.second_stream.cache_clear()


def launch(name: str, events: list[str]) -> Callable[[], list[PlayedTensor]]:
    def run() -> list[PlayedTensor]:
        stream: Any = torch.cuda.current_stream("cuda:0")
        events.append(f"{name} on {stream.name}")
        return [PlayedTensor(events)]

    return run


def as_they_are(tensors: Any) -> Any:
    return tensors


def test_each_run_has_a_stream_and_both_are_waited_for(events: list[str]) -> None:
    like: Any = PlayedTensor(events)
    run_on_two_streams(like, launch("forwards", events), launch("backwards", events), as_they_are)
    assert events == [
        "second waits for present",
        "backwards on second",
        "forwards on present",
        "present waits for second",
        "results are used on present",
    ]


def test_a_run_that_fails_leaves_nothing_unfinished(events: list[str]) -> None:
    def fails() -> list[PlayedTensor]:
        raise RuntimeError("out of memory")

    like: Any = PlayedTensor(events)
    with pytest.raises(RuntimeError, match="out of memory"):
        run_on_two_streams(like, fails, launch("backwards", events), as_they_are)
    assert events[-1] == "present waits for second"


def test_one_after_the_other_on_a_cpu() -> None:
    results = run_on_two_streams(torch.zeros(1), lambda: [torch.ones(1)], lambda: [torch.zeros(2)], as_they_are)
    assert [len(tensors[0]) for tensors in results] == [1, 2]
