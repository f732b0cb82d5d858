"""What recipes that give a label to each step have in common."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from gatewright.tasks.data.tag_schemes import Scheme
from gatewright.tasks.data.tagged_sentences import load_tagged_sentences, load_to_measure
from gatewright.tasks.data.token_features import FEATURES
from gatewright.tasks.recipe import BidirectionalRecipe, Data, Direction, Encoding, Expected, Sizes
from gatewright.tasks.settings import setting
from gatewright.tasks.tagged_tokens import token_data, token_evaluation
from gatewright.tasks.tags import EntityTags, Tags

if TYPE_CHECKING:
    from gatewright.tasks.model import Model
    from gatewright.tasks.predict import Predictor

_DECIDED = ("inputs", "text", "label", "scheme")


@dataclass(frozen=True)
class StepLabeller(BidirectionalRecipe):
    """A label for each step. A network reads each token with its beginnings, endings and shape."""

    monitor: ClassVar[tuple[str, Direction]] = ("accuracy", "max")

    tagged: str = setting("ewt", "the data, by name or path, where --data names none")
    inputs: Literal["infer", "tokens", "channels"] = setting("infer", "what a step is: a token, or a row of numbers")
    text: str = setting("", "the column of tokens, by its name or its number from 1 on")
    label: str = setting("", "the column of labels, by its name or its number from 1 on")
    scheme: Literal["infer", "none", "BIO", "BIOES"] = setting("infer", "how labels mark entities; none: they do not")
    least: int = setting(2, "how often a token, beginning, ending or shape occurs that is known", least=1)
    embedding: int = setting(64, "features that a token is read as", least=1)
    embedding_init: str = setting("normal(0.1)", "initialiser of the embeddings")
    word_dropout: float = setting(0.1, "share of the tokens that are unknown in training", least=0, below=1)
    window: int = setting(200, "steps of a sequence to train on at once", least=2)
    held_out: float = setting(0.1, "share for validation, and for a test, where there is none", least=0.001, below=0.5)

    def objective(self) -> Tags:
        """Cross entropy of each step's tag."""
        return self.objective_of(Sizes(0, 0))

    def objective_of(self, sizes: Sizes) -> Tags:
        """The same, and the entities that the tags of those classes mark."""
        if self.scheme in ("infer", "none"):
            return Tags()
        scheme: Scheme = self.scheme
        return EntityTags(sizes.classes or (), scheme)

    def input_encoding(self) -> Encoding:
        """Tokens as a sum of embeddings; channels standardised."""
        return "standardised" if self.inputs == "channels" else "embedding-sum"

    def network_options(self) -> Mapping[str, Any]:
        """How tokens are read."""
        return {
            "embedding": self.embedding,
            "embedding_init": self.embedding_init,
            "word_dropout": self.word_dropout,
        }

    def described(self) -> dict[str, Any]:
        """Beside encoding and pooling, what the symbols of a step are."""
        return {**super().described(), **({"columns": FEATURES} if self.inputs != "channels" else {})}

    def data(self, source: object) -> Data:
        """The parts of the data; what it lacks of them is held out, whole sentences by seed."""
        source = self.tagged if source is None else source
        parts, columns = load_tagged_sentences(
            source, text=self.text, label=self.label, validation=self.held_out, test=self.held_out, seed=self.seed
        )
        return token_data(self, source, parts, columns)

    def evaluation(self, source: object, model: "Model") -> Data:
        """The parts of the data; of other data all of it, in what the model knows."""
        if source is None:
            return super().evaluation(None, model)
        parts = load_to_measure(source, text=self.text, label=self.label)
        return token_evaluation(source, parts, model.sizes.classes or (), model.sizes, self.scheme)

    def baselines(self, data: Data) -> Mapping[str, Mapping[str, float]]:
        """The most frequent tag of each token, and a logistic regression on the tokens around it."""
        from gatewright.tasks.tag_baselines import token_baselines

        return token_baselines(data)

    def expectation(self) -> Expected | None:
        """Of settings that the data decides, any value is the recipe's own."""
        own = replace(self, **{name: type(self).__dataclass_fields__[name].default for name in _DECIDED})
        return super(StepLabeller, own).expectation()

    def predictor(self, model: "Model") -> "Predictor":
        """A label for each token or row."""
        from gatewright.tasks.tag_predictor import TokenPredictor

        return TokenPredictor(model)

    def enough_epochs(self, sequences: int) -> int:
        """As it is set; of little data more, for about 1,500 iterations, but no more than 60 epochs."""
        if self.preset or self.epochs != type(self).epochs:
            return self.epochs
        return max(self.epochs, min(60, 1500 * self.batch // max(sequences, 1)))

    def told_of(self, fitted: Mapping[str, Any]) -> str:
        """Nothing: what the data decides is among its remarks."""
        del fitted
        return ""
