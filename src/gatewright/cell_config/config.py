"""What a framework's layer computes, as the choices by which frameworks differ; and the cell that does the same."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import Any, Literal, cast, get_args

import numpy as np

from gatewright import cells
from gatewright.cell_config.activations import ACTIVATIONS, ODD_ABOUT_HALF, function
from gatewright.errors import ConversionError
from gatewright.lang import Cell
from gatewright.lang.ops import Op
from gatewright.trace import Trace, structural_hash, trace_cell
from gatewright.trace.ir import Literal as Constant

Family = Literal["rnn", "gru", "lstm"]
Reset = Literal["before", "after"]

MOST = float(np.finfo(np.float32).max)
"""The largest number that an equation can hold in every dtype that layers compute in."""
GATES: Mapping[Family, tuple[str, ...]] = {"rnn": ("h",), "gru": ("r", "z", "n"), "lstm": ("i", "f", "g", "o")}
"""The gates of each family, in the order in which the equations name them."""


@dataclass(frozen=True, slots=True)
class CellConfig:
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
    cell_clip: float = 0.0  # where an LSTM's memory is cut off, at this number and its negative; 0 is nowhere
    proj_clip: float = 0.0  # the same for what was projected
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
                options = {"gate": gate, "candidate": activation, "output": output}
                options |= {"forget_bias": self.forget_bias, "cell_clip": self.cell_clip}
                if not self.projection:
                    cell = cells.lstm_peephole if self.peepholes else cells.lstm
                    return cell(coupled=self.coupled, **options)
                if self.coupled:
                    raise ConversionError(
                        "no cell has a projection together with coupled gates",
                        got=str(self),
                        do="write the cell with @gw.cell, and take the parameters by name",
                    )
                return cells.lstm_projected(peepholes=self.peepholes, proj_clip=self.proj_clip, **options)

    def __str__(self) -> str:
        said = [self.family.upper()]
        said += [f"reset {self.reset} the product"] if self.reset else []
        said += ["coupled gates"] if self.coupled else []
        said += ["peepholes"] if self.peepholes else []
        said += ["a projection"] if self.projection else []
        said += [f"forget bias {self.forget_bias:g}"] if self.forget_bias else []
        said += [f"memory clipped at {self.cell_clip:g}"] if self.cell_clip else []
        said += [f"projection clipped at {self.proj_clip:g}"] if self.proj_clip else []
        said += [f"{self.gate} gates"] if self.family != "rnn" and self.gate != "sigmoid" else []
        said += [f"activation {self.activation}"] if self.activation != "tanh" else []
        said += [f"output activation {self.output}"] if self.output != "tanh" else []
        said += [f"gates and candidate clipped at {self.clip:g}"] if self.clip else []
        return ", ".join(said)


def of_settings(layer: str, settings: Any) -> CellConfig:
    """The choices that a file lists for a layer.

    Raises ConversionError where one of them cannot be chosen.
    """
    if not isinstance(settings, dict) or not all(isinstance(name, str) for name in cast("dict[Any, Any]", settings)):
        raise _unfit(layer, "are no settings", "the choices by name, among them family", settings)
    chosen = cast("dict[str, Any]", settings)
    for name in ("family", *(name for name in chosen if name != "family")):
        expected, fits = _CHOICES.get(name, (", ".join(_CHOICES), lambda _: False))
        if not fits(chosen.get(name)):
            raise _unfit(layer, f"cannot have this {name}", expected, chosen.get(name))
    equations = CellConfig(**chosen)
    if (equations.reset is None) == (equations.family == "gru"):
        expected = '"before" or "after" of a GRU, null of every other family'
        raise _unfit(layer, "cannot have this reset", expected, chosen.get("reset"))
    return equations


def _unfit(layer: str, problem: str, expected: str, got: Any) -> ConversionError:
    return ConversionError(
        f"the file's equations of layer {layer!r} {problem}",
        expected=expected,
        got=repr(got)[:80],
        do="write the file again with this version; it was damaged, or changed by other means",
    )


_FUNCTION = ("the name of a function, such as sigmoid", lambda one: isinstance(one, str))
_YES_OR_NO = ("true or false", lambda one: isinstance(one, bool))
_NUMBER = ("a finite number", lambda one: isinstance(one, int | float) and type(one) is not bool and abs(one) <= MOST)
_CHOICES: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "family": (", ".join(GATES), lambda one: isinstance(one, str) and one in GATES),
    "reset": ('"before", "after" or null', lambda one: one in (None, *get_args(Reset))),
    **dict.fromkeys(("gate", "activation", "output"), _FUNCTION),
    **dict.fromkeys(("peepholes", "coupled", "projection"), _YES_OR_NO),
    **dict.fromkeys(("forget_bias", "cell_clip", "proj_clip", "clip"), _NUMBER),
}
"""What a choice can be, in words and as a test."""


def of_trace(trace: Trace) -> tuple[CellConfig, bool]:
    """The choices that a Trace was made by, and whether its update gate replaces where ours keep.

    Raises ConversionError where it is no RNN, GRU or LSTM of those that frameworks have.
    """
    wanted = structural_hash(trace)
    for equations in _choices(trace):
        if structural_hash(trace_cell(equations.cell())) == wanted:
            return equations, False
        if equations.family == "gru" and structural_hash(trace_cell(equations.cell()(update="replaces"))) == wanted:
            return equations, True
    raise ConversionError(
        f"cell {trace.name!r} is no RNN, GRU or LSTM as another framework has it",
        expected="elman, gru, lstm, lstm_peephole or lstm_projected, with any of their options",
        do="export its equations to ONNX or C instead: gatewright export MODEL OUT",
    )


MOST_NUMBERS = 8
"""More numbers than these in its equations, and a cell is none of the catalogue's."""


def _choices(trace: Trace) -> Iterator[CellConfig]:
    """Every choice that a Trace of these states, parameters, functions and numbers can stand for."""
    ops = {equation.op for equation in trace.equations}
    names = {param.name for param in trace.params}
    numbers = {one.value for equation in trace.equations for one in equation.args if isinstance(one, Constant)}
    if len(numbers) > MOST_NUMBERS:
        return
    activations = [name for name in ACTIVATIONS if _ops_of(name) <= ops]
    gates = [name for name in activations if name in ODD_ABOUT_HALF]
    if len(trace.states) > 1:
        peepholes, coupled, projection = "p.i" in names, "W.f" not in names, "P.h" in names
        if coupled and projection:
            return
        limits = sorted(number for number in numbers if number > 0 and -number in numbers)
        biases = [0.0] if coupled else sorted({0.0, *numbers}, key=lambda one: (one in limits, -one in limits, not one))
        clips = product([*limits, 0.0], [*limits, 0.0] if projection else [0.0])  # the likely ones first
        for (cell, proj), bias in product(clips, biases):
            one = CellConfig("lstm", peepholes=peepholes, coupled=coupled, projection=projection)
            one = replace(one, forget_bias=bias, cell_clip=cell, proj_clip=proj)
            for gate, activation, output in product(gates, activations, activations):
                yield replace(one, gate=gate, activation=activation, output=output)
    elif "W.z" in names:
        for reset, gate, activation in product(("before", "after"), gates, activations):
            yield CellConfig("gru", reset=reset, gate=gate, activation=activation)
    else:
        yield from (CellConfig("rnn", activation=one) for one in activations)


@cache
def _ops_of(activation: str) -> frozenset[Op]:
    """The operations without which that activation cannot be."""
    used = (trace_cell(cells.elman(activation=ACTIVATIONS[one])).equations for one in (activation, "identity"))
    with_it, without = ({equation.op for equation in equations} for equations in used)
    return frozenset(with_it - without)
