"""Shared by the backends that compute with arrays: `execute` runs equations by a table of rules; checks of arrays.

A value of one row may be a scalar, a vector or a matrix. Its array has any number of leading axes in front: none for
what depends on parameters only, (batch,) within a step, (time, batch) for what is done for all steps at once.
"""

from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

from gatewright.axes import Shape, bind, show_shape
from gatewright.errors import ShapeError
from gatewright.lang.ops import ELEMENTWISE, Op, axes_of
from gatewright.trace.ir import Equation, Literal, Trace, Var

ArrayRules = Mapping[Op, Callable[..., Any]]
"""For each op a function of arrays. By keyword come: `rank` for sum and mean, `sizes` for expand, `count` for size, and
`slope` for hard_sigmoid."""


@dataclass(frozen=True, slots=True)
class PreparedEquation:
    """One equation made ready: the rule, where its operands come from, and how they are aligned."""

    target: str
    rule: Callable[..., Any]
    args: tuple[str | float, ...]
    widen: tuple[tuple[int, int, int], ...] = ()  # (operand, its rank, axes to add after)
    static: Mapping[str, Any] = field(default_factory=dict)  # dict[str, Any] stops torch.compile


def prepare(equations: Iterable[Equation], rules: ArrayRules, sizes: Mapping[str, int]) -> list[PreparedEquation]:
    """Make equations ready to be computed many times with the same sizes."""
    return [
        PreparedEquation(
            target=equation.target.name,
            rule=rules[equation.op],
            args=tuple(arg.value if isinstance(arg, Literal) else arg.name for arg in equation.args),
            widen=_widen(equation),
            static=_static(equation, sizes),
        )
        for equation in equations
    ]


def execute(calls: Iterable[PreparedEquation], values: MutableMapping[str, Any]) -> None:
    """Compute prepared equations in order. `values` holds arrays by name; the results are added to it."""
    for call in calls:
        args: list[Any] = [values[arg] if isinstance(arg, str) else arg for arg in call.args]
        for index, rank, missing in call.widen:
            if args[index].ndim > rank:  # without leading axes a scalar broadcasts by itself
                args[index] = args[index][(..., *(None,) * missing)]
        values[call.target] = call.rule(*args, **call.static)


def _widen(equation: Equation) -> tuple[tuple[int, int, int], ...]:
    if equation.op not in ELEMENTWISE:
        return ()
    rank = len(equation.target.shape)
    ranks = [(index, len(arg.shape)) for index, arg in enumerate(equation.args) if isinstance(arg, Var)]
    return tuple((index, own, rank - own) for index, own in ranks if own < rank)


def _static(equation: Equation, sizes: Mapping[str, int]) -> dict[str, Any]:
    attrs = dict(equation.attrs)
    match equation.op:
        case Op.SUM | Op.MEAN:
            return {"rank": len(equation.args[0].shape)}
        case Op.EXPAND:
            return {"sizes": bind(axes_of(attrs), sizes)}
        case Op.SIZE:
            return {"count": prod(bind(axes_of(attrs), sizes))}
        case Op.RELABEL:
            return {}
        case _:
            return attrs


def infer_sizes(trace: Trace, arrays: Mapping[str, Any], leading: Mapping[str, int]) -> dict[str, int]:
    """The size of every axis, read off the arrays of the leaves; `leading` says how many axes stand in front of each.

    Raises ShapeError where an array has a wrong rank, or two arrays give one axis two sizes.
    """
    sizes: dict[str, int] = {}
    sources: dict[str, str] = {}
    for leaf in trace.leaves():
        if leaf.name not in arrays:
            continue
        shape = tuple(arrays[leaf.name].shape)
        front = leading.get(leaf.name, 0)
        if len(shape) != front + len(leaf.shape):
            raise _misfit(trace, leaf, front, shape, {})
        for axis, size in zip(leaf.shape, shape[front:], strict=True):
            if sizes.setdefault(axis, size) != size:
                others = {axis: f"{sizes[axis]}, as {sources[axis]} has it"}
                raise _misfit(trace, leaf, front, shape, others)
            sources.setdefault(axis, leaf.name)
    check_relabels(trace, sizes)
    return sizes


def check_relabels(trace: Trace, sizes: Mapping[str, int]) -> None:
    """Hold that axes which the equations use for one another have one size.

    Raises ShapeError, which names the two axes.
    """
    for equation in trace.equations:
        if equation.op is not Op.RELABEL:
            continue
        (before,), (after,) = equation.args[0].shape, equation.target.shape
        if sizes.get(before) != sizes.get(after):
            raise ShapeError(
                f"cell {trace.name!r} adds {before} and {after} elementwise, so they must have one size",
                expected=f"{before} = {after}",
                got=f"{before} = {sizes.get(before)}, {after} = {sizes.get(after)}",
                do=f"make the layer's {after} size equal to its {before} size, or project the input first",
            )


def require(trace: Trace, arrays: Mapping[str, Any], leaves: Iterable[Var], what: str) -> None:
    """Hold that an array was given for every leaf.

    Raises ShapeError, which lists what is wanted.
    """
    names = [leaf.name for leaf in leaves]
    missing = [name for name in names if name not in arrays]
    if missing:
        raise ShapeError(
            f"cell {trace.name!r} was not given the {what} {missing[0]!r}",
            expected=", ".join(names),
            got=", ".join(arrays) or "none",
        )


def refuse_unknown(trace: Trace, arrays: Mapping[str, Any], leaves: Iterable[Var], what: str) -> None:
    """Hold that only arrays of the leaves were given: where they may be left out, a misspelt one would be zero.

    Raises ShapeError, which lists what is known.
    """
    names = [leaf.name for leaf in leaves]
    unknown = [name for name in arrays if name not in names]
    if unknown:
        raise ShapeError(f"cell {trace.name!r} has no {what} {unknown[0]!r}", expected=", ".join(names))


def _misfit(trace: Trace, leaf: Var, front: int, shape: tuple[int, ...], sizes: Mapping[str, str]) -> ShapeError:
    lead: Shape = ("time", "batch")[2 - front :] if front else ()
    known = "".join(f" with {axis} = {size}" for axis, size in sizes.items())
    return ShapeError(
        f"cell {trace.name!r}: {leaf.name} has a shape that does not fit",
        expected=f"{show_shape(lead + leaf.shape)}{known}",
        got=str(shape),
    )
