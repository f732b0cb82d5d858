"""PyTorch layers: any cell as a layer, drop-ins for torch.nn's, heads, pooling and initialisers."""

from gatewright.backends.triton.newton import Newton, NewtonReport
from gatewright.nn import init
from gatewright.nn.accelerate import Report, accelerate
from gatewright.nn.backends import Plan
from gatewright.nn.compile_ahead import compile_ahead
from gatewright.nn.embedding import FoldedEmbedding
from gatewright.nn.heads import LastPool, MaxPool, MeanPool, PerStepDense, SharedDense
from gatewright.nn.layers import GRU, LSTM, RNN
from gatewright.nn.linear import Linear
from gatewright.nn.linear_loss import linear_cross_entropy
from gatewright.nn.plans import KernelPlan, LayerPlan
from gatewright.nn.quantize import Quantization, quantize
from gatewright.nn.quantized import QuantizedRecurrent
from gatewright.nn.records import from_record, layer_records
from gatewright.nn.recurrent import Recurrent
from gatewright.nn.single_steps import GRUCell, LSTMCell, RNNCell
from gatewright.nn.source import Source

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "FoldedEmbedding",
    "GRUCell",
    "KernelPlan",
    "LSTMCell",
    "LastPool",
    "LayerPlan",
    "Linear",
    "MaxPool",
    "MeanPool",
    "Newton",
    "NewtonReport",
    "PerStepDense",
    "Plan",
    "Quantization",
    "QuantizedRecurrent",
    "RNNCell",
    "Recurrent",
    "Report",
    "SharedDense",
    "Source",
    "accelerate",
    "compile_ahead",
    "from_record",
    "init",
    "layer_records",
    "linear_cross_entropy",
    "quantize",
]
