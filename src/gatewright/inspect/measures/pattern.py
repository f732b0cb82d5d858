"""Pattern search: Strobelt, Gehrmann, Pfister & Rush 2018, "LSTMVis", 1606.07461.

A span of a row is marked. The units that are on within it and off beside it stand for what the span is, and other spans
with the same units on are likely of the same kind. The paper has units that are above a threshold; here units that are
far below 0 count as well, each by its own sign.
"""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import OptionError, OptionTypeError
from gatewright.inspect.activity.activations import Activations, LayerActivations
from gatewright.inspect.arguments import real_number, whole_number
from gatewright.inspect.measures.steps import Source, batches_of, recorded

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class PatternMatch:
    """A span like the marked one.

    - `batch`, `row`, `start`, `stop`: where it is; `stop` is the step after its last one.
    - `share`: of the pattern's units, the share that is on throughout the span and off beside it.
    - `before`, `within`, `after`: the symbols around and in it; empty where steps have no symbols.
    - `first`: the first of the steps around and in it; `on` and `read` begin there.
    - `on`: the share of the pattern's units that is on, at each of these steps.
    - `read`: the numbers that were read at each of these steps; empty where only symbols were read.
    """

    batch: int
    row: int
    start: int
    stop: int
    share: float
    before: tuple[str, ...] = ()
    within: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    first: int = 0
    on: tuple[float, ...] = ()
    read: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True, eq=False)
class UnitPattern:
    """The units that are on only within a span, and spans that are like it, the most alike first.

    - `signs` (units,): 1 for a unit that is on above `threshold`, -1 for one that is on below minus `threshold`.
    - `patch`: how many symbols the layers read as one step.
    """

    layer: str
    value: str
    span: tuple[int, int]
    row: int
    units: NDArray[np.int64]
    signs: NDArray[np.int64]
    matches: tuple[PatternMatch, ...]
    threshold: float
    patch: int = 1

    def lines(self) -> list[str]:
        """The matches as text, one a line, with the spans below one another between ⟦ and ⟧."""
        shown = [tuple("".join(map(_visible, part)) for part in (m.before, m.within, m.after)) for m in self.matches]
        width = max((len(before) for before, _, _ in shown), default=0)
        return [f"{before:>{width}}⟦{within}⟧{after}" for before, within, after in shown]


def find_pattern(
    activations: Activations,
    span: tuple[int, int],
    *,
    row: int = 0,
    layer: str | None = None,
    value: str | None = None,
    threshold: float = 0.3,
    corpus: Source | None = None,
    least: float = 0.5,
    limit: int = 20,
    context: int = 12,
) -> UnitPattern:
    """Find the units that are on only within a span of a row, and like spans elsewhere.

        pattern = gw.inspect.find_pattern(activations, (4, 11), corpus=gw.inspect.observations(run, "book.txt"))
        print(*pattern.lines(), sep="\\n")

    - `span`: its first step, and the step after its last one.
    - `value`: the state or gate that is looked at, by default the first state; `layer`: by default the first one.
    - `threshold`: a unit is on where its value is further from 0 than this, with the same sign in all of the span. It
      has to be off in the step before the span and in the step after it, where the row has these.
    - `corpus`: where like spans are looked for: activations or a stream of them, by default the activations themselves.
    - `least`: spans where at least this share of the units is on. Of these the `limit` best are kept, by the share of
      units that are on throughout and off beside the span, then by how near their length is to that of the marked one.
    - `context`: symbols before and after each span, or steps where these have no symbols.

    Raises OptionError for a row, span, layer or value that does not exist, for numbers out of their range, and for a
    corpus of another network.
    """
    if whole_number("limit", limit) < 1:
        raise OptionError("there is nothing to find", expected="a limit of 1 or more", got=str(limit))
    if not real_number("threshold", threshold) >= 0:
        raise OptionError("threshold is a distance from 0", expected="0 or more", got=str(threshold))
    if not 0 <= real_number("least", least) <= 1:
        raise OptionError("least is a share of the units", expected="0 to 1", got=str(least))
    if whole_number("context", context) < 0:
        raise OptionError("context is a number of steps", expected="0 or more", got=str(context))
    activity = recorded(activations).layer(layer)
    value = next(iter(activity.states)) if value is None else value
    span = _checked_span(activity, span, row)
    units, signs = _units_on(activity.values(value)[: int(activity.lengths[row]), row], span, threshold)
    search = _Search(activity, value, units, signs, threshold, least, span[1] - span[0], context)
    found = search.matches(activations if corpus is None else corpus) if len(units) else ()
    best = heapq.nsmallest(limit, found, key=search.rank)
    return UnitPattern(activity.name, value, span, row, units, signs, tuple(best), threshold, activations.patch)


def _checked_span(layer: LayerActivations, span: Sequence[int], row: int) -> tuple[int, int]:
    if not 0 <= whole_number("row", row) < len(layer.lengths):
        raise OptionError(f"there is no row {row}", expected=f"0 to {len(layer.lengths) - 1}")
    length = int(layer.lengths[row])
    try:
        start, stop = (whole_number("span", step) for step in span)
    except (TypeError, ValueError) as error:  # no two steps, or no steps at all
        raise OptionTypeError(
            "a span is two steps", expected="its first step and the step after its last one", got=repr(span)[:80]
        ) from error
    if not 0 <= start < stop <= length:
        raise OptionError(
            f"row {row} has no span {span}",
            expected=f"its first step and the step after its last one, from 0 to {length}",
        )
    return start, stop


def _units_on(values: NDArray[np.floating], span: tuple[int, int], threshold: float) -> tuple[NDArray[np.int64], ...]:
    """The units that are on in all of a span and off beside it, and their signs."""
    start, stop = span
    above, below = _only_within(values > threshold, start, stop), _only_within(values < -threshold, start, stop)
    units = np.flatnonzero(above | below)
    return units, np.where(above[units], 1, -1)


def _only_within(on: Flags, start: int, stop: int) -> Flags:
    """Which units (units,) are on in all steps of a span and off in the steps beside it."""
    beside = on[[step for step in (start - 1, stop) if 0 <= step < len(on)]]
    within: Flags = np.all(on[start:stop], axis=0)
    return within & ~np.any(beside, axis=0)


@dataclass(frozen=True, eq=False)
class _Search:
    marked: LayerActivations
    value: str
    units: NDArray[np.int64]
    signs: NDArray[np.int64]
    threshold: float
    least: float
    length: int
    context: int

    def matches(self, source: Source) -> Iterator[PatternMatch]:
        """All spans in which enough of the units are on."""
        for batch, activations in enumerate(batches_of(source)):
            layer = self._like_marked(activations)
            values = layer.values(self.value)[..., self.units] * self.signs
            for row, length in enumerate(layer.lengths.tolist()):
                on = values[:length, row] > self.threshold
                enough = on.mean(1) >= self.least
                edges = np.flatnonzero(np.diff(enough, prepend=False, append=False)).tolist()
                for start, stop in zip(edges[::2], edges[1::2], strict=True):
                    yield self._match(activations, batch, row, (start, stop), on)

    def _like_marked(self, activations: Activations) -> LayerActivations:
        """The layer in which the span is marked, in another batch. Raises OptionError where its units are others."""
        layer = activations.layer(self.marked.name)
        values, others = ({**own.gates, **own.states} for own in (self.marked, layer))
        if values.keys() != others.keys() or layer.values(self.value).shape[-1] != values[self.value].shape[-1]:
            raise OptionError(
                f"the layer {layer.name!r} of the corpus is not that of the span",
                expected=f"{values[self.value].shape[-1]} units with {', '.join(values)}",
                got=f"{next(iter(others.values())).shape[-1]} units with {', '.join(others)}",
            )
        return layer

    def rank(self, match: PatternMatch) -> tuple[float, int, int, int, int]:
        """What matches are sorted by: small for those that are most alike."""
        return -match.share, abs(match.stop - match.start - self.length), match.batch, match.row, match.start

    def _match(self, activations: Activations, batch: int, row: int, span: tuple[int, int], on: Flags) -> PatternMatch:
        """A span of a row. `on` (steps, units) are the steps of the row at which the pattern's units are on."""
        patch, (start, stop) = activations.patch, span
        steps = -(-self.context // patch)
        first, last = max(0, start - steps), min(len(on), stop + steps)
        match = PatternMatch(
            batch,
            row,
            start,
            stop,
            float(_only_within(on, start, stop).mean()),
            first=first,
            on=tuple(on[first:last].mean(1).tolist()),
        )
        if not activations.has_steps_of(activations.layer(self.marked.name)):
            return match
        numbers = activations.series if activations.measured is None else activations.measured
        if numbers is not None and patch == 1:
            read = numbers[first:last, row].reshape(last - first, -1).tolist()
            match = replace(match, read=tuple(map(tuple, read)))
        if activations.symbols is not None:
            symbols: Sequence[str] = activations.symbols[row]
            begin, end = start * patch, stop * patch
            return replace(
                match,
                before=tuple(symbols[max(0, begin - self.context) : begin]),
                within=tuple(symbols[begin:end]),
                after=tuple(symbols[end : end + self.context]),
            )
        return match


def _visible(symbol: str) -> str:
    return {"\n": "↵", "\t": "⇥"}.get(symbol, symbol)
