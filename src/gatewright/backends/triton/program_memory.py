"""The tensors of one run of a Program: what is given, what each pass stores, and where it is found."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from gatewright.axes import bind
from gatewright.backends.triton.kernel_text import Argument, ArgumentKind
from gatewright.backends.triton.random_values import drawn
from gatewright.schedule.program import Program, Stage, Storage, Store
from gatewright.trace.ir import Atom, Literal, Var


class ProgramMemory:
    """The tensors of a run over (time, batch, ...) inputs from (batch, ...) states.

    - `starts`: the states before the first step that is taken; None, or no entry, is zeros.
    - `lengths` (batch,), int32: the number of steps that each row takes. In padding inputs are zeros, and so is
      everything that is stored.
    """

    def __init__(
        self,
        program: Program,
        sizes: Mapping[str, int],
        dtype: torch.dtype,
        inputs: Mapping[str, Tensor],
        starts: Mapping[str, Tensor | None],
        lengths: Tensor | None,
        *,
        backwards: bool,
    ) -> None:
        like = next(iter(inputs.values()))
        self.program, self.sizes, self.dtype, self.device = program, sizes, dtype, like.device
        self.inputs, self.starts, self.lengths, self.backwards = inputs, starts, lengths, backwards
        self.steps, self.batch = like.shape[0], like.shape[1]
        self.before, self.after = (1, 0) if backwards else (0, 1)  # the slots of step t are t + before and t + after
        self.active: Tensor | None = None  # (time, batch)
        if lengths is not None:
            self.active = torch.arange(self.steps, device=self.device)[:, None] < lengths
        self.shared: dict[str, Any] = {}
        self.rows: dict[str, Tensor] = {}
        self.sequences = self._new_sequences()
        self.states = {state.name: self._new_state(state) for state in program.trace.states}

    def _shape(self, value: Var) -> tuple[int, ...]:
        return bind(value.shape, self.sizes)

    def new(self, *shape: int) -> Tensor:
        """Memory that is zero where no kernel writes to it."""
        is_written = self.lengths is None and self.steps * self.batch
        return (torch.empty if is_written else torch.zeros)(shape, dtype=self.dtype, device=self.device)

    def _new_sequences(self) -> dict[str, Tensor]:
        """Sequences that the loop stores, and factors of sums; those whose outer products with one value are summed lie
        side by side."""
        program = self.program
        stored = [store.name for stage in program.loop for store in stage.stores if store.storage is Storage.SEQUENCE]
        groups: dict[tuple[str, tuple[int, ...]], list[str]] = {}
        for total in program.row_sums:
            if program.storage.get(total.left.name) is Storage.SEQUENCE:
                right = "" if total.right is None else total.right.name
                groups.setdefault((right, self._shape(total.left)), []).append(total.left.name)
        sequences: dict[str, Tensor] = {}
        largest_first = sorted(groups.items(), key=lambda item: -len(item[1]))
        for (_, shape), names in (*largest_first, *((("", self._named_shape(name)), [name]) for name in stored)):
            left = [name for name in dict.fromkeys(names) if name not in sequences]
            if left:
                block = self.new(len(left), self.steps, self.batch, *shape)
                sequences |= zip(left, block.unbind(0), strict=True)
        return sequences

    def _named_shape(self, name: str) -> tuple[int, ...]:
        return bind(self.program.shapes[name], self.sizes)

    def _new_state(self, state: Var) -> Tensor:
        whole = self.new(self.steps + 1, self.batch, *self._shape(state))
        start = self.start(state.name)
        if self.backwards and self.lengths is not None:
            lines = self.lengths.long() * self.batch + torch.arange(self.batch, device=self.device)
            whole.view(-1, *whole.shape[2:]).index_copy_(0, lines, start)
        else:
            whole[-1 if self.backwards else 0] = start
        return whole

    def start(self, state: str) -> Tensor:
        """A state before the first step, (batch, ...)."""
        start = self.starts.get(state)
        if start is not None:
            return start
        return torch.zeros((self.batch, *self._named_shape(state)), dtype=self.dtype, device=self.device)

    def is_kept(self, value: Var) -> bool:
        """Whether a value was stored, and is not computed again where it is read."""
        storage = self.program.storage.get(value.name)
        return value.name in self.rows if storage is Storage.ROW else storage is not None

    def load(self, value: Var, t: int | None = None) -> Any:
        """A stored value at one step, or at all steps."""
        name, storage = value.name, self.program.storage[value.name]
        if storage is Storage.SHARED:
            return self.shared[name]
        if storage is Storage.ROW:
            return self.rows[name]
        if storage is Storage.RANDOM:
            seeds = self.inputs[name] if t is None else self.inputs[name][t]
            return drawn(seeds, self._shape(value), self.program.probability(name), self.dtype)
        if storage is Storage.INPUT:
            array, shift = self.inputs[name], 0
        elif storage is Storage.STATE:
            array, shift = self.states[name], self.before
        elif storage is Storage.NEW:
            array, shift = self.states[self.program.new_values[name]], self.after
        else:
            array, shift = self.sequences[name], 0
        return array[shift : shift + self.steps] if t is None else array[t + shift]

    def loaded(self, stage: Stage, t: int | None) -> dict[str, Any]:
        """Every stored value that a stage reads, without those that it computes."""
        own = {work.target.name for work in stage.works()}
        values = (value for value in stage.reads() if isinstance(value, Var) and value.name not in own)
        return {value.name: self.load(value, t) for value in values if self.is_kept(value)}

    def store(self, store: Store, values: Mapping[str, Any], t: int | None) -> None:
        """Keep a value of one step, or of all steps; in padding zeros, and states stay."""
        value: Any = store.value.value if isinstance(store.value, Literal) else values[store.value.name]
        if store.storage is Storage.ROW:
            self.rows[store.name] = value
            return
        leading = (self.batch,) if t is not None else (self.steps, self.batch)
        full = self.spread(value, store.value, (*leading, *self._named_shape(store.name)))
        active = None if self.active is None else self.active if t is None else self.active[t]
        if store.storage is Storage.STATE:
            whole = self.states[store.name]
            slot = whole[self.after : self.after + self.steps] if t is None else whole[t + self.after]
            slot.copy_(full if active is None else torch.where(widened(active, full.dim()), full, slot))
        else:
            masked = full if active is None else torch.where(widened(active, full.dim()), full, 0.0)
            if store.name not in self.sequences:
                self.sequences[store.name] = masked.contiguous()
            elif t is None:
                self.sequences[store.name].copy_(masked)
            else:
                self.sequences[store.name][t] = masked

    def spread(self, value: Any, atom: Atom, shape: tuple[int, ...]) -> Tensor:
        """The value of an atom in a shape with all axes; what is a number for each row is the same along its features.

        Only the atom tells a number of each row from a vector that all rows share: there may be as many units as rows.
        """
        # filled on the device: the host would wait for a number that it copies there
        is_tensor = isinstance(value, Tensor)
        array = value.to(self.dtype) if is_tensor else torch.full((), value, dtype=self.dtype, device=self.device)
        return (array if atom.shape else widened(array, len(shape))).expand(shape)

    def arguments(self, arguments: Iterable[Argument]) -> dict[Argument, Tensor | None]:
        """The tensors of a kernel's pointers. A start that is zeros is None, and so are lengths that all rows take.

        A sequence that no pass has stored yet gets memory: the kernel is to write it.
        """
        return {argument: self._argument(argument) for argument in arguments}

    def _argument(self, argument: Argument) -> Tensor | None:
        name = argument.name
        match argument.kind:
            case ArgumentKind.SEQUENCE | ArgumentKind.SEEDS:
                if name in self.inputs:
                    return self.inputs[name].contiguous()
                if name not in self.sequences:
                    self.sequences[name] = self.new(self.steps, self.batch, *self._named_shape(name))
                return self.sequences[name]
            case ArgumentKind.STATE:
                return self.states[name]
            case ArgumentKind.START:
                start = self.starts.get(name)
                return None if start is None else start.contiguous()
            case ArgumentKind.SHARED:
                return self.shared[name].contiguous()
            case ArgumentKind.LENGTHS:
                return self.lengths
            case ArgumentKind.ROW:
                shape = (self.batch, *self._named_shape(name))
                return self.rows.setdefault(name, torch.empty(shape, dtype=self.dtype, device=self.device))
            case ArgumentKind.COPY | ArgumentKind.COUNTERS | ArgumentKind.SPANS:
                raise AssertionError("a kernel allocates its copies, its counters and its spans")


def widened(array: Tensor, rank: int) -> Tensor:
    """A tensor with axes of one element after its own, so that it has `rank` axes."""
    return array[(..., *(None,) * (rank - array.dim()))]
