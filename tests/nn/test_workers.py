"""Layers in other processes and threads: workers that were forked or spawned, and first calls at the same time."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

import gatewright as gw
from gatewright.backends.llvm.parallel import work_partition
from gatewright.nn import GRU, Recurrent
from tests.paths import subprocess_environment

STEPS, BATCH, WIDE, UNITS = 4, 6, 3, 8


def computed(layer: GRU, seed: int) -> Tensor:
    """The output of a layer and the gradients of its parameters, all in one row."""
    x = torch.randn(STEPS, BATCH, WIDE, generator=torch.Generator().manual_seed(seed))
    output, _ = layer(x)
    grads = torch.autograd.grad(output.square().sum(), [*layer.parameters()])
    return torch.cat([output.detach().flatten(), *(grad.flatten() for grad in grads)])


class Encoded(Dataset[Tensor]):
    """What a layer makes of inputs, forward and backward: the work of a worker."""

    def __init__(self, layer: GRU) -> None:
        self.layer = layer

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Tensor:
        gw.set_num_threads(2)
        work_partition.THREAD_COST = 1
        return computed(self.layer, index)


@pytest.mark.parametrize("start", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning", "ignore:.*multi-threaded:DeprecationWarning")
def test_workers_of_a_loader_run_layers(start: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parent has used threads and kernels before: nothing of them may be expected in a worker."""
    if start == "fork" and not hasattr(os, "fork"):
        pytest.skip("this system does not fork")
    monkeypatch.setattr(work_partition, "THREAD_COST", 1)
    layer = GRU(WIDE, UNITS, backend="llvm")
    gw.set_num_threads(2)
    try:
        want = [computed(layer, seed) for seed in range(4)]
        workers = 2 if start == "fork" else 1  # one that is spawned imports torch
        loader = DataLoader(
            Encoded(layer), batch_size=None, num_workers=workers, multiprocessing_context=start, timeout=120
        )
        for _ in range(workers):
            got = list(loader)
            assert len(got) == len(want)
            assert all(torch.equal(one, other) for one, other in zip(got, want, strict=True))
        assert torch.equal(computed(layer, 0), want[0])
    finally:
        gw.set_num_threads(None)


def test_first_calls_of_a_layer_at_the_same_time() -> None:
    """Kernels that are compiled in one thread and asked for in another are the same kernels."""
    layer = Recurrent(gw.layer_norm(gw.cells.gru), WIDE, UNITS + 1, backend="llvm")
    begin, found = threading.Barrier(4), dict[int, Tensor]()

    def work(seed: int) -> None:
        begin.wait()
        for _ in range(3):
            found[seed] = computed(layer, seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(torch.equal(found[seed], computed(layer, seed)) for seed in found)


TRAIN = """
import torch
import gatewright as gw
from gatewright import kernel_cache as cache
torch.manual_seed(0)
layer = gw.nn.GRU(3, 8, backend="llvm")
layer(torch.ones(4, 6, 3))[0].square().sum().backward()
print(sum(parameter.grad.abs().sum().item() for parameter in layer.parameters()))
print(cache.status().problem)
"""


def start_training(cache: Path) -> subprocess.Popen[str]:
    environment = {**subprocess_environment(), "GATEWRIGHT_CACHE": str(cache)}
    return subprocess.Popen([sys.executable, "-c", TRAIN], stdout=subprocess.PIPE, text=True, env=environment)


def told(process: subprocess.Popen[str]) -> list[str]:
    lines = process.communicate(timeout=120)[0].splitlines()
    assert process.returncode == 0
    return lines


def test_training_without_a_place_for_kernels_and_with_one_place_for_many(tmp_path: Path) -> None:
    """Where nothing can be kept every process compiles for itself, and `status` says why."""
    (tmp_path / "file").write_text("no folder")
    together = [start_training(tmp_path / "shared") for _ in range(2)]
    apart = start_training(tmp_path / "file")
    first, second = (told(process) for process in together)
    assert first[1] == "None"
    assert first == second
    value, problem = told(apart)
    assert value == first[0]
    assert problem == f"cannot write to {tmp_path / 'file' / 'kernels'}: Not a directory"
    assert not list((tmp_path / "shared" / "kernels").glob("*.part"))
