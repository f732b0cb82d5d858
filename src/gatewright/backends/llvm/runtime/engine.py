"""A Program with sizes and a dtype: its kernels, from memory, from disk or compiled, and what runs them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property, partial
from hashlib import sha256
from math import prod
from typing import Any

from gatewright.axes import bind
from gatewright.backends.base import check_relabels
from gatewright.backends.llvm.codegen.kernels import Kernels
from gatewright.backends.llvm.codegen.module import emit_module
from gatewright.backends.llvm.emit.amx import AmxTiles
from gatewright.backends.llvm.emit.vector_type import PRODUCTS, Dtype, Products
from gatewright.backends.llvm.jit.compile import compile_module, describe, text_of
from gatewright.backends.llvm.jit.machine_code import Library
from gatewright.backends.llvm.jit.target import Target, target_named
from gatewright.backends.llvm.runtime.amx_support import amx_support
from gatewright.backends.llvm.runtime.runner import Runner
from gatewright.errors import OptionError
from gatewright.int8 import require_sums_fit
from gatewright.kernel_cache import default_cache
from gatewright.schedule.narrow import Narrow, NarrowForm
from gatewright.schedule.program import Program
from gatewright.schedule.text import to_text

_ROW_COUNTS = (64, 16, 8, 6, 5, 4, 3, 2, 1)
"""Kernels are made for these numbers of rows. A call uses the largest that is not more than its own."""
_FEW_ROW_COUNTS = (64, 16, 8, 4, 2, 1)
_FEW_LINE_COUNTS = (64, 16, 1)
"""The same for calls of little work, for the rows of a step and of all steps: to compile a kernel takes longer than
hundreds of calls with one that was made for fewer rows."""
_LITTLE_WORK = 100_000_000
"""Operations of products, in a millisecond or two."""
MOST_UNPACKED_ROWS = 32
"""A single step of up to so many rows reads matrices where they are: packing would take longer than it saves."""

_MAX_RUNNERS = 64
"""How many extents are cached: batches of text have many different lengths."""


class KernelOrigin(StrEnum):
    """Where the next call gets its kernels from."""

    IN_MEMORY = "in memory"
    ON_DISK = "on disk"
    NOWHERE = "compiled by the first call"


@dataclass(frozen=True)
class Engine:
    """A Program bound to sizes, ready to run over any number of steps and rows.

    `products`: bfloat16 packs matrices in that dtype, and rounds what they are multiplied by where the target can
    multiply its numbers. int8 packs them as whole numbers with a scale for each row, and rounds what they are
    multiplied by; `gatewright.int8` says what that means. All arrays of a call, and all sums, are float32 still.

    `narrow`: values of the caller's arrays that lie there as bfloat16, by their names in the Program. One run saves
    them, and another one reads them.

    `amx`: the instructions for tiles that products in bfloat16 use. None: those of this processor, if it has them and
    `amx_support` finds no obstacle.

    Raises ShapeError where axes that the equations use for one another have different sizes, OptionError for a Program
    with scans: a core that goes from step to step does less work; and for a gradient with int8 products.
    """

    program: Program
    sizes: Mapping[str, int]
    dtype: Dtype
    backwards: bool = False
    target: Target | None = None
    products: Products = None
    narrow: Narrow = field(default_factory=dict[str, NarrowForm])
    amx: type[AmxTiles] | None = None
    runners: dict[Any, Runner] = field(default_factory=dict[Any, Any], init=False, repr=False, compare=False)
    """The runners that were made, by their extent: steps, rows, whether the batch is ragged."""
    _compiled: dict[Any, Any] = field(default_factory=dict[Any, Any], init=False, repr=False, compare=False)
    _written: dict[Any, Any] = field(default_factory=dict[Any, Any], init=False, repr=False, compare=False)
    """Kernels that are written but not compiled, with their LLVM IR, by their extent."""

    def __post_init__(self) -> None:
        if self.products not in PRODUCTS:
            raise OptionError(
                "the engine cannot multiply in this dtype",
                expected=f"products={' or '.join(map(repr, PRODUCTS))}",
                got=repr(self.products),
            )
        if self.products and self.dtype != "float32":
            raise OptionError(
                f"products in {self.products} are added up in float32",
                expected="an engine of dtype 'float32'",
                got=repr(self.dtype),
            )
        if self.products == "int8":
            self._check_whole_numbers()
        check_relabels(self.program.trace, self.sizes)
        scans = [scan.state.name for stage in self.program.scan for scan in stage.scans]
        if scans:
            raise OptionError(
                f"the program of {self.program.trace.name!r} has scans, for which no kernels are made",
                expected="a program that goes from step to step",
                got=f"scans of {', '.join(scans)}",
                do="plan(trace), without Choices(time=Time.SCAN)",
            )

    def _check_whole_numbers(self) -> None:
        if self.program.row_sums:
            raise OptionError(
                f"the program of {self.program.trace.name!r} sums gradients, which products in int8 are too coarse for",
                expected="a forward run",
            )
        for _, stages in self.program.passes():
            for product in (product for stage in stages for product in stage.products):
                for term in product.terms:
                    require_sums_fit(prod(bind(term.vector.shape, self.sizes)))

    @cached_property
    def key(self) -> str:
        """What kernels depend on, besides the machine and the number of rows."""
        sizes = ",".join(f"{axis}={size}" for axis, size in sorted(self.sizes.items()))
        program = sha256(to_text(self.program).encode()).hexdigest()
        products = f" products={self.products}" if self.products else ""
        forms = ",".join(f"{name} as {form}" for name, form in sorted(self.narrow.items()))
        narrow = f" narrow={forms}" if forms else ""
        return f"{program} {sizes} {self.dtype} backwards={self.backwards}{products}{narrow}"

    def prefers_packing(self, steps: int, batch: int, *, ragged: bool = False) -> bool:
        """Whether matrices are better packed for a call whose weights may differ from those of the call before."""
        return ragged or steps > 1 or batch > MOST_UNPACKED_ROWS or self.products is not None

    def kernels(
        self,
        steps: int,
        batch: int,
        *,
        ragged: bool = False,
        packs: bool = True,
        meanwhile: Callable[[], object] | None = None,
    ) -> tuple[Kernels, Library]:
        """The kernels for an extent, from memory, from the cache on disk, or compiled now.

        Kernels that do not pack matrices are for a single step. `meanwhile` is called while LLVM compiles, if it has
        to; see `compile_module`.
        """
        extent = (*self._row_counts(steps, batch, packs=packs), ragged, packs)
        if extent not in self._compiled:
            kernels, text = self._written.pop(extent, (None, None))
            kernels = kernels or self.design(steps, batch, ragged=ragged, packs=packs)
            library = compile_module(
                _WrittenOnce(kernels, text),
                kernels.functions,
                key=self._key_of(kernels),
                target=kernels.target,
                meanwhile=meanwhile,
            )
            self._compiled[extent] = (kernels, library)
        return self._compiled[extent]

    def write(self, steps: int, batch: int, *, ragged: bool = False, packs: bool = True) -> None:
        """Write the LLVM IR of the kernels for an extent, for `kernels` to compile, unless they are in a cache."""
        extent = (*self._row_counts(steps, batch, packs=packs), ragged, packs)
        if extent in self._compiled or extent in self._written:
            return
        kernels = self.design(steps, batch, ragged=ragged, packs=packs)
        if not default_cache().holds(self._description(kernels)):
            self._written[extent] = (kernels, text_of(partial(emit_module, kernels)))

    def design(self, steps: int, batch: int, *, ragged: bool = False, packs: bool = True) -> Kernels:
        """The kernels for an extent, not compiled."""
        counts = self._row_counts(steps, batch, packs=packs)
        options = (self.dtype, self.target or target_named(), self.backwards)
        amx = self.amx or (amx_support(options[1]).tiles if self.products == "bfloat16" else None)
        return Kernels(self.program, self.sizes, *options, *counts, ragged, self.products, packs, self.narrow, amx)

    def origin(self, steps: int, batch: int, *, ragged: bool = False, packs: bool = True) -> KernelOrigin:
        """Where a call for an extent would get its kernels from now."""
        if (*self._row_counts(steps, batch, packs=packs), ragged, packs) in self._compiled:
            return KernelOrigin.IN_MEMORY
        kernels = self.design(steps, batch, ragged=ragged, packs=packs)
        return KernelOrigin.ON_DISK if default_cache().holds(self._description(kernels)) else KernelOrigin.NOWHERE

    def _description(self, kernels: Kernels) -> str:
        return describe(partial(emit_module, kernels), kernels.functions, self._key_of(kernels), kernels.target)

    def _key_of(self, kernels: Kernels) -> str:
        return f"{self.key} {kernels.layout}"

    def runner(self, steps: int, batch: int, *, ragged: bool = False, packs: bool = True) -> Runner:
        """What runs the kernels over so many steps and rows, of which there is at least one."""
        extent = (steps, batch, ragged, packs)
        runner = self.runners.get(extent)
        if runner is None:
            if len(self.runners) >= _MAX_RUNNERS:
                self.runners.clear()
            kernels, library = self.kernels(steps, batch, ragged=ragged, packs=packs)
            runner = self.runners[extent] = Runner(self.program, kernels, library, steps, batch)
        return runner

    def _row_counts(self, steps: int, batch: int, *, packs: bool) -> tuple[int, int]:
        """The rows of a step, and of all steps, that kernels for an extent are made for."""
        lines = steps * batch
        if not packs:
            return 1, 1  # one kernel serves all numbers of rows
        if self._operations * lines > _LITTLE_WORK:
            return _row_count(_ROW_COUNTS, batch), _row_count(_ROW_COUNTS, lines)
        return _row_count(_FEW_ROW_COUNTS, batch), _row_count(_FEW_LINE_COUNTS, lines)

    @cached_property
    def _operations(self) -> int:
        """The operations of products for one row at one step."""
        products = [product for _, stages in self.program.passes() for stage in stages for product in stage.products]
        return sum(
            2 * prod(bind(product.target.shape, self.sizes)) * prod(bind(term.vector.shape, self.sizes))
            for product in products
            for term in product.terms
        )


class _WrittenOnce:
    """A function that returns the LLVM IR of kernels. Its first call returns a text that was written ahead, and drops
    it: nobody asks again but to read it."""

    def __init__(self, kernels: Kernels, text: str | None) -> None:
        self._kernels, self._text = kernels, text

    def __call__(self) -> str:
        text, self._text = self._text, None
        return text or emit_module(self._kernels)


def _row_count(counts: Sequence[int], rows: int) -> int:
    return next((count for count in counts if count <= rows), 1)
