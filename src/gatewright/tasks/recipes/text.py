"""A language model of the characters of any text."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from gatewright.tasks.data import clean, read_text
from gatewright.tasks.objectives import Symbols
from gatewright.tasks.parts import text_data, whole_text
from gatewright.tasks.recipe import Data, Encoding, Expected, Recipe
from gatewright.tasks.settings import setting

if TYPE_CHECKING:
    from gatewright.tasks.model import Model


@dataclass(frozen=True)
class Text(Recipe):
    """The state is carried through the text from batch to batch; gradients go back through one batch.

    The preset "d2l" is the setting of Dive into Deep Learning's chapter on the GRU.
    """

    name: ClassVar[str] = "text"
    about: ClassVar[str] = "predict the next character of a text, and write more of it"
    encode: ClassVar[Encoding] = "one-hot"
    expected: ClassVar[Mapping[str, Expected]] = {
        "": Expected("test", "perplexity", at_most=4.0, seconds=600),
        "d2l": Expected("train", "perplexity", at_most=1.1, seconds=600),
    }
    presets: ClassVar[Mapping[str, str]] = {
        "d2l": "text=timemachine cleaning=d2l tokens=10000 held_out=0 'prompts=time traveller|traveller' steps=35 "
        "init=normal(0.01) output_init=normal(0.01) dropout=0 optimiser=sgd rate=1 schedule=constant epochs=500"
    }
    quick: ClassVar[str] = "hidden=64 tokens=40000 epochs=2"
    next_command: ClassVar[str] = "gatewright generate {model}"

    hidden: int = 256
    epochs: int = 10
    rate: float = 4e-3
    schedule: Literal["constant", "cosine", "one-cycle"] = "one-cycle"
    dropout: float = 0.1
    clip: float = 1.0
    patience: int = 3
    text: str = setting("python-docs", "the text, by name or path, where --data names none")
    cleaning: Literal["none", "d2l"] = setting("none", "d2l keeps lower-case letters and single spaces")
    tokens: int | None = setting(None, "train on so many tokens at the start only", least=1)
    held_out: float = setting(0.05, "share of the text for validation, and again for the test", least=0, below=0.5)
    steps: int = setting(64, "steps that gradients go back through", least=1)
    prompts: str = setting("The |If ", "what the finished model continues, separated by |")

    def objective(self) -> Symbols:
        """Cross entropy of the next character."""
        return Symbols()

    def data(self, source: str | None) -> Data:
        """The text of that name or path."""
        name = source or self.text
        shape = {"batch": self.batch, "steps": self.steps, "seed": self.seed}
        return text_data(
            clean(read_text(name), self.cleaning), name, held_out=self.held_out, tokens=self.tokens, **shape
        )

    def evaluation(self, source: str | None, model: "Model") -> Data:
        """What was held out; of another text all of it, in the symbols that the model knows."""
        if source is None:
            return super().evaluation(None, model)
        return whole_text(clean(read_text(source), self.cleaning), model.sizes, steps=self.steps)

    def samples(self, model: "Model") -> Mapping[str, str]:
        """The most probable continuation of each prompt."""
        from gatewright.tasks.generate import continuations

        return continuations(model, self.prompts)
