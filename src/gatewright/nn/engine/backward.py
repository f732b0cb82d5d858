"""One gradient of a sequence: what its step is given, by which kernels it runs, and what it says of each input."""

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from gatewright.axes import bind
from gatewright.derive import adjoint, seed
from gatewright.nn.engine.differentiable import Differentiable, sum_shape
from gatewright.trace.ir import Trace

Run = Callable[[Differentiable, Mapping[str, Tensor]], dict[str, Tensor]]
"""Run a sequence: results by name from values by name."""


class Backward:
    """The gradient of one run, about to be computed.

    `values` are what went into the run, `states` the states that came out, `grads` what the loss says of each of
    `spec.results`, None where it says nothing.
    """

    def __init__(
        self,
        spec: Differentiable,
        values: Mapping[str, Tensor],
        states: Mapping[str, Tensor],
        grads: Sequence[Tensor | None],
    ) -> None:
        self.spec, self.trace, self.values, self.states = spec, spec.trace, values, states
        self.grads = {name: grad for name, grad in zip(spec.results, grads, strict=True) if grad is not None}
        self.seen = frozenset(state.name for state in self.trace.states if state.name in self.grads)
        self.like = next(iter(states.values()))

    def differentiable(self, run: Run) -> dict[str, Tensor]:
        """As an operation of its own, which autograd follows."""
        derived = self.spec.derived(self.seen)
        return self.gathered(derived.trace, run(derived, self.given(derived.trace)))

    def given(self, gradient: Trace) -> dict[str, Tensor]:
        """What the step of the gradient is run on, but for what was saved."""
        order, backwards = gradient.order, self.spec.backwards
        before, after = (slice(1, None), slice(None, -1)) if backwards else (slice(None, -1), slice(1, None))
        found = dict(self.values)
        for name, whole in self.states.items():
            found[name] = whole[before]
            found[adjoint(name, order)] = whole.new_zeros(whole.shape[1:])
            if name in self.seen:
                found[seed(name, order)] = self.grads[name][after]
        steps, batch = self.like.shape[0] - 1, self.like.shape[1]
        for name, value in self.trace.emits:
            shape = (steps, batch, *bind(value.shape, self.spec.sizes))
            found[seed(name, order)] = self.grads[name] if name in self.grads else self.like.new_zeros(shape)
        for name, _ in self.trace.sums:
            grad = self.grads.get(name)
            shape = sum_shape(self.spec, name)
            found[adjoint(name, order)] = self.like.new_zeros(shape) if grad is None else grad
        return found

    def gathered(self, gradient: Trace, results: Mapping[str, Tensor | float]) -> dict[str, Tensor]:
        """The gradient by everything that went in, by name, out of what the step of the gradient gave."""
        order, start = gradient.order, -1 if self.spec.backwards else 0
        leaves = [*self.trace.inputs, *self.trace.params]
        found = {leaf.name: _fit(results[adjoint(leaf.name, order)], self.values[leaf.name]) for leaf in leaves}
        for state in self.trace.states:
            carried = results[adjoint(state.name, order)]
            assert isinstance(carried, Tensor)
            own = self.grads.get(state.name)  # the first slot of a state is what went in
            found[state.name] = carried[start] if own is None else carried[start] + own[start]
        return found


def _fit(result: Tensor | float, of: Tensor) -> Tensor:
    """A gradient in the shape of what it is a gradient of; where it is 0 throughout, it may be narrower."""
    if not isinstance(result, Tensor):
        return of.new_full(of.shape, result)
    if result.shape == of.shape:
        return result
    return result[(..., *(None,) * (of.dim() - result.dim()))].expand(of.shape)
