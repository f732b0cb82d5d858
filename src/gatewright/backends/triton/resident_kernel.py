"""The resident form: the whole loop of a Program in one kernel.

A program of the grid has a tile of rows and takes them through all steps. It reads the matrices once, before the loop;
states and all values of a step stay in registers. It fits where the matrices fit into the memory of one processor.
"""

from collections.abc import Iterator, Mapping

from gatewright.backends.triton.kernel_text import ArgumentKind, KernelText, jit_line
from gatewright.backends.triton.meaning import loaded_comment, product_text
from gatewright.backends.triton.writer import KernelAxis, KernelWriter, indented, single_vectors
from gatewright.schedule.program import Product, Program, Stage, Storage, Term
from gatewright.trace.ir import Literal, Var

# With three stages the loads of a step are under way, into shared memory, while the step before it is computed, and its
# values come from there in the layout of the products, without the barriers that a change of layout takes (24 a step
# become 14 in a GRU's gradient). With two stages Triton keeps one buffer, so that a load begins only when the step
# before has ended: worse than none. The loop stores to no array that it loads from, so that a load may be that early.
LOOP = ("for step in tl.range(steps, num_stages=STAGES):",)
CONSTANTS = ("BACKWARDS", "RAGGED", "BM", "A", "D", "P", "EMULATED")

_POINTED_TO = {
    ArgumentKind.SEQUENCE: (("T", "B"), "{}"),
    ArgumentKind.SEEDS: (("T", "B"), "what {} is drawn from"),
    ArgumentKind.STATE: (("T + 1", "B"), "{} before and after every step"),
    ArgumentKind.START: (("B",), "{} before the first step, or None"),
    ArgumentKind.SHARED: ((), "{}"),
    ArgumentKind.LENGTHS: (("B",), "the steps that each row takes, or None"),
}


def resident_text(program: Program, sizes: Mapping[str, int]) -> KernelText:
    """The kernel of a Program's loop.

    It takes the pointers in `arguments`, then T and B, then the constants BACKWARDS, RAGGED, BM (rows a program), A, D,
    P, EMULATED and STAGES (1: no load is ahead of its step); its grid is (ceil(B / BM),). A START may be None: the
    state is zero then. LENGTHS is None where not RAGGED. The kernel writes the start of each state that the loop
    carries into its slot of STATE.
    """
    unclean: frozenset[str] = frozenset()
    while True:
        # the padded lanes of a state are 0 before the first step; they stay so if every step makes 0 of 0
        writer = _ResidentWriter(program, sizes, unclean)
        text = writer.text()
        if writer.unclean_states() <= unclean:
            return text
        unclean |= writer.unclean_states()


class _ResidentWriter:
    def __init__(self, program: Program, sizes: Mapping[str, int], unclean: frozenset[str]) -> None:
        self.program = program
        self.unclean = unclean  # states about whose padded lanes nothing is known
        self.writer = KernelWriter(sizes)
        self.once: list[str] = []  # before the loop
        self.loads: list[str] = []  # first in each step
        self.matrices: dict[tuple[str, bool], str] = {}
        stores = [store for stage in program.loop for store in stage.stores if store.storage is Storage.STATE]
        self.next = {store.name: store.value for store in stores}
        self.carried = [state for state in program.trace.states if state.name in self.next]

    def text(self) -> KernelText:
        """Write all parts down, each after what it needs."""
        writer = self.writer
        starts = [line for state in self.carried for line in self._start(state)]
        for stage in self.program.loop:
            self._stage(stage)
        advances = list(self._advances())
        lengths = writer.pointer(ArgumentKind.LENGTHS, "lengths")
        step = [
            "t = steps - 1 - step if BACKWARDS else step",
            "at = tl.cast(t, tl.int64) * B  # rows of an array in front of this step",
            "active = in_batch & (t < length) if RAGGED else in_batch",
            *self.loads,
            *writer.lines,
            *advances,
        ]
        body = [*_rows(lengths), *writer.index_lines(), *self.once, *starts, *LOOP]
        name = writer.names.of(self.program.trace.name, "loop")
        decorator = jit_line(["T", "B"], writer.unaligned(self.program.shapes))
        head = [decorator, f"def {name}(", *indented(self._parameters()), "):"]
        return KernelText(name, writer.text(head, [*body, *indented(step)]), tuple(writer.arguments), {"STAGES": 3})

    def _parameters(self) -> Iterator[str]:
        """A line for each pointer, which says what it points to."""
        sizes = self.writer.sizes
        for argument, parameter in self.writer.arguments.items():
            axes = () if argument.kind is ArgumentKind.SEEDS else self.program.shapes.get(argument.name, ())
            shape = tuple(str(sizes[axis]) for axis in axes)
            lead, comment = _POINTED_TO[argument.kind]
            about = loaded_comment(self.program, argument.name)
            yield f"{parameter},  # {comment.format(about)}: ({', '.join((*lead, *shape))})"
        yield f"T, B, {', '.join(f'{name}: tl.constexpr' for name in CONSTANTS)},"
        yield "STAGES: tl.constexpr = 3,"

    def unclean_states(self) -> frozenset[str]:
        """The states whose new values may be other than 0 in padded lanes."""
        news = {state: self.writer.atom(value) for state, value in self.next.items()}
        return frozenset(state for state, new in news.items() if new.padding != 0.0)

    def _start(self, state: Var) -> Iterator[str]:
        """Load a state before the first step, or begin with zeros; write it into its slot."""
        writer = self.writer
        name = writer.names.of(state.name)
        start = writer.pointer(ArgumentKind.START, state.name)
        slots = writer.pointer(ArgumentKind.STATE, state.name)
        offsets, mask = writer.tile_offsets(state.shape), writer.tile_mask(state.shape, "in_batch")
        size, width = self._extent(state)
        yield f"if {start} is None:"
        yield f"    {name} = tl.zeros((BM, {width}), A)"
        yield "else:"
        yield f"    {name} = tl.load({start} + {offsets}, mask={mask}, other=0.0).to(A)"
        yield f"tl.store({slots} + first * {size} + {offsets}, {name}, mask={mask})"
        writer.tiles[state.name] = writer.named(name, state, None if state.name in self.unclean else 0.0)

    def _extent(self, value: Var) -> tuple[int, str]:
        """The number of features of a row, and of lanes."""
        if not value.shape:
            return 1, "1"
        axis = self.writer.axis(value.shape[0])
        return axis.size, axis.width

    def _stage(self, stage: Stage) -> None:
        writer = self.writer
        stored = [store.value for store in stage.stores if isinstance(store.value, Var)]
        own = {work.target.name for work in stage.works()}
        for value in (*single_vectors(stage.works()), *(value for value in stored if value.name not in own)):
            if value.name not in writer.tiles:
                self._load(value)
        for product in stage.products:
            self._product(product)
        for reduction in stage.reductions:
            writer.reduction(reduction)
        writer.equations(stage)
        for store in stage.stores:
            if store.storage is Storage.SEQUENCE:
                shape = self.program.shapes[store.name]
                offsets, mask = writer.tile_offsets(shape), writer.tile_mask(shape, "active")
                size, _ = self._extent(Var(store.name, shape))
                pointer = writer.pointer(ArgumentKind.SEQUENCE, store.name)
                value = writer.whole(store.value, shape)
                writer.lines.append(f"tl.store({pointer} + at * {size} + {offsets}, {value}, mask={mask})")

    def _load(self, value: Var) -> None:
        """A value that is not computed in the loop."""
        writer, storage = self.writer, self.program.storage[value.name]
        if storage is Storage.SHARED:
            writer.shared_vector(value, self.once)
            return
        if storage is Storage.RANDOM:
            self._draw(value)
            return
        kind, source, shift = ArgumentKind.SEQUENCE, value.name, "at"
        if storage is Storage.STATE:  # known before the loop: a scan has computed it
            kind, shift = ArgumentKind.STATE, "(at + B if BACKWARDS else at)"
        elif storage is Storage.NEW:
            kind, source, shift = (
                ArgumentKind.STATE,
                self.program.new_values[value.name],
                "(at if BACKWARDS else at + B)",
            )
        pointer = writer.pointer(kind, source)
        offsets, mask = writer.tile_offsets(value.shape), writer.tile_mask(value.shape, "active")
        size, _ = self._extent(value)
        name = writer.names.of(value.name)
        comment = loaded_comment(self.program, value.name)
        self.loads.append(
            f"{name} = tl.load({pointer} + {shift} * {size} + {offsets}, mask={mask}, other=0.0).to(A)  # {comment}"
        )
        writer.tiles[value.name] = writer.named(name, value)

    def _draw(self, value: Var) -> None:
        """A random value, from the seeds of a step."""
        writer = self.writer
        pointer = writer.pointer(ArgumentKind.SEEDS, value.name)
        seeds = writer.names.of(value.name, "seeds")
        self.loads.append(
            f"{seeds} = tl.load({pointer} + at + {writer.tile_offsets(())}, mask=active[:, None], other=0)"
        )
        writer.random(value, seeds, self.program.probability(value.name))

    def _matrix(self, term: Term) -> str:
        """The tile of a matrix, read once; its lines are what the vector has, its lanes what the product has."""
        key = (term.matrix, term.transposed)
        if key not in self.matrices:
            name = self.writer.names.of(term.matrix, "transposed" if term.transposed else "")
            self.once.append(self._matrix_line(term, name))
            self.matrices[key] = name
        return self.matrices[key]

    def _matrix_line(self, term: Term, name: str) -> str:
        writer = self.writer
        units, features = (writer.axis(axis) for axis in self.program.shapes[term.matrix])
        pointer = writer.pointer(ArgumentKind.SHARED, term.matrix)
        unit, feature = f"{units.index}[None, :]", f"{features.index}[:, None]"
        if term.transposed:
            feature = f"{self._scattered(features)}[:, None]"
        masks = [f"{axis.mask}{place}" for axis, place in ((features, "[:, None]"), (units, "[None, :]")) if axis.mask]
        masked = f", mask={' & '.join(masks)}, other=0.0" if masks else ""
        tile = f"tl.load({pointer} + {unit} * {features.size} + {feature}{masked})"
        writer.functions.add("narrowed")
        if term.transposed:
            return f"{name} = narrowed(tl.trans({tile}), D, P, EMULATED)  # {term.matrix}.T"
        return f"{name} = narrowed({tile}, D, P, EMULATED)  # {term.matrix}"

    def _scattered(self, axis: KernelAxis) -> str:
        """The features of an axis, for a matrix that is read across its rows.

        A tensor core takes float32 operands from shared memory by one instruction for four numbers only where numbers
        that are added up lie side by side. They do if Triton does not know that the other axis is the contiguous one:
        428 instructions instead of 500 in a step of a GRU's gradient (sm_90, H = 64, tf32). For 16 bits there is an
        instruction that transposes, and the matrix is read as it lies.
        """
        name = self.writer.names.of(axis.name, "scattered")
        line = f"{name} = tl.max_contiguous(tl.arange(0, {axis.width}), 1) if D == tl.float32 else {axis.index}"
        if line not in self.once:
            self.once.insert(0, line)
        return name

    def _product(self, product: Product) -> None:
        """A sum of products, each added to the one before."""
        writer = self.writer
        writer.functions.add("product")
        _, width = self._extent(product.target)
        total = f"tl.zeros((BM, {width}), A)"
        if len(product.terms) == 1 and product.target.name.startswith("%"):
            writer.names.rename(product.target.name, f"{product.terms[0].matrix} {product.terms[0].vector.name}")
        for term in product.terms:
            vector = writer.zero_padded(term.vector, finite_will_do=True)
            text = f"product({vector}, {self._matrix(term)}, {total}, A, D, P, EMULATED)"
            last = term is product.terms[-1]
            writer.set(product.target, text, comment=self._product_comment(product) if last else "")
            total = writer.tiles[product.target.name].text

    def _product_comment(self, product: Product) -> str:
        """The product as in the equations; vectors without a name of their own have that of the text."""
        text = product_text(product)
        unnamed = {term.vector.name for term in product.terms if term.vector.name.startswith("%")}
        for name in sorted(unnamed, key=len, reverse=True):  # %91 before %9
            text = text.replace(name, self.writer.names.of(name))
        return text

    def _advances(self) -> Iterator[str]:
        """Store each state's new value; then all states become the new ones at once."""
        writer = self.writer
        states = {writer.names.of(state.name) for state in self.carried}
        news: dict[str, str] = {}
        for state in self.carried:
            value = self.next[state.name]
            text = writer.whole(value, state.shape)
            if isinstance(value, Literal) or text in states or not text.isidentifier():
                news[state.name] = writer.names.of(state.name, "next")
                yield f"{news[state.name]} = {text}"
            else:
                news[state.name] = text
        yield "after = at if BACKWARDS else at + B"
        for state in self.carried:
            offsets, mask = writer.tile_offsets(state.shape), writer.tile_mask(state.shape, "active")
            size, _ = self._extent(state)
            pointer = writer.pointer(ArgumentKind.STATE, state.name)
            yield f"tl.store({pointer} + after * {size} + {offsets}, {news[state.name]}, mask={mask})"
        for state in self.carried:
            name, new = writer.names.of(state.name), news[state.name]
            yield f"{name} = tl.where(active[:, None], {new}, {name}) if RAGGED else {new}"


def _rows(lengths: str) -> Iterator[str]:
    yield "rows = tl.program_id(0) * BM + tl.arange(0, BM)"
    yield "in_batch = rows < B"
    yield "if RAGGED:  # the tile takes as many steps as its longest row"
    yield f"    length = tl.load({lengths} + rows, mask=in_batch, other=0)"
    yield "    steps = tl.max(length, 0)"
    yield "else:"
    yield "    steps = T"
    yield "if BACKWARDS and RAGGED:  # the slot of the start: rows of an array in front of it"
    yield "    first = tl.cast(length, tl.int64)[:, None] * B"
    yield "elif BACKWARDS:"
    yield "    first = tl.cast(T, tl.int64) * B"
    yield "else:"
    yield "    first = tl.cast(0, tl.int64)"
