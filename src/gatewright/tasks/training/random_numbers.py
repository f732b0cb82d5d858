"""The state of torch's random numbers, on every device that is in use."""

import torch
from torch import Tensor


def random_numbers() -> list[Tensor]:
    """The states: of the CPU, then of each CUDA device where CUDA is in use."""
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [])]


def set_random_numbers(states: list[Tensor]) -> None:
    """Go on from the states that `random_numbers` gave."""
    torch.set_rng_state(states[0].cpu())
    if len(states) > 1:
        torch.cuda.set_rng_state_all([state.cpu() for state in states[1:]])
