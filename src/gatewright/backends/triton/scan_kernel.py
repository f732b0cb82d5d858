"""A stage of scans as a Triton kernel: states that are affine in themselves, for all steps at once.

A program of the grid has one row and a block of features. It goes over time in chunks: within a chunk the steps are
joined by `tl.associative_scan`, and the states after one chunk are carried to the next. Equations that the
coefficients are made of are in the same kernel, and so are those that follow elementwise from the states, so that each
sequence is read once and each result is written once. A state as it was before each step is the scan's result of the
line above, or what was carried.

Where rows and features are too few to fill a GPU, and steps are many, time is cut into spans that run at once, in
three launches: the slopes and offsets of each whole span; from these the states before each span; then every span
from the states before it. The inputs are read twice then.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import IntEnum
from functools import reduce

from gatewright.backends.triton.kernel_text import LENGTHS, Argument, ArgumentKind, KernelText, jit_line
from gatewright.backends.triton.scan_stage import CoupledScan, ScanSource, ScanStage
from gatewright.backends.triton.writer import KernelWriter, identifier, indented
from gatewright.schedule.program import Stage, Storage, Store
from gatewright.trace.ir import Var

# What the kernels call their own parameters and variables.
_OWN_NAMES = (
    *("C", "N", "BH", "SPAN", "PHASE", "row", "span", "steps", "n", "begin", "end", "s", "k", "zero"),
    *("first", "active", "size", "earlier", "moved", "product"),
)
SPANS = Argument(ArgumentKind.SPANS, "spans")


class ScanPhase(IntEnum):
    """What one launch of a kernel of scans computes: its constexpr PHASE."""

    WHOLE = 0  # all steps, from the states that are given
    TOTALS = 1  # the slopes and offsets of each span, and no states
    RESULTS = 2  # each span, from the states before it


def scan_text(scan: ScanStage, sizes: Mapping[str, int]) -> KernelText:
    """The kernel of a stage of scans.

    Among the pointers of its arguments is SPANS: None, or, in the phases of spans, (spans, n, batch, features) with
    n = `scan.span_values`. Then come T, B and SPAN, the number of steps of a span. The constexpr parameters are A, C
    (steps of a chunk), BH (features of a program), BACKWARDS, RAGGED and PHASE. The grid is (batch, blocks of features,
    spans).
    """
    return _ScanWriter(scan, sizes).kernel()


def carry_text(scan: ScanStage, sizes: Mapping[str, int]) -> KernelText:
    """The kernel between the two phases of spans: the states before each span take the place of the offsets in SPANS.

    It takes the starts of the states, SPANS, the number of spans N, and B. The constexpr parameters are A and BH. The
    grid is (batch, blocks of features).
    """
    return _ScanWriter(scan, sizes).carry_kernel()


class _ScanNames:
    """The variables of one scan: coefficients of each step, of all steps so far, and the states that are carried."""

    def __init__(self, scan: CoupledScan, writer: KernelWriter) -> None:
        states = [identifier(state.name) for state in scan.states]
        take = writer.names.take
        self.count = len(states)
        self.slopes = [[take(f"{new}_by_{old}") for old in states] for new in states]
        self.offsets = [take(f"{new}_offset") for new in states]
        self.totals = [[take(f"{new}_by_{old}_total") for old in states] for new in states]
        self.carries = [take(f"{new}_carry") for new in states]

    def pairs(self) -> Iterator[tuple[int, int]]:
        """Row and column of every slope."""
        return ((row, column) for row in range(self.count) for column in range(self.count))


class _ScanWriter:
    """Writes the lines of both kernels of a stage."""

    def __init__(self, scan: ScanStage, sizes: Mapping[str, int]) -> None:
        self.scan = scan
        self.writer = KernelWriter(sizes, rows="C")
        for name in _OWN_NAMES:
            self.writer.names.take(name)
        self.names = [_ScanNames(part, self.writer) for part in scan.scans]
        self.largest = [self.writer.names.take(f"{identifier(part.array)}_largest") for part in scan.magnitudes]
        for name in scan.axes() if scan.shape else ():
            self.writer.axis(name, "BH")
        axis = self.writer.axis(scan.shape[0]) if scan.shape else None
        self.size = axis.size if axis else 1
        self.width = axis.width if axis else "1"
        self.lanes = axis.index if axis else "tl.arange(0, 1)"
        self.masked = f", mask={axis.mask}" if axis else ""
        self.filled = f"{self.masked}, other=0.0" if axis else ""

    def kernel(self) -> KernelText:
        """The kernel that scans."""
        writer = self.writer
        lengths = writer.pointer(LENGTHS.kind, LENGTHS.name)
        shared: list[str] = []
        loads = list(self._loads(shared))
        chunk = [*loads, *self._coefficients(), *self._scans(), *self._results()]
        body = [
            *self._program(),
            "span = tl.program_id(2)",
            "steps = tl.arange(0, C)",
            *self._earlier(),
            "zero = tl.full((), 0, tl.int64)",
            "n = T",
            "if RAGGED:",
            *indented([f"n = tl.load({lengths} + row)"]),
            "begin = span * SPAN",
            "end = tl.minimum(begin + SPAN, n)",
            "rows = steps * -B if BACKWARDS else steps * B  # where each step is, from the first of its chunk",
            *(f"{name} = {writer.offset_text(shape)}" for shape, name in writer.offsets.items()),
            *shared,
            *self._carries_in(),
            "for s in range(begin, end, C):",
            *indented(["active = s + steps < end", "at = (zero + (n - 1 - s if BACKWARDS else s)) * B + row", *chunk]),
            *self._totals_out(),
        ]
        constants = ("A", "C", "BH", "BACKWARDS", "RAGGED", "PHASE")
        return self._text("scan", ("T", "B", "SPAN"), constants, body)

    def carry_kernel(self) -> KernelText:
        """The kernel between the phases of spans."""
        body = [*self._program(), *self._starts(), "zero = tl.full((), 0, tl.int64)"]
        loop: list[str] = []
        for names, place in zip(self.names, self._places("k"), strict=True):
            count = names.count
            for row, column in names.pairs():
                loop.append(f"{names.totals[row][column]} = tl.load({place(row * count + column)}{self.filled})")
            for row in range(count):
                loop.append(f"{names.offsets[row]} = tl.load({place(count * count + row)}{self.filled})")
                loop.append(f"tl.store({place(count * count + row)}, {names.carries[row]}{self.masked})")
            # one assignment of all: each of the new values needs all of the old ones
            after = [
                _moved(names.offsets[row], zip(names.totals[row], names.carries, strict=True)) for row in range(count)
            ]
            loop.append(f"{', '.join(names.carries)} = {', '.join(after)}")
        body += ["for k in range(N):", *indented(loop)]
        return self._text("carry", ("N", "B"), ("A", "BH"), body)

    def _text(self, role: str, numbers: Sequence[str], constants: Sequence[str], body: Sequence[str]) -> KernelText:
        name = self.writer.names.take(f"{role}_{identifier(self.scan.name)}")
        parameters = [
            f"{parameter},  # {argument.kind} {argument.name}" for argument, parameter in self.writer.arguments.items()
        ]
        parameters.append(f"{', '.join(numbers)}, {', '.join(f'{constant}: tl.constexpr' for constant in constants)},")
        shapes = {argument.name: self.scan.shape for argument in self.writer.arguments}
        shapes |= {source.array: value.shape for value, source in self._sources()}
        head = [jit_line(numbers, self.writer.unaligned(shapes)), f"def {name}(", *indented(parameters), "):"]
        joins = sorted({names.count for names in self.names}) if role == "scan" else []
        functions = [*_PRODUCTS.splitlines(), "", "", *(line for count in joins for line in _join(count))]
        text = self.writer.text([*functions, *head], body)
        return KernelText(name, text, tuple(self.writer.arguments))

    def _program(self) -> Iterator[str]:
        """Which row and features a program of the grid has."""
        yield "row = tl.program_id(0).to(tl.int64)"
        for axis in self.writer.axes.values():
            yield f"{axis.index} = tl.program_id(1) * BH + tl.arange(0, BH)"
            yield f"{axis.mask} = {axis.index} < {axis.size}"

    def _earlier(self) -> Iterator[str]:
        """Of each step of a chunk the one before it."""
        if self.scan.shifted:
            yield f"earlier = tl.broadcast_to(tl.maximum(steps - 1, 0)[:, None], (C, {self.width}))"

    def _starts(self) -> Iterator[str]:
        """The states before the first step: those that are given, or zeros."""
        carries = [carry for names in self.names for carry in names.carries]
        for state, carry in zip(self.scan.states, carries, strict=True):
            start = self.writer.pointer(ArgumentKind.START, state.name)
            yield f"{carry} = tl.zeros(({self.width},), A)"
            yield f"if {start} is not None:"
            yield from indented([f"{carry} = tl.load({start} + row * {self.size} + {self.lanes}{self.filled}).to(A)"])

    def _carries_in(self) -> Iterator[str]:
        """What a program begins with: the states before its first step, and slopes of no step."""
        yield from self._starts()
        yield f"if PHASE == {ScanPhase.RESULTS:d}:"
        for names, place in zip(self.names, self._places("span"), strict=True):
            for row, carry in enumerate(names.carries):
                yield from indented([f"{carry} = tl.load({place(names.count**2 + row)}{self.filled})"])
        yield f"if PHASE == {ScanPhase.TOTALS:d}:"
        for names in self.names:
            for row, column in names.pairs():
                unit = f"tl.full(({self.width},), {float(row == column)}, A)"
                yield from indented([f"{names.totals[row][column]} = {unit}"])
            yield from indented(f"{carry} = tl.zeros(({self.width},), A)" for carry in names.carries)
        yield f"if PHASE != {ScanPhase.TOTALS:d} and span == 0:"
        yield from indented(self._slot_of_starts())
        for name in self.largest:
            yield f"{name} = tl.zeros(({self.width},), A)"

    def _slot_of_starts(self) -> Iterator[str]:
        """The states before the first step are kept as the others are."""
        yield f"first = ((zero + (n if BACKWARDS else 0)) * B + row) * {self.size}"
        carries = [carry for names in self.names for carry in names.carries]
        for state, carry in zip(self.scan.states, carries, strict=True):
            pointer = self.writer.pointer(ArgumentKind.STATE, state.name)
            yield f"tl.store({pointer} + first + {self.lanes}, {carry}{self.masked})"

    def _totals_out(self) -> Iterator[str]:
        """What a program ends with: slopes and offsets of its span, or the largest magnitudes that it met."""
        yield f"if PHASE == {ScanPhase.TOTALS:d}:"
        for names, place in zip(self.names, self._places("span"), strict=True):
            values = [names.totals[row][column] for row, column in names.pairs()] + names.carries
            yield from indented(f"tl.store({place(i)}, {value}{self.masked})" for i, value in enumerate(values))
        if self.largest:
            yield "else:"
        for name, magnitude in zip(self.largest, self.scan.magnitudes, strict=True):
            pointer = self.writer.pointer(ArgumentKind.ROW, magnitude.array)
            place = f"{pointer} + (span * B + row) * {self.size} + {self.lanes}"
            yield from indented([f"tl.store({place}, {name}{self.masked})"])

    def _places(self, span: str) -> Iterator["_Place"]:
        """For each scan, where its numbers are in `spans`."""
        first = 0
        for names in self.names:
            pointer = self.writer.pointer(SPANS.kind, SPANS.name)
            yield _Place(
                f"{pointer} + (((zero + {span}) * {self.scan.span_values}", first, f"{self.size} + {self.lanes}"
            )
            first += names.count * (names.count + 1)

    def _sources(self) -> Iterator[tuple[Var, ScanSource]]:
        return ((value, self.scan.sources[value.name]) for value in self.scan.loads())

    def _loads(self, shared: list[str]) -> Iterator[str]:
        """The values of a chunk's steps; lines that load what all steps share go to `shared`."""
        for value, source in self._sources():
            if source.kind is ArgumentKind.SHARED:
                self.writer.shared_vector(value, shared)
                continue
            pointer = self.writer.pointer(source.kind, source.array)
            if source.kind is ArgumentKind.SEEDS:
                address = f"{pointer} + at + {self.writer.tile_offsets(())}"
                seeds = f"tl.load({address}, mask=active[:, None], other=0)"
                self.writer.lines.clear()
                self.writer.random(value, seeds, source.probability)
                yield from self.writer.lines
                continue
            slot = source.kind is ArgumentKind.STATE
            address = self._address(pointer, value, _slot(source.is_after) if slot else "")
            mask = self.writer.tile_mask(value.shape, "active")
            yield from self._set(value, f"tl.load({address}, mask={mask}, other=0.0).to(A)", padding=0.0)

    def _address(self, pointer: str, value: Var, slot: str = "") -> str:
        line = f"(at + {slot})" if slot else "at"
        line += f" * {self.size}" if value.shape else ""
        return f"{pointer} + {line} + {self.writer.tile_offsets(value.shape)}"

    def _set(self, value: Var, text: str, padding: float | None) -> list[str]:
        """The line that gives a value its name."""
        self.writer.lines.clear()
        self.writer.set(value, text, padding=padding, comment=value.name)
        return list(self.writer.lines)

    def _coefficients(self) -> Iterator[str]:
        """The equations of the stage; then slopes and offsets, such that steps which are not taken change nothing."""
        writer = self.writer
        writer.lines.clear()
        writer.equations(self.scan.stage, self.scan.after)
        yield from list(writer.lines)
        for part, names in zip(self.scan.scans, self.names, strict=True):
            for row, column in names.pairs():
                slope = writer.whole(part.slopes[row][column], self.scan.shape)
                yield f"{names.slopes[row][column]} = tl.where(active[:, None], {slope}, {float(row == column)})"
            for row, name in enumerate(names.offsets):
                offset = writer.whole(part.offsets[row], self.scan.shape)
                yield f"{name} = tl.where(active[:, None], {offset}, 0.0)"

    def _scans(self) -> Iterator[str]:
        """The scans of a chunk. The states that are carried go into the offset of its first step."""
        for part, names in zip(self.scan.scans, self.names, strict=True):
            rows = range(names.count)
            for row, name in enumerate(names.offsets):
                carried = (f"{names.slopes[row][k]} * {names.carries[k]}[None, :]" for k in rows)
                yield f"{name} = tl.where(steps[:, None] == 0, {' + '.join([*carried, name])}, {name})"
            joined = ", ".join([*(name for row in names.slopes for name in row), *names.offsets])
            yield f"{joined} = tl.associative_scan(({joined}), 0, join_{names.count})"
            for target, name in zip(part.targets, names.offsets, strict=True):
                yield from self._set(target, name, padding=None)
            yield from self._shifted(part, names)
            yield from (f"{carry} = {_last(name)}" for carry, name in zip(names.carries, names.offsets, strict=True))
            yield f"if PHASE == {ScanPhase.TOTALS:d}:"
            products = [
                " + ".join(f"product({_last(names.slopes[row][k])}, {names.totals[k][column]})" for k in rows)
                for row, column in names.pairs()
            ]
            totals = ", ".join(names.totals[row][column] for row, column in names.pairs())
            yield from indented([f"{totals} = {', '.join(products)}"])

    def _shifted(self, part: CoupledScan, names: _ScanNames) -> Iterator[str]:
        """The states of a scan as they were before each step of the chunk."""
        for state, carry, target in zip(part.states, names.carries, part.targets, strict=True):
            if state in self.scan.shifted:
                above = f"tl.gather({self.writer.whole(target, self.scan.shape)}, earlier, 0)"
                yield from self._set(state, f"tl.where(steps[:, None] == 0, {carry}[None, :], {above})", padding=None)

    def _results(self) -> Iterator[str]:
        """What follows from the states, what is stored of a chunk, and its largest magnitudes."""
        yield f"if PHASE != {ScanPhase.TOTALS:d}:"
        self.writer.lines.clear()
        stage = self.scan.stage
        self.writer.equations(Stage(stage.axis, (), self.scan.after, stage.stores))
        yield from indented(list(self.writer.lines))
        yield from indented(self._stored(store) for store in self.scan.stage.stores)
        for name, magnitude in zip(self.largest, self.scan.magnitudes, strict=True):
            value, less = self.writer.whole(magnitude.value, self.scan.shape), magnitude.less
            changed = f" - {self.writer.whole(less, self.scan.shape)}" if less else ""
            yield f"size = tl.abs({value}{changed})"
            yield 'size = tl.where(size == size, size, float("inf"))  # a maximum passes over NaN'
            yield f"{name} = tl.maximum({name}, tl.max(tl.where(active[:, None], size, 0.0), 0))"

    def _stored(self, store: Store) -> str:
        is_state = store.storage is Storage.STATE
        value = Var(store.name, self.scan.shape if is_state else store.value.shape)
        pointer = self.writer.pointer(ArgumentKind.STATE if is_state else ArgumentKind.SEQUENCE, store.name)
        address = self._address(pointer, value, _slot(is_after=True) if is_state else "")
        mask = self.writer.tile_mask(value.shape, "active")
        return f"tl.store({address}, {self.writer.whole(store.value, value.shape)}, mask={mask})"


class _Place:
    """Where numbers of one scan and span are in `spans`."""

    def __init__(self, span: str, first: int, lanes: str) -> None:
        self.span, self.first, self.lanes = span, first, lanes

    def __call__(self, index: int) -> str:
        return f"{self.span} + {self.first + index}) * B + row) * {self.lanes}"


def _slot(is_after: bool) -> str:
    """From step t to a slot of its states: forwards t is before it and t + 1 after it; backwards they are exchanged."""
    return "(0 if BACKWARDS else B)" if is_after else "(B if BACKWARDS else 0)"


def _last(name: str) -> str:
    """The last step of a chunk: of those that are not taken, each holds what the last that is taken holds."""
    return f"tl.sum(tl.where(steps[:, None] == C - 1, {name}, 0.0), 0)"


_PRODUCTS = '''@triton.jit
def moved(offset, slope, state):
    """offset + slope * state. The slope of many steps may be infinite where a state is 0: it stays 0."""
    return tl.where((state == 0.0) & (slope == slope), offset, slope * state + offset)


@triton.jit
def product(second, first):
    """The slope of two steps: 0 where one is 0 and the other has become infinite."""
    both = second * first
    return tl.where((both != both) & (second == second) & (first == first), 0.0, both)'''


def _moved(offset: str, terms: Iterable[tuple[str, str]]) -> str:
    """An offset plus slopes times states."""
    return reduce(lambda total, term: f"moved({total}, {term[0]}, {term[1]})", terms, offset)


def _join(count: int) -> list[str]:
    """The function that makes one step of two: slopes a and offsets b of the first, c and d of the second."""
    rows = range(count)
    pairs = [(row, column) for row in rows for column in rows]
    parameters = [f"a{row}{column}" for row, column in pairs] + [f"b{row}" for row in rows]
    parameters += [f"c{row}{column}" for row, column in pairs] + [f"d{row}" for row in rows]
    slopes = [" + ".join(f"product(c{row}{k}, a{k}{column})" for k in rows) for row, column in pairs]
    offsets = [_moved(f"d{row}", ((f"c{row}{k}", f"b{k}") for k in rows)) for row in rows]
    body = ['"""Two steps as one, the second after the first: slopes and offsets."""']
    body.append(f"return {', '.join([*slopes, *offsets])}")
    return ["@triton.jit", f"def join_{count}({', '.join(parameters)}):", *indented(body), "", ""]
