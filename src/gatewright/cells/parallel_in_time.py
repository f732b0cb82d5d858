"""Cells whose memory can be scanned over all steps at once: affine, with gates that see only inputs."""
# pyright: reportMissingParameterType=false

from gatewright.cells._parts import identity, one_of
from gatewright.lang import Symbol, cell, relabel, sigmoid, tanh, where

__all__ = ["hgrn", "mingru", "minlstm", "qrnn", "sru", "tgru", "tlstm", "trnn"]

FENG = "Feng, Tung, Ahmed, Bengio & Hajimirsadeghi 2024, Were RNNs all we needed?, arXiv:2410.01201"
LOG_SPACE = "candidate=positive is the activation that the paper's log-space form needs; the recurrence is the same"


def positive(a: Symbol) -> Symbol:
    """An activation that stays above 0: a + 0.5 from 0 on, sigmoid(a) below. Feng's g."""
    return where(a < 0, sigmoid(a), a + 0.5)


@cell(
    title="minGRU",
    paper=FENG,
    convention="z = 1 takes the candidate: the opposite of PyTorch's GRU",
    differs=f"nothing; {LOG_SPACE}",
)
def mingru(x, h, W, b, *, candidate=identity):
    """A GRU without a reset gate, whose gate and candidate do not see the state."""
    z = sigmoid(W.z @ x + b.z)
    n = W.n @ x + b.n
    n = candidate(n)
    return (1 - z) * h + z * n


@cell(
    title="minLSTM",
    paper=FENG,
    convention="f keeps the old state and i takes the candidate, each as its share of f + i",
    differs=f"nothing; {LOG_SPACE}",
)
def minlstm(x, h, W, b, *, candidate=identity):
    """An LSTM without an output gate, whose gates and candidate do not see the state."""
    f = sigmoid(W.f @ x + b.f)
    i = sigmoid(W.i @ x + b.i)
    n = W.n @ x + b.n
    n = candidate(n)
    total = f + i
    return f / total * h + i / total * n


@cell(
    title="Simple recurrent unit (SRU)",
    paper="Lei, Zhang, Wang, Dai & Artzi 2018, Simple recurrent units for highly parallelizable recurrence, "
    "arXiv:1709.02755",
    convention="f = 1 keeps the old memory; r = 1 emits the memory, r = 0 the input",
    differs="no peepholes, as in the paper's first version: with them the memory cannot be scanned; the "
    "constant by which its second version scales the skipped input is left to W.skip",
)
def sru(x, h, c, W, b, p, *, peephole=False, output=identity, skip="matrix"):
    """A light recurrence under a highway connection; the output h is not fed back.

    - `peephole`: both gates see the old memory, unit by unit: the second version's v_f and v_r.
    - `output=tanh`: the memory is squashed before it leaves, as in the first version.
    - `skip`: "matrix" passes the input through W.skip, as the authors' code does where the sizes differ;
      "input" takes it as it is, and needs equal sizes; "none" leaves it out.

    Raises OptionError where `skip` is another word.
    """
    one_of("sru", {"skip": ("matrix", "input", "none")}, skip=skip)
    f = sigmoid(W.f @ x + p.f * c + b.f if peephole else W.f @ x + b.f)
    r = sigmoid(W.r @ x + p.r * c + b.r if peephole else W.r @ x + b.r)
    c = f * c + (1 - f) * (W.c @ x)
    h = r * output(c)
    if skip != "none":
        h = h + (1 - r) * (W.skip @ x if skip == "matrix" else relabel(x, like=c))
    return h, c


@cell(
    title="Quasi-recurrent network (QRNN)",
    paper="Bradbury, Merity, Xiong & Socher 2016, Quasi-recurrent neural networks, arXiv:1611.01576",
    convention="f = 1 keeps the old memory, as the paper prints it; its authors' code has the opposite",
    differs="the paper convolves a window of inputs: here the window is 1, so join several inputs to one x "
    "for more; the biases are the code's",
)
def qrnn(x, h, c, W, b, *, pool="fo"):
    """All that is learned sees only the input; what recurs is a gated mean. The output h is not fed back.

    `pool`: "f" has a forget gate, "fo" an output gate too, "ifo" also an input gate in place of 1 - f.

    Raises OptionError where `pool` is another word.
    """
    one_of("qrnn", {"pool": ("f", "fo", "ifo")}, pool=pool)
    z = tanh(W.z @ x + b.z)
    f = sigmoid(W.f @ x + b.f)
    i, o = 1 - f, 1.0
    if pool == "ifo":
        i = sigmoid(W.i @ x + b.i)
    c = f * c + i * z
    if pool != "f":
        o = sigmoid(W.o @ x + b.o)
    h = o * c
    return h, c


@cell(
    title="Hierarchically gated recurrent unit (HGRN)",
    paper="Qin, Yang & Zhong 2023, Hierarchically gated recurrent neural network for sequence modeling, "
    "NeurIPS, arXiv:2311.04823",
    convention="f = 1 keeps the old state",
    differs="real numbers where the paper has complex ones; the paper's output gate, norm and projection "
    "come after the recurrence and are left to the model; its bounds grow from layer to layer, here each "
    "layer's is its own",
)
def hgrn(x, h, W, b, p, *, lower_bound=0.0, learned_bound=False):
    """A forget gate that cannot fall below a bound, so that upper layers remember for longer.

    The bound is a number from 0, as in the paper's first layer, to 1; or it is learned: sigmoid(p.bound).
    """
    bound = sigmoid(p.bound) if learned_bound else lower_bound
    f = sigmoid(W.f @ x + b.f)
    if learned_bound or lower_bound:
        f = bound + (1 - bound) * f
    n = W.n @ x + b.n
    n = n * sigmoid(n)
    return f * h + (1 - f) * n


BALDUZZI = "Balduzzi & Ghifary 2016, Strongly-typed recurrent neural networks, ICML, arXiv:1602.02218"
V = {"V": ("hidden", "input")}
LAST_INPUT = "vz, vf and vo are what V makes of the input of the step before, 0 in the first"


@cell(
    title="Strongly-typed RNN (T-RNN)",
    paper=BALDUZZI,
    convention="f = 1 keeps the old state",
    differs="the bias b.z is not in the paper",
)
def trnn(x, h, W, b):
    """A gated mean of linear images of the inputs."""
    z = W.z @ x + b.z
    f = sigmoid(W.f @ x + b.f)
    return f * h + (1 - f) * z


@cell(
    title="Strongly-typed GRU (T-GRU)",
    paper=BALDUZZI,
    convention=f"f = 1 keeps the old state; {LAST_INPUT}",
    differs="nothing",
    spaces=V,
)
def tgru(x, h, vz, vf, vo, W, V, b):
    """A GRU whose gates and candidate see the last two inputs and no state."""
    z = vz + W.z @ x + b.z
    f = sigmoid(vf + W.f @ x + b.f)
    o = tanh(vo + W.o @ x + b.o)
    return f * h + z * o, V.z @ x, V.f @ x, V.o @ x


@cell(
    title="Strongly-typed LSTM (T-LSTM)",
    paper=BALDUZZI,
    convention=f"f = 1 keeps the old memory; {LAST_INPUT}",
    differs="nothing; the time-aware LSTM, also called T-LSTM, is another cell",
    spaces=V,
)
def tlstm(x, h, c, vz, vf, vo, W, V, b):
    """An LSTM whose gates and candidate see the last two inputs and no state. The output h is not fed back."""
    z = vz + W.z @ x + b.z
    f = sigmoid(vf + W.f @ x + b.f)
    o = tanh(vo + W.o @ x + b.o)
    c = f * c + (1 - f) * z
    h = c * o
    return h, c, V.z @ x, V.f @ x, V.o @ x
