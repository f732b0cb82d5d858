"""gw.nn.Linear against torch.nn.Linear: results, gradients of every order, modes, and where torch's operator runs."""

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck

import gatewright.nn.linear as module
from gatewright.backends.llvm.jit.target import host
from gatewright.nn import Linear
from gatewright.nn.engine.row_kernels import LinearKernels
from tests.nn.narrow_cases import NARROW_CASES

EPS = torch.finfo(torch.bfloat16).eps
CLOSE = {torch.float32: {"rtol": 1e-4, "atol": 1e-4}, torch.float64: {"rtol": 1e-11, "atol": 1e-11}}


@pytest.fixture(autouse=True)
def small_work_runs_on_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MIN_ROWS", 1)
    monkeypatch.setattr(module, "MIN_PRODUCTS", 1)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs of the engine, in order."""
    names: list[str] = []
    for name in ("outputs", "gradients"):
        original = getattr(LinearKernels, name)

        def recorded(*args: object, _name: str = name, _original: object = original, **options: object) -> None:
            names.append(_name)
            _original(*args, **options)  # type: ignore[operator]

        monkeypatch.setattr(LinearKernels, name, recorded)
    return names


def pair(
    inputs: int, outputs: int, dtype: torch.dtype = torch.float32, *, bias: bool = True
) -> tuple[Linear, nn.Linear]:
    """Ours and torch's, with the same parameters."""
    torch.manual_seed(0)
    ours = Linear(inputs, outputs, bias=bias, dtype=dtype)
    theirs = nn.Linear(inputs, outputs, bias=bias, dtype=dtype)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def trained(layer: nn.Linear, x: Tensor) -> list[Tensor]:
    x = x.detach().requires_grad_()
    output = layer(x)
    output.backward(torch.linspace(0.5, 1, output.numel(), dtype=x.dtype).to(output.dtype).view(output.shape))
    return [output.detach(), *(value.grad for value in (x, *layer.parameters()) if value.grad is not None)]


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(5,), (1, 5), (40, 5), (6, 7, 5), (2, 3, 4, 5)])
def test_it_is_torchs_layer(shape: tuple[int, ...], bias: bool, dtype: torch.dtype, runs: list[str]) -> None:
    x = torch.randn(shape, dtype=dtype)
    ours, theirs = pair(5, 21, dtype, bias=bias)
    results, expected = trained(ours, x), trained(theirs, x)
    assert runs == ["outputs", "gradients"]
    assert len(results) == len(expected) == 3 + bias
    for result, other in zip(results, expected, strict=True):
        torch.testing.assert_close(result, other, **CLOSE[dtype])
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), **CLOSE[dtype])


def test_operands_that_are_not_contiguous(runs: list[str]) -> None:
    ours, theirs = pair(6, 4)
    ours.weight = theirs.weight = nn.Parameter(torch.randn(6, 4).T)
    x = torch.randn(6, 9, 5).transpose(0, 2)
    for result, expected in zip(trained(ours, x), trained(theirs, x), strict=True):
        torch.testing.assert_close(result, expected, **CLOSE[torch.float32])
    output = ours(x)
    output.sum().backward()  # whose gradient is an expanded number
    assert len(runs) == 4


@pytest.mark.parametrize("frozen", ["x", "weight", "bias", "x weight", "weight bias"])
def test_only_gradients_that_are_needed(frozen: str) -> None:
    ours, theirs = pair(6, 4)
    x = torch.randn(9, 6)
    for layer in (ours, theirs):
        layer.weight.requires_grad_("weight" not in frozen)
        layer.bias.requires_grad_("bias" not in frozen)
        own = x.clone().requires_grad_("x" not in frozen)
        layer(own).square().sum().backward()
        layer.by_x = own.grad
    for result, expected in zip(
        (ours.by_x, ours.weight.grad, ours.bias.grad), (theirs.by_x, theirs.weight.grad, theirs.bias.grad), strict=True
    ):
        assert (result is None) == (expected is None)
        if result is not None:
            torch.testing.assert_close(result, expected, **CLOSE[torch.float32])


@pytest.mark.filterwarnings("ignore:Input")
def test_derivatives_of_every_order() -> None:
    layer, _ = pair(3, 4, torch.float64)
    operands = (torch.randn(5, 3, dtype=torch.float64, requires_grad=True), *layer.parameters())
    assert gradcheck(module.linear, operands, check_batched_grad=True)
    assert gradgradcheck(module.linear, operands)


def test_an_output_may_be_changed_in_place() -> None:
    ours, theirs = pair(6, 4)
    x = torch.randn(9, 6)
    for layer in (ours, theirs):
        layer(x).relu_().sum().backward()
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad, **CLOSE[torch.float32])


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_transforms_and_graphs_get_torchs_operator(runs: list[str]) -> None:
    ours, theirs = pair(6, 4)
    x = torch.randn(9, 6)
    jacobian = torch.func.vmap(torch.func.jacrev(ours))(x)
    torch.testing.assert_close(jacobian, ours.weight.detach().expand(9, 4, 6))
    _, tangent = torch.func.jvp(ours, (x,), (torch.ones_like(x),))
    torch.testing.assert_close(tangent, ours.weight.detach().sum(1).expand(9, 4))
    exported = torch.export.export(ours, (x,))
    assert any("linear" in str(node.target) for node in exported.graph.nodes)
    torch.testing.assert_close(exported.module()(x), theirs(x))
    traced = torch.jit.trace(ours, (x,))
    runs.clear()  # torch.jit.trace also calls the layer itself, to compare
    torch.testing.assert_close(traced(x), theirs(x))
    torch.testing.assert_close(torch.compile(ours, backend="eager", fullgraph=True)(x), theirs(x))
    torch.testing.assert_close(torch.jit.script(ours)(x), theirs(x))
    assert runs == []


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("own", "of_input", "cast"), NARROW_CASES.values(), ids=NARROW_CASES)
def test_narrow_dtypes_without_instructions_for_them(
    own: torch.dtype,
    of_input: torch.dtype,
    cast: torch.dtype | None,
    bias: bool,
    runs: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Beside float64: at most 1 % of the largest value and 0.5 % in the root mean square, in the dtypes of torch."""
    monkeypatch.setattr(module, "has_instructions", lambda dtype: False)
    ours, theirs = pair(37, 50, own, bias=bias)
    exact = copy.deepcopy(theirs).double()
    x = torch.randn(3, 65, 37, dtype=of_input)
    with torch.autocast("cpu", cast or torch.bfloat16, enabled=cast is not None):
        results, dtypes = trained(ours, x), [result.dtype for result in trained(theirs, x)]
    assert runs == ["outputs", "gradients"]
    assert [result.dtype for result in results] == dtypes
    values = x.double().requires_grad_()
    output = exact(values)
    seeds = torch.linspace(0.5, 1, output.numel(), dtype=of_input).to(results[0].dtype)  # as autograd converts them
    right = [
        output.detach(),
        *torch.autograd.grad(output, [values, *exact.parameters()], seeds.double().view(output.shape)),
    ]
    for result, wanted in zip(results, right, strict=True):
        error = (result.double() - wanted).abs()
        assert float(error.max()) <= 0.01 * float(wanted.abs().max())
        assert float(error.norm()) <= 0.005 * float(wanted.norm())


def test_second_derivatives_under_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "has_instructions", lambda dtype: False)
    ours, _ = pair(6, 4)
    x = torch.randn(9, 6, requires_grad=True)
    results = []
    for dtype in (torch.bfloat16, torch.float32):
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype is torch.bfloat16):
            (by_x,) = torch.autograd.grad(ours(x).square().sum(), x, create_graph=True)
            results.append(torch.autograd.grad(by_x.square().sum(), ours.weight)[0])
    assert results[0].dtype is torch.float32
    torch.testing.assert_close(*results, rtol=2 * EPS, atol=2 * EPS * float(results[1].abs().max()))


def test_where_the_processor_multiplies_narrow_numbers_torchs_operator_runs(
    runs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "has_instructions", lambda dtype: True)
    ours, theirs = pair(6, 4)
    x = torch.randn(9, 6)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(ours(x), theirs(x))
    assert torch.equal(ours.bfloat16()(x.bfloat16()), theirs.bfloat16()(x.bfloat16()))
    assert runs == []


def test_the_instructions_are_those_of_this_processor() -> None:
    assert module.has_instructions(torch.bfloat16) or not host().has_bfloat16_dot


def test_other_dtypes_and_devices_get_torchs_operator(runs: list[str]) -> None:
    ours, theirs = pair(6, 4)
    x = torch.randn(9, 6)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(ours.double()(x.double()), theirs.double()(x.double()))
    assert ours.to("meta")(x.to("meta")).shape == (9, 4)
    assert runs == []


def test_little_work_gets_torchs_operator(monkeypatch: pytest.MonkeyPatch, runs: list[str]) -> None:
    monkeypatch.setattr(module, "MIN_PRODUCTS", 9 * 6 * 4 + 1)
    ours, theirs = pair(6, 4)
    x = torch.randn(9, 6)
    assert torch.equal(ours(x), theirs(x))
    assert runs == []
    monkeypatch.setattr(module, "MIN_PRODUCTS", 9 * 6 * 4)
    ours(x)
    monkeypatch.setattr(module, "MIN_ROWS", 10)
    ours(x)
    assert runs == ["outputs"]


@pytest.mark.parametrize("shape", [(0, 6), (3, 0, 6)])
def test_no_rows(shape: tuple[int, ...]) -> None:
    ours, _ = pair(6, 4)
    output = ours(torch.zeros(shape))
    output.sum().backward()
    assert output.shape == (*shape[:-1], 4)
    assert ours.weight.grad is not None
    assert not ours.weight.grad.any()


def test_operands_that_do_not_fit_are_refused_by_torch() -> None:
    ours, _ = pair(6, 4)
    with pytest.raises(RuntimeError, match="mat1 and mat2 shapes cannot be multiplied"):
        ours(torch.zeros(9, 5))
    with pytest.raises(RuntimeError, match="same dtype"):
        ours(torch.zeros(9, 6, dtype=torch.float64))


def test_it_can_be_copied_and_pickled() -> None:
    ours, theirs = pair(6, 4)
    x = torch.randn(9, 6)
    for layer in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert type(layer) is Linear
        torch.testing.assert_close(layer(x), theirs(x))
    assert repr(ours) == repr(theirs)
