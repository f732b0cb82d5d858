"""A function without second derivatives, beside one that computes the same results and has them.

cuDNN's recurrent functions have no second derivative. They compute results and first gradients; where a gradient is to
be differentiated itself (create_graph=True), it is computed through the other function.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gatewright.errors import GatewrightError
from gatewright.nn.engine.autograd import ChangeMarks, gradients_where_needed, views_of

Run = Callable[[Sequence[Tensor | None]], tuple[Tensor, ...]]


@dataclass(frozen=True, slots=True)
class TwiceDifferentiable:
    """Calls `run`; its second derivatives are those of `run_operations`, which computes the same.

    `obstacle` says why neither can be run again with the same numbers: where they draw random ones.
    """

    run: Run
    run_operations: Run
    obstacle: str | None = None

    def __call__(self, tensors: Sequence[Tensor | None]) -> tuple[Tensor, ...]:
        """The results of `run`, differentiable to any order."""
        if torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors):
            return _TwiceDifferentiableFunction.apply(self, *tensors)
        return self.run(tensors)

    def require_repeatable(self, problem: str) -> None:
        """Raise GatewrightError if the functions cannot be run again."""
        if self.obstacle:
            raise GatewrightError(
                f"{problem}, and backend 'torch-fused' cannot compute it",
                got=self.obstacle,
                do="make the layer with backend='torch'",
            )


class _TwiceDifferentiableFunction(torch.autograd.Function):
    """One node of autograd's graph around a graph of its own, which `run` has made."""

    @staticmethod
    def forward(ctx: Any, functions: TwiceDifferentiable, *tensors: Tensor | None) -> tuple[Tensor, ...]:
        """Call `run`, and keep its graph."""
        ctx.functions = functions
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors)
        ctx.leaves, ctx.results = _run_from_leaves(functions.run, tensors)
        # Not views: autograd would not let a caller change those in place.
        returned = tuple(result.new_empty(0).set_(result.detach()) for result in ctx.results)  # pyright: ignore[reportArgumentType]
        ctx.marks, ctx.autocast = ChangeMarks(returned), _autocast_of(ctx.results[0].device.type)
        return returned

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """The gradient; through `run_operations` where it is to be differentiated itself."""
        functions, leaves, results = ctx.functions, ctx.leaves, ctx.results
        tensors = ctx.saved_tensors
        # what the graph of the first run has saved is kept no longer than torch keeps what it saves itself
        kept = torch._C._autograd._get_current_graph_task_keep_graph()  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]
        differentiated = torch.is_grad_enabled()
        if differentiated:
            functions.require_repeatable("a gradient of this layer is to be differentiated itself")
        elif ctx.marks.changed:
            functions.require_repeatable("an output of this layer was changed in place before its gradient was taken")
        with torch.autocast(**ctx.autocast):
            if differentiated:
                # The graph of this run continues that of the operands. Views keep the operands apart.
                leaves = views_of(tensors)
                results = functions.run_operations(leaves)
            elif ctx.marks.changed:  # the graph of the first run has saved what was changed
                leaves, results = _run_from_leaves(functions.run, tensors)
        return (
            None,
            *gradients_where_needed(
                results, grads, leaves, ctx.needs_input_grad[1:], create_graph=differentiated, retain_graph=kept
            ),
        )


def _run_from_leaves(run: Run, tensors: Sequence[Tensor | None]) -> tuple[list[Tensor | None], tuple[Tensor, ...]]:
    """The leaves and the results of a run with a graph of its own."""
    leaves = [x if x is None else x.detach().requires_grad_(x.requires_grad) for x in tensors]
    with torch.enable_grad():
        return leaves, run(leaves)


def _autocast_of(device: str) -> dict[str, Any]:
    """The autocast that is at work on a device, so that it can be entered again."""
    if not torch.amp.is_autocast_available(device):  # pyright: ignore[reportPrivateImportUsage]
        return {"device_type": "cpu", "enabled": False}
    dtype, enabled = torch.get_autocast_dtype(device), torch.is_autocast_enabled(device)
    return {"device_type": device, "dtype": dtype, "enabled": enabled}
