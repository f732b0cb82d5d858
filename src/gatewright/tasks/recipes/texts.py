"""Classification of texts of any kind and language."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from gatewright.errors import DataError
from gatewright.tasks.answers.predictor import Examples
from gatewright.tasks.classifier import Classifier
from gatewright.tasks.columns import TextColumns
from gatewright.tasks.data.batches.buckets import RaggedBatches
from gatewright.tasks.data.digest import digest_of_labelled
from gatewright.tasks.data.published.sources import source_name
from gatewright.tasks.data.ragged import LabelledSequences, Ragged, Splits
from gatewright.tasks.data.texts import labelled
from gatewright.tasks.data.texts.ngrams import FACTOR, MODULUS, fit_ngrams, tfidf_accuracies
from gatewright.tasks.data.texts.tokenisers import TEXT_TOKENISERS, TextTokeniser
from gatewright.tasks.data.texts.vocabulary import UNKNOWN, WordVocabulary
from gatewright.tasks.data.texts.word_vectors import WordVectors, read_word_vectors
from gatewright.tasks.recipe import BidirectionalRecipe, Expected, Schedule
from gatewright.tasks.run_data import Data, Sizes
from gatewright.tasks.settings import setting
from gatewright.tasks.signatures import SOFTMAX, TextSignature
from gatewright.tasks.trained_model import TrainedModel
from gatewright.untrusted.kinds import Misfit

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn


_MEASURED_ROWS = 100
_BASELINE = "accuracy of TF-IDF + logistic regression"
_PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class TextData(Data):
    """Labelled texts as batches, and the data for the n-gram classifier, the embedding and the baseline."""

    texts: Splits[LabelledSequences] = field(kw_only=True)  # in bytes
    symbols: LabelledSequences = field(kw_only=True)  # the training part
    vectors: WordVectors | None = field(kw_only=True)


@dataclass(frozen=True)
class ClassifiedTexts(TextColumns, BidirectionalRecipe, Classifier):
    """Classify a text with a network that reads its words, together with a linear classifier of n-grams.

    A text in which no symbol is known, even an empty one, is read as one unknown symbol. The settings suit hundreds to
    tens of thousands of texts, by default IMDB's reviews. More than 5,000 texts get fewer epochs; 15,000 and more get
    four.

    The preset "tutorial" is Theano's sentiment tutorial with a GRU in place of its LSTM: reviews of less than a hundred
    words, read forward, Adadelta, orthogonal matrices, no schedule, an embedding drawn around zero.
    """

    name = "texts"
    aliases = ("sentiment",)
    about = "classify texts, such as reviews into good and bad ones"
    encode = "embedding"
    pool_setting = "read"
    source_setting = "texts"
    reads_lines = True
    signature_type = TextSignature
    data_forms = "a CSV or TSV file with a text and its class in each row, or a folder of such files"
    data_example = "text,class\nthe film is a joy,good\nan hour too long,bad"
    earlier = {"directions": "forward", "embedding": None, "ngrams": 0}
    monitor = ("accuracy", "max")
    expected = {
        "": Expected("test", "accuracy", at_least=0.88, seconds=600),
        "sst2": Expected("test", "accuracy", at_least=0.815, seconds=90),
    }
    presets = {
        "tutorial": "cell=gru(update=replaces) hidden=128 embedding=none directions=forward ngrams=0 tokenise=words "
        "words=10000 longest=99 longer=drop held_out=0.05 batch=16 dropout=0.5 "
        'input_dropout=0 dropout_per=step init=\'orthogonal(spaces=("U", "W"))\' embedding_init=uniform(0.01) '
        "output_init=normal(0.01) optimiser=adadelta rate=1 schedule=constant clip=0 epochs=100 validate_every=3 "
        "patience=10 keep=last",
        "sst2": "texts=sst2 batch=32 epochs=4 input_dropout=0.5",
    }
    quick = "texts=sst2 hidden=32 words=2000 epochs=2 batch=64"
    search = "rate=log:5e-4..1e-2 hidden=32,64,128 dropout=0..0.7 input_dropout=0..0.6"

    hidden: int = 64
    epochs: int = 12
    batch: int = 64
    rate: float = 2e-3
    schedule: Schedule = "one-cycle"
    dropout: float = 0.5
    input_dropout: float = 0.3
    clip: float = 1.0
    texts: str = setting("imdb", "the labelled texts, by name or path, where --data names none")
    words: int = setting(20_000, "size of the vocabulary; all other words are unknown", least=2)
    tokenise: Literal["unicode", "characters", "spaces", "words"] = setting(
        "unicode",
        "how texts are divided: words of any script in lower case, characters, at spaces, or words of earlier versions",
    )
    longest: int = setting(400, "symbols to read of a text to train on", least=1)
    longer: Literal["cut", "drop"] = setting("cut", "texts to train on that are longer: their start, or left out")
    held_out: float = setting(0.1, "share to validate with, where the data has no such part", least=0.001, below=0.5)
    embedding: int | None = setting(128, "numbers of an embedded symbol; none means as many as hidden", least=1)
    embedding_init: str = setting("normal(0.1)", "initialiser of the embedding")
    vectors: str = setting("", "a .vec or GloVe text file, packed or not: the embedding begins with its vectors")
    freeze_vectors: bool = setting(False, "whether the embedding stays as it begins")
    read: Literal["mean", "max", "last"] = setting("mean", "what of the states over time says the class")
    ngrams: int | None = setting(
        None,
        "n-grams up to n are scored beside the network; auto: 2, of characters 5; 0 is without",
        least=0,
        below=17,
    )
    buckets: int = setting(
        1 << 18, "numbers that n-grams of two and more symbols share by a hash", least=1, below=1 << 24
    )

    def network_class(self) -> "Callable[..., nn.Module]":
        """The network with a classifier of n-grams."""
        from gatewright.tasks.texts.network import TextNetwork

        return TextNetwork

    def network_options(self) -> Mapping[str, Any]:
        """How the embedding begins, and the n-grams."""
        return {
            "embedding": self.embedding,
            "embedding_init": self.embedding_init,
            "freeze": self.freeze_vectors,
            "ngrams": self.longest_ngram,
            "buckets": self.buckets,
        }

    @property
    def longest_ngram(self) -> int:
        """The symbols in the longest n-grams that are scored; 0 without."""
        return self.ngrams if self.ngrams is not None else 5 if self.tokenise == "characters" else 2

    @property
    def tokeniser(self) -> TextTokeniser:
        """As it is set."""
        return TEXT_TOKENISERS[self.tokenise]

    def described(self) -> dict[str, Any]:
        """The n-grams beside encoding and pooling."""
        bag = {"longest": self.longest_ngram, "buckets": self.buckets, "factor": FACTOR, "modulus": MODULUS}
        return {**super().described(), **({"ngrams": bag} if self.longest_ngram else {})}

    def data(self, source: object) -> Data:
        """The parts of the data; what it lacks of them is held out, by seed."""
        source = self.texts if source is None else source
        loaded = labelled.load_labelled_texts(source, self, validation=self.held_out, seed=self.seed)
        train = loaded.parts.train
        vocabulary = WordVocabulary.from_counts(labelled.count_words(train.sequences, self.tokeniser), size=self.words)
        vectors = read_word_vectors(Path(self.vectors).expanduser(), vocabulary) if self.vectors else None
        symbols = self._chosen(labelled.encode_texts(train, self.tokeniser, vocabulary), source_name(source))
        # Few texts need many updates: the batch is the largest power of two with 150 batches and more in an epoch. Of
        # many texts fewer passes are enough: 60,000 texts to learn from in all.
        batch, epochs = 1 << max(0, (len(symbols) // 150).bit_length() - 1), 60_000 // max(1, len(symbols))
        fitted = self.fitted(batch=max(16, batch), epochs=max(4, epochs))
        remarks = loaded.remarks
        if vectors:
            known = f"{len(vectors.numbers):,} of {len(vocabulary) - 1:,} words"
            remarks += (f"vectors: {self.vectors}, {vectors.dimension} numbers each, for {known}",)
        rule = {"name": self.tokenise, **self.tokeniser.rule, "syntax": "Python re, Unicode", "unknown": UNKNOWN}
        return TextData(
            self._batches(loaded.parts, symbols, vocabulary, fitted.get("batch", self.batch)),
            Sizes(len(vocabulary), len(train.classes), vocabulary.symbols, train.classes),
            measured=_PARTS,
            origin={
                "texts": source_name(source),
                "classes": train.counts(),
                "train": len(symbols),
                "sha256": digest_of_labelled(loaded.parts),
            },
            fitted={**fitted, **({"embedding": vectors.dimension} if vectors else {})},
            remarks=remarks,
            signature={"tokenise": rule, "columns": loaded.columns, "probabilities": SOFTMAX},
            texts=loaded.parts,
            symbols=symbols,
            vectors=vectors,
        )

    def prepare(self, network: "nn.Module", data: Data) -> None:
        """Fit the classifier of n-grams to the training part, and take over the vectors of words."""
        from gatewright.tasks.network import load_vectors
        from gatewright.tasks.texts.network import TextNetwork

        if not isinstance(network, TextNetwork) or not isinstance(data, TextData):
            return
        if network.bag is not None:
            sizes = {"classes": data.sizes.outputs, "symbols": data.sizes.inputs, "buckets": self.buckets}
            validation = cast("RaggedBatches", data.parts["validation"])
            train = data.symbols.sequences, data.symbols.labels
            tested = validation.inputs, cast("NDArray[np.int64]", validation.targets)
            network.bag.take(fit_ngrams(train, tested, longest=self.longest_ngram, **sizes))
        if data.vectors is not None:
            load_vectors(network.encode, data.vectors)

    def baselines(self, data: Data) -> Mapping[str, Mapping[str, float]]:
        """TF-IDF of words and pairs of words with logistic regression."""
        if not isinstance(data, TextData):
            return {}
        train, validation, test = ((labelled.decoded_texts(part), part.labels) for part in data.texts)
        reached = tfidf_accuracies(train, validation, {"validation": validation, "test": test})
        return {part: {_BASELINE: value} for part, value in reached.items()}

    def examples(self, source: object, model: TrainedModel) -> Examples:
        """The texts of a list, a table or a file of lines, as numbers of the symbols that are known."""
        texts, vocabulary = labelled.read_texts(source, self, model.signature.get("columns")), _vocabulary(model)
        if not texts.texts:
            raise DataError(f"{source_name(source)} holds no texts", expected="a text at least")
        symbols = [vocabulary.encode(self.tokeniser(text) or [UNKNOWN]) for text in texts.texts]
        return Examples(Ragged.join(symbols), texts.keys, texts.remarks)

    def evaluation(self, source: object, model: TrainedModel) -> Data:
        """What the model was trained for; of other data every text, in a part "test" where it has no parts.

        Texts are read in the symbols that the model knows.
        """
        vocabulary, usual = _vocabulary(model), model.signature.get("columns")
        if source is not None and model.sizes.classes is not None:
            measured = labelled.load_texts_to_measure(source, self, classes=model.sizes.classes, usual=usual)
            batches = {name: self._measured(part, vocabulary) for name, part in measured.items()}
            return Data(batches, model.sizes, measured=tuple(batches))
        default = self.texts if model.source is None else model.source
        source = default if source is None else source
        parts = labelled.load_labelled_texts(source, self, validation=self.held_out, seed=self.seed, usual=usual).parts
        parts = _in_classes_of(model, parts, source_name(source))
        symbols = self._chosen(labelled.encode_texts(parts.train, self.tokeniser, vocabulary), source_name(source))
        return Data(self._batches(parts, symbols, vocabulary, self.batch), model.sizes, measured=_PARTS)

    def misfit(self, signature: Mapping[str, Any], sizes: Sizes) -> Misfit | None:
        """Words, and the columns of tables."""
        if sizes.vocabulary is None:
            return "vocabulary: a list of words", None
        return super().misfit(signature, sizes)

    def fitted_remark(self, fitted: Mapping[str, int]) -> str:
        """A line for a person, where settings were made smaller; an embedding is as large as its vectors."""
        sizes = {name: size for name, size in fitted.items() if name not in ("embedding", "epochs")}
        epochs = fitted.get("epochs")
        enough = f"so many texts need fewer passes: epochs={epochs} (not {self.epochs})"
        return "; ".join(filter(None, (super().fitted_remark(sizes), enough if epochs else "")))

    def _batches(
        self, parts: Splits[LabelledSequences], train: LabelledSequences, vocabulary: WordVocabulary, batch: int
    ) -> dict[str, RaggedBatches]:
        measured = {name: self._measured(getattr(parts, name), vocabulary) for name in _PARTS[1:]}
        return {"train": RaggedBatches(train.sequences, train.labels, batch, seed=self.seed), **measured}

    def _measured(self, part: LabelledSequences, vocabulary: WordVocabulary) -> RaggedBatches:
        encoded = labelled.encode_texts(part, self.tokeniser, vocabulary)
        return RaggedBatches(encoded.sequences, encoded.labels, _MEASURED_ROWS)

    def _chosen(self, texts: LabelledSequences, name: str) -> LabelledSequences:
        """The texts to train on, none longer than is wanted."""
        if self.longer == "cut":
            return LabelledSequences(texts.sequences.shortened(self.longest), texts.labels, texts.classes)
        short = texts.select(np.flatnonzero(texts.sequences.lengths <= self.longest))
        if not len(short):
            raise DataError(
                f"{name} has no text to train on that is short enough",
                expected=f"one of {self.longest} words at most",
                got=f"{int(texts.sequences.lengths.min())} words in the shortest",
                do="raise longest, or have texts cut: longer='cut'",
                shell="raise it (--set longest=...), or have texts cut (--set longer=cut)",
            )
        return short


def _vocabulary(model: TrainedModel) -> WordVocabulary:
    return WordVocabulary((model.sizes.vocabulary or ())[1:])


def _in_classes_of(model: TrainedModel, parts: Splits[LabelledSequences], name: str) -> Splits[LabelledSequences]:
    """The parts with the numbers of the model's classes.

    Raises DataError where there are others.
    """
    classes = parts.train.classes if model.sizes.classes is None else model.sizes.classes  # an earlier file has none
    if not set(parts.train.classes) <= set(classes) or len(classes) != model.sizes.outputs:
        raise DataError(
            f"{name} has other classes than the model",
            expected=f"{model.sizes.outputs} classes" if model.sizes.classes is None else ", ".join(classes),
            got=", ".join(parts.train.classes),
            do="give texts of the model's classes, or train another model on these",
        )
    numbers = np.array([classes.index(name) for name in parts.train.classes])
    return Splits(*(LabelledSequences(part.sequences, numbers[part.labels], classes) for part in parts))
