"""Cells whose units recur each by itself."""
# pyright: reportMissingParameterType=false

from gatewright.lang import cell, relu

__all__ = ["indrnn"]


@cell(
    title="Independently recurrent neural network (IndRNN)",
    paper="Li, Li, Cook, Zhu & Gao 2018, Independently recurrent neural network (IndRNN): building a longer "
    "and deeper RNN, arXiv:1803.04831",
    convention="p.h is the paper's u; above 2 ** (1 / steps) in size it lets gradients explode",
    differs="nothing; the paper keeps p.h in its range by clipping, which is a matter of training",
)
def indrnn(x, h, W, b, p, *, activation=relu):
    """Every unit sees only itself across time; units meet in the next layer."""
    return activation(W.h @ x + p.h * h + b.h)
