"""The machine for PTX finds each hazard, and nothing where there is none."""

import random

import numpy as np
import pytest

from tests.backends.triton.ptx.instructions import code_of
from tests.backends.triton.ptx.machine import Cells, GlobalArray, HazardError, Launch

KERNEL = """
.visible .entry small(
    .param .u64 small_param_0
)
{{
    .reg .b32 %r<9>;
    ld.param.b64 %rd1, [small_param_0];
    mov.u32 %r1, %tid.x;
    mov.u32 %r2, %ctaid.x;
    xor.b32 %r3, %r1, 32;  // the thread of the other warp
    shl.b32 %r4, %r1, 2;
    shl.b32 %r5, %r3, 2;
    mul.wide.u32 %rd2, %r1, 4;
    mul.wide.u32 %rd3, %r3, 4;
    add.s64 %rd4, %rd1, %rd2;
    add.s64 %rd5, %rd1, %rd3;
    setp.lt.u32 %p1, %r1, 7;
    {}
    ret;
}}
"""
OWN_THEN_OTHER = "st.{0} [{1}], %r1; {3} ld.{0} %r6, [{2}]; {4} st.global.b32 [ %rd4 + 0 ], %r6;"
SHARED = OWN_THEN_OTHER.replace("{0}", "shared.b32").replace("{1}", "%r4").replace("{2}", "%r5")
GLOBAL = OWN_THEN_OTHER.replace("{0}", "global.b32").replace("{1}", "%rd4").replace("{2}", "%rd5")
BARRIER = "bar.sync 0;"
COPY = "cp.async.ca.shared.global [ %r4 + 0 ], [ %rd4 + 0 ], 0x4; cp.async.commit_group; {0} " + BARRIER
COPIED = COPY + " ld.shared.b32 %r6, [%r5]; bar.sync 0; st.global.b32 [%rd4], %r6;"


def run(body: str, programs: int = 1, *, early: bool = False) -> np.ndarray:
    """What 64 threads leave in an array that holds 100, 101, ..."""
    numbers = np.arange(100, 164, dtype=np.int32)
    memory = numbers.view(np.uint8)
    array = GlobalArray("numbers", 4096, memory, Cells(len(memory)))
    code = code_of(KERNEL.format(body), 256)
    order = random.Random(0)
    Launch(code, [array], (programs, 1, 1), {"small_param_0": 4096}, 2, early, waits=False, order=order).run()
    return numbers


def test_warps_may_store_bytes_side_by_side() -> None:
    places = "and.b32 %r6, %r1, 32; shr.u32 %r7, %r6, 5; st.shared.b8 [%r7], %r7; bar.sync 0; "
    assert (run(places + "ld.shared.b8 %r6, [0]; st.global.b32 [%rd4], %r6;") == 0).all()
    assert (run(places + "ld.shared.b8 %r6, [1]; st.global.b32 [%rd4], %r6;") == 1).all()


def test_threads_that_wait_for_each_other() -> None:
    others = [*range(32, 64), *range(32)]
    assert run(SHARED.replace("{3}", BARRIER).replace("{4}", "")).tolist() == others
    assert run(GLOBAL.replace("{3}", BARRIER).replace("{4}", BARRIER)).tolist() == others
    for early in (False, True):
        copied = run(COPIED.format("cp.async.wait_group 0x0;"), early=early)
        assert copied.tolist() == [100 + other for other in others]


@pytest.mark.parametrize(
    ("body", "hazard"),
    [
        (SHARED.replace("{3}", "").replace("{4}", ""), "shared memory: warp . (reads|stores) what another one"),
        (GLOBAL.replace("{3}", "").replace("{4}", BARRIER), "numbers: warp . (reads|stores) what another one"),
        (GLOBAL.replace("{3}", BARRIER).replace("{4}", ""), "numbers: warp . (reads|stores) what another one"),
        ("ld.global.b32 %r6, [%rd4 + 252];", "belong to no array"),
        ("ld.global.v2.b32 {%r6, %r7}, [%rd4];", "an access of 8 bytes is not aligned"),
        ("ld.shared.b32 %r6, [%r4 + 4];", "shared memory has 256 bytes; an address is 256"),
        ("@%p1 bra $end; $end: mov.u32 %r6, 0;", "lanes of a warp branch differently"),
        ("setp.lt.u32 %p2, %r1, 32; @%p2 bra $end; bar.sync 0; $end: mov.u32 %r6, 0;", "a warp has ended while others"),
    ],
)
def test_hazards_are_found(body: str, hazard: str) -> None:
    with pytest.raises(HazardError, match=hazard):
        run(body)


def test_a_copy_that_nobody_waits_for_has_not_arrived() -> None:
    numbers = run(COPIED.format(""))
    assert (numbers == -1).all()  # the bits of shared memory before it is written


@pytest.mark.parametrize(
    ("body", "hazard"),
    [
        ("st.global.b32 [%rd4], %r2;", "program . stores what another one"),
        ("ld.global.b32 %r6, [%rd4]; st.global.b32 [%rd4], %r2;", "program . (reads|stores) what another one"),
    ],
)
def test_programs_do_not_wait_for_each_other(body: str, hazard: str) -> None:
    with pytest.raises(HazardError, match=hazard):
        run(body, programs=2)
    assert (run(body) == 0).all()
