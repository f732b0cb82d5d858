"""torch's products around loops and scans: multiplied in tf32 where the layer's own products are."""

from collections.abc import Iterator
from threading import Event, Thread
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from gatewright.backends.triton.batched_products import multiply, tf32_products
from gatewright.backends.triton.kernel_precision import KernelPrecision

SWITCH = torch.backends.cuda.matmul


@pytest.fixture(autouse=True)
def _switched_back() -> Iterator[None]:
    yield
    torch.set_float32_matmul_precision("highest")
    SWITCH.fp32_precision = "none"


def switches() -> tuple[str, bool]:
    """The newer switch and the older one, which raises an error where they differ."""
    return SWITCH.fp32_precision, SWITCH.allow_tf32


def test_torchs_switch_is_on_within_and_as_before_after() -> None:
    before = switches()
    with tf32_products():
        assert switches() == ("tf32", True)
    assert switches() == before == ("none", False)
    SWITCH.allow_tf32 = False
    with tf32_products():
        pass
    assert switches() == ("ieee", False)


def test_an_error_sets_it_back() -> None:
    with pytest.raises(KeyError), tf32_products():
        raise KeyError
    assert switches() == ("none", False)


@pytest.mark.parametrize("precision", ["high", "medium"])
def test_where_it_is_on_it_is_left_alone(precision: str) -> None:
    torch.set_float32_matmul_precision(precision)
    with tf32_products():
        assert torch.get_float32_matmul_precision() == precision
    assert torch.get_float32_matmul_precision() == precision


def test_another_thread_has_it_on_until_its_own_products_are_done() -> None:
    begun, ended, seen = Event(), Event(), list[bool]()

    def multiply_too() -> None:
        begun.set()
        with tf32_products():
            ended.wait(10)
            seen.append(bool(SWITCH.allow_tf32))

    other = Thread(target=multiply_too)
    with tf32_products():
        other.start()
        begun.wait(10)
        other.join(0.05)  # it waits, or has seen that the switch is on
    ended.set()
    other.join()
    assert seen == [True]
    assert switches() == ("none", False)


def test_products_within_products_wait_for_nobody() -> None:
    """A TorchDispatchMode may run a layer in the middle of a product."""
    with tf32_products(), tf32_products():
        assert switches() == ("tf32", True)
    assert switches() == ("none", False)


def test_versions_with_the_older_switch_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    switch = SimpleNamespace(allow_tf32=False)
    monkeypatch.setattr(torch.backends.cuda, "matmul", switch)
    with tf32_products():
        assert switch.allow_tf32
    assert vars(switch) == {"allow_tf32": False}


class Products(TorchDispatchMode):
    """Notes whether products are multiplied in tf32."""

    def __init__(self) -> None:
        super().__init__()
        self.in_tf32: list[bool] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.bmm.default:
            self.in_tf32.append(SWITCH.fp32_precision == "tf32")
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("device", "mode", "want"), [("cuda", "tf32", True), ("cuda", "ieee", False), ("cpu", "tf32", False)]
)
def test_products_of_a_layer_in_tf32(device: str, mode: Any, want: bool) -> None:
    with FakeTensorMode(), Products() as products:
        vectors, matrices = torch.empty(5, 2, 3, device=device), torch.empty(4, 6, 3, device=device)
        assert multiply(vectors, matrices, KernelPrecision(mode=mode), transposed=False).shape == (4, 5, 2, 6)
    assert products.in_tf32 == [want]
