"""A Trace over a sequence as an operation on the tensors of a caller: what all engines have in common.

`SequenceOperation` runs the kernels of the CPU engine, `DeviceOperation` those of a GPU. The autograd function of
gatewright.nn.engine.sequence_function serves both.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from gatewright.backends.llvm.runtime.side_by_side import SideBySide
from gatewright.errors import ShapeError
from gatewright.nn.engine.differentiable import Differentiable
from gatewright.nn.engine.operation_bindings import TensorNumbering
from gatewright.nn.sequence import RaggedRows
from gatewright.packing import Layout

Operands = Sequence[Tensor | None]
"""Inputs with random values (time, batch, ...), packed parameters, initial states (batch, ...); None is zeros.

Of random values Triton's kernels are given the seeds (time, batch)."""


@dataclass(frozen=True, slots=True)
class RunOutputs:
    """Everything that a run has written.

    - `states`: every state at every time, (time + 1, batch, ...).
    - `emits`: what each step emits, (time, batch, ...).
    - `saved`: what only the gradient needs, in the form that the engine reads.
    - `sums`: what is summed over rows and steps.
    """

    states: list[Tensor]
    emits: list[Tensor]
    saved: list[Tensor]
    sums: list[Tensor]

    @property
    def for_gradient(self) -> list[Tensor]:
        """The tensors that a gradient reads."""
        return [*self.states, *self.emits, *self.saved]


class AskedGradient(NamedTuple):
    """A gradient that is asked for.

    - `kept`: `RunOutputs.for_gradient` of the run.
    - `grads`: by the results of the run; None is zeros.
    - `needed`: whether the gradient by each operand is.
    - `by_inputs`: memory for the gradients by inputs, as far as there is some; the others get new memory.
    """

    operands: Operands
    kept: Sequence[Tensor]
    grads: Sequence[Tensor | None]
    needed: tuple[bool, ...]
    ragged: RaggedRows | None = None
    by_inputs: Sequence[Tensor] = ()


CompleteGradient = Callable[[], list[Tensor | None]]
"""Gives the gradient by every operand, once the kernels that it waits for are done; None where none was needed."""


class TraceOperation(ABC):
    """A Trace over a sequence.

    Its results are

    - for a layer: the output (time, batch, ...), each state after the last step (1, batch, ...), what is emitted;
    - with `whole_states`: each state at every time (time + 1, batch, ...), what is emitted, what is summed.
    """

    def __init__(self, spec: Differentiable, layout: Layout, *, whole_states: bool = False) -> None:
        self.spec, self.layout, self.whole_states = spec, layout, whole_states
        self.numbering = TensorNumbering(spec, layout)
        self.inputs, self.count = self.numbering.inputs, self.numbering.count
        self.parameters = slice(self.numbering.first_packed, self.count)  # among operands

    @abstractmethod
    def forward(
        self,
        operands: Operands,
        ragged: RaggedRows | None = None,
        *,
        saves: bool,
        beside: SideBySide | None = None,
    ) -> RunOutputs:
        """Run the kernels; with `saves`, so that a gradient can be computed. With `beside` they run later."""

    @abstractmethod
    def start_backward(self, asked: AskedGradient, beside: SideBySide | None = None) -> CompleteGradient:
        """Run the kernels of `backward`, or have them run `beside` others; gives the function that completes it when
        they are done."""

    @abstractmethod
    def can_use_saved(self, grads: Sequence[Tensor | None]) -> bool:
        """Whether a forward run saves every value that the gradient by `grads` needs, in the form that it reads."""

    @abstractmethod
    def takes(self, packed: Operands) -> bool:
        """Whether packed parameters have the dtype, the shapes and the device that the kernels need."""

    def backward(self, asked: AskedGradient) -> list[Tensor | None]:
        """The gradient by every operand that needs one."""
        return self.start_backward(asked)()

    def results(self, outputs: RunOutputs, ragged: RaggedRows | None = None) -> tuple[Tensor, ...]:
        """The results of a call; see the class."""
        if self.whole_states:
            return (*outputs.states, *outputs.emits, *outputs.sums)
        first, backwards = outputs.states[0], self.spec.backwards
        output = first.narrow(0, 0 if backwards else 1, first.shape[0] - 1)
        if backwards and ragged is not None:  # a row's initial state lies after its last step
            output = ragged.fill_padding(output)
        return (output, *[last_state(state, ragged, at_end=not backwards) for state in outputs.states], *outputs.emits)

    def check_shapes(self, operands: Operands, extent: tuple[int, int]) -> None:
        """Raise ShapeError unless tensors have the shapes that kernels trust."""
        for (name, expected), tensor in zip(self.numbering.operand_shapes(*extent), operands, strict=True):
            if tensor is not None and tuple(tensor.shape) != expected:
                raise ShapeError(
                    f"the kernels of {self.spec.trace.name!r} were given {name} in a shape that does not fit",
                    expected=str(expected),
                    got=str(tuple(tensor.shape)),
                )

    def seeded(self, grads: Sequence[Tensor | None]) -> tuple[str, ...]:
        """The states with an incoming gradient at every step."""
        if not self.whole_states:
            return (self.numbering.states[0],)
        return tuple(name for name, grad in zip(self.numbering.states, grads, strict=False) if grad is not None)


def last_state(states: Tensor, ragged: RaggedRows | None, *, at_end: bool) -> Tensor:
    """The state of each row when it ends, (1, batch, ...), from a state at every time."""
    if ragged is not None and at_end:
        return ragged.take_ends(states).unsqueeze(0)
    return states.narrow(0, states.shape[0] - 1 if at_end else 0, 1).clone()
