"""Sounds in classes: spoken words, animals, machines."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from gatewright.tasks.recipe import Expected
from gatewright.tasks.sounds.recipe import SoundRecipe


@dataclass(frozen=True)
class Sounds(SoundRecipe):
    """Log-mel features, each band standardised by the training part, are read by a recurrent network.

    Every sound to train on is changed at random each time: speed, pitch, level, noise, silence around it, masks.
    """

    name: ClassVar[str] = "sounds"
    about: ClassVar[str] = "tell sounds apart: spoken words, animals, machines; files, folders and streams"
    expected: ClassVar[Mapping[str, Expected]] = {"": Expected("test", "accuracy", at_least=0.98, seconds=120)}
    presets: ClassVar[Mapping[str, str]] = {
        "device": "directions=forward layers=1 hidden=48 window=0.032 hop=0.02 bands=24",
    }
    quick: ClassVar[str] = "epochs=20 hidden=16 layers=1 batch=8"
    search: ClassVar[str] = "rate=log:1e-3..1e-2 hidden=48,96,160 dropout=0..0.6 augment=0.5..2"

    hidden: int = 96
    layers: int = 2
    dropout: float = 0.3
    batch: int = 32
    epochs: int = 30
    optimiser: Literal["adam", "adamw", "rmsprop", "adadelta", "sgd"] = "adamw"
    weight_decay: float = 0.01
    rate: float = 4e-3
    schedule: Literal["constant", "cosine", "one-cycle", "decay"] = "one-cycle"
    clip: float = 1.0
