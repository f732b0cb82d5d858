"""The cross entropy of a linear layer's outputs, computed in blocks of rows: the logits are never stored whole."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch._C._functorch import (  # pyright: ignore[reportMissingImports]
    is_functorch_wrapped_tensor,  # pyright: ignore[reportPrivateUsage]
)
from torch.autograd import Function
from torch.nn import functional

from gatewright.errors import OptionError, ShapeError
from gatewright.nn.engine.batched_gradients import has_batches
from gatewright.nn.engine.block_pool import BlockPool
from gatewright.nn.engine.differentiable import OperandDtype
from gatewright.nn.engine.row_kernels import LinearKernels, PackedMatrix, exponentials, linear_kernels, take_memory
from gatewright.nn.linear import engine_precision, pays

Reduction = Literal["mean", "sum", "none"]
BLOCK_BYTES = 16 * 1024 * 1024
"""What the logits of a block may take, unless they are those of ROWS_STEP rows."""
ROWS_STEP = 128
"""Blocks have a multiple of so many rows: the gradient by the weight is read and written once for each of them."""
pools = defaultdict[str, BlockPool](BlockPool)  # for each use of large memory
_PADDED_TO = 64
"""Rows that count are padded to a multiple of this: kernels have a plan for each number of rows."""


def linear_cross_entropy(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    target: Tensor,
    *,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: Reduction = "mean",
) -> Tensor:
    """torch.nn.functional.cross_entropy(linear(input, weight, bias), target), equal within rounding.

    `input` is (..., in_features), `target` (...) holds classes, `weight` is (classes, in_features), `bias` (classes,)
    or None. The loss is a number, or with reduction="none" has the shape of `target`, and is 0 where that is ignored.

    Memory: logits are computed in blocks of rows. A block takes 16 MiB at most, or is of 128 rows where these take
    more. There are a block of logits and one of their exponentials, two copies of the weight in the order in which
    kernels read it, each kept for the next call up to 64 MiB, and the gradients. (PyTorch's two functions store the
    logits of all rows three times.) For "mean" and "sum" the gradient is computed together with the loss, so that no
    logits are computed twice; for "none", or where a gradient is asked for again, they are computed once more.

    The engine runs float32, float64, bfloat16 and float16 on the CPU, from 64 rows and 8 million multiplications. Less
    work, other devices and dtypes, transforms of torch.func, graphs of torch.compile, torch.export and torch.jit.trace,
    and a batch without any target get torch's two functions, and second derivatives torch's operations: all of these
    store the logits whole.

    In bfloat16, and under torch.autocast to it, operands of products are rounded to bfloat16; sums, logits and the
    softmax are float32. In float16 all of these are float32. The loss and the gradients have the dtypes that torch
    gives: under autocast the loss is float32, and each gradient has the dtype of its operand.

    Raises ShapeError where shapes do not fit one another, OptionError for a target that is neither a class nor
    ignored, and for options that do not exist.
    """
    _check(input, weight, bias, target, label_smoothing, reduction)
    rows, targets = input.reshape(-1, input.shape[-1]), target.reshape(-1)
    precision = kept = None
    if pays(input, weight) and targets.is_cpu and targets.dtype is torch.int64:
        precision = engine_precision(input, weight, bias)
    if precision is not None:
        kept = (targets != ignore_index).nonzero().squeeze(1)
    if precision is None or kept is None or not len(kept):
        logits = functional.linear(rows, weight, bias)
        options: dict[str, Any] = {"ignore_index": ignore_index, "label_smoothing": label_smoothing}
        loss = functional.cross_entropy(logits, targets, reduction=reduction, **options)
        return loss.reshape(target.shape) if reduction == "none" else loss
    # cross_entropy gives float32 under autocast, and otherwise the dtype of the logits
    dtype = torch.float32 if torch.is_autocast_enabled("cpu") else precision.results[0]
    rows, weight, *biases = (x.to(precision.dtype) for x in (rows, weight, bias) if x is not None)
    bias = biases[0] if biases else None
    count, all_rows = len(kept), len(rows)
    if count < all_rows:
        padded = torch.cat([kept, kept[:1].expand(-count % _PADDED_TO)])
        rows, targets = rows.index_select(0, padded), targets[padded]
    _check_classes(targets, len(weight), ignore_index)
    call = _LossCall(targets, count, label_smoothing, reduction, precision.products)
    if torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in (rows, weight, bias)):
        loss = _apply(call, rows, weight, bias)
    else:
        loss = call.loss(_losses(call, rows, weight, bias))
    loss = loss.to(dtype)
    if reduction != "none":
        return loss
    if count < all_rows:
        loss = loss.new_zeros(all_rows).index_copy(0, kept, loss[:count])
    return loss.view(target.shape)


def _check(
    input: Tensor, weight: Tensor, bias: Tensor | None, target: Tensor, label_smoothing: float, reduction: str
) -> None:
    if reduction not in get_args(Reduction):
        raise OptionError(
            f"linear_cross_entropy has no reduction {reduction!r}",
            expected=", ".join(get_args(Reduction)),
            got=repr(reduction),
        )
    if not 0 <= label_smoothing <= 1:
        raise OptionError(
            "label_smoothing is the share of a target that goes to all classes alike",
            expected="a number from 0 to 1",
            got=repr(label_smoothing),
        )
    if target.shape != input.shape[:-1]:
        raise ShapeError(
            "the targets of linear_cross_entropy do not fit its input",
            expected=f"a class for each row of the input, shape {tuple(input.shape[:-1])}",
            got=f"shape {tuple(target.shape)}",
        )
    if weight.dim() != 2 or weight.shape[1] != input.shape[-1]:
        raise ShapeError(
            "the weight of linear_cross_entropy does not fit its input",
            expected=f"shape (classes, {input.shape[-1]})",
            got=f"shape {tuple(weight.shape)}",
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ShapeError(
            "the bias of linear_cross_entropy does not fit its weight",
            expected=f"a number for each of the {weight.shape[0]} classes",
            got=f"shape {tuple(bias.shape)}",
        )


def _check_classes(targets: Tensor, classes: int, ignore_index: int) -> None:
    least, greatest = (int(end) for end in targets.aminmax())
    if least < 0 or greatest >= classes:
        raise OptionError(
            "a target of linear_cross_entropy is no class",
            expected=f"classes from 0 to {classes - 1}, or {ignore_index} for what is ignored",
            got=str(least if least < 0 else greatest),
        )


@dataclass(eq=False, slots=True)
class _LossCall:
    """What a call is about, beside its operands: the first `count` rows count, the others are padding."""

    targets: Tensor
    count: int
    smoothing: float
    reduction: Reduction
    products: OperandDtype = None

    def loss(self, losses: Tensor) -> Tensor:
        """The result, from the loss of each row."""
        if self.reduction == "none":
            return losses
        total = losses[: self.count].sum()
        return total / self.count if self.reduction == "mean" else total

    def shares(self, grad: Tensor) -> Tensor:
        """The gradient by the loss of each row, from that by the result."""
        if self.reduction == "none":
            return grad
        share = grad / self.count if self.reduction == "mean" else grad
        counts = (torch.arange(len(self.targets)) < self.count).to(share.dtype)
        return counts * share


class _LossFunction(Function):
    """The loss, and its gradient."""

    @staticmethod
    def forward(ctx: Any, call: _LossCall, rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Compute the loss of each row, and the gradient by a loss that all rows have an equal part in."""
        ctx.call, ctx.gradients = call, None
        ctx.save_for_backward(rows, weight, bias)
        if call.reduction == "none":
            return _losses(call, rows, weight, bias)
        gradients = _LossGradients.of(call.shares(rows.new_ones(())), (rows, weight, bias), ctx.needs_input_grad[1:])
        losses = _losses(call, rows, weight, bias, gradients)
        ctx.gradients = gradients.by
        return call.loss(losses)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Give the gradient that was computed with the loss, or compute it."""
        call: _LossCall = ctx.call
        rows, weight, bias = ctx.saved_tensors
        needed = ctx.needs_input_grad[1:]
        if torch.is_grad_enabled() or has_batches([grad]) or is_functorch_wrapped_tensor(grad):
            return (None, *_by_torch(call, rows, weight, bias, grad, needed))
        # Without a reference of ours the tensors become the gradients of leaves as they are; a second run of this
        # backward computes them again.
        by, ctx.gradients = ctx.gradients, None
        if by is None:
            gradients = _LossGradients.of(call.shares(grad), (rows, weight, bias), needed)
            _losses(call, rows, weight, bias, gradients)
            return (None, *gradients.by)
        factor = grad.item()
        if factor != 1:
            for gradient in by:
                if gradient is not None:
                    gradient.mul_(factor)
        return (None, *by)


# `Function.apply` inspects the signature of `forward` at every call, which takes longer than a small kernel
_apply: Callable[..., Tensor] = getattr(super(Function, _LossFunction), "apply")  # noqa: B009 (unknown to the checker)


@dataclass(eq=False, slots=True)
class _LossGradients:
    """Room for the gradients by rows, weight and bias, of those that are needed; `shares` are by the loss of a row."""

    shares: Tensor
    by: list[Tensor | None]

    @classmethod
    def of(cls, shares: Tensor, operands: Sequence[Tensor | None], needed: Sequence[bool]) -> "_LossGradients":
        """Room for what is needed: zeros for the bias, since every block adds to it."""
        rows, weight, bias = operands
        assert rows is not None
        assert weight is not None
        room = [rows.new_empty(x.shape) if need else None for x, need in zip((rows, weight), needed, strict=False)]
        return cls(shares, [*room, rows.new_zeros(bias.shape) if bias is not None and needed[2] else None])

    def add(self, kernels: LinearKernels, block: "_RowBlock", weight: Tensor, packed: PackedMatrix) -> None:
        """Add what a block of rows gives."""
        by_rows, by_weight, by_bias = self.by
        span, flow = block.span, block.exponentials
        # The factors of a row go to its few features, and not to its many logits.
        factors = self.shares[span] / block.totals
        room: dict[str, Tensor] = {}
        if by_rows is not None:
            room["x"] = by_rows[span]
        if by_weight is not None:
            room["W"] = by_weight
        if room:
            values = {"x": block.rows * factors[:, None], "W": weight}
            kernels.gradients(values, flow, room, packed, adds=span.start > 0)
        if by_rows is not None:
            by_rows[span].mul_(factors[:, None])
        if by_bias is not None:
            by_bias.addmv_(flow.T, factors)


@dataclass(eq=False, slots=True)
class _RowBlock:
    """Some rows, their logits and what becomes of them."""

    span: slice
    rows: Tensor
    targets: Tensor
    logits: Tensor
    exponentials: Tensor
    totals: Tensor  # of the exponentials of a row

    def losses(self, smoothing: float) -> Tensor:
        """Compute the exponentials and their totals, and the loss of each row."""
        largest = self.logits.amax(1)
        exponentials(self.logits, largest, self.exponentials)
        torch.sum(self.exponentials, 1, out=self.totals)
        losses = self.totals.log().add_(largest)
        losses -= self.logits.gather(1, self.targets[:, None]).squeeze(1).mul_(1 - smoothing)
        if smoothing:
            losses -= self.logits.mean(1).mul_(smoothing)
        return losses

    def to_flow(self, smoothing: float) -> None:
        """Make the exponentials the gradient of the losses by the logits, times the totals."""
        if smoothing:
            self.exponentials.sub_((smoothing / self.logits.shape[1] * self.totals)[:, None])
        self.exponentials.scatter_add_(1, self.targets[:, None], ((smoothing - 1) * self.totals)[:, None])


def _losses(
    call: _LossCall, rows: Tensor, weight: Tensor, bias: Tensor | None, gradients: _LossGradients | None = None
) -> Tensor:
    """The loss of each row; block by block, with the gradients."""
    rows, weight = rows.detach().contiguous(), weight.detach().contiguous()
    classes, in_features = weight.shape
    kernels = linear_kernels(in_features, classes, rows.dtype, call.products, bias=bias is not None)
    values = {"W": weight} if bias is None else {"W": weight, "b": bias.detach().contiguous()}
    height = block_rows(len(rows), classes * rows.element_size())
    size = height * classes * rows.element_size()
    logits, powers = (take_memory(pools[use], size).view(rows.dtype).view(height, classes) for use in ("z", "e"))
    of_outputs, of_gradients = PackedMatrix(pools["outputs"]), PackedMatrix(pools["gradients"])
    losses, totals = rows.new_empty(len(rows)), rows.new_empty(len(rows))
    for start in range(0, len(rows), height):
        span = slice(start, min(start + height, len(rows)))
        count = span.stop - start
        block = _RowBlock(span, rows[span], call.targets[span], logits[:count], powers[:count], totals[span])
        kernels.outputs({"x": block.rows, **values}, block.logits, of_outputs)
        losses[span] = block.losses(call.smoothing)
        if gradients is not None:
            block.to_flow(call.smoothing)
            gradients.add(kernels, block, weight, of_gradients)
    return losses


def block_rows(rows: int, row_bytes: int) -> int:
    """How many rows a block has: all of them, or a multiple of ROWS_STEP."""
    steps = max(1, BLOCK_BYTES // (row_bytes * ROWS_STEP))
    return min(rows, ceil(ceil(rows / ceil(rows / (steps * ROWS_STEP))) / ROWS_STEP) * ROWS_STEP)


def _by_torch(
    call: _LossCall, rows: Tensor, weight: Tensor, bias: Tensor | None, grad: Tensor, needed: Sequence[bool]
) -> tuple[Tensor | None, ...]:
    """The gradient as operations of torch that can be differentiated and mapped."""
    smoothing, classes = call.smoothing, len(weight)
    with torch.autocast("cpu", enabled=False):
        expected = functional.one_hot(call.targets, classes).to(rows.dtype) * (1 - smoothing) + smoothing / classes
        flow = (functional.linear(rows, weight, bias).softmax(1) - expected) * call.shares(grad)[:, None]
        return (
            flow @ weight if needed[0] else None,
            flow.T @ rows if needed[1] else None,
            flow.sum(0) if needed[2] else None,
        )
