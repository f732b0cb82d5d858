"""Large blocks: they begin at a huge page, the system was asked for huge pages, and they take no more memory."""

import mmap
import re
import sys
from ctypes import addressof, c_char
from pathlib import Path

import numpy as np
import pytest
import torch

import gatewright as gw
from gatewright.backends.llvm.runtime import huge_pages
from gatewright.backends.llvm.runtime.huge_pages import HUGE_PAGE, LEAST_ADVISED_BYTES, LEAST_BYTES, advise, map_block
from gatewright.nn.engine.packed_weights import PackedWeights
from gatewright.nn.engine.torch_arrays import TorchArrays, empty_block
from gatewright.stream.numpy_arrays import NumpyArrays

MAPS = Path("/proc/self/smaps")
with_huge_pages = pytest.mark.skipif(
    not (Path("/sys/kernel/mm/transparent_hugepage").exists() and MAPS.exists() and hasattr(mmap, "MADV_HUGEPAGE")),
    reason="the kernel has no huge pages",
)
SIZE = LEAST_BYTES + 5 * 4096


def is_advised(address: int) -> bool:
    """Whether the system was asked to put an address on huge pages: the flag `hg` of its mapping."""
    inside = False
    for line in MAPS.read_text().splitlines():
        if bounds := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            inside = int(bounds[1], 16) <= address < int(bounds[2], 16)
        elif inside and line.startswith("VmFlags:"):
            return "hg" in line.split()
    raise AssertionError(f"{address:#x} is not mapped")


def assert_on_huge_pages(address: int, size: int) -> None:
    assert address % HUGE_PAGE == 0
    whole = size // HUGE_PAGE * HUGE_PAGE
    assert is_advised(address)
    assert is_advised(address + whole - 1)
    if size > whole:
        assert not is_advised(address + size - 1)


@with_huge_pages
@pytest.mark.parametrize("size", [LEAST_BYTES, SIZE, 3 * LEAST_BYTES - 1])
def test_a_large_block_is_on_huge_pages_but_for_its_last_bytes(size: int) -> None:
    mapped = map_block(size)
    assert mapped is not None
    memory, offset = mapped
    assert offset + size <= len(memory)
    assert_on_huge_pages(addressof(c_char.from_buffer(memory)) + offset, size)


def test_a_small_block_comes_from_the_usual_allocator() -> None:
    assert map_block(LEAST_BYTES - 1) is None
    assert empty_block(LEAST_BYTES - 1).numel() == LEAST_BYTES - 1


@with_huge_pages
def test_packed_matrices_and_workspaces_are_on_huge_pages() -> None:
    weights, workspace = PackedWeights(SIZE), empty_block(SIZE)
    stream = NumpyArrays(np.dtype(np.float32)).take_workspace(SIZE)
    for address in (weights.block.data_ptr(), workspace.data_ptr(), stream.ctypes.data):
        assert_on_huge_pages(address, SIZE)
    assert weights.block.numel() == workspace.numel() == stream.nbytes == SIZE


def test_a_block_can_be_written_and_outlives_the_other_names_for_it() -> None:
    block = empty_block(SIZE)
    view = block[SIZE - 8 :]
    block.fill_(7)
    del block
    assert view.tolist() == [7] * 8
    array = NumpyArrays(np.dtype(np.float32)).zeros((SIZE // 4,))
    array[-1] = 3
    assert array.sum() == 3


class Refusing(mmap.mmap):
    def madvise(self, *_: int) -> None:
        raise OSError(22, "Invalid argument")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no block is mapped")
def test_a_kernel_that_refuses_the_advice_gives_ordinary_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huge_pages.mmap, "mmap", Refusing)
    block = empty_block(SIZE)
    block.fill_(1)
    assert block.numel() == SIZE


def test_memory_that_cannot_be_mapped_is_asked_of_the_allocator(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(huge_pages.mmap, "mmap", refuse)
    assert map_block(SIZE) is None
    assert TorchArrays(torch.float32).take_workspace(10 * SIZE).numel() >= 10 * SIZE


@pytest.mark.parametrize("weights", ["float32", "bfloat16", "int8"])
def test_matrices_on_huge_pages_give_the_same_bits(weights: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    layer = gw.nn.GRU(64, 64).requires_grad_(requires_grad=False)
    x = np.random.default_rng(0).normal(size=(5, 64)).astype(np.float32)
    cell = gw.cells.gru(reset="before")
    shapes = {"W": (64, 64), "U": (64, 64), "b": (64,)}
    generator = np.random.default_rng(1)
    values = {
        f"{space}.{gate}": generator.normal(size=shape).astype(np.float32) / 8
        for space, shape in shapes.items()
        for gate in "rzn"
    }

    def results() -> list[np.ndarray]:
        stream = gw.stream.from_parameters(cell, values, weights=weights)
        return [stream.run(x), layer(torch.from_numpy(x)[:, None])[0].numpy()]

    small = results()
    monkeypatch.setattr(huge_pages, "LEAST_BYTES", 4096)
    large = results()
    for first, second in zip(small, large, strict=True):
        np.testing.assert_array_equal(first, second)


@with_huge_pages
def test_large_results_are_on_huge_pages() -> None:
    steps = LEAST_ADVISED_BYTES // (4 * 128) + 1
    layer = gw.nn.GRU(128, 128, backend="llvm")
    x = torch.zeros(steps, 1, 128, requires_grad=True)
    output = layer(x)[0]
    output.backward(torch.zeros_like(output))
    for result in (output, x.grad):
        assert is_advised(result.data_ptr() + HUGE_PAGE)


def test_advice_about_memory_without_a_whole_huge_page_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, int, int]] = []
    monkeypatch.setattr(huge_pages, "madvise", lambda *arguments: calls.append(arguments))
    advise(HUGE_PAGE + 1, HUGE_PAGE)
    assert calls == []
    advise(HUGE_PAGE - 1, 2 * HUGE_PAGE)
    assert [(address, size) for address, size, _ in calls] == [(HUGE_PAGE, HUGE_PAGE)]
