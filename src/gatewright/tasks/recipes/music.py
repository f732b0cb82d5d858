"""Music as piano rolls: which keys sound in the next frame."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from gatewright.tasks.data import KEYS, Ragged, RaggedBatches, RaggedStreams, load_piano_rolls, source_name
from gatewright.tasks.objectives import Keys
from gatewright.tasks.recipe import Data, Expected, Recipe, Sizes
from gatewright.tasks.settings import setting

_MEASURED_FRAMES = 1 << 16  # in a batch of a part that is measured
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
    steps: int = setting(
        200, "frames that gradients go back through; longer pieces are read in chunks, with the state carried", least=1
    )
    music: str = setting("jsb", "the piano rolls, by name or path, where --data names none")

    def objective(self) -> Keys:
        """The negative log likelihood of a frame."""
        return Keys()

    def data(self, source: object) -> Data:
        """The parts that the file has; batches are of about equally long pieces."""
        source = self.music if source is None else source
        found = load_piano_rolls(source)
        parts = {
            "train": self._trained(found.train),
            "validation": _measured(found.validation),
            "test": _measured(found.test),
        }
        origin = {"music": source_name(source)}
        return Data(parts, Sizes(KEYS, KEYS), measured=("validation", "test"), origin=origin)

    def _trained(self, pieces: Ragged) -> RaggedBatches | RaggedStreams:
        """Whole pieces, of about equal length in a batch; where there are long ones, chunks."""
        inputs, targets = pieces.without_last(), pieces.without_first()
        if inputs.lengths.max() <= self.steps:
            return RaggedBatches(inputs, targets, self.batch, seed=self.seed, pool=4)
        return RaggedStreams(inputs, targets, self.batch, self.steps, seed=self.seed)


def _measured(pieces: Ragged) -> RaggedBatches:
    """Whole pieces, so few at a time that their frames stay few."""
    rows = max(1, min(50, _MEASURED_FRAMES // int(pieces.lengths.max())))
    return RaggedBatches(pieces.without_last(), pieces.without_first(), rows)
