"""The one way in which this project says that two implementations agree."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

# Half the distance from 1 to the next number: the most that one rounding changes a number of that size.
UNIT_ROUNDOFF = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
NARROW = {"float16", "bfloat16"}
# Room for what the model of `tolerance` leaves out: activations that are right to a few units in the last
# place only, a few pointwise operations between two products, and the spread of a random walk about its mean.
SAFETY = 8.0
# A comparison that allows a tenth of the largest value would pass with a gate missing.
LOOSEST = 0.1
# What cancels leaves noise in proportion to the numbers that cancelled, which stand in other tensors of the
# same result: no tensor is held to less than this part of the largest of them.
CANCELLATION = 0.01
# Products whose operands are rounded to a narrow type, with sums and everything else in float32. Each operand is
# rounded once, and neither the width nor the length adds to that: measured errors stay below 2 roundoffs in 1,000
# steps.
ROUNDED_PRODUCTS = 4.0
SHOWN = 8


class ParityError(AssertionError):
    """Two results that should agree do not."""


def tolerance(dtype: Any, steps: int, width: int = 64) -> float:
    """The error allowed between two right results, relative to the largest value of a tensor.

    Every value of a recurrent layer, and of its gradient, ends a chain of about `steps * width` roundings: a
    sum of `width` products in each step. Two implementations round in different orders, so their roundings
    are independent and add up as a random walk does, by the square root of their number; gates contract (no
    derivative of a sigmoid or tanh exceeds one), so a chain does not enlarge what an earlier step left.
    Products of narrow types are accumulated in float32, so each of their steps rounds once and not `width`
    times.
    """
    name = dtype_name(dtype)
    if name not in UNIT_ROUNDOFF:
        raise ValueError(f"parity has no tolerance for {name}: choose one of {', '.join(UNIT_ROUNDOFF)}")
    roundings = max(steps, 1) * (1 if name in NARROW else max(width, 1))
    allowed = SAFETY * UNIT_ROUNDOFF[name] * math.sqrt(roundings)
    if allowed > LOOSEST:
        raise ValueError(
            f"{steps} steps in {name} allow an error of {allowed:.2g}, and a comparison that loose cannot "
            "fail: compare fewer steps"
        )
    return allowed


def assert_parity(
    got: Any,
    want: Any,
    *,
    dtype: Any,
    steps: int,
    cell: str = "",
    backend: str = "",
    width: int = 64,
    scale: float | None = None,
    products: str | None = None,
) -> None:
    """Raise ParityError unless `got` equals `want` as closely as `dtype` allows after `steps` time steps.

    Both are arrays or tensors, or nested mappings, tuples and lists of them, of the same structure and
    shapes. Floating results must be of `dtype`; `want` may be wider, as the float64 reference is. Integers
    and booleans must be of the same type and equal. `width` is the length of the longest sum of products in a
    step. `scale` is the size of the numbers that were computed with, stated where the result itself is zero
    but for what cancelled. `products` is the dtype that operands of products are rounded to, if it is another.
    """
    problems: list[str] = []
    pairs = list(_pairs(got, want, "result", problems))
    if not pairs and not problems:
        problems.append("there is nothing to compare: neither result holds a tensor")
    if scale is None:
        scale = CANCELLATION * max((pair.largest for pair in pairs), default=0.0)
    for pair in pairs:
        problems += _differences(pair, _Demand(dtype_name(dtype), steps, width, scale, products))
    if problems:
        who = f"{cell or 'result'} on {backend}" if backend else cell or "result"
        rest = [f"... and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
        lines = "".join(f"\n  {line}" for line in problems[:SHOWN] + rest)
        raise ParityError(f"{who} ({dtype_name(dtype)}, {steps} steps):{lines}")


def dtype_name(dtype: Any) -> str:
    """One name for a data type of NumPy's, of torch's, or written as text: "float32"."""
    name = str(dtype).removeprefix("torch.")
    return name if name in UNIT_ROUNDOFF or name == "bool" else np.dtype(dtype if name == str(dtype) else name).name


@dataclass(frozen=True)
class _Demand:
    dtype: str
    steps: int
    width: int
    scale: float
    products: str | None

    @property
    def tolerance(self) -> float:
        """The error allowed, relative to the largest value."""
        rounded = ROUNDED_PRODUCTS * UNIT_ROUNDOFF[self.products] if self.products else 0.0
        return tolerance(self.dtype, self.steps, self.width) + rounded


@dataclass(frozen=True)
class _Pair:
    path: str
    got: np.ndarray
    want: np.ndarray
    got_dtype: str
    want_dtype: str

    @property
    def floating(self) -> bool:
        return self.want_dtype in UNIT_ROUNDOFF

    @property
    def largest(self) -> float:
        if not self.floating:
            return 0.0
        finite = self.want[np.isfinite(self.want)]
        return float(np.abs(finite).max(initial=0.0))


def _pairs(got: Any, want: Any, path: str, problems: list[str]) -> Iterator[_Pair]:
    """The leaves of both results side by side; whatever stands alone goes to `problems`."""
    kind = _kind(want)
    if _kind(got) != kind:
        problems.append(f"{path}: got {_kind(got)}, wanted {kind}")
    elif kind == "a mapping":
        problems += [f"{path}[{key!r}]: missing" for key in want if key not in got]
        problems += [f"{path}[{key!r}]: not wanted" for key in got if key not in want]
        for key in (key for key in want if key in got):
            yield from _pairs(got[key], want[key], f"{path}[{key!r}]", problems)
    elif kind in {"a tuple", "a list"}:
        if len(got) != len(want):
            problems.append(f"{path}: got {len(got)} parts, wanted {len(want)}")
            return
        for index, (one, other) in enumerate(zip(got, want, strict=True)):
            yield from _pairs(one, other, f"{path}[{index}]", problems)
    elif kind == "a tensor":
        yield _pair(got, want, path)


def _kind(value: Any) -> str:
    kinds = {"a mapping": Mapping, "a tuple": tuple, "a list": list, "nothing": type(None)}
    return next((kind for kind, types in kinds.items() if isinstance(value, types)), "a tensor")


def _pair(got: Any, want: Any, path: str) -> _Pair:
    one, other = _array(got), _array(want)
    if one.size and one.shape == other.shape and one.ctypes.data == other.ctypes.data:
        raise ValueError(f"{path}: a tensor is compared with itself, and that cannot fail")
    names = [dtype_name(getattr(value, "dtype", array.dtype)) for value, array in ((got, one), (want, other))]
    one, other = (
        array.astype(np.float64) if name in UNIT_ROUNDOFF else array
        for array, name in zip((one, other), names, strict=True)
    )
    return _Pair(path, one, other, *names)


def _array(value: Any) -> np.ndarray:
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        # NumPy has no bfloat16, and float32 holds every number of it.
        return (value.float() if dtype_name(value.dtype) == "bfloat16" else value).numpy()
    return np.asarray(value)


def _differences(pair: _Pair, demand: _Demand) -> Iterator[str]:
    """One line for each way in which a pair of tensors disagrees."""
    if pair.got.shape != pair.want.shape:
        yield f"{pair.path}: got shape {pair.got.shape}, wanted {pair.want.shape}"
        return
    expected = demand.dtype if pair.floating else pair.want_dtype
    if pair.got_dtype != expected:
        yield f"{pair.path}: got dtype {pair.got_dtype}, wanted {expected}"
    if pair.floating and pair.got_dtype in UNIT_ROUNDOFF:
        yield from _floating_differences(pair, demand)
    else:
        wrong = pair.got != pair.want
        yield from _worst(pair, wrong, wrong.astype(float), "must be equal")


def _floating_differences(pair: _Pair, demand: _Demand) -> Iterator[str]:
    got, want = pair.got, pair.want
    same = np.isfinite(got) & np.isfinite(want)
    unlike = ~same & ~((got == want) | (np.isnan(got) & np.isnan(want)))
    yield from _worst(pair, unlike, unlike.astype(float), "not finite in the same places")
    scale = max(pair.largest, demand.scale)
    bound = demand.tolerance * scale
    error = np.abs(np.subtract(got, want, out=np.zeros_like(want), where=same))
    yield from _worst(pair, error > bound, error, f"allowed {bound:.2g}")
    # A forgotten gradient is zero everywhere, and would hide where the wanted one is small beside its
    # neighbours.
    noise = tolerance(pair.want_dtype, demand.steps, demand.width) * scale
    if not got.any() and noise < pair.largest <= bound:
        yield f"{pair.path}: got zeros everywhere, wanted values up to {pair.largest:.3g}"


def _worst(pair: _Pair, wrong: np.ndarray, error: np.ndarray, note: str) -> Iterator[str]:
    if not wrong.any():
        return
    index = tuple(int(i) for i in np.unravel_index(np.argmax(np.where(wrong, error, -1.0)), wrong.shape))
    yield (
        f"{pair.path} at {index}: got {pair.got[index]}, wanted {pair.want[index]} "
        f"({note}, differs by {error[index]:.3g}; {int(wrong.sum())} of {wrong.size} elements differ)"
    )
