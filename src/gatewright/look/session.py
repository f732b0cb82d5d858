"""What a live page asks of a model: to read a text or a series, and to write on, with gates clamped or as they are."""

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from threading import Lock
from typing import Any, cast

import numpy as np

from gatewright.errors import OptionError
from gatewright.inspect.activity.activations import Activations, LayerActivations
from gatewright.inspect.activity.clamped import Clamp, clamped
from gatewright.inspect.activity.observe import activations_of, observe
from gatewright.inspect.measures.steps import share_gates
from gatewright.look.incremental import IncrementalReader, common_steps, is_causal
from gatewright.look.payload import LiveOptions, described, nothing_summarised
from gatewright.look.quantised import ValueRange, in_script
from gatewright.look.request_fields import number_of, text_of, whole_number_of
from gatewright.tasks.answers.network_inputs import NetworkInputs
from gatewright.tasks.forecasting.predictor import ForecastPredictor
from gatewright.tasks.language.generator import TextGenerator
from gatewright.tasks.language.recipe import LanguageModel
from gatewright.tasks.run import Run
from gatewright.trace import Trace

MOST_CHARACTERS = 4000
"""Of a text that is read: longer ones would take too long to answer while somebody types."""
MOST_WRITTEN = 2000
_ROOM = 1.25  # above the largest value so far: a little larger ones need no new range

Ranges = dict[tuple[str, str], ValueRange]


@dataclass(eq=False)
class _Network:
    """A run, with clamped gates or without, and the texts that it has read."""

    clamps: tuple[Clamp, ...]
    run: Run
    reader: IncrementalReader


@dataclass(frozen=True, eq=False)
class _Reply:
    """The latest reply: a page that has it needs only what has changed since.

    `values` is what was read, where later steps do not change what the network did at earlier ones.
    """

    version: int
    network: _Network
    ranges: Ranges
    values: Any


class LiveSession:
    """One model that answers a live page. Requests are answered one after the other."""

    def __init__(self, run: Run) -> None:
        recipe = run.model.recipe
        self.writes = isinstance(recipe, LanguageModel)
        predictor = run.predictor()
        self.forecaster = predictor if isinstance(predictor, ForecastPredictor) else None
        self.reads_texts = self.writes or bool(getattr(recipe, "reads_lines", False)) or recipe.name == "tagging"
        if not self.reads_texts and self.forecaster is None:
            raise OptionError(
                f"a model of the recipe {recipe.name!r} has no live page",
                expected="a model that reads texts, or one that forecasts a series",
                do="write a page: gw.look.page",
                shell="write a page without --live",
            )
        self.run = run
        self._lock = Lock()
        self._predictor: Any = predictor
        self._network = self._plain = _Network((), run, IncrementalReader(run))
        self._reply: _Reply | None = None
        self._traces: dict[str, Trace] = {}  # of the layers without clamps, once they were needed

    @property
    def options(self) -> dict[str, Any]:
        """What the page may ask for."""
        if self.forecaster is None:
            return {"reads": "text", "writes": self.writes}
        recipe = self.forecaster.recipe
        return {"reads": "series", "writes": False, "history": recipe.history, "horizon": recipe.horizon}

    def observed(self, text: str, clamps: Sequence[Clamp] = ()) -> Activations:
        """The activations for a text. With clamps the gates are as clamped, and the equations are those of the cell."""
        with self._lock:
            cut = text[:MOST_CHARACTERS]
            return self._read_text(cut, self._batches(cut), self._with(clamps))[0]

    def forecast(
        self, values: object = None, *, horizon: int | None = None, clamps: Sequence[Clamp] = ()
    ) -> Activations:
        """The activations for a history in place of the end of the first series, which is read where there is none.

        Raises OptionError for values that do not fit, and for more steps than were trained.
        """
        with self._lock:
            return self._forecast(values, horizon, self._with(clamps))

    def warm_up(self, text: str) -> None:
        """Read a text and a symbol more, so that the kernels for both are compiled before somebody types."""
        if self.reads_texts and text:
            self.observed(text)
            self.observed(text + text[-1])

    def read(self, asked: Mapping[str, Any]) -> bytes:
        """The content of a page: the size of its header (4 bytes, little-endian), header, numbers.

        `asked` holds `text`, or `series` and `horizon`; `clamps`; the `version` of the reply that the page has; and
        whether saturation and half-lives are wanted, `summaries`. A reply to a page that has the latest one holds only
        the steps that have changed. A text without a symbol that the model reads has no reply.
        """
        clamps = clamps_of(asked.get("clamps", []))
        with self._lock:
            network = self._with(clamps)
            if self.forecaster is None:
                text = text_of(asked)[:MOST_CHARACTERS]
                is_blank = not (text if self.writes else text.strip())  # blanks are symbols to a language model alone
                batches = [] if is_blank else self._batches(text)
                if not any(len(batch.values) for batch in batches):
                    return b""
                seen, values = self._read_text(text, batches, network)
            else:
                seen, values = self._forecast(asked.get("series"), asked.get("horizon"), network), None
            last = self._reply
            is_known = last is not None and last.network is network and asked.get("version") == last.version
            live = self._changes(seen, values, last if is_known else None)
            version = 1 if last is None else last.version + 1
            self._reply = _Reply(version, network, dict(live.ranges), values)
            # Saturation and half-lives are of the whole text: they would take half of the time of a reply.
            known = None if asked.get("summaries") else nothing_summarised()
            header, blob = described(seen, title="", steps=MOST_CHARACTERS, known=known, live=live)
        content = in_script({**header, "version": version}).encode("utf-8", "replace")
        return struct.pack("<I", len(content)) + content + blob.content()

    @staticmethod
    def _changes(seen: Activations, values: Any, last: _Reply | None) -> LiveOptions:
        """What a page that has the latest reply, or none, needs."""
        if last is not None and last.values is not None and values is not None:
            kept = min(common_steps(last.values, values), MOST_CHARACTERS)
            ranges = _ranges(seen, last.ranges, kept)
            if ranges is not None:
                return LiveOptions(kept, ranges)
        return LiveOptions(0, _ranges(seen, None, 0) or {})

    def write(
        self,
        text: str,
        *,
        length: int = 200,
        temperature: float = 1.0,
        seed: int = 0,
        clamps: Sequence[Clamp] = (),
    ) -> str:
        """What the network writes after a text. Raises OptionError for options out of their range."""
        if not self.writes:
            raise OptionError(f"a model of the recipe {self.run.model.recipe.name!r} writes no text")
        if not 0 <= length <= MOST_WRITTEN:
            raise OptionError("length is out of range", expected=f"0 to {MOST_WRITTEN}", got=str(length))
        with self._lock:
            writer = TextGenerator(self._with(clamps).run.model)
            pieces = writer.stream(text[-MOST_CHARACTERS:], length=length, temperature=temperature, seed=seed)
            return "".join(islice(pieces, length))

    def _batches(self, text: str) -> list[NetworkInputs]:
        """What the network reads of a text: the first two batches, since only one is read in parts."""
        if not self.reads_texts:
            raise OptionError(f"a model of the recipe {self.run.model.recipe.name!r} reads no text")
        if not text:
            raise OptionError("there is no text to read", do="type a text")
        return list(islice(self._predictor.network_inputs([text]), 2))

    def _read_text(self, text: str, batches: Sequence[NetworkInputs], network: _Network) -> tuple[Activations, Any]:
        """The activations for a text, and what was read where the network reads step after step; else None."""
        if len(batches) == 1 and len(batches[0].lengths) == 1:
            seen = network.reader.read(batches[0])
            values = batches[0].values if is_causal(network.run.model.network, seen) else None
        else:  # several sentences are rows of their own
            seen, values = observe(network.run, text=text), None
        return self._with_own_traces(seen, network, lambda: observe(self.run, text=text[:1])), values

    def _forecast(self, values: object, horizon: object, network: _Network) -> Activations:
        if self.forecaster is None:
            raise OptionError(f"a model of the recipe {self.run.model.recipe.name!r} forecasts no series")
        recipe, (window, *_) = self.forecaster.recipe, self.forecaster.windows(None)
        steps = recipe.horizon if horizon is None else horizon
        if not isinstance(steps, int) or not 1 <= steps <= recipe.horizon:
            raise OptionError("the horizon is out of range", expected=f"1 to {recipe.horizon}", got=str(steps))
        if values is not None:
            window = replace(window, values=_history(values, window.values.shape))
        inputs = next(self.forecaster.window_inputs([window]))
        seen = activations_of(network.run.model.network, inputs)
        seen = self._with_own_traces(seen, network, lambda: activations_of(self.run.model.network, inputs))
        return _ahead(seen, recipe.history + steps, steps)

    def _with_own_traces(
        self, seen: Activations, network: _Network, read_plain: Callable[[], Activations]
    ) -> Activations:
        """Activations of clamped layers with the equations of the cell, not those with clamps in them.

        `read_plain`: has the network without clamps read anything; called once, since equations stay the same.
        """
        if not network.clamps:
            return seen
        if not self._traces:
            self._traces = {name: layer.trace for name, layer in read_plain().layers.items()}
        layers = {name: replace(layer, trace=self._traces[name]) for name, layer in seen.layers.items()}
        return replace(seen, layers=layers)

    def _with(self, clamps: Sequence[Clamp]) -> _Network:
        """The network with clamped gates; the latest one is kept, and so is the one without clamps."""
        wanted = tuple(clamps)
        if not wanted:
            return self._plain
        if self._network.clamps != wanted:
            network = clamped(self.run.model.network, wanted)
            run = replace(self.run, model=replace(self.run.model, network=network))
            self._network = _Network(wanted, run, IncrementalReader(run))
        return self._network


def _history(values: object, shape: tuple[int, ...]) -> Any:
    """The history that a page sent, (steps, variables). Raises OptionError where it does not fit."""
    try:
        history = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        history = np.zeros(0)
    if history.shape != shape or not np.isfinite(history).all():
        raise OptionError(
            "the history does not fit the model",
            expected=f"{shape[0]} steps of {shape[1]} number{'s' if shape[1] > 1 else ''}",
            got=f"an array of shape {history.shape}" if history.size else "something else",
        )
    return history


def _ahead(seen: Activations, length: int, horizon: int) -> Activations:
    """Activations with fewer steps of the forecast."""
    layers = {
        name: replace(layer, lengths=np.minimum(layer.lengths, length), **_first_steps(layer, length))
        for name, layer in seen.layers.items()
    }
    return replace(
        seen,
        layers=layers,
        lengths=np.minimum(seen.lengths, length),
        symbols=None if seen.symbols is None else [row[:length] for row in seen.symbols],
        measured=None if seen.measured is None else seen.measured[:length],
        outputs=None if seen.outputs is None else seen.outputs[:horizon],
    )


def _first_steps(layer: LayerActivations, length: int) -> dict[str, Any]:
    return {
        "inputs": layer.inputs[:length],
        "gates": {name: values[:length] for name, values in layer.gates.items()},
        "states": {name: values[:length] for name, values in layer.states.items()},
    }


def _ranges(seen: Activations, known: Ranges | None, since: int) -> Ranges | None:
    """The ranges of all values that are no shares: those known, or new ones. None where a known one is too small."""
    ranges: Ranges = {}
    for layer in seen:
        for name in {*layer.gates, *layer.states} - set(share_gates(layer)):
            own = ValueRange.around_zero(layer.values(name)[since:])
            before = None if known is None else known.get((layer.name, name))
            if before is not None and own.high > before.high:
                return None
            high = _ROOM * own.high if own.high > 1 else 1.0  # of a tanh, which most states are of
            ranges[layer.name, name] = before or ValueRange(-high, high)
    return ranges


def clamps_of(entries: object) -> list[Clamp]:
    """Clamps out of JSON. Raises OptionError where they are none."""
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        raise _no_clamps()
    return [_clamp(entry) for entry in cast("Sequence[object]", entries)]


def _clamp(entry: object) -> Clamp:
    if not isinstance(entry, Mapping):
        raise _no_clamps()
    fields = cast("Mapping[str, Any]", entry)
    try:
        unit, value = whole_number_of(fields, "unit"), number_of(fields, "value")
        return Clamp(text_of(fields, "layer"), text_of(fields, "gate"), unit, value)
    except OptionError as error:
        raise _no_clamps() from error


def _no_clamps() -> OptionError:
    return OptionError("the clamps cannot be read", expected="a list of objects with layer, gate, unit and value")
