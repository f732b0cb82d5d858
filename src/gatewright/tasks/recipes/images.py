"""Images of ten classes, read row by row, or pixel by pixel: MNIST, or any four files of its kind."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from gatewright.tasks.data import ImageBatches, LabelledImages, load_images
from gatewright.tasks.objectives import Classes
from gatewright.tasks.recipe import Data, Expected, Pooling, Recipe, Sizes
from gatewright.tasks.settings import setting

_HELD_OUT_AT_MOST = 0.2  # of the images, where there are few


@dataclass(frozen=True)
class Images(Recipe):
    """A step is a row of pixels, or a single one; the state after the last step says what the image shows.

    "permuted" reads the pixels in an order that is drawn once from the seed. The preset "text" is the published
    setting of DL Indaba's practical on gated models: TensorFlow's l2_loss is half the square, as is our decay. As
    printed, its code sums that over an empty list: what it computes is weight_decay=0.
    """

    name: ClassVar[str] = "images"
    about: ClassVar[str] = "classify MNIST's 28 x 28 handwritten digits, one row or one pixel a step"
    pool: ClassVar[Pooling] = "last"
    expected: ClassVar[Mapping[str, Expected]] = {
        "": Expected("test", "accuracy", at_least=0.99, seconds=460),
        "pixels": Expected("test", "accuracy", at_least=0.962, seconds=1600),
    }
    presets: ClassVar[Mapping[str, str]] = {
        "text": "cell=lstm rate=0.001 schedule=constant dropout=0 weight_decay=0.001 epochs=100 patience=5",
        "pixels": "order=pixels cell=gru hidden=64 dropout=0 epochs=15 rate=8e-3 clip=1 "
        "'init=torch + chrono(max_steps=784)'",
    }
    quick: ClassVar[str] = "images=2000 validation=1000 epochs=3"
    search: ClassVar[str] = "rate=log:1e-3..1e-2 hidden=64,128,256 dropout=0..0.6"

    cell: str = "recurrent_dropout(0.2)(gru)"
    epochs: int = 15
    rate: float = 4e-3
    schedule: Literal["constant", "cosine", "one-cycle"] = "one-cycle"
    batch: int = 100
    dropout: float = 0.4
    order: Literal["rows", "pixels", "permuted"] = setting("rows", "what a step reads: a row, or one pixel")
    images: int | None = setting(None, "train on so many images only", least=1)
    validation: int = setting(5000, "images to train on that are held out", least=1)

    def objective(self) -> Classes:
        """Cross entropy of the ten classes."""
        return Classes()

    def data(self, source: object) -> Data:
        """MNIST, or the four idx files of a folder."""
        at_most = _HELD_OUT_AT_MOST if self.is_own("validation") else 1.0
        found = load_images("mnist" if source is None else source, validation=self.validation, at_most=at_most)
        rows, columns = found.train.images.shape[1:]
        train = found.train.select(slice(self.images))
        parts = {
            "train": self._batches(train, self.batch, seed=self.seed),
            "validation": self._batches(found.validation, 500),
            "test": self._batches(found.test, 500),
        }
        sizes = Sizes(inputs=columns if self.order == "rows" else 1, outputs=10)
        origin, fitted = {"images": [len(train), rows, columns]}, self.fitted(validation=len(found.validation))
        return Data(parts, sizes, measured=("validation", "test"), origin=origin, fitted=fitted)

    def _batches(self, part: LabelledImages, batch: int, *, seed: int | None = None) -> ImageBatches:
        pixels = part.images[0].size
        pixel_order = np.random.default_rng(self.seed).permutation(pixels) if self.order == "permuted" else None
        by: Literal["rows", "pixels"] = "rows" if self.order == "rows" else "pixels"
        return ImageBatches(part, batch, by=by, pixel_order=pixel_order, seed=seed)
