"""Command lists: kernel calls that are made in order, without Python in between."""

import ctypes
import gc
import weakref

import numpy as np
import pytest

from gatewright.backends.llvm.runtime.command_list import CommandList, MemoryCopy

KEEPS_LOCK = 4  # ctypes marks functions of Python's own interface by it


def buffers(*values: int) -> list[ctypes.c_int64]:
    return [ctypes.c_int64(value) for value in values]


def copy(target: ctypes.c_int64, source: ctypes.c_int64) -> MemoryCopy:
    return MemoryCopy(ctypes.addressof(target), ctypes.addressof(source), 8)


@pytest.mark.parametrize("keep_lock", [False, True])
def test_a_command_list_is_done_in_order(keep_lock: bool) -> None:
    a, b, c = buffers(1, 2, 3)
    commands = CommandList([copy(a, b), copy(b, c), copy(c, a)], keep_lock=keep_lock, keep=[])
    commands.perform()
    assert [one.value for one in (a, b, c)] == [2, 3, 2]
    assert bool(commands.perform._flags_ & KEEPS_LOCK) is keep_lock


def test_a_command_list_of_nothing_does_nothing() -> None:
    a, b = buffers(1, 2)
    CommandList([], keep_lock=True, keep=[a, b]).perform()
    assert (a.value, b.value) == (1, 2)


def test_command_lists_do_not_share_what_they_are_bound_to() -> None:
    a, b, c = buffers(1, 2, 3)
    first = CommandList([copy(a, b)], keep_lock=True, keep=[])
    second = CommandList([copy(b, c)], keep_lock=True, keep=[])
    first.perform()
    assert (a.value, b.value) == (2, 2)
    second.perform()
    first.perform()
    assert (a.value, b.value) == (3, 3)


@pytest.mark.parametrize("times", [0, 1, 5])
def test_a_command_list_is_repeated_over_rows(times: int) -> None:
    into, out = buffers(0, 0)
    sources, targets = np.arange(1, times + 1), np.zeros(times + 1, "int64")
    commands = CommandList([copy(out, into)], keep_lock=True, keep=[])
    addresses = ctypes.addressof(into), sources.ctypes.data, 8, targets.ctypes.data, ctypes.addressof(out), 8
    commands.repeat(times, *addresses)
    np.testing.assert_array_equal(targets, [*sources, 0])


@pytest.mark.parametrize("keep_lock", [False, True])
def test_what_a_command_list_calls_lives_as_long_as_its_functions(keep_lock: bool) -> None:
    a, b = buffers(1, 2)
    kept = np.zeros(1)
    perform = CommandList([copy(a, b)], keep_lock=keep_lock, keep=[kept]).perform
    watched = weakref.ref(kept)
    del kept
    gc.collect()
    perform()
    assert (a.value, watched() is not None) == (2, True)
    del perform
    gc.collect()
    assert watched() is None
