"""Who says a vowel: labelled series of several channels and any length, each told apart as a whole."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from gatewright.tasks.data import LabelledSequences, RaggedBatches, Scaling, load_labelled_series
from gatewright.tasks.objectives import Classes
from gatewright.tasks.recipe import Data, Encoding, Expected, Pooling, Recipe, Sizes
from gatewright.tasks.settings import setting


@dataclass(frozen=True)
class Speakers(Recipe):
    """Each channel is standardised by the training part; the greatest values over a series' own steps say its class.

    There are few series to learn from, so that much is dropped: of the states, and of what the recurrent matrices read.

    Any `.ts` file of the UEA archive, or a folder of CSV files for each class, is read as well as Japanese vowels.
    """

    name: ClassVar[str] = "speakers"
    about: ClassVar[str] = "tell nine speakers apart by two vowels (Japanese vowels), or classify other series"
    expected: ClassVar[Mapping[str, Expected]] = {"": Expected("test", "accuracy", at_least=0.97, seconds=20)}
    quick: ClassVar[str] = "epochs=5"
    search: ClassVar[str] = "rate=log:1e-3..2e-2 hidden=50,100,200 dropout=0..0.7 read=last,mean,max"

    cell: str = "recurrent_dropout(0.3)(gru)"
    hidden: int = 100
    epochs: int = 60
    rate: float = 5e-3
    schedule: Literal["constant", "cosine", "one-cycle"] = "one-cycle"
    batch: int = 16
    dropout: float = 0.5
    read: Literal["last", "mean", "max"] = setting("max", "what of the states says the class")
    held_out: float = setting(0.2, "share for validation, and for a test where there is none", least=0, below=1)

    def objective(self) -> Classes:
        """Cross entropy of the classes."""
        return Classes()

    def encoding(self) -> Encoding:
        """Channels as they are, each standardised."""
        return "standardised"

    def pooling(self) -> Pooling:
        """As it is set."""
        return self.read

    def data(self, source: object) -> Data:
        """Japanese vowels, or what a name or path holds; batches are of about equally long series."""
        source = "japanese-vowels" if source is None else source
        found = load_labelled_series(source, validation=self.held_out, test=self.held_out, seed=self.seed)
        train = found.train.sequences.compact().values
        parts = {
            "train": _batches(found.train, self.batch, seed=self.seed),
            "validation": _batches(found.validation, 100),
            "test": _batches(found.test, 100),
        }
        sizes = Sizes(train.shape[1], len(found.train.classes), classes=found.train.classes)
        return Data(parts, sizes, measured=("validation", "test"), scaling=Scaling.of(train))


def _batches(part: LabelledSequences, batch: int, *, seed: int | None = None) -> RaggedBatches:
    return RaggedBatches(part.sequences, part.labels, batch, seed=seed)
