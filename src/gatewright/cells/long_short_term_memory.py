"""The long short-term memory and its variants."""
# pyright: reportMissingParameterType=false

from gatewright.cells._parts import clip, one_of, plus
from gatewright.errors import OptionError
from gatewright.lang import Symbol, cell, relabel, sigmoid, tanh

__all__ = [
    "lstm",
    "lstm_full_gates",
    "lstm_peephole",
    "lstm_projected",
    "mclstm",
    "original_lstm",
    "residual_lstm",
    "reslstm",
    "wmclstm",
]

FORGET = (
    "f = 1 keeps the old memory; gates in PyTorch's order i, f, g, o "
    "(Keras the same; ONNX i, o, f, g; TensorFlow 1 i, g, f, o)"
)
GREFF = "Greff, Srivastava, Koutnik et al. 2015, LSTM: a search space odyssey, arXiv:1503.04069"


@cell(
    title="Long short-term memory (LSTM)",
    paper="Hochreiter & Schmidhuber 1997, Long short-term memory, Neural Computation 9(8); with the forget "
    "gate of Gers, Schmidhuber & Cummins 2000",
    convention=FORGET,
    differs="no peepholes, as in PyTorch, Keras and TensorFlow's BasicLSTMCell; Greff's variant NP",
)
def lstm(
    x, h, c, W, U, b, *, coupled=False, gate=sigmoid, candidate=tanh, output=tanh, forget_bias=0.0, cell_clip=0.0,
):  # fmt: skip
    """A memory that gates write, keep and read.

    - `forget_bias` is added in the equation at every step, as in TensorFlow 1's BasicLSTMCell (1.0), and is
      no parameter. To start b.f at 1 is another thing: see a layer's init.
    - `coupled` makes the forget gate 1 - i: what is kept and what is written sum to 1.
    - `cell_clip` cuts the memory off at that number and its negative at every step, as TensorFlow 1's option of
      that name does; 0 leaves it alone.
    """
    i = gate(W.i @ x + U.i @ h + b.i)
    f = 1 - i if coupled else gate(W.f @ x + U.f @ h + plus(b.f, forget_bias))
    g = candidate(W.g @ x + U.g @ h + b.g)
    o = gate(W.o @ x + U.o @ h + b.o)
    c = f * c + i * g
    c = clip(c, cell_clip)
    h = o * output(c)
    return h, c


@cell(
    title="LSTM with peepholes",
    paper=f"Gers & Schmidhuber 2000, Recurrent nets that time and count, IJCNN; {GREFF}",
    convention=FORGET,
    differs="nothing; Greff writes z for g, y for h; TensorFlow's coupled cell learns f and takes i = 1 - f",
)
def lstm_peephole(
    x, h, c, W, U, b, p, *, input_gate=True, forget_gate=True, output_gate=True, coupled=False,
    gate=sigmoid, candidate=tanh, output=tanh, forget_bias=0.0, cell_clip=0.0,
):  # fmt: skip
    """The gates also see the memory, each unit its own: i and f the old one, o the new one.

    The defaults are Greff's vanilla LSTM, and its variants are arguments: NIG `input_gate=False`,
    NFG `forget_gate=False`, NOG `output_gate=False`, NIAF `candidate=identity`, NOAF `output=identity`,
    CIFG `coupled=True` (f = 1 - i). NP is the cell `lstm`, FGR the cell `lstm_full_gates`. With `cell_clip`
    the output gate sees the clipped memory, as in TensorFlow 1.

    Raises OptionError where `coupled` is asked for without the gates that it couples.
    """
    if coupled and not (input_gate and forget_gate):
        raise OptionError(
            "cell 'lstm_peephole' has no two gates to couple",
            expected="coupled=True with an input gate and a forget gate",
            got=f"input_gate={input_gate}, forget_gate={forget_gate}",
            do="leave out coupled=True, or leave both gates in",
        )
    i = f = o = 1.0
    if input_gate:
        i = gate(W.i @ x + U.i @ h + p.i * c + b.i)
    if coupled:
        f = 1 - i
    elif forget_gate:
        f = gate(W.f @ x + U.f @ h + p.f * c + plus(b.f, forget_bias))
    g = candidate(W.g @ x + U.g @ h + b.g)
    c = f * c + i * g
    c = clip(c, cell_clip)
    if output_gate:
        o = gate(W.o @ x + U.o @ h + p.o * c + b.o)
    h = o * output(c)
    return h, c


@cell(
    title="LSTM with full gate recurrence (FGR)",
    paper=GREFF,
    convention=f"{FORGET}; R.fi takes what the forget gate was to the input gate, as the paper's R_fi does",
    differs="nothing; the peephole of the output gate sees the new memory, as in the paper's vanilla LSTM",
    spaces={"R": ("hidden", "hidden")},
)
def lstm_full_gates(x, h, c, i, f, o, W, U, b, p, R):
    """Every gate also sees what all three gates were at the step before: nine further matrices."""
    to_i = R.ii @ i + R.fi @ f + R.oi @ o
    to_f = R["if"] @ i + R.ff @ f + R.of @ o
    to_o = R.io @ i + R.fo @ f + R.oo @ o
    i = sigmoid(W.i @ x + U.i @ h + p.i * c + to_i + b.i)
    f = sigmoid(W.f @ x + U.f @ h + p.f * c + to_f + b.f)
    g = tanh(W.g @ x + U.g @ h + b.g)
    c = f * c + i * g
    o = sigmoid(W.o @ x + U.o @ h + p.o * c + to_o + b.o)
    h = o * tanh(c)
    return h, c, i, f, o


@cell(
    title="LSTM with a recurrent projection (LSTMP)",
    paper="Sak, Senior & Beaufays 2014, Long short-term memory based recurrent neural network architectures "
    "for large vocabulary speech recognition, arXiv:1402.1128",
    convention=f"{FORGET}; P.h is PyTorch's weight_hr, the axis projection its proj_size",
    differs="as in PyTorch, no peepholes unless they are asked for, and no second projection that does not recur",
    states={"h": "projection"},
    spaces={"U": ("hidden", "projection"), "P": ("projection", "hidden")},
)
def lstm_projected(
    x, h, c, W, U, b, P, p, *, peepholes=False, gate=sigmoid, candidate=tanh, output=tanh,
    forget_bias=0.0, cell_clip=0.0, proj_clip=0.0,
):  # fmt: skip
    """What leaves the memory, and comes back at the next step, is narrower than the memory.

    - `peepholes=True` is the paper's own: i and f see the old memory, o the new one.
    - `cell_clip` cuts off the memory and `proj_clip` what was projected, as in TensorFlow 1; 0 leaves them alone.
    """

    def peep(name, memory):
        return p[name] * memory + b[name] if peepholes else b[name]

    i = gate(W.i @ x + U.i @ h + peep("i", c))
    f = gate(W.f @ x + U.f @ h + plus(peep("f", c), forget_bias))
    g = candidate(W.g @ x + U.g @ h + b.g)
    c = f * c + i * g
    c = clip(c, cell_clip)
    o = gate(W.o @ x + U.o @ h + peep("o", c))
    h = P.h @ (o * output(c))
    return clip(h, proj_clip), c


def centred_logistic(a: Symbol) -> Symbol:
    """From -1 to 1: what the paper of 1997 squashes the memory with, its h."""
    return 2 * sigmoid(a) - 1


def wide_logistic(a: Symbol) -> Symbol:
    """From -2 to 2: what the paper of 1997 squashes the candidate with, its g."""
    return 4 * sigmoid(a) - 2


@cell(
    title="The LSTM of 1997, without a forget gate",
    paper="Hochreiter & Schmidhuber 1997, Long short-term memory, Neural Computation 9(8)",
    convention="nothing is forgotten: i adds to the memory, o lets it out; gates in the order i, g, o",
    differs="one memory cell in a block, and gates that see the outputs h but not other gates or memories, two of "
    "several wirings in the paper; candidate=tanh, output=tanh is torchrecurrent's OriginalLSTM",
)
def original_lstm(x, h, c, W, U, b, *, candidate=wide_logistic, output=centred_logistic):
    """A memory to which a gate adds, and which another gate reads."""
    i = sigmoid(W.i @ x + U.i @ h + b.i)
    g = candidate(W.g @ x + U.g @ h + b.g)
    o = sigmoid(W.o @ x + U.o @ h + b.o)
    c = c + i * g
    h = o * output(c)
    return h, c


@cell(
    title="LSTM with a memory controller (MC-LSTM)",
    paper="Ben-Ari & Shwartz-Ziv 2017, Sequence modeling using a memory controller extension for LSTM, NIPS Time "
    "Series Workshop",
    convention=f"{FORGET}; k, the controller's gate, comes last",
    differs="unknown: the equations are those of torchrecurrent's documentation, not read in the paper itself; the "
    "mass-conserving MC-LSTM (Hoedt et al. 2021, arXiv:2101.05186) is another cell, some of whose gates are matrices",
)
def mclstm(x, h, v, c, W, U, b):
    """An LSTM that emits h and feeds back v: what is told to the outside and what to itself have gates of their own."""
    i = sigmoid(W.i @ x + U.i @ v + b.i)
    f = sigmoid(W.f @ x + U.f @ v + b.f)
    g = tanh(W.g @ x + U.g @ v + b.g)
    o = sigmoid(W.o @ x + U.o @ v + b.o)
    k = sigmoid(W.k @ x + U.k @ v + b.k)
    c = f * c + i * g
    seen = tanh(c)
    return o * seen, k * seen, c


@cell(
    title="Residual LSTM",
    paper="Kim, El-Khamy & Lee 2017, Residual LSTM: design of a deep recurrent architecture for distant speech "
    "recognition, Interspeech, arXiv:1701.03360",
    convention=f"{FORGET}; P.h is the paper's W_p, W.skip its W_h",
    differs="nothing; the paper also lets the projection P.h be narrower, which a further LSTM layer does not need",
    spaces={"P": ("hidden", "hidden")},
)
def residual_lstm(x, h, c, W, U, b, p, P, *, shortcut="matrix"):
    """An LSTM with peepholes whose output gate lets the input pass too: a shortcut from layer to layer.

    `shortcut`: "matrix" passes the input through W.skip, as the paper does where the sizes differ; "input" takes it
    as it is, and needs equal sizes.

    Raises OptionError where `shortcut` is another word.
    """
    one_of("residual_lstm", {"shortcut": ("matrix", "input")}, shortcut=shortcut)
    i = sigmoid(W.i @ x + U.i @ h + p.i * c + b.i)
    f = sigmoid(W.f @ x + U.f @ h + p.f * c + b.f)
    g = tanh(W.g @ x + U.g @ h + b.g)
    c = f * c + i * g
    o = sigmoid(W.o @ x + U.o @ h + p.o * c + b.o)
    passed = W.skip @ x if shortcut == "matrix" else relabel(x, like=h)
    h = o * (P.h @ tanh(c) + passed)
    return h, c


reslstm = residual_lstm


@cell(
    title="LSTM with working memory connections (LSTM-WM)",
    paper="Landi, Baraldi, Cornia & Cucchiara 2021, Working memory connections for LSTM, Neural Networks 144, "
    "arXiv:2109.00020",
    convention=f"{FORGET}; M.mi, M.mf and M.mo are the paper's matrices on the memory, W_ic, W_fc and W_oc",
    differs="nothing; memory_bias=True adds the biases under the tanh, b.mi, b.mf and b.mo, that torchrecurrent has",
    spaces={"M": ("hidden", "hidden")},
)
def wmclstm(x, h, c, W, U, b, M, *, memory_bias=False):
    """Peepholes with a matrix and a tanh: every gate sees the whole memory, squashed."""

    def working(name, memory):
        return tanh(M[name] @ memory + b[name] if memory_bias else M[name] @ memory)

    i = sigmoid(W.i @ x + U.i @ h + working("mi", c) + b.i)
    f = sigmoid(W.f @ x + U.f @ h + working("mf", c) + b.f)
    g = tanh(W.g @ x + U.g @ h + b.g)
    c = f * c + i * g
    o = sigmoid(W.o @ x + U.o @ h + working("mo", c) + b.o)
    h = o * tanh(c)
    return h, c
