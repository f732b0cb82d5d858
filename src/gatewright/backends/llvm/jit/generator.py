"""The version of the code generator: a digest of its own text, which object code on disk depends on.

The version of the package stays the same while somebody works on it, so it is not enough.
"""

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path

from gatewright.kernel_cache import schedule_cache

PARTS = (
    "axes.py",
    "lang",
    "trace",
    "derive",
    "schedule",
    "backends/base.py",
    "backends/coefficients.py",
    "backends/decompose.py",
    "backends/llvm",
)
"""What decides, with the description of a kernel, which object code comes out."""
_SETTLED = 2 * 10**9
"""Nanoseconds after which a file that changes gets another time than it had, whatever the system's clock ticks are."""


@cache
def generator_digest() -> str:
    """The digest of all sources in PARTS.

    To read a hundred files takes 2 ms, a tenth of a first call whose kernels are on disk. So the digest is kept there
    too, under the size, number and times of every file. One of the times is when the system has last changed the file,
    which programs cannot set.
    """
    package = str(Path(__file__).parents[3])
    files = sorted(file for part in PARTS for file in _source_files(package, part))
    names = [name for name, _ in files]
    if not _are_settled(files):
        return _digest(package, names)
    description, entries = json.dumps(["digest of sources", package, files]), schedule_cache()
    kept = entries.load(description)
    if kept is not None:
        return kept.decode()
    digest = _digest(package, names)
    entries.store(description, digest.encode())
    return digest


State = tuple[int, ...]
"""What changes when a file does: its size, numbers and times."""


def _are_settled(files: Sequence[tuple[str, State]]) -> bool:
    """Whether a file that is changed from now on gets another state."""
    if os.name != "posix":  # elsewhere `st_ctime` is something else
        return False
    last = max((max(state[-2:]) for _, state in files), default=0)
    return last < time.time_ns() - _SETTLED  # a file that is changed twice within a moment may keep its time


def _digest(package: str, names: Sequence[str]) -> str:
    digest = sha256()
    for name in names:
        # `os` alone: reading these hundred files by `pathlib` takes twice as long
        descriptor = os.open(f"{package}/{name}", os.O_RDONLY | getattr(os, "O_BINARY", 0))
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            digest.update(name.encode() + b"\0" + file.readall() + b"\0")
    return digest.hexdigest()


def _source_files(package: str, part: str) -> Iterator[tuple[str, State]]:
    """The Python files of a part of the package: their paths in it, and their states."""
    if part.endswith(".py"):
        with suppress(FileNotFoundError):
            yield part, _state(Path(package, part).stat())
        return
    try:
        entries = os.scandir(f"{package}/{part}")
    except FileNotFoundError:
        return
    with entries:
        for entry in entries:
            if entry.is_dir():
                yield from _source_files(package, f"{part}/{entry.name}")
            elif entry.name.endswith(".py"):
                yield f"{part}/{entry.name}", _state(entry.stat())


def _state(info: os.stat_result) -> State:
    return info.st_size, info.st_ino, info.st_dev, info.st_mtime_ns, info.st_ctime_ns
