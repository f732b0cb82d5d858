"""Networks in one form: parts in order, each read, run, written and exported from one definition of it."""

from gatewright.cell_config.config import CellConfig
from gatewright.network.network import Lengths, Network, checked, run, run_layer
from gatewright.network.part import Part
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
from gatewright.network.recurrent import Merge, Parameters, RecurrentPart
from gatewright.network.steps import Max, Mean, Reshape, Reverse, TakeStep

__all__ = [
    "Activation",
    "AddInput",
    "BatchNorm",
    "CellConfig",
    "Dense",
    "Embedding",
    "LayerNorm",
    "Lengths",
    "Masking",
    "Max",
    "Mean",
    "Merge",
    "Network",
    "OneHot",
    "Parameters",
    "Part",
    "RecurrentPart",
    "Reshape",
    "Reverse",
    "Scale",
    "TakeStep",
    "checked",
    "run",
    "run_layer",
]
