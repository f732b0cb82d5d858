"""What recipes for the language of a text have in common, whether they read its characters or its words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError
from gatewright.tasks.data.batches.sequential import SequentialBatches
from gatewright.tasks.data.ragged import Ragged
from gatewright.tasks.language.symbols import CharacterCodec, WordCodec
from gatewright.tasks.objectives import NextSymbols
from gatewright.tasks.recipe import Recipe
from gatewright.tasks.run_data import Sizes
from gatewright.tasks.settings import setting
from gatewright.tasks.trained_model import TrainedModel
from gatewright.untrusted.kinds import Misfit

_MEASURED_ROWS = 8  # streams of a text that is measured; each begins without knowing what came before it
_LEAST_BATCHES = 10  # of an epoch; where sizes of their own would leave fewer, these are smaller
LOOKED_AT = 1 << 16  # words, to see whether any is known
_STEPS_TO_ROWS = 8  # of a small text: it is cut into fewer rows first, so that the network still sees some context

Tokens = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class LanguageModel(Recipe):
    """The next symbol of a text."""

    objective_class = NextSymbols
    next_command = "gatewright generate {model}"
    sample_length: ClassVar[int] = 50  # symbols
    codec: ClassVar[type[CharacterCodec | WordCodec]]  # how prompts are read, and how symbols are written

    text: str = setting("python-docs", "the text, by name or path, where --data names none")
    held_out: float = setting(0.05, "share of the text for validation, and again for the test", least=0, below=0.5)
    steps: int = setting(64, "steps that gradients go back through", least=1)
    prompts: str = setting("", "what the finished model continues, separated by |; empty: what the text begins with")
    temperature: float = setting(0.5, "of these continuations; 0 takes the most probable", least=0)

    def misfit(self, signature: Mapping[str, Any], sizes: Sizes) -> Misfit | None:
        """Symbols, and how a text becomes them."""
        if sizes.vocabulary is None:
            return "vocabulary: a list of symbols", None
        self.codec(sizes)
        return super().misfit(signature, sizes)

    def check_held_out(self, name: str, parts: Mapping[str, Tokens | Ragged], symbols: int) -> None:
        """Refuse a text of which too little would be held out to predict anything of it."""
        short = next((part for part, tokens in parts.items() if len(tokens) < 1 + isinstance(tokens, np.ndarray)), None)
        if short is not None:
            raise DataError(
                f"{name} is too short to hold out a part for the {short}",
                expected=f"a text that has two symbols in a share of {self.held_out:g} (held_out)",
                got=f"{symbols} symbols in all",
                do="take a longer text, or hold out nothing: held_out=0",
                shell="take a longer text, or hold out nothing, with --set held_out=0",
            )

    def samples(self, model: TrainedModel) -> Mapping[str, str]:
        """Some symbols after each of the prompts."""
        from gatewright.tasks.language.generator import TextGenerator

        writer = TextGenerator(model)
        options: dict[str, Any] = {"length": self.sample_length, "temperature": self.temperature, "seed": self.seed}
        return {prompt: "".join(writer.stream(prompt, **options)) for prompt in model.prompts}

    def chosen_prompts(self, beginnings: Sequence[str]) -> tuple[str, ...]:
        """The prompts that are set, or else what the text's own sentences begin with."""
        return tuple(filter(None, self.prompts.split("|"))) or tuple(beginnings)

    def fitted_to_stream(self, tokens: int) -> dict[str, int]:
        """Batch and steps that make some batches of so many tokens, where nobody has asked for others."""
        sizes = {"batch": self.batch, "steps": self.steps}
        while sizes["batch"] * sizes["steps"] * _LEAST_BATCHES > tokens:
            shrunk = [name for name, size in sizes.items() if size > 1 and self.is_own(name)]
            if not shrunk:
                break
            weight = {"batch": _STEPS_TO_ROWS * sizes["batch"], "steps": sizes["steps"]}
            sizes[max(shrunk, key=lambda name: weight[name])] //= 2
        return self.fitted(**sizes)


def measured_stream(tokens: Tokens, steps: int) -> SequentialBatches:
    """All of the tokens but the first, in streams that are at least a batch long."""
    rows = max(1, min(_MEASURED_ROWS, len(tokens) // (2 * steps)))
    return SequentialBatches(tokens, rows, steps, keep_tail=True)
