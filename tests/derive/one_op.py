"""Small cells that use one op each, in every way in which its operands can be broadcast."""

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

from gatewright import lang as gw
from gatewright.lang import Cell, Op, Symbol, cell

Build = Callable[[SimpleNamespace], Symbol]


def outer(a: Symbol, b: Symbol) -> Symbol:
    return a.recorder.emit(Op.OUTER, (a, b))


def expand(a: Symbol | float, like: Symbol) -> Symbol:
    return like.recorder.emit(Op.EXPAND, (a,), (("axes", ",".join(like.shape)),))


@dataclass(frozen=True)
class Case:
    """A value made by one op out of o.v and o.w (vectors), o.s and o.t (scalars), o.m and o.n (matrices)."""

    op: Op
    text: str
    build: Build

    @property
    def cell(self) -> Cell:
        build = self.build

        @cell(spaces={"a": ()}, name=self.text)
        def one_op(x, h, W, U, b, a):
            v, w = W.v @ x + U.v @ h + b.v, W.w @ x + U.w @ h + b.w
            s, t = a.s + gw.mean(h), a.t * gw.mean(x)
            m, n = outer(h, x) + W.m, outer(v, x) + W.n
            value = build(SimpleNamespace(x=x, h=h, v=v, w=w, s=s, t=t, m=m, n=n, U=U))
            if len(value.shape) == 2:
                value = value @ x if value.shape == m.shape else value.T @ x
            elif value.shape == ("input",):
                value = W.out @ value
            return gw.tanh(value if value.shape else value * v)

        return one_op


# What an operand may be beside a vector: itself a vector, a scalar on either side, a number on either side, and so on.
PAIRS = ("v w", "v s", "s v", "s t", "v 0.7", "0.7 v", "s 0.7", "m n", "m s", "s m", "m 0.7", "v v", "h h")
BINARY = {
    Op.ADD: "{} + {}",
    Op.SUB: "{} - {}",
    Op.MUL: "{} * {}",
    Op.DIV: "{0} / (1.5 + {1} * {1})",
    Op.MAXIMUM: "gw.maximum({}, {})",
    Op.MINIMUM: "gw.minimum({}, {})",
    Op.LESS: "gw.less({0}, {1}) * {0}",
}
UNARY = {
    Op.NEG: "-{}",
    Op.ABS: "gw.abs({})",
    Op.SIGN: "gw.sign({0}) * {0}",
    Op.EXP: "gw.exp({})",
    Op.LOG: "gw.log(1.5 + {0} * {0})",
    Op.SQRT: "gw.sqrt(1.5 + {0} * {0})",
    Op.SIGMOID: "gw.sigmoid({})",
    Op.TANH: "gw.tanh({})",
    Op.RELU: "gw.relu({})",
    Op.HARD_SIGMOID: "gw.hard_sigmoid(3 * {})",
    Op.SOFTPLUS: "gw.softplus({})",
}
OTHERS = {
    Op.WHERE: (
        *(
            f"gw.where(o.v < o.w, {a}, {b})"
            for a, b in (("o.v", "o.w"), ("o.s", "o.w"), ("0.5", "o.w"), ("o.v", "o.t"))
        ),
        "gw.where(o.s < o.t, o.v, o.w)",
        "gw.where(o.v < o.w, o.s, o.t)",
        "gw.where(o.s < 0.1, o.m, o.n)",
        "gw.where(o.v, o.w, o.s)",
    ),
    Op.MATMUL: ("o.U.r @ o.v", "o.m @ o.x", "o.m.T @ o.v", "(o.s * o.m) @ o.x"),
    Op.TRANSPOSE: ("o.U.r.T @ o.v", "o.m.T.T", "(o.m + o.n).T @ o.h"),
    Op.OUTER: ("outer(o.v, o.x)", "outer(o.x, o.v).T", "outer(o.v, o.v) @ o.w"),
    Op.SUM: ("gw.sum(o.v)", "gw.sum(o.s)", "gw.sum(o.m)", "gw.sum(o.v * o.w) + o.v"),
    Op.MEAN: ("gw.mean(o.v)", "gw.mean(o.s)", "gw.mean(o.m)", "o.v - gw.mean(o.v)"),
    Op.EXPAND: ("expand(o.s, o.v) * o.v", "expand(o.s, o.m) * o.m", "expand(0.5, o.v) * o.v"),
    Op.SIZE: ("gw.size(o.v) * o.v", "o.v / gw.size(o.m)"),
    Op.RELABEL: ("gw.relabel(o.x, like=o.v) * o.v", "gw.relabel(o.v, like=o.x)"),
}


def _case(op: Op, text: str) -> Case:
    return Case(op, text, eval(f"lambda o: {text}", {"gw": gw, "outer": outer, "expand": expand}))


def _operand(word: str) -> str:
    return f"o.{word}" if word.isalpha() else word


CASES = [
    *(_case(op, text.format(*map(_operand, pair.split()))) for op, text in BINARY.items() for pair in PAIRS),
    *(_case(op, text.format(f"o.{name}")) for op, text in UNARY.items() for name in "vsm"),
    *(_case(op, text) for op, texts in OTHERS.items() for text in texts),
]
