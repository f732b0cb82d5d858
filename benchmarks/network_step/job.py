"""What a peer prepares for a case: a training step that can be repeated, and what ran in it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

CHECKED = 4
"""Training steps whose losses must agree. From the second loss on, wrong gradients show in them."""
TOLERANCES = {"float32": 5e-5, "bfloat16": 2**-7}
"""The largest difference of a loss to that of float64, as a share of it. In bfloat16 it is twice its rounding."""


@dataclass(frozen=True)
class NetworkJob:
    """`step` does one training step and returns the loss before it; `ran` says in words what computed it."""

    step: Callable[[], Any]
    ran: str

    def losses(self) -> list[float]:
        """Those of the first steps."""
        return [float(self.step()) for _ in range(CHECKED)]
