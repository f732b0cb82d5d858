"""The table of layouts: for each kind of layer the names of its arrays, and where each parameter lies in them.

Both directions, and every pair of layouts, follow from these rows.
"""

from collections.abc import Mapping

from gatewright.backends.onnx.operators import OPERATORS
from gatewright.cell_config.activations import ODD_ABOUT_HALF
from gatewright.cell_config.config import Family
from gatewright.convert import by_name
from gatewright.convert.layout import FUSED, Layout, Stored, row_arrays

__all__ = ["BY_KEY", "LAYOUTS", "Layout", "Stored", "layouts"]

_TORCH = "https://docs.pytorch.org/docs/stable/generated/torch.nn."
_TORCH_ARRAYS = (
    Stored("weight_ih", "W", "(gate hidden) input"),
    Stored("weight_hh", "U", "(gate hidden) state"),
    Stored("bias_ih", "b", "(gate hidden)", optional=True),
    Stored("bias_hh", "bh", "(gate hidden)", optional=True),
)
_KERAS = "https://keras.io/api/layers/recurrent_layers/"
_ANY = ("tanh", "relu", "sigmoid", "identity")
_RTNEURAL_ARRAYS = row_arrays("kernel", "recurrent_kernel", "bias", FUSED)
_KERAS_MATRICES = _RTNEURAL_ARRAYS[:2]
_KERAS_ARRAYS = (*_KERAS_MATRICES, Stored("bias", "b", FUSED, optional=True))
_CUDNN = "https://github.com/keras-team/keras/blob/2.2.4/keras/layers/cudnn_recurrent.py"
_CUDNN_ARRAYS = (
    Stored("kernel", "W", "input (gate hidden)", buffer="hidden input"),
    Stored("recurrent_kernel", "U", "hidden (gate state)"),
    Stored("bias", "b bh", "(side gate hidden)"),
)
_KERAS1 = "https://github.com/keras-team/keras/blob/1.2.2/keras/layers/recurrent.py"
_KERAS1_ARRAYS = row_arrays("W_{gate}", "U_{gate}", "b_{gate}")
_KERAS1_FUSED = row_arrays("W", "U", "b", FUSED)
_ONNX = "https://onnx.ai/onnx/operators/onnx__"
_ONNX_FUNCTIONS = (
    "sigmoid", "hard_sigmoid_theano", "hard_sigmoid_keras3", "tanh", "relu", "identity", "softplus", "softsign",
    "affine", "elu", "hard_sigmoid", "leaky_relu", "scaled_tanh", "thresholded_relu",
)  # fmt: skip
_ONNX_TANH = ("tanh", *(array for array in _ONNX_FUNCTIONS if array != "tanh"))
_ONNX_RNN, _ONNX_GRU, _ONNX_LSTM = (" ".join(OPERATORS[family].gates) for family in ("rnn", "gru", "lstm"))
_ONNX_LOOKS = " ".join(OPERATORS["lstm"].peepholes)
_ONNX_PEEPHOLES = Stored("P", "p", "(gate hidden)", _ONNX_LOOKS, optional=True)
_ONNX_ARRAYS = (
    Stored("W", "W", "(gate hidden) input"),
    Stored("R", "U", "(gate hidden) state"),
    Stored("B", "b bh", "(side gate hidden)", optional=True),
)
_RTNEURAL = "https://github.com/jatinchowdhury18/RTNeural"

LAYOUTS: tuple[Layout, ...] = (
    Layout(
        "torch", "rnn", "torch.nn.RNN and RNNCell", "h", _TORCH_ARRAYS, f"{_TORCH}RNN.html",
        activation=("tanh", "relu"),
    ),
    Layout("torch", "gru", "torch.nn.GRU and GRUCell", "r z n", _TORCH_ARRAYS, f"{_TORCH}GRU.html", reset="after"),
    Layout("torch", "lstm", "torch.nn.LSTM and LSTMCell", "i f g o", _TORCH_ARRAYS, f"{_TORCH}LSTM.html"),
    Layout(
        "torch", "lstm", "torch.nn.LSTM with proj_size", "i f g o",
        (*_TORCH_ARRAYS, Stored("weight_hr", "P", "state hidden", "h")), f"{_TORCH}LSTM.html",
        variant="projected", projection=True,
    ),
    Layout(
        "keras", "rnn", "keras.layers.SimpleRNN", "h", _KERAS_ARRAYS, f"{_KERAS}simple_rnn/",
        activation=_ANY,
    ),
    Layout(
        "keras", "gru", "keras.layers.GRU, reset_after=True", "z r n",
        (*_KERAS_MATRICES, Stored("bias", "b bh", "side (gate hidden)", optional=True)), f"{_KERAS}gru/",
        reset="after", theirs={"n": "h"}, gate=ODD_ABOUT_HALF, activation=_ANY,
    ),
    Layout(
        "keras", "gru", "keras.layers.GRU, reset_after=False", "z r n", _KERAS_ARRAYS,
        f"{_KERAS}gru/",
        variant="before", reset="before", theirs={"n": "h"}, gate=ODD_ABOUT_HALF, activation=_ANY,
    ),
    Layout(
        "keras", "lstm", "keras.layers.LSTM", "i f g o", _KERAS_ARRAYS, f"{_KERAS}lstm/",
        theirs={"g": "c"}, gate=ODD_ABOUT_HALF, activation=_ANY, output=_ANY,
    ),
    Layout("keras", "gru", "keras.layers.CuDNNGRU", "z r n", _CUDNN_ARRAYS, _CUDNN, "cudnn", "after",
        theirs={"n": "h"}),
    Layout("keras", "lstm", "keras.layers.CuDNNLSTM", "i f g o", _CUDNN_ARRAYS, _CUDNN, "cudnn", theirs={"g": "c"}),
    Layout(
        "keras1", "rnn", "Keras 1 SimpleRNN", "h",
        row_arrays("W", "U", "b"), _KERAS1, activation=_ANY,
    ),
    Layout(
        "keras1", "gru", "Keras 1 GRU", "z r n", _KERAS1_ARRAYS, _KERAS1, reset="before", theirs={"n": "h"},
        gate=("hard_sigmoid_theano", "sigmoid"), activation=_ANY,
    ),
    Layout(
        "keras1", "lstm", "Keras 1 LSTM", "i g f o", _KERAS1_ARRAYS, _KERAS1, theirs={"g": "c"},
        gate=("hard_sigmoid_theano", "sigmoid"), activation=_ANY, output=_ANY,
    ),
    Layout(
        "keras1", "gru", "Keras 1 GRU, consume_less='gpu'", "z r n", _KERAS1_FUSED, _KERAS1, variant="fused",
        reset="before", theirs={"n": "h"}, gate=("hard_sigmoid_theano", "sigmoid"), activation=_ANY,
    ),
    Layout(
        "keras1", "lstm", "Keras 1 LSTM, consume_less='gpu'", "i f g o", _KERAS1_FUSED, _KERAS1, variant="fused",
        theirs={"g": "c"}, gate=("hard_sigmoid_theano", "sigmoid"), activation=_ANY, output=_ANY,
    ),
    Layout(
        "onnx", "rnn", "ONNX RNN", _ONNX_RNN, _ONNX_ARRAYS, f"{_ONNX}RNN.html", theirs={"h": "i"},
        activation=_ONNX_TANH, clip=True,
    ),
    Layout(
        "onnx", "gru", "ONNX GRU, linear_before_reset=1", _ONNX_GRU, _ONNX_ARRAYS, f"{_ONNX}GRU.html", reset="after",
        theirs={"n": "h"}, gate=_ONNX_FUNCTIONS, activation=_ONNX_TANH, clip=True,
    ),
    Layout(
        "onnx", "gru", "ONNX GRU, linear_before_reset=0", _ONNX_GRU, _ONNX_ARRAYS, f"{_ONNX}GRU.html",
        variant="before", reset="before", theirs={"n": "h"}, gate=_ONNX_FUNCTIONS, activation=_ONNX_TANH, clip=True,
    ),
    Layout(
        "onnx", "lstm", "ONNX LSTM", _ONNX_LSTM, (*_ONNX_ARRAYS, _ONNX_PEEPHOLES), f"{_ONNX}LSTM.html",
        theirs={"g": "c"}, gate=_ONNX_FUNCTIONS, activation=_ONNX_TANH, output=_ONNX_TANH, clip=True,
    ),
    Layout(
        "onnx", "lstm", "ONNX LSTM, input_forget=1", _ONNX_LSTM, (*_ONNX_ARRAYS, _ONNX_PEEPHOLES),
        f"{_ONNX}LSTM.html", variant="coupled", theirs={"g": "c"}, gate=_ONNX_FUNCTIONS, activation=_ONNX_TANH,
        output=_ONNX_TANH, coupled=True, clip=True,
    ),
    Layout(
        "rtneural", "gru", "RTNeural GRU", "z r n",
        (*_KERAS_MATRICES, Stored("bias", "b bh", "side (gate hidden)")), _RTNEURAL, reset="after", theirs={"n": "h"},
    ),
    Layout(
        "rtneural", "lstm", "RTNeural LSTM", "i f g o", _RTNEURAL_ARRAYS, _RTNEURAL, theirs={"g": "c"},
    ),
    *by_name.ROWS,
)  # fmt: skip

BY_KEY: Mapping[str, Layout] = {row.key: row for row in LAYOUTS}


def layouts(framework: str | None = None, family: Family | None = None) -> tuple[Layout, ...]:
    """The rows of a framework and of a family; without one, of all."""
    return tuple(row for row in LAYOUTS if framework in (None, row.framework) and family in (None, row.family))
