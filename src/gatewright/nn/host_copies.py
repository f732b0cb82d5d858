"""Copies from the host to a GPU that the host does not wait for."""

import torch
from torch import Tensor

from gatewright.nn.modes import is_eager


def copied_to(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of whole numbers or marks on a device.

    torch waits for a copy out of ordinary memory, and so for all that was launched before it. It need not for pinned
    memory. But a graph that is being captured would keep the address, and find the numbers of others there later: so
    then it is left to torch, which refuses.
    """
    tensor = tensor.detach()
    if device.type != "cuda" or not tensor.is_cpu or not is_eager() or torch.cuda.is_current_stream_capturing():
        return tensor.to(device)
    pinned = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(tensor)
    return pinned.to(device, non_blocking=True)
