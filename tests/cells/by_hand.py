"""Every cell of the catalogue once more, in NumPy and in the notation of its paper, for batches of rows.

Nothing here reads the package: these are the numbers that the catalogue is held to. Where an equation can be
written in two ways, this is the other one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

Array = np.ndarray
Parameters = Mapping[str, Array]
Step = Callable[..., tuple[Array, ...]]


def sigma(a: Array) -> Array:
    return 0.5 * (1 + np.tanh(a / 2))


def relu(a: Array) -> Array:
    return a * (a > 0)


def hard(slope: float) -> Callable[[Array], Array]:
    return lambda a: np.minimum(1, np.maximum(0, slope * a + 0.5))


def same(a: Array) -> Array:
    return a


def soft(a: Array) -> Array:
    return np.sign(a) * (1 - 1 / (1 + np.abs(a)))


def above_zero(a: Array) -> Array:
    return np.maximum(a, 0) + np.minimum(sigma(a), 0.5)


@dataclass
class Pre:
    """The sums that gates squash: pre("r") is x W_r' + h U_r' + b_r."""

    P: Parameters
    x: Array
    h: Array | None = None

    def __call__(self, gate: str) -> Array:
        total = self.x @ self.P[f"W.{gate}"].T
        if self.h is not None:
            total = total + self.h @ self.P[f"U.{gate}"].T
        return total + self.P.get(f"b.{gate}", 0)


def elman(P, x, h, f=np.tanh):
    return (f(Pre(P, x, h)("h")),)


def antisymmetric(P, x, h, epsilon=0.01, gamma=0.01, gated=False):
    M = P["U.h"] - P["U.h"].T - gamma * np.eye(h.shape[1])
    move = np.tanh(h @ M.T + Pre(P, x)("h"))
    gate = sigma(h @ M.T + Pre(P, x)("z")) if gated else 1
    return (h + epsilon * gate * move,)


def gru(P, x, h, reset="before", own_bias=True, keeps=True, gate=sigma, f=np.tanh):
    pre, xs = Pre(P, x, h), x @ P["W.n"].T
    r, z = gate(pre("r")), gate(pre("z"))
    if reset == "before":
        n = f(xs + (r * h) @ P["U.n"].T + P["b.n"])
    else:
        n = f(xs + P["b.n"] + r * (h @ P["U.n"].T + (P["b.hn"] if own_bias else 0)))
    return (n + z * (h - n) if keeps else h + z * (n - h),)


def gru_reset_only(P, x, h):
    r = sigma(Pre(P, x, h)("r"))
    return (np.tanh(Pre(P, x, r * h)("n")),)


def gru_update_only(P, x, h, f=np.tanh, gate=sigma):
    pre = Pre(P, x, h)
    n = f(pre("n"))
    return (n + gate(pre("z")) * (h - n),)


def gru_input_gates(P, x, h):
    r, z = sigma(Pre(P, x)("r")), sigma(Pre(P, x)("z"))
    n = np.tanh(x @ P["W.n"].T + (h @ P["U.n"].T) * r)
    return (n + z * (h - n),)


def mut1(P, x, h, raw=False):
    z, r = sigma(Pre(P, x)("z")), sigma(Pre(P, x, h)("r"))
    seen = np.tanh(x if raw else x @ P["W.v"].T)
    return (np.tanh((r * h) @ P["U.n"].T + seen + P["b.n"]) * z + h * (1 - z),)


def mut2(P, x, h, raw=False):
    z = sigma(Pre(P, x, h)("z"))
    r = sigma((x if raw else x @ P["W.r"].T) + h @ P["U.r"].T + P["b.r"])
    return (np.tanh(Pre(P, x, r * h)("n")) * z + h * (1 - z),)


def mut3(P, x, h):
    z, r = sigma(Pre(P, x, np.tanh(h))("z")), sigma(Pre(P, x, h)("r"))
    return (np.tanh(Pre(P, x, r * h)("n")) * z + h * (1 - z),)


def mgu(P, x, h):
    f = sigma(Pre(P, x, h)("f"))
    return (h + f * (np.tanh(Pre(P, x, f * h)("n")) - h),)


def janet(P, x, h, beta=1.0):
    pre = Pre(P, x, h)
    s = pre("f")
    return (sigma(s) * h + sigma(beta - s) * np.tanh(pre("n")),)


def atr(P, x, h):
    p, q = x @ P["W.p"].T + P["b.p"], h @ P["U.q"].T + P["b.q"]
    return (sigma(p + q) * p + sigma(p - q) * h,)


def lstm(P, x, h, c, coupled=False, gate=sigma, g=np.tanh, out=np.tanh, extra=0.0, limit=np.inf):
    """PyTorch's way: one stacked product, cut into four."""
    names = "igo" if coupled else "ifgo"
    W, U, b = (np.concatenate([P[f"{space}.{name}"] for name in names]) for space in "WUb")
    cut = dict(zip(names, np.split(x @ W.T + h @ U.T + b, len(names), axis=1), strict=True))
    i, o = gate(cut["i"]), gate(cut["o"])
    c = np.clip((1 - i if coupled else gate(cut["f"] + extra)) * c + i * g(cut["g"]), -limit, limit)
    return o * out(c), c


def greff(P, x, y, c, without="", g=np.tanh, h=np.tanh, coupled=False, extra=0.0, limit=np.inf):
    """`without` holds the letters of the gates that are left out."""
    one = np.ones_like(c)
    pre = Pre(P, x, y)
    i = one if "i" in without else sigma(pre("i") + c * P["p.i"])
    f = one if "f" in without or coupled else sigma(pre("f") + c * P["p.f"] + extra)
    c = np.clip(g(pre("g")) * i + c * (1 - i if coupled else f), -limit, limit)
    o = one if "o" in without else sigma(pre("o") + c * P["p.o"])
    return h(c) * o, c


def full_gates(P, x, y, c, i, f, o):
    pre, before = Pre(P, x, y), {"i": i, "f": f, "o": o}

    def gate(name, memory):
        recurrent = sum(value @ P[f"R.{source}{name}"].T for source, value in before.items())
        return sigma(pre(name) + memory * P[f"p.{name}"] + recurrent)

    i, f = gate("i", c), gate("f", c)
    c = np.tanh(pre("g")) * i + c * f
    o = gate("o", c)
    return np.tanh(c) * o, c, i, f, o


def lstm_projected(P, x, h, c, inner=lstm, narrow=np.inf, **options):
    m, c = inner(P, x, h, c, **options)
    return np.clip(m @ P["P.h"].T, -narrow, narrow), c


def slstm(P, x, h, c, n, m, forget="sigmoid"):
    pre = Pre(P, x, h)
    log_f = -np.log1p(np.exp(-pre("f"))) if forget == "sigmoid" else pre("f")
    new_m = np.where(n == 0, pre("i"), np.maximum(log_f + m, pre("i")))
    i, f = np.exp(pre("i") - new_m), np.minimum(np.exp(log_f + m - new_m), 1)
    c, n = f * c + i * np.tanh(pre("z")), f * n + i
    return sigma(pre("o")) * c / n, c, n, new_m


def indrnn(P, x, h, f=relu):
    return (f(Pre(P, x)("h") + h @ np.diag(P["p.h"])),)


def fastrnn(P, x, h):
    return (sigma(P["a.alpha"]) * np.tanh(Pre(P, x, h)("h")) + sigma(P["a.beta"]) * h,)


def fastgrnn(P, x, h):
    a = x @ P["W.h"].T + h @ P["U.h"].T
    z = sigma(a + P["b.z"])
    share = sigma(P["a.zeta"]) * (1 - z) + sigma(P["a.nu"])
    return (share * np.tanh(a + P["b.h"]) + z * h,)


def fastgrnn_low_rank(P, x, h):
    return fastgrnn({**P, "W.h": P["V.x"] @ P["W.h"], "U.h": P["V.h"] @ P["U.h"]}, x, h)


def ran(P, x, h, c, g=np.tanh):
    pre = Pre(P, x, h)
    c = sigma(pre("i")) * (x @ P["W.n"].T) + sigma(pre("f")) * c
    return g(c), c


def scrn(P, x, h, s, alpha=0.95):
    s = s + (1 - alpha) * (x @ P["B.s"].T - s)
    return sigma(s @ P["P.h"].T + Pre(P, x, h)("h")), s


def cornn(P, x, y, z, dt=0.042, gamma=2.7, epsilon=4.7):
    W = np.concatenate([P["W.z"], P["U.z"], P["U.y"]], axis=1)
    z = z + dt * (np.tanh(np.concatenate([x, z, y], axis=1) @ W.T + P["b.z"]) - gamma * y - epsilon * z)
    return y + dt * z, z


def lem(P, x, y, z, dt=1.0):
    pre = Pre(P, x, y)
    slow, fast = dt * sigma(pre("dy")), dt * sigma(pre("dz"))
    z = z + fast * (np.tanh(pre("z")) - z)
    return y + slow * (np.tanh(Pre(P, x, z)("y")) - y), z


def mingru(P, x, h, g=same):
    pre = Pre(P, x)
    return (h + sigma(pre("z")) * (g(pre("n")) - h),)


def minlstm(P, x, h, g=same):
    """In log space, as the paper computes it."""
    pre = Pre(P, x)
    ratio = np.log1p(np.exp(-pre("f"))) - np.log1p(np.exp(-pre("i")))
    return (np.exp(-np.log1p(np.exp(ratio))) * h + np.exp(-np.log1p(np.exp(-ratio))) * g(pre("n")),)


def sru(P, x, h, c, peephole=False, g=same, skip="matrix"):
    pre = Pre(P, x)
    f = sigma(pre("f") + (P["p.f"] * c if peephole else 0))
    r = sigma(pre("r") + (P["p.r"] * c if peephole else 0))
    u = x @ P["W.c"].T
    c = u + (c - u) * f
    passed = {"matrix": lambda: x @ P["W.skip"].T, "input": lambda: x, "none": lambda: np.zeros_like(c)}[skip]()
    return passed + (g(c) - passed) * r, c


def qrnn(P, x, h, c, pool="fo"):
    pre = Pre(P, x)
    z, f = np.tanh(pre("z")), sigma(pre("f"))
    c = f * c + (sigma(pre("i")) if pool == "ifo" else 1 - f) * z
    return (c if pool == "f" else sigma(pre("o")) * c), c


def hgrn(P, x, h, bound=0.0, learned=False):
    gamma = sigma(P["p.bound"]) if learned else bound
    f = gamma + (1 - gamma) * sigma(Pre(P, x)("f"))
    a = Pre(P, x)("n")
    return (f * h + (1 - f) * a / (1 + np.exp(-a)),)
