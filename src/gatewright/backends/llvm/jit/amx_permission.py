"""Asks Linux for the tiles of AMX: a process that uses them without asking is ended."""

import ctypes
import errno
import os
from functools import cache
from typing import Any

_ARCH_PRCTL = 158  # the number of the system call on x86-64
_REQUEST_PERMISSION = 0x1023
_TILE_DATA = 18  # the part of the processor's state that is asked for


@cache
def request_tiles() -> str:
    """Ask for this process, all of its threads and those that it forks, once. Returns the reason of a refusal, else an
    empty text.

    Linux refuses where it is too old, where a filter forbids the call, and where a thread's stack for signals has no
    room for the tiles.
    """
    return requested(_system_call)


def requested(call: Any) -> str:
    """The same by another function than the C library's `syscall`."""
    try:
        code = call(*map(ctypes.c_long, (_ARCH_PRCTL, _REQUEST_PERMISSION, _TILE_DATA)))
    except (OSError, AttributeError) as error:
        return f"the system cannot be asked for tiles: {error}"
    if code == 0:
        return ""
    number = ctypes.get_errno()
    return f"Linux refuses tiles: {errno.errorcode.get(number, number)}, {os.strerror(number)}"


def _system_call(*arguments: Any) -> int:
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    return call(*arguments)
