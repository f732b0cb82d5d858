"""The functions that a cell's equations may use.

A literal 0 in the equations means that nothing flows: `0 * a` is 0 in compiled code even where `a` is infinite or NaN.
"""

from gatewright.errors import CellError, OptionError
from gatewright.lang.ops import AttrValue, Op, axes_attrs
from gatewright.lang.symbol import Operand, Redraw, Symbol

THEANO_SLOPE = 0.2
KERAS3_SLOPE = 1 / 6


def _emit(op: Op, *args: Operand, **attrs: AttrValue) -> Symbol:
    for arg in args:
        if isinstance(arg, Symbol):
            return arg.recorder.emit(op, args, tuple(sorted(attrs.items())))
    kinds = ", ".join(type(arg).__name__ for arg in args)
    raise CellError(
        f"gw.{op} was called outside a cell's equations",
        expected="at least one symbol: an input, a state, a parameter, or something made of them",
        got=kinds,
        do="use NumPy's or math's function on numbers; gw's functions are for the equations of a @gw.cell",
    )


def sigmoid(a: Operand) -> Symbol:
    """1 / (1 + exp(-a)), from 0 to 1."""
    return _emit(Op.SIGMOID, a)


def tanh(a: Operand) -> Symbol:
    """The hyperbolic tangent, from -1 to 1."""
    return _emit(Op.TANH, a)


def relu(a: Operand) -> Symbol:
    """maximum(a, 0); its derivative at 0 is 0, as in PyTorch."""
    return _emit(Op.RELU, a)


def hard_sigmoid(a: Operand, slope: float = KERAS3_SLOPE) -> Symbol:
    """A sigmoid of three straight pieces: `slope * a + 0.5`, cut off at 0 and 1.

    The slope is 1/6 in PyTorch and Keras 3, and 0.2 in Theano, Keras 1 and 2 and as ONNX's default. The two are
    different functions: weights trained with one are wrong with the other.
    """
    return _emit(Op.HARD_SIGMOID, a, slope=float(slope))


def hard_sigmoid_theano(a: Operand) -> Symbol:
    """hard_sigmoid of slope 0.2: Theano, Keras 1 and 2, ONNX's default."""
    return hard_sigmoid(a, THEANO_SLOPE)


def hard_sigmoid_keras3(a: Operand) -> Symbol:
    """hard_sigmoid of slope 1/6: PyTorch and Keras 3."""
    return hard_sigmoid(a, KERAS3_SLOPE)


def softplus(a: Operand) -> Symbol:
    """log(1 + exp(a)), computed without overflow."""
    return _emit(Op.SOFTPLUS, a)


def softsign(a: Operand) -> Symbol:
    """From -1 to 1 as tanh is, and far slower to come near them: a / (1 + |a|)."""
    return a / (1 + abs(a))


def exp(a: Operand) -> Symbol:
    """e**a."""
    return _emit(Op.EXP, a)


def log(a: Operand) -> Symbol:
    """The natural logarithm."""
    return _emit(Op.LOG, a)


def sqrt(a: Operand) -> Symbol:
    """The square root."""
    return _emit(Op.SQRT, a)


def abs(a: Operand) -> Symbol:
    """|a|; its derivative at 0 is 0."""
    return _emit(Op.ABS, a)


def sign(a: Operand) -> Symbol:
    """-1, 0 or 1; its derivative is 0."""
    return _emit(Op.SIGN, a)


def maximum(a: Operand, b: Operand) -> Symbol:
    """The larger of the two; where they are equal, each takes half of the derivative, as in PyTorch."""
    return _emit(Op.MAXIMUM, a, b)


def minimum(a: Operand, b: Operand) -> Symbol:
    """The smaller of the two; where they are equal, each takes half of the derivative, as in PyTorch."""
    return _emit(Op.MINIMUM, a, b)


def less(a: Operand, b: Operand) -> Symbol:
    """1 where a < b, else 0. Also written `a < b`."""
    return _emit(Op.LESS, a, b)


def where(condition: Operand, a: Operand, b: Operand) -> Symbol:
    """A where the condition is not 0, else b. No derivative flows into the condition."""
    return _emit(Op.WHERE, condition, a, b)


def sum(a: Operand) -> Symbol:
    """The sum over all features: a scalar, which broadcasts back over a vector."""
    return _emit(Op.SUM, a)


def mean(a: Operand) -> Symbol:
    """The mean over all features: a scalar, which broadcasts back over a vector."""
    return _emit(Op.MEAN, a)


def size(a: Symbol) -> Symbol:
    """The number of features of `a`, as a scalar."""
    return a.recorder.emit(Op.SIZE, (), axes_attrs(a.shape))


def relabel(a: Symbol, like: Symbol) -> Symbol:
    """Use vector `a` where a vector of `like`'s axis is expected; the two sizes must be the same when sizes are
    bound."""
    return _emit(Op.RELABEL, a, axes=",".join(like.shape))


def bernoulli(probability: float, like: Symbol, per: str = "step") -> Symbol:
    """A random mask of `like`'s shape: 1 with the given probability, else 0. In evaluation it is its mean.

    `per="step"` draws anew at every step, `per="sequence"` once for the whole sequence. Every row draws its own.

    Raises OptionError where the probability is not from 0 to 1 or `per` is another word.
    """
    if not 0 <= probability <= 1:
        raise OptionError(
            "gw.bernoulli has a probability that is not one", expected="from 0 to 1", got=repr(probability)
        )
    if per not in list(Redraw):
        raise OptionError("gw.bernoulli cannot draw so", expected='per="step" or per="sequence"', got=f"per={per!r}")
    return like.recorder.noise(float(probability), like.shape, Redraw(per))
