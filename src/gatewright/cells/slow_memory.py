"""Cells that keep a linear memory beside a simple network."""
# pyright: reportMissingParameterType=false

from gatewright.lang import cell, sigmoid, tanh

__all__ = ["ran", "scrn"]


@cell(
    title="Recurrent additive network (RAN)",
    paper="Lee, Levy & Zettlemoyer 2017, Recurrent additive networks, arXiv:1705.07393",
    convention="f = 1 keeps the old memory",
    differs="nothing: the content W.n @ x has no recurrence and no bias",
)
def ran(x, h, c, W, U, b, *, output=tanh):
    """A memory that is a gated sum of linear images of the inputs, and nothing else."""
    n = W.n @ x
    i = sigmoid(W.i @ x + U.i @ h + b.i)
    f = sigmoid(W.f @ x + U.f @ h + b.f)
    c = i * n + f * c
    h = output(c)
    return h, c


@cell(
    title="Structurally constrained recurrent network (SCRN)",
    paper="Mikolov, Joulin, Chopra, Mathieu & Ranzato 2014, Learning longer memory in recurrent neural "
    "networks, arXiv:1412.7753",
    convention="alpha is the share of the old context; the context has its own size: sizes={'context': 40}",
    differs="the bias is not in the paper; its output layer also reads the context, but a layer emits only "
    "h; in its authors' code h sees the context of the step before; torchrecurrent's SCRN is another function: it "
    "emits a further layer, tanh, and feeds that back",
    states={"s": "context"},
    spaces={"B": ("context", "input"), "P": ("hidden", "context")},
)
def scrn(x, h, s, W, U, b, B, P, *, alpha=0.95):
    """A slow running mean of the inputs, which a logistic network reads."""
    s = (1 - alpha) * (B.s @ x) + alpha * s
    h = sigmoid(P.h @ s + W.h @ x + U.h @ h + b.h)
    return h, s
