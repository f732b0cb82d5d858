"""A label for each step: parts of speech, names, phrases; or what a sensor shows in each row."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from gatewright.tasks.recipe import Expected, Schedule
from gatewright.tasks.tagging.recipe import StepLabeller


@dataclass(frozen=True)
class Tagging(StepLabeller):
    """A sensible setting for thousands of sentences.

    Tokens that occur less than `least` times are unknown, so that the network learns to tag new ones by the rest.
    """

    name: ClassVar[str] = "tagging"
    about: ClassVar[str] = "a label for each step: parts of speech, named entities (BIO), rows of sensors"
    expected: ClassVar[Mapping[str, Expected]] = {"": Expected("test", "accuracy", at_least=0.95, seconds=75)}
    data_forms: ClassVar[str] = (
        "a file with a token and its label in each line and an empty line behind each sentence (CoNLL, CoNLL-U), or a "
        "folder of such files whose names hold train, dev and test; a CSV, TSV, JSON lines or Parquet file, or a "
        "DataFrame, with a row for each token and a column that tells sentences apart, or for each moment of a sensor; "
        "in memory: pairs of tokens and tags, or of arrays (steps, channels) and labels"
    )
    data_example: ClassVar[str] = "Ada B-PER\nlives O\nin O"
    next_command: ClassVar[str] = "gatewright predict {model} --data {data}"
    quick: ClassVar[str] = "hidden=16 embedding=16 epochs=4"
    search: ClassVar[str] = "rate=log:1e-3..1e-2 hidden=64,128,256 embedding=32,64,128 dropout=0..0.6"

    hidden: int = 128
    epochs: int = 8
    rate: float = 5e-3
    schedule: Schedule = "one-cycle"
    dropout: float = 0.5
    input_dropout: float = 0.3
    clip: float = 1.0
