"""A Trace over a sequence as an operation on the tensors of a caller: its run and its gradient, by kernels.

Parameters are read, and their gradients written, where they lie in packed tensors.
"""

import ctypes
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor

from gatewright.axes import bind
from gatewright.backends.llvm.runtime.executor import Executor
from gatewright.backends.llvm.runtime.side_by_side import SideBySide
from gatewright.nn.engine.autograd import widened
from gatewright.nn.engine.block_pool import BlockPool
from gatewright.nn.engine.differentiable import Differentiable
from gatewright.nn.engine.operation_bindings import Gradient, copy_shared
from gatewright.nn.engine.packed_weights import LEAST_BYTES, PackedWeightCache
from gatewright.nn.engine.torch_arrays import TorchArrays, advised
from gatewright.nn.engine.trace_operation import (
    AskedGradient,
    CompleteGradient,
    Operands,
    RunOutputs,
    TraceOperation,
    last_state,
)
from gatewright.nn.sequence import RaggedRows
from gatewright.packing import Layout
from gatewright.trace.ir import Var

_INFERENCE, _SAVING = "inference", "saving"
_MOST_EXECUTORS = 64  # remembered, one for each extent


class SequenceOperation(TraceOperation):
    """A Trace over a sequence by the compiled CPU engine."""

    def __init__(self, spec: Differentiable, layout: Layout, *, whole_states: bool = False) -> None:
        super().__init__(spec, layout, whole_states=whole_states)
        self._gradients: dict[Any, Gradient] = {}
        self._executors: dict[Any, Executor] = {}
        self._pools = defaultdict[str, BlockPool](BlockPool)  # for each use of large memory
        self._weights = defaultdict[str, PackedWeightCache](PackedWeightCache)  # for each packing

    def forward(
        self,
        operands: Operands,
        ragged: RaggedRows | None = None,
        *,
        saves: bool,
        beside: SideBySide | None = None,
    ) -> RunOutputs:
        """Run the kernels; with `saves`, so that a gradient can be computed. With `beside` they run later."""
        steps, batch = _extent(operands)
        if self.whole_states:
            self.check_shapes(operands, (steps, batch))
        executor = self._executor(_SAVING if saves else _INFERENCE, steps, batch, ragged, operands)
        binding, dtype = executor.binding, self.spec.dtype
        pool = "state" if saves and not self.whole_states else ""
        states = self._started(
            operands[self.count :], pool, steps, batch, ragged, from_end=self.spec.backwards, first_is_output=True
        )
        new = torch.empty if ragged is None and steps * batch else torch.zeros  # no kernel writes to padding
        emits: list[Tensor] = []
        for name, _ in self.spec.trace.emits:
            emits.append(new((steps, batch, *binding.emitted[name].shape), dtype=dtype))
        sums = [new(slot.shape, dtype=dtype) for slot in binding.summed.values()] if binding.summed else []
        saved = self._pools["saved"].take(binding.saved_bytes)
        tensors = [*self._contiguous(operands), *states, *emits, saved, *sums]
        self._run(executor, tensors, ragged, caches_weights=not saves, beside=beside)
        if ragged is not None and binding.fills:  # the executor fills whole sequences, padding too
            emits = list(map(ragged.fill_padding, emits))
        return RunOutputs(states, emits, [saved], sums)

    def _run(
        self,
        executor: Executor,
        tensors: Sequence[Tensor],
        ragged: RaggedRows | None,
        *,
        caches_weights: bool,
        beside: SideBySide | None = None,
    ) -> None:
        """Run kernels, now or with `beside` later."""
        active = ragged.active if ragged is not None else None
        packed, give_back = self._take_packed(executor, tensors, caches_weights=caches_weights)
        executor.run(tensors, active, packed, beside=beside)
        if give_back is not None:
            if beside is None:
                give_back()
            else:
                beside.release_later(give_back)

    def _take_packed(
        self, executor: Executor, tensors: Sequence[Tensor], *, caches_weights: bool
    ) -> tuple[tuple[Tensor, bool] | None, Callable[[], None] | None]:
        """Memory for packed matrices, whether they are in it already, and what to call after the run.

        Large matrices stay packed for the next call, for as long as they do not change. Without memory a run packs them
        in its workspace.
        """
        size = executor.packed_bytes  # 0 for an empty batch, which has no kernels to ask how they pack
        is_kept = size >= LEAST_BYTES or (size and self.spec.products == "int8")  # whose packing takes long
        if not caches_weights or not is_kept:
            return None, None
        cache = self._weights[executor.packing]
        weights = cache.take(size)
        return (weights.block, weights.holds(tensors[self.parameters])), partial(cache.give_back, weights)

    def start_backward(self, asked: AskedGradient, beside: SideBySide | None = None) -> CompleteGradient:
        """Run the kernels of `backward`, or have them run `beside` others; gives the function that completes it when
        they are done."""
        operands, kept, grads, needed, ragged, by_inputs = asked
        steps, batch = _extent(operands)
        gradient = self._gradient(grads, needed)
        executor = self._executor(gradient, steps, batch, ragged)
        flows, ends = self._flows(kept, grads)
        adjoints = self._started(ends, "adjoint", steps, batch, ragged, from_end=not self.spec.backwards)
        tensors = self._contiguous(operands)
        dtype, first_packed = self.spec.dtype, self.numbering.first_packed
        emitted = list(executor.binding.emitted.values())
        new = torch.zeros if ragged is not None or not steps * batch else torch.empty  # no kernel writes to padding
        by_input = [room for room, _ in zip(by_inputs, emitted, strict=False)]
        for room in by_input if ragged is not None else ():
            room.zero_()
        by_input += advised([new((steps, batch, *slot.shape), dtype=dtype) for slot in emitted[len(by_input) :]])
        new = torch.empty if steps * batch and (ragged is None or ragged.active.count) else torch.zeros
        by_packed = [new(tensors[first_packed + number].shape, dtype=dtype) for number in gradient.packed]
        self._run(
            executor,
            [*tensors, *kept, *flows, *adjoints, *by_input, *by_packed],
            ragged,
            caches_weights=False,
            beside=beside,
        )

        def complete() -> list[Tensor | None]:
            written = by_input
            if ragged is not None and executor.binding.fills:
                written = list(map(ragged.fill_padding, by_input))
            gradients: list[Tensor | None] = [None] * self.count
            for number, by in zip(gradient.inputs, written, strict=True):
                gradients[number] = widened(by, tensors[number].shape)
            for number, by in zip(gradient.packed, by_packed, strict=True):
                gradients[first_packed + number] = by
            for overlap in gradient.overlaps:
                copy_shared(gradients, overlap, first_packed)
            for adjoint, whole, need in zip(adjoints, grads[: len(adjoints)], needed[self.count :], strict=True):
                by_state = last_state(adjoint, ragged, at_end=self.spec.backwards)[0] if need else None
                if by_state is not None and whole is not None and self.whole_states:
                    by_state += whole[-1 if self.spec.backwards else 0]  # this slot of a result is the initial state
                gradients.append(by_state)
            return gradients

        return complete

    def forward_executor(self, extent: tuple[int, int], *, saves: bool) -> Executor:
        """The executor of a run over padded sequences."""
        return self._executor(_SAVING if saves else _INFERENCE, *extent, None)

    def gradient_executor(
        self, extent: tuple[int, int], grads: Sequence[Tensor | None], needed: tuple[bool, ...]
    ) -> Executor:
        """The executor of a gradient over padded sequences; see `backward`."""
        return self._executor(self._gradient(grads, needed), *extent, None)

    def _gradient(self, grads: Sequence[Tensor | None], needed: tuple[bool, ...]) -> Gradient:
        key = (self.seeded(grads), needed)
        if key not in self._gradients:
            self._gradients[key] = self.numbering.gradient(*key)
        return self._gradients[key]

    def can_use_saved(self, grads: Sequence[Tensor | None]) -> bool:
        """Whether a forward run saves every value that the gradient by `grads` needs, in the form that it reads."""
        kept, own = self.spec.engines(self.spec.output_state), self.spec.engines(frozenset(self.seeded(grads)))
        narrow = {name: form for name, form in kept.narrow.items() if name in own.pair.saved}
        return set(own.pair.saved) <= set(kept.pair.saved) and narrow == own.narrow

    def _flows(
        self, kept: Sequence[Tensor], grads: Sequence[Tensor | None]
    ) -> tuple[list[Tensor], list[Tensor | None]]:
        """The gradients by states at every step, by what is emitted and by sums; and those by the last states."""
        count, trace = len(self.numbering.states), self.spec.trace
        ends: list[Tensor | None] = [None] * count
        if self.whole_states:
            after = slice(None, -1) if self.spec.backwards else slice(1, None)
            flows = [whole[after] for whole in grads[:count] if whole is not None]
            others = grads[count:]
        else:
            flows = [torch.zeros_like(kept[0][1:]) if grads[0] is None else grads[0]]
            ends, others = list(grads[1 : 1 + count]), grads[1 + count :]
        steps, batch = kept[0].shape[0] - 1, kept[0].shape[1]
        named = [((steps, batch), value) for _, value in trace.emits]
        named += [((), value) for _, value in trace.sums] if self.whole_states else []
        for (leading, value), grad in zip(named, others, strict=True):
            if isinstance(value, Var):
                zeros = (*leading, *bind(value.shape, self.spec.sizes))
                flows.append(kept[0].new_zeros(zeros) if grad is None else grad)
        return [flow.contiguous() for flow in flows], ends

    def takes(self, packed: Operands) -> bool:
        """Whether packed parameters have the dtype, the shapes and the device that the kernels need."""
        dtype = self.spec.dtype
        for tensor, shape in zip(packed, self.numbering.shapes):  # noqa: B905 (the keyword takes as long as a check)
            if tensor is None or tensor.dtype is not dtype or tensor.shape != shape or not tensor.is_cpu:
                return False
        return True

    def _contiguous(self, operands: Operands) -> list[Tensor]:
        """Inputs and packed parameters as kernels can read them, and the sums of those that overlap."""
        dtype = self.spec.dtype
        tensors = [
            x if x.is_contiguous() and x.dtype is dtype else x.to(dtype).contiguous()
            for x in operands[: self.count]
            if x is not None
        ]
        packed = tensors[self.parameters]
        return tensors + [packed[overlap.first] + packed[overlap.second] for overlap in self.numbering.overlaps]

    def _started(
        self,
        starts: Sequence[Tensor | None],
        pool: str,
        steps: int,
        batch: int,
        ragged: RaggedRows | None,
        *,
        from_end: bool,
        first_is_output: bool = False,
    ) -> list[Tensor]:
        """Memory for each state at every time, (time + 1, batch, ...), with its value before the first step written.

        - `starts`: these values, None is zeros. They go to the last slot if time runs `from_end`.
        - `pool`: takes the memory from the pools of this name, for states that no caller sees. "" takes new memory.
        - `first_is_output`: a layer returns the first state. It gets new memory, and zeros in the padding.
        """
        dtype = self.spec.dtype
        states: list[Tensor] = []  # calling list[Tensor]() would take a microsecond
        for number, (own, start) in enumerate(zip(self.numbering.state_shapes, starts, strict=True)):
            shape, is_output = (steps + 1, batch, *own), first_is_output and number == 0
            size = batch * prod(own) * dtype.itemsize  # of one time step
            if pool and not is_output:
                whole = self._pools[f"{pool} {number}"].take((steps + 1) * size).view(dtype).view(shape)
            else:
                (whole,) = advised([torch.empty(shape, dtype=dtype)])
            states.append(whole)
            if ragged is not None and is_output:
                whole.zero_()
            address = whole.data_ptr() + from_end * steps * size
            if ragged is not None and from_end:
                ragged.put_ends(whole, start)
            elif start is None:
                ctypes.memset(address, 0, size)
            else:
                initial = start.to(dtype).contiguous()
                ctypes.memmove(address, initial.data_ptr(), size)
        return states

    def compile(
        self, steps: int, batch: int, *, gradient: bool, input_gradient: bool, needed: Sequence[bool], ragged: bool
    ) -> None:
        """Compile the kernels for an extent, or load them from the cache on disk: those of inference, and with
        `gradient` those of training, for the gradient by the packed parameters that are `needed`."""
        spec = self.spec
        engines = [spec.inference]
        if gradient:
            inputs = (input_gradient,) * len(self.inputs)
            by = self.numbering.gradient(self.seeded(()), (*inputs, *needed))
            engines += [spec.engines(spec.output_state).forward, by.engine]
        for engine in engines:
            engine.kernels(steps, batch, ragged=ragged, packs=engine.prefers_packing(steps, batch, ragged=ragged))

    def _write_gradient(self, needed: tuple[bool, ...], steps: int, batch: int, *, ragged: bool) -> None:
        """Derive the gradient by the operands that are `needed`, and write its kernels, not yet compiled."""
        engine = self._gradient((), needed).engine
        engine.write(steps, batch, ragged=ragged, packs=engine.prefers_packing(steps, batch, ragged=ragged))

    def _executor(
        self, run: str | Gradient, steps: int, batch: int, ragged: RaggedRows | None, operands: Operands = ()
    ) -> Executor:
        """The executor of a run for one extent: "inference", "saving", or a gradient.

        While LLVM compiles the kernels of a saving run, those of its gradient by the `operands` that need one are
        written.
        """
        key = (run, steps, batch, ragged is not None)
        executor = self._executors.get(key)
        if executor is None:
            if len(self._executors) >= _MOST_EXECUTORS:
                self._executors.clear()
            if isinstance(run, str):
                spec = self.spec
                engine = spec.engines(spec.output_state).forward if run == _SAVING else spec.inference
                binding = self.numbering.forward(engine, steps, batch)
            else:
                binding = self.numbering.backward(run, steps, batch)
            packs = binding.engine.prefers_packing(steps, batch, ragged=ragged is not None)
            arrays = TorchArrays(self.spec.dtype)
            needed = tuple([tensor is not None and tensor.requires_grad for tensor in operands])
            if run == _SAVING and any(needed) and steps * batch and not self.whole_states:
                write = partial(self._write_gradient, needed, steps, batch, ragged=ragged is not None)
                binding.engine.kernels(steps, batch, ragged=ragged is not None, packs=packs, meanwhile=write)
            executor = Executor(binding, arrays, steps, batch, ragged=ragged is not None, packs=packs)
            self._executors[key] = executor
        return executor


def _extent(operands: Operands) -> tuple[int, int]:
    sequence = operands[0]
    assert sequence is not None
    return sequence.shape[0], sequence.shape[1]
