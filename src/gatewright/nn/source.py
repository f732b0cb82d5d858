"""The code that a layer runs: the Program of a sequence, its kernels in the language of their generator, assembly."""

from dataclasses import dataclass, field
from functools import cached_property

from gatewright.backends.llvm.codegen.kernels import Kernels
from gatewright.backends.llvm.jit.machine_code import Library
from gatewright.backends.triton.chips import Chip
from gatewright.backends.triton.run_kernels import kernels_of
from gatewright.errors import OptionError
from gatewright.nn.kernel_listing import KernelListing
from gatewright.nn.options import check_sizes
from gatewright.nn.plans import LayerPlan
from gatewright.schedule.text import to_text


@dataclass(frozen=True)
class Source:
    """The code of a layer in three languages; as a string, all three, each under a heading.

    - `program`: what is computed before the loop, in it and after it, with the names of the equations.
    - `ir`: the kernels as the code generator wrote them, in LLVM's language.
    - `assembly`: the machine's instructions.
    """

    name: str
    _kernels: Kernels = field(repr=False)
    _library: Library = field(repr=False)

    @cached_property
    def program(self) -> str:
        """The Program, as text."""
        return to_text(self._kernels.program)

    @property
    def layout(self) -> str:
        """The tiles and vectors of each stage."""
        return self._kernels.layout

    @property
    def ir(self) -> str:
        """The kernels in LLVM's language."""
        return self._library.ir

    @property
    def assembly(self) -> str:
        """The instructions for the processor at hand."""
        return self._library.assembly

    def __str__(self) -> str:
        target = self._kernels.target
        parts = {
            f"{self.name}: the program": self.program,
            f"LLVM IR, {self.layout}": self.ir,
            f"assembly for {target.name}, {target.cpu}": self.assembly,
        }
        return "\n".join(f"; ---- {title}\n\n{text.strip()}\n" for title, text in parts.items())


def source_of(plan: LayerPlan, backend: str, *, gradient: bool, layer: int, steps: int, batch: int) -> Source:
    """The code of a layer, or of its gradient, for `steps` steps of `batch` rows; it is compiled if necessary.

    Raises OptionError for a backend that generates none, and for a layer that another one runs.
    """
    _check_extent(plan, layer, steps, batch)
    if backend != "llvm":
        raise OptionError(
            f"there is no source for backend {backend!r}",
            expected="'llvm' or 'triton', those that generate code",
            got=repr(backend),
            do="print(gw.trace.to_text(layer.trace)) shows the equations that every backend runs",
        )
    if plan.backend != "llvm":
        raise _nothing_to_show("a layer that the compiled engine runs", plan)
    engine = plan.engine(layer, gradient=gradient)
    packs = engine.prefers_packing(steps, batch)
    return Source(engine.program.trace.name, *engine.kernels(steps, batch, packs=packs))


def listing_of(plan: LayerPlan, chip: Chip, *, gradient: bool, layer: int, steps: int, batch: int) -> KernelListing:
    """The kernels of a layer, or of its gradient, on a chip.

    Raises OptionError for a layer that has no loop of Triton's kernels.
    """
    _check_extent(plan, layer, steps, batch)
    if plan.backend != "triton":
        raise _nothing_to_show("a layer that Triton's kernels run", plan)
    run = plan.run(layer, gradient=gradient)
    return KernelListing(run.program.trace.name, chip, kernels_of(run, chip, steps, batch), run.program)


def check_no_chip(backend: str, chip: str | None) -> None:
    """Raise OptionError for a chip that is named with a backend that generates code for this processor alone."""
    if chip is not None:
        raise OptionError(
            f"chip is for backend 'triton', and this is the source of backend {backend!r}",
            expected="no chip",
            got=repr(chip),
            do=f"layer.source('triton', chip={chip!r})",
        )


def _check_extent(plan: LayerPlan, layer: int, steps: int, batch: int) -> None:
    check_sizes({"steps": steps, "batch": batch})
    if not 0 <= layer < len(plan.sizes):
        raise OptionError("there is no such layer", expected=f"from 0 to {len(plan.sizes) - 1}", got=repr(layer))


def _nothing_to_show(expected: str, plan: LayerPlan) -> OptionError:
    problem = "no code is generated for this layer, so that there is none to show"
    do = "set layer.newton = None: the loop has kernels to show" if plan.backend == "newton" else None
    return OptionError(problem, expected=expected, got=f"{plan.backend}: {plan.reason}", do=do)
