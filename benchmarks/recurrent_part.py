"""The section about the recurrent part of cells without a product in the loop: how many bytes a second it moves.

Their loop could be computed by an associative scan, in parallel over time. That is worth something where the loop, from
step to step, does not come near the speed of the memory.
"""

import ctypes
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

import gatewright as gw
from benchmarks import machine
from benchmarks.figures import loop_rate
from benchmarks.names import FORWARD, GRADIENT, TRAINING, Record
from benchmarks.setup import Setup, rounded, tell
from benchmarks.timing import Call
from gatewright.backends.llvm.codegen.buffers import BufferId, outside_buffers, sum_buffer
from gatewright.backends.llvm.codegen.kernels import LOOP, Kernels
from gatewright.backends.llvm.jit.machine_code import address_of
from gatewright.backends.llvm.parallel.region import ParallelRegion, PhaseList, run_region
from gatewright.backends.llvm.parallel.region_code import RegionPhase
from gatewright.backends.llvm.parallel.time_blocks import TimeBlock
from gatewright.backends.llvm.parallel.work_partition import PartitionAxis, PassPartition, partition_work
from gatewright.backends.llvm.runtime.engine import Engine
from gatewright.schedule.program import Program, Storage
from gatewright.trace.ir import Var

PRODUCTS = {"mingru": 2, "minlstm": 3, "sru": 4, "qrnn": 3, "hgrn": 2}
"""The cells, and how many matrix products each has before the loop."""
INPUTS = 32
STEPS, BATCHES, HIDDEN = (2048, 16_384, 65_536), (1, 4, 16), (64, 128, 512)
FEW_STEPS, FEW_BATCHES, FEW_HIDDEN = (16_384,), (1, 16), (64, 512)
"""For all cells but the first."""
QUICK = ((64,), (1,), (16,))
MOST_BYTES = 6 * 2**30
"""Larger extents are left out: so much memory is at hand on the machines that this runs on."""
ROUNDS = 5
COPY_SECONDS = 0.1


def recurrent_part(setup: Setup) -> list[Record]:
    """Every cell over several lengths, batches and sizes: the layer, and of its time that of the loop."""
    cells = list(PRODUCTS)[:1] if setup.quick else list(PRODUCTS)
    return [record for name in cells for sizes in _extents(setup, name) if (record := _of(setup, name, *sizes))]


def _extents(setup: Setup, name: str) -> Iterator[tuple[int, int, int]]:
    is_first = name == next(iter(PRODUCTS))
    sizes = (STEPS, BATCHES, HIDDEN) if is_first else (FEW_STEPS, FEW_BATCHES, FEW_HIDDEN)
    steps_, batches, hidden = QUICK if setup.quick else sizes
    return ((steps, batch, size) for size in hidden for batch in batches for steps in steps_)


def _of(setup: Setup, name: str, steps: int, batch: int, hidden: int) -> Record | None:
    layer = gw.nn.Recurrent(name, INPUTS, hidden, backend="llvm")
    engines = {FORWARD: layer.plan().engine(), GRADIENT: layer.plan().engine(gradient=True)}
    if max(_outside_bytes(engine.program, engine, steps, batch) for engine in engines.values()) > MOST_BYTES:
        return None
    copy = machine.copy_bandwidth(setup.threads, COPY_SECONDS)
    record: Record = {
        "cell": name,
        "steps": steps,
        "batch": batch,
        "hidden": hidden,
        "inputs": INPUTS,
        "copy": rounded(copy),
    }
    record |= {"peak": rounded(setup.peaks[setup.threads]), "flops": 2 * batch * PRODUCTS[name] * INPUTS * hidden}
    record["bytes"], record["runs"] = {}, {}
    for mode, engine in engines.items():
        passes = TimedPasses(engine, steps, batch, setup.threads)
        record["runs"][f"{mode} loop"] = passes.run_of(LOOP)
        record["bytes"][mode] = batch * passes.loop_bytes
    for mode, call in {
        FORWARD: _forward(layer, steps, batch),
        TRAINING: _training(layer, steps, batch, hidden),
    }.items():
        call()
        record["runs"][mode] = _median([_seconds(call) for _ in range(ROUNDS)])
    told = ", ".join(f"{mode} {100 * loop_rate(record, mode) / copy:.0f}%" for mode in engines)
    tell(f"recurrent part {name} T={steps} B={batch} H={hidden}: of a copy's bandwidth {told}")
    return record


def _median(seconds: list[float]) -> Record:
    return {"median": rounded(sorted(seconds)[len(seconds) // 2]), "least": rounded(min(seconds)), "rounds": ROUNDS}


def _seconds(call: Call) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _forward(layer: torch.nn.Module, steps: int, batch: int) -> Call:
    x = torch.randn(steps, batch, INPUTS)

    @torch.inference_mode()
    def call() -> object:
        return layer(x)

    return call


def _training(layer: torch.nn.Module, steps: int, batch: int, hidden: int) -> Call:
    x, weight = torch.randn(steps, batch, INPUTS, requires_grad=True), torch.randn(steps, batch, hidden)
    learned = [x, *layer.parameters()]

    def call() -> object:
        for tensor in learned:
            tensor.grad = None
        return layer(x)[0].backward(weight)

    return call


def _outside_bytes(program: Program, engine: Engine, steps: int, batch: int) -> int:
    """What the arrays of a caller take."""
    kernels = engine.design(steps, batch)
    return 4 * (steps + 1) * batch * sum(_width(kernels, key) for key in outside_buffers(program))


def _width(kernels: Kernels, key: BufferId) -> int:
    """The numbers of a row at one step in a buffer with room for every step, else 0."""
    return kernels.line_bytes(key) // 4


@dataclass
class _PassBlock:
    """A pass over one time block: as a call of its kernel, and as a region of several threads."""

    name: str
    call: tuple[int, ...]
    phases: PhaseList | None


class TimedPasses:
    """The kernels of an engine over one extent, in blocks of time as a layer runs them, but each in a call of its own.

    A pass is in the same surroundings as in a layer: what it reads has just been computed, as far as it is computed.
    """

    def __init__(self, engine: Engine, steps: int, batch: int, threads: int) -> None:
        runner = engine.runner(steps, batch)
        self.kernels, self._library, self._batch = runner.kernels, runner.library, batch
        self._blocks, slots = runner.time_blocks, self.kernels.bound.slots
        outside, most = set(outside_buffers(engine.program)), max(block.steps for block in runner.time_blocks)
        rows = {key: steps + 1 if key in outside else most + 1 for key in slots}
        self._arrays = {key: _filled(self._elements(key, count)) for key, count in rows.items()}
        places = [(self._arrays[key].ctypes.data, runner.stride(key)) for key in sorted(slots, key=slots.__getitem__)]
        addresses = [place + stride * block.start for block in self._blocks for place, stride in places]
        self._tables = (ctypes.c_void_p * len(addresses))(*addresses)
        self._table_bytes = len(places) * ctypes.sizeof(ctypes.c_void_p)
        parts = {
            block.steps: partition_work(self.kernels.cost, (block.steps, batch), threads, block.steps * batch)
            for block in self._blocks
        }
        self._passes = [
            self._pass(name, number, block, parts[block.steps].passes[name])
            for number, block in enumerate(self._blocks)
            for name in self.kernels.designs
        ]
        if self.kernels.panels:
            self._library["pack"](ctypes.addressof(self._tables), steps, batch, 0, self.kernels.groups, 0, 0)

    def array(self, name: str) -> np.ndarray:
        """What the kernels have left in the buffer of a value that their caller sees, line by line."""
        key = next(key for key in outside_buffers(self.kernels.program) if key.name == name)
        return self._arrays[key]

    @property
    def loop_bytes(self) -> int:
        """What the loop reads and writes of one row at one step: every value once, and of states the new values."""
        program = self.kernels.program
        names: set[str] = set()
        for stage in program.loop:
            computed = {work.target.name for work in stage.works()}
            read = {value.name for value in stage.reads() if isinstance(value, Var)} - computed
            names |= {name for name in read if program.storage.get(name) in (Storage.INPUT, Storage.SEQUENCE)}
            names |= {store.name for store in stage.stores if store.storage in (Storage.STATE, Storage.SEQUENCE)}
        return 4 * sum(self.kernels.bound.width_of(name) for name in names)

    def run_of(self, name: str) -> Record:
        """The seconds of one pass over all time blocks, out of some rounds through all passes.

        The median is that of each block: a thread that was stopped in one of a hundred blocks spoils that block alone.
        """
        rounds = np.array([[self._seconds(block) for block in self._passes] for _ in range(ROUNDS)])
        own = rounds[:, [block.name == name for block in self._passes]]
        median, least = (float(function(own, axis=0).sum()) for function in (np.median, np.min))
        return {"median": rounded(median), "least": rounded(least), "rounds": ROUNDS}

    def _seconds(self, block: _PassBlock) -> float:
        began = time.perf_counter()
        if block.phases:
            region = ParallelRegion(block.phases, (ctypes.addressof(self._tables),), self._batch, (0, 0), 20_000, 0)
            if not run_region(region, block.phases.threads):
                raise RuntimeError("another caller has the threads")
        else:
            self._library[block.name](*block.call)
        return time.perf_counter() - began

    def _pass(self, name: str, number: int, block: TimeBlock, partition: PassPartition) -> _PassBlock:
        offset, rows = number * self._table_bytes, self._batch if name == LOOP else block.steps * self._batch
        call = (ctypes.addressof(self._tables) + offset, block.steps, self._batch, 0, rows, 0, 0)
        if partition.parts == 1:
            return _PassBlock(name, call, None)
        phase = RegionPhase(kernel=address_of(self._library[name]), multiple=1, parts=partition.parts, size=rows)
        phase.by_units, phase.steps, phase.table_offset = partition.axis is PartitionAxis.UNITS, block.steps, offset
        return _PassBlock(name, call, PhaseList([phase], partition.parts))

    def _elements(self, key: BufferId, steps: int) -> int:
        kernels = self.kernels
        if width := _width(kernels, key):
            return steps * self._batch * width
        others = {panel.key: panel.size for panel in kernels.panels}
        others |= {sum_buffer(total): kernels.bound.width(total.target) for total in kernels.program.row_sums}
        return others.get(key) or kernels.bound.width_of(key.name) * self._batch


def _filled(elements: int) -> np.ndarray:
    """Memory from a cache line on, with a number that gives no denormal ones."""
    array = np.full(elements + 16, 0.1, np.float32)
    return array[(-array.ctypes.data % 64) // 4 :][:elements]
