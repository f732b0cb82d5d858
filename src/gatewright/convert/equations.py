"""What a framework's layer computes, as the choices by which frameworks differ; and the cell that does the same."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import Literal

from gatewright import cells
from gatewright.convert.activations import ODD_ABOUT_HALF, function
from gatewright.errors import ConversionError
from gatewright.lang import Cell
from gatewright.trace import Trace, structural_hash, trace_cell
from gatewright.trace.ir import Literal as Constant

Family = Literal["rnn", "gru", "lstm"]
Reset = Literal["before", "after"]

GATES: Mapping[Family, tuple[str, ...]] = {"rnn": ("h",), "gru": ("r", "z", "n"), "lstm": ("i", "f", "g", "o")}
"""The gates of each family, in the order in which the equations name them."""


@dataclass(frozen=True, slots=True)
class Equations:
    """The function of one recurrent layer. An update gate of 1 keeps the old state: `z * h + (1 - z) * n`."""

    family: Family
    reset: Reset | None = None  # of a GRU: whether the state is reset before the recurrent product or after it
    gate: str = "sigmoid"
    activation: str = "tanh"  # of the candidate
    output: str = "tanh"  # of an LSTM's memory, where it is emitted
    forget_bias: float = 0.0  # added in the equation, and no parameter
    peepholes: bool = False
    coupled: bool = False  # f = 1 - i
    projection: bool = False
    clip: float = 0.0  # what gates and candidate are functions of is cut off at -clip and clip; 0 leaves it

    @property
    def gates(self) -> tuple[str, ...]:
        """The gates that have weights."""
        return tuple(gate for gate in GATES[self.family] if not (self.coupled and gate == "f"))

    def cell(self) -> Cell:
        """The cell of the catalogue that computes this.

        Raises ConversionError where there is none.
        """
        gate, activation = (function(name, self.clip) for name in (self.gate, self.activation))
        output = function(self.output)
        match self.family:
            case "rnn":
                return cells.elman(activation=activation)
            case "gru":
                return cells.gru(reset=self.reset, gate=gate, activation=activation)
            case "lstm":
                functions = {"gate": gate, "candidate": activation, "output": output}
                if not self.projection:
                    cell = cells.lstm_peephole if self.peepholes else cells.lstm
                    return cell(coupled=self.coupled, forget_bias=self.forget_bias, **functions)
                if self.peepholes or self.coupled or self.forget_bias:
                    raise ConversionError(
                        "no cell has a projection together with peepholes, coupled gates or a forget bias",
                        got=str(self),
                        do="write the cell with @gw.cell, and take the parameters by name",
                    )
                return cells.lstm_projected(**functions)

    def __str__(self) -> str:
        said = [self.family.upper()]
        said += [f"reset {self.reset} the product"] if self.reset else []
        said += ["coupled gates"] if self.coupled else []
        said += ["peepholes"] if self.peepholes else []
        said += ["a projection"] if self.projection else []
        said += [f"forget bias {self.forget_bias:g}"] if self.forget_bias else []
        said += [f"{self.gate} gates"] if self.family != "rnn" and self.gate != "sigmoid" else []
        said += [f"activation {self.activation}"] if self.activation != "tanh" else []
        said += [f"output activation {self.output}"] if self.output != "tanh" else []
        said += [f"gates and candidate clipped at {self.clip:g}"] if self.clip else []
        return ", ".join(said)


def of_trace(trace: Trace) -> tuple[Equations, bool]:
    """The choices that a Trace was made by, and whether its update gate replaces where ours keep.

    Raises ConversionError where it is no RNN, GRU or LSTM of those that frameworks have.
    """
    found = _known().get(structural_hash(trace))
    if found is None and trace.name.startswith("lstm"):  # a forget bias may be any number
        constants = {one.value for equation in trace.equations for one in equation.args if isinstance(one, Constant)}
        found = next((one for bias in constants if (one := _known(bias).get(structural_hash(trace)))), None)
    if found is None:
        raise ConversionError(
            f"cell {trace.name!r} is no RNN, GRU or LSTM as another framework has it",
            expected="elman, gru, lstm, lstm_peephole or lstm_projected, with any of their options",
            do="export its equations to ONNX or C instead: gatewright export MODEL OUT",
        )
    return found


@cache
def _known(forget_bias: float = 0.0) -> Mapping[str, tuple[Equations, bool]]:
    """Every choice that a cell of the catalogue can stand for, by the structure of its Trace."""
    found: dict[str, tuple[Equations, bool]] = {}
    for equations in _choices(forget_bias):
        found[structural_hash(trace_cell(equations.cell()))] = equations, False
        if equations.family == "gru":
            inverted = trace_cell(equations.cell()(update="replaces"))
            found[structural_hash(inverted)] = equations, True
    return found


def _choices(forget_bias: float) -> Iterator[Equations]:
    activations = ("tanh", "relu", "identity")
    if forget_bias == 0:
        yield from (Equations("rnn", activation=one) for one in (*activations, "sigmoid"))
        for reset, gate, activation in product(("before", "after"), ODD_ABOUT_HALF, activations):
            yield Equations("gru", reset=reset, gate=gate, activation=activation)
    for gate, activation, output in product(ODD_ABOUT_HALF, activations, activations):
        one = Equations("lstm", gate=gate, activation=activation, output=output, forget_bias=forget_bias)
        yield from (
            replace(one, peepholes=peepholes, coupled=coupled)
            for peepholes, coupled in product((False, True), (False, True))
            if not (coupled and forget_bias)
        )
        if forget_bias == 0:
            yield replace(one, projection=True)
