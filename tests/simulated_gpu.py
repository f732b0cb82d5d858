"""Tensors that are said to be on a GPU and have no numbers: what the host does with them is the same, and is watched.

Kernels are not launched, and of a CUDA graph nothing is left. torch's FakeTensors answer for the device.
"""
# pyright: reportPrivateUsage=false

import ctypes
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from gatewright.backends.triton import pass_kernels, resident_loop, scan_launch, stepped, support
from gatewright.nn import backends, modes
from gatewright.nn.calls import cell_call

CUDA = torch.device("cuda", 0)
READS = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal")
"""Operations whose results the host waits for."""
_CUDA_TYPE, _META_TYPE, _TYPES = 1, 14, 22
"""Numbers of c10::DeviceType."""


class Waits(TorchDispatchMode):
    """Notes what makes the host wait for the device: reads of numbers, and copies that are not asynchronous.

    Tensors on the CPU keep their numbers, those on the GPU have none.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._fake = FakeTensorMode()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        options = kwargs or {}
        name: str = func.overloadpacket.__name__
        tensors = [leaf for leaf in tree_leaves((args, options)) if isinstance(leaf, Tensor)]
        if name in READS and any(tensor.is_cuda for tensor in tensors):
            self.found.append(name)
        device = options.get("device")
        if any(isinstance(tensor, FakeTensor) for tensor in tensors) or (device and device.type == "cuda"):
            with self._fake:
                args, options = tree_map(self._without_numbers, (args, options))
                result = func(*args, **options)
        else:  # there is no memory of the kind that is pinned
            result = func(*args, **{key: value for key, value in options.items() if key != "pin_memory"})
        waits = name in ("_to_copy", "copy_") and not options.get("non_blocking")
        if waits and len({tensor.is_cuda for tensor in (*tensors, result)}) > 1:
            self.found.append(f"copy of {tuple(tensors[-1].shape)} from {tensors[-1].device.type}")
        return result

    def _without_numbers(self, value: Any) -> Any:
        is_real = isinstance(value, Tensor) and not isinstance(value, FakeTensor)
        return self._fake.from_tensor(value) if is_real else value


class NoKernels:
    """Kernels of any name that do nothing."""

    def __getitem__(self, name: Any) -> Any:
        return self

    def __call__(self, *arguments: Any, **constants: Any) -> None:
        """Launch nothing."""


@contextmanager
def _without_guard() -> Generator[None]:
    """A torch without CUDA has no guard of the current device, which slices ask for: that of meta tensors serves."""
    library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libc10.so"))
    guards = (ctypes.c_void_p * _TYPES).in_dll(library, "_ZN3c104impl26device_guard_impl_registryE")
    before = guards[_CUDA_TYPE]
    guards[_CUDA_TYPE] = before or guards[_META_TYPE]
    try:
        yield
    finally:
        guards[_CUDA_TYPE] = before


@contextmanager
def simulated_gpu(monkeypatch: pytest.MonkeyPatch) -> Generator[Waits]:
    """A GPU, as far as layers can tell, and what the host waits for meanwhile."""
    properties = SimpleNamespace(major=9, minor=0, multi_processor_count=132, shared_memory_per_block_optin=227 * 1024)
    played: dict[str, Callable[..., Any]] = {
        "_lazy_init": lambda: None,
        "is_available": lambda: True,
        "get_device_capability": lambda device: (9, 0),
        "get_device_properties": lambda device: properties,
        "is_current_stream_capturing": lambda: False,
        "current_stream": lambda device: SimpleNamespace(cuda_stream=1),
        "device": lambda device: nullcontext(),
    }
    for name, function in played.items():
        monkeypatch.setattr(torch.cuda, name, function)
    for module in (modes, backends, cell_call):
        monkeypatch.setattr(module, "is_watched", lambda: False)
    monkeypatch.setattr(torch.backends.cudnn, "is_available", lambda: True)
    monkeypatch.setattr(support, "launcher_obstacle", lambda: None)
    for module in (pass_kernels, resident_loop, scan_launch, stepped):
        monkeypatch.setattr(module, "kernel", lambda text: NoKernels())
    for module in (resident_loop, scan_launch):
        monkeypatch.setattr(module, "first_that_fits", lambda text, chip, precision, some, memory: (some[0], None))
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    monkeypatch.setattr(backends, "TENSORS", (*backends.TENSORS, FakeTensor))
    with _without_guard(), Waits() as found:
        yield found


def on_gpu(module: torch.nn.Module) -> Any:
    """The module with parameters on the device."""
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                part._parameters[name] = torch.nn.Parameter(torch.empty_like(parameter, device=CUDA))
    return module
