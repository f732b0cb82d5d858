"""Text generation with a language model."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from gatewright.errors import OptionError
from gatewright.tasks.language.sampling import Sampling, beam_search, generate
from gatewright.tasks.language.symbols import SymbolCodec
from gatewright.tasks.network import State, map_state
from gatewright.tasks.trained_model import TrainedModel


class TextGenerator:
    """Generates text with a model of characters or of words; the unknown symbol is never generated.

    If the model has an end-of-sentence symbol, the state is reset after it.
    """

    def __init__(self, model: TrainedModel) -> None:
        recipe = model.recipe
        if not hasattr(recipe, "codec") or model.sizes.vocabulary is None:
            raise OptionError(
                f"a model of the recipe {model.recipe.name!r} generates no text",
                expected="a model of the recipe 'text' or 'words'",
            )
        self._prompts = model.prompts
        self._network = model.network.eval()
        self._codec: SymbolCodec = recipe.codec(model.sizes)

    def beginning(self, prompt: str | None) -> str:
        """The prompt, or where there is none the first of the model's own; an OptionError where it has none."""
        if prompt is None and not self._prompts:
            raise OptionError("the model has no prompt of its own", do="give one", shell="give one with --prompt")
        return self._prompts[0] if prompt is None else prompt

    def unknown(self, prompt: str) -> tuple[str, ...]:
        """The characters or words of a prompt that the model does not know, each once, and reads as the unknown one."""
        return tuple(part for part in dict.fromkeys(self._codec.parts(prompt)) if not self._codec.knows(part))

    def stream(self, prompt: str, *, length: int, finish: bool = False, **options: Any) -> Iterator[str]:
        """One symbol after the other, chosen by `Sampling(**options)`; the prompt is read first, and not given.

        With `finish` the sentence that the last of them stands in is written to its end, within as many symbols again.
        Raises OptionError for a prompt of which the model knows nothing.
        """
        self._check_known(prompt)
        sampling = Sampling(**options, forbidden=self._codec.forbidden)
        symbols = generate(self.step, self._codec.read(prompt), length=length * (1 + finish), options=sampling)
        pieces = self._codec.write(symbols, prompt)
        return self._finished(pieces, length) if finish else pieces

    def _finished(self, pieces: Iterator[str], length: int) -> Iterator[str]:
        before = ""
        for count, piece in enumerate(pieces):
            if count >= length and self._codec.ends_sentence(before, piece):
                return
            yield piece
            before = piece

    def _check_known(self, prompt: str) -> None:
        parts = {part for part in self._codec.parts(prompt) if not part.isspace()}
        if parts and parts <= set(self.unknown(prompt)):
            raise OptionError(
                "the model knows nothing of the prompt",
                expected="characters or words of the text that it was trained on",
                got=repr(prompt[:60]),
                do="give another prompt, or none for one of that text",
            )

    def search(self, prompt: str, *, length: int, beams: int) -> str:
        """The most probable continuation that a search with so many beams finds; at most up to a sentence's end."""
        self._check_known(prompt)
        continuations = beam_search(
            self.step,
            lambda state, rows: map_state(lambda tensor: tensor.index_select(1, rows.to(tensor.device)), state),
            self._codec.read(prompt),
            length=length,
            beams=beams,
            forbidden=self._codec.forbidden,
            stop=() if self._codec.end is None else (self._codec.end,),
        )
        return "".join(self._codec.write(continuations[0].symbols, prompt))

    def step(self, symbols: Tensor, state: State) -> tuple[Tensor, State]:
        """One step for each row: the logits, and the state; after the end of a sentence the state is begun anew."""
        if self._codec.end is not None and symbols.tolist() == [self._codec.end]:
            symbols, state = torch.tensor([self._codec.start]), None
        device = next(self._network.parameters()).device
        outputs, state = self._network(symbols[None].to(device), state)
        return outputs[0], state
