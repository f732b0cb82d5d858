"""Kernels on several threads: by rows and by units, the results are those of one thread, to the bit."""

import os
import threading
from collections.abc import Callable, Iterator
from itertools import cycle

import numpy as np
import pytest

import gatewright as gw
from gatewright.backends.llvm.codegen.kernels import LOOP, Kernels
from gatewright.backends.llvm.jit.target import named
from gatewright.backends.llvm.parallel import work_partition as division
from gatewright.backends.llvm.parallel.region import Meeting
from gatewright.backends.llvm.parallel.work_partition import divide, is_small
from gatewright.backends.llvm.runtime import runner
from gatewright.backends.llvm.runtime.engine import Engine
from gatewright.schedule.plan import plan
from gatewright.trace import Trace
from tests.backends.llvm.dividing import Divide, by_rows, by_units
from tests.backends.llvm.engines import engine, leaves, run, sizes_of
from tests.backends.llvm.runtime.test_engine import given_for, pair_of

NAMES = [
    "gru", 'gru(reset="after")', "lstm", "lstm_peephole", "mingru", "indrnn", "sru", "slstm", "layer_norm(gru)",
    "hgrn(learned_bound=True)", "layer_norm(lstm)", "lstm_projected", "fastgrnn_low_rank", "masked(lstm_projected)",
]  # fmt: skip


@pytest.fixture
def as_one_likes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Divide, Engine], None]]:
    """Have the runs of an engine divided in a way that the prices would not choose."""
    changed: list[Engine] = []
    monkeypatch.setattr(runner, "is_small", lambda kernels, lines: False)
    monkeypatch.setattr(runner.crowd, "keeps_apart", lambda: False)  # other tests may run at the same time

    def use(divide: Divide, one: Engine) -> None:
        monkeypatch.setattr(runner, "divide", divide)
        one._runners.clear()
        changed.append(one)

    yield use
    gw.set_num_threads(None)
    for one in changed:
        one._runners.clear()


@pytest.mark.parametrize("shape", [(4, 17, 16, 16), (3, 1, 33, 70), (5, 3, 5, 33)])
@pytest.mark.parametrize("way", [by_rows, by_units])
@pytest.mark.parametrize("name", NAMES)
def test_results_do_not_depend_on_threads(
    name: str, way: Divide, shape: tuple[int, int, int, int], as_one_likes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "_PATIENCE", (10**7, 10**7))  # the others come: the parts are as many as are wanted
    for trace in pair_of(name):
        given = given_for(trace, shape)
        gw.set_num_threads(1)
        want = leaves(run(given))
        as_one_likes(way, engine(given))
        for threads in (2, 3, 4):
            gw.set_num_threads(threads)
            for _ in range(3):
                assert all(np.array_equal(a, b) for a, b in zip(want, leaves(run(given)), strict=True))


def test_a_run_with_fewer_members_than_are_wanted_is_the_same(as_one_likes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody comes, or not everybody: those who are there do the parts of all."""
    given = given_for(pair_of("gru")[1], (3, 1, 33, 70))
    want = leaves(run(given))
    as_one_likes(by_units, engine(given))
    gw.set_num_threads(4)
    members = cycle(range(4))

    def with_few(meeting: Meeting, threads: int) -> bool:
        assert threads == 4
        number = next(members)
        if not number:
            return False  # the pool is taken
        helpers = [threading.Thread(target=meeting.join) for _ in range(number - 1)]
        meeting.expect(number if number < 3 else 4)  # a fourth never comes
        for each in helpers:
            each.start()
        meeting.join()
        meeting.settle()
        for each in helpers:
            each.join(timeout=30)
        return True

    monkeypatch.setattr(runner, "run_together", with_few)
    monkeypatch.setattr(runner, "_PATIENCE", (10**5, 10**5))
    for _ in range(12):
        assert all(np.array_equal(a, b) for a, b in zip(want, leaves(run(given)), strict=True))


def test_who_comes_after_it_is_settled_does_nothing(as_one_likes, monkeypatch: pytest.MonkeyPatch) -> None:
    given = given_for(pair_of("lstm")[0], (3, 1, 33, 70))
    want = leaves(run(given))
    as_one_likes(by_units, engine(given))
    gw.set_num_threads(2)
    late: list[Meeting] = []

    def alone(meeting: Meeting, threads: int) -> bool:
        meeting.settle()
        meeting.join()
        late.append(meeting)
        return False

    monkeypatch.setattr(runner, "run_together", alone)
    assert all(np.array_equal(a, b) for a, b in zip(want, leaves(run(given)), strict=True))
    assert [meeting._words.finished[0] for meeting in late] == [0]


def test_two_threads_may_run_one_engine_on_several_threads(as_one_likes) -> None:
    givens = [given_for(pair_of("gru")[0], (3, 1, 33, 70), seed) for seed in range(2)]
    want = [leaves(run(given)) for given in givens]
    as_one_likes(by_units, engine(givens[0]))
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
def test_a_forked_process_runs_on_threads_of_its_own(as_one_likes) -> None:
    given = given_for(pair_of("gru")[0], (3, 1, 33, 70))
    want = leaves(run(given))
    as_one_likes(by_units, engine(given))
    gw.set_num_threads(2)
    run(given)
    for _ in range(3):
        process = os.fork()
        if process == 0:
            same = all(np.array_equal(a, b) for a, b in zip(want, leaves(run(given)), strict=True))
            os._exit(0 if same else 1)
        _, status = os.waitpid(process, 0)
        assert os.waitstatus_to_exitcode(status) == 0


# What is chosen


def kernels_of(trace: Trace, hidden: int, rows: int, lines: int) -> Kernels:
    return Kernels(plan(trace), sizes_of(trace, hidden, hidden), "float32", named("x86-64-v4"), False, rows, lines)


@pytest.mark.parametrize(
    ("name", "before", "at_end"),
    [
        ("gru", {1}, True),  # the reset state is whole before it is multiplied, and read before the next is stored
        ('gru(reset="after")', set(), True),
        ("lstm", set(), True),
        ("lstm_peephole", set(), True),
        ("mingru", set(), False),  # units recur each by itself
        ("indrnn", set(), False),
        ("sru", set(), False),
        ("layer_norm(gru)", None, True),
    ],
)
def test_where_threads_that_share_units_meet(name: str, before: set[int] | None, at_end: bool) -> None:
    shared = kernels_of(pair_of(name)[0], 64, 1, 64).shared[LOOP]
    assert shared.at_end == at_end
    if before is None:
        assert len(shared.before) > 2
        assert shared.in_rows
    else:
        assert shared.before == before
        assert not shared.in_rows


def told(name: str, shape: tuple[int, int, int], threads: int = 4, *, gradient: bool = False) -> str:
    steps, batch, hidden = shape
    kernels = kernels_of(pair_of(name)[gradient], hidden, min(batch, 64), 64 if steps * batch >= 64 else 1)
    return str(divide(kernels, (steps, batch), threads, steps * batch))


def test_rows_are_divided_where_there_are_enough_and_units_where_not() -> None:
    assert told("gru", (100, 64, 128)) == "before: rows over 4, loop: rows over 4"
    assert told("gru", (100, 1, 512)).endswith(", loop: units over 4")
    assert told("mingru", (4096, 1, 256)).endswith(", loop: units over 4")
    assert told("gru", (1, 1, 1024), 2) == "before: units over 2, loop: units over 2"
    assert told("gru", (100, 1, 512), gradient=True).startswith("loop: units over 4, after: ")
    assert told("gru", (100, 1, 512), gradient=True).endswith("over 4, sums: over 4")


def test_what_is_small_runs_on_one_thread() -> None:
    assert told("gru", (100, 1, 32)) == "before: one thread, loop: one thread"
    assert told("gru", (1, 16, 64)) == "before: one thread, loop: one thread"
    assert is_small(kernels_of(pair_of("gru")[0], 64, 16, 16), 16)
    assert not is_small(kernels_of(pair_of("gru")[0], 512, 1, 64), 100)


def test_so_many_threads_as_are_worth_it() -> None:
    kernels = kernels_of(pair_of("gru")[0], 128, 64, 64)
    found = {lines: divide(kernels, (1, lines), 64, lines).threads for lines in (16, 32, 64, 128, 256, 10_000)}
    assert list(found.values()) == sorted(found.values())
    assert found[16] == 1
    assert 1 < found[64] < 64
    assert found[10_000] == 64


def test_prices_say_what_is_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(division, "WORTH_A_MEETING", 10**9)
    assert told("gru", (100, 1, 512)) == "before: one thread, loop: one thread"
    monkeypatch.setattr(division, "WORTH_A_MEETING", 1)
    monkeypatch.setattr(division, "WORTH_A_THREAD", 1)
    assert told("gru", (5, 1, 128), 2).endswith(", loop: units over 2")
