"""Cells whose candidate sees only the input: the state comes in through gates."""
# pyright: reportMissingParameterType=false

from gatewright.lang import cell, sigmoid, tanh

__all__ = ["cfn", "light_ru", "minimal_rnn", "sgrn", "star"]

SECOND_HAND = "unknown: the equations are those of torchrecurrent's documentation, not read in the paper itself"


@cell(
    title="Chaos-free network (CFN)",
    paper="Laurent & von Brecht 2017, A recurrent neural network without chaos, ICLR, arXiv:1612.06212",
    convention="theta = 1 keeps the old state, squashed; eta = 1 adds the input; they need not sum to 1",
    differs="the candidate's bias b.n is not in the paper; the paper starts b.theta at 1 and b.eta at -1",
)
def cfn(x, h, W, U, b):
    """A forgetting and an adding gate, without a matrix on the state in what is added: it cannot be chaotic."""
    theta = sigmoid(W.theta @ x + U.theta @ h + b.theta)
    eta = sigmoid(W.eta @ x + U.eta @ h + b.eta)
    n = tanh(W.n @ x + b.n)
    return theta * tanh(h) + eta * n


@cell(
    title="Light recurrent unit (LightRU)",
    paper="Ye, Zhang, Liu, Li, Chang & Zheng 2024, Light recurrent unit: towards an interpretable recurrent neural "
    "network for modeling long-range dependency, Electronics 13(16), doi:10.3390/electronics13163204",
    convention="f = 1 takes the candidate: the opposite of an LSTM's forget gate",
    differs=SECOND_HAND,
)
def light_ru(x, h, W, U, b):
    """One gate, and one matrix on the state."""
    f = sigmoid(W.f @ x + U.f @ h + b.f)
    n = tanh(W.n @ x + b.n)
    return (1 - f) * h + f * n


@cell(
    title="Minimal RNN",
    paper="Chen 2017, MinimalRNN: toward more interpretable and trainable recurrent neural networks, arXiv:1711.06788",
    convention="u = 1 keeps the old state; the gate sees the input only through z, by the matrix M.u",
    differs="nothing; the paper's map of the input, any network, is one layer with tanh here",
    spaces={"M": ("hidden", "hidden")},
)
def minimal_rnn(x, h, W, U, b, M):
    """The input is mapped to the space of the states, and a gate mixes it in there."""
    z = tanh(W.z @ x + b.z)
    u = sigmoid(U.u @ h + M.u @ z + b.u)
    return u * h + (1 - u) * z


@cell(
    title="Simple gated recurrent network (SGRN)",
    paper="IET paper 2021, IET Generation, Transmission & Distribution, doi:10.1049/gtd2.12056",
    convention="f = 1 keeps the old state, f = 0 takes what the input says; both share W.i",
    differs=SECOND_HAND,
)
def sgrn(x, h, W, U, b):
    """A single gate, whose input side is also the candidate."""
    i = W.i @ x + b.i
    f = sigmoid(U.f @ h + b.f + i)
    return tanh((1 - f) * i + f * h)


@cell(
    title="Stackable recurrent cell (STAR)",
    paper="Turkoglu, D'Aronco, Wegner & Schindler 2022, Gating revisited: deep multi-layer RNNs that can be trained, "
    "IEEE TPAMI, arXiv:1911.11033",
    convention="k = 1 takes the candidate: the opposite of PyTorch's GRU",
    differs="nothing",
)
def star(x, h, W, U, b):
    """One gate and a squashed state, so that gradients keep their size through many layers."""
    z = tanh(W.z @ x + b.z)
    k = sigmoid(W.k @ x + U.k @ h + b.k)
    return tanh((1 - k) * h + k * z)
