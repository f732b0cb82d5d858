"""The rules of Triton: for each elementwise op the expression that computes it, and the functions that it calls."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from gatewright.backends.expressions import (
    CodeExpression,
    CodePrecedence,
    WriteExpression,
    infix,
    negative,
    unchanged,
)
from gatewright.lang.ops import Op

Attributes = Mapping[str, float | str]
Rule = Callable[[Sequence[CodeExpression], Attributes], CodeExpression]


def _called(function: str) -> Rule:
    return lambda args, attributes: CodeExpression(f"{function}({', '.join(arg.text for arg in args)})")


def _plain(write: WriteExpression) -> Rule:
    """A rule that no attribute matters to."""
    return lambda args, attributes: write(args)


def _less(args: Sequence[CodeExpression], attributes: Attributes) -> CodeExpression:
    left, right = (arg.within(CodePrecedence.SUM) for arg in args)
    return CodeExpression(f"tl.where({left} < {right}, 1.0, 0.0)")


def _where(args: Sequence[CodeExpression], attributes: Attributes) -> CodeExpression:
    condition, yes, no = args
    return CodeExpression(f"tl.where({condition.within(CodePrecedence.SUM)} != 0.0, {yes.text}, {no.text})")


def _hard_sigmoid(args: Sequence[CodeExpression], attributes: Attributes) -> CodeExpression:
    slope = float(attributes["slope"])
    return CodeExpression(f"hard_sigmoid({args[0].text}, {slope!r})")


RULES: Mapping[Op, Rule] = {
    Op.NEG: _plain(negative),
    Op.ABS: _called("tl.abs"),
    Op.SIGN: _called("sign"),
    Op.EXP: _called("tl.exp"),
    Op.LOG: _called("tl.log"),
    Op.SQRT: _called("tl.sqrt"),
    Op.SIGMOID: _called("sigmoid"),
    Op.TANH: _called("tanh"),
    Op.RELU: _called("relu"),
    Op.HARD_SIGMOID: _hard_sigmoid,
    Op.SOFTPLUS: _called("softplus"),
    Op.ADD: _plain(infix("+", CodePrecedence.SUM)),
    Op.SUB: _plain(infix("-", CodePrecedence.SUM)),
    Op.MUL: _plain(infix("*", CodePrecedence.PRODUCT)),
    Op.DIV: _plain(infix("/", CodePrecedence.PRODUCT)),
    Op.MAXIMUM: _called("maximum"),
    Op.MINIMUM: _called("minimum"),
    Op.LESS: _less,
    Op.WHERE: _where,
    Op.EXPAND: _plain(unchanged),  # a scalar of a row is a column of one lane, which broadcasts
    Op.RELABEL: _plain(unchanged),
}
"""Products and reductions are no expressions of elements: the writer has them. Ops on matrices are never in a stage."""


@dataclass(frozen=True, slots=True)
class TritonFunction:
    """A function of the text that a kernel calls, and the functions that it calls itself."""

    text: str
    calls: tuple[str, ...] = ()


# tl.exp and the operator / are right for denormal numbers too, which takes about ten instructions more around each. No
# sigmoid needs that: with exp2 and this quotient a step of a GRU has 487 instructions instead of 623 (sm_90, H = 64).
_QUOTIENT = '''
@triton.jit
def quotient(a, b):
    """a / b to 2 units in the last place, for b from 1 up; 0 where b is above 2**126."""
    if INTERPRETED:
        return a / b
    else:
        return libdevice.fast_dividef(a, b)
'''

_SIGMOID = '''
@triton.jit
def sigmoid(x):
    """1 / (1 + exp(-x))."""
    return quotient(1.0, 1.0 + tl.exp2(-1.4426950408889634 * x))
'''

# 1 - 2 / (exp(2 |x|) + 1) cancels near 0, so small arguments have a polynomial: the best one of its degree in relative
# terms up to 0.55, where it is right to 0.6 units in the last place. libdevice.tanh takes as many instructions.
_TANH = '''
@triton.jit
def tanh(x):
    """The hyperbolic tangent, as accurate near 0 as elsewhere."""
    square = x * x
    if x.dtype == tl.float64:
        small = x / (1 + square / (3 + square / (5 + square / (7 + square / (9 + square / (11 + square / 13))))))
    else:
        small = 0.01643758 * square - 0.05267181
        small = small * square + 0.13320725
        small = small * square - 0.33332947
        small = small * square * x + x
    large = 1.0 - quotient(2.0, tl.exp2(2.8853900817779268 * tl.abs(x)) + 1.0)
    return tl.where(tl.abs(x) < 0.55, small, tl.where(x < 0.0, -large, large))
'''

# log(1 + u) by the logarithm of a sum that is rounded would lose all digits of a small u.
_SOFTPLUS = '''
@triton.jit
def softplus(x):
    """log(1 + exp(x)): log(1 + u) is 2 artanh(u / (2 + u)), here with u = exp(-|x|)."""
    u = tl.exp(-tl.abs(x))
    part = u / (2.0 + u)
    square = part * part
    if x.dtype == tl.float64:
        series = square * 0.0
        for term in tl.static_range(17):
            series = (series + 1.0 / (35 - 2 * term)) * square
    else:
        series = 0.14005994 * square + 0.14000903
        series = series * square + 0.20010764
        series = (series * square + 0.33333208) * square
    return maximum(x, 0.0) + 2.0 * part * (1.0 + series)
'''

_SIGN = '''
@triton.jit
def sign(x):
    """-1, 0 or 1; NaN stays."""
    return tl.where(x > 0.0, 1.0, tl.where(x < 0.0, -1.0, x))
'''

_MAXIMUM = '''
@triton.jit
def maximum(a, b):
    """The larger of two numbers; NaN stays."""
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)
'''

_MINIMUM = '''
@triton.jit
def minimum(a, b):
    """The smaller of two numbers; NaN stays."""
    return tl.minimum(a, b, propagate_nan=tl.PropagateNan.ALL)
'''

_RELU = '''
@triton.jit
def relu(x):
    """x where it is above 0, else 0."""
    return maximum(x, 0.0)
'''

_HARD_SIGMOID = '''
@triton.jit
def hard_sigmoid(x, slope: tl.constexpr):
    """A sigmoid of three straight lines."""
    return minimum(maximum(slope * x + 0.5, 0.0), 1.0)
'''

# Triton's interpreter cuts off what becomes bfloat16, and knows no denormal numbers of it: there they stay float32.
_ROUNDED = '''
@triton.jit
def rounded(x, BITS: tl.constexpr, TIES: tl.constexpr):
    """float32 numbers rounded to BITS bits fewer, with ties "even" or "away" from 0; without TIES they are cut off."""
    bits = x.to(tl.uint32, bitcast=True)
    if TIES == "even":
        bits += (1 << (BITS - 1)) - 1 + ((bits >> BITS) & 1)
    elif TIES == "away":
        bits += 1 << (BITS - 1)
    return tl.where(x == x, ((bits >> BITS) << BITS).to(tl.float32, bitcast=True), x)
'''

# Tensor cores ignore the last 13 bits of a float32 number. Cut off without half a unit before, numbers would be off by
# twice as much, all in one direction. There is an instruction for it, cvt.rna, but it came out as 32 instructions in
# place of 24: Triton moved it behind the step that gives all numbers to all warps.
_NARROWED = '''
@triton.jit
def narrowed(x, D: tl.constexpr, P: tl.constexpr, EMULATED: tl.constexpr):
    """Numbers rounded as operands of products are: to D, or to tf32, of which the last 13 bits do not count."""
    if P == "tf32":
        half = x.to(tl.uint32, bitcast=True) + 0x1000
        return tl.where(tl.abs(x) < float("inf"), half.to(tl.float32, bitcast=True), x)
    elif EMULATED and D == tl.bfloat16:
        return rounded(x.to(tl.float32), 16, "even")
    else:
        return x.to(D)
'''

# Triton's interpreter multiplies bfloat16 wrongly, and knows no tf32. Numbers that are multiplied in float32 have the
# same product: that of two narrowed numbers is exact there. In tf32x3 Triton rounds the larger part of a number alone;
# products of rests that are NaN, as those of infinite numbers are, count as 0.
_EMULATED_PRODUCT = '''
@triton.jit
def emulated_product(a, b, A: tl.constexpr, P: tl.constexpr):
    """a @ b as tensor cores multiply, for Triton's interpreter."""
    rest = 0.0
    if P == "tf32":
        a, b = rounded(a, 13, None), rounded(b, 13, None)
    elif P == "tf32x3":
        most_a, most_b = rounded(a, 13, "away"), rounded(b, 13, "away")
        rest = tl.dot(rounded(a - most_a, 13, None), most_b, input_precision="ieee", out_dtype=A)
        rest += tl.dot(most_a, rounded(b - most_b, 13, None), input_precision="ieee", out_dtype=A)
        a, b, rest = most_a, most_b, tl.where(rest == rest, rest, 0.0)
    else:
        a, b = a.to(A), b.to(A)
    return rest + tl.dot(a, b, input_precision="ieee", out_dtype=A)
'''

_PRODUCT = '''
@triton.jit
def product(vectors, matrix, total, A: tl.constexpr, D: tl.constexpr, P: tl.constexpr, EMULATED: tl.constexpr):
    """total + vectors @ matrix. The matrix is narrowed already, the vectors are here; the sums are of type A."""
    vectors = narrowed(vectors, D, P, EMULATED)
    if EMULATED:
        return total + emulated_product(vectors, matrix, A, P)
    else:
        return tl.dot(vectors, matrix, total, input_precision=P, out_dtype=A)
'''

# The same as `philox` in gatewright.backends.triton.random_values. A product of 64 bits is one instruction on a GPU.
_BERNOULLI = '''
@triton.jit
def bernoulli(seeds, units, LIMIT: tl.constexpr, A: tl.constexpr):
    """1 with the probability LIMIT / 2**32, else 0, for every seed and unit, by Philox-2x32-10."""
    key = (seeds >> 32).to(tl.uint32)
    counter, other = tl.broadcast(units.to(tl.uint32), seeds.to(tl.uint32))
    for _ in tl.static_range(10):
        wide = counter.to(tl.uint64) * 0xD256D193
        counter = (wide >> 32).to(tl.uint32) ^ key ^ other
        other = wide.to(tl.uint32)
        key += 0x9E3779B9
    return tl.where(counter.to(tl.int64) < LIMIT, 1.0, 0.0).to(A)
'''

FUNCTIONS: Mapping[str, TritonFunction] = {
    "maximum": TritonFunction(_MAXIMUM),
    "minimum": TritonFunction(_MINIMUM),
    "sign": TritonFunction(_SIGN),
    "quotient": TritonFunction(_QUOTIENT),
    "sigmoid": TritonFunction(_SIGMOID, ("quotient",)),
    "tanh": TritonFunction(_TANH, ("quotient",)),
    "relu": TritonFunction(_RELU, ("maximum",)),
    "softplus": TritonFunction(_SOFTPLUS, ("maximum",)),
    "hard_sigmoid": TritonFunction(_HARD_SIGMOID, ("maximum", "minimum")),
    "rounded": TritonFunction(_ROUNDED),
    "narrowed": TritonFunction(_NARROWED, ("rounded",)),
    "emulated_product": TritonFunction(_EMULATED_PRODUCT, ("rounded",)),
    "product": TritonFunction(_PRODUCT, ("rounded", "narrowed", "emulated_product")),
    "bernoulli": TritonFunction(_BERNOULLI),
}
"""The functions that expressions call, by name."""

_CALLS: Mapping[Op, str] = {
    Op.MAXIMUM: "maximum",
    Op.MINIMUM: "minimum",
    Op.SIGN: "sign",
    Op.SIGMOID: "sigmoid",
    Op.TANH: "tanh",
    Op.RELU: "relu",
    Op.SOFTPLUS: "softplus",
    Op.HARD_SIGMOID: "hard_sigmoid",
}


def called_functions(ops: Iterable[Op]) -> set[str]:
    """The names of the functions that the expressions of these ops call."""
    return {_CALLS[op] for op in ops if op in _CALLS}


def function_texts(names: Iterable[str]) -> str:
    """The text of functions and of all that they call, each after what it calls."""
    wanted = set(names)
    wanted |= {called for name in wanted for called in FUNCTIONS[name].calls}
    return "\n".join(function.text for name, function in FUNCTIONS.items() if name in wanted)
