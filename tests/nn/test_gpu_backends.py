"""Which backend runs a layer on a GPU, told without one: the plan asks a tensor for its place and its dtype alone."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from subprocess import CalledProcessError
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import gatewright as gw
from gatewright import cells
from gatewright.backends.triton import support
from gatewright.errors import OptionError
from gatewright.nn import Recurrent, backends
from gatewright.nn.calls.fused_call import fused_or_reason
from gatewright.nn.precision import precision_of, tf32_is_allowed

INPUT, HIDDEN = 2, 3
BY_CUDNN = "torch.gru runs it by cuDNN; second derivatives are Triton's kernels"
BY_TORCH = "torch.gru runs it (cuDNN on CUDA); masks, resets, gates and second derivatives go operation by operation"
LAUNCHER_OBSTACLE = support.launcher_obstacle
NO_GRU = "the equations are not those of torch.nn's RNN, GRU or LSTM"


@dataclass
class OnCuda:
    """What a plan asks of a tensor on a GPU."""

    dtype: torch.dtype
    device: torch.device = field(default_factory=partial(torch.device, "cuda:0"))


def on_cuda(dtype: torch.dtype = torch.float32) -> Any:
    return OnCuda(dtype)


def plan_of(layer: Recurrent, like: Any, **options: bool) -> str:
    find_fused = partial(fused_or_reason, layer, like, **options)
    return str(backends.choose(layer.backend, layer.trace, like, find_fused, precision_of(layer, like)))


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CUDA device with cuDNN, as far as torch says. Kernels are not in the interpreter there."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(torch.backends.cudnn, "is_available", lambda: True)
    monkeypatch.setattr(support, "launcher_obstacle", lambda: None)
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    monkeypatch.setattr(backends, "TENSORS", (*backends.TENSORS, OnCuda))


@pytest.mark.usefixtures("gpu")
def test_what_auto_takes_on_a_gpu() -> None:
    for layer in (gw.nn.GRU(INPUT, HIDDEN), Recurrent(cells.gru(reset="after"), INPUT, HIDDEN)):
        assert plan_of(layer, on_cuda()) == (f"cudnn: {BY_CUDNN}; no Triton kernel has been measured to be faster")
        assert plan_of(layer, on_cuda(), gates=True) == (
            "triton: kernels for this GPU; products in tf32; cuDNN cannot: it does not give out gates"
        )
    other = Recurrent("gru", INPUT, HIDDEN)
    assert plan_of(other, on_cuda()) == f"triton: kernels for this GPU; products in tf32; cuDNN cannot: {NO_GRU}"
    assert plan_of(other, on_cuda(torch.bfloat16)) == (
        f"triton: kernels for this GPU; products in bfloat16, results in bfloat16; cuDNN cannot: {NO_GRU}"
    )
    assert plan_of(other, on_cuda(torch.float16)) == (
        f"triton: kernels for this GPU; products in float16, results in float16; cuDNN cannot: {NO_GRU}"
    )
    assert plan_of(other, on_cuda(torch.float64)) == (
        "torch: Triton's kernels cannot run this: kernels for GPUs compute in float32, and the dtype is float64; nor "
        f"can cuDNN: {NO_GRU}"
    )


@pytest.mark.usefixtures("gpu")
def test_what_auto_takes_for_a_graph() -> None:
    like, by_triton = on_cuda(), "triton: kernels for this GPU; products in tf32; cuDNN cannot"
    with FlopCounterMode(display=False):
        assert plan_of(Recurrent("gru", INPUT, HIDDEN), like) == f"{by_triton}: {NO_GRU}"
        assert plan_of(gw.nn.GRU(INPUT, HIDDEN), like).startswith("cudnn: ")
        assert plan_of(gw.nn.GRU(INPUT, HIDDEN), like, unread_lengths=True) == (
            f"{by_triton}: it needs the values of lengths, which a graph does not know"
        )


@pytest.mark.usefixtures("gpu")
def test_transforms_and_wide_numbers_beside_cudnn() -> None:
    plans: list[str] = []
    layer = gw.nn.GRU(INPUT, HIDDEN)
    torch.func.vmap(lambda x: (plans.append(plan_of(layer, on_cuda())), x)[1])(torch.ones(2))
    assert plans == ["triton: kernels for this GPU; products in tf32; cuDNN cannot: torch.func is at work"]
    assert plan_of(layer, on_cuda(torch.float64)) == (
        "cudnn: torch.gru runs it by cuDNN; second derivatives go operation by operation; no Triton kernel has been "
        "measured to be faster"
    )


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("products", ["bfloat16", "tf32x3"])
def test_cudnn_has_not_the_products_that_a_layer_asks_for(products: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = gw.nn.GRU(INPUT, HIDDEN)
    layer.products = products
    why = f"it has no products in {products}"
    assert plan_of(layer, on_cuda()) == f"triton: kernels for this GPU; products in {products}; cuDNN cannot: {why}"
    layer.backend = "cudnn"
    with pytest.raises(OptionError, match=f"\n  got: {why}\n"):
        plan_of(layer, on_cuda())
    assert plan_of(layer, on_cuda(torch.bfloat16)).startswith("cudnn: ")  # all numbers are in that dtype
    layer.products = "tf32"
    assert plan_of(layer, on_cuda()).startswith("cudnn: ")
    layer.products = products
    monkeypatch.setattr("gatewright.nn.precision.is_autocast", lambda device: True)  # it decides the products then
    assert plan_of(layer, on_cuda()).startswith("cudnn: ")


def test_bfloat16_by_cudnn_where_torch_hands_it_over(gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91300)
    monkeypatch.setattr(torch, "__version__", "2.10.0")
    assert plan_of(gw.nn.GRU(INPUT, HIDDEN), on_cuda(torch.bfloat16)).startswith("cudnn: ")


@pytest.mark.parametrize(("version", "torch_version"), [(91002, "2.13.0"), (91300, "2.9.1")])
def test_bfloat16_by_triton_where_torch_would_go_step_by_step(
    version: int, torch_version: str, gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: version)
    monkeypatch.setattr(torch, "__version__", torch_version)
    layer, like = gw.nn.GRU(INPUT, HIDDEN), on_cuda(torch.bfloat16)
    why = "this torch hands cuDNN no tensors in bfloat16"
    by_triton = "triton: kernels for this GPU; products in bfloat16, results in bfloat16; cuDNN cannot"
    assert plan_of(layer, like) == f"{by_triton}: {why}"
    layer.backend = "cudnn"
    with pytest.raises(OptionError, match=f"\n  got: {why}\n"):
        plan_of(layer, like)


@pytest.mark.usefixtures("gpu")
def test_miopen_has_no_wide_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "hip", "6.4")
    assert plan_of(gw.nn.GRU(INPUT, HIDDEN), on_cuda()).startswith("cudnn: ")
    assert plan_of(gw.nn.GRU(INPUT, HIDDEN), on_cuda(torch.float64)).startswith("torch-fused: ")


@pytest.mark.usefixtures("gpu")
def test_checkpoints_are_tritons_where_a_gradient_may_be_taken() -> None:
    layer = gw.nn.GRU(INPUT, HIDDEN)
    layer.checkpoint = True
    assert plan_of(layer, on_cuda()) == (
        "triton: kernels for this GPU; products in tf32; cuDNN cannot: it computes no saved values again, as "
        "checkpoint= asks"
    )
    with torch.no_grad():
        assert plan_of(layer, on_cuda()).startswith("cudnn: ")


@pytest.mark.usefixtures("gpu")
def test_float32_products_are_in_tf32_where_torch_allows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = Recurrent("gru", INPUT, HIDDEN)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    assert plan_of(layer, on_cuda()) == f"triton: kernels for this GPU; cuDNN cannot: {NO_GRU}"
    layer.products = "tf32x3"
    assert plan_of(layer, on_cuda()) == f"triton: kernels for this GPU; products in tf32x3; cuDNN cannot: {NO_GRU}"


@pytest.mark.parametrize("allowed", [True, False])
def test_torch_may_have_the_older_switch_alone(allowed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends, "cudnn", SimpleNamespace(allow_tf32=allowed))
    assert tf32_is_allowed() is allowed


def test_what_auto_takes_without_triton_and_on_old_gpus(gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    other, like = Recurrent("gru", INPUT, HIDDEN), on_cuda()
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert plan_of(other, like) == (
        "torch: Triton's kernels cannot run this: the GPU has compute capability 7.5, and kernels need 8.0; nor can "
        f"cuDNN: {NO_GRU}"
    )
    monkeypatch.setattr("gatewright.backends.triton.support.find_spec", lambda name: None)
    assert plan_of(other, like) == (
        "torch: Triton's kernels cannot run this: triton is not installed: pip install 'gatewright[gpu]'; nor can "
        f"cuDNN: {NO_GRU}"
    )
    monkeypatch.setattr(torch.backends.cudnn, "enabled", False)
    assert plan_of(gw.nn.GRU(INPUT, HIDDEN), like) == (
        "torch-fused: Triton's kernels cannot run this: triton is not installed: pip install 'gatewright[gpu]'; "
        f"{BY_TORCH}"
    )


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("Failed to find C compiler."), "Failed to find C compiler."),
        (CalledProcessError(1, ["gcc", "driver.c"]), "Command '['gcc', 'driver.c']' returned non-zero exit status 1."),
        (PermissionError(13, "Permission denied", "/.triton"), "[Errno 13] Permission denied: '/.triton'"),
    ],
)
def test_what_auto_takes_where_triton_cannot_build_its_launcher(
    error: Exception, said: str, gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Driver:
        @property
        def active(self) -> None:
            raise error

    monkeypatch.setattr(support, "launcher_obstacle", LAUNCHER_OBSTACLE.__wrapped__)
    monkeypatch.setattr("triton.runtime.driver", Driver())
    assert plan_of(Recurrent("gru", INPUT, HIDDEN), on_cuda()) == (
        "torch: Triton's kernels cannot run this: Triton's launcher cannot be built, which needs gcc or clang, and "
        f"Python.h: {said}; nor can cuDNN: {NO_GRU}"
    )


REFUSED: dict[str, tuple[str, Callable[[], object], str]] = {
    "triton, not in the interpreter": (
        "triton",
        lambda: gw.nn.GRU(INPUT, HIDDEN, backend="triton").plan(),
        "Triton's kernels run on a GPU; on a CPU only in Triton's interpreter, with TRITON_INTERPRET=1",
    ),
    "cudnn on a CPU": ("cudnn", lambda: gw.nn.GRU(INPUT, HIDDEN, backend="cudnn").plan(), "the tensors are on cpu"),
    "a cell on cudnn": (
        "cudnn", lambda: gw.nn.GRUCell(INPUT, HIDDEN, backend="cudnn").plan(), "the tensors are on cpu",
    ),
}  # fmt: skip
EXPECTED = {
    "triton": "float32, bfloat16 or float16 on a GPU, with triton installed, derivatives in reverse mode",
    "cudnn": "the equations of torch.nn's RNN, GRU or LSTM on CUDA, called without a mask, resets or return_gates",
}


@pytest.mark.parametrize("case", REFUSED)
def test_asked_for_by_name_it_runs_or_raises(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    backend, call, reason = REFUSED[case]
    with pytest.raises(OptionError) as raised:
        call()
    assert str(raised.value).partition("\n")[2] == (
        f"  expected: {EXPECTED[backend]}\n  got: {reason}\n  do: use backend='auto' or 'torch'"
    )


def test_products_for_a_gpu_are_not_computed_on_a_cpu() -> None:
    layer = gw.nn.GRU(INPUT, HIDDEN)
    layer.products = "tf32x3"
    assert str(layer.plan()).startswith(
        "torch-fused: the compiled engine cannot run this: products in tf32x3 are computed on a GPU; "
    )
    theirs = nn.GRU(INPUT, HIDDEN)
    theirs.load_state_dict(layer.state_dict())
    x = torch.randn(4, 2, INPUT)
    assert torch.equal(layer(x)[0], theirs(x)[0])
