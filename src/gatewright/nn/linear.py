"""`Linear`: a drop-in for torch.nn.Linear on the engine's product kernels."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch._C._functorch import (  # pyright: ignore[reportMissingImports]
    is_functorch_wrapped_tensor,  # pyright: ignore[reportPrivateUsage]
)
from torch.autograd import Function
from torch.nn import functional

from gatewright.backends.llvm.jit.target import host
from gatewright.nn.engine.batched_gradients import has_batches
from gatewright.nn.engine.row_kernels import LinearKernels, linear_kernels
from gatewright.nn.modes import is_eager, is_forward_mode
from gatewright.nn.precision import NARROW, Precision, precision_of_product

MIN_ROWS = 64
"""With fewer rows, packing the matrix takes longer than what the product gains."""
MIN_PRODUCTS = 1 << 23
"""With fewer multiplications, torch's operator is faster: it needs less Python."""
_INSTRUCTIONS = {
    torch.bfloat16: {"avx512bf16", "amx-bf16", "bf16"},
    torch.float16: {"avx512fp16", "amx-fp16", "fullfp16"},
}
"""The features of processors that multiply narrow numbers, as LLVM names them."""

_KINDS = (Tensor, nn.Parameter)


class Linear(nn.Linear):
    """torch.nn.Linear, whose products the compiled engine computes: y = x @ weight.T + bias.

    It has the arguments, parameters and results of torch.nn.Linear; results are equal within rounding. The engine runs
    float32 and float64 on the CPU, forward and backward, from 64 rows and 8 million multiplications. It also runs
    bfloat16 and float16, of parameters and of torch.autocast, on processors without instructions for these, where
    torch's operator takes several times as long. Sums are float32 then. Anything else is torch's own operator: less
    work, other devices and dtypes, second derivatives, transforms of torch.func, and graphs of torch.compile,
    torch.export and torch.jit.trace.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(..., in_features) -> (..., out_features)."""
        return linear(input, self.weight, self.bias)

    def __prepare_scriptable__(self) -> nn.Linear:
        """The plain layer with these parameters, since TorchScript cannot compile how the engine is called."""
        has_bias = self.bias is not None  # pyright: ignore[reportUnnecessaryComparison]
        plain = nn.Linear(self.in_features, self.out_features, has_bias, device="meta")
        plain.weight, plain.bias = self.weight, self.bias
        return plain.train(self.training)


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """torch.nn.functional.linear by the engine where it can run it, else by torch."""
    # torch.fx calls this with proxies, which have no sizes to ask for
    if (
        type(input) not in _KINDS
        or not is_eager()
        or not pays(input, weight)
        or (precision := engine_precision(input, weight, bias)) is None
        or (precision.results[0] in NARROW and has_instructions(precision.results[0]))
    ):
        return functional.linear(input, weight, bias)
    if torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in (input, weight, bias)):
        return _apply(precision, input, weight, bias)
    return _outputs(precision, input, weight, bias)


def pays(input: Tensor, weight: Tensor) -> bool:
    """Whether there is enough work for the engine to be faster than torch."""
    products = input.numel() * weight.shape[0] if weight.dim() else 0
    return products >= MIN_PRODUCTS and input.numel() >= MIN_ROWS * input.shape[-1]


def has_instructions(dtype: torch.dtype) -> bool:
    """Whether this processor multiplies numbers of a narrow dtype. Then torch's product is as fast as the engine's,
    which has to convert operands and results as well.

    256 rows of 512 features, in and out, take 0.6 ms in bfloat16 on a Zen 4, by both. Without the instructions they
    take 3.6 to 55 ms by torch, and 1.3 by the engine.
    """
    return not host().needs.isdisjoint(_INSTRUCTIONS[dtype])


def engine_precision(input: Tensor, weight: Tensor, bias: Tensor | None) -> Precision | None:
    """The dtypes in which the engine can compute the products of a linear layer here, of at least one row of one
    feature; None where it cannot."""
    operands = (input, weight) if bias is None else (input, weight, bias)
    if not all(type(x) in _KINDS and x.is_cpu and x.layout is torch.strided for x in operands):
        return None
    if not is_eager() or is_forward_mode() or has_batches(operands):
        return None
    fits = input.dim() > 0 and weight.dim() == 2 and input.shape[-1] == weight.shape[1]
    fits = fits and (bias is None or bias.shape == weight.shape[:1]) and input.numel() > 0 and weight.numel() > 0
    return precision_of_product(operands) if fits else None


class _LinearFunction(Function):
    """A linear layer and its gradient."""

    @staticmethod
    def forward(ctx: Any, precision: Precision, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Compute the outputs; save what torch's own operator saves."""
        ctx.precision, ctx.bias_dtype = precision, None if bias is None else bias.dtype
        ctx.save_for_backward(input, weight)
        return _outputs(precision, input, weight, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Compute the gradients that are needed, each in the dtype of its operand."""
        input, weight = ctx.saved_tensors
        needed = ctx.needs_input_grad[1:]
        if torch.is_grad_enabled() or has_batches([grad]) or is_functorch_wrapped_tensor(grad):
            gradients = _by_torch(ctx.precision, input, weight, grad, needed)
        else:
            gradients = _by_engine(ctx.precision, input, weight, grad, needed)
        dtypes = (input.dtype, weight.dtype, ctx.bias_dtype)
        return (None, *(x if x is None else x.to(dtype) for x, dtype in zip(gradients, dtypes, strict=True)))


# `Function.apply` inspects the signature of `forward` at every call, which takes longer than a small kernel
_apply: Callable[..., Tensor] = getattr(super(Function, _LinearFunction), "apply")  # noqa: B009 (unknown to the checker)


def _outputs(precision: Precision, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    rows = _rows(input, precision)
    values = {"x": rows, "W": _contiguous(weight, precision)}
    if bias is not None:
        values["b"] = _contiguous(bias, precision)
    outputs = rows.new_empty(*input.shape[:-1], len(weight))  # no view: autograd refuses to change returned views
    _kernels(precision, weight, bias=bias is not None).outputs(values, outputs.view(len(rows), len(weight)))
    return outputs.to(precision.results[0])


def _by_engine(
    precision: Precision, input: Tensor, weight: Tensor, grad: Tensor, needed: Sequence[bool]
) -> tuple[Tensor | None, ...]:
    by_input, by_weight, by_bias = needed
    flow, values = _rows(grad, precision), {"x": _rows(input, precision), "W": _contiguous(weight, precision)}
    by: dict[str, Tensor] = {}
    if by_input:
        by["x"] = torch.empty_like(values["x"])
    if by_weight:
        by["W"] = torch.empty_like(values["W"])
    if by_bias:
        by["b"] = flow.new_empty(len(weight))
    _kernels(precision, weight, bias=by_bias).gradients(values, flow, by)
    return by["x"].view(input.shape) if by_input else None, by.get("W"), by.get("b")


def _by_torch(
    precision: Precision, input: Tensor, weight: Tensor, grad: Tensor, needed: Sequence[bool]
) -> tuple[Tensor | None, ...]:
    """The same as operations that can be differentiated and mapped."""
    by_input, by_weight, by_bias = needed
    with torch.autocast("cpu", enabled=False):
        grad, input, weight = (x.to(precision.dtype) for x in (grad, input, weight))
        flow = grad.reshape(-1, grad.shape[-1])
        return (
            grad @ weight if by_input else None,
            flow.T @ input.reshape(-1, input.shape[-1]) if by_weight else None,
            flow.sum(0) if by_bias else None,
        )


def _kernels(precision: Precision, weight: Tensor, *, bias: bool) -> LinearKernels:
    out_features, in_features = weight.shape
    return linear_kernels(in_features, out_features, precision.dtype, precision.products, bias=bias)


def _rows(x: Tensor, precision: Precision) -> Tensor:
    return _contiguous(x.reshape(-1, x.shape[-1]), precision)


def _contiguous(x: Tensor, precision: Precision) -> Tensor:
    return x.detach().to(precision.dtype).contiguous()
