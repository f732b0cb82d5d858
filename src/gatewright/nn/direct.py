"""The short way through the engine: kernels on the very tensors that a layer holds.

Parameters are read, and their gradients written, where they lie in packed tensors. Autograd sees one operation between
a layer's tensors and its results, whatever the number of gates. `gatewright.nn.autograd` is the long way: it serves
what cannot go this one, and derivatives of the gradient are taken through it.
"""

import ctypes
from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from math import prod
from typing import Any

import torch
from torch import Tensor

from gatewright.nn.differentiable import Differentiable
from gatewright.nn.direct_plan import CannotPlanError, Gradient, Places, Plan, Planner
from gatewright.nn.kept_panels import LEAST_BYTES, KeptPanels
from gatewright.nn.packed_cell import Asked, PackedCell, Pair
from gatewright.nn.ragged import Ragged
from gatewright.nn.recycling import Recycler
from gatewright.trace.mask import MASK

Given = Sequence[Tensor | None]
"""Inputs with random values, packed parameters, initial states (None is zeros)."""
_ALONE, _SAVING = "alone", "saving"
_REMEMBERED = 64  # extents whose plans are remembered


def direct_of(cell: PackedCell, asked: Asked, dtype: torch.dtype) -> "Direct | None":
    """The short way of a cell, or None where its kernels need what lies in no tensor of a layer.

    Raises TraceError where the cell's gradient has no schedule.
    """
    key = ("direct", asked, dtype)
    if key not in cell.made:
        found: Direct | None = Direct(cell, asked, dtype)
        try:
            found.try_plans()
        except CannotPlanError:
            found = None
        cell.made[key] = found
    return cell.made[key]


def known_direct(cell: PackedCell, asked: Asked, dtype: torch.dtype) -> "Direct | None":
    """What `direct_of` has given for a cell before, if it was asked."""
    return cell.made.get(("direct", asked, dtype))


class Direct:
    """A packed cell that the engine runs on a layer's own tensors."""

    def __init__(self, cell: PackedCell, asked: Asked, dtype: torch.dtype) -> None:
        self.cell, self.spec, self._asked = cell, cell.spec(asked, dtype), asked
        self._planner = Planner(cell, self.spec)
        self._inputs = len(self._planner.inputs)
        self._packed = len(cell.layout)
        self.count = self._inputs + self._packed + len(self.spec.trace.states)
        self._gradients: dict[tuple[bool, ...], Gradient] = {}
        self._plans: dict[Any, Plan] = {}
        self._recyclers = defaultdict[str, Recycler](Recycler)  # for each use of large memory
        self._panels = defaultdict[str, KeptPanels](KeptPanels)  # for each layout

    @cached_property
    def masked(self) -> Differentiable:
        """The same with a mask, for what the kernels for ragged batches cannot do."""
        expected, _, gates = self._asked
        return self.cell.spec((expected, True, gates), self.spec.dtype)

    @property
    def inputs(self) -> list[str]:
        """The names of the inputs with random values."""
        return self._planner.inputs

    def try_plans(self) -> None:
        """Raise CannotPlanError where a call could not be planned. Nothing is compiled for that."""
        for which in (_ALONE, _SAVING, (True,) * self.count):
            self._places(which, 1, 1)

    def fits(self, given: Given) -> bool:
        """Whether the kernels can take such tensors as they are; what they cannot, the long way serves or refuses."""
        like = given[0]
        assert like is not None
        if not like.numel() or not like.shape[0] * like.shape[1]:
            return False
        packed = given[self._inputs : self._inputs + self._packed]
        return self.takes(packed) and all(one is None or (one.dtype is self.spec.dtype and one.is_cpu) for one in given)

    def takes(self, packed: Given) -> bool:
        """Whether packed parameters are as the kernels take them."""
        dtype = self.spec.dtype
        for one, shape in zip(packed, self.cell.shapes, strict=True):
            if one is None or one.dtype is not dtype or one.shape != shape or not one.is_cpu:
                return False
        return True

    def forward(self, given: Given, ragged: Ragged | None = None, *, saves: bool) -> list[Tensor]:
        """All states at every time, (time + 1, batch, ...), and what is saved."""
        steps, batch = _extent(given)
        plan = self._plan(_SAVING if saves else _ALONE, steps, batch, ragged)
        tensors = self._read(given)
        starts = zip(self._planner.state_shapes, given[self._inputs + self._packed :], strict=True)
        states = [
            self._states(
                self._room(f"state {number}" if saves and number else "", (steps + 1, batch, *shape)),
                start,
                ragged,
                from_end=self.spec.backwards,
                blank=number == 0,
            )
            for number, (shape, start) in enumerate(starts)
        ]
        saved = self._recyclers["saved"].take(plan.saved_bytes)
        if saves or plan.panel_bytes < LEAST_BYTES:
            plan.run([*tensors, *states, saved], ragged and ragged.active)
        else:
            self._run_packed(plan, [*tensors, *states, saved], ragged)
        return [*states, saved]

    def _run_packed(self, plan: Plan, tensors: Sequence[Tensor], ragged: Ragged | None) -> None:
        """Run kernels on matrices that an earlier call has packed, where these are still the same."""
        kept = self._panels[plan.layout]
        panels = kept.take(plan.panel_bytes)
        known = panels.holds(tensors[self._inputs : self._inputs + self._packed])
        plan.run(tensors, ragged and ragged.active, (panels.block, known))
        kept.give_back(panels)

    def backward(
        self,
        given: Given,
        kept: Sequence[Tensor],
        grads: Sequence[Tensor | None],
        needed: tuple[bool, ...],
        ragged: Ragged | None = None,
    ) -> list[Tensor | None]:
        """The gradients by all that was given, where they are needed; `kept` is what `forward` gave."""
        steps, batch = _extent(given)
        gradient = self._gradient(needed)
        plan = self._plan(needed, steps, batch, ragged)
        flow = kept[0].new_zeros(kept[0][1:].shape) if grads[0] is None else grads[0].contiguous()
        adjoints = [
            self._states(
                self._room(f"adjoint {number}", (steps + 1, batch, *shape)),
                grad,
                ragged,
                from_end=not self.spec.backwards,
            )
            for number, (shape, grad) in enumerate(zip(self._planner.state_shapes, grads[1:], strict=True))
        ]
        tensors = self._read(given)
        new = torch.empty_like if ragged is None else torch.zeros_like  # no kernel writes to padding
        by_input = [new(tensors[number]) for number in gradient.inputs]
        new = torch.empty if plan.writes_all and (ragged is None or ragged.active.count) else torch.zeros
        by_packed = [new(self.cell.shapes[number], dtype=self.spec.dtype) for number in gradient.packed]
        plan.run([*tensors, *kept, flow, *adjoints, *by_input, *by_packed], ragged and ragged.active)
        found: list[Tensor | None] = [None] * self.count
        for number, one in zip(gradient.inputs, by_input, strict=True):
            found[number] = one
        for number, one in zip(gradient.packed, by_packed, strict=True):
            found[self._inputs + number] = one
        for pair in gradient.twins:
            self._copy_twin(found, pair)
        for number, one in enumerate(adjoints, self._inputs + self._packed):
            found[number] = _last(one, ragged, at_end=self.spec.backwards)[0] if needed[number] else None
        return found

    def results(self, states: Sequence[Tensor], ragged: Ragged | None = None) -> tuple[Tensor, ...]:
        """The output and the last states, out of all states at every time."""
        steps = states[0].shape[0] - 1
        output = states[0].narrow(0, 0 if self.spec.backwards else 1, steps)
        if self.spec.backwards and ragged is not None:  # behind a row's last step there is its initial state
            output = ragged.fill_padding(output)
        return (output, *[_last(state, ragged, at_end=not self.spec.backwards) for state in states])

    def named(self, given: Given, ragged: Ragged | None = None) -> dict[str, Tensor]:
        """What a call is given, by the names in the equations, with a mask for a ragged batch; autograd follows."""
        like = given[0]
        assert like is not None
        named: dict[str, Tensor] = {}
        for name, one in zip(self._planner.inputs, given, strict=False):
            assert one is not None
            named[name] = one if ragged is None else ragged.fill_padding(one)
        if ragged is not None:
            named[MASK] = ragged.mask().to(like.dtype) * named.get(MASK, 1)
        packed = [one for one in given[self._inputs : self._inputs + self._packed] if one is not None]
        params = self.cell.unpack(packed)
        named |= {param.name: params[param.name] for param in self.spec.trace.params}
        planner = self._planner
        starts = zip(planner.states, planner.state_shapes, given[self._inputs + self._packed :], strict=True)
        return named | {
            name: like.new_zeros(like.shape[1], *shape) if one is None else one for name, shape, one in starts
        }

    def _read(self, given: Given) -> list[Tensor]:
        """Inputs and packed parameters as kernels can read them, and the sums of pairs."""
        found = [
            one if one.is_contiguous() else one.contiguous()
            for one in given[: self._inputs + self._packed]
            if one is not None
        ]
        packed = found[self._inputs :]
        return found + [packed[pair.one] + packed[pair.other] for pair in self.cell.pairs]

    def _room(self, use: str, shape: tuple[int, ...]) -> Tensor:
        """Memory for a state at every time: that of an earlier call for a use that nobody else sees, else new."""
        if not use:
            return torch.empty(shape, dtype=self.spec.dtype)
        return self._recyclers[use].take(prod(shape) * self.spec.dtype.itemsize).view(self.spec.dtype).view(shape)

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
        size = states.stride(0) * states.element_size()
        place = states.data_ptr() + from_end * (states.shape[0] - 1) * size
        if start is None:
            ctypes.memset(place, 0, size)
        else:
            start = start.contiguous()
            ctypes.memmove(place, start.data_ptr(), size)
        return states

    def _copy_twin(self, found: list[Tensor | None], pair: Pair) -> None:
        """Give the second of two packed parameters that share some the gradient that the first one has."""
        one, other = found[self._inputs + pair.one], found[self._inputs + pair.other]
        assert one is not None
        assert other is not None
        if len(pair.names) == len(self.cell.layout[pair.other].slots) == len(self.cell.layout[pair.one].slots):
            found[self._inputs + pair.other] = one
            return
        row = one.stride(0) * one.element_size()
        for rows in pair.rows:
            first = rows.start * row
            ctypes.memmove(other.data_ptr() + first, one.data_ptr() + first, (rows.stop - rows.start) * row)

    def _gradient(self, needed: tuple[bool, ...]) -> Gradient:
        if needed not in self._gradients:
            self._gradients[needed] = self._planner.gradient(needed)
        return self._gradients[needed]

    def _plan(self, which: str | tuple[bool, ...], steps: int, batch: int, ragged: Ragged | None = None) -> Plan:
        key = (which, steps, batch, ragged is not None)
        found = self._plans.get(key)
        if found is None:
            if len(self._plans) >= _REMEMBERED:
                self._plans.clear()
            places = self._places(which, steps, batch)
            found = self._plans[key] = places.plan(steps, batch, ragged=ragged is not None)
        return found

    def _places(self, which: str | tuple[bool, ...], steps: int, batch: int) -> Places:
        if isinstance(which, tuple):
            return self._planner.backward(self._gradient(which), steps, batch)
        engine = self._planner.saving if which == _SAVING else self.spec.alone
        return self._planner.forward(engine, steps, batch)


def _extent(given: Given) -> tuple[int, int]:
    like = given[0]
    assert like is not None
    return like.shape[0], like.shape[1]


def _last(states: Tensor, ragged: Ragged | None, *, at_end: bool) -> Tensor:
    """A state where each row ends, (1, batch, ...), out of a state at every time."""
    if ragged is not None and at_end:
        return ragged.take_ends(states).unsqueeze(0)
    return states.narrow(0, states.shape[0] - 1 if at_end else 0, 1).clone()
