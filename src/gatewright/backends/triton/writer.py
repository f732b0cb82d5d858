"""Writes the lines of kernels: names, axes, pointers, loads and stores, and the works of stages.

Every value is a tile of two axes: one line for each row (or for each step, in scans), one lane for each feature. What
is the same for all rows has one line, a scalar has one lane; both broadcast. An axis with fewer features than lanes is
padded. What stands in padded lanes is known where it is a number, because it is computed from 0; where it is not known
to be 0, sums and products mask it, so that no NaN spreads from there.
"""

import keyword
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite, prod

import numpy as np

from gatewright.axes import Shape, bind
from gatewright.backends.expressions import CodeExpression, signed
from gatewright.backends.triton.kernel_text import Argument, ArgumentKind, stays_aligned
from gatewright.backends.triton.random_values import limit
from gatewright.backends.triton.rules import (
    FUNCTIONS,
    RULES,
    called_functions,
    function_texts,
)
from gatewright.lang.ops import Op
from gatewright.schedule.program import Reduction, Stage, Work, operands
from gatewright.trace.identities import fold
from gatewright.trace.ir import Atom, Equation, Literal, Var

INDENT = "    "
SMALLEST_AXIS = 16  # what tl.dot multiplies has at least so many lanes in each axis
FOLDED = 88  # an expression of so many characters is given a name of its own
HEADER = """import triton
import triton.language as tl
from triton import knobs
from triton.language.extra import libdevice

INTERPRETED = tl.constexpr(knobs.runtime.interpret)  # Triton's interpreter has no libdevice
"""
# What a kernel calls its own parameters and variables, which no value may be called.
RESERVED = frozenset(
    {"T", "B", "A", "D", "P", "BM", "BN", "BK", "EMULATED", "STAGES", "BACKWARDS", "RAGGED", "INTERPRETED"}
    | {"triton", "tl", "knobs", "libdevice", "range", "float"}
    | {"rows", "t", "at", "step", "steps", "length", "first", "after", "active", "in_batch"}
    | set(FUNCTIONS)
    | set(keyword.kwlist)
)
_NUMBERED = re.compile(r"(E|join_)\d+")  # reserved as well: types of elements, and the functions that join steps


class KernelNames:
    """Gives out identifiers, each once; the same value has the same one."""

    def __init__(self) -> None:
        self._taken = set(RESERVED)
        self._names: dict[tuple[str, str], str] = {}

    def of(self, name: str, role: str = "") -> str:
        """The identifier of a value of the Program; with a role, that of something of the value: of its pointer."""
        key = (name, role)
        if key not in self._names:
            self._names[key] = self.take(f"{identifier(name)}_{role}" if role else identifier(name))
        return self._names[key]

    def rename(self, name: str, wanted: str) -> None:
        """Have another identifier for a value that has none yet."""
        self._names.setdefault((name, ""), self.take(identifier(wanted)))

    def take(self, wanted: str) -> str:
        """The identifier that is wanted, or one like it."""
        name, number = wanted, 2
        while name in self._taken or _NUMBERED.fullmatch(name):
            name, number = f"{wanted}_{number}", number + 1
        self._taken.add(name)
        return name


def identifier(name: str) -> str:
    """W.r -> W_r, h' -> h_new, d(h) -> d_h, %3 -> v3; the part of %3 that is known before the loop is v3_before."""
    text = re.sub(r"\W*'", "_new", name).replace("%", "v")
    text = re.sub(r"\+(\d)\.(\d+)$", lambda part: f"_{_PARTS[part[1]]}{part[2].lstrip('0')}", text)
    text = re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_")
    return text if text[:1].isalpha() else f"v_{text}"


_ROLES = {ArgumentKind.STATE: "steps", ArgumentKind.START: "start", ArgumentKind.COPY: "copy"}
_ARITHMETIC = {Op.ADD, Op.SUB, Op.MUL, Op.DIV}
_PARTS = {"0": "before", "1": "loop", "2": "after", "3": "scan"}


@dataclass(frozen=True, slots=True)
class KernelAxis:
    """An axis of features as a kernel sees it.

    - `size`: the number of features; `width`: of lanes, as the text has it: a number, or the name of a constexpr.
    - `index`: the variable with the feature of each lane, of one axis.
    - `mask`: the variable that says which lanes have a feature; "" where all do.
    """

    name: str
    size: int
    width: str
    index: str
    mask: str


def padded(size: int) -> int:
    """The number of lanes of an axis that one tile holds: the next power of two."""
    return max(SMALLEST_AXIS, 1 << (size - 1).bit_length())


@dataclass(frozen=True, slots=True)
class KernelTile:
    """A value in a kernel: an expression, and what it varies along.

    - `rows`: whether every row has a line of its own.
    - `axis`: the axis of its lanes; None of a scalar.
    - `padding`: what is in padded lanes, where that is known.
    """

    expression: CodeExpression
    rows: bool
    axis: str | None
    padding: float | None = 0.0

    @property
    def text(self) -> str:
        """The expression."""
        return self.expression.text


@dataclass
class KernelWriter:
    """Collects what a kernel takes and computes.

    - `sizes`: of every axis.
    - `rows`: the number of lines of a tile, as the text has it.
    - `tiles`: the values that are at hand, by their names in the Program.
    - `lines`: of the body, not yet indented.
    """

    sizes: Mapping[str, int]
    rows: str = "BM"
    names: KernelNames = field(default_factory=KernelNames)
    arguments: dict[Argument, str] = field(default_factory=dict[Argument, str])
    axes: dict[str, KernelAxis] = field(default_factory=dict[str, KernelAxis])
    offsets: dict[Shape, str] = field(default_factory=dict[Shape, str])
    tiles: dict[str, KernelTile] = field(default_factory=dict[str, KernelTile])
    lines: list[str] = field(default_factory=list[str])
    functions: set[str] = field(default_factory=set[str])

    def pointer(self, kind: ArgumentKind, name: str) -> str:
        """The parameter that points to an array; it becomes one of the kernel's when it is first asked for."""
        argument = Argument(kind, name)
        if argument not in self.arguments:
            role = _ROLES.get(kind, "ptr")
            self.arguments[argument] = self.names.take(f"{identifier(name)}_{role}")
        return self.arguments[argument]

    def unaligned(self, shapes: Mapping[str, Shape]) -> list[str]:
        """The parameters of which it is not known that they point to a multiple of 16 bytes."""
        return [
            parameter
            for argument, parameter in self.arguments.items()
            if not stays_aligned(argument, prod(bind(shapes.get(argument.name, ()), self.sizes)))
        ]

    def axis(self, name: str, width: str = "") -> KernelAxis:
        """An axis, all of which is in each tile unless another width is given when it is first asked for."""
        if name not in self.axes:
            size = self.sizes[name]
            exact = not width and size == padded(size)
            index = self.names.take(identifier(name))
            mask = "" if exact else self.names.take(f"{identifier(name)}_mask")
            self.axes[name] = KernelAxis(name, size, width or str(padded(size)), index, mask)
        return self.axes[name]

    def index_lines(self) -> Iterator[str]:
        """What declares the features and masks of axes that tiles hold whole, and the offsets of tiles.

        They come after the line that declares `rows`, and are complete once everything else is written.
        """
        for axis in self.axes.values():
            yield f"{axis.index} = tl.arange(0, {axis.width})"
            if axis.mask:
                yield f"{axis.mask} = {axis.index} < {axis.size}"
        for shape, name in self.offsets.items():
            yield f"{name} = {self.offset_text(shape)}"

    def offset_text(self, shape: Shape) -> str:
        """The offsets of a tile's elements in an array (batch, ...)."""
        if not shape:
            return "rows[:, None]"
        axis = self.axis(shape[0])
        return f"rows[:, None] * {axis.size} + {axis.index}[None, :]"

    def tile_offsets(self, shape: Shape) -> str:
        """The variable with the offsets of a tile's elements in an array (batch, ...)."""
        if shape not in self.offsets:
            if shape:
                self.axis(shape[0])
            self.offsets[shape] = self.names.take(f"{identifier(shape[0])}_tile" if shape else "scalar_tile")
        return self.offsets[shape]

    def tile_mask(self, shape: Shape, rows: str) -> str:
        """Which elements of a tile an array has; `rows` is the variable that says it of lines."""
        mask = self.axis(shape[0]).mask if shape else ""
        return f"{rows}[:, None] & {mask}[None, :]" if mask else f"{rows}[:, None]"

    def atom(self, value: Atom, *, typed: bool = False) -> KernelTile:
        """The tile of a value that is at hand, or of a number; with `typed`, a number of type A."""
        if isinstance(value, Literal):
            return KernelTile(_number(value.value, typed=typed), rows=False, axis=None, padding=value.value)
        return self.tiles[value.name]

    def whole(self, value: Atom, shape: Shape) -> str:
        """A value as a tile of type A with all lines and lanes: what a store and a carried state need."""
        lanes = self.axis(shape[0]).width if shape else "1"
        if isinstance(value, Literal):
            return f"tl.full(({self.rows}, {lanes}), {_spelled(value.value)}, A)"
        tile = self.tiles[value.name]
        if tile.rows and (not shape or tile.axis is not None):
            return tile.text
        return f"tl.broadcast_to({tile.text}, ({self.rows}, {lanes}))"

    def zero_padded(self, value: Var, *, finite_will_do: bool = False) -> str:
        """A vector with all lines and lanes, and 0 in padded lanes: what a sum over features needs.

        For a product any number will do there, because the matrix has zeros in these lanes.
        """
        axis, padding = self.axis(value.shape[0]), self.tiles[value.name].padding
        whole = self.whole(value, value.shape)
        if not axis.mask or padding == 0.0 or (finite_will_do and padding is not None):
            return whole
        return f"tl.where({axis.mask}[None, :], {whole}, 0.0)"

    def set(self, value: Var, text: str, *, rows: bool = True, padding: float | None = 0.0, comment: str = "") -> None:
        """Give a value a name and a line that computes it."""
        name = self.names.of(value.name)
        self.lines.append(f"{name} = {text}" + (f"  # {comment}" if comment else ""))
        self.tiles[value.name] = self.named(name, value, padding, rows=rows)

    def named(self, name: str, value: Var, padding: float | None = 0.0, *, rows: bool = True) -> KernelTile:
        """The tile that a variable holds. A scalar has no padded lanes: beside a vector it is in all of them."""
        axis = value.shape[0] if value.shape else None
        return KernelTile(CodeExpression(name), rows, axis, None if axis is None else padding)

    def shared_vector(self, value: Var, lines: list[str]) -> None:
        """Load a parameter, or what is computed from parameters only: one line for all rows."""
        pointer = self.pointer(ArgumentKind.SHARED, value.name)
        name = self.names.of(value.name)
        if not value.shape:
            lines.append(f"{name} = tl.load({pointer}).to(A)  # {value.name}")
            self.tiles[value.name] = KernelTile(CodeExpression(name), rows=False, axis=None, padding=None)
            return
        axis = self.axis(value.shape[0])
        masked = f", mask={axis.mask}, other=0.0" if axis.mask else ""
        lines.append(f"{name} = tl.load({pointer} + {axis.index}{masked}).to(A)[None, :]  # {value.name}")
        self.tiles[value.name] = KernelTile(CodeExpression(name), rows=False, axis=axis.name)

    def random(self, value: Var, seeds: str, probability: float) -> None:
        """Draw a value from the seeds of rows: a tile of zeros and ones, 0 in padded lanes."""
        self.functions.add("bernoulli")
        axis = self.axis(value.shape[0]) if value.shape else None
        units = f"{axis.index}[None, :]" if axis else "tl.zeros((1, 1), tl.int32)"
        text = f"bernoulli({seeds}, {units}, {limit(probability)}, A)"
        masked = f"tl.where({axis.mask}[None, :], {text}, 0.0)" if axis and axis.mask else text
        self.set(value, masked, comment=f"1 with the probability {probability}")

    def reduction(self, reduction: Reduction) -> None:
        """A scalar of each row: the sum or the mean over features."""
        size = self.axis(reduction.vector.shape[0]).size
        text = f"tl.sum({self.zero_padded(reduction.vector)}, 1)[:, None]"
        if reduction.op is Op.MEAN:
            text += f" * {1 / size!r}" if size & (size - 1) == 0 else f" / {float(size)!r}"
        self.set(reduction.target, text, padding=None)

    def equations(self, stage: Stage, later: Sequence[Equation] = ()) -> None:
        """Lines for a stage's equations. What has no name of its own and is used once becomes part of another line;
        `later` are equations for which lines will be asked as another stage's."""
        reads = (*stage.reads(), *(arg for equation in later for arg in equation.args))
        uses = Counter(value.name for value in reads if isinstance(value, Var))
        stored = {store.value.name for store in stage.stores if isinstance(store.value, Var)}
        needs_name = {
            value.name for work in (*stage.products, *stage.scans) for value in operands(work) if isinstance(value, Var)
        }
        for equation in stage.equations:
            name = equation.target.name
            if name in self.tiles:
                continue  # an earlier stage of the same kernel has computed it
            tile = self.evaluated(equation)
            folds = uses[name] == 1 and name.startswith("%") and name not in stored | needs_name
            if not folds or len(tile.text) > FOLDED:
                own = self.names.of(name)
                self.lines.append(f"{own} = {tile.text}")
                tile = KernelTile(CodeExpression(own), tile.rows, tile.axis, tile.padding)
            self.tiles[name] = tile

    def evaluated(self, equation: Equation) -> KernelTile:
        """The expression of an equation, with what is known of it."""
        self.functions |= called_functions([equation.op])
        args = [self.atom(arg, typed=equation.op not in _ARITHMETIC) for arg in equation.args]
        expression = RULES[equation.op]([arg.expression for arg in args], dict(equation.attrs))
        chosen = equation.args[1:] if equation.op is Op.WHERE else ()
        if equation.op is Op.LESS or (chosen and all(isinstance(value, Literal) for value in chosen)):
            expression = CodeExpression(f"{expression.text}.to(A)")  # Triton gives a choice of two numbers float32
        axis = next((arg.axis for arg in args if arg.axis is not None), None)
        if axis is not None and equation.target.shape:
            axis = equation.target.shape[0]  # relabelled
        padding = _padding(equation, [arg.padding for arg in args])
        return KernelTile(expression, any(arg.rows for arg in args), axis, padding)

    def text(self, head: Sequence[str], body: Iterable[str]) -> str:
        """The whole module: the functions that are called, then the kernel itself."""
        called = function_texts(self.functions)
        lines = [*head, *indented(body)]
        return f"{HEADER}{called}\n\n" + "\n".join(lines) + "\n"


def indented(lines: Iterable[str]) -> Iterator[str]:
    """Lines within a block."""
    return (f"{INDENT}{line}" if line else "" for line in lines)


def single_vectors(works: Iterable[Work]) -> Iterator[Var]:
    """The values that works take from elsewhere, as they are met, each once."""
    works = tuple(works)
    own = {work.target.name for work in works}
    seen: set[str] = set()
    for value in (value for work in works for value in operands(work)):
        if isinstance(value, Var) and value.name not in own | seen:
            seen.add(value.name)
            yield value


def _number(value: float, *, typed: bool) -> CodeExpression:
    """A number. Triton gives it the type of what it is combined with, but for functions, to which it is a float32."""
    with np.errstate(over="ignore"):
        exact = isfinite(value) and float(np.float32(value)) == value
    if (exact or not typed) and isfinite(value):
        return signed(repr(float(value)))
    return CodeExpression(f"tl.full((1, 1), {_spelled(value)}, A)")


def _spelled(value: float) -> str:
    return repr(float(value)) if isfinite(value) else f'float("{value}")'


def _padding(equation: Equation, args: Sequence[float | None]) -> float | None:
    """What an equation gives in padded lanes: a number, where those of its operands are known."""
    if equation.op in (Op.EXPAND, Op.RELABEL):
        return args[0]
    if equation.op is Op.WHERE and args[0] is not None:
        return args[1] if args[0] != 0.0 else args[2]
    known = [arg for arg in args if arg is not None]
    return fold(equation.op, known, equation.attrs) if len(known) == len(args) else None
