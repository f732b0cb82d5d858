"""An operation whose gradient cannot be differentiated, with another one that computes the same for whoever asks.

cuDNN's recurrent functions have a gradient and no second one. They are run here for the numbers and the gradient; a
gradient that is to be differentiated itself is computed by the other operation.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gatewright.errors import GatewrightError
from gatewright.nn.engine.change_marks import ChangeMarks

Run = Callable[[Sequence[Tensor | None]], tuple[Tensor, ...]]


@dataclass(frozen=True, slots=True)
class TwoWays:
    """Two operations that compute the same: `run`, and `run_again` whose gradient can be differentiated.

    `obstacle` says why neither can be run again with the same numbers, as where both draw random ones.
    """

    run: Run
    run_again: Run
    obstacle: str | None = None

    def __call__(self, given: Sequence[Tensor | None]) -> tuple[Tensor, ...]:
        """The results of `run`; their gradients of every order."""
        if torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in given):
            return _Operation.apply(self, *given)
        return self.run(given)

    def require_again(self, why: str) -> None:
        """Hold that the operation can be run again.

        Raises GatewrightError.
        """
        if self.obstacle:
            raise GatewrightError(
                f"{why}, and backend 'torch-fused' cannot compute it",
                got=self.obstacle,
                do="make the layer with backend='torch'",
            )


class _Operation(torch.autograd.Function):
    """One operation to autograd, whose gradient is that of whichever of both ways serves."""

    @staticmethod
    def forward(ctx: Any, ways: TwoWays, *given: Tensor | None) -> tuple[Tensor, ...]:
        """Run the first way, with a graph of its own."""
        ctx.ways = ways
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*given)
        ctx.leaves, ctx.results = _recorded(ways.run, given)
        # no views, which autograd would not let anybody change in place
        handed_out = tuple(result.new_empty(0).set_(result.detach()) for result in ctx.results)  # pyright: ignore[reportArgumentType]
        ctx.marks, ctx.autocast = ChangeMarks(handed_out), _autocast_of(ctx.results[0].device.type)
        return handed_out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """The gradient, by the second way where it is to be differentiated itself."""
        given, ways = ctx.saved_tensors, ctx.ways
        leaves, results = ctx.leaves, ctx.results
        again = torch.is_grad_enabled()
        if again:
            ways.require_again("a gradient of this layer is to be differentiated itself")
        elif ctx.marks.changed:
            ways.require_again("an output of this layer was changed in place before its gradient was taken")
        if again or ctx.marks.changed:
            with torch.autocast(**ctx.autocast):
                leaves, results = _viewed(ways.run_again, given) if again else _recorded(ways.run, given)
        seen = [(result, grad) for result, grad in zip(results, grads, strict=True) if grad is not None]
        wanted = [
            leaf for leaf, needed in zip(leaves, ctx.needs_input_grad[1:], strict=True) if leaf is not None and needed
        ]
        flows = [grad for _, grad in seen]
        found = iter(
            torch.autograd.grad(
                [result for result, _ in seen],
                wanted,
                flows,
                retain_graph=True,
                create_graph=again,
                allow_unused=True,
            )
            if seen
            else [None] * len(wanted)
        )
        return (None, *(next(found) if needed else None for needed in ctx.needs_input_grad[1:]))


Recorded = tuple[list[Tensor | None], tuple[Tensor, ...]]
"""What a run was given, as leaves of its graph, and its results."""


def _recorded(run: Run, given: Sequence[Tensor | None]) -> Recorded:
    """A run with a graph that ends at what it was given."""
    leaves = [one if one is None else one.detach().requires_grad_(one.requires_grad) for one in given]
    with torch.enable_grad():
        return leaves, run(leaves)


def _viewed(run: Run, given: Sequence[Tensor | None]) -> Recorded:
    """A run with a graph that goes on; views, so that nothing is derived by a tensor that another one was made of."""
    with torch.enable_grad():
        leaves = [one if one is None else one.view_as(one) for one in given]
        return leaves, run(leaves)


def _autocast_of(device: str) -> dict[str, Any]:
    """The autocast that is at work on a device, so that it can be entered again."""
    if not torch.amp.is_autocast_available(device):  # pyright: ignore[reportPrivateImportUsage]
        return {"device_type": "cpu", "enabled": False}
    dtype, enabled = torch.get_autocast_dtype(device), torch.is_autocast_enabled(device)
    return {"device_type": device, "dtype": dtype, "enabled": enabled}
