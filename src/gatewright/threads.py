"""How many threads kernels use."""

import os
import sys
from collections.abc import Callable

from gatewright.errors import OptionError


class _Setting:
    """The number that was set."""

    threads: int | None = None


def set_num_threads(threads: int | None) -> None:
    """Set how many threads kernels use; None follows PyTorch or the machine again.

    Results do not depend on it. Raises OptionError unless it is None or a whole number from 1 up.
    """
    if threads is not None and (type(threads) is not int or threads < 1):
        raise OptionError(
            "set_num_threads was given a number of threads that cannot be",
            expected="a whole number from 1 up, or None for the default",
            got=repr(threads),
        )
    _Setting.threads = threads


def get_num_threads() -> int:
    """How many threads kernels use.

    That is the number that was set; else PyTorch's, where PyTorch is loaded; else the first number in
    OMP_NUM_THREADS; else the processors that this process may run on.
    """
    if _Setting.threads is not None:
        return _Setting.threads
    threads_of_torch = getattr(sys.modules.get("torch"), "get_num_threads", None)
    return threads_of_torch() if threads_of_torch else _threads_of_environment() or processors()


def _threads_of_environment() -> int | None:
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()  # "4,2" is for nested regions
    return int(first) if first.isdecimal() and int(first) > 0 else None


def processors() -> int:
    """How many processors this process may run on."""
    count_of_process: Callable[[], int | None] | None = getattr(os, "process_cpu_count", None)  # from Python 3.13 on
    if count_of_process:
        return count_of_process() or 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
