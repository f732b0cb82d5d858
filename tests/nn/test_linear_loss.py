"""gw.nn.linear_cross_entropy against torch's two functions: losses, gradients of every order, memory, and errors."""

import math

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

import gatewright.nn.linear_loss as module
from gatewright.errors import OptionError, ShapeError
from gatewright.nn import linear, linear_cross_entropy
from tests.nn.narrow_cases import NARROW_CASES

EPS = torch.finfo(torch.bfloat16).eps
CLOSE = {torch.float32: {"rtol": 3e-5, "atol": 3e-5}, torch.float64: {"rtol": 1e-11, "atol": 1e-11}}
CASES = [((1,), 3, 2), ((7, 5), 4, 11), ((300,), 20, 77), ((3, 100), 17, 1000)]
REDUCTIONS = ["mean", "sum", "none"]


@pytest.fixture(autouse=True)
def small_work_runs_on_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "MIN_ROWS", 1)
    monkeypatch.setattr(linear, "MIN_PRODUCTS", 1)


def by_torch(x: Tensor, weight: Tensor, bias: Tensor | None, target: Tensor, **options: object) -> Tensor:
    logits = functional.linear(x.reshape(-1, x.shape[-1]), weight, bias)
    loss = functional.cross_entropy(logits, target.reshape(-1), **options)  # type: ignore[arg-type]
    return loss.view(target.shape) if options.get("reduction") == "none" else loss


def operands(
    shape: tuple[int, ...], features: int, classes: int, dtype: torch.dtype = torch.float64, *, bias: bool = True
) -> tuple[list[Tensor], Tensor]:
    torch.manual_seed(0)
    shapes = [(*shape, features), (classes, features), (classes,)]
    tensors = [torch.randn(own, dtype=dtype, requires_grad=True) for own in shapes[: 2 + bias]]
    return tensors, torch.randint(classes, shape)


def check_loss(loss: torch.Tensor, expected: torch.Tensor, dtype: torch.dtype) -> None:
    """The same numbers, and NaN in the same places: the mean over no target at all."""
    undefined = expected.isnan()
    assert loss.isnan().equal(undefined)
    torch.testing.assert_close(loss[~undefined], expected[~undefined], **CLOSE[dtype])


@pytest.mark.parametrize("ignored", [False, True], ids=["all", "ignored"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", CLOSE)
def test_losses_and_gradients_are_those_of_torch(
    dtype: torch.dtype, bias: bool, reduction: str, smoothing: float, ignored: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK_BYTES", 1)  # so that there are several blocks
    options = {"label_smoothing": smoothing, "reduction": reduction}
    for shape, features, classes in CASES:
        tensors, target = operands(shape, features, classes, dtype, bias=bias)
        if ignored:
            target[torch.rand(shape) < 0.4] = -100
        x, weight, *biases = tensors
        own_bias = biases[0] if bias else None
        loss = linear_cross_entropy(x, weight, own_bias, target, **options)
        expected = by_torch(x, weight, own_bias, target, **options)
        check_loss(loss, expected, dtype)
        flow = torch.randn_like(expected)
        for again in (True, False):  # the first time it was computed with the loss, unless there is no reduction
            gradients = torch.autograd.grad(loss, tensors, flow, retain_graph=again)
            for gradient, other in zip(gradients, torch.autograd.grad(expected, tensors, flow, True), strict=True):
                torch.testing.assert_close(gradient, other, **CLOSE[dtype])
        with torch.no_grad():
            loss = linear_cross_entropy(x, weight, own_bias, target, **options)
            check_loss(loss, expected.detach(), dtype)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_derivatives_of_every_order(reduction: str) -> None:
    tensors, target = operands((6,), 4, 5)
    target[2] = -100

    def loss(*operands: Tensor) -> Tensor:
        return linear_cross_entropy(*operands, target, label_smoothing=0.1, reduction=reduction)

    assert gradcheck(loss, tuple(tensors), check_batched_grad=True)
    assert gradgradcheck(loss, tuple(tensors))


@pytest.mark.parametrize("needed", [(True, False, False), (False, True, False), (False, False, True)])
def test_only_gradients_that_are_needed(needed: tuple[bool, ...]) -> None:
    tensors, target = operands((70,), 4, 9)
    for tensor, need in zip(tensors, needed, strict=True):
        tensor.requires_grad_(need)
    linear_cross_entropy(*tensors, target).backward()
    gradients = [tensor.grad for tensor in tensors]
    for tensor in tensors:
        tensor.grad = None
    by_torch(*tensors, target).backward()
    for gradient, tensor in zip(gradients, tensors, strict=True):
        assert (gradient is None) == (tensor.grad is None)
        if gradient is not None:
            torch.testing.assert_close(gradient, tensor.grad)


def test_gradients_of_leaves_add_up() -> None:
    tensors, target = operands((70,), 4, 9)
    linear_cross_entropy(*tensors, target).backward()
    once = [tensor.grad.clone() for tensor in tensors if tensor.grad is not None]
    loss = linear_cross_entropy(*tensors, target)
    loss.backward(retain_graph=True)
    loss.backward()
    for tensor, gradient in zip(tensors, once, strict=True):
        torch.testing.assert_close(tensor.grad, 3 * gradient)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e4])
def test_logits_of_any_size(scale: float) -> None:
    tensors, target = operands((40,), 4, 9, torch.float32)
    tensors = [(tensor * scale).detach().requires_grad_() for tensor in tensors]
    loss, expected = linear_cross_entropy(*tensors, target), by_torch(*tensors, target)
    assert math.isfinite(loss.item())
    torch.testing.assert_close(loss, expected)
    gradients = (torch.autograd.grad(result, tensors) for result in (loss, expected))
    for gradient, other in zip(*gradients, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-4, atol=1e-4 * other.abs().max().item())


def test_no_target_at_all() -> None:
    tensors, _ = operands((5,), 4, 9)
    ignored = torch.full((5,), 7)
    assert linear_cross_entropy(*tensors, ignored, ignore_index=7).isnan()
    assert linear_cross_entropy(*tensors, ignored, ignore_index=7, reduction="sum").item() == 0
    nothing = torch.zeros(0, 4, dtype=torch.float64)
    assert linear_cross_entropy(nothing, *tensors[1:], ignored[:0], reduction="sum").item() == 0


def largest_allocation(run: object) -> int:
    """The bytes of the largest tensor that a call allocates."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        run()  # type: ignore[operator]
    return max(event.self_cpu_memory_usage for event in profiled.events())


def test_logits_are_never_stored_whole() -> None:
    rows, classes = 2048, 5000
    tensors, target = operands((rows,), 4, classes, torch.float32)
    logits = rows * classes * 4
    assert module.block_rows(rows, classes * 4) * classes * 4 <= module.BLOCK_BYTES < logits / 2
    assert largest_allocation(lambda: by_torch(*tensors, target).backward()) >= logits
    module.pools.clear()  # the memory of earlier calls
    assert largest_allocation(lambda: linear_cross_entropy(*tensors, target).backward()) <= module.BLOCK_BYTES
    with torch.no_grad():
        module.pools.clear()
        assert largest_allocation(lambda: linear_cross_entropy(*tensors, target)) <= module.BLOCK_BYTES


def test_the_rows_of_a_block() -> None:
    assert module.block_rows(5, 40) == 5
    assert module.block_rows(700, 40_000) == 384
    assert module.block_rows(4096, 1_000_000) == 128
    for rows in range(1, 3000, 37):
        for row_bytes in (4, 40_000, 70_000, 10**7):
            height = module.block_rows(rows, row_bytes)
            assert 0 < height <= rows
            assert height == rows or height % module.ROWS_STEP == 0
            assert height * row_bytes <= max(module.BLOCK_BYTES, module.ROWS_STEP * row_bytes)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("own", "of_input", "cast"), NARROW_CASES.values(), ids=NARROW_CASES)
def test_narrow_dtypes(
    own: torch.dtype,
    of_input: torch.dtype,
    cast: torch.dtype | None,
    bias: bool,
    reduction: str,
    smoothing: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Beside float64: at most 1 % of the largest value and 0.5 % in the root mean square, in the dtypes of torch."""
    monkeypatch.setattr(module, "BLOCK_BYTES", 1)  # so that there are several blocks
    options = {"label_smoothing": smoothing, "reduction": reduction}
    (x, *parameters), target = operands((3, 100), 17, 301, torch.float32, bias=bias)
    target[torch.rand(target.shape) < 0.3] = -100
    # Of sizes that a network has: the loss is close to the logarithm of the number of classes.
    values = [(x / 4).to(of_input), *((tensor / 4).to(own) for tensor in parameters)]
    tensors = [tensor.detach().requires_grad_() for tensor in values]
    doubles = [tensor.detach().double().requires_grad_() for tensor in tensors]
    flow = torch.linspace(0.5, 1, target.numel()).view(target.shape) if reduction == "none" else torch.tensor(2.0)
    results = []
    for function, given, casts in (
        (linear_cross_entropy, tensors, cast),
        (by_torch, tensors, cast),
        (by_torch, doubles, None),
    ):
        x, weight, *biases = given
        with torch.autocast("cpu", casts or torch.bfloat16, enabled=casts is not None):
            loss = function(x, weight, biases[0] if bias else None, target, **options)
        results.append([loss.detach(), *torch.autograd.grad(loss, given, flow.to(loss.dtype))])
    for result, other, right in zip(*results, strict=True):
        assert (result.dtype, result.shape) == (other.dtype, other.shape)
        error = (result.double() - right).abs()
        assert float(error.max()) <= 0.01 * float(right.abs().max())
        assert float(error.norm()) <= 0.005 * float(right.norm())


def test_narrow_logits_are_never_stored_whole() -> None:
    rows, classes = 2048, 5000
    tensors, target = operands((rows,), 4, classes, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        module.pools.clear()  # the memory of earlier calls
        assert largest_allocation(lambda: linear_cross_entropy(*tensors, target).backward()) <= module.BLOCK_BYTES


def test_second_derivatives_under_autocast() -> None:
    tensors, target = operands((40,), 4, 9, torch.float32)
    results = []
    for casts in (True, False):
        with torch.autocast("cpu", torch.bfloat16, enabled=casts):
            (by_x,) = torch.autograd.grad(linear_cross_entropy(*tensors, target), tensors[0], create_graph=True)
            results.append(torch.autograd.grad(by_x.square().sum(), tensors[1])[0])
    torch.testing.assert_close(*results, rtol=2 * EPS, atol=2 * EPS * float(results[1].abs().max()))


def test_transforms_and_graphs_get_torchs_functions() -> None:
    tensors, target = operands((9,), 4, 5, torch.float32)
    expected = by_torch(*tensors, target).detach()
    compiled = torch.compile(linear_cross_entropy, backend="eager")
    torch.testing.assert_close(compiled(*tensors, target).detach(), expected)
    by_x = torch.func.grad(lambda x: linear_cross_entropy(x, *tensors[1:], target))(tensors[0].detach())
    torch.testing.assert_close(by_x, torch.autograd.grad(by_torch(*tensors, target), tensors[0])[0])


def test_what_does_not_fit_is_named() -> None:
    (x, weight, bias), target = operands((9,), 4, 5)
    with pytest.raises(OptionError) as caught:
        linear_cross_entropy(x, weight, bias, target, reduction="max")  # type: ignore[arg-type]
    assert str(caught.value) == (
        "linear_cross_entropy has no reduction 'max'\n  expected: mean, sum, none\n  got: 'max'"
    )
    with pytest.raises(OptionError) as caught:
        linear_cross_entropy(x, weight, bias, target, label_smoothing=1.5)
    assert str(caught.value) == (
        "label_smoothing is the share of a target that goes to all classes alike\n"
        "  expected: a number from 0 to 1\n"
        "  got: 1.5"
    )
    with pytest.raises(ShapeError) as caught:
        linear_cross_entropy(x, weight, bias, target[:8])
    assert str(caught.value) == (
        "the targets of linear_cross_entropy do not fit its input\n"
        "  expected: a class for each row of the input, shape (9,)\n"
        "  got: shape (8,)"
    )
    with pytest.raises(ShapeError) as caught:
        linear_cross_entropy(x, weight.T, bias, target)
    assert str(caught.value) == (
        "the weight of linear_cross_entropy does not fit its input\n  expected: shape (classes, 4)\n  got: shape (4, 5)"
    )
    with pytest.raises(ShapeError) as caught:
        linear_cross_entropy(x, weight, bias[:3], target)
    assert str(caught.value) == (
        "the bias of linear_cross_entropy does not fit its weight\n"
        "  expected: a number for each of the 5 classes\n"
        "  got: shape (3,)"
    )


@pytest.mark.parametrize("wrong", [5, -1])
def test_a_target_that_is_no_class_is_named(wrong: int) -> None:
    tensors, target = operands((9,), 4, 5)
    target[3] = wrong
    with pytest.raises(OptionError) as caught:
        linear_cross_entropy(*tensors, target)
    assert str(caught.value) == (
        "a target of linear_cross_entropy is no class\n"
        "  expected: classes from 0 to 4, or -100 for what is ignored\n"
        f"  got: {wrong}"
    )


def test_little_work_gets_torchs_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    (x, weight, bias), target = operands((9,), 6, 4)
    losses = []
    for least in (9 * 6 * 4, 9 * 6 * 4 + 1):
        monkeypatch.setattr(linear, "MIN_PRODUCTS", least)
        with profile(activities=[ProfilerActivity.CPU]) as profiled:
            losses.append(linear_cross_entropy(x, weight, bias, target))
        names = {event.name for event in profiled.events()}
        assert ("aten::linear" in names) == (least > 9 * 6 * 4)
    torch.testing.assert_close(*losses)
