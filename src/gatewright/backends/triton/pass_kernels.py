"""The passes over all steps at once, but for scans: products by torch, everything else by fused kernels."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from gatewright.backends.triton.kernel_precision import KernelPrecision
from gatewright.backends.triton.kernel_text import Argument, ArgumentKind
from gatewright.backends.triton.launch import on_device, pointers
from gatewright.backends.triton.load import kernel
from gatewright.backends.triton.resources import LaunchOptions, constants_of
from gatewright.backends.triton.stage_kernel import LENGTHS, lines_text, stage_groups
from gatewright.backends.triton.tiles import elementwise_tile, grid_of
from gatewright.backends.triton.value_places import product_argument
from gatewright.schedule.program import Product, Program, Stage

Multiply = Callable[[Sequence[Product]], Sequence[Tensor]]
"""Compute products for all lines: contiguous tensors (time, batch, features), in order. What a stage stores of them is
kept as it was computed: no kernel copies it."""


class PassKernels:
    """Stages of a pass over all steps at once."""

    def __init__(
        self,
        program: Program,
        stages: Sequence[Stage],
        sizes: Mapping[str, int],
        precision: KernelPrecision,
        *,
        backwards: bool = False,
    ) -> None:
        """`stages` are of one pass, none of them with scans."""
        self.sizes, self.precision, self.backwards = sizes, precision, backwards
        self.groups = stage_groups([without_products(stage) for stage in stages], sizes, products_loaded=True)
        self.texts = tuple(
            lines_text(program, group, sizes, f"lines_{number}") for number, group in enumerate(self.groups)
        )
        self._layouts: dict[int, tuple[int, LaunchOptions, tuple[int, int]]] = {}  # by the number of the group

    @property
    def arguments(self) -> tuple[Argument, ...]:
        """The arrays that a caller gives."""
        products = [product for group in self.groups for product in group.products]
        computed = {argument for product in products for argument in (product_argument(product), _kept(product))}
        arguments = dict.fromkeys(argument for text in self.texts for argument in text.arguments)
        return tuple(argument for argument in arguments if argument not in computed)

    def run(self, arrays: Mapping[Argument, Tensor | None], steps: int, batch: int, multiply: Multiply) -> None:
        """Compute the pass for all rows and steps. `arrays` are those of `arguments`. Without LENGTHS all rows take all
        steps; with them nothing is written for the steps after a row's end. `multiply` is asked for the products of a
        stage when their vectors are complete.
        """
        lines = steps * batch
        everything = dict(arrays)
        constants = {
            **constants_of(self.precision), "BACKWARDS": self.backwards,
            "RAGGED": arrays.get(LENGTHS) is not None,
        }  # fmt: skip
        for number, (group, text) in enumerate(zip(self.groups, self.texts, strict=True)):
            if group.products:
                for product, tensor in zip(group.products, multiply(group.products), strict=True):
                    everything |= {product_argument(product): tensor, _kept(product): tensor}
            if not lines or not any(stage.stores for stage in group.stages):
                continue
            tile, grid = self._layout(number, lines)
            arguments = pointers(text.arguments, everything)
            with on_device(next(array for array in arguments if array is not None)):
                kernel(text)[grid](*arguments, steps, batch, **constants, **tile.keywords())

    def _layout(self, number: int, lines: int) -> tuple[LaunchOptions, tuple[int, int]]:
        """The tile and the grid of a kernel, remembered for the last number of lines: training has one."""
        known, group = self._layouts.get(number), self.groups[number]
        if known is None or known[0] != lines:
            tile = elementwise_tile(group, self.sizes, lines)
            known = self._layouts[number] = (lines, tile, grid_of(tile, group, self.sizes, lines))
        return known[1:]


def _kept(product: Product) -> Argument:
    """The array in which a stage stores a product."""
    return Argument(ArgumentKind.SEQUENCE, product.target.name)


def without_products(stage: Stage) -> Stage:
    """A stage without the stores of its products."""
    products = {product.target.name for product in stage.products}
    stores = (store for store in stage.stores if store.name not in products)
    return replace(stage, stores=tuple(stores)) if products else stage
