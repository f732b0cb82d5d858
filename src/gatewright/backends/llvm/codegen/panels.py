"""Panels: the matrices of a stage, laid out in the order in which its tiles read them.

[group of blocks][number of the operand's element][product][block][lane]: the inner loop walks through a panel from its
beginning to its end. A panel of bfloat16 numbers has words of two in place of elements: those of a lane that are
multiplied by two elements of the operand that follow one another. A panel of whole numbers of eight bits has words of
four, and two lines more; see `whole_numbers`.
"""

from collections import Counter
from dataclasses import dataclass
from math import ceil

from gatewright.backends.llvm.codegen.buffers import Bound, BufferId
from gatewright.backends.llvm.emit.emitter import Emitter, Index
from gatewright.backends.llvm.emit.int8 import NUMBERS
from gatewright.schedule.program import Stage
from gatewright.trace.ir import Var


@dataclass(frozen=True, slots=True)
class PanelPart:
    """One matrix of a panel: the product that it belongs to, and how it lies in memory."""

    product: int
    matrix: str
    transposed: bool


@dataclass(frozen=True, slots=True)
class PairedForm:
    """Panels of words: those of a stage of which pass, and whether vectors are rounded to words too.

    A word has two bfloat16 numbers, or four whole numbers.
    """

    of_pass: str
    rounds_vectors: bool
    has_whole_numbers: bool = False
    has_dot: bool = False  # whether the target multiplies words of whole numbers in one instruction
    multiple: int = 1  # panels and vectors are padded with zeros to a multiple of so many words


@dataclass(frozen=True, slots=True)
class Panel:
    """All matrices of a stage that multiply one vector, for products that are accumulated at the same time."""

    key: BufferId
    bundle: int  # products of different bundles are accumulated one bundle after the other
    vector: Var
    depth: int  # elements of the vector
    units: int  # rows of each product
    parts: tuple[PanelPart, ...]
    blocks: int  # of a tile
    lanes: int
    has_pairs: bool = False  # of bfloat16 numbers
    has_whole_numbers: bool = False  # of eight bits, in fours
    has_dot: bool = False  # whether the target multiplies these in one instruction
    operand: BufferId | None = None  # the vector in words, where these are what is multiplied
    multiple: int = 1  # of words

    @property
    def words(self) -> int:
        """Elements of the vector, or words of two or of four, with padding."""
        return -(-self.filled // self.multiple) * self.multiple

    @property
    def filled(self) -> int:
        """The same without padding."""
        return -(-self.depth // (NUMBERS if self.has_whole_numbers else 2 if self.has_pairs else 1))

    @property
    def length(self) -> int:
        """The words, and the lines of scales and offsets behind them."""
        return self.words + 2 if self.has_whole_numbers else self.words

    @property
    def groups(self) -> int:
        """How many tiles lie side by side."""
        return ceil(ceil(self.units / self.lanes) / self.blocks)

    @property
    def step(self) -> int:
        """Elements of the panel for one element of the vector, or words for one word."""
        return len(self.parts) * self.blocks * self.lanes

    @property
    def size(self) -> int:
        """Elements or words of the whole panel."""
        return self.groups * self.length * self.step


def panels_of(
    bound: Bound, stage: Stage, name: str, pairs: PairedForm | None, *, blocks: int, lanes: int, bundled: int
) -> tuple[Panel, ...]:
    """The panels of a stage, bundle by bundle of so many products, one for each vector that is multiplied."""
    parts: dict[tuple[int, Var, int], list[PanelPart]] = {}
    for index, product in enumerate(stage.products):
        used: Counter[Var] = Counter()
        for term in product.terms:
            # a product that has two terms with one vector needs that vector twice
            key = (index // bundled, term.vector, used[term.vector])
            parts.setdefault(key, []).append(PanelPart(index, term.matrix, term.transposed))
            used[term.vector] += 1
    return tuple(
        Panel(
            key=BufferId("panel", f"{name} {bundle} {vector.name} {again}"),
            bundle=bundle,
            vector=vector,
            depth=bound.width(vector),
            units=bound.width(stage.products[0].target),
            parts=tuple(matrices),
            blocks=blocks,
            lanes=lanes,
            has_pairs=pairs is not None and not pairs.has_whole_numbers,
            has_whole_numbers=pairs is not None and pairs.has_whole_numbers,
            has_dot=pairs is not None and pairs.has_dot,
            operand=_operand(pairs, vector) if pairs and pairs.rounds_vectors else None,
            multiple=pairs.multiple if pairs else 1,
        )
        for (bundle, vector, again), matrices in parts.items()
    )


def _operand(pairs: PairedForm, vector: Var) -> BufferId:
    # Stages with and without padding may multiply one vector: rows of different lengths cannot share a buffer.
    padding = f" in {pairs.multiple}s" if pairs.multiple > 1 else ""
    return BufferId("operand", f"{pairs.of_pass} {vector.name}{padding}")


def column_of(emitter: Emitter, block: Index, lanes: int, units: int) -> Index:
    """The first unit of a block; the last block overlaps the one before it, so that no lane is left over."""
    start = emitter.mul_index(block, lanes, "column")
    last = units - lanes
    if isinstance(start, int):
        return min(start, last)
    return start if units % lanes == 0 and last == 0 else emitter.smaller_index(start, last, "column")
