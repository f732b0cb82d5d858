"""The section about threads: one against several, on one layer."""

from concurrent.futures import ThreadPoolExecutor

from benchmarks import limits
from benchmarks.cells import CELLS
from benchmarks.layers import GRU
from benchmarks.machine import FusedMultiplyAdd
from benchmarks.names import FORWARD, LAYER, MACHINE, OURS, TRAINING, Record
from benchmarks.peers import PEERS
from benchmarks.problem import Problem, disagreement
from benchmarks.races import as_record
from benchmarks.setup import Setup, tell
from benchmarks.timing import Call, race

ROWS = 16
LONG = 400_000
"""Turns of the kernel that tells what the processors can do: so many that waking a thread is nothing beside them."""


def threads(setup: Setup) -> list[Record]:
    """A GRU of at least 16 rows, on one thread and on several."""
    several = max(2, setup.threads)
    if several > limits.PROCESSORS:
        tell("threads: this process has one processor")
        return []
    limits.limit(several)
    try:
        shapes = [shape for shape in setup.shapes if shape.batch >= ROWS]
        return [
            _of_problem(setup, Problem(CELLS[GRU], shape), mode, several)
            for shape in shapes
            for mode in (FORWARD, TRAINING)
        ]
    finally:
        limits.limit(setup.threads)
        limits.use(setup.threads)


def _of_problem(setup: Setup, problem: Problem, mode: str, several: int) -> Record:
    record = {"mode": mode, "shape": str(problem.shape), "several": several}
    limits.use(several)
    job = PEERS[OURS].job(problem, mode, several)
    reason = disagreement(problem, mode, job.read(job.call()))[1]
    if reason:
        tell(f"threads {mode} {problem.shape}: {reason}")
        return {**record, "status": "differs", "reason": reason}
    kernels = [FusedMultiplyAdd(LONG) for _ in range(several)]
    pool = ThreadPoolExecutor(several)

    def products() -> None:
        list(pool.map(FusedMultiplyAdd.__call__, kernels))

    calls = {f"{LAYER} 1": _on(1, job.call), f"{LAYER} {several}": _on(several, job.call)}
    calls |= {f"{MACHINE} 1": kernels[0], f"{MACHINE} {several}": _on(several, products)}
    with pool:
        timings = race(calls, setup.method)
    runs = {name: as_record(timing) for name, timing in timings.items()}
    layer = timings[f"{LAYER} 1"].median / timings[f"{LAYER} {several}"].median
    machine = several * timings[f"{MACHINE} 1"].median / timings[f"{MACHINE} {several}"].median
    tell(f"threads {mode} {problem.shape}: {several} are {layer:.2f} times one; the machine {machine:.2f}")
    return {**record, "status": "timed", "runs": runs}


def _on(count: int, call: Call) -> Call:
    def run() -> None:
        limits.use(count)
        call()

    return run
