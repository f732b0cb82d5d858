"""A run in two processes is the run of one on the same batches; one of them writes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from gatewright import model_file
from gatewright.errors import OptionError
from gatewright.tasks.cell_spec import read_cell
from gatewright.tasks.recipes import RECIPES
from gatewright.tasks.training.processes import Processes, rows_of
from gatewright.tasks.training.run_folder import RunFolder
from gatewright.tasks.training.tensor_batches import TensorBatch, tensor_batch
from tests.paths import subprocess_environment
from tests.tasks.own_data import OWN_DATA
from tests.tasks.small import SETTINGS, small_recipe, small_text, timeless, weights

ADDING = ("adding", "--set", "hidden=4", "--set", "batch=7", "--set", "bits=4", "--set", "checkpoint_every=20")
# No dropout: each process draws masks of its own.
TEXT = ("text", *(word for one in (*SETTINGS, "dropout=0") for word in ("--set", one) if one != "dropout=0.3"))


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "gatewright", "train", *arguments]


def trained(*arguments: str, program: list[str] | None = None) -> str:
    """What it said, and nothing may be said twice."""
    words = [*(program or [sys.executable]), "-m", "gatewright", "train", *arguments]
    ended = subprocess.run(
        words, env=subprocess_environment(), capture_output=True, text=True, timeout=150, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("model:") == 1
    return ended.stderr


def expect_close(one: Path, other: Path) -> None:
    """The same weights but for the rounding of sums that are taken in another order, over a few dozen steps."""
    found, wanted = (model_file.load(RunFolder(path).model).tensors for path in (one, other))
    assert set(found) == set(wanted)
    for name, array in wanted.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-4, atol=2e-6, err_msg=name)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return small_text(tmp_path_factory.mktemp("text"))


@pytest.mark.slow
def test_two_processes_train_as_one(source: str, tmp_path: Path) -> None:
    """Rows that carry their state, with clipped gradients and a schedule."""
    said = trained(*TEXT, "--data", source, "--out", str(tmp_path / "two"), "--devices", "2")
    trained(*TEXT, "--data", source, "--out", str(tmp_path / "one"))
    assert ", 2 processes" in said
    expect_close(tmp_path / "two", tmp_path / "one")
    two, one = (RunFolder(tmp_path / name) for name in ("two", "one"))
    assert [row["iteration"] for row in timeless(two.metrics)] == [row["iteration"] for row in timeless(one.metrics)]
    for row, other in zip(timeless(two.metrics), timeless(one.metrics), strict=True):
        assert float(row["train_loss"]) == pytest.approx(float(other["train_loss"]), rel=1e-4)
    assert (two.read(two.run)["devices"], one.read(one.run)["devices"]) == (2, 1)
    assert [len(list(folder.tensorboard.iterdir())) for folder in (one, two)] == [1, 1]


@pytest.mark.slow
def test_unequal_shares_started_by_torchrun(tmp_path: Path) -> None:
    """Seven rows: three for one process, four for the other."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    settings = (*ADDING, "--set", "epochs=1")
    trained(*settings, "--devices", "2", "--out", str(tmp_path / "two"), program=torchrun)
    trained(*settings, "--out", str(tmp_path / "one"))
    expect_close(tmp_path / "two", tmp_path / "one")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_stopped_and_resumed(number: signal.Signals, tmp_path: Path) -> None:
    settings = (*ADDING, "--set", "epochs=12", "--devices", "2")
    folder, straight = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "straight")
    process = subprocess.Popen(
        command(*settings, "--out", str(folder.path)),
        env=subprocess_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 100
    while not folder.metrics.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, number)  # all of them, as a terminal does
    out, messages = process.communicate(timeout=100)
    assert process.returncode == (130 if number == signal.SIGINT else -number), messages
    assert out == ""
    assert messages.count("stopped; go on with: gatewright train adding --resume") == (number == signal.SIGINT)
    assert "Traceback" not in messages
    assert folder.checkpoint.exists()
    assert not folder.finished
    trained("adding", "--resume", "--out", str(folder.path))
    trained(*settings, "--out", str(straight.path))
    assert weights(folder) == weights(straight)
    assert timeless(folder.metrics) == timeless(straight.metrics)


@pytest.mark.parametrize(("rank", "rows"), [(0, [0, 1]), (1, [2, 3]), (2, [4, 5, 6])])
@pytest.mark.parametrize("timed", [False, True])
def test_rows_of_a_process(rank: int, rows: list[int], timed: bool) -> None:
    inputs, targets = torch.arange(14).reshape(2, 7), torch.arange(14).reshape(2, 7)
    batch = TensorBatch(inputs, targets if timed else targets[0], torch.arange(7), continues=True)
    found = rows_of(batch, rank, 3, timed=timed)
    assert found.inputs.tolist() == inputs[:, rows].tolist()
    assert found.targets.tolist() == batch.targets[..., rows].tolist()
    assert (found.lengths.tolist(), found.continues) == (rows, True)


@pytest.mark.parametrize("name", RECIPES)
def test_the_shares_of_every_recipe_are_the_whole(name: str, tmp_path: Path) -> None:
    """Losses and their number, added up over the processes: what makes the gradient that of the whole batch."""
    sizes = ["hidden=6", "batch=7", *(["validation=10"] if name == "images" else [])]
    made, own = RECIPES[name].configured(sizes, quick=True), OWN_DATA.get(name)
    if name == "text":
        made, own = small_recipe(), small_text
    data = made.data(own(tmp_path) if own else None)
    network, objective = made.network(data.sizes, read_cell(made.cell)).eval(), made.objective()
    batch = tensor_batch(data.parts["train"], 0, 0)

    def losses(part: TensorBatch) -> torch.Tensor:
        return objective.losses(network(part.inputs, None, part.lengths)[0], part)

    whole = losses(batch)
    shares = [losses(rows_of(batch, rank, 3, timed=made.timed_targets())) for rank in range(3)]
    assert sum(one.numel() for one in shares) == whole.numel()
    assert sum(one.sum().item() for one in shares) == pytest.approx(whole.sum().item(), rel=1e-4)


def test_a_batch_with_fewer_rows_than_processes() -> None:
    batch = TensorBatch(torch.zeros(2, 1), torch.zeros(1), None, continues=False)
    assert [rows_of(batch, rank, 2, timed=False).inputs.shape[1] for rank in (0, 1)] == [0, 1]


def test_several_nodes_need_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TORCHELASTIC_RUN_ID", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(OptionError, match="the processes of several nodes are started by torchrun"):
        Processes(2, 2).check()
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(OptionError) as caught:
        Processes(2, 2).check()
    assert caught.value.in_shell() == (
        "torchrun has started another number of processes\n  expected: 2 on each of 2 nodes: 4\n  got: 3\n"
        "  do: give --devices what torchrun has as --nproc-per-node, and --nodes what it has as --nnodes"
    )
