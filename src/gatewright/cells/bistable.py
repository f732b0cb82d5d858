"""Cells whose units have two stable states, and keep one of them without end."""
# pyright: reportMissingParameterType=false

from gatewright.lang import cell, sigmoid, tanh

__all__ = ["br", "brc", "nbr", "nbrc"]

PAPER = (
    "Vecoven, Ernst & Drion 2021, A bio-inspired bistable recurrent cell allows for long-lasting memory, PLOS ONE "
    "16(6), arXiv:2006.05252"
)
KEEPS = "c = 1 keeps the old state; a, from 0 to 2, feeds it back: a unit with a above 1 has two stable states"
BIASES = "the paper has no biases; its authors' code has those of the gates, and not b.n"


@cell(title="Bistable recurrent cell (BRC)", paper=PAPER, convention=KEEPS, differs=BIASES)
def brc(x, h, W, b, p):
    """A GRU whose units see only themselves, and whose reset gate can strengthen what it lets through."""
    a = 1 + tanh(W.a @ x + p.a * h + b.a)
    c = sigmoid(W.c @ x + p.c * h + b.c)
    n = tanh(W.n @ x + a * h + b.n)
    return c * h + (1 - c) * n


@cell(title="Recurrently neuromodulated bistable recurrent cell (nBRC)", paper=PAPER, convention=KEEPS, differs=BIASES)
def nbrc(x, h, W, U, b):
    """A bistable cell whose gates see all units."""
    a = 1 + tanh(W.a @ x + U.a @ h + b.a)
    c = sigmoid(W.c @ x + U.c @ h + b.c)
    n = tanh(W.n @ x + a * h + b.n)
    return c * h + (1 - c) * n


br, nbr = brc, nbrc
