"""Parts that move or take together the steps of a sequence."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from gatewright.errors import ConversionError
from gatewright.network.part import Flow, Part, Signal


@dataclass(frozen=True, slots=True)
class Reshape(Part):
    """The numbers of each row of the batch, step by step, in another shape: (features,) or (time, features).

    One of the sizes may be -1, for whatever is left. A mask ends here.
    """

    kind: ClassVar[str] = "Reshape"
    needs_steps: ClassVar[bool] = False
    shape: tuple[int, ...]

    def apply(self, signal: Signal) -> Signal:
        """(batch, features), or (time, batch, features)."""
        value = signal.values
        rows = value.swapaxes(0, 1) if value.ndim == 3 else value
        shaped = rows.reshape(len(rows), *self.shape)
        return replace(signal, values=shaped.swapaxes(0, 1) if shaped.ndim == 3 else shaped, mask=None)

    def gives(self, given: Flow) -> Flow:
        """The last of its sizes."""
        return Flow(self.shape[-1] if self.shape[-1] > 0 else None, len(self.shape) > 1)


@dataclass(frozen=True, slots=True)
class Reverse(Part):
    """The steps, and their mask, from the last to the first."""

    kind: ClassVar[str] = "Reverse"

    def apply(self, signal: Signal) -> Signal:
        """Padding comes first where it came last."""
        mask = None if signal.mask is None or signal.values.ndim < 3 else signal.mask[::-1]
        return replace(signal, values=signal.values[::-1], mask=mask)


@dataclass(frozen=True, slots=True)
class Mean(Part):
    """The mean of all steps of a row that are no padding: one vector for a sequence."""

    kind: ClassVar[str] = "Mean"

    def apply(self, signal: Signal) -> Signal:
        """(time, batch, features) -> (batch, features)."""
        present = signal.present
        total = signal.values.sum(axis=0, where=present[..., None])
        return signal.with_values(total / present.sum(axis=0)[:, None])

    def gives(self, given: Flow) -> Flow:
        """As many features, without steps."""
        return Flow(given.features, False)


@dataclass(frozen=True, slots=True)
class Max(Part):
    """The greatest value of each feature in all steps of a row that are no padding: one vector for a sequence."""

    kind: ClassVar[str] = "Max"

    def apply(self, signal: Signal) -> Signal:
        """(time, batch, features) -> (batch, features)."""
        greatest = signal.values.max(axis=0, initial=-np.inf, where=signal.present[..., None])
        return signal.with_values(greatest)

    def gives(self, given: Flow) -> Flow:
        """As many features, without steps."""
        return Flow(given.features, False)


@dataclass(frozen=True, slots=True)
class TakeStep(Part):
    """One step of the sequence as it lies in memory, whether or not it is padding: `x[index]`, from the end below 0."""

    kind: ClassVar[str] = "Step"
    index: int

    def apply(self, signal: Signal) -> Signal:
        """(time, batch, features) -> (batch, features).

        Raises ConversionError where there is no such step.
        """
        value = signal.values
        if value.ndim != 3 or not -len(value) <= self.index < len(value):
            raise ConversionError(
                f"there is no step {self.index} to take",
                expected="a sequence of enough steps",
                got=f"{len(value)} steps" if value.ndim == 3 else "one row of features",
            )
        return signal.with_values(value[self.index])

    def gives(self, given: Flow) -> Flow:
        """As many features, without steps."""
        return Flow(given.features, False)
