"""A recurrent stack that is run one step at a time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, NoReturn

import numpy as np
from numpy import ndarray
from numpy.typing import ArrayLike, DTypeLike, NDArray

from gatewright.axes import INPUT, bind
from gatewright.backends.llvm.runtime.command_list import CommandList
from gatewright.backends.llvm.runtime.engine import Engine
from gatewright.errors import GatewrightError, OptionError, ShapeError
from gatewright.schedule.plan import plan
from gatewright.stream.arguments import as_numbers, common_dtype, shape_error
from gatewright.stream.prepared_layer import PreparedLayer
from gatewright.trace import Literal, Trace, flops
from gatewright.trace.mask import MASK
from gatewright.trace.simplify import substitute

Array = NDArray[Any]
SHORT = 1_000_000
"""Steps of fewer operations keep Python's lock: they end before another thread could use it."""

MANY = 1_000_000
"""For fewer rows than this, an error while memory is allocated has another cause than their number."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of a stack."""

    trace: Trace
    params: Mapping[str, Array]
    sizes: Mapping[str, int]


class Stream:
    """A recurrent stack that carries its state from step to step.

    A step allocates nothing. A whole sequence, its chunks and its single steps give the same bits. Dropout and random
    masks, which belong to training, are off. A stream belongs to one thread at a time; each thread may open its own.
    """

    def __init__(self, layers: Sequence[Layer], *, batch: int = 1, dtype: DTypeLike | None = None) -> None:
        if type(batch) is not int or batch < 1:
            raise OptionError(
                "a stream was given a batch that cannot be", expected="a whole number from 1 up", got=repr(batch)
            )
        _check_fit(layers)
        self._dtype = common_dtype([array for layer in layers for array in layer.params.values()], dtype)
        self.batch = batch
        self.input_size = layers[0].sizes[INPUT]
        self._layers: list[PreparedLayer] = []
        try:
            for layer in layers:
                self._layers.append(self._prepared(layer, self._layers[-1].output if self._layers else None))
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
        self._all_inputs = self._layers[0].inputs[layers[0].trace.inputs[0].name][0]
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
        """A step on anything but an array of the stream's own dtype and shape."""
        numbers = as_numbers(x, self._dtype, "stream.step")
        if numbers.shape == self._shape:
            self._inputs[...] = numbers
            self._perform()
            return self._outputs
        if numbers.shape != self._all_inputs.shape:
            raise shape_error("stream.step", (), self._all_inputs.shape, numbers.shape)
        self._all_inputs[...] = numbers
        self._perform()
        return self._all_outputs

    def run(self, xs: ArrayLike) -> Array:
        """Take many steps: xs (time, batch, input) -> (time, batch, output), or (time, input) -> (time, output) for a
        batch of one. The result is a new array.

        Raises ShapeError if xs does not fit.
        """
        numbers = as_numbers(xs, self._dtype, "stream.run")
        if numbers.ndim == 0 or numbers.shape[1:] not in (self._shape, self._all_inputs.shape):
            raise shape_error("stream.run", ("time",), self._all_inputs.shape, numbers.shape)
        single = numbers.shape[1:] == self._shape
        result = np.empty((len(numbers), *(self._outputs if single else self._all_outputs).shape), self._dtype)
        numbers = np.ascontiguousarray(numbers)
        into, out = self._all_inputs, self._all_outputs
        self._commands.repeat(
            len(numbers),
            into.ctypes.data,
            numbers.ctypes.data,
            into.nbytes,
            result.ctypes.data,
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

    def reset(self) -> None:
        """Set every state to 0, as it was when the stream was opened."""
        for state in self._states().values():
            state[...] = 0

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

    def _prepared(self, layer: Layer, below: Array | None) -> PreparedLayer:
        engine = _engine(layer.trace, tuple(sorted(layer.sizes.items())), self._dtype)
        trace = engine.program.trace
        first, *further = trace.inputs
        inputs = {} if below is None else {first.name: below}
        for leaf in further:
            if leaf.name != MASK:
                raise OptionError(
                    f"cell {trace.name!r} has an input that a stream does not know",
                    expected=f"{first.name} or {MASK}",
                    got=leaf.name,
                )
            inputs[MASK] = np.ones((1, self.batch), self._dtype)  # every step is taken
        params = {param.name: layer.params[param.name].astype(self._dtype) for param in trace.params}
        return PreparedLayer(engine, params, batch=self.batch, inputs=inputs)

    def __repr__(self) -> str:
        names = ", ".join(layer.engine.program.trace.name for layer in self._layers)
        return f"Stream({names}: {self.input_size} -> {self.output_size}, batch={self.batch}, {self._dtype})"


@lru_cache(maxsize=64)
def _engine(trace: Trace, sizes: tuple[tuple[str, int], ...], dtype: np.dtype[Any]) -> Engine:
    """The engine of a layer, its random values taken as their means. Streams of one model share its code."""
    means = {noise.var.name: Literal(noise.probability) for noise in trace.noises}
    return Engine(plan(substitute(trace, means)), dict(sizes), "float32" if dtype == np.float32 else "float64")


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
