"""Cells that use the language in ways that the catalogue does not: what every backend has to cope with."""

import gatewright as gw
from gatewright.lang import Cell


@gw.cell
def gate_of_one_number(x, h, W, U, b):
    """A gate that is one number for a whole row, alone and beside vectors."""
    g = gw.sigmoid(gw.mean(W.g @ x + U.g @ h))
    return g * h + (1 - g) * gw.tanh(W.n @ x + b.n) + gw.sum(h) * g


@gw.cell
def matrix_of_each_row(x, h, W, U):
    """Matrices that differ from row to row: from step to step, and in the loop as well."""
    s = gw.sigmoid(gw.mean(W.s @ x))
    t = gw.tanh(gw.sum(h))
    return gw.tanh((s * U.a) @ h + U.b @ h + (t * U.c) @ h + (U.c * t + U.a * s) @ gw.tanh(h) + W.h @ x)


@gw.cell
def matrices_of_parameters(x, h, W, U):
    """Matrices that are computed, but of parameters alone."""
    return gw.tanh((U.h - U.h.T) @ h + (2 * U.h.T) @ h + (W.h * W.h) @ x + (W.h / 3) @ x)


@gw.cell(spaces={"a": ()})
def of_parameters_alone(x, h, b, a):
    """A new state that depends on no row and no step."""
    return gw.tanh(b.h) * a.s


@gw.cell
def two_states_out_of_one(x, h, c, W):
    """Two states of one value, of which only one is read."""
    c = 0.5 * c + W.c @ x
    return c, c


@gw.cell
def noise_through_a_matrix(x, h, W, U):
    """Random values under a matrix, under a sum, and in both kinds."""
    n = gw.bernoulli(0.4, like=h)
    m = gw.bernoulli(0.3, like=x, per="sequence")
    return gw.tanh(U.h @ (h * n) + U.n @ n + W.m @ m + W.x @ (x * m) + gw.mean(n) - gw.size(h) * 0.01)


@gw.cell
def all_functions(x, h, W, U, b, p):
    """Every function of the language, away from corners."""
    a, s = W.a @ x + b.a, U.s @ h
    q = gw.sqrt(1.5 + gw.abs(a)) + gw.log(1.2 + s * s) + gw.exp(-gw.abs(s)) + gw.softplus(a) / gw.size(h)
    e = gw.where(a < s, gw.relu(a), gw.hard_sigmoid(s)) + gw.maximum(a, s) - gw.minimum(a, 0.3) + gw.sign(s) * p.s
    return gw.tanh(q * 0.2 + e * gw.sigmoid(gw.mean(h) - gw.sum(a)) - p.h * h / (1 + h**2) + (1 + h**2) ** 0.5)


@gw.cell
def no_parameters(x, h):
    """A running mean of the input's size."""
    return 0.9 * h + 0.1 * gw.relabel(x, like=h)


@gw.cell
def input_is_not_read(x, h, U):
    """The input does not matter."""
    return gw.tanh(U.h @ h)


@gw.cell
def delay_line(x, h, d, e, W, U, b):
    """States that become what others were before the step."""
    return gw.tanh(W.h @ x + U.h @ e + b.h), h, d


@gw.cell
def emits_what_was(x, h, d, W, U):
    """A first state, which a layer emits, that becomes what another one was before the step."""
    return d, gw.tanh(W.d @ x + U.h @ h + U.d @ d)


ODD: dict[str, Cell] = {
    cell.name: cell
    for cell in (
        gate_of_one_number, matrix_of_each_row, matrices_of_parameters, of_parameters_alone, two_states_out_of_one,
        noise_through_a_matrix, all_functions, no_parameters, input_is_not_read, delay_line, emits_what_was,
    )
}  # fmt: skip
