"""One row for each layout of weights: what its arrays are called, and what lies in them where.

Both directions, and every pair of layouts, follow from these rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from gatewright.convert.equations import Equations, Family, Reset

Update = Literal["keeps", "replaces"]


@dataclass(frozen=True, slots=True)
class Stored:
    """One array, or one for each gate where its name says `{gate}`.

    `kinds` are what it holds (`patterns.AXES`), `axes` where that lies in it, `gates` whose it is: those of the row
    where it is empty. `buffer` are the axes in which the numbers of each gate follow one another, where those belie its
    shape.
    """

    name: str
    kinds: str
    axes: str
    gates: str = ""
    optional: bool = False
    buffer: str = ""


@dataclass(frozen=True, slots=True)
class Layout:
    """How one framework keeps one kind of layer."""

    framework: str
    family: Family
    title: str
    gates: str  # ours, in the order of the arrays
    arrays: tuple[Stored, ...]
    source: str  # where the layout is documented
    variant: str = ""
    reset: Reset | None = None
    update: Update = "keeps"
    theirs: Mapping[str, str] = field(default_factory=dict[str, str])  # a gate's name there, where it is not ours
    gate: tuple[str, ...] = ("sigmoid",)  # activations that the framework has; the first is its default
    activation: tuple[str, ...] = ("tanh",)
    output: tuple[str, ...] = ("tanh",)
    forget_bias: float = 0.0  # added in its equations
    peepholes: bool = False
    coupled: bool = False
    projection: bool = False
    clip: bool = False  # whether what its gates and candidate read can be cut off at a bound

    @property
    def key(self) -> str:
        """The name of the row: `keras/gru`, `keras/gru-before`."""
        return f"{self.framework}/{self.family}" + (f"-{self.variant}" if self.variant else "")

    @property
    def equations(self) -> Equations:
        """What such a layer computes by default."""
        return Equations(
            self.family,
            reset=self.reset,
            gate=self.gate[0],
            activation=self.activation[0],
            output=self.output[0],
            forget_bias=self.forget_bias,
            peepholes=self.peepholes,
            coupled=self.coupled,
            projection=self.projection,
        )

    def stored(self) -> tuple[tuple[str, Stored, tuple[str, ...]], ...]:
        """Every array by its name, with the gates that it holds."""
        found: list[tuple[str, Stored, tuple[str, ...]]] = []
        for one in self.arrays:
            gates = tuple((one.gates or self.gates).split())
            if "{gate}" in one.name:
                found += [(one.name.format(gate=self.theirs.get(gate, gate)), one, (gate,)) for gate in gates]
            else:
                found.append((one.name, one, gates))
        return tuple(found)


_TORCH = "https://docs.pytorch.org/docs/stable/generated/torch.nn."
_TORCH_ARRAYS = (
    Stored("weight_ih", "W", "(gate hidden) input"),
    Stored("weight_hh", "U", "(gate hidden) state"),
    Stored("bias_ih", "b", "(gate hidden)", optional=True),
    Stored("bias_hh", "bh", "(gate hidden)", optional=True),
)
_GLUON = "https://mxnet.apache.org/versions/1.9.1/api/python/docs/api/gluon/rnn/index.html"
_GLUON_ARRAYS = (
    Stored("i2h_weight", "W", "(gate hidden) input"),
    Stored("h2h_weight", "U", "(gate hidden) state"),
    Stored("i2h_bias", "b", "(gate hidden)"),
    Stored("h2h_bias", "bh", "(gate hidden)"),
)
_KERAS = "https://keras.io/api/layers/recurrent_layers/"
_KERAS_GATES = ("sigmoid", "hard_sigmoid_theano", "hard_sigmoid_keras3")
_ANY = ("tanh", "relu", "sigmoid", "identity")
_KERAS_MATRICES = (
    Stored("kernel", "W", "input (gate hidden)"),
    Stored("recurrent_kernel", "U", "state (gate hidden)"),
)
_KERAS_BIAS = Stored("bias", "b", "(gate hidden)", optional=True)
_CUDNN = "https://github.com/keras-team/keras/blob/2.2.4/keras/layers/cudnn_recurrent.py"
_CUDNN_ARRAYS = (
    Stored("kernel", "W", "input (gate hidden)", buffer="hidden input"),
    Stored("recurrent_kernel", "U", "hidden (gate state)"),
    Stored("bias", "b bh", "(side gate hidden)"),
)
_KERAS1 = "https://github.com/keras-team/keras/blob/1.2.2/keras/layers/recurrent.py"
_KERAS1_ARRAYS = (
    Stored("W_{gate}", "W", "input hidden"),
    Stored("U_{gate}", "U", "state hidden"),
    Stored("b_{gate}", "b", "hidden"),
)
_KERAS1_FUSED = (
    Stored("W", "W", "input (gate hidden)"),
    Stored("U", "U", "state (gate hidden)"),
    Stored("b", "b", "(gate hidden)"),
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
_TF1_NAMES = {"z": "u", "n": "c", "g": "j"}
_D2L = "https://d2l.ai/chapter_recurrent-modern/"
_D2L_ARRAYS = (
    Stored("W_x{gate}", "W", "input hidden"),
    Stored("W_h{gate}", "U", "state hidden"),
    Stored("b_{gate}", "b", "hidden"),
)
_ONNX = "https://onnx.ai/onnx/operators/onnx__"
_ONNX_FUNCTIONS = (
    "sigmoid", "hard_sigmoid_theano", "hard_sigmoid_keras3", "tanh", "relu", "identity", "softplus", "softsign",
    "affine", "elu", "hard_sigmoid", "leaky_relu", "scaled_tanh", "thresholded_relu",
)  # fmt: skip
_ONNX_TANH = ("tanh", *(one for one in _ONNX_FUNCTIONS if one != "tanh"))
_ONNX_PEEPHOLES = Stored("P", "p", "(gate hidden)", "i o f", optional=True)
_ONNX_ARRAYS = (
    Stored("W", "W", "(gate hidden) input"),
    Stored("R", "U", "(gate hidden) state"),
    Stored("B", "b bh", "(side gate hidden)", optional=True),
)
_FLAX = "https://flax.readthedocs.io/en/latest/api_reference/flax.linen/layers.html"
_NNX = "https://flax.readthedocs.io/en/latest/api_reference/flax.nnx/nn/recurrent.html"
_FLAX_LSTM = (
    Stored("i{gate}/kernel", "W", "input hidden"),
    Stored("h{gate}/kernel", "U", "state hidden"),
    Stored("h{gate}/bias", "b", "hidden"),
)
_EQUINOX = "https://docs.kidger.site/equinox/api/nn/rnn/"
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
    Layout("gluon", "rnn", "mxnet.gluon.rnn.RNN", "h", _GLUON_ARRAYS, _GLUON, activation=("relu", "tanh")),
    Layout("gluon", "gru", "mxnet.gluon.rnn.GRU", "r z n", _GLUON_ARRAYS, _GLUON, reset="after"),
    Layout("gluon", "lstm", "mxnet.gluon.rnn.LSTM", "i f g o", _GLUON_ARRAYS, _GLUON, theirs={"g": "c"}),
    Layout(
        "keras", "rnn", "keras.layers.SimpleRNN", "h", (*_KERAS_MATRICES, _KERAS_BIAS), f"{_KERAS}simple_rnn/",
        activation=_ANY,
    ),
    Layout(
        "keras", "gru", "keras.layers.GRU, reset_after=True", "z r n",
        (*_KERAS_MATRICES, Stored("bias", "b bh", "side (gate hidden)", optional=True)), f"{_KERAS}gru/",
        reset="after", theirs={"n": "h"}, gate=_KERAS_GATES, activation=_ANY,
    ),
    Layout(
        "keras", "gru", "keras.layers.GRU, reset_after=False", "z r n", (*_KERAS_MATRICES, _KERAS_BIAS),
        f"{_KERAS}gru/",
        variant="before", reset="before", theirs={"n": "h"}, gate=_KERAS_GATES, activation=_ANY,
    ),
    Layout(
        "keras", "lstm", "keras.layers.LSTM", "i f g o", (*_KERAS_MATRICES, _KERAS_BIAS), f"{_KERAS}lstm/",
        theirs={"g": "c"}, gate=_KERAS_GATES, activation=_ANY, output=_ANY,
    ),
    Layout(
        "keras", "gru", "keras.layers.CuDNNGRU", "z r n", _CUDNN_ARRAYS, _CUDNN, variant="cudnn", reset="after",
        theirs={"n": "h"},
    ),
    Layout(
        "keras", "lstm", "keras.layers.CuDNNLSTM", "i f g o", _CUDNN_ARRAYS, _CUDNN, variant="cudnn",
        theirs={"g": "c"},
    ),
    Layout(
        "keras1", "rnn", "Keras 1 SimpleRNN", "h",
        (Stored("W", "W", "input hidden"), Stored("U", "U", "state hidden"), Stored("b", "b", "hidden")), _KERAS1,
        activation=_ANY,
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
        "tf1", "rnn", "TensorFlow 1 BasicRNNCell", "h", (_TF1_KERNEL, _TF1_BIAS), _TF1, activation=_ANY,
    ),
    Layout(
        "tf1", "gru", "TensorFlow 1 GRUCell, GRUBlockCellV2", "r z n", _TF1_GRU, _TF1, reset="before",
        theirs=_TF1_NAMES,
    ),
    Layout(
        "tf1", "lstm", "TensorFlow 1 BasicLSTMCell, LSTMCell", "i g f o", (_TF1_KERNEL, _TF1_BIAS), _TF1,
        theirs=_TF1_NAMES, forget_bias=1.0, activation=_ANY, output=_ANY,
    ),
    Layout(
        "tf1", "lstm", "TensorFlow 1 LSTMCell, use_peepholes=True", "i g f o",
        (_TF1_KERNEL, _TF1_BIAS, Stored("w_{gate}_diag", "p", "hidden", "f i o")), _TF1,
        variant="peephole", theirs=_TF1_NAMES, forget_bias=1.0, peepholes=True, activation=_ANY, output=_ANY,
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
        "tf1-block", "lstm", "TensorFlow 1 LSTMBlockFusedCell, use_peephole=True", "i g f o",
        (_TF1_KERNEL, _TF1_BIAS, Stored("w_{gate}_diag", "p", "hidden", "i f o")), f"{_TF1_BLOCK}lstm_ops.py",
        theirs={"g": "c"}, forget_bias=1.0, peepholes=True,
    ),
    Layout(
        "theano", "lstm", "the LSTM of Theano's tutorial", "i f o g",
        (
            Stored("W", "W", "input (gate hidden)"),
            Stored("U", "U", "state (gate hidden)"),
            Stored("b", "b", "(gate hidden)"),
        ),
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
        "wildml", "gru", "WildML's GRU (U, W, b of one layer)", "z r n",
        (
            Stored("U", "W", "gate hidden input"),
            Stored("W", "U", "gate hidden state"),
            Stored("b", "b", "gate hidden"),
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
        "flax", "rnn", "flax.linen.SimpleCell", "h",
        (
            Stored("i/kernel", "W", "input hidden"),
            Stored("i/bias", "b", "hidden"),
            Stored("h/kernel", "U", "state hidden"),
        ),
        _FLAX, activation=_ANY,
    ),
    Layout(
        "flax", "gru", "flax.linen.GRUCell", "r z n",
        (
            Stored("i{gate}/kernel", "W", "input hidden"),
            Stored("i{gate}/bias", "b", "hidden"),
            Stored("h{gate}/kernel", "U", "state hidden"),
            Stored("hn/bias", "bh", "hidden", "n"),
        ),
        _FLAX, reset="after", gate=_KERAS_GATES, activation=_ANY,
    ),
    Layout(
        "flax", "lstm", "flax.linen.LSTMCell, OptimizedLSTMCell", "i f g o", _FLAX_LSTM, _FLAX, gate=_KERAS_GATES,
        activation=_ANY, output=_ANY,
    ),
    Layout(
        "nnx", "gru", "flax.nnx.GRUCell", "r z n",
        (
            Stored("dense_i/kernel", "W", "input (gate hidden)"),
            Stored("dense_i/bias", "b", "(gate hidden)"),
            Stored("dense_h/kernel", "U", "state (gate hidden)"),
        ),
        _NNX, reset="after", gate=_KERAS_GATES, activation=_ANY,
    ),
    Layout(
        "nnx", "lstm", "flax.nnx.LSTMCell", "i f g o", _FLAX_LSTM, _NNX, gate=_KERAS_GATES, activation=_ANY,
        output=_ANY,
    ),
    Layout(
        "nnx", "lstm", "flax.nnx.OptimizedLSTMCell", "i f g o",
        (
            Stored("dense_i/kernel", "W", "input (gate hidden)"),
            Stored("dense_h/kernel", "U", "state (gate hidden)"),
            Stored("dense_h/bias", "b", "(gate hidden)"),
        ),
        _NNX, variant="optimized", gate=_KERAS_GATES, activation=_ANY, output=_ANY,
    ),
    Layout(
        "equinox", "gru", "equinox.nn.GRUCell", "r z n",
        (
            Stored("weight_ih", "W", "(gate hidden) input"),
            Stored("weight_hh", "U", "(gate hidden) state"),
            Stored("bias", "b", "(gate hidden)", optional=True),
            Stored("bias_n", "bh", "hidden", "n", optional=True),
        ),
        _EQUINOX, reset="after",
    ),
    Layout(
        "equinox", "lstm", "equinox.nn.LSTMCell", "i f g o",
        (
            Stored("weight_ih", "W", "(gate hidden) input"),
            Stored("weight_hh", "U", "(gate hidden) state"),
            Stored("bias", "b", "(gate hidden)", optional=True),
        ),
        _EQUINOX,
    ),
    Layout(
        "onnx", "rnn", "ONNX RNN", "h", _ONNX_ARRAYS, f"{_ONNX}RNN.html", theirs={"h": "i"}, activation=_ONNX_TANH,
        clip=True,
    ),
    Layout(
        "onnx", "gru", "ONNX GRU, linear_before_reset=1", "z r n", _ONNX_ARRAYS, f"{_ONNX}GRU.html", reset="after",
        theirs={"n": "h"}, gate=_ONNX_FUNCTIONS, activation=_ONNX_TANH, clip=True,
    ),
    Layout(
        "onnx", "gru", "ONNX GRU, linear_before_reset=0", "z r n", _ONNX_ARRAYS, f"{_ONNX}GRU.html", variant="before",
        reset="before", theirs={"n": "h"}, gate=_ONNX_FUNCTIONS, activation=_ONNX_TANH, clip=True,
    ),
    Layout(
        "onnx", "lstm", "ONNX LSTM", "i o f g", (*_ONNX_ARRAYS, _ONNX_PEEPHOLES), f"{_ONNX}LSTM.html",
        theirs={"g": "c"}, gate=_ONNX_FUNCTIONS, activation=_ONNX_TANH, output=_ONNX_TANH, clip=True,
    ),
    Layout(
        "onnx", "lstm", "ONNX LSTM, input_forget=1", "i o f g", (*_ONNX_ARRAYS, _ONNX_PEEPHOLES),
        f"{_ONNX}LSTM.html", variant="coupled", theirs={"g": "c"}, gate=_ONNX_FUNCTIONS, activation=_ONNX_TANH,
        output=_ONNX_TANH, coupled=True, clip=True,
    ),
    Layout(
        "rtneural", "gru", "RTNeural GRU", "z r n",
        (*_KERAS_MATRICES, Stored("bias", "b bh", "side (gate hidden)")), _RTNEURAL, reset="after", theirs={"n": "h"},
    ),
    Layout(
        "rtneural", "lstm", "RTNeural LSTM", "i f g o", (*_KERAS_MATRICES, Stored("bias", "b", "(gate hidden)")),
        _RTNEURAL, theirs={"g": "c"},
    ),
)  # fmt: skip

BY_KEY: Mapping[str, Layout] = {row.key: row for row in LAYOUTS}


def layouts(framework: str | None = None, family: Family | None = None) -> tuple[Layout, ...]:
    """The rows of a framework and of a family; without one, of all."""
    return tuple(row for row in LAYOUTS if framework in (None, row.framework) and family in (None, row.family))
