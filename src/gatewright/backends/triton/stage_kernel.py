"""One kernel for one or several stages of a Program: over the rows of one step, or over the lines of all steps.

A line is one row of one step; lines are numbered by step, then by row, as sequences lie in memory. A program of the
grid computes a tile of rows or lines. Along the features it has a tile of one axis, or whole axes, which reductions
need.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from gatewright.axes import Shape
from gatewright.backends.triton.kernel_text import LENGTHS, Argument, ArgumentKind, KernelText, jit_line
from gatewright.backends.triton.meaning import loaded_comment, product_text
from gatewright.backends.triton.value_places import ValuePlace, copied_place, place_of, product_argument, stored_place
from gatewright.backends.triton.writer import KernelWriter, indented, padded
from gatewright.lang.ops import Op
from gatewright.schedule.program import Product, Program, Stage, Storage, Store, Term, operands
from gatewright.trace.ir import Var

WIDEST_WHOLE_AXIS = 2048
"""A wider axis is not held whole next to other values of a stage: too many registers. It is reduced by itself."""
REDUCED_AT_A_TIME = 128
PRECISION_CONSTANTS = ("A", "D", "P", "EMULATED")
TIME_CONSTANTS = ("BACKWARDS", "RAGGED")
# What the kernels call their own variables. They are taken before any value gets a name.
VARIABLES = (
    "table", "step", "steps", "s", "first", "line", "active", "busy", "lead", "before", "after", "k", "in_k", "start",
    "own", "tile", "goal", "counter", "counters", "lengths", "length", "G", "ALIGNMENT", "grid_barrier", "mask",
    "value", "feature", "in_batch", "even", "odd", "copy", "copy_before", "copy_after",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class StageGroup:
    """Stages that one kernel computes.

    - `whole`: a program has whole axes, so that stages follow each other in registers. Otherwise the group is one
      stage, and a program has a tile of its axis.
    """

    stages: tuple[Stage, ...]
    whole: bool

    @property
    def products(self) -> tuple[Product, ...]:
        """All products of the group, in order."""
        return tuple(product for stage in self.stages for product in stage.products)

    def axes(self) -> tuple[str, ...]:
        """The axes of what is computed, reduced and read unit by unit; not those along which products add up."""
        names = [value.shape[0] for stage in self.stages for value in _unit_by_unit(stage) if value.shape]
        names += [stage.axis for stage in self.stages if stage.axis]  # of a stage that stores numbers alone
        return tuple(dict.fromkeys(names))


def _unit_by_unit(stage: Stage) -> Iterator[Var]:
    """Every value of a stage but the vectors that it multiplies."""
    for work in stage.works():
        yield work.target
        yield from (value for value in operands(work) if isinstance(value, Var) and not isinstance(work, Product))
    yield from (store.value for store in stage.stores if isinstance(store.value, Var))


def stage_groups(stages: Sequence[Stage], sizes: Mapping[str, int], *, products_loaded: bool) -> tuple[StageGroup, ...]:
    """The stages of a pass as kernels, in order.

    A stage without products joins the kernel before it where a program can hold whole axes: that saves a launch and
    the way through memory. A stage with products begins a kernel: its vectors must be complete. Where products are
    not loaded but accumulated, it also is a kernel of its own.

    Raises ValueError for a stage with scans, which another kernel computes.
    """
    groups: list[StageGroup] = []
    for stage in stages:
        if stage.scans:
            raise ValueError("a stage with scans has another kernel")
        last = groups[-1] if groups and not stage.products else None
        if last and (products_loaded or not last.products) and _fits((*last.stages, stage), sizes):
            groups[-1] = StageGroup((*last.stages, stage), whole=True)
        else:
            # reductions need whole axes; of vectors there are more programs with tiles
            groups.append(StageGroup((stage,), whole=stage.axis is None))
    return tuple(groups)


def _fits(stages: tuple[Stage, ...], sizes: Mapping[str, int]) -> bool:
    return all(sizes[axis] <= WIDEST_WHOLE_AXIS for axis in StageGroup(stages, whole=True).axes())


def needed_elsewhere(groups: Sequence[StageGroup], group: StageGroup, copied: Collection[Argument]) -> set[str]:
    """The names of all values that other groups than this one read; of `copied` arrays products read the copies."""
    others = [stage for other in groups if other is not group for stage in other.stages]
    vectors = {term.vector.name for stage in others for product in stage.products for term in product.terms}
    copies = {argument.name for argument in copied}
    return {value.name for stage in others for value in _unit_by_unit(stage)} | (vectors - copies)


class StageWriter:
    """Writes the stages of a group. Its lines use these variables of the kernel:

    - `rows`: the rows of the tile, counted from a line; `active`: which of them are computed;
    - `lead`: that line in sequences; `before` and `after`: in states, in the slots before and after the step;
      `copy_before` and `copy_after`: in copies of states. Arrays of one step are counted from their first row;
    - the features of each axis, see `feature_lines`.
    """

    def __init__(
        self,
        program: Program,
        sizes: Mapping[str, int],
        *,
        products_loaded: bool = False,
        copied: Collection[Argument] = (),
        volatile: Collection[Argument] = (),
    ) -> None:
        """Products read copies of the `copied` arrays, and what is stored there is stored in the copy too. `volatile`
        arrays are written by other programs of the same launch: the L1 cache is not asked for them."""
        self.program = program
        self.products_loaded, self.copied, self.volatile = products_loaded, frozenset(copied), frozenset(volatile)
        self.kernel = KernelWriter(sizes)
        for variable in VARIABLES:
            self.kernel.names.take(variable)

    def group_lines(self, group: StageGroup, kept: Collection[str]) -> list[str]:
        """The lines of a group. Of what is kept within a step only the values named in `kept` are stored."""
        kernel = self.kernel
        kernel.lines, kernel.tiles, kernel.axes, kernel.offsets = [], {}, {}, {}
        for axis in group.axes():
            kernel.axis(axis, "" if group.whole else "BN")
        for stage in group.stages:
            computed = {work.target.name for work in stage.works()}
            # loads come before the loop over the terms of sums, so that their time passes beside it
            for value in _unit_by_unit(stage):
                if value.name not in computed and value.name not in kernel.tiles:
                    self._load(value)
            self._products(stage)
            for reduction in stage.reductions:
                kernel.reduction(reduction)
            kernel.equations(stage)
            for store in stage.stores:
                self._store(store, kept)
        return kernel.lines

    def reduction_lines(self, stage: Stage) -> list[str]:
        """The lines of a stage of reductions, which reads vectors in pieces: any size fits."""
        kernel = self.kernel
        kernel.lines, kernel.tiles, kernel.axes, kernel.offsets = [], {}, {}, {}
        for reduction in stage.reductions:
            size = kernel.sizes[reduction.vector.shape[0]]
            depth = f"{min(padded(size), REDUCED_AT_A_TIME)}"
            kernel.set(reduction.target, "tl.zeros((BM, 1), A)", comment=f"{reduction.op}({reduction.vector.name})")
            total = kernel.tiles[reduction.target.name].text
            body = [f"k = start + tl.arange(0, {depth})", f"in_k = k < {size}"]
            chunk = self._chunk_of_vector(reduction.vector, size, body)
            body.append(f"{total} += tl.sum({chunk}.to(A), 1)[:, None]")
            kernel.lines += [f"for start in range(0, {size}, {depth}):", *indented(body)]
            if reduction.op is Op.MEAN:
                kernel.lines.append(f"{total} /= {size}")
        lines = kernel.lines
        kernel.lines = []
        for store in stage.stores:
            self._store(store, {store.name})
        offsets = [f"{name} = {kernel.offset_text(shape)}" for shape, name in kernel.offsets.items()]
        return [*lines, *offsets, *kernel.lines]

    def feature_lines(self, group: StageGroup, tile: str) -> list[str]:
        """What defines the features of a program; `tile` is the number of its tile where axes are not whole."""
        if group.whole:
            return list(self.kernel.index_lines())
        lines: list[str] = []
        for axis in self.kernel.axes.values():
            lines += [f"{axis.index} = {tile} * BN + tl.arange(0, BN)", f"{axis.mask} = {axis.index} < {axis.size}"]
        return [*lines, *(f"{name} = {self.kernel.offset_text(shape)}" for shape, name in self.kernel.offsets.items())]

    def address(self, place: ValuePlace, shape: Shape) -> str:
        """Where a tile of an array is. The offset of its first line has 64 bits, those within the tile have 32."""
        size = f" * {self.kernel.axis(shape[0]).size}" if shape else ""
        lead = f" + {place.lead}{size}" if place.lead else ""
        return f"{self._pointer(place.argument)}{lead} + {self.kernel.tile_offsets(shape)}"

    def _pointer(self, argument: Argument) -> str:
        return self.kernel.pointer(argument.kind, argument.name)

    def _cache(self, argument: Argument) -> str:
        return ', cache_modifier=".cg"' if argument in self.volatile else ""

    def _load(self, value: Var) -> None:
        place = place_of(self.program, value.name)
        if place.argument.kind is ArgumentKind.SHARED:
            self.kernel.shared_vector(value, self.kernel.lines)
        elif place.argument.kind is ArgumentKind.SEEDS:
            address = f"{self._pointer(place.argument)} + {place.lead} + rows[:, None]"
            seeds = f"tl.load({address}, mask=active[:, None], other=0)"
            self.kernel.random(value, seeds, self.program.probability(value.name))
        else:
            self._load_from(place, value)

    def _load_from(self, place: ValuePlace, value: Var) -> None:
        mask = self.kernel.tile_mask(value.shape, "active")
        text = f"tl.load({self.address(place, value.shape)}, mask={mask}, other=0.0{self._cache(place.argument)}).to(A)"
        self.kernel.set(value, text, comment=loaded_comment(self.program, value.name))

    def _store(self, store: Store, kept: Collection[str]) -> None:
        place, shape = stored_place(self.program, store)
        mask = self.kernel.tile_mask(shape, "active")
        whole = self.kernel.whole(store.value, shape)
        if store.storage is not Storage.ROW or store.name in kept:
            self.kernel.lines.append(f"tl.store({self.address(place, shape)}, {whole}, mask={mask})")
        if place.argument in self.copied:
            self.kernel.functions.add("narrowed")
            address = self.address(copied_place(place), shape)
            self.kernel.lines.append(f"tl.store({address}, narrowed({whole}, D, P, EMULATED), mask={mask})")

    def _products(self, stage: Stage) -> None:
        if self.products_loaded:
            for product in stage.products:
                self._load_from(ValuePlace(product_argument(product), "lead"), product.target)
            return
        for product in stage.products:
            self.kernel.set(product.target, "tl.zeros((BM, BN), A)", comment=product_text(product))
        # one loop an axis, so that a vector is loaded once for all of its matrices
        axes = dict.fromkeys(term.vector.shape[0] for product in stage.products for term in product.terms)
        for axis in axes:
            self._accumulate(stage, axis)

    def _accumulate(self, stage: Stage, axis: str) -> None:
        """Add up the terms of a stage's products whose vectors lie along an axis."""
        size = self.kernel.sizes[axis]
        most = padded(size)
        depth = f"(BK if BK < {most} else {most})"  # min() is no constant to Triton 3.4
        body: list[str] = []
        chunks: dict[str, str] = {}
        for product in stage.products:
            total = self.kernel.tiles[product.target.name].text
            for term in (term for term in product.terms if term.vector.shape[0] == axis):
                if term.vector.name not in chunks:
                    chunks[term.vector.name] = self._chunk_of_vector(term.vector, size, body, multiplied=True)
                matrix = self._chunk_of_matrix(term, product.target.shape[0])
                body.append(f"{total} = product({chunks[term.vector.name]}, {matrix}, {total}, A, D, P, EMULATED)")
        self.kernel.functions.add("product")
        self.kernel.lines += [
            f"for start in range(0, {size}, {depth}):",
            *indented([f"k = start + tl.arange(0, {depth})", f"in_k = k < {size}", *body]),
        ]

    def _chunk_of_vector(self, vector: Var, size: int, body: list[str], *, multiplied: bool = False) -> str:
        place = place_of(self.program, vector.name)
        place = copied_place(place) if multiplied and place.argument in self.copied else place
        name = self.kernel.names.of(vector.name, "chunk")
        lead = f" + {place.lead} * {size}" if place.lead else ""
        address = f"{self._pointer(place.argument)}{lead} + (rows[:, None] * {size} + k[None, :])"
        mask = "active[:, None] & in_k[None, :]"
        body.append(f"{name} = tl.load({address}, mask={mask}, other=0.0{self._cache(place.argument)})")
        return name

    def _chunk_of_matrix(self, term: Term, axis: str) -> str:
        """The load of a piece of a matrix: (terms of the sum, features), whichever way the matrix lies in memory."""
        columns = self.kernel.sizes[self.program.shapes[term.matrix][1]]
        features = self.kernel.axis(axis)
        terms, units = "k[:, None]", f"{features.index}[None, :]"
        offsets = f"{terms} * {columns} + {units}" if term.transposed else f"{units} * {columns} + {terms}"
        pointer = self.kernel.pointer(ArgumentKind.SHARED, term.matrix)
        loaded = f"tl.load({pointer} + ({offsets}), mask=in_k[:, None] & {features.mask}[None, :], other=0.0)"
        self.kernel.functions.add("narrowed")
        return f"narrowed({loaded}, D, P, EMULATED)"


def lines_text(program: Program, group: StageGroup, sizes: Mapping[str, int], name: str) -> KernelText:
    """The kernel of a group of a pass before, of or after scans: over the lines of all steps. Products are loaded.

    Its grid is (tiles of lines, tiles of features). It takes the pointers in `arguments`, T, B, and the constants A, D,
    P, EMULATED, BACKWARDS, RAGGED, BM, BN. LENGTHS is None where not RAGGED.
    """
    writer = StageWriter(program, sizes, products_loaded=True)
    lines = writer.group_lines(group, frozenset())
    kernel = writer.kernel
    pointers = [*kernel.arguments.values(), "lengths"]
    numbers = ["T", "B", *constants(*PRECISION_CONSTANTS, *TIME_CONSTANTS, "BM", "BN")]
    body = [
        "first = tl.program_id(0).to(tl.int64) * BM",
        "rows = tl.arange(0, BM)",
        "line = first + rows",
        "active = line < tl.cast(T, tl.int64) * B",
        "if RAGGED:",
        "    active = active & (line // B < tl.load(lengths + line % B, mask=active, other=0))",
        "lead = first",
        "before = first + B if BACKWARDS else first",
        "after = first if BACKWARDS else first + B",
        *writer.feature_lines(group, "tl.program_id(1)"),
        *lines,
    ]
    products = {product_argument(product).name: product.target.shape for product in group.products}
    head = kernel_head(name, pointers, numbers, kernel.unaligned({**program.shapes, **products}))
    return KernelText(name, kernel.text(head, body), (*kernel.arguments, LENGTHS))


def kernel_head(name: str, pointers: Sequence[str], numbers: Sequence[str], unaligned: Iterable[str] = ()) -> list[str]:
    """The lines that declare a kernel."""
    plain = (number for number in numbers if ":" not in number)
    lines = [*(f"{pointer}," for pointer in pointers), f"{', '.join(numbers)},"]
    return [jit_line(plain, unaligned), f"def {name}(", *indented(lines), "):"]


def constants(*names: str) -> list[str]:
    """Parameters of a kernel that are known when it is compiled."""
    return [f"{name}: tl.constexpr" for name in names]
