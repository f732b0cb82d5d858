"""The cells that are measured, with their equations once more, written out by hand for a loop over the steps.

The loops are what a person writes who has no layer for a cell: the input's products for all steps at once, one
recurrent product a step, then the pointwise equations. They serve torch, JAX, and in float64 as the reference.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

import gatewright as gw
from benchmarks.shapes import Shape

Arrays = tuple[Any, ...]
Vectors = Mapping[str, Arrays]
Step = Callable[[Any, Any, Any, Arrays, Vectors], Arrays]
"""(functions, input's products, recurrent products, old states, further vectors by gate) -> new states."""
Build = Callable[[Shape, str], torch.nn.Module]


@dataclass(frozen=True)
class BenchmarkCell:
    """A cell: Gatewright's layer of it, and its step by hand.

    `native` is its name in torch.nn and in ONNX. `input_bias` and `recurrent_bias` are added to the products, `vectors`
    are further parameters with the number of gates in each.
    """

    title: str
    build: Build
    step: Step
    gates: int
    states: int = 1
    native: str | None = None
    input_weight: str = "W_l0"
    recurrent_weight: str = "U_l0"
    input_bias: str | None = None
    recurrent_bias: str | None = None
    vectors: Mapping[str, int] = field(default_factory=dict)

    def flops(self, shape: Shape) -> int:
        """Operations of the matrix products in a forward run; the pointwise functions are not counted."""
        return 2 * shape.steps * shape.batch * self.gates * shape.hidden * (shape.inputs + shape.hidden)


def elman(f: Any, gx: Any, gh: Any, states: Arrays, p: Vectors) -> Arrays:
    """torch.nn.RNN."""
    return (f.tanh(gx + gh),)


def gru(f: Any, gx: Any, gh: Any, states: Arrays, p: Vectors) -> Arrays:
    """torch.nn.GRU: the reset gate acts after the recurrent product."""
    (h,) = states
    xr, xz, xn = f.split(gx, 3)
    hr, hz, hn = f.split(gh, 3)
    z = f.sigmoid(xz + hz)
    n = f.tanh(xn + f.sigmoid(xr + hr) * hn)
    return (n + z * (h - n),)


def lstm(f: Any, gx: Any, gh: Any, states: Arrays, p: Vectors) -> Arrays:
    """torch.nn.LSTM."""
    _, c = states
    i, forget, g, o = f.split(gx + gh, 4)
    c = f.sigmoid(forget) * c + f.sigmoid(i) * f.tanh(g)
    return f.sigmoid(o) * f.tanh(c), c


def lstm_peephole(f: Any, gx: Any, gh: Any, states: Arrays, p: Vectors) -> Arrays:
    """An LSTM whose gates see the memory."""
    _, c = states
    i, forget, g, o = f.split(gx + gh, 4)
    see_i, see_f, see_o = p["p_l0"]
    c = f.sigmoid(forget + see_f * c) * c + f.sigmoid(i + see_i * c) * f.tanh(g)
    return f.sigmoid(o + see_o * c) * f.tanh(c), c


def layer_norm_gru(f: Any, gx: Any, gh: Any, states: Arrays, p: Vectors) -> Arrays:
    """A GRU whose gates' sums of products are normalised over the units."""
    (h,) = states
    xr, xz, xn = f.split(gx, 3)
    hr, hz, hn = f.split(gh, 3)
    bias_r, bias_z, bias_n, bias_hn = p["b_l0"]
    gain_r, gain_z, gain_n = p["gain_l0"]
    r = f.sigmoid(f.normalised(xr + hr) * gain_r + bias_r)
    z = f.sigmoid(f.normalised(xz + hz) * gain_z + bias_z)
    n = f.tanh(f.normalised(xn + r * (hn + bias_hn)) * gain_n + bias_n)
    return (n + z * (h - n),)


@gw.cell
def swing(x, h, v, W, U, b, p):
    """A cell that no library has: a force drives a velocity, which is damped, and the state follows it."""
    k = gw.sigmoid(W.k @ x + U.k @ h + b.k)
    f = gw.tanh(W.f @ x + U.f @ h - p.f * h + b.f)
    s = gw.sigmoid(W.s @ x + U.s @ h + b.s)
    v = k * v + (1 - k) * f
    h = (1 - s) * h + s * gw.tanh(v + p.h * h)
    return h, v


def swing_by_hand(f: Any, gx: Any, gh: Any, states: Arrays, p: Vectors) -> Arrays:
    """The same equations."""
    h, v = states
    pull, push = p["p_l0"]
    k, force, s = f.split(gx + gh, 3)
    k, s = f.sigmoid(k), f.sigmoid(s)
    force = f.tanh(force - pull * h)
    v = force + k * (v - force)
    return h + s * (f.tanh(v + push * h) - h), v


def _as_torch(name: str) -> Build:
    layer = getattr(gw.nn, name)
    return lambda shape, backend: layer(shape.inputs, shape.hidden, backend=backend)


def _any(cell: gw.Cell) -> Build:
    return lambda shape, backend: gw.nn.Recurrent(cell, shape.inputs, shape.hidden, backend=backend)


TORCH_NAMES = {
    "input_weight": "weight_ih_l0",
    "recurrent_weight": "weight_hh_l0",
    "input_bias": "bias_ih_l0",
    "recurrent_bias": "bias_hh_l0",
}
CELLS = {
    "gru": BenchmarkCell("GRU", _as_torch("GRU"), gru, 3, native="GRU", **TORCH_NAMES),
    "lstm": BenchmarkCell("LSTM", _as_torch("LSTM"), lstm, 4, states=2, native="LSTM", **TORCH_NAMES),
    "elman": BenchmarkCell("Elman", _as_torch("RNN"), elman, 1, native="RNN", **TORCH_NAMES),
    "lstm_peephole": BenchmarkCell(
        "LSTM with peepholes",
        _any(gw.cells.lstm_peephole),
        lstm_peephole,
        4,
        states=2,
        input_bias="b_l0",
        vectors={"p_l0": 3},
    ),
    "layer_norm_gru": BenchmarkCell(
        "GRU with layer norm",
        _any(gw.layer_norm(gw.cells.gru(reset="after"))),
        layer_norm_gru,
        3,
        vectors={"b_l0": 4, "gain_l0": 3},
    ),
    "swing": BenchmarkCell(
        "a cell of one's own", _any(swing), swing_by_hand, 3, states=2, input_bias="b_l0", vectors={"p_l0": 2}
    ),
}
