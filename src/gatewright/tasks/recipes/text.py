"""A language model of the characters of any text."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from gatewright.tasks.language.recipe import CharacterModel
from gatewright.tasks.recipe import Expected, Schedule


@dataclass(frozen=True)
class Text(CharacterModel):
    """A sensible setting for texts of about a megabyte.

    The preset "d2l" is the setting of Dive into Deep Learning's chapter on the GRU: its perplexity is that of the
    training text, of which the network sees nothing but 10,000 characters, 500 times; the book prints 1.1, with one
    decimal. "shakespeare" is two layers for Tiny Shakespeare, of which the minGRU paper (Feng et al. 2024, 2410.01201)
    has a validation loss of 1.548.
    """

    name: ClassVar[str] = "text"
    about: ClassVar[str] = "predict the next character of a text, and write more of it"
    expected: ClassVar[Mapping[str, Expected]] = {
        "": Expected("test", "perplexity", at_most=3.0, seconds=120),
        "d2l": Expected("train", "perplexity", at_most=1.15, seconds=150),
        "shakespeare": Expected("validation", "loss", at_most=1.45, seconds=1900),
    }
    presets: ClassVar[Mapping[str, str]] = {
        "d2l": "text=timemachine cleaning=d2l tokens=10000 held_out=0 'prompts=time traveller|traveller' temperature=0 "
        "symbols=one-hot steps=35 init=normal(0.01) output_init=normal(0.01) dropout=0 optimiser=sgd rate=1 "
        "schedule=constant epochs=500",
        "shakespeare": "text=shakespeare layers=2 dropout=0.3 steps=96 epochs=24 patience=0 prompts=ROMEO:",
    }
    data_forms: ClassVar[str] = "any text file in UTF-8"
    data_example: ClassVar[str] = "The fog came in from the sea.\nA lamp was lit in the house.\nNobody heard the door."
    quick: ClassVar[str] = "hidden=64 tokens=40000 epochs=2"
    search: ClassVar[str] = "rate=log:5e-4..2e-2 hidden=128,256,512 dropout=0..0.5"

    hidden: int = 256
    epochs: int = 8
    rate: float = 4e-3
    schedule: Schedule = "one-cycle"
    dropout: float = 0.1
    clip: float = 1.0
    patience: int = 3
