"""What executes many runs: processes of this machine, a Ray cluster or a Dask cluster, all through joblib."""

import os
import signal
from collections.abc import Generator
from contextlib import contextmanager
from typing import Literal, get_args

import joblib
import torch

from gatewright.errors import GatewrightError, OptionError
from gatewright.tasks.training.trainer import handling

Engine = Literal["processes", "ray", "dask"]
ENGINES: tuple[str, ...] = get_args(Engine)


def default_jobs() -> int:
    """A run for each core, since small recurrent networks gain little from several; one where they share a GPU."""
    return 1 if torch.cuda.is_available() else joblib.cpu_count()


@contextmanager
def engine(name: str, jobs: int) -> Generator[None]:
    """Let joblib run its tasks there, `jobs` at a time.

    A cluster is found as Ray and Dask find it, by RAY_ADDRESS or DASK_SCHEDULER_ADDRESS; without one a local cluster
    is started, and stopped at the end. Raises OptionError for a name that is none of `ENGINES`, and GatewrightError
    where the engine is not installed.
    """
    if name not in ENGINES:
        raise OptionError(f"there is no engine {name!r}", expected="one of " + ", ".join(ENGINES))
    try:
        started = {"processes": _processes, "ray": _ray, "dask": _dask}[name](jobs)
        with started:
            yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in (name, "distributed"):
            raise
        raise GatewrightError(
            f"the engine {name!r} needs a package that is not installed",
            expected=f"the package {error.name!r}",
            do=f"pip install 'gatewright[{name}]', or take engine='processes'",
            shell=f"pip install 'gatewright[{name}]', or leave out --engine",
        ) from error


@contextmanager
def _processes(jobs: int) -> Generator[None]:
    threads = max(1, joblib.cpu_count() // jobs)
    inner = {} if jobs == 1 else {"inner_max_num_threads": threads}  # a single job runs in this very process
    with joblib.parallel_config(backend="loky", n_jobs=jobs, **inner):
        if jobs > 1:
            # Processes that start now inherit that Ctrl-C, which a terminal sends to all of them, ends none.
            with handling(signal.SIG_IGN, signal.SIGINT):
                joblib.Parallel()(joblib.delayed(os.getpid)() for _ in range(jobs))
        yield


@contextmanager
def _ray(jobs: int) -> Generator[None]:
    import ray
    from ray.util.joblib import register_ray

    ours = not ray.is_initialized()
    if ours:
        ray.init(configure_logging=False, log_to_driver=False)
    try:
        register_ray()
        with joblib.parallel_config(backend="ray", n_jobs=jobs):
            yield
    finally:
        if ours:
            ray.shutdown()


@contextmanager
def _dask(jobs: int) -> Generator[None]:
    from dask import config
    from distributed import Client

    address: str | None = config.get("scheduler-address", None)
    # One thread a worker: a run seeds the random numbers of its process.
    local = {} if address else {"n_workers": jobs, "threads_per_worker": 1, "dashboard_address": None}
    with Client(address, **local), joblib.parallel_config(backend="dask", n_jobs=jobs):
        yield
