"""Runs that are cut into blocks of time give what whole ones give."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

import gatewright as gw
from gatewright.backends.llvm.parallel import time_blocks as blocks
from gatewright.backends.llvm.parallel.time_blocks import TimeBlock, time_blocks
from gatewright.backends.llvm.parallel.work_partition import RunCost, partition_work
from gatewright.backends.llvm.runtime import runner
from gatewright.backends.llvm.runtime.engine import Engine
from tests.backends.llvm.engines import check, engine, leaves, run
from tests.backends.llvm.partitions import PartitionWork, by_rows, by_units
from tests.backends.llvm.runtime.test_engine import given_for, pair_of

NAMES = ["gru", "lstm", "layer_norm(gru)", "mingru", "sru", "lstm_projected", "masked(lstm_projected)", "slstm"]


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Engine], None]]:
    """Have the runs of an engine cut into blocks of few lines."""
    changed: list[Engine] = []
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 0)

    def use(one: Engine) -> None:
        one.runners.clear()
        changed.append(one)

    yield use
    gw.set_num_threads(None)
    for one in changed:
        one.runners.clear()


def test_blocks_follow_one_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 0)
    forwards, back = (time_blocks(7, 100, 64, backwards=backwards) for backwards in (False, True))
    assert forwards == (TimeBlock(0, 1), TimeBlock(1, 2), TimeBlock(3, 2), TimeBlock(5, 2))
    assert back == forwards[::-1]


def test_blocks_of_long_sequences_still_fit_into_a_cache() -> None:
    line_bytes = 4096
    parts = time_blocks(65_536, 16, line_bytes, backwards=False)
    assert {block.steps * 16 * line_bytes for block in parts} == {blocks.BLOCK_BYTES}
    for trace in pair_of("mingru"):
        one = engine(given_for(trace, (1, 1, 64, 64)))
        assert one.runner(65_536, 16).inside_bytes == one.runner(8192, 16).inside_bytes


@pytest.mark.parametrize("batch", [1, 3, 33, 64, 85, 86, 100, 128, 129, 200, 255, 256, 1000])
def test_no_block_has_fewer_lines_than_kernels_are_made_for(batch: int, cut: Callable[[Engine], None]) -> None:
    one = engine(given_for(pair_of("gru")[0], (1, 1, 3, 4)))
    cut(one)
    for steps in (*range(1, 30), 255, 256, 257, 511, 513, 5000):
        parts = time_blocks(steps, batch, 64, backwards=False)
        assert sum(block.steps for block in parts) == steps
        assert min(block.steps for block in parts) * batch >= one.design(steps, batch).lines


@pytest.mark.parametrize(("shape", "count"), [((600, 1, 5, 17), 3), ((40, 17, 16, 16), 3), ((3, 200, 4, 5), 3)])
@pytest.mark.parametrize("name", NAMES)
def test_every_block_goes_on_where_the_one_before_ended(
    name: str, shape: tuple[int, int, int, int], count: int, cut: Callable[[Engine], None]
) -> None:
    for trace in pair_of(name):
        given = given_for(trace, shape)
        cut(engine(given))
        check(given)
        assert len(engine(given).runner(*shape[:2]).time_blocks) == count


@pytest.mark.parametrize("way", [by_rows, by_units])
@pytest.mark.parametrize("name", ["gru", "layer_norm(gru)", "sru"])
def test_results_do_not_depend_on_threads(
    name: str, way: PartitionWork, cut: Callable[[Engine], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RunCost, "is_small", lambda cost, lines: False)
    monkeypatch.setattr(runner.contention, "runs_alone", lambda: False)
    monkeypatch.setattr(runner, "SPIN_LIMITS", (10**7, 10**7))
    for trace in pair_of(name):
        given = given_for(trace, (100, 7, 16, 33))
        cut(engine(given))
        gw.set_num_threads(1)
        want = leaves(run(given))
        monkeypatch.setattr(runner, "partition_work", way)
        engine(given).runners.clear()
        for threads in (2, 3):
            gw.set_num_threads(threads)
            for _ in range(5):
                assert all(np.array_equal(a, b) for a, b in zip(want, leaves(run(given)), strict=True))
        monkeypatch.setattr(runner, "partition_work", partition_work)


@pytest.mark.parametrize("name", ["gru", "mingru", "lstm"])
def test_a_long_sequence_of_a_layer(name: str) -> None:
    """As many lines as are cut without being asked to."""
    ours, eager = (gw.nn.Recurrent(name, 3, 64, bidirectional=True, backend=one).double() for one in ("llvm", "torch"))
    eager.load_state_dict(ours.state_dict())
    x = torch.randn(1000, 1, 3, dtype=torch.float64, requires_grad=True)
    found: list[tuple[torch.Tensor, ...]] = []
    for layer in (ours, eager):
        loss = layer(x)[0].square().mean()
        found.append((loss, *torch.autograd.grad(loss, [x, *layer.parameters()])))
    torch.testing.assert_close(found[0], found[1])


def test_memory_for_what_passes_leave_does_not_grow_with_time() -> None:
    step, gradient = pair_of("gru")
    for trace in (step, gradient):
        one = engine(given_for(trace, (1, 1, 32, 64)))
        short, long = (one.runner(steps, 1).inside_bytes for steps in (3_000, 12_000))
        assert long < 1.3 * short
    assert one.runner(12_000, 1).inside_bytes < blocks.BLOCK_BYTES
