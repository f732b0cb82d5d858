"""Text that a model of a language writes."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from gatewright.errors import OptionError
from gatewright.tasks.language import LanguageModel
from gatewright.tasks.model import Model
from gatewright.tasks.network import State, map_state
from gatewright.tasks.sampling import Sampling, beam_search, generate


class Writer:
    """Writes with a model of characters or of words; the symbol for unknown ones is never written.

    After the end of a sentence, where a model has one, the next begins from nothing.
    """

    def __init__(self, model: Model) -> None:
        if not isinstance(model.recipe, LanguageModel) or model.sizes.vocabulary is None:
            raise OptionError(
                f"this model was made by the recipe {model.recipe.name!r}, and knows no language",
                expected="the model of a text",
            )
        self._network = model.network.eval()
        self._script = model.recipe.script(model.sizes)

    def stream(self, prompt: str, *, length: int, **options: Any) -> Iterator[str]:
        """One symbol after the other, chosen by `Sampling(**options)`; the prompt is read first, and not given."""
        sampling = Sampling(**options, forbidden=self._script.forbidden)
        symbols = generate(self._step, self._script.read(prompt), length=length, options=sampling)
        return self._script.write(symbols, prompt)

    def search(self, prompt: str, *, length: int, beams: int) -> str:
        """The most probable continuation that a search with so many beams finds; at most up to a sentence's end."""
        found = beam_search(
            self._step,
            _select,
            self._script.read(prompt),
            length=length,
            beams=beams,
            forbidden=self._script.forbidden,
            stop=() if self._script.end is None else (self._script.end,),
        )
        return "".join(self._script.write(found[0].symbols, prompt))

    def _step(self, symbols: Tensor, state: State) -> tuple[Tensor, State]:
        if self._script.end is not None and symbols.tolist() == [self._script.end]:
            symbols, state = torch.tensor([self._script.start]), None
        device = next(self._network.parameters()).device
        outputs, state = self._network(symbols[None].to(device), state)
        return outputs[0], state


def _select(state: State, rows: Tensor) -> State:
    return map_state(lambda one: torch.index_select(one, 1, rows.to(one.device)), state)
