"""A language model of the characters of any text."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from gatewright.tasks.data import clean, read_text
from gatewright.tasks.objectives import Symbols
from gatewright.tasks.parts import text_data, whole_text
from gatewright.tasks.recipe import Data, Encoding, Expected, Recipe
from gatewright.tasks.settings import setting

if TYPE_CHECKING:
    from gatewright.tasks.model import Model


@dataclass(frozen=True)
class Text(Recipe):
    """The state is carried from batch to batch through the text, and gradients go back through one batch.

    The preset "d2l" is the setting of Dive into Deep Learning's chapter on the GRU.
    """

    name: ClassVar[str] = "text"
    about: ClassVar[str] = "predict the next character of a text, and write more of it"
    encode: ClassVar[Encoding] = "one-hot"
    expected: ClassVar[Mapping[str, Expected]] = {
        "": Expected("test", "perplexity", at_most=4.0, seconds=600),
        "d2l": Expected("train", "perplexity", at_most=1.1, seconds=600),
    }
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "d2l": {
            "text": "timemachine",
            "cleaning": "d2l",
            "tokens": 10_000,
            "held_out": 0.0,
            "steps": 35,
            "init": "normal(0.01)",
            "output_init": "normal(0.01)",
            "optimiser": "sgd",
            "rate": 1.0,
            "schedule": "constant",
            "epochs": 500,
            "dropout": 0.0,
            "prompts": "time traveller|traveller",
        }
    }
    next_command: ClassVar[str] = 'gatewright generate {model} --prompt "The "'
    quick: ClassVar[Mapping[str, Any]] = {"hidden": 64, "tokens": 20_000, "epochs": 2}

    hidden: int = 256
    epochs: int = 10
    rate: float = 4e-3
    schedule: Literal["constant", "cosine", "one-cycle"] = "one-cycle"
    dropout: float = 0.1
    clip: float = 1.0
    patience: int = 3
    text: str = setting("python-docs", "the text, by name or path, where --data names none")
    cleaning: Literal["none", "d2l"] = setting("none", "d2l keeps lower-case letters and single spaces")
    tokens: int | None = setting(None, "train on that many tokens at the start only", least=1)
    held_out: float = setting(0.05, "share of the text for validation, and again for the test", least=0, below=0.5)
    steps: int = setting(64, "steps that gradients go back through", least=1)
    prompts: str = setting("The |If ", "what the finished model continues, separated by |")

    def objective(self) -> Symbols:
        """Cross entropy of the next character."""
        return Symbols()

    def data(self, source: str | None) -> Data:
        """The text of that name or path."""
        name = source or self.text
        return text_data(
            clean(read_text(name), self.cleaning),
            name,
            batch=self.batch,
            steps=self.steps,
            held_out=self.held_out,
            tokens=self.tokens,
            seed=self.seed,
        )

    def evaluation(self, source: str | None, model: "Model") -> Data:
        """What was held out; of another text all of it, in the symbols that the model knows."""
        if source is None:
            return super().evaluation(None, model)
        return whole_text(clean(read_text(source), self.cleaning), model.sizes, steps=self.steps)

    def samples(self, model: "Model") -> Mapping[str, str]:
        """Each prompt with the 50 characters that are the most probable after it."""
        from gatewright.tasks.generate import Writer

        writer = Writer(model)
        prompts = filter(None, self.prompts.split("|"))
        return {one: "".join(writer.stream(one, length=50, temperature=0.0)) for one in prompts}
