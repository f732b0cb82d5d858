"""All peers at a case, on one thread and on two: checked, then timed in turn."""

import json
import math
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from benchmarks.machine import FusedMultiplyAdd
from benchmarks.names import JAX, OURS, TORCH, TORCH_COMPILE, Record
from benchmarks.network_step.cases import NetworkCase
from benchmarks.network_step.job import TOLERANCES
from benchmarks.network_step.worker import PEAK, PRODUCT
from benchmarks.races import as_record
from benchmarks.setup import rounded, tell
from benchmarks.timing import Method, race_runs

MACHINE = (PRODUCT, PEAK)
PEERS = (OURS, TORCH, TORCH_COMPILE, JAX)


class PeerProcess:
    """A worker, seen from here."""

    def __init__(self, process: "subprocess.Popen[bytes]", peer: str, threads: int) -> None:
        self.process, self.peer, self.threads = process, peer, threads

    @property
    def name(self) -> str:
        """The peer and its threads, as a result has them."""
        return f"{self.peer} {self.threads}"

    def ask(self, **request: Any) -> dict[str, Any]:
        """The answer to a request."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        line = self.process.stdout.readline()
        if not line:
            raise EOFError(f"the process of {self.name} has ended")
        return json.loads(line)

    def prepare(self, case: NetworkCase, dtype: str) -> dict[str, Any]:
        """What the worker says of a case; a process that has ended says nothing, and fails."""
        try:
            return self.ask(prepare=case.title, dtype=dtype)
        except (EOFError, BrokenPipeError) as error:
            return {"status": "fails", "reason": str(error)}

    def seconds(self, steps: int) -> float:
        """What so many steps take."""
        return self.ask(steps=steps)["seconds"]


@contextmanager
def processes(peers: Sequence[str], threads: Sequence[int]) -> Generator[list[PeerProcess]]:
    """A worker for each peer and number of threads. They may use as many processors as this process may."""
    with ExitStack() as stack:
        yield [
            PeerProcess(stack.enter_context(_started(peer, count)), peer, count) for count in threads for peer in peers
        ]


@contextmanager
def _started(peer: str, threads: int) -> Generator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-m", "benchmarks.network_step.worker", peer, str(threads)]
    # Unbuffered: what a process that has ended did not read would be written once more at the end, and fail there.
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        yield process


def contest(
    case: NetworkCase, dtype: str, workers: Sequence[PeerProcess], wanted: Sequence[float], method: Method
) -> Record:
    """Time the workers whose losses are those `wanted`; the record says of the others why they were not timed."""
    runs: dict[str, Record] = {}
    admitted: dict[str, PeerProcess] = {}
    for worker in workers:
        if worker.peer not in MACHINE:
            runs[worker.name] = checked(worker.prepare(case, dtype), wanted, dtype)
        if "status" not in runs.get(worker.name, {}):
            admitted[worker.name] = worker
    timings = race_runs({name: worker.seconds for name, worker in admitted.items()}, method)
    for name, timing in timings.items():
        runs[name] = {"status": "timed", **runs.get(name, {}), **as_record(timing)}
    record = {"title": case.title, "layer": case.layer, "shape": case.shape, "dtype": dtype, "runs": runs}
    record["operations"] = case.operations
    if alone := runs.get(f"{PEAK} 1"):
        record["peak"] = FusedMultiplyAdd(turns=1).flops * FusedMultiplyAdd.TURNS / alone["median"]
    tell(_line(record))
    return record


def checked(answer: Mapping[str, Any], wanted: Sequence[float], dtype: str) -> Record:
    """What there is to say of a peer before it is timed."""
    if "losses" not in answer:
        return dict(answer)
    losses = answer["losses"]
    off = [abs(loss - want) / abs(want) for loss, want in zip(losses, wanted, strict=True)]
    difference = math.nan if any(map(math.isnan, off)) else max(off)
    if not difference <= TOLERANCES[dtype]:  # false for NaN
        reason = f"losses {losses} where {list(wanted)} are wanted"
        return {"status": "differs", "reason": reason, "ran": answer["ran"]}
    return {"difference": rounded(difference), "ran": answer["ran"]}


def _line(record: Record) -> str:
    times = [
        f"{name} {run['median'] * 1e3:.1f} ms" if "median" in run else f"{name} {run['status']}: {run['reason']}"
        for name, run in record["runs"].items()
    ]
    return f"{record['title']}, {record['dtype']}: {'; '.join(times)}"
