"""One layer of a stream, ready to run step after step: its memory, packed parameters and addresses stay the same."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.axes import bind
from gatewright.backends.llvm.runtime.binding import bind_by_name
from gatewright.backends.llvm.runtime.command_list import KernelCall, MemoryCopy
from gatewright.backends.llvm.runtime.engine import Engine
from gatewright.backends.llvm.runtime.executor import Executor
from gatewright.stream.numpy_arrays import NumpyArrays

Array = NDArray[Any]


class PreparedLayer:
    """A Program with its parameters, for one step of `batch` rows.

    `inputs` are arrays (1, batch, features): those passed in are read in place, such as the `output` of a
    layer below. `states` are arrays (2, batch, features), before and after the step. Write to `inputs` and to slot 0 of
    `states`, run the `calls` in a CommandList, and read slot 1. Parameters were copied.

    A layer belongs to one thread at a time.
    """

    def __init__(
        self, engine: Engine, params: Mapping[str, Array], *, batch: int, inputs: Mapping[str, Array] | None = None
    ) -> None:
        assert not engine.backwards
        self.engine, self.batch = engine, batch
        trace, arrays = engine.program.trace, NumpyArrays(np.dtype(engine.dtype))
        self.inputs: dict[str, Array] = dict(inputs or {})
        for leaf in trace.inputs:
            shape = (1, batch, *bind(leaf.shape, engine.sizes))
            memory = self.inputs.setdefault(leaf.name, arrays.empty(shape))
            assert memory.shape == shape
            assert memory.dtype == engine.dtype
            assert memory.flags.c_contiguous
        self.states = {state.name: arrays.zeros((2, batch, *bind(state.shape, engine.sizes))) for state in trace.states}
        copied = [arrays.contiguous(params[param.name]) for param in trace.params]
        executor = Executor(bind_by_name(engine), arrays, 1, batch)
        read = [self.inputs[leaf.name] for leaf in trace.inputs]
        self._call, self._memory = executor.prepare([*read, *copied, *self.states.values()])

    @property
    def calls(self) -> list[KernelCall | MemoryCopy]:
        """The kernels of one step, and the copies of new states to where the next step reads them."""
        carried = (
            MemoryCopy(whole.ctypes.data, whole[1].ctypes.data, whole[0].nbytes) for whole in self.states.values()
        )
        return [self._call, *carried]

    @property
    def output(self) -> Array:
        """What the layer emits, (1, batch, features): the first state."""
        return self.states[self.engine.program.trace.states[0].name][1:]
