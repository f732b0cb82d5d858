"""Which units are worth a look: how much each varies, how much the symbol explains, how saturated and slow it is."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError, OptionError
from gatewright.inspect.activity.activations import Activations, LayerActivations
from gatewright.inspect.measures.saturation import HIGH, LOW
from gatewright.inspect.measures.steps import Moments, Source, Values, batches_of, share_gates, valid_steps
from gatewright.lang.ops import Op

By = Literal["variance", "selectivity", "saturation", "slowness"]


@dataclass(frozen=True, eq=False)
class UnitOrder:
    """Measures (units,) of the units of one gate or state.

    - `variance`: over all steps of all rows.
    - `selectivity`: the share of the variance that the symbol at the step explains, from 0 to 1: a unit with 1 has one
      value for each symbol, one with 0 ignores it. NaN where steps have no symbols, and for a unit that never varies.
      Few steps a symbol make it too high.
    - `saturation`: the share of steps below 0.1 or above 0.9 of a gate between 0 and 1, or beyond 0.9 on either side of
      what tanh gives; NaN for others.
    - `slowness`: 1 less the mean squared change from a step to the next, over twice the variance: near 1 for a unit
      that changes slowly, 0 for noise. In long rows it is the correlation of a step with the next one.
    """

    layer: str
    value: str
    variance: Values
    selectivity: Values
    saturation: Values
    slowness: Values

    def units(self, by: By = "variance") -> NDArray[np.int64]:
        """The units, those with the largest measure first and those without one last."""
        if by not in get_args(By):
            raise OptionError(f"units have no order by {by!r}", expected=", ".join(get_args(By)))
        measure: Values = getattr(self, by)
        return np.argsort(np.where(np.isnan(measure), np.inf, -measure), kind="stable")


def unit_order(source: Source) -> list[UnitOrder]:
    """Measures by which to choose units, for every gate and state of every layer.

        order = gw.inspect.unit_order(activations)[0]
        order.units("selectivity")[:10]

    `source`: activations, or a stream of them such as `gw.inspect.observations(run, data)`. Raises DataError where
    there are no steps.
    """
    sums: dict[tuple[str, str], _UnitSums] = defaultdict(_UnitSums)
    for activations in batches_of(source):
        names = _step_symbols(activations)
        for layer in activations:
            symbols = names if activations.has_steps_of(layer) else None
            limited = dict(_limited(layer))
            for name in dict.fromkeys((*layer.gates, *layer.states)):
                sums[layer.name, name].add(layer, name, symbols, limited.get(name))
    if not any(total.moments.count for total in sums.values()):
        raise DataError("there is no step to measure: the data has no rows")
    return [total.order(*key) for key, total in sums.items()]


class _UnitSums:
    """Sums over the steps of a stream, by unit."""

    def __init__(self) -> None:
        self.moments, self.pairs = Moments(), 0
        self.by_symbol: dict[str, Moments] = defaultdict(Moments)
        self.has_symbols = True
        self.outside: Values | None = None
        self.changes: Values = np.zeros(1)

    def add(
        self, layer: LayerActivations, name: str, symbols: NDArray[np.str_] | None, bounds: tuple[float, float] | None
    ) -> None:
        values = valid_steps(layer, name)
        self.moments.add(values)
        if bounds is not None:
            outside = ((values < bounds[0]) | (values > bounds[1])).sum(0) + np.where(
                np.isnan(values).any(0), np.nan, 0
            )
            self.outside = outside + (0 if self.outside is None else self.outside)
        whole = layer.values(name)[: layer.steps].astype(np.float64)
        pairs = layer.mask()[1:]
        self.changes = self.changes + ((whole[1:] - whole[:-1]) ** 2)[pairs].sum(0)
        self.pairs += int(pairs.sum())
        if symbols is None:
            self.has_symbols = False
            return
        order = np.argsort(symbols, kind="stable")
        names, starts = np.unique(symbols[order], return_index=True)
        for symbol, part in zip(names.tolist(), np.split(values[order], starts[1:]), strict=True):
            self.by_symbol[symbol].add(part)

    def order(self, layer: str, name: str) -> UnitOrder:
        variance, count = self.moments.variance, max(self.moments.count, 1)
        unknown = np.full_like(variance, np.nan)
        varying = np.where(variance > 0, variance, np.nan)
        selectivity = unknown
        if self.has_symbols:
            within = sum((part.variance * part.count for part in self.by_symbol.values()), np.zeros_like(variance))
            selectivity = np.clip(1 - within / count / varying, 0, 1)
        saturation = unknown if self.outside is None else self.outside / count
        slowness = 1 - self.changes / self.pairs / (2 * varying) if self.pairs else unknown
        return UnitOrder(layer, name, variance, selectivity, saturation, slowness)


def _limited(layer: LayerActivations) -> Iterator[tuple[str, tuple[float, float]]]:
    """The gates with values between two ends, and the numbers beyond which they are saturated."""
    for name in share_gates(layer):
        yield name, (LOW, HIGH)
    definitions = layer.trace.definitions()
    for name, value in layer.trace.gates:
        if value.name in definitions and definitions[value.name].op is Op.TANH:
            yield name, (-HIGH, HIGH)


def _step_symbols(activations: Activations) -> NDArray[np.str_] | None:
    """The symbol of every step, in the order of `valid_steps`; None where steps have none."""
    if activations.symbols is None or activations.patch > 1:
        return None
    place = activations.mask().nonzero()
    return np.array([activations.symbols[row][step] for step, row in zip(*place, strict=True)], np.str_)
