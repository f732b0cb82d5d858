"""CUDA graphs of the steps of a loop: each holds the kernels of some number of steps, and is launched as one."""

import gc
from collections import OrderedDict
from collections.abc import Callable, Generator, Hashable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from threading import Lock
from typing import Protocol

import torch
from torch import Tensor

from gatewright.backends.triton.load import is_interpreted

STEPS_OF_GRAPHS = (64, 8, 1)
"""A sequence is cut into pieces of these lengths: with 64 steps in a launch it costs next to nothing a step, and the
small ones leave no steps over."""
GRAPHS_KEPT = 32
"""Shapes whose graphs are kept; the one that has not been used for longest goes first."""

Launch = Callable[[Tensor, int], None]
"""Launch the kernels of so many steps, which read the addresses of their arrays from a table. It allocates nothing."""


def pieces(steps: int) -> Iterator[int]:
    """The lengths of the pieces of a sequence, the longest first."""
    for length in STEPS_OF_GRAPHS:
        yield from (length for _ in range(steps // length))
        steps %= length


class UnrecordedSteps:
    """Steps that are launched kernel by kernel."""

    def __init__(self, table: Tensor, launch: Launch) -> None:
        self.table, self._launch = table, launch
        self.taken = 0

    def take(self, steps: int) -> None:
        """Launch the kernels of so many steps on the current stream."""
        self._launch(self.table, steps)
        self.taken += steps


class Replayable(Protocol):
    """Launches that were recorded."""

    def replay(self) -> None:
        """Launch them on the current stream."""
        ...


_recording = Lock()


@contextmanager
def _alone() -> Generator[None]:
    """Keep everything else of this process out of a recording, as far as it would end it.

    torch's generator of random numbers, and its pool of streams, know one recording at a time. And what the garbage
    collector finds may be a graph, or a module of kernels: CUDA lets nobody destroy these meanwhile.
    """
    with _recording:
        collects = gc.isenabled()
        gc.disable()
        try:
            yield
        finally:
            if collects:
                gc.enable()


def record_graph(launch: Callable[[], None]) -> Replayable:
    """Record launches as a CUDA graph; they do not run."""
    graph = torch.cuda.CUDAGraph()
    # the default stream cannot be recorded; on a new one there is nothing to wait for
    with _alone(), torch.cuda.stream(torch.cuda.Stream()):
        # what other threads do meanwhile, such as to allocate memory, does not end the recording
        graph.capture_begin(capture_error_mode="thread_local")
        try:
            launch()
        except BaseException:
            with suppress(RuntimeError):  # it says that the recording is broken, and not why
                graph.capture_end()
            raise
        graph.capture_end()
    return graph


def allocate_apart(allocate: Callable[[], Tensor], device: torch.device) -> Tensor:
    """Memory that is kept, of the present stream, and of no pool that a caller has opened for this thread.

    torch.compile(mode="reduce-overhead") opens one while it warms up, and gives its memory to others afterwards. Such
    pools are for a thread, so another one allocates.
    """
    stream = torch.cuda.current_stream(device)

    def on_stream() -> Tensor:
        with torch.cuda.stream(stream):
            return allocate()

    with ThreadPoolExecutor(1) as other:
        return other.submit(on_stream).result()


Record = Callable[[Callable[[], None]], Replayable]
"""Record what a call launches."""
Allocate = Callable[[Callable[[], Tensor], torch.device], Tensor]
"""Call a function that allocates memory on a device."""


class RecordedSteps:
    """Steps of one shape on one stream, as graphs that are recorded when they are first needed."""

    def __init__(self, table: Tensor, launch: Launch, record: Record) -> None:
        self.table, self._launch, self._record = table, launch, record
        self._graphs: dict[int, Replayable] = {}

    def take(self, steps: int) -> None:
        """Launch the kernels of so many steps on the current stream."""
        for length in pieces(steps):
            if length not in self._graphs:
                self._graphs[length] = self._record(partial(self._launch, self.table, length))
            self._graphs[length].replay()


class StepGraphCache:
    """The graphs of one loop, by shape and stream."""

    def __init__(self, record: Record = record_graph, allocate: Allocate = allocate_apart) -> None:
        self._record, self._allocate = record, allocate
        self._recorded: OrderedDict[Hashable, RecordedSteps | None] = OrderedDict()
        self._lock = Lock()

    @contextmanager
    def steps(
        self, device: torch.device, shape: Hashable, table: Callable[[], Tensor], launch: Launch
    ) -> Generator[UnrecordedSteps | RecordedSteps]:
        """The steps of a shape, for one run. `table` allocates the table of addresses.

        Kernels are recorded once a run of the shape has taken steps on the stream: that one compiles them, which cannot
        be recorded. While a caller records a graph of their own, the kernels become part of that graph.
        """
        if device.type != "cuda" or is_interpreted() or torch.cuda.is_current_stream_capturing():
            yield UnrecordedSteps(table(), launch)
            return
        key = (device, torch.cuda.current_stream(device).cuda_stream, shape)
        # Runs of one stream share a table. The stream keeps them apart once all of a run is launched, so that no other
        # thread may launch between the parts of a run.
        with self._lock:
            if key not in self._recorded:
                first = UnrecordedSteps(table(), launch)
                yield first
                if not first.taken:
                    return
                self._recorded[key] = None
            else:
                recorded = self._recorded[key]
                if recorded is None:
                    recorded = RecordedSteps(self._allocate(table, device), launch, self._record)
                    self._recorded[key] = recorded
                self._recorded.move_to_end(key)
                yield recorded
            while len(self._recorded) > GRAPHS_KEPT:
                self._recorded.popitem(last=False)
