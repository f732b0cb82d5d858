"""The section about what is spent once: compiling, loading compiled code, importing. Each in processes of its own."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import quantiles
from typing import Any

from benchmarks.cells import CELLS
from benchmarks.names import Record
from benchmarks.setup import Setup, rounded, tell

SHAPE = "35,32,256,256"


def compile(setup: Setup) -> list[Record]:
    """The first forward and backward run of each cell, without and with a cache on disk, less a later run."""
    names = list(CELLS)[:1] if setup.quick else list(CELLS)
    return [_of_cell(name, 2 if setup.quick else 5) for name in names]


def _of_cell(name: str, times: int) -> Record:
    cold: list[Record] = []
    cached: list[Record] = []
    _process(name, Path("off"))  # leaves Python's own compiled files behind
    for _ in range(times):
        with tempfile.TemporaryDirectory() as folder:
            cold.append(_process(name, Path(folder)))
            cached.append(_process(name, Path(folder)))
    record = {
        "cell": name,
        "shape": SHAPE,
        "cold": _spread([run["first"] - run["later"] for run in cold]),
        "cached": _spread([run["first"] - run["later"] for run in cached]),
        "import": _spread([run["import"] for run in cold + cached]),
        "import_nn": _spread([run["import_nn"] for run in cold + cached]),
    }
    told = ", ".join(f"{key} {record[key]['median'] * 1e3:.0f}" for key in ("cold", "cached", "import", "import_nn"))
    tell(f"compile {name}: {told} ms")
    return record


def _process(name: str, cache: Path) -> Record:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.first_call", name, SHAPE],
        env={**os.environ, "GATEWRIGHT_CACHE": str(cache)},
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout)


def _spread(values: list[float]) -> dict[str, Any]:
    low, median, high = quantiles(values, n=4, method="inclusive")
    return {"least": rounded(min(values)), "median": rounded(median), "low": rounded(low), "high": rounded(high)}
