"""Reads the plain text of formulas back and computes it with NumPy, knowing nothing but the text: what is printed must
be what is meant, parentheses, names and all."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gatewright.backends.numpy_ref import sigmoid

Array = Any  # a transposed vector is a matrix of one row

TOKEN = re.compile(r"\s*(\d+(?:\.\d+)?(?![\w.⁻⁰¹²³⁴⁵⁶⁷⁸⁹])|[()\[\]|√;,/·⊙+−<>≤≥=≠]|[^\s()\[\]|√;,/·⊙+−<>≤≥=≠]+)")
ABOVE = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
FUNCTIONS: Mapping[str, Callable[..., Array]] = {
    "σ": sigmoid,
    "tanh": np.tanh,
    "ReLU": lambda a: np.maximum(a, 0.0),
    "exp": np.exp,
    "log": np.log,
    "sign": np.sign,
    "softplus": lambda a: np.logaddexp(a, 0.0),
    "hardsigmoid": lambda a, slope: np.clip(slope * a + 0.5, 0.0, 1.0),
    "step": lambda a: np.heaviside(a, 0.5),
    "max": np.maximum,
    "min": np.minimum,
    "sum": np.sum,
    "mean": np.mean,
}
RELATIONS: Mapping[str, Callable[..., Array]] = {
    "<": np.less,
    ">": np.greater,
    "≤": np.less_equal,
    "≥": np.greater_equal,
    "=": np.equal,
    "≠": np.not_equal,
}


@dataclass(frozen=True)
class Line:
    left: str
    sign: str
    right: str


def read_lines(page: str) -> list[Line]:
    """The lines of a page; continued rows are joined, and choices behind a brace are written in one row."""
    lines: list[Line] = []
    for row in page.splitlines():
        match = re.fullmatch(r"(\S+)\s+(\+?=|∼) (.*)", row)
        if match:
            lines.append(Line(match[1], match[2], match[3]))
        elif row.startswith(" "):
            last = lines.pop()
            lines.append(Line(last.left, last.sign, f"{last.right} {row.strip()}"))
    return [Line(line.left, line.sign, _unbraced(line.right)) for line in lines]


def _unbraced(right: str) -> str:
    match = re.fullmatch(r"⎧ (.*?)  +if (.*) ⎩ (.*?)  +otherwise", right)
    return f"({match[1]}) if {match[2]} else ({match[3]})" if match else right


def compute(text: str, values: Mapping[str, Array], sizes: Mapping[str, int]) -> Array:
    """The value of a formula."""
    reader = _Reader(TOKEN.findall(text), values, sizes)
    result = reader.choice()
    assert not reader.rest, f"{text!r} is not read to its end: {reader.rest}"
    return result


class _Reader:
    def __init__(self, tokens: list[str], values: Mapping[str, Array], sizes: Mapping[str, int]) -> None:
        self.rest, self.values, self.sizes = tokens, values, sizes

    def next(self) -> str:
        return self.rest[0] if self.rest else ""

    def take(self, token: str = "") -> str:
        assert not token or self.next() == token, f"expected {token!r} before {self.rest}"
        return self.rest.pop(0)

    def choice(self) -> Array:
        value = self.sum()
        if self.next() != "if":
            return value
        self.take("if")
        condition = self.relation()
        self.take("else")
        return np.where(condition, value, self.choice())

    def relation(self) -> Array:
        values, holds = [self.sum()], np.array(True)
        while self.next() in RELATIONS:
            relation = RELATIONS[self.take()]
            values.append(self.sum())
            holds = holds & relation(values[-2], values[-1])
        return holds

    def sum(self) -> Array:
        negative = self.next() == "−"
        if negative:
            self.take()
        value = -self.quotient() if negative else self.quotient()
        while self.next() in ("+", "−"):
            value = value + self.quotient() if self.take() == "+" else value - self.quotient()
        return value

    def quotient(self) -> Array:
        value = self.product()
        while self.next() == "/":
            self.take()
            value = value / self.product()
        return value

    def product(self) -> Array:
        value = self.application()
        while self.next() in ("⊙", "·"):
            self.take()
            value = value * self.application()
        return value

    def application(self) -> Array:
        """Things side by side: a number before anything, a matrix before a vector, a column before a row."""
        parts = [self.power()]
        while self.next() and self.next() not in ")]|;,/·⊙+−<>≤≥=≠" and self.next() not in ("if", "else"):
            parts.append(self.power())
        value = parts.pop()
        while parts:
            value = _applied(parts.pop(), value)
        return value

    def power(self) -> Array:
        token = self.take()
        if token == "(":
            value = self.choice()
            close = self.take()
            assert close == ")", close
            return self.raised(value)
        if token == "[":
            value = self.relation().astype(float)
            self.take("]")
            return self.raised(value)
        if token == "|":
            value = np.abs(self.choice())
            self.take("|")
            return self.raised(value)
        if token == "√":
            return np.sqrt(self.power())
        if self.next() == "(" and token.removesuffix("²") in FUNCTIONS:
            return self.call(token)
        return self.named(token)

    def call(self, token: str) -> Array:
        self.take("(")
        args = [self.choice()]
        while self.next() in (",", ";"):
            self.take()
            args.append(self.choice())
        self.take(")")
        value = FUNCTIONS[token.removesuffix("²")](*args)
        return self.raised(value**2 if token.endswith("²") else value)

    def named(self, token: str) -> Array:
        name = re.sub(r"[²ᵀ]+$", "", token)
        signs = token[len(name) :]
        return _raised(self.value(name), signs)

    def value(self, name: str) -> Array:
        if name in self.values:
            return self.values[name]
        if power := re.fullmatch(r"10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)", name):
            return 10.0 ** int(power[1].translate(ABOVE))
        if name.startswith(("𝟏_", "n_")):
            sizes = [self.sizes[axis] for axis in name[2:].split("×")]
            return np.ones(sizes) if name.startswith("𝟏_") else float(np.prod(sizes))
        return float(name)

    def raised(self, value: Array) -> Array:
        while self.next() in ("²", "ᵀ"):
            value = _raised(value, self.take())
        return value


def _raised(value: Array, signs: str) -> Array:
    for sign in signs:
        value = value**2 if sign == "²" else np.atleast_2d(value).T if np.ndim(value) == 2 else np.atleast_2d(value)
    return value


def _applied(left: Array, right: Array) -> Array:
    if not np.ndim(left) or not np.ndim(right):
        return left * right
    if np.ndim(left) == 2:
        value = left @ right
        return value[0] if value.shape == (1,) else value  # a row times a column is a number
    return np.outer(left, right)
