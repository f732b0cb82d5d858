"""Whoever is measured, by name; a peer that is not installed is told to be absent."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from benchmarks.names import EAGER, FORWARD, JAX, LOOP, ONNX_RUNTIME, OPENVINO, OURS, TORCH, TRAINING
from benchmarks.problem import Job, Problem


class AbsentError(Exception):
    """A peer that is not installed."""


@dataclass(frozen=True)
class Peer:
    """Where a peer's code is, what it can do, and whether it has layers of known cells only."""

    module: str
    modes: tuple[str, ...] = (FORWARD, TRAINING)
    native: bool = False

    def job(self, problem: Problem, mode: str, threads: int) -> Job:
        """The peer made ready for a problem. Raises AbsentError where it cannot be imported."""
        try:
            module = import_module(f"benchmarks.peers.{self.module}")
        except ImportError as error:
            raise AbsentError(str(error)) from error
        make: Callable[[Problem, int], Job] = getattr(module, mode)
        return make(problem, threads)


PEERS = {
    OURS: Peer("gatewright_layer"),
    TORCH: Peer("torch_nn", native=True),
    ONNX_RUNTIME: Peer("onnx_runtime", (FORWARD,), native=True),
    OPENVINO: Peer("open_vino", (FORWARD,), native=True),
    JAX: Peer("jax_scan"),
    LOOP: Peer("torch_loop"),
    EAGER: Peer("gatewright_eager"),
}


def able(names: tuple[str, ...], problem: Problem, mode: str) -> dict[str, Peer]:
    """Those of the names that can do the problem at all."""
    peers = {name: PEERS[name] for name in names}
    return {
        name: peer for name, peer in peers.items() if mode in peer.modes and (problem.cell.native or not peer.native)
    }
