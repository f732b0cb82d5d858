"""Cells with highways: gates that carry values past a layer, in depth as well as in time."""
# pyright: reportMissingParameterType=false

from gatewright.errors import OptionError
from gatewright.lang import cell, relabel, relu, sigmoid, tanh

__all__ = ["intersection_rnn", "rhn"]


@cell(
    title="Recurrent highway network (RHN)",
    paper="Zilly, Srivastava, Koutnik & Schmidhuber 2017, Recurrent highway networks, ICML, arXiv:1607.03474",
    convention="t = 1 takes the candidate, t = 0 carries the old value on: the opposite of PyTorch's GRU; h1 and t1 "
    "are the gates of the first layer, the only one that sees the input",
    differs="nothing; coupled=True, c = 1 - t, is the form of the paper's experiments, which start the biases of all "
    "t gates below 0; torchrecurrent also has weights of c in that form, which it does not use",
)
def rhn(x, h, W, U, b, *, depth=3, coupled=True):
    """In every time step the state goes through `depth` highway layers, each with matrices of its own.

    `coupled=False` gives each layer a carry gate c in place of 1 - t.

    Raises OptionError unless `depth` is a whole number of at least 1.
    """
    if type(depth) is not int or depth < 1:
        raise OptionError(
            f"cell 'rhn' cannot be {depth!r} layers deep", expected="a whole number of at least 1", got=repr(depth)
        )

    def pre(gate, layer):
        name = f"{gate}{layer}"
        return W[name] @ x + U[name] @ s + b[name] if layer == 1 else U[name] @ s + b[name]

    s = h
    for layer in range(1, depth + 1):
        n = tanh(pre("h", layer))
        t = sigmoid(pre("t", layer))
        c = 1 - t if coupled else sigmoid(pre("c", layer))
        s = n * t + s * c
    return s


@cell(
    title="Intersection RNN (+RNN)",
    paper="Collins, Sohl-Dickstein & Sussillo 2017, Capacity and trainability in recurrent neural networks, "
    "arXiv:1611.09913",
    convention="y is emitted, h recurs; gy = 1 passes the input on to the next layer, gh = 1 keeps the old state",
    differs="the paper passes on x itself, which fits only an input as wide as the state: that is project=False; by "
    "default x passes through W.x; the paper adds a constant to the biases of both gates: start b.gy and b.gh there",
)
def intersection_rnn(x, y, h, W, U, b, *, project=True, activation=relu):
    """One gate mixes along time, the other along depth: each between what comes and a candidate of its own."""
    passed = W.x @ x if project else relabel(x, like=h)
    gy = sigmoid(W.gy @ x + U.gy @ h + b.gy)
    gh = sigmoid(W.gh @ x + U.gh @ h + b.gh)
    y_in = activation(W.y @ x + U.y @ h + b.y)
    h_in = tanh(W.h @ x + U.h @ h + b.h)
    y = gy * passed + (1 - gy) * y_in
    h = gh * h + (1 - gh) * h_in
    return y, h
