"""Layers and inputs of 16 bits, and autocast to them."""

import torch

NARROW_CASES = {  # the dtype of the parameters, that of the input, and what autocast is to
    "bfloat16": (torch.bfloat16, torch.bfloat16, None),
    "float16": (torch.float16, torch.float16, None),
    "autocast to bfloat16": (torch.float32, torch.float32, torch.bfloat16),
    "autocast to bfloat16, of its results": (torch.float32, torch.bfloat16, torch.bfloat16),
    "autocast to float16": (torch.float32, torch.float32, torch.float16),
}
