"""How far an exported file is from the NumPy reference, and how far rounding lets it be."""

from dataclasses import dataclass

ALLOWED = {"float32": 1e-4, "float64": 1e-9}
"""The largest difference that rounding explains, beside the largest number of a result."""


@dataclass(frozen=True, slots=True)
class Difference:
    """How far a file is from the reference, over so many steps."""

    steps: int
    worst: float  # over all results, as a share of the largest number in each, or of 1 where that is larger
    allowed: float
    batch: int = 1  # rows of an ONNX file
    compiler: str = ""  # of a C file

    @property
    def fits(self) -> bool:
        """Whether it is no more than rounding."""
        return self.worst <= self.allowed
