"""A machine that runs the PTX of kernels on a CPU, warp by warp from barrier to barrier, and finds what luck decides.

A `HazardError` is: a warp reads or overwrites what another one stores, or reads, with no barrier between; a program
reads what another program of the launch stores; an address outside of all arrays, or one that is not aligned; lanes of
a warp that branch differently. Warps run in random order. Shared memory is NaN before it is written. Asynchronous
copies arrive at the last moment, when their warp has waited for them, or, with `early`, at once too.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

LANES = np.arange(32)


class HazardError(AssertionError):
    """What a GPU may do in one way or another."""


class Cells:
    """Who has stored and read the bytes of a memory, and since which barrier."""

    def __init__(self, size: int) -> None:
        count = size + 1
        self.stored_in, self.read_in = np.zeros(count, np.int64), np.zeros(count, np.int64)
        self.stored_by, self.read_by = np.full(count, -1), np.full(count, -1)  # warps; -2 is several
        self.storing_program, self.reading_program = np.full(count, -1), np.full(count, -1)

    def store(self, warp: "Warp", cells: np.ndarray, *, same: bool, where: str) -> None:
        """A warp stores; storing the same once more is no harm."""
        now, number = warp.program.interval, warp.number
        read = (self.read_in[cells] == now) & (self.read_by[cells] != number)
        stored = (self.stored_in[cells] == now) & (self.stored_by[cells] != number)
        if not same and (read.any() or stored.any()):
            raise HazardError(f"{where}: warp {number} stores what another one {'reads' if read.any() else 'stores'}")
        self.stored_in[cells], self.stored_by[cells] = now, number

    def read(self, warp: "Warp", cells: np.ndarray, where: str) -> None:
        """A warp reads."""
        now, number = warp.program.interval, warp.number
        if ((self.stored_in[cells] == now) & (self.stored_by[cells] != number)).any():
            raise HazardError(f"{where}: warp {number} reads what another one stores, with no barrier between")
        others = (self.read_in[cells] == now) & (self.read_by[cells] != number)
        self.read_in[cells], self.read_by[cells] = now, np.where(others, -2, number)

    def share(self, program: int, cells: np.ndarray, where: str, *, stores: bool, same: bool = False) -> None:
        """A program of a launch reads or stores."""
        others = self.storing_program[cells]
        if ((others >= 0) & (others != program)).any() and not same:
            raise HazardError(f"{where}: program {program} {'stores' if stores else 'reads'} what another one stores")
        readers = self.reading_program[cells]
        if stores and not same and ((readers != -1) & (readers != program)).any():
            raise HazardError(f"{where}: program {program} stores what another one reads")
        if stores:
            self.storing_program[cells] = program
        else:
            self.reading_program[cells] = np.where((readers == -1) | (readers == program), program, -2)


@dataclass
class GlobalArray:
    """An array of the host, at its own address."""

    name: str
    address: int
    bytes: np.ndarray
    cells: Cells


@dataclass(frozen=True)
class Code:
    """A kernel: what each instruction does, and where labels are. An instruction that is no function is a barrier, a
    branch or the end."""

    text: Sequence[str]
    instructions: Sequence[Any]
    labels: Mapping[str, int]
    registers: int
    parameters: Sequence[str]
    shared_bytes: int


@dataclass
class Launch:
    """A launch: `waits` says that its programs wait for each other."""

    code: Code
    arrays: Sequence[GlobalArray]
    grid: tuple[int, ...]
    parameters: Mapping[str, int]
    warps: int
    early: bool
    waits: bool
    order: random.Random
    intervals: int = 0

    def array_at(self, low: int, high: int) -> GlobalArray:
        """The array that has these bytes."""
        for array in self.arrays:
            if array.address <= low and high <= array.address + len(array.bytes):
                return array
        raise HazardError(f"bytes {low:#x} to {high:#x} belong to no array")

    def run(self) -> None:
        """Run all programs: one after the other, or in turns where they wait for each other."""
        width, height, depth = self.grid
        places = [(x, y, z) for z in range(depth) for y in range(height) for x in range(width)]
        self.order.shuffle(places)
        running = [BlockProgram(self, number, place).intervals_run() for number, place in enumerate(places)]
        while running:
            program = self.order.choice(running) if self.waits else running[-1]
            if next(program, None) is None:
                running.remove(program)


class BlockProgram:
    """A program of the grid, with its warps and its shared memory."""

    def __init__(self, launch: Launch, number: int, place: tuple[int, int, int]) -> None:
        self.launch, self.number, self.place = launch, number, place
        self.shared = np.full(max(launch.code.shared_bytes, 16), 0xFF, np.uint8)
        self.cells = Cells(len(self.shared))
        self.interval = 0
        self.warps = [Warp(self, warp) for warp in range(launch.warps)]

    def intervals_run(self) -> Iterator[bool]:
        """From barrier to barrier; the warps come in any order."""
        while not all(warp.ended for warp in self.warps):
            if any(warp.ended for warp in self.warps):
                raise HazardError("a warp has ended while others wait at a barrier")
            self.launch.intervals += 1
            self.interval = self.launch.intervals
            for warp in self.launch.order.sample(self.warps, len(self.warps)):
                warp.run()
            yield True

    def load(self, warp: "Warp", space: str, addresses: np.ndarray, active: np.ndarray, size: int) -> np.ndarray:
        """The bytes (lane, size) that lanes load."""
        found = np.zeros((32, size), np.uint8)
        lanes = np.flatnonzero(active)
        _check_alignment(addresses[lanes], size)
        if space == "shared":
            places = self._shared_places(addresses[lanes], size)
            self.cells.read(warp, _cells(places), "shared memory")
            found[lanes] = self.shared[places]
            return found
        for lane in lanes:
            low = int(addresses[lane])
            array = self.launch.array_at(low, low + size)
            places = low - array.address + np.arange(size)
            array.cells.read(warp, _cells(places), array.name)
            if not self.launch.waits:
                array.cells.share(self.number, _cells(places), array.name, stores=False)
            found[lane] = array.bytes[places]
        return found

    def store(self, warp: "Warp", space: str, addresses: np.ndarray, active: np.ndarray, values: np.ndarray) -> None:
        """Store the bytes (lane, size) of lanes."""
        lanes, size = np.flatnonzero(active), values.shape[1]
        _check_alignment(addresses[lanes], size)
        if space == "shared":
            places = self._shared_places(addresses[lanes], size)
            same = bool((self.shared[places] == values[lanes]).all())
            self.cells.store(warp, _cells(places), same=same, where="shared memory")
            self.shared[places] = values[lanes]
            if not (self.shared[places] == values[lanes]).all():
                raise HazardError("two lanes store different values in one place of shared memory")
            return
        for lane in lanes:
            low = int(addresses[lane])
            array = self.launch.array_at(low, low + size)
            places = low - array.address + np.arange(size)
            same = bool((array.bytes[places] == values[lane]).all())
            array.cells.store(warp, _cells(places), same=same, where=array.name)
            if not self.launch.waits:
                array.cells.share(self.number, _cells(places), array.name, stores=True, same=same)
            array.bytes[places] = values[lane]

    def add(self, addresses: np.ndarray, active: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Add to 32-bit numbers, atomically; what they were."""
        before = np.zeros(32, np.uint32)
        for lane in np.flatnonzero(active):
            low = int(addresses[lane])
            array = self.launch.array_at(low, low + 4)
            number = array.bytes[low - array.address :][:4].view(np.uint32)
            before[lane] = number[0]
            number += np.uint32(values[lane])
        return before

    def _shared_places(self, addresses: np.ndarray, size: int) -> np.ndarray:
        if addresses.size and not 0 <= addresses.min() <= addresses.max() <= self.launch.code.shared_bytes - size:
            raise HazardError(
                f"shared memory has {self.launch.code.shared_bytes} bytes; an address is {addresses.max()}"
            )
        return addresses[:, None] + np.arange(size)


def _cells(places: np.ndarray) -> np.ndarray:
    return np.unique(places)


def _check_alignment(addresses: np.ndarray, size: int) -> None:
    if (addresses % size).any():
        raise HazardError(f"an access of {size} bytes is not aligned")


@dataclass
class Warp:
    """32 lanes that go through the code together. `copies` are groups of asynchronous copies that are under way."""

    program: BlockProgram
    number: int
    place: int = 0
    ended: bool = False
    registers: list[Any] = field(default_factory=list[Any])
    group: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])
    copies: list[list[Callable[[], None]]] = field(default_factory=list[list[Callable[[], None]]])

    def __post_init__(self) -> None:
        self.registers = [None] * self.program.launch.code.registers

    def run(self) -> None:
        """Go on to the next barrier, or to the end."""
        code = self.program.launch.code
        while self.place < len(code.instructions):
            instruction, text = code.instructions[self.place], code.text[self.place]
            self.place += 1
            if callable(instruction):
                try:
                    instruction(self)
                except HazardError as hazard:
                    raise HazardError(f"{hazard} ({text})") from None
            elif instruction == "barrier":
                return
            else:
                label, guard = instruction
                self._jump(label, guard, text)
        self.ended = True

    def _jump(self, label: str, guard: Callable[["Warp"], np.ndarray] | None, text: str) -> None:
        taken = np.ones(32, bool) if guard is None else guard(self)
        if taken.any() and not taken.all():
            raise HazardError(f"lanes of a warp branch differently ({text})")
        if taken.all():
            code = self.program.launch.code
            self.place = code.labels[label] if label else len(code.instructions)

    def copy(self, targets: np.ndarray, sources: np.ndarray, active: np.ndarray, size: int, read: np.ndarray) -> None:
        """Begin to copy `size` bytes a lane to shared memory, of which `read` are from global memory, others zero."""
        program, now = self.program, self.program.launch.early
        for lane in np.flatnonzero(active):
            only = lane == LANES
            count = int(read[lane])

            def arrive(only: np.ndarray = only, count: int = count) -> None:
                values = np.zeros((32, size), np.uint8)
                if count:
                    values[:, :count] = program.load(self, "global", sources, only, count)
                program.store(self, "shared", targets, only, values)

            if now:
                arrive()
            else:  # from now on the place may be overwritten
                places = int(targets[lane]) + np.arange(size)
                program.cells.store(self, _cells(places), same=False, where="shared memory")
            self.group.append(arrive)

    def commit(self) -> None:
        """The copies since the last group are one."""
        self.copies.append(self.group)
        self.group = []

    def wait(self, left: int) -> None:
        """Wait until at most so many groups of copies are under way."""
        while len(self.copies) > left:
            for arrive in self.copies.pop(0):
                arrive()
