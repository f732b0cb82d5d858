"""Derives the numbers of exp, log, tanh and their like, and writes them to `gatewright/backends/coefficients.py`.

    python tools/derive_coefficients.py            write the file (half a minute)
    python tools/derive_coefficients.py --check    fail if the file differs

Each polynomial is the best one in the sense of Chebyshev (Remez' exchange) for the relative error of the function that
it stands for. Its coefficients are rounded one after the other to the dtype, from the first, and those that follow
are fitted anew each time, so that they make up for what the rounding did.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mpmath import mp, mpf

mp.dps = 60
FILE = Path(__file__).resolve().parent.parent / "src/gatewright/backends/coefficients.py"
GRID = 500

Function = Callable[[mpf], mpf]


@dataclass(frozen=True)
class Polynomial:
    """What a polynomial stands for: `target` on [low, high], where an error counts `weight` times."""

    meaning: str
    target: Function
    weight: Function
    low: mpf
    high: mpf
    terms: dict[str, int]  # how many coefficients, by dtype


@dataclass(frozen=True)
class Format:
    """A dtype: the bits of its significand, and how many of them ln 2 may have to be multiplied by any exponent."""

    digits: int
    short: int


FORMATS = {"float32": Format(24, 16), "float64": Format(53, 42)}

LN2 = mp.log(2)
ROOT = mp.sqrt(2)

POLYNOMIALS = {
    "exp_near": Polynomial(
        "(exp(r) - 1 - r) / r**2 for |r| <= ln(2) / 2; relative to exp(r) - 1.",
        lambda r: (mp.expm1(r) - r) / r**2,
        lambda r: abs(r**2 / mp.expm1(r)),
        -LN2 / 2,
        LN2 / 2,
        {"float32": 5, "float64": 10},
    ),
    "exp_wide": Polynomial(
        "(exp(r) - 1 - r) / r**2 for |r| <= ln(2); relative to exp(r).",
        lambda r: (mp.expm1(r) - r) / r**2,
        lambda r: r**2 / mp.exp(r),
        -LN2,
        LN2,
        {"float32": 6, "float64": 12},
    ),
    "log_near": Polynomial(
        "(log(1 + f) - f + f**2 / 2) / f**3 for sqrt(1/2) <= 1 + f <= sqrt(2); relative to log(1 + f).",
        lambda f: (mp.log1p(f) - f + f**2 / 2) / f**3,
        lambda f: abs(f**3 / mp.log1p(f)),
        1 / ROOT - 1,
        ROOT - 1,
        {"float32": 9, "float64": 19},
    ),
    "log_wide": Polynomial(
        "(log(1 + u) / u - 1) / u for 0 <= u <= 1; relative to log(1 + u).",
        lambda u: (mp.log1p(u) / u - 1) / u,
        lambda u: u**2 / mp.log1p(u),
        mpf(0),
        mpf(1),
        {"float32": 10, "float64": 21},
    ),
}


def derive(polynomial: Polynomial, dtype: str) -> tuple[list[mpf], mpf]:
    """The rounded coefficients from the constant one on, and the largest weighted error that they leave."""
    count, found, error = polynomial.terms[dtype], [], mpf(0)
    points = [_node(polynomial.low, polynomial.high, k, GRID) for k in range(GRID)]
    weights = [polynomial.weight(x) for x in points]
    rest = [polynomial.target(x) for x in points]
    for degree in range(count):
        raised = [w * abs(x) ** degree for x, w in zip(points, weights, strict=True)]
        best = exchange(points, rest, raised, count - degree)
        found.append(rounded(best[0], FORMATS[dtype].digits))
        rest = [(y - found[-1]) / x for x, y in zip(points, rest, strict=True)]
    error = max(abs(y * x**count * w) for x, y, w in zip(points, rest, weights, strict=True))
    return found, error


def exchange(points: Sequence[mpf], values: Sequence[mpf], weights: Sequence[mpf], count: int) -> list[mpf]:
    """Remez' exchange: the polynomial with `count` coefficients whose largest weighted error is least."""
    chosen = [round((len(points) - 1) * k / count) for k in range(count + 1)]
    for _ in range(50):
        *coefficients, level = _levelled([(points[k], values[k], weights[k]) for k in chosen])
        errors = [(y - mp.polyval(coefficients[::-1], x)) * w for x, y, w in zip(points, values, weights, strict=True)]
        if max(map(abs, errors)) <= abs(level) * (1 + mpf(10) ** -6):
            return coefficients
        chosen = _extremes(errors, count + 1)
    raise RuntimeError("the exchange does not converge")


def _levelled(samples: Sequence[tuple[mpf, mpf, mpf]]) -> list[mpf]:
    """The coefficients whose weighted errors at the samples alternate in sign and are equal, and that error."""
    rows = [[w * x**j for j in range(len(samples) - 1)] + [mpf((-1) ** k)] for k, (x, _, w) in enumerate(samples)]
    return list(mp.lu_solve(mp.matrix(rows), mp.matrix([y * w for _, y, w in samples])))


def _extremes(errors: Sequence[mpf], count: int) -> list[int]:
    """Where the errors are largest while their signs alternate."""
    found: list[int] = []
    for k, error in enumerate(errors):
        if found and (error > 0) == (errors[found[-1]] > 0):
            found[-1] = max(found[-1], k, key=lambda at: abs(errors[at]))
        else:
            found.append(k)
    while len(found) > count:
        _drop(found, [abs(errors[k]) for k in found], only_ends=len(found) == count + 1)
    return found


def _drop(found: list[int], sizes: Sequence[mpf], only_ends: bool) -> None:
    """Drop the smallest: an end by itself, else with its smaller neighbour, so that the signs still alternate."""
    last = len(found) - 1
    least = min((0, last) if only_ends else range(len(found)), key=lambda k: sizes[k])
    if least in {0, last}:
        del found[least]
    else:
        first = least - (sizes[least - 1] < sizes[least + 1])
        del found[first : first + 2]


def _node(low: mpf, high: mpf, k: int, count: int) -> mpf:
    """Chebyshev's points: dense at the ends, where the errors of a best polynomial change fastest; never 0."""
    return (low + high) / 2 - (high - low) / 2 * mp.cos(mp.pi * (k + mpf(1) / 2) / count)


def rounded(number: mpf, digits: int) -> mpf:
    """The nearest number whose significand has so many binary digits."""
    fraction, exponent = mp.frexp(number)
    return mp.ldexp(mp.nint(mp.ldexp(fraction, digits)), exponent - digits)


def text() -> str:
    """The file, as it should be."""
    lines = [
        '"""The numbers of exp, log, tanh and their like, made by tools/derive_coefficients.py: change them there."""',
        "",
        "from collections.abc import Mapping",
        "from dataclasses import dataclass",
        "from typing import Literal",
        "",
        'Dtype = Literal["float32", "float64"]',
        "",
        "",
        "@dataclass(frozen=True, slots=True)",
        "class Coefficients:",
        '    """Constants of one dtype; polynomials from the constant term on, with the error that each leaves."""',
        "",
        "    log2_e: float  # 1 / ln(2)",
        "    ln2: float",
        "    ln2_high: float  # ln(2) in so few bits that any exponent times it is exact",
        "    ln2_low: float  # ln(2) - ln2_high",
        *(f'    {name}: tuple[float, ...]\n    """{each.meaning}"""' for name, each in POLYNOMIALS.items()),
        "",
        "",
        "COEFFICIENTS: Mapping[Dtype, Coefficients] = {",
    ]
    for dtype, form in FORMATS.items():
        high = rounded(LN2, form.short)
        numbers = {"log2_e": 1 / LN2, "ln2": LN2, "ln2_high": high, "ln2_low": LN2 - high}
        lines.append(f'    "{dtype}": Coefficients(')
        lines += [f"        {name}={float(rounded(number, form.digits))!r}," for name, number in numbers.items()]
        for name, polynomial in POLYNOMIALS.items():
            coefficients, error = derive(polynomial, dtype)
            lines.append(f"        {name}=(  # 2**{mp.nstr(mp.log(error, 2), 4)}")
            lines += [f"            {float(coefficient)!r}," for coefficient in coefficients]
            lines.append("        ),")
        lines.append("    ),")
    return "\n".join([*lines, "}", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the file instead of writing it")
    if not parser.parse_args().check:
        FILE.write_text(text(), encoding="utf-8")
    elif FILE.read_text(encoding="utf-8") != text():
        sys.exit(f"{FILE.name} is not what this script derives")


if __name__ == "__main__":
    main()
