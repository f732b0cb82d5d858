"""How many threads everybody gets: set before any library is loaded, by everything that a library may heed.

The whole process may run on that many processors and no more, which binds also the libraries that ask nobody, such as
XLA.
"""

import os

_ALLOWED = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
PROCESSORS = len(_ALLOWED)
"""How many processors this process was given."""

_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def limit(threads: int) -> None:
    """Give this process, and what it starts, so many threads. The first call is before NumPy is imported."""
    os.environ.update(dict.fromkeys(_VARIABLES, str(threads)))
    os.environ.update({"JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "2"})
    if hasattr(os, "sched_setaffinity"):  # the last processors: systems do their own work on the first
        os.sched_setaffinity(0, _ALLOWED[-threads:])


def use(threads: int) -> None:
    """Let torch and Gatewright run on so many threads from now on."""
    import torch

    import gatewright as gw

    torch.set_num_threads(threads)
    gw.set_num_threads(threads)
