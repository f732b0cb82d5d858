"""Regions on PyTorch's OpenMP threads."""

import ctypes
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from gatewright.backends.llvm.parallel import openmp
from gatewright.backends.llvm.parallel.openmp import OpenMPThreads, obstacle, threads_of_torch

THREADS = threads_of_torch()
pytestmark = pytest.mark.skipif(
    THREADS is None, reason="this build of PyTorch has no OpenMP threads that can be shared"
)
_JOIN = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class CallbackRegion:
    """A region whose threads call a Python function."""

    def __init__(self, part: Callable[[], None] = lambda: None) -> None:
        self.members: list[int] = []
        self.expected = 0
        self._callback = _JOIN(lambda _: (self.members.append(threading.get_native_id()), part())[0])
        self.address, self.join_address = 0, ctypes.cast(self._callback, ctypes.c_void_p).value

    def expect(self, threads: int) -> None:
        self.expected = threads


def _tasks() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


@pytest.fixture(autouse=True)
def _threads_of_torch() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def threads() -> OpenMPThreads:
    assert THREADS is not None
    return THREADS


def test_no_thread_is_started_beside_those_of_torch(threads: OpenMPThreads) -> None:
    torch.ones(500, 500) @ torch.ones(500, 500)  # starts torch's own
    before, used = _tasks(), set[int]()
    for _ in range(20):
        region = CallbackRegion()
        assert threads.run(region, 2)
        assert region.expected == len(region.members) == 2
        used |= {*region.members}
    assert len(used) == 2
    assert threading.get_native_id() in used
    assert _tasks() == before


def test_a_team_is_as_large_as_that_of_torch(threads: OpenMPThreads) -> None:
    torch.set_num_threads(3)
    region = CallbackRegion()
    assert threads.run(region, 2)
    assert region.expected == 2  # a real region is closed when two have come
    assert len(region.members) == 3


def test_more_threads_than_those_of_torch(threads: OpenMPThreads) -> None:
    region = CallbackRegion()
    assert threads.run(region, 4)
    assert len(region.members) == 4


def test_of_two_callers_one_has_the_threads(threads: OpenMPThreads) -> None:
    inside, leave, caller = threading.Event(), threading.Event(), list[int]()

    def hold() -> None:
        if threading.get_native_id() in caller:
            inside.set()
            assert leave.wait(timeout=30)

    def call() -> None:
        caller.append(threading.get_native_id())
        assert threads.run(CallbackRegion(hold), 2)

    other = threading.Thread(target=call)
    other.start()
    assert inside.wait(timeout=30)
    refused = CallbackRegion()
    assert not threads.run(refused, 2)
    leave.set()
    other.join(timeout=30)
    assert not other.is_alive()
    assert refused.members == []
    assert threads.run(CallbackRegion(), 2)


def test_without_torch_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert obstacle() == ""
    monkeypatch.delitem(sys.modules, "torch")
    assert threads_of_torch() is None
    assert obstacle() == "PyTorch is not loaded"


def test_threads_that_may_be_fewer_than_asked_for_are_not_used() -> None:
    """With a limit of one thread, a region would wait for a second one until its spin limit, in every call."""
    code = (
        "import torch; from gatewright.backends.llvm.parallel import openmp; "
        "print(openmp.threads_of_torch(), openmp.obstacle())"
    )
    settings = {
        ("OMP_DYNAMIC", "true"): "OMP_DYNAMIC lets OpenMP use fewer threads than a region asks for",
        ("OMP_THREAD_LIMIT", "1"): "OMP_THREAD_LIMIT is less than the number of processors",
    }
    for (name, value), reason in settings.items():
        setting = {name: value}
        ran = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, **setting}, capture_output=True, text=True, check=True
        )
        assert ran.stdout == f"None {reason}\n"


WITHOUT = """
import types, torch
import gatewright as gw
from gatewright.backends.llvm.parallel import openmp
library = types.SimpleNamespace(omp_get_dynamic=lambda: 0, omp_get_thread_limit=lambda: 2**31 - 1)
openmp.ctypes = types.SimpleNamespace(CDLL=lambda path: library)
layer, x = gw.nn.GRU(64, 256), torch.randn(35, 32, 64)
results = []
with torch.no_grad():
    for threads in (1, 2):
        gw.set_num_threads(threads)
        results.append(layer(x)[0])
print(torch.equal(*results), openmp.threads_of_torch(), openmp.obstacle())
"""


def test_a_library_without_the_function_leaves_regions_to_the_pool() -> None:
    """As on Windows, where a symbol is not looked up in what a library depends on."""
    ran = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, timeout=120, check=True)
    assert ran.stdout == "True None this build of PyTorch has no OpenMP threads that others can use\n"


COMPILED_TWICE = """
import gc, threading, torch
from gatewright.backends.llvm.parallel import region
torch.set_num_threads(2)
compile_module, late, go_on = region.compile_module, threading.Event(), threading.Event()

def compile_late(*arguments, **options):
    if threading.current_thread() is not threading.main_thread():
        late.set()
        go_on.wait(60)
    return compile_module(*arguments, **options)

def run():
    own = region.ParallelRegion(region.PhaseList([], 2), (0,), 1, (0, 0), 10**6, 0)
    return region.run_region(own, 2) and own.memory.finished[0]

region.compile_module = compile_late
other = threading.Thread(target=run)
other.start()
late.wait(60)
first = run()
go_on.set()
other.join()
gc.collect()
print(first, run())
"""


def test_threads_may_compile_the_first_region_at_the_same_time() -> None:
    """Only the code of the last one stays; nobody may be led to what the other one had compiled."""
    command = [sys.executable, "-c", COMPILED_TWICE]
    ran = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert (ran.stdout, ran.returncode) == ("2 2\n", 0), ran.stderr


FORK = """
import os, torch
import gatewright as gw
from gatewright.backends.llvm.parallel.openmp import threads_of_torch
torch.set_num_threads(2)
layer, x = gw.nn.GRU(64, 256), torch.randn(35, 32, 64)
with torch.no_grad():
    want = layer(x)[0].numpy()
    torch.ones(500, 500) @ torch.ones(500, 500)
    assert threads_of_torch()
    child = os.fork()
    if not child:
        same = (layer(x)[0].numpy() == want).all()
        os._exit(0 if same and threads_of_torch() is None else 1)
    print(os.waitpid(child, 0)[1])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_has_threads_of_its_own() -> None:
    """An OpenMP library hangs in a child that was forked after its parent had used it."""
    ran = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=120, check=True)
    assert ran.stdout == "0\n"


def test_a_process_knows_that_it_was_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openmp.Process, "is_forked", True)
    assert threads_of_torch() is None
