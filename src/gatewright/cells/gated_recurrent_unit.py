"""The gated recurrent unit and its parts."""
# pyright: reportMissingParameterType=false

from gatewright.cells._parts import named, one_of
from gatewright.lang import cell, relu, sigmoid, tanh

__all__ = ["gru", "gru_input_gates", "gru_reset_only", "gru_update_only", "ligru", "miru1", "miru2", "ugrnn"]

OLD_STATE = "z = 1 keeps the old state"


@cell(
    title="Gated recurrent unit (GRU)",
    paper="Cho et al. 2014, Learning phrase representations using RNN encoder-decoder for statistical "
    "machine translation, arXiv:1406.1078",
    convention=f"{OLD_STATE} (PyTorch, Keras, ONNX, Cho 2014, Dive into Deep Learning); Chung et al. 2014 "
    '(arXiv:1412.3555) write the opposite, which is update="replaces"; gates in PyTorch\'s order r, z, n',
    differs='the paper has no biases; reset="after" is the form of cuDNN',
)
def gru(x, h, W, U, b, *, reset="before", recurrent_bias=True, update="keeps", gate=sigmoid, activation=tanh):
    """One gate resets what the candidate sees of the state, the other mixes the candidate with the state.

    - `reset="before"` multiplies the state before the matrix does: Cho 2014, Keras' reset_after=False, ONNX's
      linear_before_reset=0, TensorFlow 1, WildML, Dive into Deep Learning. `reset="after"` multiplies the
      product: PyTorch, cuDNN, Keras' default, ONNX's linear_before_reset=1, dl4mt. They are two functions.
    - `recurrent_bias`: that product has a bias of its own, `b.hn` (PyTorch's b_hn). dl4mt has none.
    - `update="replaces"`: z = 1 takes the candidate, not the old state: Chung 2014, Theano's tutorial.
    - `gate`: sigmoid, hard_sigmoid_theano (slope 0.2: Keras 1 and 2, WildML) or hard_sigmoid_keras3 (1/6).

    Raises OptionError where `reset` or `update` is another word.
    """
    choices = {"reset": ("before", "after"), "update": ("keeps", "replaces")}
    one_of("gru", choices, reset=reset, update=update)
    r = gate(W.r @ x + U.r @ h + b.r)
    z = gate(W.z @ x + U.z @ h + b.z)
    if reset == "before":
        n = activation(W.n @ x + U.n @ (r * h) + b.n)
    elif recurrent_bias:
        n = activation(W.n @ x + b.n + r * (U.n @ h + b.hn))
    else:
        n = activation(W.n @ x + b.n + r * (U.n @ h))
    return z * h + (1 - z) * n if update == "keeps" else (1 - z) * h + z * n


@cell(
    title="GRU with a reset gate only",
    paper="Zhang, Lipton, Li & Smola, Dive into Deep Learning: Gated recurrent units, exercise 4",
    convention="r = 0 makes the candidate forget the state",
    differs="the candidate is the new state, so that nothing can be kept unchanged",
)
def gru_reset_only(x, h, W, U, b):
    """An Elman network that can be told to forget."""
    r = sigmoid(W.r @ x + U.r @ h + b.r)
    return tanh(W.n @ x + U.n @ (r * h) + b.n)


@cell(
    title="GRU with an update gate only (UGRNN)",
    paper="Collins, Sohl-Dickstein & Sussillo 2017, Capacity and trainability in recurrent neural networks, "
    "arXiv:1611.09913",
    convention=OLD_STATE,
    differs="the paper adds a constant to the gate's bias: start b.z there; Dive into Deep Learning's "
    "exercise 4 on the GRU asks for the same cell",
)
def gru_update_only(x, h, W, U, b, *, gate=sigmoid, activation=tanh):
    """An Elman network that mixes its candidate with what it was."""
    z = gate(W.z @ x + U.z @ h + b.z)
    n = activation(W.n @ x + U.n @ h + b.n)
    return z * h + (1 - z) * n


ugrnn = gru_update_only

ligru = named(
    gru_update_only(activation=relu),
    "ligru",
    title="Light gated recurrent unit (Li-GRU)",
    paper="Ravanelli, Brakel, Omologo & Bengio 2018, Light gated recurrent units for speech recognition, "
    "arXiv:1803.10225",
    differs="the paper normalises W.z @ x and W.n @ x over the batch in place of biases, which also keeps "
    "relu from growing without bound",
)


@cell(
    title="GRU whose gates see only the input",
    paper="none: asked about on a question-and-answer site, beside TensorFlow's GRUCell",
    convention=OLD_STATE,
    differs="no state in the gates; the reset gate comes after the product; the candidate has no bias",
)
def gru_input_gates(x, h, W, U, b):
    """The gates are known for all steps beforehand; only the candidate is recurrent."""
    r = sigmoid(W.r @ x + b.r)
    z = sigmoid(W.z @ x + b.z)
    n = tanh(W.n @ x + r * (U.n @ h))
    return (1 - z) * n + z * h


ZYARAH = "Zyarah & Kudithipudi 2025, Minion gated recurrent unit for continual learning, arXiv:2503.06175"
MINION = (
    "the equations are those of torchrecurrent's documentation, not read in the paper itself; both numbers are tuned "
    "for each task: 0.5 is only a place to begin"
)


@cell(
    title="Minion recurrent unit 1 (MiRU1)",
    paper=ZYARAH,
    convention="the number update is the share of the old state that is kept",
    differs=MINION,
)
def miru1(x, h, W, U, b, *, update=0.5):
    """A GRU whose update gate is a number."""
    r = sigmoid(W.r @ x + U.r @ h + b.r)
    n = tanh(W.n @ x + U.n @ (r * h) + b.n)
    return update * h + (1 - update) * n


@cell(
    title="Minion recurrent unit 2 (MiRU2)",
    paper=ZYARAH,
    convention="the number update is the share of the old state that is kept",
    differs=MINION,
)
def miru2(x, h, W, U, b, *, update=0.5, reset=0.5):
    """A GRU whose gates are both numbers: a leaky Elman network."""
    n = tanh(W.n @ x + U.n @ (reset * h) + b.n)
    return update * h + (1 - update) * n
