"""Cells whose gates are exponentials."""
# pyright: reportMissingParameterType=false

from gatewright.cells._parts import one_of
from gatewright.lang import cell, exp, maximum, minimum, sigmoid, softplus, tanh, where

__all__ = ["slstm"]


@cell(
    title="sLSTM: scalar memory, exponential gates",
    paper="Beck et al. 2024, xLSTM: extended long short-term memory, arXiv:2405.04517",
    convention="f = 1 keeps the old memory; c and n are kept divided by exp(m), which cancels out in c / n",
    differs="U is a full matrix, the paper's is block diagonal by heads; of the paper's two forget gates, "
    "sigmoid and exp, its authors' code has the first; where the state is empty m follows the input gate "
    "alone, as in that code",
)
def slstm(x, h, c, n, m, W, U, b, *, forget="sigmoid"):
    """An LSTM whose input gate is exponential, so that a new value can outweigh all that was stored.

    `c` is the memory, `n` the sum of the weights that went into it, `m` the exponent that keeps both in
    range: after the first step n is never below 1. All begin at zero.

    Raises OptionError where `forget` is neither "sigmoid" nor "exp".
    """
    one_of("slstm", {"forget": ("sigmoid", "exp")}, forget=forget)
    log_i = W.i @ x + U.i @ h + b.i
    log_f = W.f @ x + U.f @ h + b.f
    if forget == "sigmoid":
        log_f = -softplus(-log_f)
    z = tanh(W.z @ x + U.z @ h + b.z)
    o = sigmoid(W.o @ x + U.o @ h + b.o)
    kept = log_f + m
    m = where(n > 0, maximum(kept, log_i), log_i)
    i = exp(log_i - m)
    f = exp(minimum(kept - m, 0.0))  # above 0 only where the state is empty, and there it multiplies zeros
    c = f * c + i * z
    n = f * n + i
    h = o * (c / n)
    return h, c, n, m
