"""The speaker of a vowel: the recipe `sequences` with the settings and the data of Japanese vowels."""

from dataclasses import dataclass
from typing import Literal

from gatewright.tasks.recipe import Expected
from gatewright.tasks.recipes.sequences import Sequences
from gatewright.tasks.run_data import Directions


@dataclass(frozen=True)
class Speakers(Sequences):
    """The class is predicted from the maximum over the steps of a series.

    The data is small, so dropout is high, on the states and on the inputs of the recurrent matrices.
    """

    name = "speakers"
    about = "recognise nine speakers by two vowels (Japanese vowels): a preset of sequences"
    expected = {"": Expected("test", "accuracy", at_least=0.97, seconds=20)}
    data_forms = "a .ts file, or a folder with CSV files of a series each in a folder for each class"
    data_example = "series/left/first.csv\nseries/left/second.csv\nseries/right/third.csv"
    quick = "epochs=5"
    search = "rate=log:1e-3..2e-2 hidden=50,100,200 dropout=0..0.7 read=last,mean,max"

    cell: str = "recurrent_dropout(0.3)(gru)"
    directions: Directions = "forward"
    patch: int = 1
    hidden: int = 100
    epochs: int = 60
    rate: float = 5e-3
    schedule: Literal["constant", "cosine", "one-cycle", "decay"] = "one-cycle"
    batch: int = 16
    dropout: float = 0.5
    updates: int = 1
    vary: float | None = 0.0
    linear: int | None = 0
    optimiser: Literal["adam", "adamw", "rmsprop", "adadelta", "sgd"] = "adam"
    weight_decay: float = 0.0
    clip: float = 0.0
