"""Labelled texts of any kind and language, told apart by their class."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from gatewright.tasks.recipe import Expected, Schedule
from gatewright.tasks.texts.recipe import TextClassifier


@dataclass(frozen=True)
class ClassifiedTexts(TextClassifier):
    """A sensible setting for hundreds to tens of thousands of texts, by default IMDB's reviews; `--data sst2`, or any
    table of texts and labels. Of more than 5,000 texts fewer passes are made, of 15,000 and more
    four.

    The preset "tutorial" is Theano's sentiment tutorial with a GRU in place of its LSTM: the reviews of less than a
    hundred words, read forward, Adadelta, orthogonal matrices, no schedule; its embedding begins on both sides of zero.
    """

    name: ClassVar[str] = "texts"
    aliases: ClassVar[tuple[str, ...]] = ("sentiment",)
    about: ClassVar[str] = "tell labelled texts apart by their class, such as good reviews from bad ones"
    expected: ClassVar[Mapping[str, Expected]] = {
        "": Expected("test", "accuracy", at_least=0.88, seconds=600),
        "sst2": Expected("test", "accuracy", at_least=0.815, seconds=90),
    }
    presets: ClassVar[Mapping[str, str]] = {
        "tutorial": "cell=gru(update=replaces) hidden=128 embedding=none directions=forward ngrams=0 tokenise=words "
        "words=10000 longest=99 longer=drop held_out=0.05 batch=16 dropout=0.5 "
        'input_dropout=0 dropout_per=step init=\'orthogonal(spaces=("U", "W"))\' embedding_init=uniform(0.01) '
        "output_init=normal(0.01) optimiser=adadelta rate=1 schedule=constant clip=0 epochs=100 validate_every=3 "
        "patience=10 keep=last",
        "sst2": "texts=sst2 batch=32 epochs=4 input_dropout=0.5",
    }
    quick: ClassVar[str] = "texts=sst2 hidden=32 words=2000 epochs=2 batch=64"
    search: ClassVar[str] = "rate=log:5e-4..1e-2 hidden=32,64,128 dropout=0..0.7 input_dropout=0..0.6"

    hidden: int = 64
    epochs: int = 12
    batch: int = 64
    rate: float = 2e-3
    schedule: Schedule = "one-cycle"
    dropout: float = 0.5
    input_dropout: float = 0.3
    clip: float = 1.0
