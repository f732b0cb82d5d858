"""A Trace over a sequence under the transforms of torch.func: grad, vjp, jacrev, vmap, and any nesting of these.

It computes what gatewright.nn.autograd does, but is always differentiated by running the derived step as this operation
again, which computes anew what the step itself has computed: transforms may be nested to any depth.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.autograd import Function

from gatewright.nn.backward import Backward
from gatewright.nn.batched_gradients import has_batches, run_batches
from gatewright.nn.differentiable import Differentiable, run_engine, tensors_of
from gatewright.nn.mapped import mapped


def compute(spec: Differentiable, tensors: tuple[Tensor, ...] | list[Tensor]) -> list[Tensor]:
    """Run the kernels: all results in the order of `spec.results`, each contiguous and in memory of its own."""
    outcome = run_engine(spec.alone, dict(zip(spec.given, tensors, strict=True)), spec.dtype)
    results = tensors_of(spec, outcome)
    taken = {tensor.untyped_storage().data_ptr() for tensor in tensors}
    return [_own(results[name], taken) for name in spec.results]


def _own(result: Tensor, taken: set[int]) -> Tensor:
    """A result that shares no memory with what was given or with another result; the engine hands out views."""
    memory = result.untyped_storage().data_ptr()
    if memory in taken and result.numel():
        return result.contiguous().clone()
    taken.add(memory)
    return result.contiguous()


def run(spec: Differentiable, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """As gatewright.nn.autograd.run, under any transforms."""
    if has_batches(values.values()):
        return run_batches(run, spec, values)
    results = _Transformed.apply(spec, *(values[name] for name in spec.given))
    return dict(zip(spec.results, results, strict=True))


class _Transformed(Function):
    """A Trace over a sequence, to be transformed."""

    @staticmethod
    def forward(spec: Differentiable, *tensors: Tensor) -> tuple[Tensor, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Run the kernels."""
        return tuple(compute(spec, tensors))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Keep what was given, and the states."""
        spec, *tensors = inputs
        ctx.spec = spec
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors, *output[: len(spec.trace.states)])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """Run the derived step as this operation."""
        spec: Differentiable = ctx.spec
        count = len(spec.given)
        values = dict(zip(spec.given, ctx.saved_tensors[:count], strict=True))
        states = dict(zip((v.name for v in spec.trace.states), ctx.saved_tensors[count:], strict=True))
        results = Backward(spec, values, states, grads).differentiable(run)
        return (None, *(results.get(name) for name in spec.given))

    @staticmethod
    def vmap(  # pyright: ignore[reportIncompatibleMethodOverride]
        info: Any, in_dims: tuple[int | None, ...], spec: Differentiable, *tensors: Tensor
    ) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        """Fold the axis into the batch, or run for each element."""
        results, dims = mapped(run, spec, info.batch_size, in_dims[1:], tensors)
        return tuple(results), tuple(dims)
