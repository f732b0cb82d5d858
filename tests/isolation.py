"""Keeps a test run to itself: an empty home folder, no network, one thread, random numbers from one seed."""

import ipaddress
import os
import random
import socket
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

# Read once by OpenMP, MKL and OpenBLAS when they are loaded, so they are set before anything imports NumPy.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1")
# Guards child processes, which the patched sockets do not reach: port 9 is the discard port, nobody listens.
DEAD_PROXY = "http://127.0.0.1:9"


def isolated_environment(folder: Path) -> dict[str, str]:
    """Environment variables under which programs find an empty home in `folder`, and no network."""
    places = {
        "HOME": "home",
        "USERPROFILE": "home",
        "XDG_CACHE_HOME": "cache",
        "XDG_CONFIG_HOME": "config",
        "XDG_DATA_HOME": "data",
        "XDG_STATE_HOME": "state",
        "GATEWRIGHT_CACHE": "gatewright-cache",
        "GATEWRIGHT_DATA": "gatewright-data",
        "HYPOTHESIS_STORAGE_DIRECTORY": "hypothesis",
        "MPLCONFIGDIR": "matplotlib",
        "TORCH_HOME": "torch",
        "TRITON_CACHE_DIR": "triton",
    }
    paths = {variable: folder / name for variable, name in places.items()}
    for path in paths.values():
        path.mkdir(parents=True, exist_ok=True)
    proxies = {
        name: DEAD_PROXY for kind in ("http", "https", "all") for name in (f"{kind}_proxy", f"{kind.upper()}_PROXY")
    }
    settings = {
        "MPLBACKEND": "Agg",
        "NO_PROXY": "localhost,127.0.0.1",
        "no_proxy": "localhost,127.0.0.1",
        "COLUMNS": "80",
        "TRITON_INTERPRET": "1",  # read when triton is imported: its kernels run on the CPU, in its interpreter
    }
    return {**ONE_THREAD, **proxies, **settings, **{variable: str(path) for variable, path in paths.items()}}


def enter(folder: Path) -> None:
    """Move this process, and the children it will have, into the isolated environment."""
    os.environ.update(isolated_environment(folder))
    for variable in ("FORCE_COLOR", "CLICOLOR_FORCE", "PYTHONWARNINGS"):
        os.environ.pop(variable, None)


def seed_of(base: int, nodeid: str) -> int:
    """A test's seed depends on its name and not on what ran before it, so tests may run in any order."""
    return zlib.crc32(f"{base}:{nodeid}".encode())


def seed_everything(seed: int) -> None:
    """Seed the generators that are loaded; a framework that is not loaded stays so."""
    random.seed(seed)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(seed)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(seed)


def thread_counts() -> dict[str, int | None]:
    """How many threads torch uses, and Gatewright was told to use (None: as many as torch), where they are loaded."""
    torch, own = sys.modules.get("torch"), sys.modules.get("gatewright.threads")
    counts: dict[str, int | None] = {}
    if hasattr(torch, "get_num_threads"):
        counts["torch"] = torch.get_num_threads()
    if own is not None:
        with mock.patch.dict(sys.modules, torch=SimpleNamespace(get_num_threads=lambda: None)):
            counts["gatewright"] = own.get_num_threads()
    return counts


def _is_local(family: int, address: Any) -> bool:
    if family == getattr(socket, "AF_UNIX", None):
        return True
    host = address[0] if isinstance(address, tuple) else address
    if host in (None, "", "localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def forbid_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a test that connects to, or looks up, any host but this one.

    `pytest.fail` raises outside of `Exception`, so no `except` clause of a library can turn it into a retry.
    """

    def guarded(original: Callable[..., Any]) -> Callable[..., Any]:
        def connect(self: socket.socket, address: Any) -> Any:
            if not _is_local(self.family, address):
                pytest.fail(f"a test may not use the network: connection to {address!r}")
            return original(self, address)

        return connect

    look_up = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        if not _is_local(0, host.decode() if isinstance(host, bytes) else host):
            pytest.fail(f"a test may not use the network: look-up of {host!r}")
        return look_up(host, *args, **kwargs)

    monkeypatch.setattr(socket.socket, "connect", guarded(socket.socket.connect))
    monkeypatch.setattr(socket.socket, "connect_ex", guarded(socket.socket.connect_ex))
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
