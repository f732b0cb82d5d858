"""Cells with one gate, or with twin gates out of one product."""
# pyright: reportMissingParameterType=false

from gatewright.lang import cell, sigmoid, tanh

__all__ = ["atr", "janet", "mgu"]


@cell(
    title="Minimal gated unit (MGU)",
    paper="Zhou, Wu, Zhang & Zhou 2016, Minimal gated unit for recurrent neural networks, arXiv:1603.09420",
    convention="f = 1 takes the candidate: the opposite of PyTorch's GRU, and of an LSTM's forget gate",
    differs="nothing",
)
def mgu(x, h, W, U, b):
    """A GRU whose reset gate and update gate are one."""
    f = sigmoid(W.f @ x + U.f @ h + b.f)
    n = tanh(W.n @ x + U.n @ (f * h) + b.n)
    return (1 - f) * h + f * n


@cell(
    title="JANET: an LSTM of the forget gate alone",
    paper="van der Westhuizen & Lasenby 2018, The unreasonable effectiveness of the forget gate, arXiv:1804.04849",
    convention="f = 1 keeps the old state",
    differs="the paper starts b.f by chrono initialisation, a matter of the layer: init='chrono(...)'",
)
def janet(x, h, W, U, b, *, beta=1.0):
    """What is forgotten makes room for the new; `beta` lets in a little more. 0 is the paper's plain form."""
    s = W.f @ x + U.f @ h + b.f
    n = tanh(W.n @ x + U.n @ h + b.n)
    f = sigmoid(s)
    cleared = sigmoid(s - beta)
    return f * h + (1 - cleared) * n


@cell(
    title="Addition-subtraction twin-gated unit (ATR)",
    paper="Zhang et al. 2018, Simplifying neural machine translation with addition-subtraction twin-gated "
    "recurrent networks, EMNLP, arXiv:1810.12546",
    convention="f = 1 keeps the old state, i = 1 adds the input; they need not sum to 1",
    differs="the paper prints the forget gate with another sign; its authors correct it to p - q beside "
    "their code, as here; the biases are the code's",
)
def atr(x, h, W, U, b):
    """Two gates without matrices of their own: the sum and the difference of what input and state say."""
    p = W.p @ x + b.p
    q = U.q @ h + b.q
    i = sigmoid(p + q)
    f = sigmoid(p - q)
    return i * p + f * h
