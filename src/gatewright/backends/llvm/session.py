"""A Program made ready to be run again and again: memory, packed parameters and pointers are prepared once.

The engine serves any extent and finds memory for each call. A session serves one extent, and a call costs little more
than its kernels.
"""

import ctypes
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewright.axes import bind
from gatewright.backends.llvm.buffers import Key
from gatewright.backends.llvm.engine import Engine
from gatewright.backends.llvm.kernels import LOOP, PACK, Kernels
from gatewright.backends.llvm.panels import matrix_key
from gatewright.backends.llvm.script import Call, Copy, address_of
from gatewright.schedule.program import Place
from gatewright.trace.ir import Equation

Array = NDArray[Any]
Execute = Callable[[Sequence[Equation], dict[str, Any], Mapping[str, int]], None]
"""Compute equations on parameters in NumPy, adding the results to the values."""
ALIGNMENT = 64  # a line of the cache, and the widest vector register


class Session:
    """A Program without sums, with its parameters, for `batch` rows and up to `steps` steps.

    All memory is NumPy's and belongs to the session, but for inputs that are given as `inputs`: arrays (steps, batch,
    features) which the kernels read where they lie, such as the `output` of another session. Write to `inputs` and to
    slot 0 of `states`, run the `calls` in a Script, and read slots 1, 2, ... of `states`. Parameters were copied.

    Results do not depend on how a sequence is cut into calls, to the bit: the kernels are those for one step. A session
    belongs to one thread at a time.
    """

    def __init__(
        self,
        engine: Engine,
        params: Mapping[str, Array],
        *,
        batch: int,
        execute: Execute,
        steps: int = 1,
        inputs: Mapping[str, Array] | None = None,
    ) -> None:
        assert not engine.program.row_sums
        assert not engine.backwards
        self.engine, self.batch, self.steps = engine, batch, steps
        self.inputs: dict[str, Array] = dict(inputs or {})
        assert all(one.dtype == engine.dtype and one.flags.c_contiguous for one in self.inputs.values())
        self.states: dict[str, Array] = {}
        self._kernels, self._library = engine.kernels(1, batch)
        shared: dict[str, Any] = dict(params)
        execute(engine.program.prologue, shared, engine.sizes)
        packed = {part.matrix for panel in self._kernels.panels for part in panel.parts}
        self._memory = self._buffers({name: value for name, value in shared.items() if name not in packed})
        self._pack({matrix_key(name): self._copied(shared[name]) for name in packed})
        self._table = _table(self._kernels, self._memory)

    def _pack(self, matrices: dict[Key, Array]) -> None:
        """Lay the matrices out as the kernels read them; they themselves are not needed any more."""
        self._memory |= {panel.key: self._empty((panel.size,)) for panel in self._kernels.panels}
        if matrices:
            self._library[PACK](
                _table(self._kernels, self._memory | matrices), self.steps, self.batch, 0, self._kernels.groups, 0
            )

    def calls(self, steps: int = 1) -> list[Call | Copy]:
        """What runs the first steps, and then makes the last states those that the next call starts from."""
        assert 0 < steps <= self.steps
        table = ctypes.addressof(self._table)
        rows = {name: self.batch if name == LOOP else steps * self.batch for name in self._kernels.designs}
        passes = [Call(address_of(self._library[name]), table, steps, self.batch, 0, rows[name]) for name in rows]
        carries = [Copy(whole.ctypes.data, whole[steps].ctypes.data, whole[0].nbytes) for whole in self.states.values()]
        return [*passes, *carries]

    @property
    def output(self) -> Array:
        """What a layer emits at every step, (steps, batch, features): the first state."""
        return self.states[self.engine.program.trace.states[0].name][1:]

    def _buffers(self, shared: Mapping[str, Any]) -> dict[Key, Array]:
        """Every buffer but those of matrices."""
        program, sizes = self.engine.program, self.engine.sizes
        found: dict[Key, Array] = {}
        for name, place in program.places.items():
            shape = bind(program.shapes[name], sizes)
            if place is Place.SHARED and name in shared:
                found[place, name] = self._copied(shared[name])
            elif place is Place.INPUT:
                whole = (self.steps, self.batch, *shape)
                found[place, name] = self.inputs.setdefault(name, self._empty(whole))
                assert found[place, name].shape == whole
            elif place is Place.SEQUENCE:
                found[place, name] = self._empty((self.steps, self.batch, *shape))
            elif place is Place.ROW:
                found[place, name] = self._empty((self.batch, *shape))
            elif place is Place.STATE:
                found[place, name] = self.states[name] = self._empty((self.steps + 1, self.batch, *shape))
                self.states[name][0] = 0
        return found

    def _empty(self, shape: tuple[int, ...]) -> Array:
        """Memory that begins with a line of the cache."""
        dtype = np.dtype(self.engine.dtype)
        raw = np.empty(int(np.prod(shape)) * dtype.itemsize + ALIGNMENT, np.uint8)
        start = -raw.ctypes.data % ALIGNMENT
        return raw[start : start + raw.size - ALIGNMENT].view(dtype).reshape(shape)

    def _copied(self, array: Any) -> Array:
        """The same numbers, in memory of the session's own."""
        copied = self._empty(np.shape(array))
        copied[...] = array
        return copied


def _table(kernels: Kernels, memory: Mapping[Key, Array]) -> Any:
    slots = kernels.bound.slots
    table = (ctypes.c_void_p * len(slots))()
    for key, slot in slots.items():
        if key in memory:
            table[slot] = memory[key].ctypes.data
    return table
