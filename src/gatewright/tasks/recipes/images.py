"""Images of ten classes, read row by row, or pixel by pixel: MNIST, or any four files of its kind."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gatewright.tasks.answers.predictor import Examples
from gatewright.tasks.classifier import Classifier
from gatewright.tasks.data.images.labelled import ImageBatches, LabelledImages, load_images
from gatewright.tasks.data.images.pictures import BRIGHTEST, Look, border_mean, load_pictures
from gatewright.tasks.data.ragged import Ragged
from gatewright.tasks.recipe import Expected
from gatewright.tasks.run_data import Data, Sizes
from gatewright.tasks.settings import setting
from gatewright.tasks.signatures import PictureSignature, not_alike
from gatewright.tasks.trained_model import TrainedModel
from gatewright.untrusted.kinds import Misfit

CLASSES = tuple(map(str, range(10)))
_SIDE = 28  # of the images of a model file of an earlier version
_HELD_OUT_AT_MOST = 0.2  # of the images, where there are few


@dataclass(frozen=True)
class Images(Classifier):
    """A step is a row of pixels, or a single pixel. The class is predicted from the state after the last step.

    "permuted" reads the pixels in an order that is drawn once from the seed. The preset "text" is the published
    setting of DL Indaba's practical on gated models. Its L2 term is half the sum of squares, as weight_decay is here.
    The printed code sums that term over an empty list, so it computes weight_decay=0.
    """

    name = "images"
    about = "classify MNIST's 28 x 28 handwritten digits, one row or one pixel a step"
    pool = "last"
    signature_type = PictureSignature
    expected = {
        "": Expected("test", "accuracy", at_least=0.99, seconds=460),
        "pixels": Expected("test", "accuracy", at_least=0.962, seconds=1600),
    }
    presets = {
        "text": "cell=lstm rate=0.001 schedule=constant dropout=0 weight_decay=0.001 epochs=100 patience=5",
        "pixels": "order=pixels cell=gru hidden=64 dropout=0 epochs=15 rate=8e-3 clip=1 "
        "'init=torch + chrono(max_steps=784)'",
    }
    quick = "images=2000 validation=1000 epochs=3"
    search = "rate=log:1e-3..1e-2 hidden=64,128,256 dropout=0..0.6"
    data_forms = (
        "mnist, or a folder with the four idx files of its kind; to predict: a picture file (png, jpg, gif, bmp), a "
        "folder of them, an idx file, or in Python an array (items, rows, columns) of whole numbers from 0 to 255"
    )
    data_example = "train-images-idx3-ubyte.gz\ntrain-labels-idx1-ubyte.gz\nt10k-images-idx3-ubyte.gz"

    cell: str = "recurrent_dropout(0.2)(gru)"
    epochs: int = 15
    rate: float = 4e-3
    schedule: Literal["constant", "cosine", "one-cycle"] = "one-cycle"
    batch: int = 100
    dropout: float = 0.4
    order: Literal["rows", "pixels", "permuted"] = setting("rows", "what a step reads: a row, or one pixel")
    images: int | None = setting(None, "train on so many images only", least=1)
    validation: int = setting(5000, "images to train on that are held out", least=1)

    def data(self, source: object) -> Data:
        """MNIST, or the four idx files of a folder."""
        at_most = _HELD_OUT_AT_MOST if self.is_own("validation") else 1.0
        images = load_images("mnist" if source is None else source, validation=self.validation, at_most=at_most)
        rows, columns = images.train.images.shape[1:]
        train = images.train.select(slice(self.images))
        parts = {
            "train": self._batches(train, self.batch, seed=self.seed),
            "validation": self._batches(images.validation, 500),
            "test": self._batches(images.test, 500),
        }
        sizes = Sizes(inputs=columns if self.order == "rows" else 1, outputs=10, classes=CLASSES)
        origin, fitted = {"images": [len(train), rows, columns]}, self.fitted(validation=len(images.validation))
        pixel_order = self._pixel_order(rows * columns)
        signature = {
            "input": "a row of pixels a step, from the top" if self.order == "rows" else "a pixel a step",
            "output": "a score for each class after the last step; softmax gives probabilities",
            "rows": rows,
            "columns": columns,
            "pixels": "from 0 (black) to 255 (white), divided by 255",
            "divided_by": BRIGHTEST,
            "order": self.order if pixel_order is None else pixel_order.tolist(),
            "border": round(border_mean(train.images), 3),
        }
        return Data(parts, sizes, origin=origin, fitted=fitted, signature=signature)

    def examples(self, source: object, model: TrainedModel) -> Examples:
        """Picture files, idx files and arrays, as sequences of rows or pixels."""
        signature, columns = model.signature, model.sizes.inputs if self.order == "rows" else _SIDE
        look = Look(signature.get("rows", columns), signature.get("columns", columns), signature.get("border", 0.0))
        pictures = load_pictures(source, look)
        labels = np.zeros(len(pictures.images), np.int64)
        batch = self._batches(LabelledImages(pictures.images, labels), len(labels)).batch(0, 0)
        return Examples(Ragged.join(list(batch.inputs.swapaxes(0, 1))), pictures.keys)

    def misfit(self, signature: Mapping[str, Any], sizes: Sizes) -> Misfit | None:
        """The size of the images, which sequences of rows have to have."""
        wrong, columns = super().misfit(signature, sizes), signature.get("columns", sizes.inputs)
        return wrong or (not_alike("columns", columns, sizes.inputs) if self.order == "rows" else None)

    def _batches(self, part: LabelledImages, batch: int, *, seed: int | None = None) -> ImageBatches:
        by: Literal["rows", "pixels"] = "rows" if self.order == "rows" else "pixels"
        return ImageBatches(part, batch, by=by, pixel_order=self._pixel_order(part.images[0].size), seed=seed)

    def _pixel_order(self, pixels: int) -> NDArray[np.int64] | None:
        return np.random.default_rng(self.seed).permutation(pixels) if self.order == "permuted" else None
