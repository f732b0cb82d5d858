"""The settings of labels for steps."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from gatewright.tasks.columns import StepColumns
from gatewright.tasks.recipe import BidirectionalRecipe, Schedule
from gatewright.tasks.settings import setting


@dataclass(frozen=True)
class TaggingSettings(BidirectionalRecipe, StepColumns):
    """The settings of the recipe `tagging`, in a module that the other modules of tagging can import."""

    hidden: int = 128
    epochs: int = 8
    rate: float = 5e-3
    schedule: Schedule = "one-cycle"
    dropout: float = 0.5
    input_dropout: float = 0.3
    clip: float = 1.0
    tagged: str = setting("ewt", "the data, by name or path, where --data names none")
    inputs: Literal["infer", "tokens", "channels"] = setting("infer", "what a step is: a token, or a row of numbers")
    scheme: Literal["infer", "none", "BIO", "BIOES"] = setting("infer", "how labels mark entities; none: they do not")
    output: Literal["softmax", "crf"] = setting(
        "softmax", "tokens: labels one by one, or those of a sentence together in a conditional random field"
    )
    best_by: Literal["infer", "f1", "accuracy"] = setting("infer", "which measure of the validation the best one has")
    least: int = setting(2, "how often a token, beginning, ending or shape occurs that is known", least=1)
    embedding: int = setting(64, "features that a token is read as", least=1)
    embedding_init: str = setting("normal(0.1)", "initialiser of the embeddings")
    vectors: str = setting(
        "", "tokens: a .vec or GloVe text file, packed or not, whose vectors the embedding begins with"
    )
    vector_words: int = setting(
        50_000, "vectors: how many of the file's first words are known beside those of the training part", least=0
    )
    word_dropout: float = setting(0.1, "share of the tokens that are unknown in training", least=0, below=1)
    window: int = setting(200, "steps of a sequence to train on at once", least=2)
    held_out: float = setting(0.1, "share for validation, and for a test, where there is none", least=0.001, below=0.5)

    def enough_epochs(self, sequences: int) -> int:
        """The setting `epochs`; more for small data, for about 1,500 iterations, but at most 100."""
        if self.preset or self.epochs != type(self).epochs:
            return self.epochs
        return max(self.epochs, min(100, 1500 * self.batch // max(sequences, 1)))

    def differing(self, decided: Mapping[str, Any]) -> dict[str, Any]:
        """The settings that the data changed."""
        return {name: value for name, value in decided.items() if getattr(self, name) != value}
