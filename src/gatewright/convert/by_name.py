"""The rows of frameworks that keep weights as arrays by name, in any kind of file."""

from typing import Any

from gatewright.cell_config.activations import ODD_ABOUT_HALF
from gatewright.convert.layout import FUSED, Layout, Stored, row_arrays

_ANY = ("tanh", "relu", "sigmoid", "softsign", "identity")
_GLUON = "https://mxnet.apache.org/versions/1.9.1/api/python/docs/api/gluon/rnn/index.html"
_GLUON_ARRAYS = (
    Stored("i2h_weight", "W", "(gate hidden) input"),
    Stored("h2h_weight", "U", "(gate hidden) state"),
    Stored("i2h_bias", "b", "(gate hidden)"),
    Stored("h2h_bias", "bh", "(gate hidden)"),
)
_TF1 = "https://github.com/tensorflow/tensorflow/blob/v1.15.5/tensorflow/python/ops/rnn_cell_impl.py"
_TF1_BLOCK = "https://github.com/tensorflow/tensorflow/blob/v1.15.5/tensorflow/contrib/rnn/python/ops/"
_TF1_KERNEL = Stored("kernel", "W U", "(input+state) (gate hidden)")
_TF1_BIAS = Stored("bias", "b", "(gate hidden)")
_TF1_GRU = (
    Stored("gates/kernel", "W U", "(input+state) (gate hidden)", "r z"),
    Stored("gates/bias", "b", "(gate hidden)", "r z"),
    Stored("candidate/kernel", "W U", "(input+state) hidden", "n"),
    Stored("candidate/bias", "b", "hidden", "n"),
)
_TF1_PEEPHOLES = Stored("w_{gate}_diag", "p", "hidden", "f i o")
_TF1_PROJECTION = Stored("projection/kernel", "P", "hidden state", "h")
_TF1_LSTMS = ("basic_lstm_cell", "lstm_cell", "lstm_fused_cell")
_TF1_NAMES = {"z": "u", "n": "c", "g": "j"}
_D2L = "https://d2l.ai/chapter_recurrent-modern/"
_D2L_ARRAYS = row_arrays("W_x{gate}", "W_h{gate}", "b_{gate}")
_FLAX = "https://flax.readthedocs.io/en/latest/api_reference/flax.linen/layers.html"
_NNX = "https://flax.readthedocs.io/en/latest/api_reference/flax.nnx/nn/recurrent.html"
_FLAX_LSTM = row_arrays("i{gate}/kernel", "h{gate}/kernel", "h{gate}/bias")
_EQUINOX = "https://docs.kidger.site/equinox/api/nn/rnn/"
_EQUINOX_ARRAYS = (
    Stored("weight_ih", "W", "(gate hidden) input"),
    Stored("weight_hh", "U", "(gate hidden) state"),
    Stored("bias", "b", "(gate hidden)", optional=True),
)


def _tf1_lstm(title: str, *more: Stored, **options: Any) -> Layout:
    return Layout(
        "tf1", "lstm", title, "i g f o", (_TF1_KERNEL, _TF1_BIAS, *more), _TF1, theirs=_TF1_NAMES, forget_bias=1.0,
        activation=_ANY, output=(), clips=True, scopes=_TF1_LSTMS, **options,
    )  # fmt: skip


ROWS: tuple[Layout, ...] = (
    Layout("gluon", "rnn", "mxnet.gluon.rnn.RNN", "h", _GLUON_ARRAYS, _GLUON, activation=("relu", "tanh")),
    Layout("gluon", "gru", "mxnet.gluon.rnn.GRU", "r z n", _GLUON_ARRAYS, _GLUON, reset="after"),
    Layout("gluon", "lstm", "mxnet.gluon.rnn.LSTM", "i f g o", _GLUON_ARRAYS, _GLUON, theirs={"g": "c"}),
    Layout(
        "gluon", "lstm", "mxnet.gluon.rnn.LSTM with projection_size", "i f g o",
        (*_GLUON_ARRAYS, Stored("h2r_weight", "P", "state hidden", "h")), _GLUON, variant="projected",
        theirs={"g": "c"}, projection=True,
    ),
    Layout(
        "tf1", "rnn", "TensorFlow 1 BasicRNNCell", "h", (_TF1_KERNEL, _TF1_BIAS), _TF1, activation=_ANY,
        scopes=("basic_rnn_cell",),
    ),
    Layout(
        "tf1", "gru", "TensorFlow 1 GRUCell, GRUBlockCellV2", "r z n", _TF1_GRU, _TF1, reset="before",
        theirs=_TF1_NAMES, activation=_ANY,
    ),
    _tf1_lstm("TensorFlow 1 BasicLSTMCell, LSTMCell"),
    _tf1_lstm("TensorFlow 1 LSTMCell, use_peepholes=True", _TF1_PEEPHOLES, variant="peephole", peepholes=True),
    _tf1_lstm("TensorFlow 1 LSTMCell, num_proj", _TF1_PROJECTION, variant="projected", projection=True),
    _tf1_lstm(
        "TensorFlow 1 LSTMCell, num_proj and use_peepholes=True", _TF1_PEEPHOLES, _TF1_PROJECTION,
        variant="peephole-projected", peepholes=True, projection=True,
    ),
    Layout(
        "tf1-block", "gru", "TensorFlow 1 GRUBlockCell", "r z n",
        (
            Stored("w_ru", "W U", "(input+state) (gate hidden)", "r z"),
            Stored("b_ru", "b", "(gate hidden)", "r z"),
            Stored("w_c", "W U", "(input+state) hidden", "n"),
            Stored("b_c", "b", "hidden", "n"),
        ),
        f"{_TF1_BLOCK}gru_ops.py", reset="before", theirs=_TF1_NAMES,
    ),
    Layout(
        "tf1-block", "lstm", "TensorFlow 1 LSTMBlockCell, LSTMBlockFusedCell", "i g f o", (_TF1_KERNEL, _TF1_BIAS),
        f"{_TF1_BLOCK}lstm_ops.py",
        theirs={"g": "c"}, forget_bias=1.0, clips=True, scopes=_TF1_LSTMS,
    ),
    Layout(
        "tf1-block", "lstm", "TensorFlow 1 LSTMBlockFusedCell, use_peephole=True", "i g f o",
        (_TF1_KERNEL, _TF1_BIAS, _TF1_PEEPHOLES), f"{_TF1_BLOCK}lstm_ops.py", variant="peephole",
        theirs={"g": "c"}, forget_bias=1.0, peepholes=True, clips=True, scopes=_TF1_LSTMS,
    ),
    Layout(
        "theano", "lstm", "the LSTM of Theano's tutorial", "i f o g", row_arrays("W", "U", "b", FUSED),
        "http://deeplearning.net/tutorial/lstm.html", theirs={"g": "c"},
    ),
    Layout(
        "dl4mt", "gru", "dl4mt's GRU", "r z n",
        (
            Stored("W", "W", "input (gate hidden)", "r z"),
            Stored("b", "b", "(gate hidden)", "r z"),
            Stored("U", "U", "state (gate hidden)", "r z"),
            Stored("Wx", "W", "input hidden", "n"),
            Stored("Ux", "U", "state hidden", "n"),
            Stored("bx", "b", "hidden", "n"),
        ),
        "https://github.com/nyu-dl/dl4mt-tutorial/blob/master/session1/nmt.py", reset="after", theirs={"z": "u",
        "n": "x"},
    ),
    Layout(
        "wildml", "gru", "WildML's GRU, all layers in one array", "z r n",
        (
            Stored("U", "W", "gate hidden input", layers=True),
            Stored("W", "U", "gate hidden state", layers=True),
            Stored("b", "b", "gate hidden", layers=True),
        ),
        "http://www.wildml.com/2015/10/recurrent-neural-network-tutorial-part-4", reset="before", theirs={"n": "c"},
        gate=("hard_sigmoid_theano",),
    ),
    Layout(
        "wildml", "rnn", "WildML's vanilla RNN", "h",
        (Stored("U", "W", "hidden input"), Stored("W", "U", "hidden state")),
        "http://www.wildml.com/2015/09/recurrent-neural-networks-tutorial-part-2", theirs={"h": "s"},
    ),
    Layout(
        "d2l", "rnn", "Dive into Deep Learning's RNN", "h", _D2L_ARRAYS,
        f"{_D2L}../chapter_recurrent-neural-networks/rnn-scratch.html",
    ),
    Layout(
        "d2l", "gru", "Dive into Deep Learning's GRU", "z r n", _D2L_ARRAYS, f"{_D2L}gru.html", reset="before",
        theirs={"n": "h"},
    ),
    Layout(
        "d2l", "lstm", "Dive into Deep Learning's LSTM", "i f o g", _D2L_ARRAYS, f"{_D2L}lstm.html",
        theirs={"g": "c"},
    ),
    Layout(
        "flax", "rnn", "flax.linen.SimpleCell", "h", row_arrays("i/kernel", "h/kernel", "i/bias"), _FLAX,
        activation=_ANY,
    ),
    Layout(
        "flax", "gru", "flax.linen.GRUCell", "r z n",
        (
            Stored("i{gate}/kernel", "W", "input hidden"),
            Stored("i{gate}/bias", "b", "hidden"),
            Stored("h{gate}/kernel", "U", "state hidden"),
            Stored("hn/bias", "bh", "hidden", "n"),
        ),
        _FLAX, reset="after", gate=ODD_ABOUT_HALF, activation=_ANY,
    ),
    Layout(
        "flax", "lstm", "flax.linen.LSTMCell, OptimizedLSTMCell", "i f g o", _FLAX_LSTM, _FLAX, gate=ODD_ABOUT_HALF,
        activation=_ANY, output=(),
    ),
    Layout(
        "nnx", "rnn", "flax.nnx.SimpleCell", "h", row_arrays("dense_i/kernel", "dense_h/kernel", "dense_i/bias"), _NNX,
        activation=_ANY,
    ),
    Layout(
        "nnx", "gru", "flax.nnx.GRUCell", "r z n",
        row_arrays("dense_i/kernel", "dense_h/kernel", "dense_i/bias", FUSED), _NNX, reset="after",
        gate=ODD_ABOUT_HALF, activation=_ANY,
    ),
    Layout(
        "nnx", "lstm", "flax.nnx.LSTMCell", "i f g o",
        (
            Stored("i{gate}/kernel", "W", "input hidden", "i g o"),
            Stored("if_/kernel", "W", "input hidden", "f"),  # "if" is a word of Python
            Stored("h{gate}/kernel", "U", "state hidden"),
            Stored("h{gate}/bias", "b", "hidden"),
        ),
        _NNX, gate=ODD_ABOUT_HALF, activation=_ANY, output=(),
    ),
    Layout(
        "nnx", "lstm", "flax.nnx.OptimizedLSTMCell", "i f g o",
        row_arrays("dense_i/kernel", "dense_h/kernel", "dense_h/bias", FUSED), _NNX, variant="optimized",
        gate=ODD_ABOUT_HALF, activation=_ANY, output=(),
    ),
    Layout(
        "equinox", "gru", "equinox.nn.GRUCell", "r z n",
        (*_EQUINOX_ARRAYS, Stored("bias_n", "bh", "hidden", "n", optional=True)), _EQUINOX, reset="after",
    ),
    Layout("equinox", "lstm", "equinox.nn.LSTMCell", "i f g o", _EQUINOX_ARRAYS, _EQUINOX),
)  # fmt: skip
