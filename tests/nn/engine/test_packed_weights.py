"""Packed matrices that are kept: never for parameters that have changed, in whatever way they did."""

import threading
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

import gatewright as gw
from gatewright.backends.llvm.runtime.digest import digest
from gatewright.nn.engine import packed_weights

UNITS = 160  # 6 matrices of 100 KiB


def of(array: np.ndarray) -> bytes:
    return digest([(array.ctypes.data, array.nbytes)])


@pytest.mark.parametrize("size", [1, 7, 63, 64, 65, 200])
def test_every_single_number_counts(size: int, rng: np.random.Generator) -> None:
    array = rng.normal(size=size).astype(np.float32)
    seen = {of(array)}
    for place in range(size):
        array[place] += 1
        seen.add(of(array))
    assert len(seen) == size + 1
    assert of(array) == of(array.copy())


def test_order_counts(rng: np.random.Generator) -> None:
    array = rng.normal(size=256).astype(np.float32)
    turned = array.copy()
    turned[[3, 67]] = array[[67, 3]]  # they are mixed into the same sum
    moved = np.roll(array, 64)
    assert len({of(array), of(turned), of(moved)}) == 3


def by_data(layer: gw.nn.GRU) -> None:
    layer.weight_hh_l0.data[5, 7] += 1


def by_numpy(layer: gw.nn.GRU) -> None:
    layer.weight_ih_l0.detach().numpy()[5, 7] += 1


def by_loading(layer: gw.nn.GRU) -> None:
    layer.load_state_dict({name: one + 0.1 for name, one in layer.state_dict().items()})


def by_optimiser(layer: gw.nn.GRU) -> None:
    layer(torch.ones(2, 1, UNITS))[0].sum().backward()
    torch.optim.SGD(layer.parameters(), lr=0.1).step()


def by_replacing(layer: gw.nn.GRU) -> None:
    layer.weight_hh_l0 = torch.nn.Parameter(torch.randn_like(layer.weight_hh_l0))


@pytest.mark.parametrize("change", [by_data, by_numpy, by_loading, by_optimiser, by_replacing])
def test_a_change_of_the_parameters_is_seen(change: Callable[[gw.nn.GRU], None]) -> None:
    layer, theirs, x = gw.nn.GRU(UNITS, UNITS), torch.nn.GRU(UNITS, UNITS), torch.randn(3, 1, UNITS)
    with torch.no_grad():
        before = [layer(x)[0] for _ in range(3)]
    assert torch.equal(before[1], before[2])
    change(layer)
    theirs.load_state_dict(layer.state_dict())
    with torch.no_grad():
        after = layer(x)[0]
        torch.testing.assert_close(after, theirs(x)[0])
    assert not torch.equal(after, before[0])


@pytest.fixture
def packings(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of each call whether its matrices were packed already."""
    seen: list[bool] = []
    holds = packed_weights.PackedWeights.holds

    def noted(self: packed_weights.PackedWeights, parameters: list[Tensor]) -> bool:
        seen.append(holds(self, parameters))
        return seen[-1]

    monkeypatch.setattr(packed_weights.PackedWeights, "holds", noted)
    return seen


def test_they_are_kept_where_nothing_is_learned(packings: list[bool]) -> None:
    layer, x = gw.nn.GRU(UNITS, UNITS), torch.randn(3, 1, UNITS)
    layer(x)
    assert packings == []
    with torch.no_grad():
        whole = [layer(x)[0] for _ in range(3)]
        small = [layer(torch.randn(100, 40, UNITS)) for _ in range(2)]  # other tiles: packed in another way
    assert packings == [False, True, True, False, True]
    assert torch.equal(whole[0], whole[2])
    assert len(small) == 2
    small_layer = gw.nn.GRU(8, 8)
    with torch.no_grad():
        small_layer(torch.randn(3, 1, 8))
    assert len(packings) == 5


def test_threads_do_not_share_panels() -> None:
    layer = gw.nn.GRU(UNITS, UNITS)
    xs = [torch.randn(3, 1, UNITS) for _ in range(4)]
    with torch.no_grad():
        want = [layer(x)[0] for x in xs]
    wrong: list[int] = []

    def call(index: int) -> None:
        with torch.no_grad():
            wrong.extend(index for _ in range(200) if not torch.equal(layer(xs[index])[0], want[index]))

    threads = [threading.Thread(target=call, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("extent", [(0, 3), (3, 0)])
def test_an_empty_batch_packs_nothing(extent: tuple[int, int]) -> None:
    layer = gw.nn.GRU(4, 5)
    layer.products = "int8"
    with torch.no_grad():
        for _ in range(2):  # by the generic path, and by the fast one
            output, final = layer(torch.randn(*extent, 4), h_0 := torch.randn(1, extent[1], 5))
            assert output.shape == (*extent, 5)
            torch.testing.assert_close(final, h_0)


@pytest.mark.parametrize("size", [8, 7], ids=["even", "odd"])
def test_converted_parameters_follow_every_change(size: int) -> None:
    parameters = [torch.randn(3, size).to(torch.bfloat16), torch.randn(size).to(torch.float16)]
    converted = packed_weights.ConvertedParameters()
    for change in (lambda: None, lambda: parameters[1].data[-1:].add_(1), lambda: parameters[0].data.mul_(2)):
        change()
        results = converted.of(parameters, torch.float32)
        assert all(torch.equal(x, own.float()) for x, own in zip(results, parameters, strict=True))
        is_kept = converted.of(parameters, torch.float32)[0] is results[0]
        assert is_kept == (size % 2 == 0)  # a digest is of words of two numbers
    parameters[0] = torch.randn(size, 3).to(torch.bfloat16).T
    assert torch.equal(converted.of(parameters, torch.float32)[0], parameters[0].float())
