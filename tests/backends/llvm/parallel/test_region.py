"""Kernels on several threads: by rows and by units, the results are those of one thread, to the bit."""

import os
import threading
from collections.abc import Callable, Iterator
from itertools import cycle

import numpy as np
import pytest

import gatewright as gw
from gatewright.backends.llvm.jit.target import host
from gatewright.backends.llvm.parallel.region import ParallelRegion
from gatewright.backends.llvm.parallel.work_partition import RunCost
from gatewright.backends.llvm.runtime import runner
from gatewright.backends.llvm.runtime.engine import Engine
from gatewright.trace import simplify, trace_cell
from tests.backends.llvm.emulated_amx import EmulatedAmx
from tests.backends.llvm.engines import On, engine, leaves, run
from tests.backends.llvm.parallel.test_unit_partition import activated_state
from tests.backends.llvm.partitions import PartitionWork, by_rows, by_units
from tests.backends.llvm.runtime.test_engine import given_for, pair_of

NAMES = [
    "gru", 'gru(reset="after")', "lstm", "lstm_peephole", "mingru", "indrnn", "sru", "slstm", "layer_norm(gru)",
    "hgrn(learned_bound=True)", "layer_norm(lstm)", "lstm_projected", "fastgrnn_low_rank", "masked(lstm_projected)",
]  # fmt: skip


@pytest.fixture
def partitioned(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[PartitionWork, Engine], None]]:
    """Have the runs of an engine partitioned in a way that costs would not choose."""
    changed: list[Engine] = []
    monkeypatch.setattr(RunCost, "is_small", lambda cost, lines: False)
    monkeypatch.setattr(runner.contention, "runs_alone", lambda: False)  # other tests may run at the same time

    def use(way: PartitionWork, one: Engine) -> None:
        monkeypatch.setattr(runner, "partition_work", way)
        one.runners.clear()
        changed.append(one)

    yield use
    gw.set_num_threads(None)
    for one in changed:
        one.runners.clear()


@pytest.mark.parametrize("shape", [(4, 17, 16, 16), (3, 1, 33, 70), (5, 3, 5, 33)])
@pytest.mark.parametrize("way", [by_rows, by_units])
@pytest.mark.parametrize("name", NAMES)
def test_results_do_not_depend_on_threads(
    name: str, way: PartitionWork, shape: tuple[int, int, int, int], partitioned, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "SPIN_LIMITS", (10**7, 10**7))  # the others come: the parts are as many as are wanted
    for trace in pair_of(name):
        given = given_for(trace, shape)
        gw.set_num_threads(1)
        want = leaves(run(given))
        partitioned(way, engine(given))
        for threads in (2, 3, 4):
            gw.set_num_threads(threads)
            for _ in range(3):
                assert all(np.array_equal(a, b) for a, b in zip(want, leaves(run(given)), strict=True))


@pytest.mark.parametrize("shape", [(4, 17, 17, 16), (3, 1, 33, 70), (300, 3, 5, 20)])
@pytest.mark.parametrize("way", [by_rows, by_units])
@pytest.mark.parametrize("name", ["gru", "lstm", "lstm_projected"])
def test_products_in_bfloat16_do_not_depend_on_threads(
    name: str, way: PartitionWork, shape: tuple[int, int, int, int], partitioned, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads that share units round operands for one another. Sums are over pairs of lines, odd numbers too."""
    monkeypatch.setattr(runner, "SPIN_LIMITS", (10**7, 10**7))
    on = On(products="bfloat16")
    for trace in pair_of(name):
        given = given_for(trace, shape)
        gw.set_num_threads(1)
        want = leaves(run(given, on))
        partitioned(way, engine(given, on))
        for threads in (2, 3):
            gw.set_num_threads(threads)
            for _ in range(3):
                assert all(np.array_equal(a, b) for a, b in zip(want, leaves(run(given, on)), strict=True))


@pytest.mark.skipif(not host().has_bfloat16_dot, reason="vectors are rounded by AVX512_BF16")
@pytest.mark.parametrize("way", [by_rows, by_units])
def test_products_by_amx_do_not_depend_on_threads(
    way: PartitionWork, partitioned, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every thread has tiles of its own, and configures them itself."""
    monkeypatch.setattr(runner, "SPIN_LIMITS", (10**7, 10**7))
    on = On(products="bfloat16", amx=EmulatedAmx)
    for trace in pair_of("gru"):
        given = given_for(trace, (3, 40, 17, 40))
        gw.set_num_threads(1)
        want = leaves(run(given, on))
        partitioned(way, engine(given, on))
        for threads in (2, 3):
            gw.set_num_threads(threads)
            assert all(np.array_equal(a, b) for a, b in zip(want, leaves(run(given, on)), strict=True))


def test_a_buffer_of_one_step_is_read_by_all_before_it_is_stored_again(
    partitioned, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing but that buffer makes the threads of this cell wait for one another at the end of a step."""
    monkeypatch.setattr(runner, "SPIN_LIMITS", (10**7, 10**7))
    given = given_for(simplify(trace_cell(activated_state)), (60, 1, 33, 300))
    gw.set_num_threads(1)
    want = leaves(run(given))
    partitioned(by_units, engine(given))
    gw.set_num_threads(2)
    for _ in range(20):
        assert all(np.array_equal(a, b) for a, b in zip(want, leaves(run(given)), strict=True))


def test_a_run_with_fewer_members_than_are_expected_is_the_same(partitioned, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody comes, or not everybody: those who are there do the parts of all."""
    given = given_for(pair_of("gru")[1], (3, 1, 33, 70))
    want = leaves(run(given))
    partitioned(by_units, engine(given))
    gw.set_num_threads(4)
    members = cycle(range(4))

    def with_few(region: ParallelRegion, threads: int) -> bool:
        assert threads == 4
        number = next(members)
        if not number:
            return False  # the pool is taken
        helpers = [threading.Thread(target=region.join) for _ in range(number - 1)]
        region.expect(number if number < 3 else 4)  # a fourth never comes
        for each in helpers:
            each.start()
        region.join()
        region.close()
        for each in helpers:
            each.join(timeout=30)
        return True

    monkeypatch.setattr(runner, "run_region", with_few)
    monkeypatch.setattr(runner, "SPIN_LIMITS", (10**5, 10**5))
    for _ in range(12):
        assert all(np.array_equal(a, b) for a, b in zip(want, leaves(run(given)), strict=True))


def test_who_comes_after_it_is_closed_does_nothing(partitioned, monkeypatch: pytest.MonkeyPatch) -> None:
    given = given_for(pair_of("lstm")[0], (3, 1, 33, 70))
    want = leaves(run(given))
    partitioned(by_units, engine(given))
    gw.set_num_threads(2)
    late: list[ParallelRegion] = []

    def alone(region: ParallelRegion, threads: int) -> bool:
        region.close()
        region.join()
        late.append(region)
        return False

    monkeypatch.setattr(runner, "run_region", alone)
    assert all(np.array_equal(a, b) for a, b in zip(want, leaves(run(given)), strict=True))
    assert [region.memory.finished[0] for region in late] == [0]


def test_two_threads_may_run_one_engine_on_several_threads(partitioned) -> None:
    givens = [given_for(pair_of("gru")[0], (3, 1, 33, 70), seed) for seed in range(2)]
    want = [leaves(run(given)) for given in givens]
    partitioned(by_units, engine(givens[0]))
    gw.set_num_threads(2)
    wrong: list[int] = []
    ended: list[int] = []

    def call(index: int) -> None:
        for turn in range(500):
            got = leaves(run(givens[index]))
            wrong.extend(turn for a, b in zip(got, want[index], strict=True) if not np.array_equal(a, b))
        ended.append(index)

    callers = [threading.Thread(target=call, args=(index,)) for index in range(2)]
    for each in callers:
        each.start()
    for each in callers:
        each.join(timeout=120)
    assert sorted(ended) == [0, 1]
    assert wrong == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_forked_process_runs_on_threads_of_its_own(partitioned) -> None:
    given = given_for(pair_of("gru")[0], (3, 1, 33, 70))
    want = leaves(run(given))
    partitioned(by_units, engine(given))
    gw.set_num_threads(2)
    run(given)
    for _ in range(3):
        process = os.fork()
        if process == 0:
            same = all(np.array_equal(a, b) for a, b in zip(want, leaves(run(given)), strict=True))
            os._exit(0 if same else 1)
        _, status = os.waitpid(process, 0)
        assert os.waitstatus_to_exitcode(status) == 0
