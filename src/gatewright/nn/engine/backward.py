"""The gradient of a sequence as a sequence run the other way: its operands, and the gradients among its results."""

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from gatewright.axes import bind
from gatewright.derive import adjoint, seed
from gatewright.nn.engine.autograd import widened
from gatewright.nn.engine.differentiable import Differentiable, sum_shape
from gatewright.trace.ir import Trace

Run = Callable[[Differentiable, Mapping[str, Tensor]], dict[str, Tensor]]
"""Run a sequence: results by name from values by name."""


class Backward:
    """The gradient of one run as a run of its own, over values by name.

    `values` are the operands of the run, `states` its states at every time, `grads` the gradients by `spec.results`,
    where None is zeros.
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
        self.seeded = frozenset(state.name for state in self.trace.states if state.name in self.grads)
        self.like = next(iter(states.values()))

    def differentiable(self, run: Run) -> dict[str, Tensor]:
        """The gradient by every operand, by an operation that autograd can follow again."""
        derived = self.spec.derived(self.seeded)
        return self.gradients(derived.trace, run(derived, self.operands(derived.trace)))

    def operands(self, gradient: Trace) -> dict[str, Tensor]:
        """The operands of a gradient's run, without what was saved for it."""
        order, backwards = gradient.order, self.spec.backwards
        before, after = (slice(1, None), slice(None, -1)) if backwards else (slice(None, -1), slice(1, None))
        operands = dict(self.values)
        for name, whole in self.states.items():
            operands[name] = whole[before]
            operands[adjoint(name, order)] = whole.new_zeros(whole.shape[1:])
            if name in self.seeded:
                operands[seed(name, order)] = self.grads[name][after]
        steps, batch = self.like.shape[0] - 1, self.like.shape[1]
        for name, value in self.trace.emits:
            shape = (steps, batch, *bind(value.shape, self.spec.sizes))
            operands[seed(name, order)] = self.grads[name] if name in self.grads else self.like.new_zeros(shape)
        for name, _ in self.trace.sums:
            grad = self.grads.get(name)
            shape = sum_shape(self.spec, name)
            operands[adjoint(name, order)] = self.like.new_zeros(shape) if grad is None else grad
        return operands

    def gradients(self, gradient: Trace, results: Mapping[str, Tensor | float]) -> dict[str, Tensor]:
        """The gradient by every operand by its name, from the results of the gradient's run."""
        order, start = gradient.order, -1 if self.spec.backwards else 0
        by: dict[str, Tensor] = {}
        for leaf in (*self.trace.inputs, *self.trace.params):
            like, by_leaf = self.values[leaf.name], results[adjoint(leaf.name, order)]
            is_number = not isinstance(by_leaf, Tensor)
            by[leaf.name] = like.new_full(like.shape, by_leaf) if is_number else widened(by_leaf, like.shape)
        for state in self.trace.states:
            carried = results[adjoint(state.name, order)]
            assert isinstance(carried, Tensor)
            whole = self.grads.get(state.name)  # its first slot is the initial state itself
            by[state.name] = carried[start] if whole is None else carried[start] + whole[start]
        return by
