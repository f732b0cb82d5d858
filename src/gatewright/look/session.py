"""What a live page asks of a model: to read a text, and to write on, with gates clamped or as they are."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from threading import Lock
from typing import Any

from gatewright.errors import OptionError
from gatewright.inspect.activity.activations import Activations
from gatewright.inspect.activity.clamped import Clamp, clamped
from gatewright.inspect.activity.observe import observe
from gatewright.look.payload import described
from gatewright.look.quantised import in_script
from gatewright.tasks.language.generator import TextGenerator
from gatewright.tasks.language.recipe import LanguageModel
from gatewright.tasks.run import Run
from gatewright.trace import Trace

MOST_CHARACTERS = 4000
"""Of a text that is read: longer ones would take too long to answer while somebody types."""
MOST_WRITTEN = 2000


class LiveSession:
    """One model that answers a live page. Requests are answered one after the other."""

    def __init__(self, run: Run) -> None:
        if not isinstance(run.model.recipe, LanguageModel):
            raise OptionError(
                f"a model of the recipe {run.model.recipe.name!r} writes no text, and has no live page",
                expected="a model of the recipe 'text' or 'words'",
                do="write a page: gw.look.page",
                shell="write a page without --live",
            )
        self.run = run
        self._lock = Lock()
        self._clamped: tuple[tuple[Clamp, ...], Run] = ((), run)
        self._traces: dict[str, Trace] = {}  # of the layers without clamps, once they were needed

    def observed(self, text: str, clamps: Sequence[Clamp] = ()) -> Activations:
        """The activations for a text. With clamps the gates are as clamped, and the equations are those of the cell."""
        with self._lock:
            run = self._with(clamps)
            seen = observe(run, text=text[:MOST_CHARACTERS])
            if run is self.run:
                return seen
            if not self._traces:
                plain = observe(self.run, text=text[:1])
                self._traces = {name: layer.trace for name, layer in plain.layers.items()}
        layers = {name: replace(layer, trace=self._traces[name]) for name, layer in seen.layers.items()}
        return replace(seen, layers=layers)

    def read(self, text: str, clamps: Sequence[Clamp] = ()) -> bytes:
        """The content of a page for a text: the size of its header (4 bytes, little-endian), header, numbers."""
        header, blob = described(self.observed(text, clamps), title="", steps=MOST_CHARACTERS, is_packed=False)
        content = in_script(header).encode("utf-8", "replace")
        return struct.pack("<I", len(content)) + content + blob.content()

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
        if not 0 <= length <= MOST_WRITTEN:
            raise OptionError("length is out of range", expected=f"0 to {MOST_WRITTEN}", got=str(length))
        with self._lock:
            writer = TextGenerator(self._with(clamps).model)
            pieces = writer.stream(text[-MOST_CHARACTERS:], length=length, temperature=temperature, seed=seed)
            return "".join(islice(pieces, length))

    def _with(self, clamps: Sequence[Clamp]) -> Run:
        """The run with clamped gates; the latest one is kept."""
        if not clamps:
            return self.run
        wanted = tuple(clamps)
        if self._clamped[0] != wanted:
            network = clamped(self.run.model.network, wanted)
            self._clamped = wanted, replace(self.run, model=replace(self.run.model, network=network))
        return self._clamped[1]


def clamps_of(entries: object) -> list[Clamp]:
    """Clamps out of JSON. Raises OptionError where they are none."""
    try:
        if not isinstance(entries, Sequence) or isinstance(entries, str):
            raise TypeError
        return [_clamp(entry) for entry in entries]
    except (TypeError, KeyError, ValueError) as error:
        raise OptionError(
            "the clamps cannot be read", expected="a list of objects with layer, gate, unit and value"
        ) from error


def _clamp(entry: Mapping[str, Any]) -> Clamp:
    return Clamp(str(entry["layer"]), str(entry["gate"]), int(entry["unit"]), float(entry["value"]))
