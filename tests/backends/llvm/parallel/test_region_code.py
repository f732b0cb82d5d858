"""What the members of a region call, and in which order: kernels in Python take the place of compiled ones."""

import ctypes
import threading
import time
from collections.abc import Callable

import pytest

from gatewright.backends.llvm.codegen.kernels import PASS
from gatewright.backends.llvm.jit.machine_code import address_of
from gatewright.backends.llvm.parallel.region import ParallelRegion, PhaseList
from gatewright.backends.llvm.parallel.region_code import RegionPhase

SIGNATURE = ctypes.CFUNCTYPE(None, *PASS)
Span = tuple[int, int]


def kernel(done: Callable[[int, int], None]) -> Callable[..., None]:
    """A kernel that is told its rows."""

    def call(table: int, steps: int, batch: int, first: int, last: int, context: int, adds: int) -> None:
        done(first, last)

    return SIGNATURE(call)


def run(
    phases: list[RegionPhase], members: int, *, pack: Callable[..., None] | None = None, groups: int = 0
) -> ParallelRegion:
    """Run a region with so many members."""
    packing = (address_of(pack), groups) if pack else (0, 0)
    region = ParallelRegion(PhaseList(phases, members), (0,), 1, packing, 10**8, 10, (ctypes.c_int64 * 4)(0, 1, 5, 10))
    region.expect(members)
    helpers = [threading.Thread(target=region.join) for _ in range(members - 1)]
    for helper in helpers:
        helper.start()
    region.join()
    region.close()
    for helper in helpers:
        helper.join(timeout=30)
        assert not helper.is_alive()
    return region


@pytest.mark.parametrize(
    ("fields", "members", "spans"),
    [
        ({"size": 10, "multiple": 1, "parts": 2}, 2, [(0, 5), (5, 10)]),
        ({"size": 10, "multiple": 4, "parts": 2}, 2, [(0, 4), (4, 10)]),  # what is left over goes to the last
        ({"size": 10, "multiple": 4, "parts": 3}, 3, [(0, 4), (4, 10)]),
        ({"size": 10, "multiple": 1, "parts": 1}, 3, [(0, 10)]),
        ({"size": 10, "multiple": 1, "parts": 4}, 2, [(0, 5), (5, 10)]),  # fewer members than parts
        ({"size": -1, "multiple": 1, "parts": 2}, 2, [(0, 5), (5, 10)]),  # all lines of the region
        ({"size": 10, "multiple": 1, "parts": 3, "pieces": 3}, 3, [(0, 1), (1, 5), (5, 10)]),  # cut at the edges
        ({"size": 10, "multiple": 1, "parts": 3, "pieces": 3}, 2, [(0, 1), (1, 10)]),
        ({"size": 10, "parts": 2, "by_units": 1}, 2, [(0, 10), (0, 10)]),
        ({"size": 0, "multiple": 1, "parts": 2}, 2, []),
    ],
)
def test_how_a_phase_is_cut(fields: dict[str, int], members: int, spans: list[Span]) -> None:
    seen: list[Span] = []
    called = kernel(lambda first, last: seen.append((first, last)))
    run([RegionPhase(kernel=address_of(called), **fields)], members)
    assert sorted(seen) == spans


def test_phases_in_turn_go_to_one_member_after_the_other() -> None:
    callers: list[int] = []
    called = kernel(lambda first, last: callers.append(threading.get_ident()))
    phases = [
        RegionPhase(kernel=address_of(called), size=1, multiple=1, parts=1, turn=turn, barrier=1) for turn in range(3)
    ]
    run(phases, 3)
    assert len(set(callers)) == 3


@pytest.mark.parametrize(("groups", "pieces"), [(5, [1, 1, 1, 1, 1]), (9, [2, 2, 2, 2, 1])])
def test_no_member_computes_before_all_matrices_are_packed(groups: int, pieces: list[int]) -> None:
    packed: list[Span] = []
    seen: list[int] = []

    def slowly(first: int, last: int) -> None:
        time.sleep(0.02)
        packed.append((first, last))

    pack, called = kernel(slowly), kernel(lambda first, last: seen.append(sum(b - a for a, b in packed)))
    run([RegionPhase(kernel=address_of(called), size=2, multiple=1, parts=2)], 2, pack=pack, groups=groups)
    assert seen == [groups, groups]
    assert [last - first for first, last in sorted(packed)] == pieces


@pytest.mark.parametrize("barrier", [0, 1])
def test_members_wait_for_one_another_where_a_barrier_is(barrier: int) -> None:
    """Without one, the member with nothing to do in the first phase is in the second one at once."""
    order: list[str] = []
    entered = threading.Event()

    def first_phase(first: int, last: int) -> None:
        entered.wait(timeout=0.2 if barrier else 30)
        order.append("first")

    def second_phase(first: int, last: int) -> None:
        order.append("second")
        entered.set()

    one, two = kernel(first_phase), kernel(second_phase)
    run(
        [
            RegionPhase(kernel=address_of(one), size=1, multiple=1, parts=1, barrier=barrier),
            RegionPhase(kernel=address_of(two), size=2, multiple=1, parts=2),
        ],
        2,
    )
    assert order == (["first", "second", "second"] if barrier else ["second", "first", "second"])


def test_a_region_is_closed_when_all_members_are_done() -> None:
    caller, ended = threading.get_ident(), list[bool]()

    def slowly(first: int, last: int) -> None:
        time.sleep(0 if threading.get_ident() == caller else 0.2)
        ended.append(True)

    called = kernel(slowly)
    phases = PhaseList([RegionPhase(kernel=address_of(called), size=2, multiple=1, parts=2)], 2)
    region = ParallelRegion(phases, (0,), 1, (0, 0), 10**8, 0)
    region.expect(2)
    helper = threading.Thread(target=region.join)
    helper.start()
    region.join()
    region.close()
    assert ended == [True, True]
    helper.join(timeout=30)


def test_useful_time_is_without_what_members_wait_for_one_another() -> None:
    """One member computes, the other waits for it at a barrier, which uses its processor as much."""

    def computes(first: int, last: int) -> None:
        began = time.thread_time()
        while first == 0 and time.thread_time() - began < 0.2:
            pass

    called = kernel(computes)
    phase = RegionPhase(kernel=address_of(called), size=2, multiple=1, parts=2, barrier=1)
    region = run([phase], 2)
    useful = region.useful_seconds()
    assert useful is not None
    assert 0.19 < useful < 0.3
