"""The section about whole layers on two threads, beside the peers: the sections of `benchmarks.cpu --threads 2`.

They are measured by a process of their own, since the threads of some peers cannot be changed once they are there.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import files, limits
from benchmarks.names import FORWARD, TRAINING, Record
from benchmarks.setup import Setup, tell

THREADS = 2


def two_threads(setup: Setup) -> list[Record]:
    """A GRU forward and in training at every shape. Nothing where all sections have as many threads already."""
    if setup.threads >= THREADS:
        return []
    if limits.PROCESSORS < THREADS:
        tell("two threads: this process has one processor")
        return []
    limits.limit(THREADS)  # what is started may run on as many processors
    try:
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(_command(setup, folder), check=True, stdout=subprocess.DEVNULL)
            sections = files.load(Path(folder) / "benchmarks.json")["sections"]
    finally:
        limits.limit(setup.threads)
    return [*sections[FORWARD], *sections[TRAINING]]


def _command(setup: Setup, folder: str) -> list[str]:
    quick = ["--quick"] if setup.quick else []
    shapes = ["--shapes", *map(str, setup.shapes)]
    only = ["--only", f"{FORWARD},{TRAINING}"]
    threads = ["--threads", str(THREADS)]
    return [sys.executable, "-m", "benchmarks.cpu", *quick, *threads, *only, "--out", folder, *shapes]
