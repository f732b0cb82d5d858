"""Autocast and narrow layers: the dtypes that torch.nn gives, different ones for each layer, and as exact numbers."""

import copy
import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence

import gatewright as gw
from gatewright.errors import OptionError, ShapeError

STEPS, BATCH, INPUT, HIDDEN = 4, 2, 3, 5
LAYERS: dict[str, tuple[str, dict[str, Any]]] = {
    "RNN": ("RNN", {}),
    "GRU": ("GRU", {}),
    "LSTM": ("LSTM", {}),
    "stacked": ("LSTM", {"num_layers": 2, "bidirectional": True, "bias": False}),
    "projected": ("LSTM", {"proj_size": 2}),
}
CELLS = ("RNNCell", "GRUCell", "LSTMCell")
# torch's own: oneDNN has no projections
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN:UserWarning")


def flat(results: Any) -> list[Tensor]:
    """All tensors of nested results."""
    if isinstance(results, PackedSequence):
        return [results.data]
    return [results] if isinstance(results, Tensor) else [tensor for one in results for tensor in flat(one)]


def converted(given: Any, dtype: torch.dtype) -> Any:
    """Nested arguments in another dtype."""
    if isinstance(given, Tensor | PackedSequence):
        return given.to(dtype)
    return tuple(converted(each, dtype) for each in given)


def outcome(layer: nn.Module, given: tuple[Any, ...], dtype: torch.dtype | None) -> list[Tensor]:
    """The results of a call, under autocast to a dtype or not, and the gradients by the parameters."""
    with torch.autocast("cpu", dtype=dtype or torch.bfloat16, enabled=dtype is not None):
        results = flat(layer(*given))
    gradients = torch.autograd.grad(sum(tensor.double().square().sum() for tensor in results), list(layer.parameters()))
    return [*(tensor.detach() for tensor in results), *gradients]


def check_alike(ours: nn.Module, theirs: nn.Module, given: tuple[Any, ...], dtype: torch.dtype) -> None:
    """Hold a layer to the dtypes of torch's own layer, and to numbers that are as near to those of float64."""
    ours.load_state_dict(theirs.state_dict())
    got, want = (outcome(layer, given, dtype) for layer in (ours, theirs))
    assert [tensor.dtype for tensor in got] == [tensor.dtype for tensor in want]
    exact = outcome(copy.deepcopy(theirs).double(), converted(given, torch.float64), None)
    for our, their, right in zip(got, want, exact, strict=True):
        error, room = (float((tensor.double() - right).abs().max()) for tensor in (our, their))
        assert error <= max(2 * room, 2 * torch.finfo(dtype).eps * float(right.abs().max()))


@pytest.mark.parametrize(
    ("kind", "dtype"), [*((kind, torch.bfloat16) for kind in LAYERS), ("RNN", torch.float16), ("GRU", torch.float16)]
)
def test_layers(kind: str, dtype: torch.dtype) -> None:
    name, options = LAYERS[kind]
    theirs, ours = (getattr(home, name)(INPUT, HIDDEN, **options) for home in (nn, gw.nn))
    x = torch.randn(STEPS, BATCH, INPUT)
    states = [torch.randn_like(state, dtype=torch.float32) for state in flat(theirs(x)[1])]
    initial = tuple(states) if len(states) > 1 else states[0]
    for _ in range(2):  # the second time by the fast path
        check_alike(ours, theirs, (x,), dtype)
        check_alike(ours, theirs, (x.to(dtype),), dtype)
        check_alike(ours, theirs, (x, initial), dtype)
    check_alike(ours, theirs, (x.to(dtype), converted(initial, dtype)), dtype)
    check_alike(ours, theirs, (pack_sequence([x[:, 0], x[:2, 1]]),), dtype)
    check_alike(ours, theirs, (pack_sequence([x[:, 0].to(dtype), x[:2, 1].to(dtype)]),), dtype)


@pytest.mark.parametrize("kind", CELLS)
def test_cells(kind: str) -> None:
    """A single step is torch's own."""
    theirs, ours = (getattr(home, kind)(INPUT, HIDDEN) for home in (nn, gw.nn))
    ours.load_state_dict(theirs.state_dict())
    got, want = (outcome(layer, (torch.ones(BATCH, INPUT),), torch.bfloat16) for layer in (ours, theirs))
    assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))


def test_the_plan_says_what_products_are_rounded_to() -> None:
    layer, x = gw.nn.GRU(INPUT, HIDDEN), torch.randn(STEPS, BATCH, INPUT)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        plan = layer.plan()
        reason = "compiled for this processor; products in bfloat16; single steps of at most 4 rows in float32"
        assert str(plan).splitlines()[0] == f"llvm: {reason}"
        assert "bfloat16" in plan.kernels(STEPS, BATCH).layout
        output, last, gates = layer(x, mask=torch.ones(STEPS, BATCH), return_gates=True)
        assert (output.dtype, last.dtype, set(gates)) == (torch.float32, torch.float32, {"r", "z", "n"})
        assert layer(x)[0].dtype == output.dtype
        reason = gw.nn.LSTM(INPUT, HIDDEN, bidirectional=True).plan().reason
        assert reason.endswith("products in bfloat16, results in bfloat16")
        assert str(gw.nn.GRU(INPUT, HIDDEN).double().plan()) == (
            "torch-fused: the compiled engine cannot run this: autocast is on, and the dtype is float64; torch.gru "
            "runs it (cuDNN on CUDA); masks, resets, gates and second derivatives go operation by operation"
        )
    assert "bfloat16" not in str(layer.plan())
    assert "bfloat16" not in layer.plan().kernels(STEPS, BATCH).layout


def test_an_lstm_in_float16_runs_where_torchs_does_not() -> None:
    x = torch.randn(STEPS, BATCH, INPUT)
    with torch.autocast("cpu", dtype=torch.float16):
        layer = gw.nn.LSTM(INPUT, HIDDEN)
        assert layer.plan().reason == "compiled for this processor"
        assert layer(x)[0].isfinite().all()
        fused = gw.nn.LSTM(INPUT, HIDDEN, backend="torch-fused")
        with pytest.raises(OptionError, match=re.escape("torch.lstm does not run under autocast to float16")):
            fused(x)


@pytest.mark.parametrize("steps", [1, 30, 1000])
@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM"])
def test_errors_are_those_that_are_stated(name: str, steps: int) -> None:
    """Beside float64: at most 1 % of the largest value and 0.5 % in the root mean square, whatever the length."""
    layer = getattr(gw.nn, name)(32, 64)
    x, seeds = torch.randn(steps, 4, 32), torch.randn(steps, 4, 64)
    results: list[list[Tensor]] = []
    for own, dtype in ((copy.deepcopy(layer).double(), torch.float64), (layer, torch.float32)):
        own.products = "bfloat16" if dtype == torch.float32 else None
        values = x.to(dtype).requires_grad_()
        output = own(values)[0]
        gradients = torch.autograd.grad(output, [values, *own.parameters()], seeds.to(dtype))
        results.append([tensor.detach().double() for tensor in (output, *gradients)])
    for exact, rounded in zip(*results, strict=True):
        error = (rounded - exact).abs()
        assert float(error.max()) <= 0.01 * float(exact.abs().max())
        assert float(error.norm()) <= 0.005 * float(exact.norm())
        assert steps == 1 or float(error.max()) > 1e-5 * float(exact.abs().max())


@pytest.mark.parametrize("name", ["GRU", "LSTM"])
def test_a_call_with_lengths(name: str) -> None:
    """The sums of a gradient go over pairs of the steps that rows take, an odd number of them."""
    layer, x = getattr(gw.nn, name)(INPUT, 17), torch.randn(5, 3, INPUT)
    results: list[list[Tensor]] = []
    for dtype in (torch.bfloat16, None):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype is not None):
            output = layer(x, lengths=[5, 2, 4])[0]
        gradients = torch.autograd.grad(output.float().square().sum(), list(layer.parameters()))
        results.append([output.detach().float(), *gradients])
    for rounded, plain in zip(*results, strict=True):
        assert 0 < float((rounded - plain).abs().max()) < 0.02 * float(plain.abs().max())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM"])
def test_narrow_layers(name: str, dtype: torch.dtype) -> None:
    """Computed in float32; results and gradients are rounded once."""
    layer = getattr(gw.nn, name)(INPUT, HIDDEN).to(dtype)
    wide = copy.deepcopy(layer).double()
    x = torch.randn(STEPS, BATCH, INPUT).to(dtype)
    for _ in range(2):
        got, want = (outcome(each, (values,), None) for each, values in ((layer, x), (wide, x.double())))
        assert {tensor.dtype for tensor in got} == {dtype}
        for rounded, right in zip(got, want, strict=True):
            error = float((rounded.double() - right).abs().max())
            assert error < 4 * torch.finfo(dtype).eps * float(right.abs().max())
    assert layer.plan().backend == "llvm"
    with pytest.raises(ShapeError, match="of another dtype than its parameters"):
        layer(x.float())


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_the_plan_tells_single_steps_that_multiply_in_float32(kind: str) -> None:
    layer = getattr(gw.nn, kind)(INPUT, HIDDEN)
    few, more = torch.randn(1, 4, INPUT), torch.randn(1, 5, INPUT)
    plain = [layer(x)[0] for x in (few, more)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        plan = layer.plan()
        rounded = [layer(x)[0] for x in (few, more)]
    assert plan.reason.endswith("; single steps of at most 4 rows in float32")
    for gradient in (False, True):
        assert "bfloat16" not in plan.kernels(1, 4, gradient=gradient).layout
        assert "bfloat16" in plan.kernels(1, 5, gradient=gradient).layout
        assert "bfloat16" in plan.kernels(1, 4, gradient=gradient, ragged=True).layout
        assert "bfloat16" in plan.kernels(2, 4, gradient=gradient).layout
    assert torch.equal(rounded[0], plain[0].to(rounded[0].dtype))
    assert not torch.equal(rounded[1], plain[1].to(rounded[1].dtype))


def test_the_plan_of_narrow_layers_and_of_the_option_of_a_float32_layer() -> None:
    """Only a call that converts its arguments runs single steps in float32."""
    narrow, layer = gw.nn.GRU(INPUT, HIDDEN).bfloat16(), gw.nn.GRU(INPUT, HIDDEN)
    assert narrow.plan().reason.endswith("results in bfloat16; single steps of at most 4 rows in float32")
    assert gw.nn.GRU(INPUT, HIDDEN).half().plan().reason.endswith("products in float32, results in float16")
    x = torch.randn(1, 4, INPUT)
    plain = layer(x)[0]
    layer.products = "bfloat16"
    assert layer.plan().reason.endswith("; products in bfloat16")
    assert "bfloat16" in layer.plan().kernels(1, 4).layout
    assert not torch.equal(layer(x)[0], plain)


def test_products_of_a_float32_layer() -> None:
    """The layer's own option: the numbers that autocast rounds, in float32."""
    layer, x = gw.nn.LSTM(INPUT, HIDDEN), torch.randn(STEPS, BATCH, INPUT)
    plain = layer(x)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = layer(x)[0]
    layer.products = "bfloat16"
    for _ in range(2):
        output = layer(x)[0]
        assert output.dtype == torch.float32
        assert torch.equal(output.bfloat16(), rounded)
        assert not torch.equal(output, plain)
    assert "products in bfloat16" in layer.plan().reason
    layer.products = None
    assert torch.equal(layer(x)[0], plain)


def test_graphs() -> None:
    """A graph holds the operator with its products."""
    layer, x = gw.nn.GRU(INPUT, HIDDEN), torch.randn(STEPS, BATCH, INPUT)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        want, got = layer(x)[0], compiled(x)[0]
        exported = torch.export.export(layer, (x,)).module()(x)[0]
    assert not torch.equal(want, layer(x)[0])
    torch.testing.assert_close(got, want, rtol=0, atol=1e-6)
    torch.testing.assert_close(exported, want, rtol=0, atol=1e-6)
    expected = torch.autograd.grad(want.sum(), list(layer.parameters()))
    for gradient, right in zip(torch.autograd.grad(got.sum(), list(layer.parameters())), expected, strict=True):
        torch.testing.assert_close(gradient, right, rtol=0, atol=0.01 * float(right.abs().max()))


@pytest.mark.parametrize("rows", [1, 4, 5])
@pytest.mark.parametrize(
    ("own", "cast"), [(torch.bfloat16, None), (torch.float16, None), (torch.float32, torch.bfloat16)]
)
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_single_steps(kind: str, own: torch.dtype, cast: torch.dtype | None, rows: int) -> None:
    """The dtypes are those of longer calls; parameters are read again where they were changed."""
    layer = getattr(gw.nn, kind)(6, 10).to(own)
    x = torch.randn(2, rows, 6, dtype=own)
    for change in (1.0, 0.5):
        layer.weight_hh_l0.data.mul_(change)
        exact = copy.deepcopy(layer).double()
        right = [tensor.detach() for tensor in flat(exact(x.double()))]
        with torch.autocast("cpu", dtype=cast or torch.bfloat16, enabled=cast is not None):
            for gradients in (True, False, False):
                with torch.set_grad_enabled(gradients):
                    whole = flat(layer(x))
                    first, states = layer(x[:1])
                    second, states = layer(x[1:], states)
                results = [torch.cat([first, second]), *flat(states)]
                assert [tensor.dtype for tensor in results] == [tensor.dtype for tensor in whole]
                for result, wanted in zip(results, right, strict=True):
                    error = float((result.detach() - wanted).abs().max())
                    assert error <= 0.01 * float(wanted.abs().max())


def single_step(own: torch.dtype) -> tuple[nn.Module, nn.Module, tuple[Tensor, Tensor]]:
    """Layers of torch and of ours that has been called, an input of one step and a state."""
    theirs, ours = (home.GRU(INPUT, HIDDEN).to(own) for home in (nn, gw.nn))
    given = torch.randn(1, BATCH, INPUT, dtype=own), torch.randn(1, BATCH, HIDDEN, dtype=own)
    ours(*given)  # the first call makes the operations
    return ours, theirs, given


def test_the_gradient_of_a_single_step_under_autocast() -> None:
    check_alike(*single_step(torch.float32), torch.bfloat16)


def test_the_gradient_of_a_single_step_in_bfloat16() -> None:
    ours, theirs, given = single_step(torch.bfloat16)
    ours.load_state_dict(theirs.state_dict())
    eps = torch.finfo(torch.bfloat16).eps
    for our, their in zip(outcome(ours, given, None), outcome(theirs, given, None), strict=True):
        torch.testing.assert_close(our, their, rtol=4 * eps, atol=4 * eps)
