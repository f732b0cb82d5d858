"""Text that a model of characters writes."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from gatewright.errors import OptionError
from gatewright.tasks.language import vocabulary_of
from gatewright.tasks.model import Model
from gatewright.tasks.network import State, map_state
from gatewright.tasks.sampling import Sampling, beam_search, generate


class Writer:
    """Writes with a model of characters; the symbol for unknown characters is never written."""

    def __init__(self, model: Model) -> None:
        if model.sizes.vocabulary is None:
            raise OptionError(
                f"this model was made by the recipe {model.recipe.name!r}, and knows no characters",
                expected="the model of a text",
            )
        self._network = model.network.eval()
        self._vocabulary = vocabulary_of(model.sizes)
        self._forbidden = (0,) if self._vocabulary.unknown else ()

    def stream(self, prompt: str, *, length: int, **options: Any) -> Iterator[str]:
        """One character after the other, chosen by `Sampling(**options)`; the prompt is read first, and not given."""
        sampling = Sampling(**options, forbidden=self._forbidden)
        for symbol in generate(self._step, self._read(prompt), length=length, options=sampling):
            yield self._vocabulary.symbols[symbol]

    def search(self, prompt: str, *, length: int, beams: int) -> str:
        """The most probable continuation that a search with so many beams finds."""
        found = beam_search(
            self._step, _select, self._read(prompt), length=length, beams=beams, forbidden=self._forbidden
        )
        return self._vocabulary.decode(found[0].symbols)

    def _read(self, prompt: str) -> list[int]:
        return self._vocabulary.encode(prompt).tolist()

    def _step(self, symbols: Tensor, state: State) -> tuple[Tensor, State]:
        device = next(self._network.parameters()).device
        outputs, state = self._network(symbols[None].to(device), state)
        return outputs[0], state


def _select(state: State, rows: Tensor) -> State:
    return map_state(lambda one: torch.index_select(one, 1, rows.to(one.device)), state)
