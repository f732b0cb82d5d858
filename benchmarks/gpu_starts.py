"""The first call of a process on a GPU: with kernels compiled, and with kernels from disk.

    python -m benchmarks.gpu_starts CELL UNITS DTYPE

prints the seconds of a first forward run and of a first training step as JSON.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.gpu_device import BenchmarkDevice
from benchmarks.gpu_layers import LayerCase, precision_of_case, problem, results_of, with_backend
from benchmarks.names import Record
from benchmarks.setup import tell

ROOT = Path(__file__).resolve().parent.parent
ROWS, STEPS = 32, 64
SECONDS = 50.0
"""What one process may take."""


@dataclass(frozen=True)
class StartCase:
    """A layer."""

    cell: str
    units: int
    dtype: str

    def __str__(self) -> str:
        """What it is, in words."""
        return f"{self.cell}, {self.units} units, {self.dtype}"


def start_cases(quick: bool) -> Iterator[StartCase]:
    """All cases, the most important ones first."""
    if quick:
        yield StartCase("gru", 16, "tf32")
        return
    yield from (StartCase(cell, units, "bfloat16") for cell, units in (("gru", 128), ("lstm", 512)))


def measured_start(case: StartCase, on: BenchmarkDevice) -> Record:
    """The seconds in a process with empty caches, and in the next one."""
    record: Record = asdict(case)
    with tempfile.TemporaryDirectory() as folder:
        caches = {"TRITON_CACHE_DIR": f"{folder}/triton", "GATEWRIGHT_CACHE": f"{folder}/gatewright"}
        for name in ("compiled", "from_disk"):
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.gpu_starts", case.cell, str(case.units), case.dtype],
                cwd=ROOT,
                env=os.environ | caches,
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
            )
            if done.returncode:
                last = (done.stderr.strip().splitlines() or [""])[-1]
                return {**record, "error": f"the process ended with code {done.returncode}: {last}"}
            record[name] = json.loads(done.stdout)
    tell(f"first calls of {case}: compiled {record['compiled']}, from disk {record['from_disk']}")
    return record


def main() -> None:
    """Time the first calls of this process, the device being open already."""
    cell, units, dtype = sys.argv[1:]
    quick = int(units) <= 16
    on = BenchmarkDevice.present(quick=quick)
    rows, steps = (2, 3) if quick else (ROWS, STEPS)
    seconds: dict[str, float] = {}
    for mode in ("forward", "training"):
        case = LayerCase(cell, int(units), rows, steps, dtype, mode)
        layer, x = problem(case, on)
        with_backend(layer, "triton")
        float(x.detach().sum())  # waits for the device
        began = time.perf_counter()
        float(results_of(layer, x, case, precision_of_case(case, on))[0].sum())
        seconds[mode] = round(time.perf_counter() - began, 4)
    print(json.dumps(seconds))


if __name__ == "__main__":
    main()
