"""Architectures that a search found."""
# pyright: reportMissingParameterType=false

from gatewright.cells._parts import one_of
from gatewright.lang import cell, relabel, relu, sigmoid, tanh

__all__ = ["mut1", "mut2", "mut3", "nas"]

PAPER = (
    "Jozefowicz, Zaremba & Sutskever 2015, An empirical exploration of recurrent network architectures, "
    "ICML, PMLR 37:2342-2350"
)
NEW_STATE = "z = 1 takes the candidate: the opposite of PyTorch's GRU"


@cell(
    title="Mutated GRU 1 (MUT1)",
    paper=PAPER,
    convention=NEW_STATE,
    differs="the paper adds tanh(x) itself, which fits only an input as wide as the state: that is "
    "project=False; by default x passes through W.v",
)
def mut1(x, h, W, U, b, *, project=True):
    """The update gate sees only the input, and the candidate sees the input squashed."""
    z = sigmoid(W.z @ x + b.z)
    r = sigmoid(W.r @ x + U.r @ h + b.r)
    v = tanh(W.v @ x if project else relabel(x, like=h))
    n = tanh(U.n @ (r * h) + v + b.n)
    return z * n + (1 - z) * h


@cell(
    title="Mutated GRU 2 (MUT2)",
    paper=PAPER,
    convention=NEW_STATE,
    differs="the paper's reset gate adds x itself, which fits only an input as wide as the state: that is "
    "project=False; by default x passes through W.r",
)
def mut2(x, h, W, U, b, *, project=True):
    """The reset gate sees the input without a matrix of its own."""
    z = sigmoid(W.z @ x + U.z @ h + b.z)
    r = sigmoid((W.r @ x if project else relabel(x, like=h)) + U.r @ h + b.r)
    n = tanh(U.n @ (r * h) + W.n @ x + b.n)
    return z * n + (1 - z) * h


@cell(title="Mutated GRU 3 (MUT3)", paper=PAPER, convention=NEW_STATE, differs="nothing")
def mut3(x, h, W, U, b):
    """The update gate sees the state squashed."""
    z = sigmoid(W.z @ x + U.z @ tanh(h) + b.z)
    r = sigmoid(W.r @ x + U.r @ h + b.r)
    n = tanh(U.n @ (r * h) + W.n @ x + b.n)
    return z * n + (1 - z) * h


@cell(
    title="Neural architecture search cell (NASCell)",
    paper="Zoph & Le 2017, Neural architecture search with reinforcement learning, ICLR, arXiv:1611.01578",
    convention="the gates 0 to 7 of TensorFlow's NASCell are a to h here, its new_m is h, its new_c is c",
    differs="nothing, read as in the authors' code, TensorFlow's NASCell: input and state are multiplied in gate d "
    'and added in the other seven; merge="sum" adds them in all eight, as torchrecurrent\'s NAS does',
)
def nas(x, h, c, W, U, b, *, merge="product"):
    """A tree of eight gates, into which the memory is added halfway up.

    Raises OptionError where `merge` is neither "product" nor "sum".
    """
    one_of("nas", {"merge": ("product", "sum")}, merge=merge)
    first = tanh(sigmoid(W.a @ x + U.a @ h + b.a) * relu(W.b @ x + U.b @ h + b.b))
    second = sigmoid(W.c @ x + U.c @ h + b.c)
    merged = (W.d @ x) * (U.d @ h + b.d) if merge == "product" else W.d @ x + U.d @ h + b.d
    second = tanh(second + relu(merged))
    third = tanh(tanh(W.e @ x + U.e @ h + b.e) * sigmoid(W.f @ x + U.f @ h + b.f))
    fourth = sigmoid(tanh(W.g @ x + U.g @ h + b.g) + sigmoid(W.h @ x + U.h @ h + b.h))
    c = tanh(first + c) * second
    h = tanh(c * tanh(third + fourth))
    return h, c
