"""Runs what is printed of a cell, and of its gradient, over a sequence of one row."""

from collections.abc import Mapping

import numpy as np

from gatewright.axes import bind
from gatewright.backends.formulas import unicode
from gatewright.backends.formulas.cell_lines import cell_lines, written_names
from gatewright.backends.formulas.gradient_lines import gradient_lines
from gatewright.trace import Trace
from tests.backends.formulas.reader import Array, Line, compute, read_lines

Arrays = dict[str, Array]
WIDTH = 80


class Printed:
    """The page of a cell and that of its gradient, as a program."""

    def __init__(self, trace: Trace, sizes: Mapping[str, int], width: int = WIDTH) -> None:
        self.trace, self.sizes = trace, sizes
        self.forward = read_lines(unicode.equations(trace, width))
        self.backward = read_lines(unicode.gradient(trace, width))
        lines = (*cell_lines(trace), *gradient_lines(trace))
        self.shapes = {unicode.spell(line.left): bind(line.left.shape, sizes) for line in lines}
        self.names = {name: unicode.spell(found) for name, found in written_names(trace).items()}
        self.states = [state.name for state in trace.states]
        self.now = {state: self.names[state].replace("ₜ₋₁", "ₜ") for state in self.states}

    def run(self, inputs: Arrays, params: Arrays, states: Arrays, noises: Arrays) -> list[Arrays]:
        """What every name stands for, at every step."""
        fixed = {self.names[name]: value for name, value in params.items()}
        before, steps = {self.names[name]: value for name, value in states.items()}, list[Arrays]()
        for t in range(len(next(iter(inputs.values())))):
            given = {self.names[name]: array[t] for name, array in (inputs | noises).items()}
            values = {**fixed, **before, **given}
            for line in self.forward:
                if line.sign == "=":
                    values[line.left] = self.computed(line, values)
            before = {self.names[state]: self.whole(values[self.now[state]], state) for state in self.states}
            steps.append(values)
        return steps

    def gradient(self, steps: list[Arrays], seeds: Arrays, finals: Arrays) -> tuple[Arrays, Arrays, Arrays]:
        """The gradients of the inputs, of the states before the first step, and of the parameters."""
        of_inputs = {value.name: np.zeros((len(steps), *self.shape(value.name))) for value in self.trace.inputs}
        totals = {f"∂{self.names[value.name]}": np.zeros(self.shape(value.name)) for value in self.trace.params}
        carried = {f"∂{self.now[state]}": finals[state].copy() for state in self.states}
        for t in reversed(range(len(steps))):
            values = steps[t] | carried
            for state, seed in seeds.items():
                values[f"∂{self.now[state]}"] = values[f"∂{self.now[state]}"] + seed[t]
            befores = {f"∂{self.names[state]}": np.zeros(self.shape(state)) for state in self.states}
            values |= befores
            for line in self.backward:
                if "Σₜ" not in line.right:
                    old = values.get(line.left) if line.sign == "+=" else 0.0
                    values[line.left] = old + self.computed(line, values)
            carried = {f"∂{self.now[state]}": values[f"∂{self.names[state]}"] for state in self.states}
            for line in self.backward:
                if "Σₜ" in line.right:
                    totals[line.left] += compute(line.right.replace("Σₜ ", ""), values, self.sizes)
            for name, array in of_inputs.items():
                array[t] = values.get(f"∂{self.names[name]}", 0.0)
        of_states = {state: carried[f"∂{self.now[state]}"] for state in self.states}
        return of_inputs, of_states, {value.name: totals[f"∂{self.names[value.name]}"] for value in self.trace.params}

    def computed(self, line: Line, values: Arrays) -> Array:
        """A line's value in full: a scalar on the right side stands for every element."""
        return np.broadcast_to(compute(line.right, values, self.sizes), self.shapes[line.left])

    def shape(self, name: str) -> tuple[int, ...]:
        leaf = next(leaf for leaf in self.trace.leaves() if leaf.name == name)
        return bind(leaf.shape, self.sizes)

    def whole(self, value: Array, name: str) -> Array:
        return np.broadcast_to(value, self.shape(name))
