"""The directions of a layer side by side: the numbers of one thread to the bit, and gradients as autograd has them."""

import threading
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

import gatewright as gw
from gatewright.backends.llvm.parallel import work_partition
from gatewright.backends.llvm.parallel.contention import ContentionMonitor
from gatewright.backends.llvm.parallel.region import ParallelRegion
from gatewright.backends.llvm.runtime import runner, side_by_side
from gatewright.backends.llvm.runtime.executor import Executor
from gatewright.nn.layer_interface import LayerInterface

STEPS, BATCH, WIDE, UNITS = 9, 3, 5, 18


class NoContention(ContentionMonitor):
    """Other tests may run at the same time."""

    def runs_alone(self) -> bool:
        return False


@pytest.fixture
def regions(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bool]]:
    """Whether each pair of runs had two threads; all calls choose to run side by side where they can."""
    seen: list[bool] = []
    original = side_by_side.run_region

    def noted(region: ParallelRegion, threads: int) -> bool:
        seen.append(original(region, threads))
        return seen[-1]

    monkeypatch.setattr(side_by_side, "run_region", noted)
    monkeypatch.setattr(side_by_side, "contention", NoContention())
    monkeypatch.setattr(work_partition, "THREAD_COST", 1)
    monkeypatch.setattr(work_partition, "BARRIER_COST", 10**9)
    monkeypatch.setattr(runner, "SPIN_LIMITS", (10**6, 10**6))
    yield seen
    gw.set_num_threads(None)


def computed(layer: LayerInterface, x: Tensor, loss: Callable[[Tensor], Tensor] | None = None) -> list[Tensor]:
    """The results of a layer and, of a loss, the gradients by the input and the parameters."""
    x = x.clone().requires_grad_(loss is not None)
    output, finals = layer(x)
    results = [output, *(finals if isinstance(finals, tuple) else [finals])]
    if loss is None:
        return results
    last = results[1].square().sum()
    return [*results, *torch.autograd.grad(loss(output) + last, [x, *layer.parameters()])]


def on_threads(threads: int, *arguments: object) -> list[Tensor]:
    gw.set_num_threads(threads)
    computed(*arguments)  # type: ignore[arg-type]  # the first call makes the operations
    return computed(*arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["gru", "lstm", "mingru", "nbrc"])
@pytest.mark.parametrize("batch_first", [False, True])
def test_results_and_gradients_are_those_of_one_thread(name: str, batch_first: bool, regions: list[bool]) -> None:
    torch.manual_seed(0)
    layer = gw.nn.Recurrent(name, WIDE, UNITS, num_layers=2, bidirectional=True, batch_first=batch_first)
    x = torch.randn(STEPS, BATCH, WIDE)
    want, want_inference = on_threads(1, layer, x, Tensor.sum), on_threads(1, layer, x)
    assert regions == []
    for threads in (2, 4):
        for _ in range(3):
            regions.clear()
            got = on_threads(threads, layer, x, Tensor.sum)
            assert regions[-4:] == [True] * 4  # two levels, forward and backward
            assert all(torch.equal(a, b) for a, b in zip(want, got, strict=True))
        with torch.no_grad():
            got = on_threads(threads, layer, x)
        assert all(torch.equal(a, b) for a, b in zip(want_inference, got, strict=True))


def test_long_sequences_of_many_blocks(regions: list[bool]) -> None:
    torch.manual_seed(0)
    layer, x = gw.nn.GRU(WIDE, UNITS, bidirectional=True), torch.randn(900, 4, WIDE)
    want = on_threads(1, layer, x, Tensor.sum)
    got = on_threads(2, layer, x, Tensor.sum)
    assert regions[-2:] == [True, True]
    assert all(torch.equal(a, b) for a, b in zip(want, got, strict=True))


def test_large_matrices_that_stay_packed(regions: list[bool]) -> None:
    """The second call finds them packed, and a change of the weights is seen."""
    torch.manual_seed(0)
    layer, x = gw.nn.GRU(64, 200, bidirectional=True), torch.randn(3, 2, 64)
    with torch.no_grad():
        for _ in range(2):
            want = on_threads(1, layer, x)
            assert all(torch.equal(a, b) for a, b in zip(want, on_threads(2, layer, x), strict=True))
            layer.weight_hh_l0_reverse.mul_(0.5)
    assert regions


@pytest.mark.parametrize("kept", [slice(None, UNITS), slice(UNITS, None)])
def test_a_direction_without_a_gradient_gets_none(kept: slice, regions: list[bool]) -> None:
    torch.manual_seed(0)
    layer, x = gw.nn.GRU(WIDE, UNITS, bidirectional=True), torch.randn(STEPS, BATCH, WIDE)
    found: list[dict[str, Tensor | None]] = []
    for threads in (1, 2):
        gw.set_num_threads(threads)
        for _ in range(2):
            layer.zero_grad()
            layer(x)[1][0 if kept.start is None else 1].sum().backward()
        found.append({key: parameter.grad for key, parameter in layer.named_parameters()})
    one, two = found
    assert {key for key, grad in one.items() if grad is not None} == {
        key for key, grad in two.items() if grad is not None
    }
    assert all(torch.equal(grad, two[key]) for key, grad in one.items() if grad is not None and two[key] is not None)


def test_frozen_directions(regions: list[bool]) -> None:
    torch.manual_seed(0)
    layer, x = gw.nn.GRU(WIDE, UNITS, bidirectional=True), torch.randn(STEPS, BATCH, WIDE)
    for name, parameter in layer.named_parameters():
        parameter.requires_grad_("reverse" in name)
    found = []
    for threads in (1, 2):
        gw.set_num_threads(threads)
        for _ in range(2):
            layer.zero_grad()
            layer(x)[0].sum().backward()
        found.append([parameter.grad for parameter in layer.parameters()])
    assert [grad is None for grad in found[0]] == [grad is None for grad in found[1]] == [True] * 4 + [False] * 4
    assert all(torch.equal(a, b) for a, b in zip(found[0][4:], found[1][4:], strict=True))


def test_an_output_that_was_changed_in_place(regions: list[bool]) -> None:
    torch.manual_seed(0)
    layer, x = gw.nn.GRU(WIDE, UNITS, bidirectional=True), torch.randn(STEPS, BATCH, WIDE)

    def loss(output: Tensor) -> Tensor:
        return torch.nn.functional.relu(output, inplace=True).sum()

    want = on_threads(1, layer, x, loss)
    got = on_threads(2, layer, x, loss)
    assert all(torch.equal(a, b) for a, b in zip(want, got, strict=True))


def test_second_derivatives(regions: list[bool]) -> None:
    torch.manual_seed(0)
    layer = gw.nn.GRU(2, 3, bidirectional=True, dtype=torch.float64)
    x = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)
    gw.set_num_threads(2)
    layer(x)
    layer(x)
    assert regions
    torch.autograd.gradcheck(lambda x: layer(x)[0], x)
    torch.autograd.gradgradcheck(lambda x: layer(x)[0], x)


def test_batches_of_gradients(regions: list[bool]) -> None:
    torch.manual_seed(0)
    layer, x = gw.nn.GRU(WIDE, UNITS, bidirectional=True), torch.randn(STEPS, BATCH, WIDE, requires_grad=True)
    grads = torch.randn(2, STEPS, BATCH, 2 * UNITS)
    gw.set_num_threads(2)
    layer(x)
    output = layer(x)[0]
    assert regions
    (batched,) = torch.autograd.grad(output, x, grads, is_grads_batched=True, retain_graph=True)
    for grad, by in zip(grads, batched, strict=True):
        (want,) = torch.autograd.grad(output, x, grad, retain_graph=True)
        torch.testing.assert_close(by, want)


def test_runs_in_turn_where_threads_are_taken(regions: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    layer, x = gw.nn.LSTM(WIDE, UNITS, bidirectional=True), torch.randn(STEPS, BATCH, WIDE)
    want = on_threads(1, layer, x, Tensor.sum)
    monkeypatch.setattr(side_by_side, "run_region", lambda region, threads: False)
    got = on_threads(2, layer, x, Tensor.sum)
    assert all(torch.equal(a, b) for a, b in zip(want, got, strict=True))


def test_several_callers_at_the_same_time(regions: list[bool]) -> None:
    torch.manual_seed(0)
    layer = gw.nn.GRU(WIDE, UNITS, bidirectional=True)
    inputs = [torch.randn(STEPS, BATCH, WIDE) for _ in range(3)]
    want = [on_threads(1, layer, x, Tensor.sum) for x in inputs]
    gw.set_num_threads(2)
    wrong: list[int] = []
    ended: list[int] = []

    def call(number: int) -> None:
        for _ in range(60):
            got = computed(layer, inputs[number], Tensor.sum)
            wrong.extend(number for a, b in zip(got, want[number], strict=True) if not torch.equal(a, b))
        ended.append(number)

    callers = [threading.Thread(target=call, args=(number,)) for number in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(timeout=120)
    assert sorted(ended) == [0, 1, 2]
    assert wrong == []


def test_ragged_calls_are_not_paired(regions: list[bool]) -> None:
    layer, x = gw.nn.GRU(WIDE, UNITS, bidirectional=True), torch.randn(STEPS, BATCH, WIDE)
    gw.set_num_threads(2)
    for _ in range(2):
        layer(x, lengths=torch.tensor([9, 4, 2]))
    assert regions == []


def test_values_that_are_computed_after_the_kernels_prevent_it(
    regions: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, x = gw.nn.GRU(WIDE, UNITS, bidirectional=True), torch.randn(STEPS, BATCH, WIDE)
    monkeypatch.setattr(Executor, "computes", True)
    gw.set_num_threads(2)
    for _ in range(2):
        layer(x)
    assert regions == []
