"""Cells that are wrong, each in one way. `# here` marks the line that the error must name."""

import math

import numpy as np

import gatewright as gw

KEPT: list[gw.lang.Symbol] = []


def keeps(x, h, U):
    KEPT[:] = [h]
    return U.h @ h


def decides(x, h, U):
    return h if h > 0 else U.h @ h  # here


def takes_the_least(x, h, U):
    return min(h, U.h @ h)  # here


def compares(x, h, U):
    return gw.where(h == 0, h, U.h @ h)  # here


def uses_math(x, h, U):
    return math.exp(h)  # here


def uses_numpy(x, h, U):
    a = U.h @ h
    return np.tanh(a)  # here


def uses_an_array(x, h, U):
    return np.array([0.5, 2.0]) * h  # here


def uses_an_unknown_op(x, h, U):
    return gw.arctan(U.h @ h)  # here


def uses_an_unsupported_operator(x, h, U):
    return U.h @ h % 2  # here


def uses_a_wrong_power(x, h, U):
    return (U.h @ h) ** 3  # here


def uses_no_symbol(x, h, U):
    return h * gw.exp(2.0)


def iterates(x, h, U):
    return sum(unit for unit in h)  # here


def indexes(x, h, U):
    return U.h @ h[0]  # here


def multiplies_a_space(x, h, U):
    return gw.tanh(U @ h)  # here


def adds_a_space(x, h, U, b):
    return U.h @ h + b  # here


def names_no_parameter(x, h, U):
    return U["h 1"] @ h  # here


def adds_other_axes(x, h, U):
    return U.h @ h + x  # here


def multiplies_other_axes(x, h, W):
    return gw.tanh(W.h @ h)  # here


def multiplies_from_the_right(x, h, W):
    return x @ W.h  # here


def multiplies_matrices(x, h, U):
    return (U.a @ U.b) @ h  # here


def transposes_a_vector(x, h, U):
    return h.T  # here


def uses_two_shapes(x, h, V):
    a = V.r @ x
    return a + V.r @ h  # here


def uses_what_was_kept(x, h, U):
    return h + KEPT[0]  # here


def returns_what_was_kept(x, h, U):  # here
    return gw.tanh(KEPT[0])


def returns_nothing(x, h, U):  # here
    h = gw.tanh(U.h @ h)


def returns_too_much(x, h, c, U):  # here
    return h, c, h


def returns_another_order(x, h, c, U):
    c = U.c @ c  # here
    h = gw.tanh(c)
    return c, h


def exchanges_two_states(x, h, c, U):  # here
    return c, h


def returns_another_shape(x, h, W):
    return gw.tanh(x)  # here


def returns_the_input(x, h, W):  # here
    return x


def multiplies_nothing(x, h, U):
    return h * None  # here


def multiplies_no_number(x, h, U):
    return h * math.nan  # here


def multiplies_too_large_a_number(x, h, U):
    return h * 10**400  # here


def draws_no_probability(x, h, U):
    return gw.bernoulli(1.5, like=h) * h


def draws_otherwise(x, h, U):
    return gw.bernoulli(0.5, like=h, per="row") * h


def fails_in_a_helper(x, h, U):
    return helper(h)


def helper(h):
    return gw.tanh(h) + "one"  # here
