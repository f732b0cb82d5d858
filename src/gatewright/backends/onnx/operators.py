"""The recurrent operators of ONNX: which cells they compute, the order of their gates, and their activations.

Writing, reading and packing go by these tables. A GRU's update gate of 1 keeps the state in ONNX, as in CellConfig.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gatewright.cell_config.activations import HARD_SLOPES, odd_about_half, parsed
from gatewright.cell_config.config import CellConfig, Family
from gatewright.cell_config.recognise import RecognisedCell, recognise
from gatewright.trace.ir import Trace


@dataclass(frozen=True, slots=True)
class Operator:
    """A recurrent operator: its gates in the order of W, R and both halves of B, and those in P."""

    name: str
    gates: tuple[str, ...]
    peepholes: tuple[str, ...] = ()


OPERATORS: Mapping[Family, Operator] = {
    "rnn": Operator("RNN", ("h",)),
    "gru": Operator("GRU", ("z", "r", "n")),
    "lstm": Operator("LSTM", ("i", "o", "f", "g"), peepholes=("i", "o", "f")),
}


@dataclass(frozen=True, slots=True)
class OperatorActivation:
    """An activation of ONNX: our name, and alpha and beta where a node does not give them; None where it has none."""

    ours: str
    alpha: float | None = None
    beta: float | None = None

    @property
    def numbers(self) -> Mapping[str, float]:
        """Its numbers by the names of their attributes."""
        pairs = (("alpha", self.alpha), ("beta", self.beta))
        return {name: number for name, number in pairs if number is not None}


ACTIVATIONS: Mapping[str, OperatorActivation] = {
    "Affine": OperatorActivation("affine", 1.0, 0.0),
    "Elu": OperatorActivation("elu", 1.0),
    "HardSigmoid": OperatorActivation("hard_sigmoid", 0.2, 0.5),
    "LeakyRelu": OperatorActivation("leaky_relu", 0.01),
    "Relu": OperatorActivation("relu"),
    "ScaledTanh": OperatorActivation("scaled_tanh", 1.0, 1.0),
    "Sigmoid": OperatorActivation("sigmoid"),
    "Softplus": OperatorActivation("softplus"),
    "Softsign": OperatorActivation("softsign"),
    "Tanh": OperatorActivation("tanh"),
    "ThresholdedRelu": OperatorActivation("thresholded_relu", 1.0),
}
_OF_OURS = {activation.ours: name for name, activation in ACTIVATIONS.items()}


def operator_cell(trace: Trace) -> RecognisedCell | None:
    """The cell of an evaluated Trace where an operator computes it; None where ONNX has none."""
    cell = recognise(trace)
    return cell if cell is not None and _is_computed(cell.config) else None


def _is_computed(config: CellConfig) -> bool:
    """Whether the operator of its family computes a cell that was recognised."""
    if config.projection or config.cell_clip:
        return False
    if "softsign" in config.activations:  # exported as the ops that the cell is made of, with or without a loop
        return False
    # The numbers of f are those of i, negated: runtimes read that where they know nothing of `input_forget`. It needs
    # 1 - gate(a) to be gate(-a).
    return not config.coupled or odd_about_half(config.gate)


def attributes_of(configs: Sequence[CellConfig]) -> dict[str, Any]:
    """The attributes that tell which function an operator computes in each of its directions."""
    reset = {"linear_before_reset": int(configs[0].reset == "after")} if configs[0].reset else {}
    return {**activation_attributes([name for config in configs for name in config.activations]), **reset}


def activation_attributes(names: Sequence[str]) -> dict[str, Any]:
    """The attributes that tell the activations of all directions, which have our names."""
    pairs = [_spelled_out(name) for name in names]
    alphas = tuple(numbers[0] for _, numbers in pairs if numbers)
    betas = tuple(numbers[1] for _, numbers in pairs if len(numbers) > 1)
    attributes: dict[str, Any] = {"activations": tuple(_OF_OURS[kind] for kind, _ in pairs)}
    attributes |= {"activation_alpha": alphas} if alphas else {}
    return attributes | ({"activation_beta": betas} if betas else {})


def _spelled_out(name: str) -> tuple[str, tuple[float, ...]]:
    """The kind and the numbers of an activation, where ONNX has numbers that we leave out of the name."""
    if name in HARD_SLOPES:
        return "hard_sigmoid", (HARD_SLOPES[name], 0.5)
    return ("affine", (1.0, 0.0)) if name == "identity" else parsed(name)
