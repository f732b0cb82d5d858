"""The long short-term memory and its variants."""
# pyright: reportMissingParameterType=false

from gatewright.cells._parts import clip, plus
from gatewright.errors import OptionError
from gatewright.lang import cell, sigmoid, tanh

__all__ = ["lstm", "lstm_full_gates", "lstm_peephole", "lstm_projected"]

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
