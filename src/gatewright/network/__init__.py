"""Networks in one form: parts in order, each read, run, written and exported from one definition of it."""

from gatewright.cell_config.config import CellConfig
from gatewright.network.evaluate import run, run_layer
from gatewright.network.network import Lengths, Network, checked
from gatewright.network.part import Flow, Part, Signal
from gatewright.network.parts import (
    Activation,
    AddInput,
    BatchNorm,
    Dense,
    Embedding,
    LayerNorm,
    Masking,
    OneHot,
    Scale,
)
from gatewright.network.recurrent import Merge, Padding, Parameters, RecurrentPart, Returns
from gatewright.network.steps import Max, Mean, Reshape, Reverse, TakeStep

__all__ = [
    "Activation",
    "AddInput",
    "BatchNorm",
    "CellConfig",
    "Dense",
    "Embedding",
    "Flow",
    "LayerNorm",
    "Lengths",
    "Masking",
    "Max",
    "Mean",
    "Merge",
    "Network",
    "OneHot",
    "Padding",
    "Parameters",
    "Part",
    "RecurrentPart",
    "Reshape",
    "Returns",
    "Reverse",
    "Scale",
    "Signal",
    "TakeStep",
    "checked",
    "run",
    "run_layer",
]
