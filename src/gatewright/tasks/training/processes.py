"""Data-parallel runs: each process trains on its rows of every batch; rank 0 writes files and prints.

Lightning starts the processes of one machine; on several machines torchrun starts them all.
"""

import atexit
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed

from gatewright.errors import OptionError
from gatewright.tasks.training.tensor_batches import TensorBatch

_STARTED_BY = ("TORCHELASTIC_RUN_ID", "SLURM_PROCID")  # what torchrun and SLURM leave in the environment


def _rank() -> int:
    """The rank of this process before the process group exists: from torchrun, Lightning or SLURM."""
    return next((int(os.environ[name]) for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID") if name in os.environ), 0)


@dataclass(frozen=True)
class Processes:
    """The processes of a run: one for each device of each node."""

    devices: int = 1
    nodes: int = 1

    @property
    def total(self) -> int:
        """The world size."""
        return self.devices * self.nodes

    @property
    def is_first(self) -> bool:
        """Whether this process has rank 0: it writes files and prints."""
        return self.total == 1 or _rank() == 0

    def check(self) -> None:
        """Raise OptionError if no processes were started, or others than these."""
        started = os.environ.get("WORLD_SIZE") if _STARTED_BY[0] in os.environ else None
        if started is not None and int(started) != self.total:
            raise OptionError(
                "torchrun has started another number of processes",
                expected=f"{self.devices} on each of {self.nodes} nodes: {self.total}",
                got=started,
                do="give as many devices and nodes as torchrun has",
                shell="give --devices what torchrun has as --nproc-per-node, and --nodes what it has as --nnodes",
            )
        if self.nodes > 1 and not any(name in os.environ for name in _STARTED_BY):
            raise OptionError(
                "the processes of several nodes are started by torchrun",
                do=f"on each node: torchrun --nnodes {self.nodes} --nproc-per-node {self.devices} "
                "--rdzv-backend c10d --rdzv-endpoint FIRST_NODE:29500 -m gatewright train ...",
            )


def part_at_the_end() -> None:
    """Destroy the process group before Python exits; threads that still wait for others could abort it.

    Lightning does so for GPUs only.
    """
    atexit.unregister(_part)
    atexit.register(_part)


def _part() -> None:
    if distributed.is_initialized():
        distributed.destroy_process_group()


def rows_of(batch: TensorBatch, rank: int, total: int, *, timed: bool) -> TensorBatch:
    """The rows of a batch for one process, next to each other. `timed`: targets are (time, rows, ...)."""
    if total == 1:
        return batch
    count = batch.inputs.shape[1]
    rows = slice(rank * count // total, (rank + 1) * count // total)
    return TensorBatch(
        batch.inputs[:, rows],
        batch.targets[:, rows] if timed else batch.targets[rows],
        None if batch.lengths is None else batch.lengths[rows],
        batch.continues if isinstance(batch.continues, bool) else batch.continues[rows],
    )


def sum_over_processes(values: Sequence[float], device: torch.device) -> list[float]:
    """The sum of each value over all processes."""
    if not distributed.is_initialized():
        return list(values)
    sums = torch.tensor(values, dtype=torch.float64, device=device)
    distributed.all_reduce(sums)
    return sums.tolist()


def from_every_process(own: Any) -> list[Any]:
    """The value of each process, by rank."""
    if not distributed.is_initialized():
        return [own]
    objects: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(objects, own)
    return objects


def from_the_first(make: Callable[[], Any], *, is_first: bool) -> Any:
    """The value that rank 0 computes, in every process; the others wait for it."""
    shared = [make() if is_first else None]
    if distributed.is_initialized():
        distributed.broadcast_object_list(shared, src=0)
    return shared[0]


def is_helper() -> bool:
    """Whether this is one of several processes, and not rank 0."""
    if distributed.is_initialized():
        return distributed.get_rank() > 0
    return _STARTED_BY[0] in os.environ and _rank() > 0


def was_lost(error: BaseException) -> bool:
    """Whether an error means that another process has been lost."""
    return isinstance(error, distributed.DistError) or (isinstance(error, RuntimeError) and "peer" in str(error))
