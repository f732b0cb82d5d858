"""Music as piano rolls: which keys sound in the next frame."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from gatewright.tasks.data import KEYS, Ragged, RaggedBatches, load_piano_rolls, source_name
from gatewright.tasks.objectives import Keys
from gatewright.tasks.recipe import Data, Expected, Recipe, Sizes
from gatewright.tasks.settings import setting

_CHUNG = "optimiser=rmsprop rate=0.001 schedule=constant dropout=0 clip=1 batch=1 epochs=100"


@dataclass(frozen=True)
class Music(Recipe):
    """Each frame but a piece's first is predicted from those before it.

    The loss is the negative log likelihood of a frame, in nats: summed over its 88 keys, and averaged over all
    predicted frames of all pieces together, as Bai et al. (2018) do. The presets are the sizes, of 21,000 to
    28,000 parameters here, and the optimiser of Chung et al. (2014), without their weight noise.
    JSB is small, so that much is dropped: of the states, and of what the recurrent matrices read.
    """

    name: ClassVar[str] = "music"
    about: ClassVar[str] = "predict the next notes of Bach's chorales (JSB) or folk tunes (Nottingham)"
    expected: ClassVar[Mapping[str, Expected]] = {"": Expected("test", "loss", at_most=8.43, seconds=90)}
    presets: ClassVar[Mapping[str, str]] = {
        "chung-lstm": f"cell=lstm hidden=36 {_CHUNG}",
        "chung-gru": f"cell=gru hidden=46 {_CHUNG}",
        "chung-tanh": f"cell=elman hidden=100 {_CHUNG}",
    }
    quick: ClassVar[str] = "hidden=32 epochs=2"
    search: ClassVar[str] = "rate=log:1e-3..2e-2 hidden=50,100,150,250 dropout=0..0.7 batch=2,4,8,16"

    cell: str = "recurrent_dropout(0.25)(gru)"
    hidden: int = 150
    epochs: int = 50
    rate: float = 5e-3
    schedule: Literal["constant", "cosine", "one-cycle"] = "one-cycle"
    batch: int = 4
    dropout: float = 0.4
    clip: float = 1.0
    patience: int = 20
    music: str = setting("jsb", "the piano rolls, by name or path, where --data names none")

    def objective(self) -> Keys:
        """The negative log likelihood of a frame."""
        return Keys()

    def data(self, source: object) -> Data:
        """The parts that the file has; batches are of about equally long pieces."""
        source = self.music if source is None else source
        found = load_piano_rolls(source)
        parts = {
            "train": _batches(found.train, self.batch, seed=self.seed),
            "validation": _batches(found.validation, 50),
            "test": _batches(found.test, 50),
        }
        origin = {"music": source_name(source)}
        return Data(parts, Sizes(KEYS, KEYS), measured=("validation", "test"), origin=origin)


def _batches(pieces: Ragged, batch: int, *, seed: int | None = None) -> RaggedBatches:
    return RaggedBatches(pieces.without_last(), pieces.without_first(), batch, seed=seed, pool=4)
