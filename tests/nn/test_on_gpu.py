"""Layers by Triton's kernels in float32 against the CPU engine in float64: on a GPU under `pytest -m gpu`.

Without a GPU the first case of each test runs in Triton's interpreter, so that the tests themselves are tested.
"""

import copy
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from torch import Tensor

import gatewright as gw
from benchmarks.gpu_device import allow_tf32
from benchmarks.gpu_newton import diagonal_gru, diagonal_lstm
from gatewright import cells
from gatewright.nn import Recurrent
from tests.float32_products import float32_products_kept
from tests.parity.assertions import assert_parity

pytestmark = pytest.mark.gpu
IS_GPU = os.environ["TRITON_INTERPRET"] == "0"
NO_GPU = "needs a CUDA device, and torch finds none: pytest -m gpu runs this test where there is one"
T = TypeVar("T")


def some(cases: Sequence[T]) -> Sequence[T]:
    """All on a GPU, the first one in the interpreter."""
    return cases if IS_GPU else cases[:1]


@pytest.fixture
def device() -> Iterator[torch.device]:
    """Where kernels run, with products in float32."""
    if IS_GPU and not torch.cuda.is_available():
        pytest.skip(NO_GPU)
    with float32_products_kept():
        allow_tf32(allowed=False)
        yield torch.device("cuda" if IS_GPU else "cpu")


@pytest.fixture
def cuda(device: torch.device) -> torch.device:
    """A CUDA device, for what no CPU has."""
    if device.type != "cuda":
        pytest.skip(NO_GPU)
    return device


LAYERS: Mapping[str, dict[str, Any]] = {
    "gru": {},
    "gru(after)": {"cell": cells.gru(reset="after"), "bidirectional": True},
    "lstm": {"num_layers": 2},
    "lstm_peephole": {"bidirectional": True},
    "layer_norm(gru)": {"cell": gw.layer_norm(cells.gru)},
    "layer_norm(lstm)": {"cell": gw.layer_norm(cells.lstm)},
    "zoneout(lstm)": {"cell": gw.zoneout(0.3)(cells.lstm)},
    "mingru": {"num_layers": 2},
    "minlstm": {},
    "sru": {"bidirectional": True},
    "qrnn": {},
    "hgrn": {},
    "indrnn": {},
    "slstm": {},
    "rhn": {},
    "ligru": {},
    "mut1": {},
    "lem": {},
}
EXTENTS = [(24, 7, 5), (40, 33, 20), (300, 9, 70), (24, 0, 5), (24, 1, 1), (128, 70, 33)]
"""Units, steps and rows: of one tile and of several, not multiples of anything."""


def layer_of(name: str, units: int, device: torch.device, **options: Any) -> Recurrent:
    torch.manual_seed(0)
    settings = {"cell": name, "backend": "triton", **LAYERS.get(name, {}), **options}
    return Recurrent(settings.pop("cell"), units, units, **settings).to(device).eval()


def on_cpu(layer: Recurrent) -> Recurrent:
    """The same layer by the CPU engine, in float64."""
    other = copy.deepcopy(layer).cpu().double()
    other.backend, other.newton = "auto", None
    return other


def numbers(layer: Recurrent, x: Tensor, *, order: int = 1, **options: Any) -> list[np.ndarray]:
    """The results of a call, and its derivatives of an order by everything."""
    x = x.to(next(layer.parameters())).requires_grad_()
    output, finals, *_ = layer(x, **options)
    results = [output, *(finals if isinstance(finals, tuple) else [finals])]
    found, leaves = results, [x, *layer.parameters()]
    for number in range(order):
        loss = sum(((part.square() + part.sin()).sum() for part in found), x.new_zeros(()))
        again = number + 1 < order
        found = torch.autograd.grad(loss, leaves, create_graph=again, allow_unused=True, materialize_grads=True)
    return [tensor.detach().cpu().numpy() for tensor in (*results, *(found if order else ()))]


def check(layer: Recurrent, x: Tensor, *, order: int = 1, **options: Any) -> None:
    """Hold a layer to the CPU engine in float64."""
    with np.errstate(all="ignore"):
        got = numbers(layer, x, order=order, **options)
    want = numbers(on_cpu(layer), x, order=order, **options)
    want = [array.astype(np.float32) for array in want]
    width = 4 * layer.hidden_size * max(x.shape[1], 1)  # terms of a gradient's sums
    assert_parity(got, want, dtype="float32", steps=max(len(x), 1) * order, width=width, cell=layer.trace.name)


@pytest.mark.parametrize("name", some(list(LAYERS)))
def test_layers(name: str, device: torch.device) -> None:
    units, steps, rows = EXTENTS[0]
    lengths = [steps, 0, 3, *range(1, rows - 2)]
    check(layer_of(name, units, device), torch.randn(steps, rows, units), lengths=lengths)


@pytest.mark.parametrize("extent", some(EXTENTS))
@pytest.mark.parametrize("name", some(["gru", "gru(after)", "lstm", "layer_norm(lstm)", "mingru"]))
def test_extents(name: str, extent: tuple[int, int, int], device: torch.device) -> None:
    units, steps, rows = extent if IS_GPU else (5, 3, 2)
    check(layer_of(name, units, device), torch.randn(steps, rows, units))


@pytest.mark.parametrize("name", some(["gru", "lstm", "layer_norm(gru)", "slstm"]))
def test_lengths_in_the_stepped_form(name: str, device: torch.device) -> None:
    units = 300 if IS_GPU else 3
    check(layer_of(name, units, device, num_layers=1), torch.randn(9, 20, units), lengths=[9, 0, 3, *[5] * 17])


@pytest.mark.parametrize("name", some(["gru", "gru(after)", "lstm", "layer_norm(gru)", "mingru", "indrnn"]))
def test_second_derivatives(name: str, device: torch.device) -> None:
    units = 24 if IS_GPU else 3
    check(layer_of(name, units, device), torch.randn(5, 3, units), order=2, lengths=[5, 2, 0])


@pytest.mark.parametrize("name", some(["mingru", "minlstm", "sru"]))
def test_long_scans_in_spans(name: str, device: torch.device) -> None:
    steps, units = (5000, 64) if IS_GPU else (9, 3)
    check(layer_of(name, units, device, num_layers=1, bidirectional=False), torch.randn(steps, 1, units))


@pytest.mark.parametrize("cell", some([diagonal_gru, diagonal_lstm, cells.indrnn]))
def test_newton_s_iterations(cell: gw.Cell, device: torch.device) -> None:
    steps, units = (700, 64) if IS_GPU else (4, 3)
    layer = layer_of("", units, device, cell=cell, newton=gw.nn.Newton(tolerance=1e-5))
    check(layer, torch.randn(steps, 3, units), lengths=[steps, 2, 0])
    assert layer.newton_reports[0].iterations > 1
    assert "kernels for" in str(layer.plan())


@pytest.mark.parametrize("dtype", some([torch.bfloat16, torch.float16]))
@pytest.mark.parametrize("name", some(["gru", "lstm"]))
def test_narrow_products(name: str, dtype: torch.dtype, device: torch.device) -> None:
    units = 128 if IS_GPU else 3
    layer = layer_of(name, units, device, num_layers=1)
    x = torch.randn(5, 3, units)
    exact = on_cpu(layer)(x.double())[0]
    with np.errstate(all="ignore"), torch.no_grad():
        layer.products = "bfloat16" if dtype == torch.bfloat16 else "float16"
        got = layer(x.to(device))[0].cpu().double()
    tolerance = 4 * torch.finfo(dtype).eps
    torch.testing.assert_close(got, exact, rtol=tolerance, atol=tolerance)


def test_tf32(cuda: torch.device) -> None:
    layer, x = layer_of("gru", 64, cuda), torch.randn(20, 33, 64)
    exact = on_cpu(layer)(x.double())[0]
    strict = layer(x.to(cuda))[0].cpu().double()
    allow_tf32(allowed=True)
    assert "products in tf32" in str(layer.plan())
    rounded = layer(x.to(cuda))[0].cpu().double()
    eps = 2**-10
    torch.testing.assert_close(rounded, exact, rtol=4 * eps, atol=4 * eps)
    assert (strict - exact).abs().max() < (rounded - exact).abs().max()


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("order", [1, 2])
def test_what_cudnn_runs(kind: str, order: int, cuda: torch.device) -> None:
    """Its results are cuDNN's, its second derivatives ours."""
    layer = getattr(gw.nn, kind)(24, 24, backend="cudnn").to(cuda)
    assert layer.plan().backend == "cudnn"
    check(layer, torch.randn(7, 5, 24), order=order)


def test_gradients_by_cudnn_in_evaluation(cuda: torch.device) -> None:
    layer = gw.nn.LSTM(24, 24, num_layers=2, dropout=0.5, backend="cudnn").to(cuda).eval()
    check(layer, torch.randn(7, 5, 24))


@pytest.mark.parametrize("name", ["gru", "lstm", "mingru"])
def test_streams_and_graphs_of_the_caller(name: str, cuda: torch.device) -> None:
    layer, x = layer_of(name, 300, cuda), torch.randn(40, 20, 300, device=cuda)
    with torch.no_grad():
        want = layer(x)[0]
        assert torch.equal(layer(x)[0], want)  # by graphs of steps from the second call on
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                layer(x)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            recorded = layer(x)[0]
        graph.replay()
        torch.cuda.synchronize()
    assert torch.equal(recorded, want)


@pytest.mark.parametrize("name", ["gru(after)", "lstm", "mingru"])
def test_a_training_step_in_a_graph_of_the_caller(name: str, cuda: torch.device) -> None:
    """Of both directions too, each on its stream; replays read what the inputs hold then."""
    layer, x = layer_of(name, 300, cuda), torch.randn(20, 20, 300, device=cuda)

    def step() -> list[Tensor]:
        output = layer(x)[0]
        return [output.detach(), *torch.autograd.grad(output.square().sum(), list(layer.parameters()))]

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        recorded = step()
    for _ in range(2):
        x.normal_()
        graph.replay()
        for got, want in zip(recorded, step(), strict=True):
            torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("lengths", [None, [9, 0, 3, *[5] * 17]])
@pytest.mark.parametrize("name", ["gru(after)", "lstm", "layer_norm(gru)", "mingru"])
def test_the_host_waits_for_nothing(name: str, lengths: list[int] | None, cuda: torch.device) -> None:
    layer, x = layer_of(name, 300, cuda), torch.randn(9, 20, 300, device=cuda, requires_grad=True)

    def step() -> None:
        layer(x, lengths=lengths)[0].square().sum().backward()

    for _ in range(3):
        step()
    x.grad = None
    torch.cuda.set_sync_debug_mode("error")
    try:
        step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert x.grad is not None


def test_another_device_than_the_present_one(cuda: torch.device) -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two CUDA devices")
    for name, units in (("gru(after)", 24), ("gru(after)", 300), ("mingru", 24)):
        check(layer_of(name, units, torch.device("cuda:1")), torch.randn(9, 5, units))


def test_no_kernel_is_compiled_again_for_another_batch(cuda: torch.device) -> None:
    from triton import knobs  # pyright: ignore[reportMissingTypeStubs]

    made: list[str] = []
    layers = [layer_of(name, 50, cuda) for name in ("gru", "lstm", "layer_norm(gru)", "mingru")]
    try:
        for steps, rows in ((9, 5), (10, 7), (33, 32)):
            for layer in layers:
                x = torch.randn(steps, rows, 50, device=cuda, requires_grad=True)
                layer(x)[0].square().sum().backward()
            knobs.runtime.jit_post_compile_hook = lambda **told: made.append(told["repr"])
    finally:
        knobs.runtime.jit_post_compile_hook = None
    assert made == []


def test_layers_in_bfloat16(cuda: torch.device) -> None:
    """By cuDNN where torch hands these numbers over, else by Triton's kernels."""
    layer, x = gw.nn.GRU(64, 64).to(cuda), torch.randn(20, 33, 64)
    exact = on_cpu(layer)(x.double())[0]
    output = layer.bfloat16()(x.to(cuda).bfloat16())[0]
    assert output.dtype == torch.bfloat16
    tolerance = 4 * torch.finfo(torch.bfloat16).eps
    torch.testing.assert_close(output.cpu().double(), exact, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", some(["gru", "mingru"]))
def test_the_same_bits_each_time(name: str, device: torch.device) -> None:
    units = 128 if IS_GPU else 3
    layer, x = layer_of(name, units, device), torch.randn(5, 3, units)
    with np.errstate(all="ignore"):
        first, second = numbers(layer, x), numbers(layer, x)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.filterwarnings("ignore")  # Inductor's own, as that tf32 is off
@pytest.mark.parametrize("name", ["gru", "lstm", "mingru"])
def test_compiled_by_torch(name: str, cuda: torch.device) -> None:
    layer, x = layer_of(name, 64, cuda), torch.randn(9, 5, 64, device=cuda, requires_grad=True)
    compiled = torch.compile(layer, fullgraph=True)
    for run in (layer, compiled):
        output = run(x)[0]
        (by_x,) = torch.autograd.grad(output.square().sum(), x)
        if run is layer:
            want = output, by_x
    torch.testing.assert_close((output, by_x), want, rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_graphs_of_torch_compile(cuda: torch.device) -> None:
    """They give the memory of their first runs to others: nothing that is kept may lie there."""
    layer, x = layer_of("lstm", 300, cuda), torch.randn(9, 5, 300, device=cuda, requires_grad=True)
    compiled = torch.compile(layer, mode="reduce-overhead")
    for _ in range(5):
        torch.compiler.cudagraph_mark_step_begin()
        results = [(output := run(x)[0]).clone() for run in (layer, compiled)]
        torch.testing.assert_close(results[1], results[0], rtol=1e-5, atol=1e-5)
        (by_x,) = torch.autograd.grad(output.square().sum(), x)
        (want,) = torch.autograd.grad(layer(x)[0].square().sum(), x)
        torch.testing.assert_close(by_x, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("units", some([32, 300]))
def test_dropout_and_zoneout_are_drawn_again_in_the_gradient(units: int, device: torch.device) -> None:
    """A directional derivative of one draw is that of its gradient, in the resident form and in the stepped one."""
    units = units if IS_GPU else 3
    layer = layer_of("", units, device, cell=gw.zoneout(0.3)(gw.recurrent_dropout(0.3)(cells.gru))).train()
    x, direction = torch.randn(5, 3, units, device=device), torch.randn(5, 3, units, device=device)

    def loss(x: Tensor) -> Tensor:
        torch.manual_seed(1)
        return layer(x)[0].double().square().sum()

    with np.errstate(all="ignore") if not IS_GPU else nullcontext():
        (by_x,) = torch.autograd.grad(loss(x.requires_grad_()), x)
        with torch.no_grad():
            step = 1e-2
            slope = (loss(x + step * direction) - loss(x - step * direction)) / (2 * step)
    torch.testing.assert_close((by_x * direction).sum().double(), slope, rtol=5e-3, atol=1e-3)
