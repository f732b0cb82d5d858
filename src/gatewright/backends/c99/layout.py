"""What the names of a stack are in C: sizes, states, constants, and how parts hand on what they give."""

from dataclasses import dataclass
from math import prod

import numpy as np

from gatewright.backends.c99.functions import DEFINED, Functions
from gatewright.backends.c99.names import Names, identifier
from gatewright.backends.c99.parts import CellPart, CellStack, Constant
from gatewright.backends.c99.steps import StepWriter
from gatewright.backends.c99.values import Values
from gatewright.int8 import Quantised
from gatewright.lang.ops import Op


@dataclass(frozen=True, slots=True)
class Placed:
    """An array of constants, and the names of its sizes."""

    constant: Constant
    bounds: tuple[str, ...]
    by_column: bool


class StackNames:
    """A stack with a name for everything; `steps` holds the statements of each part."""

    def __init__(self, stack: CellStack) -> None:
        self.stack = stack
        self.functions = Functions(stack.name, stack.dtype, stack.math)
        self.sizes: dict[str, int] = {}
        self.bounds = self._bounds()
        own = ("step", "reset", "state", "embedding", "layer", *(part.name for part in stack.parts), *DEFINED)
        members, self._globals = Names(), Names({*self.sizes, *(f"{stack.name}_{word}" for word in own)})
        self.fields = {
            part.name: {state.name: members.take(_joined(part.name, state.name)) for state in part.kept()}
            for part in stack.parts
        }
        self.steps = [self._step(part) for part in stack.parts]
        self.constants = self._constants()

    def size(self, name: str) -> str:
        """The name of a size of the whole stack: "input", "symbols", "embedding", "output"."""
        return f"{self.stack.name}_{name}".upper()

    @property
    def table(self) -> str:
        """The name of the array of an embedding."""
        return f"{self.stack.name}_embedding"

    def looks_up(self, part: CellPart) -> bool:
        """Whether a symbol's number chooses a column of each matrix, and no vector is needed."""
        symbols, x = self.stack.symbols, part.trace.inputs[0]
        if symbols is None or symbols.table is not None or part is not self.stack.parts[0]:
            return False
        return all(
            equation.op is Op.MATMUL and equation.args[0] != x
            for equation in part.trace.equations
            if x in equation.args
        )

    def is_inline(self) -> bool:
        """Whether the step is that of the only part, and needs no functions of its own."""
        return len(self.stack.parts) == 1 and (self.stack.symbols is None or self.looks_up(self.stack.parts[0]))

    def keeps_output(self, part: CellPart) -> bool:
        """Whether what a part gives lies in its state."""
        return part.trace.states[0] in part.kept()

    def given(self, part: CellPart) -> str:
        """Where what a part gives lies once it was computed."""
        if self.keeps_output(part):
            return f"state->{self.fields[part.name][part.trace.states[0].name]}"
        return "y" if part is self.stack.parts[-1] else f"{part.name or 'layer'}_y"

    def state_bytes(self) -> int:
        """What a state takes."""
        states = [(self.bounds[part.name], state) for part in self.stack.parts for state in part.kept()]
        numbers = sum(prod(self.sizes[bounds[axis]] for axis in state.shape) for bounds, state in states)
        return numbers * np.dtype(self.stack.dtype).itemsize

    def constant_bytes(self) -> int:
        """What all constants take."""
        itemsize = np.dtype(self.stack.dtype).itemsize
        constants = [placed.constant for placed in self.constants.values()]
        return sum(
            constant.numbers.size + constant.scales.size * itemsize
            if isinstance(constant, Quantised)
            else constant.size * itemsize
            for constant in constants
        )

    def _bounds(self) -> dict[str, dict[str, str]]:
        """For each part the names of its axes' sizes. A part's input is what the part below gives."""
        first, last = self.stack.parts[0], self.stack.parts[-1]
        symbols = self.stack.symbols
        below = self._sized("symbols" if symbols else "input", symbols.count if symbols else first.input_size)
        output = self._sized("output", last.output_size)
        if symbols is not None and symbols.table is not None:
            below = self._sized("embedding", first.input_size)
        bounds: dict[str, dict[str, str]] = {}
        for part in self.stack.parts:
            (input_axis,), (output_axis,) = part.trace.inputs[0].shape, part.trace.states[0].shape
            named = {input_axis: below}
            if part is last and not self.keeps_output(part):  # what lies in a state has the size that the state has
                named.setdefault(output_axis, output)
            for axis in part.trace.axes():
                if axis not in named:
                    named[axis] = self._own_size(_joined(part.name, axis), part.sizes[axis])
            bounds[part.name], below = named, named[output_axis]
        return bounds

    def _own_size(self, wanted: str, size: int) -> str:
        """A size of a part, under a name that nothing has: capitals make h and H one, and NAME_H guards the header."""
        name, number = wanted, 2
        while self.size(name) in self.sizes or name.upper() in ("H", "ROLLED"):
            name, number = f"{wanted}{number}", number + 1
        return self._sized(name, size)

    def _sized(self, name: str, size: int) -> str:
        self.sizes[self.size(name)] = size
        return self.size(name)

    def _step(self, part: CellPart) -> StepWriter:
        names = {name: self._globals.take(f"{self.stack.name}_{_joined(part.name, name)}") for name in part.constants}
        bounds, fields = self.bounds[part.name], self.fields[part.name]
        values = Values(part, self.functions, bounds=bounds, constants=names, fields=fields)
        return StepWriter(values, one_hot=self.looks_up(part))

    def _constants(self) -> dict[str, Placed]:
        """Every array that is read, by its name in C."""
        placed: dict[str, Placed] = {}
        symbols = self.stack.symbols
        if symbols is not None and symbols.table is not None:
            placed[self.table] = Placed(symbols.table, (self.size("symbols"), self.size("embedding")), by_column=False)
        for part, step in zip(self.stack.parts, self.steps, strict=True):
            shapes = {param.name: param.shape for param in part.trace.params}
            for name in step.values.used:
                bounds = tuple(self.bounds[part.name][axis] for axis in shapes[name])
                placed[step.values.constants[name]] = Placed(part.constants[name], bounds, by_column=True)
        return placed


def _joined(part: str, name: str) -> str:
    return f"{part}_{identifier(name)}" if part else identifier(name)
