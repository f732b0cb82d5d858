"""What recipes that tell texts apart have in common."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from gatewright.errors import DataError
from gatewright.tasks.classifier import Classifier
from gatewright.tasks.columns import TextColumns
from gatewright.tasks.data import (
    UNKNOWN,
    LabelledSequences,
    Ragged,
    RaggedBatches,
    WordVocabulary,
    count_words,
    encode_texts,
    load_labelled_texts,
    source_name,
    tokeniser,
)
from gatewright.tasks.data.labelled_texts import read_texts
from gatewright.tasks.predict import Examples
from gatewright.tasks.recipe import BidirectionalRecipe, Data, Direction, Encoding, Pooling, Sizes
from gatewright.tasks.settings import setting

if TYPE_CHECKING:
    from gatewright.tasks.model import Model

_MEASURED_ROWS = 100


@dataclass(frozen=True)
class TextClassifier(TextColumns, BidirectionalRecipe, Classifier):
    """The class of a text, from the mean over its words of what a network makes of them."""

    pool: ClassVar[Pooling] = "mean"
    reads_lines: ClassVar[bool] = True
    data_forms: ClassVar[str] = "a CSV or TSV file with a text and its class in each row, or a folder of such files"
    data_example: ClassVar[str] = "text,class\nthe film is a joy,good\nan hour too long,bad"
    monitor: ClassVar[tuple[str, Direction]] = ("accuracy", "max")

    texts: str = setting("imdb", "the labelled texts, by name or path, where --data names none")
    words: int = setting(20_000, "size of the vocabulary; all other words are unknown", least=2)
    tokenise: Literal["words", "spaces"] = setting("words", "how texts are divided: lower-case words, or at spaces")
    longest: int = setting(400, "words to read of a text to train on", least=1)
    longer: Literal["cut", "drop"] = setting("cut", "texts to train on that are longer: their start, or left out")
    held_out: float = setting(0.1, "share to validate with, where the data has no such part", least=0.001, below=0.5)
    embedding_init: str = setting("normal(0.1)", "initialiser of the embedding")

    def default_source(self) -> str:
        """The texts that are set."""
        return self.texts

    def input_encoding(self) -> Encoding:
        """Numbers of words."""
        return "embedding"

    def network_options(self) -> Mapping[str, Any]:
        """How the embedding begins."""
        return {"embedding_init": self.embedding_init}

    def data(self, source: object) -> Data:
        """The parts of the data; what it lacks of them is held out, by seed."""
        source = self.texts if source is None else source
        name, divide = source_name(source), tokeniser(self.tokenise)
        loaded = load_labelled_texts(source, self, validation=self.held_out, seed=self.seed)
        found = loaded.parts
        vocabulary = WordVocabulary.from_counts(count_words(found.train.sequences, divide), size=self.words)
        train = self._chosen(encode_texts(found.train, divide, vocabulary), name)
        parts = {
            "train": RaggedBatches(train.sequences, train.labels, self.batch, seed=self.seed),
            "validation": _measured(encode_texts(found.validation, divide, vocabulary)),
            "test": _measured(encode_texts(found.test, divide, vocabulary)),
        }
        return Data(
            parts,
            Sizes(len(vocabulary), len(found.train.classes), vocabulary.symbols, found.train.classes),
            measured=tuple(parts),
            origin={"texts": name, "classes": found.train.counts(), "train": len(train)},
            remarks=loaded.remarks,
        )

    def examples(self, source: object, model: "Model") -> Examples:
        """The texts of a list, a table or a file of lines, as numbers of the words that are known."""
        found = read_texts(source, self)
        divide, vocabulary = tokeniser(self.tokenise), WordVocabulary((model.sizes.vocabulary or ())[1:])
        return Examples(Ragged.join([vocabulary.encode(divide(text) or [UNKNOWN]) for text in found.texts]), found.keys)

    def evaluation(self, source: object, model: "Model") -> Data:
        """The parts of the data; of other data the same, in the words that the model knows."""
        if source is None:
            return super().evaluation(None, model)
        found = load_labelled_texts(source, self, validation=self.held_out, seed=self.seed).parts
        if len(found.train.classes) != model.sizes.outputs:
            raise DataError(
                f"{source_name(source)} has other classes than the model",
                expected=f"{model.sizes.outputs} classes",
                got=", ".join(found.train.classes),
            )
        divide, vocabulary = tokeniser(self.tokenise), WordVocabulary((model.sizes.vocabulary or ())[1:])
        names = ("train", "validation", "test")
        parts = {
            name: _measured(encode_texts(part, divide, vocabulary)) for name, part in zip(names, found, strict=True)
        }
        return Data(parts, model.sizes, measured=names)

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
                do="raise it (--set longest=...), or have texts cut (--set longer=cut)",
            )
        return short


def _measured(texts: LabelledSequences) -> RaggedBatches:
    return RaggedBatches(texts.sequences, texts.labels, _MEASURED_ROWS)
