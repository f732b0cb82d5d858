"""The benchmark of GPUs, small and in Triton's interpreter: whether it works, not how fast.

What runs on CUDA alone is run on the CPU with a stand-in for torch.cuda: there is one run on a GPU, and no second try.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import gpu, gpu_starts, gpu_worker
from benchmarks.gpu_cases import CASES
from benchmarks.gpu_device import BenchmarkDevice, allow_tf32
from benchmarks.gpu_layers import TOLERANCES, difference
from benchmarks.gpu_worker import Worker, answer
from benchmarks.timing import Method
from tests.benchmarks import dying_worker
from tests.float32_products import float32_products_kept


@dataclass
class Event:
    """torch.cuda.Event, on the clock of the CPU."""

    enable_timing: bool
    at: float = field(default=0.0)

    def record(self) -> None:
        self.at = time.perf_counter()

    def synchronize(self) -> None:
        assert self.at

    def elapsed_time(self, end: "Event") -> float:
        return 1e3 * (end.at - self.at)


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    with float32_products_kept():
        yield


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> BenchmarkDevice:
    """A GPU as far as the benchmark can see, where the interpreter runs kernels."""
    for name in ("Event", "get_device_properties", "synchronize"):
        assert hasattr(torch.cuda, name)
    properties = SimpleNamespace(name="a GPU", major=9, minor=0, multi_processor_count=132, total_memory=2**37)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    return BenchmarkDevice(torch.device("cpu"), Method(0.0, 2, 2, 0.0), is_gpu=True, quick=True)


def measured(section: str, on: BenchmarkDevice) -> dict[str, Any]:
    with np.errstate(all="ignore"):
        record = answer((section, 0, False), on)
    assert "error" not in record, record
    return record


def test_the_device_is_described(on: BenchmarkDevice) -> None:
    record = measured("device", on)
    assert (record["name"], record["capability"], record["memory_GiB"]) == ("a GPU", "9.0", 128)
    assert record["launch_us"] > 0
    assert not on.is_broken


@pytest.mark.parametrize("section", ["layers", "variations", "twice", "extents"])
def test_layers_beside_torch(section: str, on: BenchmarkDevice) -> None:
    record = measured(section, on)
    peers = {"triton", "torch"} if section != "extents" else {"triton"}
    assert set(record["runs"]) == peers, record["absent"]
    assert set(record["absent"]) == {"cudnn"}
    assert all(run["us"] > 0 for run in record["runs"].values())
    assert answer((section, 0, True), on) == {}


def test_loops_scans_and_networks(on: BenchmarkDevice) -> None:
    forms = measured("forms", on)
    assert set(forms["us_a_step"]) == {"stepped", "resident"}, forms["absent"]
    assert answer(("forms", 0, True), on) == {}
    persistent = measured("persistent", on)
    assert set(persistent["us_a_step"]) == {"stepped", "persistent"}, persistent["absent"]
    assert set(measured("scan", on)["ms"]) == {"scan", "torch"}
    text = measured("networks", on)
    assert {"torch.nn", "Gatewright, triton", "Gatewright, torch"} <= set(text["runs"]), text["absent"]


def test_newton_and_random_numbers(on: BenchmarkDevice) -> None:
    newton = measured("newton", on)
    assert set(newton["us"]) == {"newton", "loop"}
    assert "iterations" in newton["reports"][0]
    assert measured("random", on)["drawing_us"] > 0


def test_both_directions(on: BenchmarkDevice) -> None:
    record = measured("directions", on)
    assert set(record["us"]) == set(record["difference"]) == {"two streams", "one after the other"}
    assert set(record["absent"]) == {"cudnn"}


def test_beside_a_compiled_step(on: BenchmarkDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    """The peer is compiled on a GPU; here its equations are held to ours."""
    asked: list[dict[str, Any]] = []

    def compiled(step: Any, **options: Any) -> Any:
        asked.append(options)
        return step

    monkeypatch.setattr(torch, "compile", compiled)
    record = measured("compiled", on)
    assert set(record["us_a_step"]) == {"triton", "torch.compile"}, record["absent"]
    assert asked == [{"dynamic": False}]
    case = next(iter(CASES["compiled"].cases(True)))
    with np.errstate(all="ignore"):
        record = CASES["compiled"].measure(replace(case, cell="gru(before)", mode="forward"), on)
    assert set(record["us_a_step"]) == {"triton", "torch.compile"}, record["absent"]


def test_first_calls(on: BenchmarkDevice, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Here the two processes are this one."""
    caches: list[str] = []

    def run(words: list[str], env: dict[str, str], **options: Any) -> Any:
        assert words[1:3] == ["-m", "benchmarks.gpu_starts"]
        caches.append(env["TRITON_CACHE_DIR"])
        monkeypatch.setattr(sys, "argv", words[2:])
        gpu_starts.main()
        return SimpleNamespace(returncode=0, stdout=capsys.readouterr().out, stderr="")

    monkeypatch.setattr(subprocess, "run", run)
    record = measured("starts", on)
    assert set(record["compiled"]) == set(record["from_disk"]) == {"forward", "training"}
    assert caches[0] == caches[1]


def test_every_case_has_a_title_and_every_section_a_part_of_the_time() -> None:
    assert set(gpu.SECTIONS) == set(CASES) - {"device"}
    assert sum(gpu.SECTIONS.values()) == pytest.approx(1.0)
    for section in gpu.SECTIONS:
        titles = [str(case) for case in gpu_worker.cases(section, False)]
        assert titles
        assert len(set(titles)) == len(titles)


def test_what_is_wrong_is_not_timed() -> None:
    right = [torch.ones(3, dtype=torch.float64)]
    assert difference([torch.full((3,), 1.5)], right) == 0.5
    for wrong in (1.1, torch.nan):
        assert not difference([torch.full((3,), wrong)], right) <= max(TOLERANCES.values())


def test_tf32_is_what_layers_ask_for() -> None:
    for allowed in (True, False):
        allow_tf32(allowed=allowed)
        assert (torch.backends.cuda.matmul.fp32_precision == "tf32") is allowed
        assert (torch.backends.cudnn.rnn.fp32_precision == "tf32") is allowed


def test_the_command_writes_what_it_measures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By kernels in the interpreter, which nobody needs to ask for."""
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    out = tmp_path / "gpu.json"
    gpu.main(["--quick", "--only", "layers,scan", "--out", str(out)])
    result = json.loads(out.read_text())
    assert result["left_out"] == []
    assert result["prepared"]["errors"] == []
    assert {section: len(records) for section, records in result["sections"].items()} == {"layers": 1, "scan": 1}
    assert "triton" in result["sections"]["layers"][0]["runs"]


def test_a_quick_run_leaves_the_numbers_of_a_gpu_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "RESULT", tmp_path / "gpu.json")
    monkeypatch.setattr(Worker, "measure", lambda self, job, seconds: {"name": "a GPU"})
    gpu.main(["--quick", "--only", "scan"])
    assert not list(tmp_path.iterdir())


def test_nothing_begins_when_the_time_is_over() -> None:
    left_out: list[str] = []
    worker = Worker(quick=True)
    assert list(gpu.measured(worker, "scan", quick=True, end=time.monotonic() - 1, left_out=left_out)) == []
    assert left_out == ["scan: scan of 2 rows, 16 units, 5 steps, float32"]


def test_a_section_that_hangs_twice_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    worker, left_out = Worker(quick=True), list[str]()
    monkeypatch.setattr(gpu, "cases", lambda section, quick: ["a", "b", "c"])
    monkeypatch.setattr(worker, "measure", lambda job, seconds: {"error": f"{gpu_worker.NO_ANSWER} in 1 second"})
    records = gpu.measured(worker, "forms", quick=True, end=time.monotonic() + 60, left_out=left_out)
    assert [record["case"] for record in records] == ["a", "b"]
    assert left_out == ["forms: c"]


def test_a_process_that_dies_or_hangs_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_worker, "serve", dying_worker.serve)
    monkeypatch.setattr(gpu_worker, "START_SECONDS", 60.0)
    worker = Worker(quick=True)
    try:
        assert worker.measure(("layers", 0, False), 0.1) == {"error": "the process ended by itself, with code 3"}
        worker.measure(("layers", 3, False), 0.1)
        hung = worker.measure(("layers", 1, False), 0.5)
        assert hung == {"error": "no answer in 0 seconds: the process was ended"}
        spoilt, first, second = (worker.measure(("layers", number, False), 30.0)["pid"] for number in (2, 3, 4))
        assert spoilt != first == second
    finally:
        worker.stop()


def test_errors_are_records(on: BenchmarkDevice) -> None:
    assert answer(("layers", 99, False), on) == {"error": "IndexError: list index out of range"}


def test_without_a_gpu_nothing_is_timed(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="there is no GPU that torch can use: --quick tries everything"):
        gpu.main(["--out", str(tmp_path / "gpu.json")])
    assert not list(tmp_path.iterdir())
