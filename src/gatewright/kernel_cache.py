"""Object code and what belongs to it, on disk: a kernel is compiled once for a user and a machine.

An entry is machine code that will run with all rights of the user. It is trusted only if nobody else can have written
it, if its description equals the one that is asked for, and if its digest is right. Otherwise the kernel is compiled
again. It is no error if nothing can be stored; `status()` tells why.
"""

import os
import re
import stat
import struct
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

from platformdirs import user_cache_dir

VARIABLE = "GATEWRIGHT_CACHE"
"""The environment variable that gives another folder for kernels and schedules; "off" keeps none."""
LIMIT = 256 * 2**20  # bytes

_MAGIC = b"gatewright kernel 1\n"
_FRAME = struct.Struct("<QQ32s")  # length of the description, length of the code, sha256 of both
_ENTRY, _PART = ".kernel", ".part"
_OURS = re.compile(rf"[0-9a-f]{{64}}({_ENTRY}|\.\w+{_PART})")  # whatever else lies in the folder is somebody else's
_ABANDONED = 3600  # seconds after which a part of an entry is taken to be left behind
_CAREFULLY: int = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # wait for no pipe


@dataclass(frozen=True)
class Status:
    """What a cache holds, and how it served this process. `problem` is the last thing that went wrong with it."""

    folder: Path | None
    entries: int
    size: int  # bytes
    limit: int  # bytes
    hits: int
    misses: int
    rejected: int
    problem: str | None


class _UntrustedError(Exception):
    """An entry or a folder that somebody else may have changed; says why."""


class KernelCache:
    """A folder of object code; the entries that were used last are kept when they outgrow `limit` bytes.

    Any number of threads and processes may use one folder. Without a folder nothing is kept.
    """

    def __init__(self, folder: Path | None, limit: int = LIMIT) -> None:
        self._folder = folder
        self._limit = limit
        self._hits = self._misses = self._rejected = 0
        self._problem: str | None = None

    def load(self, description: str) -> bytes | None:
        """The object code that was stored under exactly this description; None where there is none to be trusted."""
        code = None
        try:
            code = None if self._folder is None else _read(self._folder, description)
        except FileNotFoundError:
            pass
        except _UntrustedError as reason:
            self._rejected += 1
            self._problem = str(reason)
        except OSError as error:
            self._problem = f"cannot read {self._folder}: {error.strerror}"
        self._misses += code is None
        self._hits += code is not None
        return code

    def reject(self, reason: str) -> None:
        """Say that what was found last is of no use; what is stored next takes its place."""
        self._hits, self._misses, self._rejected = self._hits - 1, self._misses + 1, self._rejected + 1
        self._problem = f"an entry in {self._folder} cannot be loaded: {reason}"

    def holds(self, description: str) -> bool:
        """Whether there is an entry of this description, to be trusted or not."""
        try:
            return self._folder is not None and entry_path(self._folder, description).is_file()
        except OSError:
            return False

    def store(self, description: str, code: bytes) -> None:
        """Keep object code under its description, as far as the folder allows."""
        if self._folder is None:
            return
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _refuse_foreign(self._folder, self._folder.stat())
            _write(self._folder, description, code)
            self._evict(self._folder)
        except _UntrustedError as reason:
            self._problem = str(reason)
        except OSError as error:
            self._problem = f"cannot write to {self._folder}: {error.strerror}"

    def clear(self) -> None:
        """Remove every entry."""
        for path, info in _files(self._folder):
            if path.suffix == _ENTRY or _is_abandoned(path, info):
                with suppress(OSError):
                    path.unlink(missing_ok=True)

    def status(self) -> Status:
        """What it holds, and how it served this process."""
        sizes = [info.st_size for path, info in _files(self._folder) if path.suffix == _ENTRY]
        counts = (self._hits, self._misses, self._rejected)
        return Status(self._folder, len(sizes), sum(sizes), self._limit, *counts, self._problem)

    def _evict(self, folder: Path) -> None:
        """Remove what was used longest ago, down to nine tenths of the limit, so that it is not due at every store."""
        files = sorted(_files(folder), key=lambda file: file[1].st_mtime_ns)
        size = sum(info.st_size for _, info in files)
        target = size if size <= self._limit else self._limit * 9 // 10
        for path, info in files:
            if _is_abandoned(path, info) or (size > target and path.suffix == _ENTRY):
                path.unlink(missing_ok=True)
                size -= info.st_size


def default_cache() -> KernelCache:
    """The cache of this user: the folder "kernels" in GATEWRIGHT_CACHE, or else in the system's place for caches."""
    return _cache_in(_place(), "kernels")


def schedule_cache() -> KernelCache:
    """The same for the schedules that kernels were generated from, in the folder "schedules"."""
    return _cache_in(_place(), "schedules")


def resources_cache() -> KernelCache:
    """The same for what kernels take on GPUs, in the folder "resources"."""
    return _cache_in(_place(), "resources")


def clear() -> None:
    """Remove everything that is kept for this user: kernels, schedules, and what kernels take on GPUs."""
    for entries in (default_cache(), schedule_cache(), resources_cache()):
        entries.clear()


def status() -> Status:
    """What is kept for this user, and how it served this process."""
    return default_cache().status()


def _place() -> str:
    return os.environ.get(VARIABLE) or user_cache_dir("gatewright")


@cache
def _cache_in(place: str, folder: str) -> KernelCache:
    return KernelCache(None if place == "off" else Path(place) / folder)


def entry_path(folder: Path, description: str) -> Path:
    """The file of one kernel's object code."""
    return folder / (sha256(description.encode()).hexdigest() + _ENTRY)


def _read(folder: Path, description: str) -> bytes:
    """The code of an entry.

    It is checked and read through one descriptor, so nobody can exchange it in between.
    """
    path = entry_path(folder, description)
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | _CAREFULLY)) as file:
            info = os.fstat(file.fileno())
            if not stat.S_ISREG(info.st_mode):
                raise _UntrustedError(f"{path} is not a plain file")
            _refuse_foreign(path, info)
            code = _unpack(path, file.read(), description)
    except OSError as error:
        if path.is_symlink() or path.is_dir():
            raise _UntrustedError(f"{path} is not a plain file") from error
        raise
    with suppress(OSError):
        os.utime(path)  # what was used last is kept longest
    return code


def _unpack(path: Path, entry: bytes, description: str) -> bytes:
    start = len(_MAGIC) + _FRAME.size
    if len(entry) < start or not entry.startswith(_MAGIC):
        raise _UntrustedError(f"{path} is not a kernel of this version")
    described, coded, digest = _FRAME.unpack_from(entry, len(_MAGIC))
    body = entry[start:]
    if len(body) != described + coded or sha256(body).digest() != digest:
        raise _UntrustedError(f"{path} is damaged")
    if body[:described] != description.encode():
        raise _UntrustedError(f"{path} holds another kernel")
    return body[described:]


def _write(folder: Path, description: str, code: bytes) -> None:
    """Write a whole entry beside its place, and only then put it there."""
    text = description.encode()
    digest = sha256(text + code).digest()
    entry = b"".join([_MAGIC, _FRAME.pack(len(text), len(code), digest), text, code])
    path = entry_path(folder, description)
    # new, and readable by its owner alone
    descriptor, part = tempfile.mkstemp(prefix=f"{path.stem}.", suffix=_PART, dir=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(entry)
        Path(part).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(part).unlink()
        raise


def _refuse_foreign(path: Path, info: os.stat_result) -> None:
    if not hasattr(os, "geteuid"):  # Windows: a user's own folders are closed to others
        return
    if info.st_uid != os.geteuid():
        raise _UntrustedError(f"{path} belongs to another user")
    if info.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise _UntrustedError(f"{path} can be written by others")


def _is_abandoned(path: Path, info: os.stat_result) -> bool:
    return path.suffix == _PART and time.time() - info.st_mtime > _ABANDONED


def _files(folder: Path | None) -> Iterator[tuple[Path, os.stat_result]]:
    """Every file that is ours by its name; another process may remove any of them meanwhile."""
    try:
        listed = [] if folder is None else list(os.scandir(folder))
    except OSError:
        return
    for entry in listed:
        if _OURS.fullmatch(entry.name):
            with suppress(OSError):
                yield Path(entry.path), entry.stat(follow_symlinks=False)
