"""One layer of a stream, ready to run step after step: its memory, packed parameters and addresses stay the same."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from gatewright.axes import bind
from gatewright.backends.llvm.emit.vector_type import Products
from gatewright.backends.llvm.runtime.binding import bind_by_name
from gatewright.backends.llvm.runtime.command_list import KernelCall, MemoryCopy
from gatewright.backends.llvm.runtime.engine import Engine
from gatewright.backends.llvm.runtime.executor import Executor
from gatewright.errors import OptionError
from gatewright.schedule.plan import plan
from gatewright.stream.numpy_arrays import Array, NumpyArrays
from gatewright.trace import Literal, Trace
from gatewright.trace.mask import MASK
from gatewright.trace.simplify import substitute


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of a stack."""

    trace: Trace
    params: Mapping[str, Array]
    sizes: Mapping[str, int]


class PreparedLayer:
    """A layer with memory for one step of `batch` rows, and a copy of its parameters.

    - `input` (1, batch, input_size): the memory that a step reads. It is `below`, the output of the layer below, if
      there is one.
    - `states`: by name, (2, batch, size): before the step and after it.
    - `output` (1, batch, output_size): the first state after the step.

    `products` are those of the engine: matrices are kept in that dtype alone.

    Write to `input` and to slot 0 of `states`, and run the `calls` in a CommandList. A layer belongs to one thread at
    a time.

    Raises OptionError for a cell with further inputs.
    """

    def __init__(
        self, layer: Layer, dtype: np.dtype[Any], batch: int, below: Array | None = None, products: Products = None
    ) -> None:
        engine = _engine(layer.trace, tuple(sorted(layer.sizes.items())), dtype, products)
        self.trace, arrays = engine.program.trace, NumpyArrays(dtype)
        first, *further = self.trace.inputs
        for leaf in further:
            if leaf.name != MASK:
                raise OptionError(
                    f"cell {self.trace.name!r} has an input that a stream does not know",
                    expected=f"{first.name} or {MASK}",
                    got=leaf.name,
                )
        shape = (1, batch, *bind(first.shape, layer.sizes))
        self.input = arrays.empty(shape) if below is None else below
        # Kernels read the memory at its address: another form would be misread, or read beyond its end.
        assert (self.input.shape, self.input.dtype, self.input.flags.c_contiguous) == (shape, dtype, True)
        masks = [np.ones((1, batch), dtype) for _ in further]  # every step is taken
        params = [arrays.contiguous(layer.params[param.name]) for param in self.trace.params]
        self.states = {
            state.name: arrays.zeros((2, batch, *bind(state.shape, layer.sizes))) for state in self.trace.states
        }
        self.output = self.states[self.trace.states[0].name][1:]
        executor = Executor(bind_by_name(engine), arrays, 1, batch)
        self._call, self._memory = executor.prepare([self.input, *masks, *params, *self.states.values()])

    @property
    def calls(self) -> list[KernelCall | MemoryCopy]:
        """The kernels of one step, and the copies of new states to where the next step reads them."""
        carried = (
            MemoryCopy(whole.ctypes.data, whole[1].ctypes.data, whole[0].nbytes) for whole in self.states.values()
        )
        return [self._call, *carried]


@lru_cache(maxsize=64)
def _engine(trace: Trace, sizes: tuple[tuple[str, int], ...], dtype: np.dtype[Any], products: Products) -> Engine:
    """The engine of a layer, its random values taken as their means. Streams of one model share its code."""
    means = {noise.var.name: Literal(noise.probability) for noise in trace.noises}
    program, kind = plan(substitute(trace, means)), "float32" if dtype == np.float32 else "float64"
    return Engine(program, dict(sizes), kind, products=products)
