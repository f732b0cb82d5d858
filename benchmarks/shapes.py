"""The sizes that are measured."""

from dataclasses import astuple, dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Shape:
    """A sequence and a layer: steps, rows, input and hidden units."""

    steps: int
    batch: int
    inputs: int
    hidden: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """The shape that is written "100,1,32,32"."""
        sizes = [int(size) for size in text.split(",")]
        if len(sizes) != 4 or min(sizes) < 1:
            raise ValueError(f"a shape is steps,batch,input,hidden, each at least 1, and not {text!r}")
        return cls(*sizes)

    def __str__(self) -> str:
        return ",".join(map(str, astuple(self)))


SHAPES = tuple(
    Shape.parse(text)
    for text in (
        "100,1,32,32",
        "100,1,128,128",
        "100,1,256,256",
        "100,1,512,512",
        "35,32,28,256",
        "35,32,256,256",
        "128,64,128,128",
        "28,100,28,128",
        "256,16,512,512",
    )
)
QUICK = tuple(SHAPES[index] for index in (0, 1, 4))
