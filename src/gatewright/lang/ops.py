"""The closed vocabulary: one enum member and one table row for each operation.

Adding an op fails tests until the reference, the derivative and every backend have a rule or a decomposition for it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from gatewright.axes import Shape, show_shape

AttrValue = float | str
Attrs = tuple[tuple[str, AttrValue], ...]
"""The fixed arguments of one use of an op, sorted by name: (("slope", 0.2),)."""


class Op(StrEnum):
    """The name of an operation; its value is its spelling in the text form of a Trace."""

    NEG = "neg"
    ABS = "abs"
    SIGN = "sign"
    EXP = "exp"
    LOG = "log"
    SQRT = "sqrt"
    SIGMOID = "sigmoid"
    TANH = "tanh"
    RELU = "relu"
    HARD_SIGMOID = "hard_sigmoid"
    SOFTPLUS = "softplus"
    ADD = "add"
    SUB = "sub"
    MUL = "mul"
    DIV = "div"
    MAXIMUM = "maximum"
    MINIMUM = "minimum"
    LESS = "less"
    WHERE = "where"
    MATMUL = "matmul"
    TRANSPOSE = "transpose"
    OUTER = "outer"
    SUM = "sum"
    MEAN = "mean"
    EXPAND = "expand"
    SIZE = "size"
    RELABEL = "relabel"


class UnfitShapesError(Exception):
    """Two shapes that an op cannot combine. Inner: the tracer and the checker add the cell and the line."""

    def __init__(self, expected: str, do: str) -> None:
        super().__init__(expected)
        self.expected = expected
        self.do = do


ShapeRule = Callable[[tuple[Shape, ...], Mapping[str, AttrValue]], Shape]


@dataclass(frozen=True, slots=True)
class OpRow:
    """What the checker must know of an op, and its meaning in one line for one row's value."""

    arity: int
    shape: ShapeRule
    meaning: str
    attrs: tuple[str, ...] = ()
    activation: bool = False  # a squashing nonlinearity of one argument: what makes a pre-activation a gate


def _elementwise(shapes: tuple[Shape, ...], attrs: Mapping[str, AttrValue]) -> Shape:
    """Scalars broadcast against anything; otherwise the axes must be the same."""
    wide = [shape for shape in shapes if shape]
    if any(shape != wide[0] for shape in wide):
        raise UnfitShapesError(
            "operands of one shape, or scalars",
            "multiply by a matrix (U.g @ h) to change an axis, "
            "or gw.relabel(x, like=h) where the two sizes are the same",
        )
    return wide[0] if wide else ()


def _matmul(shapes: tuple[Shape, ...], attrs: Mapping[str, AttrValue]) -> Shape:
    matrix, vector = shapes
    if len(matrix) != 2 or len(vector) != 1:
        raise UnfitShapesError(
            "a matrix @ a vector", "write W.g @ x with the matrix on the left; use * for elementwise products"
        )
    if matrix[1] != vector[0]:
        raise UnfitShapesError(
            f"a vector of shape {show_shape(matrix[1:])}, to fit a matrix of shape {show_shape(matrix)}",
            "W acts on the input and U on a hidden state; "
            "declare another space with @gw.cell(spaces={...}) for other axes",
        )
    return matrix[:1]


def _transpose(shapes: tuple[Shape, ...], attrs: Mapping[str, AttrValue]) -> Shape:
    if len(shapes[0]) != 2:
        raise UnfitShapesError("a matrix", "only a matrix can be transposed")
    return shapes[0][::-1]


def _outer(shapes: tuple[Shape, ...], attrs: Mapping[str, AttrValue]) -> Shape:
    if any(len(shape) != 1 for shape in shapes):
        raise UnfitShapesError("two vectors", "the outer product is of two vectors")
    return shapes[0] + shapes[1]


def _scalar(shapes: tuple[Shape, ...], attrs: Mapping[str, AttrValue]) -> Shape:
    return ()


def _expand(shapes: tuple[Shape, ...], attrs: Mapping[str, AttrValue]) -> Shape:
    if shapes[0]:
        raise UnfitShapesError("a scalar", "only a scalar can be expanded")
    return axes_of(attrs)


def _relabel(shapes: tuple[Shape, ...], attrs: Mapping[str, AttrValue]) -> Shape:
    axes = axes_of(attrs)
    if len(shapes[0]) != 1 or len(axes) != 1:
        raise UnfitShapesError("a vector", "only a vector can be relabelled, like another vector")
    return axes


def parse_axes(text: str) -> Shape:
    """The shape that an `axes` attribute spells: "hidden,input"."""
    return tuple(text.split(",")) if text else ()


def axes_of(attrs: Attrs | Mapping[str, AttrValue]) -> Shape:
    """The shape that the attributes of an op hold under `axes`."""
    return parse_axes(str(dict(attrs)["axes"]))


def axes_attrs(shape: Shape) -> Attrs:
    """The attributes of an op that takes `axes`."""
    return (("axes", ",".join(shape)),)


def _unary(meaning: str, *attrs: str, activation: bool = False) -> OpRow:
    return OpRow(1, _elementwise, meaning, attrs, activation)


OPS: Mapping[Op, OpRow] = {
    Op.NEG: _unary("-a"),
    Op.ABS: _unary("|a|"),
    Op.SIGN: _unary("-1, 0 or 1"),
    Op.EXP: _unary("e**a", activation=True),
    Op.LOG: _unary("the natural logarithm of a"),
    Op.SQRT: _unary("the square root of a"),
    Op.SIGMOID: _unary("1 / (1 + exp(-a))", activation=True),
    Op.TANH: _unary("(exp(a) - exp(-a)) / (exp(a) + exp(-a))", activation=True),
    Op.RELU: _unary("maximum(a, 0)", activation=True),
    Op.HARD_SIGMOID: _unary("minimum(maximum(slope * a + 0.5, 0), 1)", "slope", activation=True),
    Op.SOFTPLUS: _unary("log(1 + exp(a))", activation=True),
    Op.ADD: OpRow(2, _elementwise, "a + b"),
    Op.SUB: OpRow(2, _elementwise, "a - b"),
    Op.MUL: OpRow(2, _elementwise, "a * b"),
    Op.DIV: OpRow(2, _elementwise, "a / b"),
    Op.MAXIMUM: OpRow(2, _elementwise, "the larger of a and b"),
    Op.MINIMUM: OpRow(2, _elementwise, "the smaller of a and b"),
    Op.LESS: OpRow(2, _elementwise, "1 where a < b, else 0"),
    Op.WHERE: OpRow(3, _elementwise, "b where a is not 0, else c"),
    Op.MATMUL: OpRow(2, _matmul, "the product of a matrix and a vector"),
    Op.TRANSPOSE: OpRow(1, _transpose, "a matrix with its axes exchanged"),
    Op.OUTER: OpRow(2, _outer, "the matrix of all products a[i] * b[j]"),
    Op.SUM: OpRow(1, _scalar, "the sum over all features"),
    Op.MEAN: OpRow(1, _scalar, "the mean over all features"),
    Op.EXPAND: OpRow(1, _expand, "a scalar repeated along axes", ("axes",)),
    Op.SIZE: OpRow(0, _scalar, "the number of features along axes", ("axes",)),
    Op.RELABEL: OpRow(1, _relabel, "a vector whose axis has another name and the same size", ("axes",)),
}

ACTIVATIONS: frozenset[Op] = frozenset(op for op, row in OPS.items() if row.activation)

SUMS: frozenset[Op] = frozenset({Op.ADD, Op.SUB, Op.NEG})
"""Ops that a sum of terms is made of."""

ELEMENTWISE: frozenset[Op] = frozenset(op for op, row in OPS.items() if row.shape is _elementwise)
"""Ops that work on each element by itself: an operand may be a scalar, which stands for all elements."""


def result_shape(op: Op, shapes: tuple[Shape, ...], attrs: Attrs) -> Shape:
    """The shape that `op` gives.

    Raises UnfitShapesError where the operands do not fit.
    """
    return OPS[op].shape(shapes, dict(attrs))
