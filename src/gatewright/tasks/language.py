"""What recipes for the language of a text have in common."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from gatewright.tasks.data import UNKNOWN, CharVocabulary, SequentialBatches, clean, read_text, split
from gatewright.tasks.objectives import Symbols
from gatewright.tasks.recipe import Batches, Data, Encoding, Recipe, Sizes
from gatewright.tasks.settings import setting

if TYPE_CHECKING:
    from gatewright.tasks.model import Model

_MEASURED_ROWS = 8  # streams of a text that is measured; each begins without knowing what came before it


@dataclass(frozen=True)
class CharacterModel(Recipe):
    """The next character of a text, which is read in parallel streams with the state carried from batch to batch."""

    next_command: ClassVar[str] = "gatewright generate {model}"

    text: str = setting("python-docs", "the text, by name or path, where --data names none")
    cleaning: Literal["none", "d2l"] = setting("none", "d2l keeps lower-case letters and single spaces")
    tokens: int | None = setting(None, "train on so many tokens at the start only", least=1)
    held_out: float = setting(0.05, "share of the text for validation, and again for the test", least=0, below=0.5)
    symbols: Literal["embedding", "one-hot"] = setting("embedding", "how characters reach the recurrent layers")
    steps: int = setting(64, "steps that gradients go back through", least=1)
    prompts: str = setting("The |If ", "what the finished model continues, separated by |")
    temperature: float = setting(0.5, "of these continuations; 0 takes the most probable", least=0)

    def objective(self) -> Symbols:
        """Cross entropy of the next character."""
        return Symbols()

    def encoding(self) -> Encoding:
        """As it is set."""
        return self.symbols

    def data(self, source: str | None) -> Data:
        """The beginning of the text to train on, its last shares for the validation and the test.

        Without a share held out the training part itself is measured.
        """
        name = source or self.text
        text = clean(read_text(name), self.cleaning)
        vocabulary = CharVocabulary.from_text(text, unknown=True)
        found = split(vocabulary.encode(text), validation=self.held_out, test=self.held_out, train_tokens=self.tokens)
        train = SequentialBatches(found.train, self.batch, self.steps, random_offset=True, seed=self.seed)
        parts: dict[str, Batches] = {"train": train}
        if self.held_out:
            parts["validation"] = _measured(found.validation, self.steps)
            parts["test"] = _measured(found.test, self.steps)
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        return Data(
            parts,
            Sizes(len(vocabulary), len(vocabulary), vocabulary.symbols),
            measured=("validation", "test") if self.held_out else ("train",),
            origin={"text": name, "sha256": digest},
        )

    def evaluation(self, source: str | None, model: "Model") -> Data:
        """What was held out; of another text all of it, in the symbols that the model knows."""
        if source is None:
            return super().evaluation(None, model)
        tokens = vocabulary_of(model.sizes).encode(clean(read_text(source), self.cleaning))
        return Data({"text": _measured(tokens, self.steps)}, model.sizes, measured=("text",))

    def samples(self, model: "Model") -> Mapping[str, str]:
        """50 characters after each of the prompts."""
        from gatewright.tasks.generate import Writer

        writer, prompts = Writer(model), filter(None, self.prompts.split("|"))
        options: dict[str, Any] = {"length": 50, "temperature": self.temperature, "seed": self.seed}
        return {prompt: "".join(writer.stream(prompt, **options)) for prompt in prompts}


def vocabulary_of(sizes: Sizes) -> CharVocabulary:
    """The characters that a network was made for."""
    symbols = sizes.vocabulary or ()
    unknown = symbols[:1] == (UNKNOWN,)
    return CharVocabulary(symbols[int(unknown) :], unknown=unknown)


def _measured(tokens: NDArray[np.integer[Any]], steps: int) -> SequentialBatches:
    """All of the tokens but the first, in streams that are at least a batch long."""
    rows = max(1, min(_MEASURED_ROWS, len(tokens) // (2 * steps)))
    return SequentialBatches(tokens, rows, steps, keep_tail=True)
