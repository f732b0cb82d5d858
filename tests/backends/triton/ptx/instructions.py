"""The instructions of PTX that Triton's kernels have, each as a function of a warp."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tests.backends.triton.ptx.arithmetic import ARITHMETIC, COMPARISONS, converted, quotient_of_integers, shifted
from tests.backends.triton.ptx.machine import LANES, Code, Warp
from tests.backends.triton.ptx.matrices import matrix_instruction
from tests.backends.triton.ptx.operands import BITS, DTYPES, Operands, Read, Run, Value, lanes, listed

ALL = np.ones(32, bool)


@dataclass(frozen=True)
class Instruction:
    """One instruction: its name cut at the dots, its operands, and the lanes that take part (None: all)."""

    parts: Sequence[str]
    operands: Sequence[str]
    guard: Read | None

    @property
    def kind(self) -> str:
        """The type of what it computes."""
        return self.parts[-1]

    def active(self, warp: Warp) -> np.ndarray:
        """The lanes that take part."""
        return ALL if self.guard is None else self.guard(warp)


def code_of(ptx: str, shared_bytes: int) -> Code:
    """The code of the one kernel in a text."""
    text = re.sub(r"//[^\n]*", "", ptx)
    entry = re.search(r"\.entry\s+\S+?\((.*?)\)\s*(.*?)\{(.*)\n\}", text, re.DOTALL)
    assert entry
    parameters = [parameter.split()[-1] for parameter in entry[1].split(",") if parameter.strip()]
    operands, labels = Operands(), dict[str, int]()
    lines: list[str] = []
    for statement in re.split(r"[;\n]", entry[3]):
        line = statement.strip()
        while label := re.match(r"(\$?\w+):\s*", line):
            labels[label[1]] = len(lines)
            line = line[label.end() :]
        if line and line not in "{}" and not line.startswith("."):
            lines.append(line)
    instructions = [_instruction(line, operands) for line in lines]
    return Code(lines, instructions, labels, len(operands.numbers), parameters, shared_bytes)


def _split(text: str) -> list[str]:
    """Operands, cut at commas that are not within braces."""
    return [part.strip() for part in re.findall(r"(?:\{[^}]*\}|\[[^\]]*\]|[^,{\[])+", text)]


def _instruction(line: str, operands: Operands) -> object:
    match = re.match(r"(?:@(!?)(%\w+)\s+)?(\S+)\s*(.*)$", line, re.DOTALL)
    assert match
    guard = operands.read(match[1] + match[2], "pred") if match[2] else None
    own = Instruction(match[3].split("."), _split(match[4]), guard)
    name = own.parts[0]
    if name in ("bar", "barrier"):
        return "barrier"
    if name in ("bra", "ret"):
        return (own.operands[0] if name == "bra" else "", guard)
    if name in MAKERS:
        return MAKERS[name](own, operands)
    return _elementwise(own, operands)


def _elementwise(own: Instruction, operands: Operands) -> Run:
    """An instruction that computes each lane by itself."""
    name, kind = own.parts[0], own.kind
    key = ".".join([name, *(part for part in own.parts[1:-1] if part in ("wide", "hi", "approx", "NaN"))])
    function = ARITHMETIC[key]
    if kind == "f32x2":
        pairs = [operands.read(operand, "b64") for operand in own.operands[1:]]
        return _result(own, operands, lambda warp: function(*[_pairs(read(warp)) for read in pairs]).view(np.uint64))
    wide = f"{kind[0]}{2 * int(kind[1:])}" if key == "mad.wide" else kind
    kinds = [kind, kind, wide]
    reads = [operands.read(operand, kinds[place]) for place, operand in enumerate(own.operands[1:])]
    return _result(own, operands, lambda warp: function(*[read(warp) for read in reads]))


def _pairs(value: Value) -> np.ndarray:
    """The float32 numbers in 64 bits of each lane, two of a lane side by side."""
    return np.ascontiguousarray(lanes(value)).view(np.float32)


def _result(own: Instruction, operands: Operands, compute: Read) -> Run:
    write = operands.write(own.operands[0])

    def run(warp: Warp) -> None:
        with np.errstate(all="ignore"):
            value = compute(warp)
        write(warp, value, own.guard(warp) if own.guard else None)

    return run


def _move(own: Instruction, operands: Operands) -> Run:
    """A copy; with braces, several registers of a wide one."""
    target, source = own.operands
    if not target.startswith("{") and not source.startswith("{"):
        return _result(own, operands, operands.read(source, own.kind))
    width = DTYPES[own.kind].itemsize
    if target.startswith("{"):
        writes = [operands.write(name) for name in listed(target)]
        read = operands.read(source, own.kind)

        def unpack(warp: Warp) -> None:
            parts = np.ascontiguousarray(lanes(read(warp))).view(BITS[width // len(writes)]).reshape(32, -1)
            for place, write in enumerate(writes):
                write(warp, parts[:, place])

        return unpack
    names = listed(source)
    reads = [operands.read(name, f"u{8 * width // len(names)}") for name in names]

    def packed(warp: Warp) -> Value:
        parts = np.stack([lanes(read(warp)) for read in reads], 1)
        return np.ascontiguousarray(parts).view(BITS[width])[:, 0]

    return _result(own, operands, packed)


def _memory(own: Instruction) -> tuple[str, int]:
    """Which memory an instruction goes to, and how many numbers it moves."""
    space = "shared" if any(part.startswith("shared") for part in own.parts) else "global"
    return space, next((int(part[1]) for part in own.parts if re.fullmatch(r"v\d", part)), 1)


def _load(own: Instruction, operands: Operands) -> Run:
    width = DTYPES[own.kind].itemsize
    if "param" in own.parts:
        name = own.operands[1].strip("[]")
        return _result(own, operands, lambda warp: np.int64(warp.program.launch.parameters[name]).astype(BITS[width]))
    space, count = _memory(own)
    assert "nc" not in own.parts, "a load past the caches that stores keep up to date"
    writes, address = [operands.write(name) for name in listed(own.operands[0])], operands.address(own.operands[1])

    def run(warp: Warp) -> None:
        active = own.active(warp)
        found = warp.program.load(warp, space, address(warp), active, width * count).view(BITS[width])
        for place, write in enumerate(writes):
            write(warp, found[:, place], active)

    return run


def _store(own: Instruction, operands: Operands) -> Run:
    space, _ = _memory(own)
    address = operands.address(own.operands[0])
    reads = [operands.read(name, own.kind) for name in listed(own.operands[1])]

    def run(warp: Warp) -> None:
        values = np.ascontiguousarray(np.stack([lanes(read(warp)) for read in reads], 1)).view(np.uint8)
        warp.program.store(warp, space, address(warp), own.active(warp), values)

    return run


def _copy(own: Instruction, operands: Operands) -> Run:
    """Asynchronous copies from global to shared memory."""
    if "commit_group" in own.parts:
        return Warp.commit
    if "wait_group" in own.parts:
        left = int(own.operands[0], 0)
        return lambda warp: warp.wait(left)
    target, source, size, *rest = own.operands
    targets, sources, width = operands.address(target), operands.address(source), int(size, 0)
    count = operands.read(rest[0] if rest else size, "u32")
    return lambda warp: warp.copy(targets(warp), sources(warp), own.active(warp), width, lanes(count(warp)))


def _atomic(own: Instruction, operands: Operands) -> Run:
    """atom.add, or red.add, which gives nothing back."""
    assert "add" in own.parts
    *result, place, number = own.operands
    address, read = operands.address(place), operands.read(number, own.kind)
    write = operands.write(result[0]) if result else None

    def run(warp: Warp) -> None:
        active = own.active(warp)
        before = warp.program.add(address(warp), active, lanes(read(warp)))
        if write:
            write(warp, before, active)

    return run


def _compare(own: Instruction, operands: Operands) -> Run:
    function = COMPARISONS[own.parts[1]]
    left, right = (operands.read(operand, own.kind) for operand in own.operands[1:3])
    return _result(own, operands, lambda warp: function(left(warp), right(warp)))


def _select(own: Instruction, operands: Operands) -> Run:
    yes, no = (operands.read(operand, own.kind) for operand in own.operands[1:3])
    condition = operands.read(own.operands[3], "pred")
    return _result(own, operands, lambda warp: np.where(condition(warp), yes(warp), no(warp)).astype(DTYPES[own.kind]))


def _shift(own: Instruction, operands: Operands) -> Run:
    value, count = operands.read(own.operands[1], own.kind), operands.read(own.operands[2], "u32")
    left = own.parts[0] == "shl"
    return _result(own, operands, lambda warp: shifted(lanes(value(warp)), lanes(count(warp)), left=left))


def _bit_field(own: Instruction, operands: Operands) -> Run:
    value, first, count = operands.read(own.operands[1], own.kind), int(own.operands[2], 0), int(own.operands[3], 0)
    bits = 8 * DTYPES[own.kind].itemsize

    def field_of(warp: Warp) -> Value:
        high = shifted(lanes(value(warp)), np.full(32, bits - first - count), left=True)
        return shifted(high, np.full(32, bits - count), left=False)

    return _result(own, operands, field_of)


def _convert(own: Instruction, operands: Operands) -> Run:
    target, source = own.parts[-2:]
    reads = [operands.read(operand, source) for operand in own.operands[1:]]
    return _result(own, operands, lambda warp: converted(target, source, [lanes(read(warp)) for read in reads]))


def _divide(own: Instruction, operands: Operands) -> Run:
    if own.kind.startswith("f"):
        return _elementwise(own, operands)
    left, right = (operands.read(operand, own.kind) for operand in own.operands[1:3])
    rest = own.parts[0] == "rem"
    return _result(own, operands, lambda warp: quotient_of_integers(lanes(left(warp)), lanes(right(warp)), rest=rest))


def _shuffle(own: Instruction, operands: Operands) -> Run:
    """Lanes read from each other."""
    target, *predicate = own.operands[0].split("|")
    write, write_predicate = operands.write(target), operands.write(predicate[0]) if predicate else None
    value, distance, clamp = (
        operands.read(operand, kind) for operand, kind in zip(own.operands[1:4], ("b32", "u32", "u32"), strict=True)
    )
    mode = own.parts[2]

    def run(warp: Warp) -> None:
        by, bounds = lanes(distance(warp)).astype(int) & 31, lanes(clamp(warp)).astype(int)
        segment, last = bounds >> 8 & 31, bounds & 31
        highest, lowest = LANES & segment | last & ~segment, LANES & segment
        source = {"up": LANES - by, "down": LANES + by, "bfly": LANES ^ by, "idx": lowest | by & ~segment}[mode]
        within = source >= highest if mode == "up" else source <= highest
        write(warp, lanes(value(warp))[np.where(within, source, LANES)])
        if write_predicate:
            write_predicate(warp, within)

    return run


def _reduce_warp(own: Instruction, operands: Operands) -> Run:
    function = {"max": np.max, "min": np.min, "add": np.sum}[own.parts[2]]
    read = operands.read(own.operands[1], own.kind)
    return _result(own, operands, lambda warp: np.full(32, function(lanes(read(warp))), DTYPES[own.kind]))


def _permute_bytes(own: Instruction, operands: Operands) -> Run:
    reads = [operands.read(operand, "u32") for operand in own.operands[1:3]]
    chosen = [int(own.operands[3], 0) >> 4 * place & 7 for place in range(4)]

    def permuted(warp: Warp) -> Value:
        values = np.stack([lanes(read(warp)) for read in reads], 1).view(np.uint8)
        return np.ascontiguousarray(values[:, chosen]).view(np.uint32)[:, 0]

    return _result(own, operands, permuted)


def _nothing(own: Instruction, operands: Operands) -> Run:
    return lambda warp: None


def _matrix(own: Instruction, operands: Operands) -> Run:
    return matrix_instruction(own.parts, own.operands, operands)


MAKERS: Mapping[str, Callable[[Instruction, Operands], Run]] = {
    "mov": _move, "ld": _load, "st": _store, "cp": _copy, "red": _atomic, "atom": _atomic, "setp": _compare,
    "selp": _select, "shl": _shift, "shr": _shift, "bfe": _bit_field, "cvt": _convert, "div": _divide, "rem": _divide,
    "shfl": _shuffle, "redux": _reduce_warp, "prmt": _permute_bytes, "fence": _nothing, "membar": _nothing,
    "mma": _matrix, "ldmatrix": _matrix, "stmatrix": _matrix,
}  # fmt: skip
"""Instructions that need more than a function of numbers."""
