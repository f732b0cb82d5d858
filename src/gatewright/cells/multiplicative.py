"""Cells in which what the input says is multiplied by what the state says."""
# pyright: reportMissingParameterType=false

from gatewright.lang import cell, hard_sigmoid_theano, sigmoid, softplus, tanh

__all__ = ["dsgu", "multiplicative_lstm", "sgu"]

GAO = "Gao & Glowacka 2016, Deep gate recurrent neural network, ACML, arXiv:1604.02910"
NEW_STATE = "z = 1 takes the candidate: the opposite of PyTorch's GRU"
HARD = (
    "the bias b.g is not in the paper; the paper's hard sigmoid is taken to be Theano's, of slope 0.2; that of "
    "torchrecurrent has a slope of 1/6, which is gate=hard_sigmoid_keras3"
)


@cell(title="Simple gated unit (SGU)", paper=GAO, convention=NEW_STATE, differs=HARD)
def sgu(x, h, W, U, b, *, gate=hard_sigmoid_theano):
    """What comes of input times state gates the state, and that is the candidate."""
    g = tanh(U.g @ ((W.x @ x + b.x) * h) + b.g)
    z = gate(W.z @ x + U.z @ h + b.z)
    return (1 - z) * h + z * softplus(g * h)


@cell(
    title="Deep simple gated unit (DSGU)",
    paper=GAO,
    convention=f"{NEW_STATE}; O.n is the paper's W_go",
    differs=HARD,
    spaces={"O": ("hidden", "hidden")},
)
def dsgu(x, h, W, U, b, O, *, gate=hard_sigmoid_theano):  # noqa: E741
    """A simple gated unit with a further layer before the candidate."""
    g = tanh(U.g @ ((W.x @ x + b.x) * h) + b.g)
    n = sigmoid(O.n @ (g * h))
    z = gate(W.z @ x + U.z @ h + b.z)
    return (1 - z) * h + z * n


@cell(
    title="Multiplicative LSTM (mLSTM)",
    paper="Krause, Lu, Murray & Renals 2016, Multiplicative LSTM for sequence modelling, arXiv:1609.07959",
    convention="f = 1 keeps the old memory; gates in PyTorch's order i, f, g, o; xLSTM's mLSTM, with a matrix for a "
    "memory, is another cell",
    differs="the paper has no biases; product_biases=True adds those under the product, b.mx and b.mh, that "
    "torchrecurrent has and the authors' code has not",
    spaces={"M": ("hidden", "hidden")},
)
def multiplicative_lstm(x, h, c, W, U, b, M, *, product_biases=False):
    """An LSTM whose gates see m, the input times the state, in place of the state."""
    m = (W.m @ x + b.mx) * (U.m @ h + b.mh) if product_biases else (W.m @ x) * (U.m @ h)
    i = sigmoid(W.i @ x + M.i @ m + b.i)
    f = sigmoid(W.f @ x + M.f @ m + b.f)
    g = tanh(W.g @ x + M.g @ m + b.g)
    o = sigmoid(W.o @ x + M.o @ m + b.o)
    c = f * c + i * g
    h = o * tanh(c)
    return h, c
