"""Parts that move or take together the steps of a sequence."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from gatewright.errors import ConversionError
from gatewright.network.part import Array, Flow, Part, Signal


@dataclass(frozen=True, slots=True)
class Reshape(Part):
    """The numbers of each row of the batch, step by step, in another shape: (features,) or (time, features).

    One of the sizes may be -1, for whatever is left. A mask ends here.
    """

    needs_steps: ClassVar[bool] = False
    shape: tuple[int, ...]

    def apply(self, signal: Signal) -> Signal:
        """(batch, features), or (time, batch, features)."""
        value = signal.values
        rows = value.swapaxes(0, 1) if value.ndim == 3 else value
        try:
            shaped = rows.reshape(len(rows), *self.shape)
        except ValueError as error:
            raise ConversionError(
                f"a Reshape to {self.shape} cannot read rows of this shape",
                expected="as many numbers, or a multiple of them where a size is -1",
                got=str(rows.shape[1:]),
            ) from error
        return replace(signal, values=shaped.swapaxes(0, 1) if shaped.ndim == 3 else shaped, mask=None)

    def gives(self, given: Flow) -> Flow:
        return Flow(self.shape[-1] if self.shape[-1] > 0 else None, len(self.shape) > 1)


@dataclass(frozen=True, slots=True)
class Reverse(Part):
    """The steps, and their mask, from the last to the first."""

    needs_steps: ClassVar[bool] = True

    def apply(self, signal: Signal) -> Signal:
        """Padding comes first where it came last."""
        mask = None if signal.mask is None or signal.values.ndim < 3 else signal.mask[::-1]
        return replace(signal, values=signal.values[::-1], mask=mask)


@dataclass(frozen=True, slots=True)
class PoolPart(Part):
    """One vector for a sequence."""

    needs_steps: ClassVar[bool] = True

    def gives(self, given: Flow) -> Flow:
        return Flow(given.features, False)


@dataclass(frozen=True, slots=True)
class Mean(PoolPart):
    """The mean of all steps of a row that are no padding."""

    zeros_if_empty: bool = False  # what a row of no step gives, which is 0/0 otherwise

    def apply(self, signal: Signal) -> Signal:
        """(time, batch, features) -> (batch, features)."""
        present = signal.present
        total = signal.values.sum(axis=0, where=present[..., None])
        steps = np.maximum(present.sum(axis=0), 1 if self.zeros_if_empty else 0)[:, None]
        with np.errstate(invalid="ignore"):  # a row of no step has no mean: NaN
            return signal.with_values(total / steps.astype(total.dtype))


@dataclass(frozen=True, slots=True)
class Max(PoolPart):
    """The greatest value of each feature in all steps of a row that are no padding."""

    zeros_if_empty: bool = False  # what a row of no step gives, which is minus infinity otherwise

    def apply(self, signal: Signal) -> Signal:
        """(time, batch, features) -> (batch, features)."""
        present = signal.present[..., None]
        greatest = signal.values.max(axis=0, initial=-np.inf, where=present)
        return signal.with_values(np.where(present.any(axis=0), greatest, 0) if self.zeros_if_empty else greatest)


@dataclass(frozen=True, slots=True)
class Last(PoolPart):
    """The last step of each row that is no padding; a row of no step gives zeros.

    The last `backward` features come from a direction that reads backwards: it ends at the first step.
    """

    backward: int = 0

    def apply(self, signal: Signal) -> Signal:
        """(time, batch, features) -> (batch, features)."""
        values, present = signal.values, signal.present
        after = np.concatenate([present[1:], np.zeros_like(present[:1])])
        ended = np.where((present & ~after)[..., None], values, 0).sum(0)
        if self.backward:
            ended[:, -self.backward :] = values[:1, :, -self.backward :].sum(0)
        return signal.with_values(ended)


@dataclass(frozen=True, slots=True)
class TakeStep(PoolPart):
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


@dataclass(frozen=True, slots=True)
class PatchPart(Part):
    """Several steps read as one: `weight @ x + bias` of `size` steps side by side. Zeros fill up a row's last patch."""

    kind: ClassVar[str] = "Patches"
    needs_steps: ClassVar[bool] = True
    weight: Array  # (features, size * inputs)
    bias: Array
    size: int

    def apply(self, signal: Signal) -> Signal:
        """(time, batch, inputs) -> (patches, batch, features)."""
        size, values, lengths = self.size, signal.values, signal.lengths
        (steps, batch, features), mask = values.shape, signal.mask
        if lengths is not None or mask is not None:
            values = np.where(signal.present[..., None], values, 0)
        whole = np.concatenate([values, np.zeros((-steps % size, batch, features), values.dtype)])
        flat = whole.reshape(-1, size, batch, features).swapaxes(1, 2).reshape(-1, batch, size * features)
        if mask is not None:
            padded = np.concatenate([mask, np.zeros((-steps % size, batch), bool)])
            mask = padded.reshape(-1, size, batch).any(axis=1)
        product = flat.astype(signal.dtype) @ self.weight.astype(signal.dtype).T + self.bias.astype(signal.dtype)
        return replace(signal, values=product, mask=mask, lengths=None if lengths is None else -(-lengths // size))

    @property
    def width(self) -> int:
        return self.weight.shape[1] // self.size

    def gives(self, given: Flow) -> Flow:
        return Flow(len(self.weight), True)
