"""What a page is made of: a header that says what there is, and a blob with the numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.backends.formulas import unicode
from gatewright.errors import OptionError
from gatewright.inspect.activity.activations import Activations, LayerActivations
from gatewright.inspect.measures.half_life import half_life
from gatewright.inspect.measures.saturation import saturation
from gatewright.inspect.measures.steps import share_gates
from gatewright.look.described_extras import described_extras
from gatewright.look.extras import NO_EXTRAS, Extras
from gatewright.look.quantised import LEVELS, Blob, ValueRange, are_smooth, differences, in_script, packed
from gatewright.look.rows import described_row, row_names, shortened
from gatewright.trace import Trace

LARGEST = 1_500_000
"""Bytes of a page, at most."""
STEPS = 2000
"""Steps of a row that are shown, unless it is asked for more."""
ROWS = 16
"""Rows that are shown, unless it is asked for more."""
_SHARE = ValueRange(0.0, 1.0)


class PageSizeError(OptionError):
    """A page would be larger than it may be."""


@dataclass(frozen=True)
class Payload:
    """The header, ready for JSON, and the packed numbers."""

    header: dict[str, Any]
    blob: str


@dataclass(frozen=True)
class LiveOptions:
    """How a live page is to have the numbers.

    - `since`: the step from which on it needs them; it has those before.
    - `ranges`: of values by layer and name, so that levels stay comparable from reply to reply.
    """

    since: int = 0
    ranges: Mapping[tuple[str, str], ValueRange] = field(default_factory=dict[tuple[str, str], ValueRange])


def payload(
    activations: Activations, *, title: str, steps: int = STEPS, largest: int = LARGEST, extras: Extras = NO_EXTRAS
) -> Payload:
    """The finest payload that is no larger than `largest` bytes.

    Raises PageSizeError where even the coarsest is larger.
    """
    size, known = 0, summarised(activations, steps, extras)
    for levels in LEVELS:
        header, blob = described(activations, title=title, steps=steps, levels=levels, known=known)
        text = packed(blob.content())
        size = len(text) + len(in_script(header).encode("utf-8", "replace"))
        if size <= largest:
            return Payload(header, text)
    raise PageSizeError(
        "the page would be too large",
        expected=f"at most {largest / 1e6:.1f} MB",
        got=f"{size / 1e6:.1f} MB for {activations.batch} rows of up to {min(steps, activations.steps)} steps",
        do="show fewer steps or fewer rows",
        shell="show fewer steps: --steps N, or fewer rows: --rows N",
    )


def described(
    activations: Activations,
    *,
    title: str,
    steps: int = STEPS,
    levels: int = LEVELS[0],
    known: "Summaries | None" = None,
    live: LiveOptions | None = None,
) -> tuple[dict[str, Any], Blob]:
    """The header of activations, and their numbers. `known` are those of `summarised`; they are made where None.

    Shown are the layers whose steps are those of the rows. Raises OptionError where there is none.

    `live`: how a live page is to have the numbers; they are not packed then.
    """
    activations = _with_steps_of_rows(activations)
    known = known or summarised(activations, steps, NO_EXTRAS)
    blob = replace(known.blob, parts=[*known.blob.parts])
    is_scaled, names = activations.measured is None, row_names(activations)
    lengths = _shown_lengths(activations, steps)
    layers = [_layer(layer, lengths, levels, blob, live) for layer in activations]
    since = 0 if live is None else live.since
    header = {
        "title": title,
        "levels": levels,
        "patch": activations.patch,
        "since": since,
        "layers": layers,
        "outputKind": activations.output_kind or ("label" if activations.labels else ""),
        "rows": [
            {"name": names[row], **described_row(activations, row, int(lengths[row]), blob, since=since)}
            for row in range(activations.batch)
        ],
        "labels": list(activations.labels or ()),
        "variables": list((activations.variables if is_scaled else activations.measured_names) or ()),
        **known.header,
    }
    return header, blob


@dataclass(frozen=True)
class Summaries:
    """The parts of a header that are the same for any number of levels, and the blob that their tables begin."""

    header: Mapping[str, Any]
    blob: Blob


def summarised(activations: Activations, steps: int = STEPS, extras: Extras = NO_EXTRAS) -> Summaries:
    """Saturation, half-lives of units, and extras."""
    blob = Blob()
    header = {
        "saturation": [
            {"layer": table.layer, "gate": table.gate, "left": shortened(table.left), "right": shortened(table.right)}
            for table in saturation(activations)
        ],
        "halfLife": [
            {"layer": memory.layer, "gate": memory.gate, "steps": shortened(memory.steps)}
            for memory in half_life(activations)
        ],
        **described_extras(extras, _shown_lengths(activations, steps), blob),
    }
    return Summaries(header, blob)


def nothing_summarised() -> Summaries:
    """The same parts without saturation, half-lives and extras: for a live page, while somebody types."""
    blob = Blob()
    return Summaries(described_extras(NO_EXTRAS, (), blob), blob)


def _shown_lengths(activations: Activations, steps: int) -> NDArray[np.int64]:
    """How many steps of each row are shown, in steps of the layers."""
    return np.minimum(activations.lengths, -(-steps // activations.patch))


def _with_steps_of_rows(activations: Activations) -> Activations:
    layers = {layer.name: layer for layer in activations if activations.has_steps_of(layer)}
    if not layers:
        raise OptionError("no layer has a step for each step of the rows", got=", ".join(activations.layers))
    return replace(activations, layers=layers)


def _layer(
    layer: LayerActivations, lengths: NDArray[np.int64], levels: int, blob: Blob, live: LiveOptions | None
) -> dict[str, Any]:
    """One layer: its equations, and where the levels of each value lie, for each row (units, steps)."""
    shares, roles = set(share_gates(layer)), layer.roles
    values: list[dict[str, Any]] = []
    for name in dict.fromkeys((*layer.gates, *layer.states)):  # the new state of Elman's cell is a gate, too
        array = layer.values(name)
        known = None if live is None else live.ranges.get((layer.name, name))
        bounds = _SHARE if name in shares else known or ValueRange.around_zero(array)
        since = 0 if live is None else live.since
        tables = [bounds.levels(array[since : int(length), row].T, levels) for row, length in enumerate(lengths)]
        is_smooth = live is None and are_smooth(tables)
        offsets = [blob.add(differences(table) if is_smooth else table) for table in tables]
        values.append(
            {
                "name": name,
                "kind": "gate" if name in shares else "state" if name in layer.states else "value",
                "role": _role(name, roles.keeps, roles.replaces, roles.writes),
                "low": bounds.low,
                "high": bounds.high,
                "differences": is_smooth,
                "offsets": offsets,
                "units": array.shape[-1],
            }
        )
    return {"name": layer.name, "equations": _equations(layer.trace), "values": values}


@lru_cache
def _equations(trace: Trace) -> tuple[str, ...]:
    """The lines of a cell's equations. A live page asks for the same ones at each key."""
    return tuple(unicode.equations(trace).splitlines())


def _role(name: str, keeps: Sequence[str], replaces: Sequence[str], writes: Any) -> str:
    if name in keeps:
        return "at 1 it keeps the old state"
    if name in replaces:
        return "at 1 it replaces the old state"
    return "at 1 it writes the new value in whole" if name in writes else ""
