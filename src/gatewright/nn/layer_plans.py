"""Makes the plan of a layer: for the tensors that it has, or for those on a chip that need not be there."""

from functools import partial

import torch
from torch import Tensor

from gatewright.backends.triton.chips import Chip, OnChip, chip_of
from gatewright.nn import backends
from gatewright.nn.calls.fused_call import fused_or_reason
from gatewright.nn.calls.layer_call import MOST_NARROW_ROWS
from gatewright.nn.layer_interface import LayerInterface
from gatewright.nn.plans import LayerPlan
from gatewright.nn.precision import NARROW, precision_of
from gatewright.nn.torch_fused import runs_as_step


def layer_plan(layer: LayerInterface, asked: str, like: Tensor | OnChip) -> LayerPlan:
    """Which backend runs a layer on tensors such as `like`, why, and what it does.

    Raises OptionError where the backend `asked` for by name cannot run it.
    """
    sizes = tuple(layer.sizes(level) for level in range(layer.num_layers))
    precision = precision_of(layer, like)
    plan = backends.choose(asked, layer.trace, like, partial(fused_or_reason, layer, like), precision, layer.newton)
    if plan.backend not in backends.ENGINES or isinstance(precision, str):
        reports = layer.newton_reports if plan.backend == "newton" else ()
        return LayerPlan(plan.backend, plan.reason, layer.trace, sizes, like.dtype, newton_reports=reports)
    if plan.backend == "triton":
        dtypes = precision.dtype, precision.products
        return LayerPlan(plan.backend, plan.reason, layer.trace, sizes, *dtypes, chip=_chip(like))
    reason, float32_steps = plan.reason, 0
    is_converted = like.dtype in NARROW or torch.is_autocast_enabled("cpu")
    if precision.products == "bfloat16" and is_converted and runs_as_step(layer, MOST_NARROW_ROWS):
        float32_steps = MOST_NARROW_ROWS
        reason += f"; single steps of at most {float32_steps} rows in float32"
    dtypes = precision.dtype, precision.products, float32_steps
    return LayerPlan(plan.backend, reason, layer.trace, sizes, *dtypes)


def _chip(like: Tensor | OnChip) -> Chip | None:
    """None in the interpreter, where every loop is resident."""
    if isinstance(like, OnChip):
        return like.chip
    return chip_of(like.device) if like.is_cuda else None
