"""Memory that is used again: never while anybody holds it, and only where it is worth it."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import gatewright as gw
from gatewright.nn.engine.block_pool import BlockPool
from gatewright.nn.engine.torch_arrays import TorchArrays

LARGE = 1 << 20


def test_a_block_is_given_again_when_nobody_holds_it() -> None:
    recycler = BlockPool()
    first = recycler.take(LARGE)
    place = first.data_ptr()
    second = recycler.take(LARGE)
    assert second.data_ptr() != place
    del first
    assert recycler.take(LARGE).data_ptr() == place


@pytest.mark.parametrize("hold", [lambda one: one[5:], lambda one: one.detach(), lambda one: one.numpy()])
def test_whoever_shares_the_memory_holds_it(hold: Callable[[Tensor], Any]) -> None:
    recycler = BlockPool()
    block = recycler.take(LARGE)
    place, held = block.data_ptr(), hold(block)
    del block
    assert recycler.take(LARGE).data_ptr() != place
    assert held.nbytes > 0


def test_a_block_that_is_too_small_or_much_too_large_is_not_given() -> None:
    recycler = BlockPool()
    kept = [recycler.take(4 * LARGE)]
    place = kept.pop().data_ptr()
    assert recycler.take(3 * LARGE).data_ptr() == place
    assert recycler.take(5 * LARGE).numel() == 5 * LARGE
    small = recycler.take(LARGE)
    assert small.numel() == small.untyped_storage().nbytes() == LARGE


def test_small_blocks_are_not_kept() -> None:
    recycler = BlockPool()
    recycler.take(LARGE - 1)
    assert recycler.nbytes == 0
    recycler.take(LARGE)
    assert recycler.nbytes == LARGE


def test_threads_never_have_the_same_block() -> None:
    recycler, wrong = BlockPool(), list[int]()

    def use(number: int) -> None:
        for _ in range(200):
            block = recycler.take(LARGE)
            block[::4096] = number
            if not bool((block[::4096] == number).all()):
                wrong.append(number)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_graphs_that_are_held_at_the_same_time_do_not_share_what_they_saved() -> None:
    layer = gw.nn.GRU(64, 64)
    inputs = [torch.randn(80, 64, 64) for _ in range(4)]  # 4 MiB are saved for each
    alone = [torch.autograd.grad(layer(x)[0].square().sum(), list(layer.parameters())) for x in inputs]
    losses = [layer(x)[0].square().sum() for x in inputs]
    together = [torch.autograd.grad(loss, list(layer.parameters())) for loss in losses]
    torch.testing.assert_close(together, alone, rtol=0, atol=0)


def test_a_workspace_belongs_to_one_caller_at_a_time() -> None:
    arrays = TorchArrays(torch.float32)
    first, second = arrays.take_workspace(1000), arrays.take_workspace(1000)
    assert first.data_ptr() != second.data_ptr()
    place = first.data_ptr()
    arrays.give_back(first)
    assert arrays.take_workspace(500).data_ptr() == place
    arrays.give_back(second)
    assert arrays.take_workspace(10**6).numel() >= 10**6
