"""Variations: functions from cell to cell. The equations of the varied cell are never written again."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from gatewright.axes import HIDDEN, Shape
from gatewright.errors import CellError, OptionError
from gatewright.lang.cell import Cell, Operands, Space
from gatewright.lang.functions import bernoulli, mean, relabel, sqrt, where
from gatewright.lang.ops import ACTIVATIONS, Attrs, Op
from gatewright.lang.preactivation import gate_name, has_product, holds_product, terms
from gatewright.lang.symbol import Operand, Symbol

Variation = Callable[[Cell], Cell]
LAYER_NORM_EPSILON = 1e-5


def masked(cell: Cell) -> Cell:
    """The cell takes a further scalar input, `mask`: where it is 0 every state stays as it was.

    This is the mask of Theano's sentiment tutorial, m * h' + (1 - m) * h, for masks of zeros and ones.
    """
    if "mask" in cell.inputs:
        raise CellError(f"cell {cell.label!r} is masked already", do="use masked once")

    def equations(operands: Operands) -> tuple[Symbol, ...]:
        new = step(cell, operands)
        mask = operands.inputs["mask"]
        return tuple(where(mask, after, before) for after, before in zip(new, operands.states.values(), strict=True))

    return _varied(cell, f"masked({cell.label})", equations, inputs={**cell.inputs, "mask": ()})


def zoneout(rate: float | Mapping[str, float]) -> Variation:
    """At every step each unit of a state keeps its old value with probability `rate` (Krueger et al. 2016, 1606.01305).

    A mapping gives each state its own rate: `zoneout({"c": 0.5, "h": 0.05})`. In evaluation the old and the new value
    are mixed in that proportion.
    """
    for value in rate.values() if isinstance(rate, Mapping) else [rate]:
        _check_rate("zoneout", value)

    def vary(cell: Cell) -> Cell:
        rates = rate if isinstance(rate, Mapping) else dict.fromkeys(cell.states, rate)
        unknown = sorted(set(rates) - set(cell.states))
        if unknown:
            raise OptionError(
                f"zoneout names a state that cell {cell.label!r} does not have",
                expected=", ".join(cell.states),
                got=unknown[0],
            )

        def equations(operands: Operands) -> tuple[Symbol, ...]:
            new = step(cell, operands)
            pairs = zip(operands.states.items(), new, strict=True)
            return tuple(_zoned(before, after, rates.get(key, 0.0)) for (key, before), after in pairs)

        return _varied(cell, f"zoneout({rate})({cell.label})", equations)

    return vary


def _zoned(before: Symbol, after: Symbol, rate: float) -> Symbol:
    if rate == 0:
        return after
    keep = bernoulli(rate, like=before)
    return keep * before + (1 - keep) * after


def recurrent_dropout(rate: float, per: str = "sequence") -> Variation:
    """Dropout on what the recurrent matrices multiply (Gal & Ghahramani 2016, 1512.05287).

    `per="sequence"` keeps one mask for a whole sequence, as in the paper; `per="step"` draws a new one at every step.
    All gates of a cell share the mask. The elementwise path of a state (z * h) is never dropped.
    """
    _check_rate("recurrent_dropout", rate)

    def vary(cell: Cell) -> Cell:
        def equations(operands: Operands) -> tuple[Symbol, ...]:
            masks: dict[Shape, Symbol] = {}
            states = set(map(id, operands.states.values()))

            def drop(op: Op, args: tuple[Operand, ...], attrs: Attrs) -> tuple[Operand, ...]:
                matrix, vector = args if op is Op.MATMUL else (None, None)
                if matrix is None or not isinstance(vector, Symbol) or not _depends(vector, states):
                    return args
                if vector.shape not in masks:
                    masks[vector.shape] = bernoulli(1 - rate, like=vector, per=per) / (1 - rate)
                return (matrix, vector * masks[vector.shape])

            with _recorder(operands).rewriting(drop):
                return step(cell, operands)

        return _varied(cell, f"recurrent_dropout({rate}, per={per!r})({cell.label})", equations)

    return vary


def layer_norm(cell: Cell) -> Cell:
    """Every gate's sum of matrix products is normalised over the units (Ba, Kiros & Hinton 2016, 1607.06450).

    For gate r: gain.r * (a - mean(a)) / sqrt(variance(a) + 1e-5) + b.r, where a = W.r @ x + U.r @ h. The sum is
    normalised as a whole; the paper's LSTM normalises W @ x and U @ h apart. What is not a product (biases,
    peepholes) is added after.
    """

    def equations(operands: Operands) -> tuple[Symbol, ...]:
        def normalise(op: Op, args: tuple[Operand, ...], attrs: Attrs) -> tuple[Operand, ...]:
            if op not in ACTIVATIONS or not has_product(args[0]):
                return args
            return (_normalised(args[0], operands),)

        with _recorder(operands).rewriting(normalise):
            return step(cell, operands)

    spaces = {**cell.spaces, "gain": Space((HIDDEN,), initial=1.0)}
    return _varied(cell, f"layer_norm({cell.label})", equations, spaces=spaces)


def _normalised(value: Operand, operands: Operands) -> Symbol:
    gate = gate_name(value) or "h"
    products = [term for term in terms(value) if holds_product(term[1])]
    others = [term for term in terms(value) if not holds_product(term[1])]
    product = _total(products)
    centred = product - mean(product)
    scaled = operands.spaces["gain"][gate] * (centred / sqrt(mean(centred * centred) + LAYER_NORM_EPSILON))
    return _total([(False, scaled), *others])


def _total(parts: list[tuple[bool, Operand]]) -> Symbol:
    (negative, first), *others = parts
    total: Operand = -first if negative else first
    for negative, part in others:
        total = total - part if negative else total + part
    assert isinstance(total, Symbol)
    return total


def residual(cell: Cell) -> Cell:
    """The layer emits the cell's output plus its input; the recurrence itself is unchanged (He et al. 2015,
    1512.03385).

    What is emitted is a further first state, `out`, which no equation reads. The input must be as wide as the output.
    """
    if "out" in cell.states:
        raise CellError(f"cell {cell.label!r} already has a state 'out'", do="use residual once")
    first = next(iter(cell.states.values()))

    def equations(operands: Operands) -> tuple[Symbol, ...]:
        new = step(cell, replace(operands, states={k: v for k, v in operands.states.items() if k != "out"}))
        return (new[0] + relabel(operands.inputs[next(iter(cell.inputs))], like=new[0]), *new)

    return _varied(cell, f"residual({cell.label})", equations, states={"out": first, **cell.states})


def step(cell: Cell, operands: Operands) -> tuple[Symbol, ...]:
    """The new states of one step of a cell, always as a tuple."""
    new = cell.equations(operands)
    values: tuple[object, ...] = tuple(new) if isinstance(new, tuple | list) else (new,)  # type: ignore[arg-type]
    symbols = tuple(value for value in values if isinstance(value, Symbol))
    if len(symbols) != len(values) or len(values) != len(cell.states):
        kinds = [(v.name or "a symbol") if isinstance(v, Symbol) else type(v).__name__ for v in values]
        raise CellError(
            f"cell {cell.label!r} ({cell.file}, line {cell.line}): it does not return its states",
            expected=f"{len(cell.states)} value(s), the new {', '.join(cell.states)}",
            got=f"{len(values)} value(s): {', '.join(kinds)}",
            do=f"end the cell with `return {', '.join(cell.states)}`, in the order of its signature",
        )
    return symbols


def _recorder(operands: Operands):
    return next(iter(operands.states.values())).recorder


def _depends(value: Symbol, leaves: set[int]) -> bool:
    seen: set[int] = set()
    todo: list[Operand] = [value]
    while todo:
        node = todo.pop()
        if not isinstance(node, Symbol) or id(node) in seen:
            continue
        if id(node) in leaves:
            return True
        seen.add(id(node))
        todo.extend(node.args)
    return False


def _varied(cell: Cell, name: str, equations: Callable[[Operands], tuple[Symbol, ...]], **changes: object) -> Cell:
    cleared = {"options": {}, "defaults": {}, "rebind": None}
    return replace(cell, name=name, equations=equations, **{**cleared, **changes})  # type: ignore[arg-type]


def _check_rate(what: str, rate: float) -> None:
    if not 0 <= rate < 1:
        raise OptionError(f"{what} has a rate that cannot be", expected="0 <= rate < 1", got=repr(rate))
