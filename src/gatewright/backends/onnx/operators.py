"""The recurrent operators of ONNX as rows: which cell each computes, and how its numbers are laid out.

Nothing is written per operator but its row; recognising, packing and unpacking go by it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gatewright import cells
from gatewright.lang import Cell, exp
from gatewright.lang.ops import Op

Attributes = Mapping[str, Any]

SLOTS: Mapping[Op, str] = {Op.SIGMOID: "gate", Op.TANH: "candidate", Op.EXP: "output"}
"""The activations of a row's cell stand for any that the operator can have: these ops mark their places."""

SYMMETRIC = frozenset({Op.SIGMOID, Op.HARD_SIGMOID})
"""Activations of which 1 - f(a) is f(-a): a gate is turned round by the sign of its numbers."""


@dataclass(frozen=True, slots=True)
class Activation:
    """What ONNX calls an activation, and its two constants where it has them."""

    name: str
    alpha: float | None = None
    beta: float | None = None


IDENTITY = Activation("Affine", 1.0, 0.0)


def activation(op: Op, attributes: Attributes) -> Activation | None:
    """The activation of ONNX that an op is; None where it has none."""
    if op is Op.HARD_SIGMOID:
        return Activation("HardSigmoid", float(attributes["slope"]), 0.5)
    names = {Op.SIGMOID: "Sigmoid", Op.TANH: "Tanh", Op.RELU: "Relu", Op.SOFTPLUS: "Softplus"}
    return Activation(names[op]) if op in names else None


@dataclass(frozen=True, slots=True, eq=False)
class Operator:
    """A recurrent operator, as one cell of the catalogue.

    - `gates`: the cell's gates in the operator's order, in W and R and the first half of B: W.r, U.r and b.r. A minus
      turns a gate round: what is `1 - z` in the cell is `z` in the operator, so that its numbers change their sign.
    - `recurrent_biases`: the cell's vectors in the second half of B, by gate; where there is none, 0 stands.
    - `peepholes`: the gates in P, whose vectors are p.i.
    - `activations`: which of `SLOTS` stand in the operator's list of activations, in order.
    """

    name: str
    cell: Cell
    gates: tuple[str, ...]
    activations: tuple[str, ...]
    peepholes: tuple[str, ...] = ()
    recurrent_biases: Mapping[str, str] = field(default_factory=dict[str, str])
    attributes: Attributes = field(default_factory=dict[str, Any])

    @property
    def turned(self) -> bool:
        """Whether a gate is turned round, which only symmetric activations allow."""
        return any(gate.startswith("-") for gate in self.gates)


def _gru(*, reset: str, update: str) -> Operator:
    after = reset == "after"
    return Operator(
        "GRU",
        cells.gru(reset=reset, update=update),
        gates=("z" if update == "keeps" else "-z", "r", "n"),
        activations=("gate", "candidate"),
        recurrent_biases={"n": "b.hn"} if after else {},
        attributes={"linear_before_reset": int(after)},
    )


def _lstm(cell: Cell, *, coupled: bool, peepholes: bool) -> Operator:
    f = "-i" if coupled else "f"  # f = 1 - i: runtimes read this where they know nothing of `input_forget`
    return Operator(
        "LSTM",
        cell(coupled=coupled, output=exp),
        gates=("i", "o", f, "g"),
        activations=("gate", "candidate", "output"),
        peepholes=("i", "o", f) if peepholes else (),
    )


OPERATORS: tuple[Operator, ...] = (
    Operator("RNN", cells.elman, gates=("h",), activations=("candidate",)),
    *(_gru(reset=reset, update=update) for reset in ("before", "after") for update in ("keeps", "replaces")),
    *(_lstm(cells.lstm, coupled=coupled, peepholes=False) for coupled in (False, True)),
    *(_lstm(cells.lstm_peephole, coupled=coupled, peepholes=True) for coupled in (False, True)),
)
