"""A language model of the words of any text."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from gatewright.tasks.data.batches.buckets import RaggedBatches
from gatewright.tasks.data.batches.sequential import SequentialBatches
from gatewright.tasks.data.published.sources import source_name
from gatewright.tasks.data.ragged import Ragged
from gatewright.tasks.data.texts.vocabulary import END_OF_LINE, UNKNOWN, token_rule
from gatewright.tasks.data.texts.word_texts import SentenceText, WordText, load_sentences, load_words
from gatewright.tasks.language.beginnings import beginnings_of_words
from gatewright.tasks.language.predictor import WordPredictor
from gatewright.tasks.language.recipe import LOOKED_AT, LanguageModel, Tokens, measured_stream
from gatewright.tasks.language.symbols import WordCodec, check_known
from gatewright.tasks.objectives import NextSymbols
from gatewright.tasks.recipe import Expected, Schedule
from gatewright.tasks.run_data import Batches, Data, Sizes
from gatewright.tasks.settings import setting
from gatewright.tasks.signatures import WordSignature
from gatewright.tasks.trained_model import TrainedModel

_MEASURED_SENTENCES = 20

_ZAREMBA = "tied=no optimiser=sgd schedule=decay dropout_per=step weight_drop=0 batch=20 "


@dataclass(frozen=True)
class Words(LanguageModel):
    """Predict the next word. The text is read in parallel streams with the state carried, or sentence by sentence.

    The settings suit texts of about a million words, by default the Penn Treebank.

    - "wildml": Britz 2015, a GRU that writes sentences; its RMSprop has its constant outside of the square root.
    - "small", "medium": Zaremba, Sutskever & Vinyals 2014, 1409.2329. They sum the loss over the steps and not over the
      batch; this recipe takes the mean, so the rate is larger and the gradient limit smaller by the same factor.
    - "gru": "small" with a GRU, and with a lower rate, since it diverges at 20.
    - "regularised": the regularisation of Merity, Keskar & Socher 2017, 1708.02182, at a size for two cores.
    """

    name = "words"
    about = "predict the next word of a text, and write more of it"
    encode = "embedding"
    sample_length = 20
    predictor_class = WordPredictor
    codec = WordCodec
    signature_type = WordSignature
    expected = {
        "": Expected("test", "perplexity", at_most=95.0, seconds=3300),
        "small": Expected("test", "perplexity", at_most=114.5, seconds=4000),
    }
    presets = {
        "wildml": "cell=gru(gate=hard_sigmoid_theano) read=sentences words=8000 hidden=128 batch=1 steps=200 tied=no "
        "dropout=0 input_dropout=0 weight_drop=0 init=torch_uniform(zero_biases=True) embedding_init=uniform(0.01118) "
        "output_init='uniform(0.08839, zero_biases=True)' optimiser=rmsprop smoothing=0.9 rate=1e-3 schedule=constant "
        "clip=0 epochs=20 temperature=1",
        "small": _ZAREMBA + "cell=lstm hidden=200 steps=20 dropout=0 input_dropout=0 rate=20 clip=0.25 epochs=13 "
        "decay=0.5 decay_after=4 init=uniform(0.1) output_init=uniform(0.1)",
        "gru": _ZAREMBA + "cell=gru hidden=200 steps=20 dropout=0 input_dropout=0 rate=8 clip=0.25 epochs=13 "
        "decay=0.5 decay_after=4 init=uniform(0.1) output_init=uniform(0.1)",
        "medium": _ZAREMBA + "cell=lstm hidden=650 steps=35 dropout=0.5 input_dropout=0.5 rate=35 clip=0.142857 "
        "epochs=39 decay=0.833333 decay_after=6 init=uniform(0.05) embedding_init=uniform(0.05) "
        "output_init=uniform(0.05)",
        "regularised": "cell=lstm hidden=400 epochs=8 dropout=0.4 input_dropout=0.4 weight_drop=0.3",
    }
    data_forms = "a text file in UTF-8, or a folder with *.train.txt, *.valid.txt and *.test.txt"
    data_example = "the fog came in from the sea\na lamp was lit in the house\nnobody had heard the door"
    quick = "text=python-docs words=2000 hidden=32 epochs=2"
    search = "rate=log:1e-3..2e-2 dropout=0..0.6 input_dropout=0..0.6 weight_drop=0..0.5"

    hidden: int = 200
    layers: int = 2
    epochs: int = 12
    rate: float = 4e-3
    schedule: Schedule = "one-cycle"
    dropout: float = 0.3
    input_dropout: float = 0.3
    dropout_per: Literal["step", "sequence"] = "sequence"
    weight_drop: float = 0.1
    clip: float = 0.25
    text: str = "ptb"
    steps: int = 35
    words: int | None = setting(None, "size of the vocabulary, other words are unknown; none: all words", least=4)
    read: Literal["stream", "sentences"] = setting("stream", "one stream, or sentences apart, the longest cut to steps")
    tied: bool = setting(True, "the matrix of the embedding is that of the output")
    embedding_init: str = setting("uniform(0.1)", "initialiser of the embedding")

    def network_options(self) -> Mapping[str, Any]:
        """What it does with its words."""
        return {"tied": self.tied, "embedding_init": self.embedding_init}

    def data(self, source: object) -> Data:
        """The parts of the text, or its last shares held out; what has no held out part is measured itself."""
        source = self.text if source is None else source
        name, share = source_name(source), self.held_out
        loaded, read = self._loaded(source, size=self.words, validation=share, test=share)
        vocabulary = loaded.vocabulary
        words = read["train"].values if isinstance(read["train"], Ragged) else read["train"]
        held_out = {part: tokens for part, tokens in read.items() if part != "train"}
        self.check_held_out(name, held_out, len(words) + sum(map(len, held_out.values())))
        fitted = self.fitted_to_stream(len(words)) if self.read == "stream" else {}
        recipe = replace(self, **fitted)
        parts = {part: recipe.batches_of(tokens, trained=part == "train") for part, tokens in read.items()}
        numbers = (tokens.values if isinstance(tokens, Ragged) else tokens for tokens in read.values())
        contents = ["\n".join(vocabulary.symbols).encode(), *(part.tobytes() for part in numbers)]
        divisions: dict[str, str | None] = {"end_of_line": END_OF_LINE if END_OF_LINE in vocabulary else None}
        if isinstance(loaded, SentenceText):
            divisions = {"sentences": loaded.divided}
        return Data(
            parts,
            Sizes(len(vocabulary), len(vocabulary), vocabulary.symbols),
            measured=tuple(held_out) or ("train",),
            origin={"text": name, "sha256": hashlib.sha256(b"".join(contents)).hexdigest()},
            fitted=fitted,
            prompts=self.chosen_prompts(beginnings_of_words(words, vocabulary.symbols)),
            signature={
                "input": "numbers of words, as the vocabulary has them",
                "output": "a score for each word to come next; softmax gives probabilities",
                "tokenise": loaded.tokenise,
                "token_rule": token_rule(loaded.tokenise),
                "read": self.read,
                **divisions,
                "unknown": 0,
            },
        )

    def evaluation(self, source: object, model: TrainedModel) -> Data:
        """What was held out; of another text all of it, or each of its parts, in the words that the model knows."""
        if source is None:
            return super().evaluation(None, model)
        tokenise = model.signature.get("tokenise")  # None in a file of an earlier version
        ends = {"end_of_line": model.signature.get("end_of_line", END_OF_LINE) is not None}
        options = ends if self.read == "stream" else {}
        loaded, read = self._loaded(source, tokenise=tokenise, validation=0.0, test=0.0, **options)
        symbols = loaded.vocabulary.symbols
        numbers = WordCodec(model.sizes).vocabulary.encode(symbols)
        known = {
            part: Ragged(numbers[tokens.values], tokens.starts, tokens.lengths)
            if isinstance(tokens, Ragged)
            else numbers[tokens]
            for part, tokens in read.items()
        }
        known = {part if len(known) > 1 else "text": tokens for part, tokens in known.items()}
        names = zip(known, read.values(), strict=True)
        shares = {part: self._unknown(source_name(source), symbols, tokens, numbers) for part, tokens in names}
        parts = {part: self.batches_of(tokens, trained=False) for part, tokens in known.items()}
        return Data(parts, model.sizes, measured=tuple(parts), measures=shares)

    def _unknown(self, name: str, symbols: Sequence[str], part: Tokens | Ragged, numbers: Tokens) -> dict[str, float]:
        """The share of words that the model does not know."""
        words = part.values if isinstance(part, Ragged) else part
        known = (numbers > 0) | (np.array(symbols) == UNKNOWN)
        check_known(name, [symbols[int(word)] for word in words[:LOOKED_AT]], known[words[:LOOKED_AT]])
        return {"unknown": float(1 - known[words].mean())}

    def _loaded(self, source: object, **options: Any) -> tuple[WordText | SentenceText, dict[str, Tokens | Ragged]]:
        """The text, and those of its parts that hold anything."""
        loaded = (load_words if self.read == "stream" else load_sentences)(source, **options)
        parts: Iterable[tuple[str, Tokens | Ragged]] = loaded.parts._asdict().items()
        return loaded, {part: tokens for part, tokens in parts if len(tokens)}

    def batches_of(self, part: Tokens | Ragged, *, trained: bool) -> Batches:
        """A part of the text as batches, to train on or to measure."""
        if isinstance(part, Ragged):
            part = part.shortened(self.steps + 1)
            rows, seed = (self.batch, self.seed) if trained else (_MEASURED_SENTENCES, None)
            padding = NextSymbols.padding
            return RaggedBatches(part.without_last(), part.without_first(), rows, seed=seed, target_fill=padding)
        if trained:
            return SequentialBatches(part, self.batch, self.steps, random_offset=True, seed=self.seed)
        return measured_stream(part, self.steps)
