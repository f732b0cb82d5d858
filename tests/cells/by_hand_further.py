"""More cells of the catalogue in NumPy, in the notation of their papers: see `by_hand`, whose means these use."""

import numpy as np

from tests.cells.by_hand import Pre, greff, hard, lstm, relu, sigma

THEANO = hard(0.2)


def bistable(P, x, h, recurrent):
    """The two cells differ in what their gates see of the state."""
    pre = Pre(P, x)
    a = 2 / (1 + np.exp(-2 * (pre("a") + recurrent("a"))))  # 1 + tanh
    c = sigma(pre("c") + recurrent("c"))
    n = np.tanh(pre("n") + a * h)
    return (n + c * (h - n),)


def brc(P, x, h):
    return bistable(P, x, h, lambda gate: P[f"p.{gate}"] * h)


def nbrc(P, x, h):
    return bistable(P, x, h, lambda gate: h @ P[f"U.{gate}"].T)


def cfn(P, x, h):
    pre = Pre(P, x, h)
    return (sigma(pre("theta")) * np.tanh(h) + sigma(pre("eta")) * np.tanh(Pre(P, x)("n")),)


def light_ru(P, x, h):
    return (h + sigma(Pre(P, x, h)("f")) * (np.tanh(Pre(P, x)("n")) - h),)


def minimal_rnn(P, x, h):
    z = np.tanh(Pre(P, x)("z"))
    u = sigma(np.concatenate([h, z], axis=1) @ np.concatenate([P["U.u"], P["M.u"]], axis=1).T + P["b.u"])
    return (z + u * (h - z),)


def sgrn(P, x, h):
    i = x @ P["W.i"].T + P["b.i"]
    f = sigma(i + h @ P["U.f"].T + P["b.f"])
    return (np.tanh(i + f * (h - i)),)


def star(P, x, h):
    (mixed,) = light_ru({key.replace(".z", ".n").replace(".k", ".f"): value for key, value in P.items()}, x, h)
    return (np.tanh(mixed),)


def miru(P, x, h, update=0.5, reset=None):
    r = sigma(Pre(P, x, h)("r")) if reset is None else reset
    n = np.tanh(Pre(P, x, r * h)("n"))
    return (n + update * (h - n),)


def gated(P, x, h, gate):
    """What Gao and Glowacka call z_g, and the mixing gate."""
    g = np.tanh((Pre(P, x)("x") * h) @ P["U.g"].T + P["b.g"])
    return g * h, gate(Pre(P, x, h)("z"))


def sgu(P, x, h, gate=THEANO):
    seen, z = gated(P, x, h, gate)
    return (h + z * (np.log1p(np.exp(seen)) - h),)


def dsgu(P, x, h, gate=THEANO):
    seen, z = gated(P, x, h, gate)
    return (h + z * (sigma(seen @ P["O.n"].T) - h),)


def multiplicative_lstm(P, x, h, c, biases=False):
    """The common LSTM, whose state is m and whose recurrent matrices are M."""
    m = (x @ P["W.m"].T + (P["b.mx"] if biases else 0)) * (h @ P["U.m"].T + (P["b.mh"] if biases else 0))
    return lstm({**P, **{f"U.{gate}": P[f"M.{gate}"] for gate in "ifgo"}}, x, m, c)


def mclstm(P, x, h, v, c):
    h, c = lstm(P, x, v, c)
    return h, sigma(Pre(P, x, v)("k")) * np.tanh(c), c


def original_lstm(P, x, h, c, g=lambda a: 4 * sigma(a) - 2, out=lambda a: np.tanh(a / 2)):
    """Greff's LSTM without a forget gate, with peepholes of 0."""
    without = {f"p.{gate}": np.zeros(h.shape[1]) for gate in "io"}
    return greff({**P, **without}, x, h, c, without="f", g=g, h=out)


def residual_lstm(P, x, h, c, shortcut="matrix"):
    """Greff's LSTM with the output gate put before the sum."""
    _, new = greff(P, x, h, c)
    o = sigma(Pre(P, x, h)("o") + new * P["p.o"])
    return o * (np.tanh(new) @ P["P.h"].T + (x @ P["W.skip"].T if shortcut == "matrix" else x)), new


def wmclstm(P, x, h, c, biases=False):
    def gate(name, memory):
        seen = np.tanh(memory @ P[f"M.m{name}"].T + (P[f"b.m{name}"] if biases else 0))
        return sigma(Pre(P, x, h)(name) + seen)

    c = gate("f", c) * c + gate("i", c) * np.tanh(Pre(P, x, h)("g"))
    return gate("o", c) * np.tanh(c), c


def nas(P, x, h, c, merge="product"):
    """TensorFlow's way: two stacked products, each cut into eight."""
    names = "abcdefgh"
    m = dict(zip(names, np.split(x @ np.concatenate([P[f"W.{name}"] for name in names]).T, 8, axis=1), strict=True))
    n = {name: h @ P[f"U.{name}"].T + P[f"b.{name}"] for name in names}
    s = {name: m[name] + n[name] for name in names}
    if merge == "product":
        s["d"] = m["d"] * n["d"]
    squash = dict(zip(names, [sigma, relu, sigma, relu, np.tanh, sigma, np.tanh, sigma], strict=True))
    a, b, d, e, f, g, i, j = (squash[name](s[name]) for name in names)
    c = np.tanh(np.tanh(a * b) + c) * np.tanh(d + e)
    return np.tanh(c * np.tanh(np.tanh(f * g) + sigma(i + j))), c


def rhn(P, x, h, depth=3, coupled=True):
    for layer in range(1, depth + 1):
        value = {gate: h @ P[f"U.{gate}{layer}"].T + P[f"b.{gate}{layer}"] for gate in ("ht" if coupled else "htc")}
        if layer == 1:
            value = {gate: total + x @ P[f"W.{gate}1"].T for gate, total in value.items()}
        t = sigma(value["t"])
        h = (np.tanh(value["h"]) - h) * t + h if coupled else np.tanh(value["h"]) * t + h * sigma(value["c"])
    return (h,)


def intersection_rnn(P, x, y, h, project=True, f=relu):
    pre = Pre(P, x, h)
    candidate, passed = f(pre("y")), x @ P["W.x"].T if project else x
    y = candidate + sigma(pre("gy")) * (passed - candidate)
    candidate = np.tanh(pre("h"))
    return y, candidate + sigma(pre("gh")) * (h - candidate)


def tau_gru(P, x, h, d, *waiting):
    """`waiting` are the states between d and h, the oldest first."""
    pre = Pre(P, x, h)
    candidate = np.tanh(pre("u")) + sigma(pre("a")) * np.tanh(Pre(P, x, d)("z"))
    return (h + sigma(pre("g")) * (candidate - h), *waiting, h)


def unicornn(P, x, y, z, dt=0.19, alpha=30.65):
    scale = dt * (0.5 + 0.5 * np.tanh(P["p.c"] / 2))
    z = z - scale * (np.tanh(y @ np.diag(P["p.y"]) + Pre(P, x)("y")) + alpha * y)
    return y + scale * z, z


def typed(P, x, *before):
    """What the strongly-typed cells make of the last two inputs, and what they hand on of this one."""
    sums = {name: x @ P[f"W.{name}"].T + v + P[f"b.{name}"] for name, v in zip("zfo", before, strict=True)}
    return sums, tuple(x @ P[f"V.{name}"].T for name in "zfo")


def trnn(P, x, h):
    z = Pre(P, x)("z")
    return (z + sigma(Pre(P, x)("f")) * (h - z),)


def tgru(P, x, h, *before):
    a, after = typed(P, x, *before)
    return sigma(a["f"]) * h + a["z"] * np.tanh(a["o"]), *after


def tlstm(P, x, h, c, *before):
    a, after = typed(P, x, *before)
    c = a["z"] + sigma(a["f"]) * (c - a["z"])
    return c * np.tanh(a["o"]), c, *after
