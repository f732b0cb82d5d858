"""`compile_ahead`: have the kernels of a model compiled before the first call needs them."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from gatewright.errors import OptionError
from gatewright.nn.derived_layers import layer_of
from gatewright.nn.recurrent import Recurrent
from gatewright.nn.single_steps import GRUCell, LSTMCell, RNNCell
from gatewright.nn.torch_fused import runs_as_step

_PLAIN = (True, False, False, False)  # random values as their means, no mask, no gates, no resets


def compile_ahead(
    model: nn.Module,
    *extents: Sequence[int],
    gradient: bool = True,
    input_gradient: bool = True,
    ragged: bool = False,
) -> int:
    """Compile the kernels of all layers and cells of a model that run on the engine; gives how many of these there are.

    Otherwise the first call for an extent compiles its kernels, some tenths of a second, or loads them from the cache
    on disk, some milliseconds. The `extents` are the (steps, batch) that the model will be called with, (1, n) for
    single steps. A cell has the same kernels for all numbers of rows, and needs no extent.

    - `gradient`: training too. Parameters that need no gradient are left out, as they are now.
    - `input_gradient`: the gradient by the input of the lowest level too, as with an embedding below it.
    - `ragged`: for calls with `lengths` that differ.

        gw.nn.accelerate(model)
        gw.nn.compile_ahead(model, (1, 8), (128, 8))

    Raises OptionError for what is no extent.
    """
    for extent in extents:
        sizes: list[object] = list(extent)
        if len(sizes) != 2 or not all(isinstance(size, int) and size > 0 for size in sizes):
            raise OptionError(
                "an extent does not say how many steps and rows a call has",
                expected="(steps, batch), both at least 1",
                got=repr(extent),
            )
    layers = list(_layers_on_engine(model))
    for layer in layers:
        if not isinstance(layer, Recurrent):
            layer.compile_ahead(gradient=gradient, input_gradient=input_gradient)
            continue
        dtype, across = layer.packed_parameters(0)[0].dtype, 2 if layer.bidirectional else 1
        products = layer.products if dtype == torch.float32 else None
        for index, cell in enumerate(layer.packed_cells):
            operation = cell.operation(_PLAIN, dtype, products)
            needed = [parameter.requires_grad for parameter in layer.packed_parameters(index)]
            by_input = input_gradient or index >= across
            differentiates = gradient and products != "int8" and (any(needed) or by_input)
            options: Any = {"gradient": differentiates, "input_gradient": by_input, "needed": needed}
            for steps, batch in extents:
                is_step = products is None or cell.holds_weights
                if steps == 1 and not ragged and is_step and runs_as_step(layer, batch):
                    cell.one_step(dtype, of_layer=True).compile(batch, **options)
                else:
                    operation.compile(steps, batch, ragged=ragged, **options)
    return len(layers)


def _layers_on_engine(model: nn.Module) -> Iterator[Recurrent | RNNCell | GRUCell | LSTMCell]:
    """The layers and cells that the engine runs where their parameters are now."""
    for module in model.modules():
        layer = layer_of(module)
        if isinstance(layer, Recurrent | RNNCell | GRUCell | LSTMCell) and layer.plan().backend == "llvm":
            yield layer
