"""Parts that read each step by itself: symbols, dense layers, functions, normalisation."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from gatewright.errors import ConversionError
from gatewright.network.functions import function
from gatewright.network.part import Array, Flow, Part, Signal


@dataclass(frozen=True, slots=True)
class SymbolMatrix(Part):
    """A matrix (symbols, features)."""

    needs_steps: ClassVar[bool] = True
    reads_symbols: ClassVar[bool] = True
    weight: Array

    @property
    def symbol_count(self) -> int:
        return len(self.weight)

    def gives(self, given: Flow) -> Flow:
        return Flow(self.weight.shape[1], True)


@dataclass(frozen=True, slots=True)
class Embedding(SymbolMatrix):
    """Symbols as rows of a matrix (symbols, features)."""

    masks_zero: bool = False  # symbol 0 is padding

    def apply(self, signal: Signal) -> Signal:
        """(time, batch) -> (time, batch, features)."""
        symbols = signal.values.astype(np.int64)
        mask = symbols != 0 if self.masks_zero else signal.mask
        return replace(signal, values=self.weight.astype(signal.dtype)[symbols], mask=mask)


@dataclass(frozen=True, slots=True)
class SumEmbedding(SymbolMatrix):
    """Several symbols a step: the sum of their rows of a matrix (symbols, features)."""

    columns: tuple[str, ...] = ()  # what the symbols of a step are

    def apply(self, signal: Signal) -> Signal:
        """(time, batch, columns) -> (time, batch, features)."""
        return signal.with_values(self.weight.astype(signal.dtype)[signal.values.astype(np.int64)].sum(2))


@dataclass(frozen=True, slots=True)
class OneHot(Part):
    """Symbols as unit vectors."""

    needs_steps: ClassVar[bool] = True
    reads_symbols: ClassVar[bool] = True
    symbols: int

    def apply(self, signal: Signal) -> Signal:
        """(time, batch) -> (time, batch, symbols)."""
        symbols = signal.values.astype(np.int64)
        vectors = np.zeros((*symbols.shape, self.symbols), signal.dtype)  # an identity matrix may be far larger
        np.put_along_axis(vectors, symbols[..., None], 1, axis=-1)
        return signal.with_values(vectors)

    @property
    def symbol_count(self) -> int:
        return self.symbols

    def gives(self, given: Flow) -> Flow:
        return Flow(self.symbols, True)


@dataclass(frozen=True, slots=True)
class Scale(Part):
    """`(x - mean) / deviation`, feature by feature."""

    needs_steps: ClassVar[bool] = False
    width_of: ClassVar[tuple[str, int] | None] = ("mean", 0)
    mean: Array
    deviation: Array

    def apply(self, signal: Signal) -> Signal:
        dtype = signal.dtype
        away = signal.values.astype(dtype) - self.mean.astype(dtype)
        return signal.with_values(away / self.deviation.astype(dtype))

    def is_consistent(self) -> bool:  # a deviation of 0 divides by 0
        return self.mean.shape == self.deviation.shape and bool(self.deviation.all())


@dataclass(frozen=True, slots=True)
class Masking(Part):
    """Steps in which every feature is `value` are padding: states pass them unchanged."""

    needs_steps: ClassVar[bool] = True
    value: float

    def apply(self, signal: Signal) -> Signal:
        """A mask, and zeros there for whatever does not heed one."""
        present = (signal.values != self.value).any(axis=-1)
        return replace(signal, values=signal.values * present[..., None], mask=present)


@dataclass(frozen=True, slots=True)
class Dense(Part):
    """`activation(weight @ x + bias)`, with weight (outputs, inputs)."""

    needs_steps: ClassVar[bool] = False
    width_of: ClassVar[tuple[str, int] | None] = ("weight", 1)
    weight: Array
    bias: Array | None = None
    activation: str = "identity"

    def apply(self, signal: Signal) -> Signal:
        """Of each step, or of the only row of features."""
        dtype = signal.dtype
        product = signal.values.astype(dtype) @ self.weight.astype(dtype).T
        value = product if self.bias is None else product + self.bias.astype(dtype)
        return signal.with_values(function(self.activation)(value))

    def gives(self, given: Flow) -> Flow:
        return Flow(len(self.weight), given.has_steps)

    def is_consistent(self) -> bool:
        return self.bias is None or len(self.bias) == len(self.weight)


@dataclass(frozen=True, slots=True)
class Activation(Part):
    """A function of each number; softmax, of each row of features."""

    needs_steps: ClassVar[bool] = False
    function: str

    def apply(self, signal: Signal) -> Signal:
        return signal.with_values(function(self.function)(signal.values.astype(signal.dtype)))


@dataclass(frozen=True, slots=True)
class LayerNorm(Part):
    """`(x - mean) / sqrt(variance + epsilon) * gain + bias`, with the mean and variance of each row of features.

    Ba, Kiros and Hinton, "Layer normalization" (2016). Without a gain it is 1, without a bias 0.
    """

    needs_steps: ClassVar[bool] = False
    epsilon: float
    gain: Array | None = None
    bias: Array | None = None

    def apply(self, signal: Signal) -> Signal:
        value = signal.values.astype(signal.dtype)
        mean, variance = value.mean(axis=-1, keepdims=True), value.var(axis=-1, keepdims=True)
        return signal.with_values(_normalised(self, value, mean, variance))

    @property
    def width(self) -> int | None:
        return next((len(array) for array in (self.gain, self.bias) if array is not None), None)

    def is_consistent(self) -> bool:
        return self.gain is None or self.bias is None or self.gain.shape == self.bias.shape


@dataclass(frozen=True, slots=True)
class BatchNorm(Part):
    """`(x - mean) / sqrt(variance + epsilon) * gain + bias`, feature by feature, with the statistics of training.

    Ioffe and Szegedy, "Batch normalization" (2015), as it is once training is over. Without a gain it is 1, without a
    bias 0.
    """

    needs_steps: ClassVar[bool] = False
    width_of: ClassVar[tuple[str, int] | None] = ("mean", 0)
    mean: Array
    variance: Array
    epsilon: float
    gain: Array | None = None
    bias: Array | None = None

    def apply(self, signal: Signal) -> Signal:
        dtype = signal.dtype
        value, mean, variance = (array.astype(dtype) for array in (signal.values, self.mean, self.variance))
        return signal.with_values(_normalised(self, value, mean, variance))

    def is_consistent(self) -> bool:
        arrays = (self.mean, self.variance, self.gain, self.bias)
        same = len({array.shape for array in arrays if array is not None}) == 1
        return same and bool((self.variance + self.epsilon > 0).all())


def _normalised(part: LayerNorm | BatchNorm, value: Array, mean: Array, variance: Array) -> Array:
    dtype: Any = value.dtype
    value = (value - mean) / np.sqrt(variance + dtype.type(part.epsilon))
    value = value if part.gain is None else value * part.gain.astype(dtype)
    return value if part.bias is None else value + part.bias.astype(dtype)


@dataclass(frozen=True, slots=True)
class AddInput(Part):
    """What the network reads, step by step, is added to what it gives: the first `features` of it, or one to all.

    The skip connection of models of guitar amplifiers: Wright, Damskagg, Juvela and Valimaki, "Real-time guitar
    amplifier emulation with deep learning" (2020).
    """

    needs_steps: ClassVar[bool] = True
    features: int

    def apply(self, signal: Signal) -> Signal:
        """The values and the inputs.

        Raises ConversionError where the two are not of the same steps and features.
        """
        value, inputs = signal.values, signal.inputs
        same_steps = value.ndim == inputs.ndim == 3 and value.shape[:2] == inputs.shape[:2]
        if not same_steps or self.features not in (1, value.shape[-1]) or self.features > inputs.shape[-1]:
            raise ConversionError(
                "the input cannot be added to the output",
                expected=f"outputs at every step, of {self.features} features, and as many inputs",
                got=f"inputs {inputs.shape}, outputs {value.shape}",
            )
        return signal.with_values(value + inputs[..., : self.features].astype(signal.dtype))
