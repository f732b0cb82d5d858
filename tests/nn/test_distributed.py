"""DistributedDataParallel: two processes, each with half of the rows, have the gradients of one with all rows."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import subprocess_environment

WORK = """
import sys, torch, torch.distributed as dist
import gatewright as gw

backend, rank, file = sys.argv[1], int(sys.argv[2]), sys.argv[3]
dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
torch.manual_seed(0)
layer, alone = (gw.nn.LSTM(2, 3, bidirectional=True, dtype=torch.float64, backend=name) for name in (backend, "torch"))
alone.load_state_dict(layer.state_dict())
x, lengths = torch.randn(4, 6, 2, dtype=torch.float64), torch.tensor([4, 2, 1, 3, 0, 2])
own = slice(3 * rank, 3 * rank + 3)
parallel = torch.nn.parallel.DistributedDataParallel(layer)
for _ in range(2):
    parallel(x[:, own], lengths=lengths[own])[0].square().sum().backward()
    (alone(x, lengths=lengths)[0].square().sum() / 2).backward()
for mine, other in zip(layer.parameters(), alone.parameters(), strict=True):
    torch.testing.assert_close(mine.grad, other.grad, rtol=1e-12, atol=1e-12)
dist.destroy_process_group()
print("equal")
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["triton", "llvm"])
def test_two_processes_have_the_gradients_of_one(backend: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", WORK, backend]
    processes = [
        subprocess.Popen(
            [*command, str(rank), str(tmp_path / "store")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=subprocess_environment(),
        )
        for rank in range(2)
    ]
    for process in processes:
        output, errors = process.communicate(timeout=120)
        assert output.split() == ["equal"], errors
