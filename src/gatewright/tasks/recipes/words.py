"""A language model of the words of any text."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from gatewright.tasks.language.recipe import WordModel
from gatewright.tasks.recipe import Expected, Schedule

_ZAREMBA = "tied=no optimiser=sgd schedule=decay dropout_per=step weight_drop=0 batch=20 "


@dataclass(frozen=True)
class Words(WordModel):
    """A sensible setting for texts of about a million words, by default the Penn Treebank.

    - "wildml": Britz 2015, a GRU that writes sentences; its RMSprop has its constant outside of the square root.
    - "small", "medium": Zaremba, Sutskever & Vinyals 2014, 1409.2329. They sum the loss over the steps and not over the
      batch: with its mean, the rate is as many times larger, and the limit of the gradient smaller. "gru" is "small"
      with a GRU, which rate 20 lets go astray.
    - "regularised": what Merity, Keskar & Socher 2017, 1708.02182, do to a network, at a size for two cores.
    """

    name: ClassVar[str] = "words"
    about: ClassVar[str] = "predict the next word of a text, and write more of it"
    expected: ClassVar[Mapping[str, Expected]] = {
        "": Expected("test", "perplexity", at_most=95.0, seconds=3300),
        "small": Expected("test", "perplexity", at_most=114.5, seconds=4000),
    }
    presets: ClassVar[Mapping[str, str]] = {
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
    data_forms: ClassVar[str] = "a text file in UTF-8, or a folder with *.train.txt, *.valid.txt and *.test.txt"
    data_example: ClassVar[str] = "the fog came in from the sea\na lamp was lit in the house\nnobody had heard the door"
    quick: ClassVar[str] = "text=python-docs words=2000 hidden=32 epochs=2"
    search: ClassVar[str] = "rate=log:1e-3..2e-2 dropout=0..0.6 input_dropout=0..0.6 weight_drop=0..0.5"

    hidden: int = 200
    layers: int = 2
    epochs: int = 12
    rate: float = 4e-3
    schedule: Schedule = "one-cycle"
    tied: bool = True
    dropout: float = 0.3
    input_dropout: float = 0.3
    dropout_per: Literal["step", "sequence"] = "sequence"
    weight_drop: float = 0.1
    clip: float = 0.25
