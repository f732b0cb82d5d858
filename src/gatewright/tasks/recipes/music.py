"""Music as piano rolls: which keys sound in the next frame."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from gatewright.tasks.music.recipe import MusicRecipe
from gatewright.tasks.recipe import Expected

_CHUNG = "optimiser=rmsprop rate=0.001 schedule=constant dropout=0 clip=1 batch=1 epochs=100"


@dataclass(frozen=True)
class Music(MusicRecipe):
    """Each frame but a piece's first is predicted from those before it.

    The loss is the negative log likelihood of a frame, in nats: summed over its 88 keys, and averaged over all
    predicted frames of all pieces together, as Bai et al. (2018) do. The presets are the sizes, of 21,000 to
    28,000 parameters here, and the optimiser of Chung et al. (2014), without their weight noise.
    JSB is small, so that much is dropped: of the states, and of what the recurrent matrices read.
    Pieces longer than `steps` are learned by truncated back-propagation: in chunks, with the state carried. The preset
    "nottingham" drops less, as its set has 13 times the frames.
    """

    name: ClassVar[str] = "music"
    about: ClassVar[str] = "predict the next notes of chorales, folk tunes or MIDI files, and write more of them"
    expected: ClassVar[Mapping[str, Expected]] = {
        "": Expected("test", "loss", at_most=8.43, seconds=90),
        "nottingham": Expected("test", "loss", at_most=3.46, seconds=550),
    }
    presets: ClassVar[Mapping[str, str]] = {
        "nottingham": "music=nottingham hidden=200 dropout=0.2 epochs=40 cell=recurrent_dropout(0.1)(gru)",
        "chung-lstm": f"cell=lstm hidden=36 {_CHUNG}",
        "chung-gru": f"cell=gru hidden=46 {_CHUNG}",
        "chung-tanh": f"cell=elman hidden=100 {_CHUNG}",
    }
    quick: ClassVar[str] = "hidden=32 epochs=2"
    search: ClassVar[str] = "rate=log:1e-3..2e-2 hidden=50,100,150,250 dropout=0..0.7 batch=2,4,8,16"
    next_command: ClassVar[str] = "gatewright generate {model} --out tune.mid"

    cell: str = "recurrent_dropout(0.25)(gru)"
    hidden: int = 150
    epochs: int = 50
    rate: float = 5e-3
    schedule: Literal["constant", "cosine", "one-cycle"] = "one-cycle"
    batch: int = 4
    dropout: float = 0.4
    clip: float = 1.0
    patience: int = 20
