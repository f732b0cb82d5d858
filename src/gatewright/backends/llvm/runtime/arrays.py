"""The arrays that an engine computes on: an interface to NumPy's and torch's."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from gatewright.trace.ir import Equation


class Arrays(Protocol):
    """Arrays of one dtype from one library."""

    itemsize: int

    def zeros(self, shape: tuple[int, ...]) -> Any:
        """An array of zeros."""
        ...

    def addresses(self, arrays: Sequence[Any]) -> list[int]:
        """Where each of some arrays begins in memory."""
        ...

    def view(self, array: Any, offset: int, shape: tuple[int, ...]) -> Any:
        """A view of a contiguous array that begins so many bytes after its start."""
        ...

    def fill(self, target: Any, value: Any) -> None:
        """Write a number, or an array of the same or of a broadcast shape, to an array."""
        ...

    def contiguous(self, array: Any) -> Any:
        """The same array, contiguous."""
        ...

    def compute(self, equations: Sequence[Equation], values: dict[str, Any], sizes: Mapping[str, int]) -> None:
        """Compute equations on parameters, which have no kernels; results are added to the values."""
        ...

    def take_workspace(self, size: int) -> Any:
        """Memory of so many bytes for kernels, to be given back."""
        ...

    def give_back(self, block: Any) -> None:
        """Return a workspace."""
        ...
