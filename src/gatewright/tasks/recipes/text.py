"""A language model of the characters of any text."""

import hashlib
from dataclasses import dataclass, replace
from typing import Literal

from gatewright.errors import OptionError
from gatewright.tasks.data.batches.sequential import SequentialBatches
from gatewright.tasks.data.published.sources import source_name
from gatewright.tasks.data.texts.text import clean, read_text, split
from gatewright.tasks.data.texts.vocabulary import CharVocabulary
from gatewright.tasks.language.beginnings import beginnings_of_text
from gatewright.tasks.language.predictor import CharacterPredictor
from gatewright.tasks.language.recipe import LOOKED_AT, LanguageModel, measured_stream
from gatewright.tasks.language.symbols import CharacterCodec, check_known, vocabulary_of
from gatewright.tasks.recipe import Expected, Schedule
from gatewright.tasks.run_data import Data, Encoding, Sizes
from gatewright.tasks.settings import setting
from gatewright.tasks.trained_model import TrainedModel


@dataclass(frozen=True)
class Text(LanguageModel):
    """Predict the next character. The text is read in parallel streams; the state is carried from batch to batch.

    The settings suit texts of about a megabyte. The preset "d2l" is the setting of Dive into Deep Learning's chapter on
    the GRU: 500 epochs over 10,000 characters. Its perplexity is that of the training text, as in the book, which
    prints 1.1. "shakespeare" is two layers for Tiny Shakespeare; the minGRU paper (Feng et al. 2024, 2410.01201)
    reports a validation loss of 1.548 on it.
    """

    name = "text"
    about = "predict the next character of a text, and write more of it"
    predictor_class = CharacterPredictor
    codec = CharacterCodec
    expected = {
        "": Expected("test", "perplexity", at_most=3.0, seconds=120),
        "d2l": Expected("train", "perplexity", at_most=1.15, seconds=150),
        "shakespeare": Expected("validation", "loss", at_most=1.45, seconds=1900),
    }
    presets = {
        "d2l": "text=timemachine cleaning=d2l tokens=10000 held_out=0 'prompts=time traveller|traveller' temperature=0 "
        "symbols=one-hot steps=35 init=normal(0.01) output_init=normal(0.01) dropout=0 optimiser=sgd rate=1 "
        "schedule=constant epochs=500",
        "shakespeare": "text=shakespeare layers=2 dropout=0.3 steps=96 epochs=24 patience=0 prompts=ROMEO:",
    }
    data_forms = "any text file in UTF-8"
    data_example = "The fog came in from the sea.\nA lamp was lit in the house.\nNobody heard the door."
    quick = "hidden=64 tokens=40000 epochs=2"
    search = "rate=log:5e-4..2e-2 hidden=128,256,512 dropout=0..0.5"

    hidden: int = 256
    epochs: int = 8
    rate: float = 4e-3
    schedule: Schedule = "one-cycle"
    dropout: float = 0.1
    clip: float = 1.0
    patience: int = 3
    cleaning: Literal["none", "d2l"] = setting("none", "d2l keeps lower-case letters and single spaces")
    tokens: int | None = setting(None, "train on so many tokens at the start only", least=1)
    symbols: Literal["embedding", "one-hot"] = setting("embedding", "how characters reach the recurrent layers")

    def input_encoding(self) -> Encoding:
        """As it is set."""
        return self.symbols

    def data(self, source: object) -> Data:
        """The beginning of the text to train on, its last shares for the validation and the test.

        If no share is held out, the training part itself is measured.
        """
        source = self.text if source is None else source
        name, text = source_name(source), clean(read_text(source), self.cleaning)
        vocabulary = CharVocabulary.from_text(text, unknown=True)
        parts = split(vocabulary.encode(text), validation=self.held_out, test=self.held_out)
        held_out = {"validation": parts.validation, "test": parts.test} if self.held_out else {}
        self.check_held_out(name, held_out, len(text))
        fitted = self.fitted(tokens=len(parts.train))
        tokens = fitted.get("tokens", self.tokens) or len(parts.train)
        if tokens > len(parts.train):
            raise OptionError(
                f"setting 'tokens' is more than {name} has to train on",
                expected=f"1 to {len(parts.train)}, or none for all",
                got=str(tokens),
            )
        fitted |= self.fitted_to_stream(tokens)
        recipe = replace(self, **fitted)
        train = SequentialBatches(
            parts.train[: recipe.tokens], recipe.batch, recipe.steps, random_offset=True, seed=self.seed
        )
        measured = {name: measured_stream(part, recipe.steps) for name, part in held_out.items()}
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        return Data(
            {"train": train, **measured},
            Sizes(len(vocabulary), len(vocabulary), vocabulary.symbols),
            measured=tuple(measured) or ("train",),
            origin={"text": name, "sha256": digest},
            fitted=fitted,
            prompts=self.chosen_prompts(beginnings_of_text(text)),
            signature={
                "input": "numbers of characters (Unicode code points), as the vocabulary has them",
                "output": "a score for each character to come next; softmax gives probabilities",
                "tokenise": "characters",
                "cleaning": self.cleaning,
                "unknown": 0,
            },
        )

    def evaluation(self, source: object, model: TrainedModel) -> Data:
        """What was held out; of another text all of it, in the symbols that the model knows."""
        if source is None:
            return super().evaluation(None, model)
        text = clean(read_text(source), self.cleaning)
        tokens = vocabulary_of(model.sizes).encode(text)
        known = tokens > 0
        check_known(source_name(source), list(text[:LOOKED_AT]), known[:LOOKED_AT])
        parts = {"text": measured_stream(tokens, self.steps)}
        return Data(parts, model.sizes, measured=("text",), measures={"text": {"unknown": float(1 - known.mean())}})
