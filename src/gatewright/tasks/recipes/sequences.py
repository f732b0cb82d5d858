"""Labelled time series of one channel or several, of any length: a class for each, or numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from gatewright.tasks.recipe import Expected
from gatewright.tasks.sequences.recipe import SeriesRecipe


@dataclass(frozen=True)
class Sequences(SeriesRecipe):
    """Long series are read in patches, both ways, and the greatest values over a series' own steps say its answer.

    Beside the network is a linear model of the values at equally spaced times, whose answers are averaged with its own.
    Labels may be classes or numbers. Few series are gone through many times, each time changed at random; none of them
    validates, and the last network is kept.
    """

    name: ClassVar[str] = "sequences"
    about: ClassVar[str] = "classify time series, or tell a number of each: sensors, gestures, outlines, spectra"
    expected: ClassVar[Mapping[str, Expected]] = {"": Expected("test", "accuracy", at_least=0.97, seconds=40)}
    quick: ClassVar[str] = "epochs=3 updates=10"
    search: ClassVar[str] = "rate=log:1e-3..1e-2 hidden=32,64,128 dropout=0..0.6"

    hidden: int = 64
    dropout: float = 0.1
    batch: int = 16
    epochs: int = 20
    updates: int = 50
    vary: float | None = None
    linear: int | None = None
    optimiser: Literal["adam", "adamw", "rmsprop", "adadelta", "sgd"] = "adamw"
    weight_decay: float = 0.01
    rate: float = 5e-3
    schedule: Literal["constant", "cosine", "one-cycle", "decay"] = "one-cycle"
    clip: float = 1.0
