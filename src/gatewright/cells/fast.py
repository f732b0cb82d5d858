"""Small cells for small machines."""
# pyright: reportMissingParameterType=false

from gatewright.lang import cell, sigmoid, tanh

__all__ = ["fastgrnn", "fastgrnn_low_rank", "fastrnn"]

PAPER = (
    "Kusupati et al. 2018, FastGRNN: a fast, accurate, stable and tiny kilobyte sized gated recurrent neural "
    "network, NeurIPS, arXiv:1901.02358"
)
SHARED = "z = 1 keeps the old state; gate and candidate share one product, and their biases tell them apart"
START = {"a.zeta": 1.0, "a.nu": -4.0}


@cell(
    title="FastRNN",
    paper=PAPER,
    convention="sigmoid(a.alpha) of the candidate is added to sigmoid(a.beta) of the old state",
    differs="the paper's alpha and beta lie between 0 and 1; here, as in its authors' code, a sigmoid puts "
    "them there, and they start at -3 and 3",
    spaces={"a": ()},
    initial={"a.alpha": -3.0, "a.beta": 3.0},
)
def fastrnn(x, h, W, U, b, a, *, activation=tanh):
    """An Elman network with a weighted shortcut past it."""
    n = activation(W.h @ x + U.h @ h + b.h)
    return sigmoid(a.alpha) * n + sigmoid(a.beta) * h


@cell(
    title="FastGRNN",
    paper=PAPER,
    convention=SHARED,
    differs="the paper's zeta and nu lie between 0 and 1; here, as in its authors' code, a sigmoid puts them "
    "there, and they start at 1 and -4; that code also starts the biases at 1",
    spaces={"a": ()},
    initial=START,
)
def fastgrnn(x, h, W, U, b, a, *, gate=sigmoid, activation=tanh):
    """A gate and a candidate out of the same two matrices."""
    pre = W.h @ x + U.h @ h
    z = gate(pre + b.z)
    n = activation(pre + b.h)
    return (sigmoid(a.zeta) * (1 - z) + sigmoid(a.nu)) * n + z * h


@cell(
    title="FastGRNN with low-rank matrices",
    paper=PAPER,
    convention=f"{SHARED}; fastgrnn's W.h is V.x @ W.h here, its U.h is V.h @ U.h",
    differs="as fastgrnn; the paper then makes the factors sparse and rounds them, a matter of training",
    spaces={
        "V": ("hidden", None),
        "W": ("input_rank", "input"),
        "U": ("hidden_rank", "hidden"),
        "a": (),
    },
    initial=START,
)
def fastgrnn_low_rank(x, h, V, W, U, b, a, *, gate=sigmoid, activation=tanh):
    """FastGRNN whose two matrices are products of thin ones, of ranks `input_rank` and `hidden_rank`."""
    pre = V.x @ (W.h @ x) + V.h @ (U.h @ h)
    z = gate(pre + b.z)
    n = activation(pre + b.h)
    return (sigmoid(a.zeta) * (1 - z) + sigmoid(a.nu)) * n + z * h
