"""A process that measures on the GPU. One that crashes, hangs or spoils its device is replaced, and costs one case.

An illegal access by one kernel makes every later call of its process fail, and programs that wait for each other may
wait for ever. So no measurement runs in the process that keeps the results.
"""

import multiprocessing
import os
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.names import Record

NO_ANSWER = "no answer"
START_SECONDS = 45.0
"""What a process may take beside its first case: it imports torch and opens the device."""
Job = tuple[str, int, bool]
"""The section and the number of a case; whether its kernels are only compiled."""


class Worker:
    """A process that measures cases, one at a time."""

    def __init__(self, *, quick: bool) -> None:
        self.quick = quick
        self._process: multiprocessing.process.BaseProcess | None = None
        self._pipe: Connection | None = None

    def measure(self, job: Job, seconds: float) -> "Record":
        """The record of a case; `{"error": ...}` where there is none."""
        if self._pipe is None:
            seconds += START_SECONDS
            self._start()
        assert self._pipe is not None
        assert self._process is not None
        try:
            self._pipe.send(job)
            if not self._pipe.poll(seconds):
                self.stop()
                return {"error": f"{NO_ANSWER} in {seconds:.0f} seconds: the process was ended"}
            record, is_usable = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join(10)
            code = self._process.exitcode
            self.stop()
            return {"error": f"the process ended by itself, with code {code}"}
        if not is_usable:
            self.stop()
        return record

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")  # CUDA cannot be used in a fork
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, self.quick), daemon=False)
        self._process.start()
        theirs.close()  # so that the end of the process ends the pipe

    def stop(self) -> None:
        """End the process; the next case gets a new one."""
        if self._process is not None:
            self._process.kill()
            self._process.join(10)
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = None


def serve(pipe: Connection, quick: bool) -> None:
    """Answer every job with its record, and whether the device can still be used."""
    from benchmarks.gpu_device import BenchmarkDevice

    on = BenchmarkDevice.present(quick=quick)
    if not on.is_gpu:
        os.environ["TRITON_INTERPRET"] = "1"  # triton reads it when it is imported, which no module has done yet
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        record = answer(job, on)
        pipe.send((record, not on.is_broken))


def answer(job: Job, on: object) -> "Record":
    """The record of a job, whatever happens."""
    from benchmarks.gpu_cases import CASES
    from benchmarks.gpu_device import BenchmarkDevice, told

    assert isinstance(on, BenchmarkDevice)
    section, number, prepares = job
    try:
        case = cases(section, on.quick)[number]
        return CASES[section].prepare(case, on) if prepares else CASES[section].measure(case, on)
    except Exception as error:  # noqa: BLE001 (Triton's errors have no common base)
        return {"error": told(error)}


def cases(section: str, quick: bool) -> Sequence[object]:
    """The cases of a section."""
    from benchmarks.gpu_cases import CASES

    return list(CASES[section].cases(quick))
