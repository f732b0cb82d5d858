"""A process in which one peer trains, on so many threads and no more.

    python -m benchmarks.network_step.worker PEER THREADS

Requests and answers are lines of JSON. {"prepare": TITLE, "dtype": NAME} answers with the losses of the first steps;
{"steps": N} does so many steps and answers with the seconds that they took. Peers do not share a process: neither would
be alone with its threads, and the number of XLA's threads cannot be changed later.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, TextIO

from benchmarks import limits
from benchmarks.names import JAX, OURS, TORCH, TORCH_COMPILE

PRODUCT, PEAK = "product", "FMA"
"""No peers: what the machine gains by threads in these rounds, and how fast it multiplies and adds."""
PEERS = {
    OURS: ("torch_networks", "gatewright"),
    TORCH: ("torch_networks", "torch_nn"),
    TORCH_COMPILE: ("torch_networks", "torch_compile"),
    JAX: ("jax_network", "jax_scan"),
}


def product_of(size: int) -> Callable[[], Any]:
    """A matrix product by torch: what the machine gains by threads in these rounds."""
    import torch

    torch.manual_seed(0)
    left, right = torch.randn(size, size), torch.randn(size, size)
    return lambda: torch.mm(left, right)


def fused_multiply_add() -> Callable[[], Any]:
    """Operations in registers, on one thread."""
    from benchmarks.machine import FusedMultiplyAdd

    return FusedMultiplyAdd()


class Worker:
    """The requests that a process answers."""

    def __init__(self, peer: str) -> None:
        self.peer = peer
        self.step: Callable[[], Any] | None = None
        if peer in (PRODUCT, PEAK):
            self.step = product_of(512) if peer == PRODUCT else fused_multiply_add()

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to one request."""
        if "prepare" in request:
            return self.prepare(request["prepare"], request["dtype"])
        assert self.step
        step, began = self.step, time.perf_counter()
        for _ in range(request["steps"]):
            step()
        return {"seconds": time.perf_counter() - began}

    def prepare(self, title: str, dtype: str) -> dict[str, Any]:
        """Build the network of a case and do its first steps."""
        from benchmarks.network_step.cases import case_of

        module, name = PEERS[self.peer]
        try:
            make = getattr(import_module(f"benchmarks.network_step.{module}"), name)
        except ImportError as error:
            return {"status": "absent", "reason": str(error)}
        try:
            job = make(case_of(title), dtype)
            losses = job.losses()
        except Exception as error:  # noqa: BLE001  that a peer fails is a result; the others are measured all the same
            return {"status": "fails", "reason": f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"}
        self.step = job.step
        return {"losses": losses, "ran": job.ran}


def answers(peer: str, requests: Iterator[str], out: TextIO) -> None:
    """Answer requests until there are no more."""
    worker = Worker(peer)
    for line in requests:
        print(json.dumps(worker.answer(json.loads(line))), file=out, flush=True)


def main(peer: str, threads: int) -> None:
    """Answer on standard output; what libraries print goes to standard error."""
    limits.limit(threads)
    if peer != JAX:
        limits.use(threads)
    with os.fdopen(os.dup(1), "w") as out:
        os.dup2(2, 1)
        answers(peer, iter(sys.stdin), out)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
