"""A Trace over a sequence as an operation on the tensors that a caller holds: forward and backward by kernels.

Parameters are read, and their gradients written, where they lie in packed tensors.
"""

import ctypes
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import torch
from torch import Tensor

from gatewright.axes import bind
from gatewright.backends.llvm.runtime.executor import Executor
from gatewright.errors import ShapeError
from gatewright.nn.engine.block_pool import BlockPool
from gatewright.nn.engine.differentiable import Differentiable
from gatewright.nn.engine.operation_bindings import Gradient, Numbering
from gatewright.nn.engine.packed_weights import LEAST_BYTES, PackedWeightCache
from gatewright.nn.engine.torch_arrays import torch_arrays
from gatewright.nn.sequence import Ragged
from gatewright.packing import Layout, Overlap, Packed, unpacked
from gatewright.trace.ir import Var
from gatewright.trace.mask import MASK

Given = Sequence[Tensor | None]
"""Inputs with random values, packed parameters, initial states (None is zeros)."""
_ALONE, _SAVING = "alone", "saving"
_REMEMBERED = 64  # extents whose plans are remembered


@dataclass(frozen=True, slots=True)
class Kept:
    """What came out of a run: every state at every time (time + 1, batch, ...), what is emitted, what is saved for the
    gradient, what is summed."""

    states: list[Tensor]
    emits: list[Tensor]
    saved: Tensor
    sums: list[Tensor]

    @property
    def for_gradient(self) -> list[Tensor]:
        """What a gradient reads."""
        return [*self.states, *self.emits, self.saved]


class SequenceOperation:
    """A Trace over a sequence.

    A call is given inputs with random values, packed parameters, and initial states. Its results are

    - of a layer: the output (time, batch, ...), each state after the last step (1, batch, ...), what is emitted;
    - with `whole_states`: each state at every time (time + 1, batch, ...), what is emitted, what is summed.
    """

    def __init__(self, spec: Differentiable, layout: Layout, *, whole_states: bool = False) -> None:
        self.spec, self.layout, self.whole_states = spec, layout, whole_states
        self.numbering = Numbering(spec, layout)
        self.inputs, self.count = self.numbering.inputs, self.numbering.count
        self._parameters = slice(self.numbering.first_packed, self.count)
        self._gradients: dict[Any, Gradient] = {}
        self._plans: dict[Any, Executor] = {}
        self._pools = defaultdict[str, BlockPool](BlockPool)  # for each use of large memory
        self._weights = defaultdict[str, PackedWeightCache](PackedWeightCache)  # for each packing

    def forward(self, given: Given, ragged: Ragged | None = None, *, saves: bool) -> Kept:
        """Run the kernels; with `saves`, so that a gradient can be computed."""
        steps, batch = _extent(given)
        if self.whole_states:
            self._check_shapes(given, (steps, batch))
        plan = self._plan(_SAVING if saves else _ALONE, steps, batch, ragged)
        binding, dtype = plan.binding, self.spec.dtype
        reused = saves and not self.whole_states  # nobody sees the other states: their memory is used again
        starts = zip(self.numbering.state_shapes, given[self.count :], strict=True)
        states = [
            self._states(
                self._room(f"state {number}" if reused and number else "", (steps + 1, batch, *shape)),
                start,
                ragged,
                from_end=self.spec.backwards,
                blank=number == 0,
            )
            for number, (shape, start) in enumerate(starts)
        ]
        new = torch.empty if ragged is None and steps * batch else torch.zeros
        emits: list[Tensor] = []
        for name, _ in self.spec.trace.emits:
            emits.append(new((steps, batch, *binding.emitted[name].shape), dtype=dtype))
        sums = [new(slot.shape, dtype=dtype) for slot in binding.summed.values()] if binding.summed else []
        saved = self._pools["saved"].take(binding.saved_bytes)
        self._run(plan, [*self._read(given), *states, *emits, saved, *sums], ragged, keeps_weights=not saves)
        if ragged is not None and binding.fills:
            emits = list(map(ragged.fill_padding, emits))
        return Kept(states, emits, saved, sums)

    def _check_shapes(self, given: Given, extent: tuple[int, int]) -> None:
        """Hold that tensors have the shapes that kernels trust.

        Raises ShapeError.
        """
        steps, batch = extent
        shapes = self.numbering.shapes_of_given(steps, batch)
        for (name, expected), tensor in zip(shapes, given, strict=True):
            if tensor is not None and tuple(tensor.shape) != expected:
                raise ShapeError(
                    f"the kernels of {self.spec.trace.name!r} were given {name} in a shape that does not fit",
                    expected=str(expected),
                    got=str(tuple(tensor.shape)),
                )

    def _run(self, plan: Executor, tensors: Sequence[Tensor], ragged: Ragged | None, *, keeps_weights: bool) -> None:
        """Run kernels; where packing is dear, on matrices that an earlier call has packed, if they are the same."""
        active = ragged.active if ragged is not None else None
        if not keeps_weights or plan.packed_bytes < LEAST_BYTES:
            plan.run(tensors, active)
            return
        cache = self._weights[plan.packing]
        weights = cache.take(plan.packed_bytes)
        known = weights.holds(tensors[self._parameters])
        plan.run(tensors, active, (weights.block, known))
        cache.give_back(weights)

    def results(self, kept: Kept, ragged: Ragged | None = None) -> tuple[Tensor, ...]:
        """What a call gives; see the class."""
        if self.whole_states:
            return (*kept.states, *kept.emits, *kept.sums)
        first, backwards = kept.states[0], self.spec.backwards
        output = first.narrow(0, 0 if backwards else 1, first.shape[0] - 1)
        if backwards and ragged is not None:  # behind a row's last step there is its initial state
            output = ragged.fill_padding(output)
        return (output, *[_last(state, ragged, at_end=not backwards) for state in kept.states], *kept.emits)

    def results_of(self, named: Mapping[str, Tensor], ragged: Ragged | None) -> tuple[Tensor, ...]:
        """The same out of results by name, of a run in which a mask stood for `ragged`; autograd follows."""
        states = [named[name] for name in self.numbering.states]
        emits = [named[name] for name, _ in self.spec.trace.emits]
        output, *finals = self.results(Kept(states, [], states[0], []))
        steps = [output, *emits]
        output, *emits = steps if ragged is None else map(ragged.fill_padding, steps)
        return (output, *finals, *emits)

    def backward(
        self,
        given: Given,
        kept: Sequence[Tensor],
        grads: Sequence[Tensor | None],
        needed: tuple[bool, ...],
        ragged: Ragged | None = None,
    ) -> list[Tensor | None]:
        """The gradients by all that was given, where they are needed; `kept` is `Kept.for_gradient` of the run, `grads`
        are by what `results` gave."""
        steps, batch = _extent(given)
        numbering = self.numbering
        seen = self.seen(grads)
        gradient = self._gradient(seen, needed)
        plan = self._plan((seen, needed), steps, batch, ragged)
        flows, ends = self._flows(kept, grads, seen)
        adjoints = [
            self._states(
                self._room(f"adjoint {number}", (steps + 1, batch, *shape)),
                end,
                ragged,
                from_end=not self.spec.backwards,
            )
            for number, (shape, end) in enumerate(zip(numbering.state_shapes, ends, strict=True))
        ]
        tensors = self._read(given)
        emitted = list(plan.binding.emitted.values())
        is_blank = ragged is not None or not steps * batch
        new = torch.zeros if is_blank else torch.empty  # no kernel writes to padding
        by_input = [new((steps, batch, *slot.shape), dtype=self.spec.dtype) for slot in emitted]
        new = torch.empty if steps * batch and (ragged is None or ragged.active.count) else torch.zeros
        by_packed = [
            new(tensors[numbering.first_packed + number].shape, dtype=self.spec.dtype) for number in gradient.packed
        ]
        self._run(plan, [*tensors, *kept, *flows, *adjoints, *by_input, *by_packed], ragged, keeps_weights=False)
        if ragged is not None and plan.binding.fills:
            by_input = list(map(ragged.fill_padding, by_input))
        found: list[Tensor | None] = [None] * self.count
        for number, one in zip(gradient.inputs, by_input, strict=True):
            found[number] = _widened(one, tensors[number])
        for number, one in zip(gradient.packed, by_packed, strict=True):
            found[numbering.first_packed + number] = one
        for overlap in gradient.overlaps:
            self._copy_shared(found, overlap)
        starts = enumerate(adjoints, self.count)
        found += [
            _last(one, ragged, at_end=self.spec.backwards)[0] if needed[number] else None for number, one in starts
        ]
        if self.whole_states:
            self._add_own(found, grads)
        return found

    def _add_own(self, found: list[Tensor | None], grads: Sequence[Tensor | None]) -> None:
        """Add what the loss says of initial states as such: they are the first of the states that were given out."""
        start = -1 if self.spec.backwards else 0
        for number, grad in enumerate(grads[: len(self.numbering.states)], self.count):
            carried = found[number]
            if carried is not None and grad is not None:
                found[number] = carried + grad[start]

    def seen(self, grads: Sequence[Tensor | None]) -> tuple[str, ...]:
        """The states of which the loss says something at every step."""
        if not self.whole_states:
            return (self.numbering.states[0],)
        return tuple(name for name, grad in zip(self.numbering.states, grads, strict=False) if grad is not None)

    def can_use_saved(self, grads: Sequence[Tensor | None]) -> bool:
        """Whether what a run saves is all that such a gradient needs."""
        saved = self.spec.halves(self.spec.first).pair.saved
        return set(self.spec.halves(frozenset(self.seen(grads))).pair.saved) <= set(saved)

    def _flows(
        self, kept: Sequence[Tensor], grads: Sequence[Tensor | None], seen: Sequence[str]
    ) -> tuple[list[Tensor], list[Tensor | None]]:
        """What the loss says at every step, of sums too, and of the last states."""
        states, trace, backwards = self.numbering.states, self.spec.trace, self.spec.backwards
        if self.whole_states:
            after = slice(None, -1) if backwards else slice(1, None)
            wholes, others = grads[: len(states)], grads[len(states) :]
            flows = [whole[after] for whole in wholes if whole is not None]
            ends: list[Tensor | None] = [None] * len(states)
        else:
            first, others = kept[0], grads[1 + len(states) :]
            flows = [first.new_zeros(first[1:].shape) if grads[0] is None else grads[0]]
            ends = list(grads[1 : 1 + len(states)])
        outs = [*trace.emits, *(trace.sums if self.whole_states else ())]
        for (name, value), grad in zip(outs, others, strict=True):
            if isinstance(value, Var):
                flows.append(self._zero_result(name, value, kept) if grad is None else grad)
        return [flow.contiguous() for flow in flows], ends

    def _zero_result(self, name: str, value: Var, kept: Sequence[Tensor]) -> Tensor:
        steps, batch = kept[0].shape[0] - 1, kept[0].shape[1]
        leading = (steps, batch) if name in dict(self.spec.trace.emits) else ()
        return kept[0].new_zeros((*leading, *bind(value.shape, self.spec.sizes)))

    def named(self, given: Given, ragged: Ragged | None = None) -> dict[str, Tensor]:
        """What a call is given, by the names in the equations, with a mask for a ragged batch; autograd follows."""
        like = given[0]
        assert like is not None
        named: dict[str, Tensor] = {}
        for name, one in zip(self.inputs, given, strict=False):
            assert one is not None
            named[name] = one if ragged is None else ragged.fill_padding(one)
        if ragged is not None:
            named[MASK] = ragged.mask().to(like.dtype) * named.get(MASK, 1)
        packed = [one for one in given[self._parameters] if one is not None]
        params = unpacked(self.layout, packed, self.spec.trace, self.spec.sizes)
        named |= {param.name: params[param.name] for param in self.spec.trace.params}
        numbering = self.numbering
        starts = zip(numbering.states, numbering.state_shapes, given[self.count :], strict=True)
        return named | {
            name: like.new_zeros(like.shape[1], *shape) if one is None else one for name, shape, one in starts
        }

    def takes(self, packed: Given) -> bool:
        """Whether packed parameters are as the kernels take them."""
        dtype = self.spec.dtype
        for one, shape in zip(packed, self.numbering.shapes, strict=True):
            if one is None or one.dtype is not dtype or one.shape != shape or not one.is_cpu:
                return False
        return True

    def _read(self, given: Given) -> list[Tensor]:
        """Inputs and packed parameters as kernels can read them, and the sums of those that overlap."""
        dtype = self.spec.dtype
        found = [
            one if one.is_contiguous() and one.dtype is dtype else one.to(dtype).contiguous()
            for one in given[: self.count]
            if one is not None
        ]
        packed = found[self._parameters]
        return found + [packed[overlap.first] + packed[overlap.second] for overlap in self.numbering.overlaps]

    def _room(self, use: str, shape: tuple[int, ...]) -> Tensor:
        """Memory for a state at every time: that of an earlier call for a use that nobody else sees, else new."""
        if not use:
            return torch.empty(shape, dtype=self.spec.dtype)
        return self._pools[use].take(prod(shape) * self.spec.dtype.itemsize).view(self.spec.dtype).view(shape)

    def _states(
        self,
        states: Tensor,
        start: Tensor | None,
        ragged: Ragged | None,
        *,
        from_end: bool,
        blank: bool = False,
    ) -> Tensor:
        """Room for a state at every time with what is known of it: how it begins, and zeros where no step is taken if
        it is to be `blank` there."""
        if ragged is not None and blank:
            states.zero_()
        if ragged is not None and from_end:
            ragged.put_ends(states, start)
            return states
        size = states.numel() // states.shape[0] * states.element_size()  # 0 where there are no rows
        place = states.data_ptr() + from_end * (states.shape[0] - 1) * size
        if start is None:
            ctypes.memset(place, 0, size)
        else:
            start = start.to(states.dtype).contiguous()
            ctypes.memmove(place, start.data_ptr(), size)
        return states

    def _copy_shared(self, found: list[Tensor | None], overlap: Overlap) -> None:
        """Give the second of two packed parameters that share some the gradient that the first one has."""
        first = found[self.numbering.first_packed + overlap.first]
        second = found[self.numbering.first_packed + overlap.second]
        assert first is not None
        assert second is not None
        if overlap.whole:
            found[self.numbering.first_packed + overlap.second] = first
            return
        row = first.stride(0) * first.element_size()
        for rows in overlap.rows:
            before = rows.start * row
            ctypes.memmove(second.data_ptr() + before, first.data_ptr() + before, (rows.stop - rows.start) * row)

    def _gradient(self, seen: tuple[str, ...], needed: tuple[bool, ...]) -> Gradient:
        """The gradient by what is needed of inputs, packed parameters and states."""
        key = (seen, needed)
        if key not in self._gradients:
            self._gradients[key] = self.numbering.gradient(seen, needed)
        return self._gradients[key]

    def _plan(self, which: Any, steps: int, batch: int, ragged: Ragged | None) -> Executor:
        key = (which, steps, batch, ragged is not None)
        found = self._plans.get(key)
        if found is None:
            if len(self._plans) >= _REMEMBERED:
                self._plans.clear()
            if isinstance(which, str):
                engine = self.spec.halves(self.spec.first).forward if which == _SAVING else self.spec.alone
                binding = self.numbering.forward(engine, steps, batch)
            else:
                binding = self.numbering.backward(self._gradient(*which), steps, batch)
            found = self._plans[key] = Executor(
                binding, torch_arrays(self.spec.dtype), steps, batch, ragged=ragged is not None
            )
        return found


def _extent(given: Given) -> tuple[int, int]:
    like = given[0]
    assert like is not None
    return like.shape[0], like.shape[1]


def _last(states: Tensor, ragged: Ragged | None, *, at_end: bool) -> Tensor:
    """A state where each row ends, (1, batch, ...), out of a state at every time."""
    if ragged is not None and at_end:
        return ragged.take_ends(states).unsqueeze(0)
    return states.narrow(0, states.shape[0] - 1 if at_end else 0, 1).clone()


def _widened(gradient: Tensor, like: Tensor) -> Tensor:
    """A gradient in the shape of its input: one with fewer axes is the same along those that it lacks."""
    missing = like.dim() - gradient.dim()
    return gradient[(..., *(None,) * missing)].expand(like.shape) if missing else gradient


@lru_cache(maxsize=1024)
def operation_of_trace(spec: Differentiable) -> SequenceOperation:
    """The operation of a trace whose parameters are tensors of their own, by the names in its equations."""
    layout = tuple(Packed(param.name, (param.name,)) for param in spec.trace.params)
    return SequenceOperation(spec, layout, whole_states=True)
