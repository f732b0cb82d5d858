"""What a Program computes of parameters alone, before its kernels run and behind them, where its calls' tensors lie."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

import torch
from torch import Tensor

from gatewright.axes import bind
from gatewright.backends.base import Call, execute, prepare
from gatewright.backends.llvm.tables import Spot
from gatewright.backends.torch_eager import rules
from gatewright.schedule.program import Program
from gatewright.trace.ir import Equation, Var

Spots = dict[str, Spot]


@dataclass(frozen=True)
class ParameterWork:
    """Equations on parameters, and on the sums over rows that become gradients by them.

    `made` are computed by the prologue, `loose` are sums over rows that are no gradient by themselves: both become
    tensors of a call, in this order, behind those that it was given. `wanted` says where gradients go that the
    epilogue computes, or that are the same as another one.
    """

    program: Program
    sizes: Mapping[str, int]
    dtype: torch.dtype
    given: Mapping[str, Spot]  # parameters, and the sums that lie where they belong
    wanted: Mapping[str, tuple[Spot, ...]]  # by the names of values
    first: int  # the number of the first tensor that is made here

    @cached_property
    def made(self) -> list[str]:
        """What the prologue computes."""
        return [equation.target.name for equation in self.program.prologue]

    @cached_property
    def loose(self) -> list[Var]:
        """The sums that lie nowhere yet."""
        return [one.target for one in self.program.row_sums if one.target.name not in self.given]

    @property
    def spots(self) -> Spots:
        """Where everything lies that is made here."""
        names = [*self.made, *(target.name for target in self.loose)]
        return {name: (self.first + number, 0) for number, name in enumerate(names)}

    def before(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """What comes behind the tensors of a call, for the kernels."""
        values = self._values(tensors, self.given)
        execute(self._prologue, values)
        made = [values[name].contiguous() for name in self.made]
        return made + [torch.zeros(bind(target.shape, self.sizes), dtype=self.dtype) for target in self.loose]

    def after(self, tensors: Sequence[Tensor]) -> None:
        """Write the gradients that kernels have not written."""
        if not self.wanted:
            return
        values = self._values(tensors, {**self.given, **self.spots})
        execute(self._epilogue, values)
        for name, targets in self.wanted.items():
            for spot in targets:
                self._view(tensors, name, spot).copy_(values[name])

    @cached_property
    def _prologue(self) -> list[Call]:
        return self._prepared(self.program.prologue)

    @cached_property
    def _epilogue(self) -> list[Call]:
        return self._prepared(self.program.epilogue)

    def _prepared(self, equations: Sequence[Equation]) -> list[Call]:
        return prepare(equations, rules(torch.empty((), dtype=self.dtype)), self.sizes)

    @cached_property
    def _used(self) -> set[str]:
        equations = (*self.program.prologue, *self.program.epilogue)
        return {arg.name for one in equations for arg in one.args if isinstance(arg, Var)} | set(self.wanted)

    def _values(self, tensors: Sequence[Tensor], spots: Mapping[str, Spot]) -> dict[str, Tensor]:
        """The values that equations use, as views of the tensors that they lie in."""
        return {name: self._view(tensors, name, spot) for name, spot in spots.items() if name in self._used}

    @cached_property
    def _shapes(self) -> dict[str, tuple[int, ...]]:
        program = self.program
        computed = (equation.target for equation in (*program.prologue, *program.epilogue))
        values = (*program.trace.params, *computed, *(one.target for one in program.row_sums))
        return {value.name: bind(value.shape, self.sizes) for value in values}

    def _view(self, tensors: Sequence[Tensor], name: str, spot: Spot) -> Tensor:
        number, before = spot
        shape = self._shapes[name]
        start = before // tensors[number].element_size()
        return tensors[number].detach().view(-1)[start : start + prod(shape)].view(shape)
