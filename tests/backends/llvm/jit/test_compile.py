"""A module is compiled once, for this machine alone; then its code is taken from disk."""

import ctypes
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gatewright.backends.llvm.jit import compile as compiling
from gatewright.backends.llvm.jit import machine_code
from gatewright.backends.llvm.jit.compile import compile_module, describe
from gatewright.backends.llvm.jit.machine_code import Library
from gatewright.backends.llvm.jit.target import TARGET_NAMES, Target, runnable, target_named
from gatewright.errors import OptionError
from gatewright.kernel_cache import KernelCache
from tests.backends.llvm.modules import SAXPY, run_saxpy, saxpy
from tests.paths import ROOT, subprocess_environment

ELSEWHERE = [name for name in TARGET_NAMES if not runnable(target_named(name))]


@pytest.fixture
def kept(tmp_path: Path) -> KernelCache:
    return KernelCache(tmp_path / "kernels")


def compiled(source: str, kept: KernelCache, functions=SAXPY, target: Target | None = None) -> Library:
    return compile_module(source, functions, key="test", target=target, kept=kept)


def never() -> str:
    raise AssertionError("the module was generated although its code is kept")


def test_code_is_compiled_once(kept: KernelCache, monkeypatch: pytest.MonkeyPatch) -> None:
    first = compiled(saxpy(), kept)
    monkeypatch.setattr(compiling, "emit_object", never)
    again = compiled(saxpy(), kept)
    assert (first.from_cache, again.from_cache) == (False, True)
    assert run_saxpy(again["saxpy"]).tolist() == run_saxpy(first["saxpy"]).tolist()
    assert kept.status().entries == 1


@pytest.mark.parametrize("code", [b"", b"no object code", b"\x7fELF" + bytes(200)])
def test_an_entry_that_cannot_be_loaded_is_compiled_again(code: bytes, kept: KernelCache) -> None:
    description = describe(saxpy(), SAXPY, "test", target_named())
    kept.store(description, code)
    assert not compiled(saxpy(), kept).from_cache
    status = kept.status()
    assert (status.hits, status.misses, status.rejected) == (0, 1, 1)
    assert "cannot be loaded: " in (status.problem or "")
    assert compiled(saxpy(), kept).from_cache, "the good code has taken its place"


def test_the_cache_of_the_user_serves_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWRIGHT_CACHE", str(tmp_path))
    served = [compile_module(saxpy(), SAXPY, key="test").from_cache for _ in range(2)]
    assert served == [False, True]


def test_a_module_is_generated_when_somebody_wants_to_read_it(kept: KernelCache) -> None:
    asked: list[str] = []

    def generate() -> str:
        asked.append("generated")
        return saxpy()

    first, again = (compile_module(generate, SAXPY, key="lazy", kept=kept) for _ in range(2))
    assert (first.from_cache, again.from_cache, len(asked)) == (False, True, 1)
    assert run_saxpy(again["saxpy"]).tolist() == [10.0, 12.0, 14.0]
    for library in (first, again):
        assert library.ir == library.ir == saxpy()
        assert "saxpy:" in library.assembly
    assert len(asked) == 3


def test_other_work_is_done_while_a_module_is_compiled(kept: KernelCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_code, "processors", lambda: 2)
    threads: list[threading.Thread] = []

    def work() -> None:
        threads.append(threading.current_thread())
        raise ValueError("whoever needs this will see it")

    for _ in range(2):
        library = compile_module(saxpy(), SAXPY, key="beside", kept=kept, meanwhile=work)
        assert run_saxpy(library["saxpy"]).tolist() == [10.0, 12.0, 14.0]
    assert len(threads) == 1, "the second time there is nothing to compile"
    assert threads[0] is not threading.current_thread()
    assert not threads[0].is_alive()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_waits_for_other_work(kept: KernelCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """The work may hold locks, which nobody would release in the child."""
    monkeypatch.setattr(machine_code, "processors", lambda: 2)
    began, is_done, statuses = threading.Event(), list[bool](), list[int]()

    def work() -> None:
        began.set()
        time.sleep(0.3)
        is_done.append(True)

    def fork() -> None:
        began.wait()
        child = os.fork()
        if not child:
            os._exit(0 if is_done else 1)
        statuses.append(os.waitpid(child, 0)[1])

    forking = threading.Thread(target=fork)
    forking.start()
    compile_module(saxpy(), SAXPY, key="fork", kept=kept, meanwhile=work)
    forking.join()
    assert statuses == [0]


def test_a_single_processor_does_no_work_ahead(kept: KernelCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_code, "processors", lambda: 1)
    assert not compile_module(saxpy(), SAXPY, key="alone", kept=kept, meanwhile=never).from_cache


@pytest.mark.parametrize("spoil", [lambda code: code[:-1], lambda code: code[:200] + b"\0" + code[201:], lambda _: b""])
def test_spoilt_code_is_compiled_again(kept: KernelCache, spoil: Callable[[bytes], bytes]) -> None:
    compiled(saxpy(), kept)
    (path,) = kept.status().folder.iterdir()
    path.write_bytes(spoil(path.read_bytes()))
    library = compiled(saxpy(), kept)
    assert not library.from_cache
    assert run_saxpy(library["saxpy"]).tolist() == [10.0, 12.0, 14.0]
    assert compiled(saxpy(), kept).from_cache


def test_without_a_folder_for_it_code_is_compiled_each_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    kept = KernelCache(tmp_path / "file" / "kernels")
    for _ in range(2):
        library = compiled(saxpy(), kept)
        assert not library.from_cache
        assert run_saxpy(library["saxpy"]).tolist() == [10.0, 12.0, 14.0]


def test_a_target_of_another_machine_is_refused(kept: KernelCache) -> None:
    with pytest.raises(OptionError, match=f"kernels for '{ELSEWHERE[0]}' do not run on this machine"):
        compiled(saxpy(), kept, target=target_named(ELSEWHERE[0]))


DIFFERENT: dict[str, Callable[[], str]] = {
    "another module": lambda: describe(saxpy(plus=1.0), SAXPY, "test", target_named("host")),
    "another key": lambda: describe(saxpy(), SAXPY, "test 2", target_named("host")),
    "other arguments": lambda: describe(saxpy(), {"saxpy": (ctypes.c_void_p,)}, "test", target_named("host")),
    "other functions": lambda: describe(saxpy(), {"axpy": SAXPY["saxpy"]}, "test", target_named("host")),
    "another processor": lambda: describe(
        saxpy(), SAXPY, "test", Target(**vars(target_named("host")) | {"cpu": "other"})
    ),
    "other features": lambda: describe(saxpy(), SAXPY, "test", Target(**vars(target_named("host")) | {"features": ""})),
    "another system": lambda: describe(
        saxpy(), SAXPY, "test", Target(**vars(target_named("host")) | {"triple": "x86_64"})
    ),
    "a generator": lambda: describe(saxpy, SAXPY, "test", target_named("host")),
}


def test_what_is_equal_is_described_alike() -> None:
    one, other = (describe(saxpy(), dict(SAXPY), "test", target_named("host")) for _ in range(2))
    assert one == other
    assert describe(saxpy, SAXPY, "test", target_named("host")) == describe(never, SAXPY, "test", target_named("host"))


@pytest.mark.parametrize("kind", DIFFERENT)
def test_what_differs_is_described_otherwise(kind: str) -> None:
    assert DIFFERENT[kind]() != describe(saxpy(), SAXPY, "test", target_named("host"))


@pytest.mark.parametrize("name", ["__version__", "llvmlite", "llvm"])
def test_other_versions_are_described_otherwise(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = describe(saxpy(), SAXPY, "test", target_named("host"))

    class Other:
        __version__ = "0"
        llvm_version_info = (1, 2, 3)

    target = target_named("host")
    monkeypatch.setattr(compiling, name, "0" if name == "__version__" else Other)
    assert describe(saxpy(), SAXPY, "test", target) != before


TOGETHER = """
import sys
from gatewright.kernel_cache import KernelCache
from gatewright.backends.llvm.jit.compile import compile_module
from pathlib import Path
from tests.backends.llvm.modules import SAXPY, run_saxpy, saxpy

kept = KernelCache(Path(sys.argv[1]))
for turn in range(3):
    for plus in range(5):
        library = compile_module(saxpy(plus=float(plus)), SAXPY, key="together", kept=kept)
        assert run_saxpy(library["saxpy"]).tolist() == [10.0 + plus, 12.0 + plus, 14.0 + plus]
status = kept.status()
assert (status.rejected, status.problem, status.entries) == (0, None, 5), status
assert status.hits >= 10, status
"""


def test_processes_may_compile_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", TOGETHER, str(tmp_path / "kernels")]
    environment = subprocess_environment()
    environment["PYTHONPATH"] += os.pathsep + str(ROOT)
    running = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(4)
    ]
    said = [process.communicate(timeout=120)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0, 0], "\n".join(said)


def test_threads_may_compile_at_once(kept: KernelCache) -> None:
    results: dict[float, float] = {}

    def build(plus: float) -> None:
        library = compiled(saxpy(plus=plus), kept)
        results[plus] = run_saxpy(library["saxpy"])[0]

    threads = [threading.Thread(target=build, args=(float(number),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert results == {float(number): 10.0 + number for number in range(8)}


# Processes

FORKS = """
import os, threading
from gatewright.kernel_cache import KernelCache
from gatewright.backends.llvm.jit.compile import compile_module
from tests.backends.llvm.modules import SAXPY, run_saxpy, saxpy

def build(plus):
    library = compile_module(saxpy(plus=plus), SAXPY, key="fork", kept=KernelCache(None))
    assert run_saxpy(library["saxpy"])[0] == 10.0 + plus
    return library

before = build(0.0)
going = True
def compile_on():
    number = 0
    while going:
        build(float(number := number + 1))
other = threading.Thread(target=compile_on)
other.start()
for child in range(15):
    process = os.fork()
    if process == 0:
        build(0.5)
        assert run_saxpy(before["saxpy"])[0] == 10.0
        os._exit(0)
    _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) == 0
going = False
other.join()
print("done")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_process_may_be_forked_while_another_thread_compiles() -> None:
    environment = subprocess_environment()
    environment["PYTHONPATH"] += os.pathsep + str(ROOT)
    run = subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", FORKS],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (run.returncode, run.stdout) == (0, "done\n"), run.stderr


def test_code_from_the_cache_is_there_at_once(kept: KernelCache) -> None:
    compiled(saxpy(), kept)
    times: list[float] = []
    for _ in range(20):
        start = time.perf_counter()
        assert compiled(saxpy(), kept).from_cache
        times.append(time.perf_counter() - start)
    assert min(times) < 0.03  # seconds, for a pair of kernels
