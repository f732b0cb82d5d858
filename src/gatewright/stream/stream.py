"""A stack of recurrent layers that runs one step at a time."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NoReturn

import numpy as np
from numpy import ndarray
from numpy.typing import ArrayLike, DTypeLike

from gatewright.axes import INPUT, bind
from gatewright.backends.llvm.runtime.command_list import CommandList
from gatewright.errors import GatewrightError, OptionError, ShapeError
from gatewright.stream.arguments import as_marks, as_numbers, common_dtype, products_of, shape_error
from gatewright.stream.numpy_arrays import Array
from gatewright.stream.prepared_layer import Layer, PreparedLayer
from gatewright.trace import flops

SHORT = 1_000_000
"""Steps of fewer floating-point operations keep Python's lock: they end before another thread could use it."""

MANY = 1_000_000
"""With fewer rows than this, a failed allocation is not the fault of the batch size."""


class Stream:
    """A stack of recurrent layers that carries its state from step to step; made by `open` or `from_parameters`.

    - `batch`: the number of rows, sequences that run side by side.
    - `input_size`, `output_size`: the features of one row.
    - `weights`: what matrices are kept in.

    A step allocates no memory. `run` on a whole sequence, `run` on its chunks and `step` on its steps give the same
    bits. Dropout and random masks are off. One thread at a time may use a stream; each thread may open its own.
    """

    def __init__(
        self, layers: Sequence[Layer], *, batch: int = 1, dtype: DTypeLike | None = None, weights: str = "float32"
    ) -> None:
        if type(batch) is not int or batch < 1:
            raise OptionError(
                "a stream was given a batch that cannot be", expected="a whole number from 1 up", got=repr(batch)
            )
        _check_fit(layers)
        self._dtype = common_dtype([array for layer in layers for array in layer.params.values()], dtype)
        products = products_of(weights, self._dtype)
        self.batch, self.weights = batch, weights
        self.input_size = layers[0].sizes[INPUT]
        self._layers: list[PreparedLayer] = []
        try:
            for layer in layers:
                below = self._layers[-1].output if self._layers else None
                self._layers.append(PreparedLayer(layer, self._dtype, batch, below, products))
        except (MemoryError, ValueError, OverflowError) as error:
            if isinstance(error, GatewrightError) or batch < MANY:
                raise
            raise OptionError(
                "a stream was given a batch that there is no memory for", got=f"{batch:,} rows", do="give fewer"
            ) from error
        operations = batch * sum(flops(layer.trace, layer.sizes) for layer in layers)
        calls = [call for layer in self._layers for call in layer.calls]
        self._commands = CommandList(calls, keep_lock=operations < SHORT, keep=self._layers)
        self._perform = self._commands.perform
        self._all_inputs = self._layers[0].input[0]
        self._all_outputs = self._layers[-1].output[0]
        self._all_outputs.flags.writeable = False
        rows = 0 if batch == 1 else slice(None)
        self._inputs, self._outputs = self._all_inputs[rows], self._all_outputs[rows]
        self._shape = self._inputs.shape

    @property
    def output_size(self) -> int:
        """The features of an output."""
        return self._all_outputs.shape[1]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of parameters, states and outputs."""
        return self._dtype

    def step(self, x: ArrayLike) -> Array:
        """Take one step: x (batch, input) -> (batch, output), or x (input,) -> (output,) for a batch of one.

        The result is a read-only view of memory that the next step overwrites: copy what you keep. Numbers of another
        dtype are converted. Raises ShapeError if x does not fit.
        """
        if type(x) is not ndarray or x.shape != self._shape or x.dtype is not self._dtype:
            return self._step_converted(x)
        self._inputs[...] = x
        self._perform()
        return self._outputs

    def _step_converted(self, x: ArrayLike) -> Array:
        """A step on values that are no array, or an array of another dtype or shape."""
        numbers = as_numbers(x, self._dtype, "stream.step")
        inputs, outputs = self._inputs, self._outputs
        if numbers.shape != self._shape:
            inputs, outputs = self._all_inputs, self._all_outputs
            if numbers.shape != inputs.shape:
                raise shape_error("stream.step", (), inputs.shape, numbers.shape)
        inputs[...] = numbers
        self._perform()
        return outputs

    def run(self, xs: ArrayLike, resets: ArrayLike | None = None) -> Array:
        """Take many steps: xs (time, batch, input) -> (time, batch, output), or (time, input) -> (time, output) for a
        batch of one. The result is a new array.

        Where `resets` (time, batch), or (time,), is not 0, the row's states are set to 0 before that step. Raises
        ShapeError if xs or resets do not fit.
        """
        numbers = as_numbers(xs, self._dtype, "stream.run")
        if numbers.ndim == 0 or numbers.shape[1:] not in (self._shape, self._all_inputs.shape):
            raise shape_error("stream.run", ("time",), self._all_inputs.shape, numbers.shape)
        single = numbers.shape[1:] == self._shape
        result = np.empty((len(numbers), *(self._outputs if single else self._all_outputs).shape), self._dtype)
        numbers = np.ascontiguousarray(numbers)
        into, out = self._all_inputs, self._all_outputs
        marks, bounds = None, [0, len(numbers)]
        if resets is not None:
            marks = as_marks(resets, numbers.shape[:-1], "stream.run", "resets").reshape(len(numbers), self.batch)
            bounds = [0, *(step for step in np.flatnonzero(marks.any(1)).tolist() if step), len(numbers)]
        for start, stop in pairwise(bounds):
            if marks is not None and start < stop:
                self._start_anew(marks[start])
            self._commands.repeat(
                stop - start,
                into.ctypes.data,
                numbers.ctypes.data + start * into.nbytes,
                into.nbytes,
                result.ctypes.data + start * out.nbytes,
                out.ctypes.data,
                out.nbytes,
            )
        return result

    @property
    def state(self) -> dict[str, Array]:
        """A copy of the state, to be set again later: {"h": (batch, hidden), ...}; in a stack "l0.h", "l1.h", ..."""
        return {name: state.copy() for name, state in self._states().items()}

    @state.setter
    def state(self, values: Mapping[str, ArrayLike]) -> None:
        states = self._states()
        if not isinstance(values, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] (whoever calls may not check)
            raise ShapeError(
                "stream.state was given what is no mapping from names to arrays",
                expected=f"what stream.state gives, with {', '.join(states)}",
                got=type(values).__name__,
            )
        if values.keys() != states.keys():
            raise ShapeError(
                "stream.state was not given the states that the stream has",
                expected=", ".join(states),
                got=", ".join(values) or "none",
            )
        numbers = {name: as_numbers(value, self._dtype, f"stream.state[{name!r}]") for name, value in values.items()}
        for name, state in states.items():
            if numbers[name].shape != state.shape:
                raise ShapeError(
                    f"stream.state[{name!r}] has a shape that does not fit",
                    expected=f"(batch, features) = {state.shape}",
                    got=str(numbers[name].shape),
                )
        for name, state in states.items():
            state[...] = numbers[name]

    def reset(self, where: ArrayLike | None = None) -> None:
        """Set every state to 0, its value when the stream was opened.

        `where` (batch,) resets only the rows where it is not 0. Raises ShapeError if it does not fit.
        """
        self._start_anew(... if where is None else as_marks(where, (self.batch,), "stream.reset", "where"))

    def _start_anew(self, rows: Any) -> None:
        for state in self._states().values():
            state[rows] = 0

    def __reduce__(self) -> NoReturn:
        raise OptionError(
            "a stream can be neither pickled nor copied: its code and memory are this process's own",
            do="open another from the same model, and set its state: other.state = stream.state",
        )

    def _states(self) -> dict[str, Array]:
        """The memory that the next step reads the states from."""
        stacked = len(self._layers) > 1
        return {
            f"l{level}.{name}" if stacked else name: whole[0]
            for level, layer in enumerate(self._layers)
            for name, whole in layer.states.items()
        }

    def __repr__(self) -> str:
        names = ", ".join(layer.trace.name for layer in self._layers)
        weights = "" if self.weights == "float32" else f", weights in {self.weights}"
        return f"Stream({names}: {self.input_size} -> {self.output_size}, batch={self.batch}, {self._dtype}{weights})"


def _check_fit(layers: Sequence[Layer]) -> None:
    if not layers:
        raise OptionError("a stream was given no layers", expected="at least one")
    for below, above in pairwise(layers):
        (features,) = bind(below.trace.states[0].shape, below.sizes)
        if features != above.sizes[INPUT]:
            raise OptionError(
                f"layer {above.trace.name!r} cannot stand on layer {below.trace.name!r}",
                expected=f"an output of size {above.sizes[INPUT]}",
                got=f"an output of size {features}",
                do="give the names of layers that feed one another, from the bottom to the top",
            )
