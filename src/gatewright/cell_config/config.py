"""The config of a cell: the choices by which the layers of frameworks differ, and the cell that computes the same."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from gatewright import cells
from gatewright.cell_config.activations import Function, function
from gatewright.errors import ConversionError
from gatewright.lang import Cell
from gatewright.lang.param import in_space
from gatewright.trace import Trace, trace_cell

Family = Literal["rnn", "gru", "lstm"]
Reset = Literal["before", "after"]

MOST = float(np.finfo(np.float32).max)
"""The largest number that an equation can hold in every dtype that layers compute in."""
GATES: Mapping[Family, tuple[str, ...]] = {"rnn": ("h",), "gru": ("r", "z", "n"), "lstm": ("i", "f", "g", "o")}
"""The gates of each family, in the order of the equations. torch's fused functions have the same order."""
ACTIVATION_FIELDS: Mapping[Family, tuple[str, ...]] = {
    "rnn": ("activation",),
    "gru": ("gate", "activation"),
    "lstm": ("gate", "activation", "output"),
}
"""The activations of each family, by their fields in CellConfig."""


@dataclass(frozen=True, slots=True)
class CellConfig:
    """The function of one recurrent layer. An update gate of 1 keeps the old state: `z * h + (1 - z) * n`."""

    family: Family
    reset: Reset | None = None  # of a GRU: whether the state is reset before the recurrent product or after it
    gate: str = "sigmoid"
    activation: str = "tanh"  # of the candidate
    output: str = "tanh"  # of an LSTM's memory, where it is emitted
    forget_bias: float = 0.0  # a constant of the equation, not a parameter
    peepholes: bool = False
    coupled: bool = False  # f = 1 - i
    projection: bool = False
    cell_clip: float = 0.0  # an LSTM's memory is clipped to [-cell_clip, cell_clip]; 0 for no clipping
    proj_clip: float = 0.0  # the same for the projected output
    clip: float = 0.0  # the pre-activations of gates and candidate are clipped to [-clip, clip]; 0 for no clipping

    @property
    def activations(self) -> tuple[str, ...]:
        """The names of the activations that the cell has."""
        return tuple(getattr(self, field) for field in ACTIVATION_FIELDS[self.family])

    @property
    def gates(self) -> tuple[str, ...]:
        """The gates that have weights."""
        return tuple(gate for gate in GATES[self.family] if not (self.coupled and gate == "f"))

    def cell(self) -> Cell:
        """The cell of the catalogue that computes this.

        Raises ConversionError where there is none.
        """
        gate, activation = (function(name, self.clip) for name in (self.gate, self.activation))
        return self.cell_with(gate, activation, function(self.output))

    def cell_with(self, gate: Function, activation: Function, output: Function) -> Cell:
        """The same cell, with other activations.

        Raises ConversionError where there is none.
        """
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

    @property
    def trace(self) -> Trace:
        """The equations of one step.

        Raises ConversionError where there is no such cell.
        """
        return _trace_of(self)

    def parameters(self, canonical: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Parameters by kind and gate as the cell names them: one bias for each gate, and `b.hn` inside of a reset."""
        biases = in_space(canonical, "b", "bh")
        named = {name: array for name, array in canonical.items() if name not in biases}
        hidden = next(iter(in_space(canonical, "U").values())).shape[0]
        zero = np.zeros(hidden, next(iter(canonical.values())).dtype)
        for gate in self.gates:
            outside, inside = canonical.get(f"b.{gate}", zero), canonical.get(f"bh.{gate}", zero)
            if self.reset == "after" and gate == "n":
                named |= {"b.n": outside, "b.hn": inside}
            else:
                named[f"b.{gate}"] = outside + inside
        return named

    def __str__(self) -> str:
        words = [self.family.upper()]
        words += [f"reset {self.reset} the product"] if self.reset else []
        words += ["coupled gates"] if self.coupled else []
        words += ["peepholes"] if self.peepholes else []
        words += ["a projection"] if self.projection else []
        words += [f"forget bias {self.forget_bias:g}"] if self.forget_bias else []
        words += [f"memory clipped at {self.cell_clip:g}"] if self.cell_clip else []
        words += [f"projection clipped at {self.proj_clip:g}"] if self.proj_clip else []
        words += [f"{self.gate} gates"] if self.family != "rnn" and self.gate != "sigmoid" else []
        words += [f"activation {self.activation}"] if self.activation != "tanh" else []
        words += [f"output activation {self.output}"] if self.output != "tanh" else []
        words += [f"gates and candidate clipped at {self.clip:g}"] if self.clip else []
        return ", ".join(words)


@cache
def _trace_of(config: CellConfig) -> Trace:
    return trace_cell(config.cell())


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
    config = CellConfig(**chosen)
    if (config.reset is None) == (config.family == "gru"):
        expected = '"before" or "after" of a GRU, null of every other family'
        raise _unfit(layer, "cannot have this reset", expected, chosen.get("reset"))
    return config


def no_config(trace: Trace) -> ConversionError:
    """The error for equations that no config has."""
    return ConversionError(
        f"cell {trace.name!r} is no RNN, GRU or LSTM as another framework has it",
        expected="elman, gru, lstm, lstm_peephole or lstm_projected, with any of their options",
        do="export its equations instead, with gw.export.onnx or gw.export.c99",
        shell="export its equations to ONNX or C instead: gatewright export MODEL OUT",
    )


def _unfit(layer: str, problem: str, expected: str, got: Any) -> ConversionError:
    return ConversionError(
        f"the file's equations of layer {layer!r} {problem}",
        expected=expected,
        got=repr(got)[:80],
        do="write the file again with this version; it was damaged, or changed by other means",
    )


_FUNCTION = ("the name of a function, such as sigmoid", lambda choice: isinstance(choice, str))
_YES_OR_NO = ("true or false", lambda choice: isinstance(choice, bool))
_NUMBER = (
    "a finite number",
    lambda choice: isinstance(choice, int | float) and type(choice) is not bool and abs(choice) <= MOST,
)
_CHOICES: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "family": (", ".join(GATES), lambda choice: isinstance(choice, str) and choice in GATES),
    "reset": ('"before", "after" or null', lambda choice: choice in (None, *get_args(Reset))),
    **dict.fromkeys(("gate", "activation", "output"), _FUNCTION),
    **dict.fromkeys(("peepholes", "coupled", "projection"), _YES_OR_NO),
    **dict.fromkeys(("forget_bias", "cell_clip", "proj_clip", "clip"), _NUMBER),
}
"""The values that a choice may have, in words and as a test."""
