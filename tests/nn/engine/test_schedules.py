"""What is derived, planned and compiled once serves later processes, whatever became of it on disk meanwhile."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gatewright import cells, kernel_cache
from gatewright.kernel_cache import schedule_cache
from gatewright.nn.engine import schedules
from gatewright.schedule.plan import plan
from gatewright.schedule.residuals import save
from gatewright.trace import simplify, trace_cell
from tests.paths import subprocess_environment

PROCESS = """
import json
from hashlib import sha256
from gatewright.backends.llvm.jit import compile
from gatewright.backends.llvm.runtime import engine
from gatewright.nn.engine import schedules

counts = dict.fromkeys(("plan", "save", "emit_module", "emit_object"), 0)

def count(module, name):
    real = getattr(module, name)

    def counted(*args, **options):
        counts[name] += 1
        return real(*args, **options)

    setattr(module, name, counted)

count(schedules, "plan")
count(schedules, "save")
count(engine, "emit_module")
count(compile, "emit_object")

import torch
import gatewright as gw


torch.manual_seed(0)
digest = sha256()
layer = gw.nn.LSTM(5, 17)
x = torch.randn(6, 3, 5, requires_grad=True)
layer(x)[0].square().sum().backward()
with torch.no_grad():
    output, _ = layer(x)
for tensor in (output, x.grad, *(parameter.grad for parameter in layer.parameters())):
    digest.update(tensor.numpy().tobytes())
print(json.dumps({**counts, "digest": digest.hexdigest()}))
"""
NOTHING = {"plan": 0, "save": 0, "emit_module": 0, "emit_object": 0}


@pytest.fixture
def start(tmp_path: Path) -> Callable[[], "subprocess.Popen[str]"]:
    """Start a process that runs a layer, with a cache of its own test."""
    environment = subprocess_environment() | {"GATEWRIGHT_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-W", "error", "-c", PROCESS]

    def run() -> "subprocess.Popen[str]":
        return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    return run


def told(process: "subprocess.Popen[str]") -> dict[str, Any]:
    """What a process has counted."""
    output, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (0, "")
    return json.loads(output)


def entries(tmp_path: Path) -> list[Path]:
    """Everything on disk: kernels, schedules, and the digest of the sources."""
    return sorted(path for path in (tmp_path / "cache").rglob("*") if path.is_file())


def test_a_second_process_compiles_nothing_until_its_files_are_damaged(
    start: Callable[[], "subprocess.Popen[str]"], tmp_path: Path
) -> None:
    first = told(start())
    assert min(first["plan"], first["save"], first["emit_module"], first["emit_object"]) > 0
    assert told(start()) == {**NOTHING, "digest": first["digest"]}
    for number, path in enumerate(entries(tmp_path)):
        whole = path.read_bytes()
        path.write_bytes((whole[: len(whole) // 2], b"", whole[:-1] + bytes([whole[-1] ^ 1]))[number % 3])
    assert told(start()) == first, "everything is made again, and said to nobody"


def test_two_processes_may_begin_at_once(start: Callable[[], "subprocess.Popen[str]"], tmp_path: Path) -> None:
    both = [start(), start()]
    results = [told(process) for process in both]
    assert results[0]["digest"] == results[1]["digest"]
    assert all(path.suffix == ".kernel" for path in entries(tmp_path)), "no part of an entry is left behind"


# Within one process


@pytest.fixture
def forgetful(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """A function that lets this process forget all schedules, with an empty cache on disk."""
    monkeypatch.setenv("GATEWRIGHT_CACHE", str(tmp_path / "cache"))

    def forget() -> None:
        for made in (schedules.simplified_and_planned, schedules.step_pair, schedules.gradient_program):
            made.cache_clear()
        schedules.programs.clear()

    forget()
    yield forget
    forget()


@pytest.mark.parametrize("name", ["gru", "lstm", "minlstm", "lstm_peephole"])
def test_what_is_read_equals_what_is_made(forgetful: Callable[[], None], name: str) -> None:
    trace = trace_cell(cells.get(name))
    simple = simplify(trace)
    for _ in range(2):
        assert schedules.simplified_and_planned(trace) == (simple, plan(simple))
        seeded = tuple(state.name for state in simple.states)
        pair = schedules.step_pair(simple, seeded)
        assert pair == save(simple, seeded)
        assert schedules.planned(pair.forward) == plan(pair.forward)
        names = frozenset(name for name, _ in (*pair.backward.emits, *pair.backward.sums))
        assert schedules.gradient_program(simple, seeded, names) == plan(pair.backward)
        fewer = schedules.gradient_program(simple, seeded, names - {pair.backward.emits[0][0]})
        assert [*fewer.trace.emits, *fewer.trace.sums] != [*pair.backward.emits, *pair.backward.sums]
        forgetful()


def test_what_differs_has_an_entry_of_its_own(forgetful: Callable[[], None]) -> None:
    simple = simplify(trace_cell(cells.lstm))
    pairs = [schedules.step_pair(simple, seeded) for seeded in (("h",), ("c",), ("h", "c"))]
    forgetful()
    assert [schedules.step_pair(simple, seeded) for seeded in (("h",), ("c",), ("h", "c"))] == pairs
    assert len({pair.backward for pair in pairs}) == 3


def test_a_whole_entry_without_a_schedule_is_replaced(
    forgetful: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = trace_cell(cells.gru)
    expected = schedules.simplified_and_planned(trace)
    forgetful()
    with monkeypatch.context() as patch:
        patch.setattr(kernel_cache.KernelCache, "load", lambda *_: b'{"values": []}')
        assert schedules.simplified_and_planned(trace) == expected
    problem = schedule_cache().status().problem
    assert problem is not None
    assert "no traces and Programs" in problem


def test_other_sources_have_other_schedules(forgetful: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    trace, planned = trace_cell(cells.gru), list[object]()
    monkeypatch.setattr(schedules, "plan", lambda trace: planned.append(trace) or plan(trace))
    schedules.simplified_and_planned(trace)
    forgetful()
    schedules.simplified_and_planned(trace)
    assert len(planned) == 1
    forgetful()
    monkeypatch.setattr("gatewright.backends.llvm.jit.compile.generator_digest", lambda: "another")
    schedules.simplified_and_planned(trace)
    assert len(planned) == 2


def test_without_a_folder_all_is_made_each_time(forgetful: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWRIGHT_CACHE", "off")
    trace, planned = trace_cell(cells.gru), list[object]()
    monkeypatch.setattr(schedules, "plan", lambda trace: planned.append(trace) or plan(trace))
    for _ in range(2):
        schedules.simplified_and_planned(trace)
        forgetful()
    assert len(planned) == 2


def test_clearing_the_cache_removes_schedules_too(forgetful: Callable[[], None]) -> None:
    schedules.simplified_and_planned(trace_cell(cells.gru))
    folder = schedule_cache().status().folder
    assert folder is not None
    assert list(folder.iterdir())
    kernel_cache.clear()
    assert not list(folder.iterdir())
