"""Where Triton's kernels can run: with which versions, on which devices, and in the interpreter."""

from functools import cache
from importlib.util import find_spec

import torch

from gatewright.backends.triton.load import is_interpreted

LEAST_CAPABILITY = (8, 0)
"""Of NVIDIA's processors: older ones have neither bfloat16 nor tf32, and no kernel is compiled for them in tests."""

_SHOWN = 200  # characters of an error
_NOT_INSTALLED = "triton is not installed: pip install 'gatewright[gpu]'"


def device_obstacle(device: torch.device, dtype: torch.dtype) -> str | None:
    """Why kernels cannot run on tensors of a device, with states in a dtype; None where they can."""
    if find_spec("triton") is None:
        return _NOT_INSTALLED
    if device.type == "cpu":
        if is_interpreted():
            return None
        return "Triton's kernels run on a GPU; on a CPU only in Triton's interpreter, with TRITON_INTERPRET=1"
    if device.type != "cuda":
        return f"the tensors are on {device.type}"
    return obstacle_on_every_gpu(dtype) or _driver_obstacle(device)


def obstacle_on_every_gpu(dtype: torch.dtype) -> str | None:
    """Why kernels run on no GPU with states in a dtype; None where they run on one that is new enough."""
    if find_spec("triton") is None:
        return _NOT_INSTALLED
    if dtype == torch.float64 and not is_interpreted():
        return "kernels for GPUs compute in float32, and the dtype is float64"
    return None


def _driver_obstacle(device: torch.device) -> str | None:
    if not torch.cuda.is_available():
        return "torch finds no CUDA device"
    capability = torch.cuda.get_device_capability(device)
    if torch.version.hip is None and capability < LEAST_CAPABILITY:
        return f"the GPU has compute capability {capability[0]}.{capability[1]}, and kernels need 8.0"
    return None if is_interpreted() else launcher_obstacle()


@cache
def launcher_obstacle() -> str | None:
    """Why Triton cannot launch kernels in this process; None where it can.

    Before the first launch it compiles a small module with the C compiler of the machine, which needs Python's headers,
    and a folder that it may write to. Later processes find the module there.
    """
    from triton.runtime import driver  # pyright: ignore[reportMissingTypeStubs]

    try:
        driver.active.get_current_target()
    except Exception as error:  # noqa: BLE001 (whatever a compiler, a loader or a file system has to say)
        said = str(error).partition("\n")[0][:_SHOWN]
        return f"Triton's launcher cannot be built, which needs gcc or clang, and Python.h: {said}"
    return None
