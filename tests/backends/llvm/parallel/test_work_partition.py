"""Which partition is chosen, and that costs decide it."""

import pytest

from gatewright.backends.llvm.codegen.kernels import Kernels
from gatewright.backends.llvm.jit.target import target_named
from gatewright.backends.llvm.parallel import work_partition
from gatewright.backends.llvm.parallel.work_partition import partition_work
from gatewright.schedule.plan import plan
from gatewright.trace import Trace
from tests.backends.llvm.engines import sizes_of
from tests.backends.llvm.runtime.test_engine import pair_of


def kernels_of(trace: Trace, hidden: int, rows: int, lines: int) -> Kernels:
    return Kernels(
        plan(trace), sizes_of(trace, hidden, hidden), "float32", target_named("x86-64-v4"), False, rows, lines
    )


def partition_of(name: str, shape: tuple[int, int, int], threads: int = 4, *, gradient: bool = False) -> str:
    steps, batch, hidden = shape
    kernels = kernels_of(pair_of(name)[gradient], hidden, min(batch, 64), 64 if steps * batch >= 64 else 1)
    return str(partition_work(kernels.cost, (steps, batch), threads, steps * batch))


def test_rows_are_shared_where_there_are_enough_and_units_where_not() -> None:
    assert partition_of("gru", (100, 64, 128)) == "before: rows over 4, loop: rows over 4"
    assert partition_of("gru", (100, 1, 512)).endswith(", loop: units over 4")
    assert partition_of("mingru", (4096, 1, 256)).endswith(", loop: units over 4")
    assert partition_of("gru", (1, 1, 1024), 2) == "before: units over 2, loop: units over 2"
    assert partition_of("gru", (100, 1, 512), gradient=True).startswith("loop: units over 4, after: ")
    assert partition_of("gru", (100, 1, 512), gradient=True).endswith("over 4, sums: over 4")


def test_what_is_small_runs_on_one_thread() -> None:
    assert partition_of("gru", (100, 1, 32)) == "before: one thread, loop: one thread"
    assert partition_of("gru", (1, 16, 64)) == "before: one thread, loop: one thread"
    assert kernels_of(pair_of("gru")[0], 64, 16, 16).cost.is_small(16)
    assert not kernels_of(pair_of("gru")[0], 512, 1, 64).cost.is_small(100)


def test_so_many_threads_as_are_worth_it() -> None:
    cost = kernels_of(pair_of("gru")[0], 128, 64, 64).cost
    threads = {lines: partition_work(cost, (1, lines), 64, lines).threads for lines in (16, 32, 64, 128, 256, 10_000)}
    assert list(threads.values()) == sorted(threads.values())
    assert threads[16] == 1
    assert 1 < threads[64] < 64
    assert threads[10_000] == 64


def test_costs_say_what_is_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_partition, "BARRIER_COST", 10**9)
    assert partition_of("gru", (100, 1, 512)) == "before: one thread, loop: one thread"
    monkeypatch.setattr(work_partition, "BARRIER_COST", 1)
    monkeypatch.setattr(work_partition, "THREAD_COST", 1)
    assert partition_of("gru", (5, 1, 128), 2).endswith(", loop: units over 2")
