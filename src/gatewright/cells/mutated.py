"""The three architectures that an evolutionary search found."""
# pyright: reportMissingParameterType=false

from gatewright.lang import cell, relabel, sigmoid, tanh

__all__ = ["mut1", "mut2", "mut3"]

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
