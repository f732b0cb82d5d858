"""torch's fused recurrent functions: which layers they compute, recognised by the equations, and how they are called.

torch.nn.RNN, GRU and LSTM call torch.rnn_tanh, rnn_relu, gru and lstm. Each is one operation for all levels and both
directions: cuDNN on CUDA, one node in a graph of torch.jit.trace, an operator in an ONNX file. They can run every layer
with the same equations, under any names. `Fused.weights` are the layer's own parameters if it packs them as torch.nn
does, else they are computed from them; autograd follows.
"""

import warnings
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from gatewright.backends.llvm.runtime.engine import MOST_UNPACKED_ROWS
from gatewright.cell_config.config import GATES
from gatewright.cell_config.normal_form import Constants
from gatewright.cell_config.recognise import recognise
from gatewright.nn.layer_interface import LayerInterface
from gatewright.nn.packed_cell import PackedCell
from gatewright.nn.sequence import order_states
from gatewright.trace.ir import Literal, Trace, Var
from gatewright.trace.mask import MASK
from gatewright.trace.simplify import substitute, without_chance

Results = tuple[Tensor, tuple[Tensor, ...]]
"""The output, and every final state, (num_layers * num_directions, batch, size)."""

_FUNCTIONS: Mapping[tuple[str, ...], str] = {
    ("rnn", "tanh"): "rnn_tanh",
    ("rnn", "relu"): "rnn_relu",
    ("gru", "sigmoid", "tanh"): "gru",
    ("lstm", "sigmoid", "tanh", "tanh"): "lstm",
}
"""torch's functions by family and activations. Their gates are in the order of `cell_config.config.GATES`."""
_SPACES = ("W", "U", "b", "bh")  # of weight_ih, weight_hh, bias_ih, bias_hh


@dataclass(frozen=True)
class Fused:
    """One of torch's fused functions, and how the parameters of a cell become its arguments."""

    name: str  # "rnn_tanh", "rnn_relu", "gru" or "lstm"
    arrays: tuple[list[Constants], ...]  # weight_ih, weight_hh, and both biases where there are any: of each gate
    projection: str | None  # the parameter that projects the output: torch's `weight_hr`
    own_layout: tuple[tuple[str, ...], ...]  # the packing that the function takes without conversion

    @property
    def has_biases(self) -> bool:
        """Whether gates have biases: the function takes two for each gate, or none."""
        return len(self.arrays) > 2

    def weights(self, cell: PackedCell, packed: Sequence[Tensor]) -> list[Tensor]:
        """The parameters of one direction: weight_ih, weight_hh, bias_ih, bias_hh, weight_hr.

        They are `packed` itself if the layer packs its parameters as torch.nn does.
        """
        if tuple(array.slots for array in cell.layout) == self.own_layout:
            return list(packed)
        params = cell.unpack(packed)
        arrays = [joined(gates, params) for gates in self.arrays]
        return [*arrays, *([params[self.projection]] if self.projection else [])]


def _names(arrays: Sequence[Constants]) -> tuple[str, ...]:
    """The names of parameters that are stacked in an array; an empty name for a sum or a negated parameter."""
    return tuple(
        terms[0][1].name if len(terms) == 1 and terms[0][0] == 1 and isinstance(terms[0][1], Var) else ""
        for terms in arrays
    )


def joined(gates: Sequence[Constants], params: Mapping[str, Tensor]) -> Tensor:
    """The gates stacked in one array, each a sum of parameters and numbers; zeros for an empty sum."""
    matrix = next(param for param in params.values() if param.dim() == 2)
    return torch.cat([_sum(constants, params, matrix) for constants in gates])


def _sum(constants: Constants, params: Mapping[str, Tensor], matrix: Tensor) -> Tensor:
    """A sum of constants, with one element for each row of a matrix."""
    number = sum(sign * atom.value for sign, atom in constants if isinstance(atom, Literal))
    named = [(sign, params[atom.name]) for sign, atom in constants if isinstance(atom, Var)]
    if not named:
        return torch.full_like(matrix[:, 0], number)
    first, *others = (value if sign == 1 else -value for sign, value in named)
    total = sum(others, start=first)
    return total + number if number else total


def fused_of(layer: LayerInterface) -> Fused | None:
    """The fused function that computes a layer in its present mode, training or not; None if there is none.

    Only the equations decide. The functions know no masks, no gates as results, and no lengths except by packing.
    """
    # The rate is read last: reading a number may make torch.compile start again, to keep the number symbolic.
    if layer.training and (layer.trace.noises or (layer.dropout_per != "step" and layer.dropout)):
        return None
    return same_equations(layer)


def same_equations(layer: LayerInterface) -> Fused | None:
    """The function of torch that has the equations of a layer, whether it can run the layer now or not."""
    cell = layer.packed_cells[0]
    _recognise_once(cell)
    return cell.made_for_graphs[_KEY]


def runs_as_step(layer: LayerInterface, batch: int) -> bool:
    """Whether a single step of a layer is run by the operation that cells have: it takes a third of the time.

    That is for the equations of torch.nn's layers, which need nothing beside their kernels.
    """
    if not 0 < batch <= MOST_UNPACKED_ROWS or layer.bidirectional:
        return False
    made = layer.packed_cells[0].made
    if "runs as step" not in made:
        fused = same_equations(layer)
        made["runs as step"] = fused is not None and not fused.projection
    return made["runs as step"]


_KEY = "torch's fused function"


@torch.compiler.assume_constant_result  # torch.compile need not trace this
def _recognise_once(cell: PackedCell) -> bool:
    if _KEY not in cell.made_for_graphs:
        cell.made_for_graphs[_KEY] = _recognised(cell.trace)
    return True


@lru_cache(maxsize=256)
def _recognised(trace: Trace) -> Fused | None:
    """Torch's function for a cell; None for what it has not: other activations, peepholes, coupled gates, clipping."""
    every_step = substitute(without_chance(trace), {MASK: Literal(1.0)})
    cell = recognise(replace(every_step, inputs=every_step.inputs[:1]))
    if cell is None or any(leaf.name != MASK for leaf in trace.inputs[1:]):
        return None
    config = cell.config
    name = _FUNCTIONS.get((config.family, *config.activations))
    if not name or config.reset == "before" or config.peepholes or config.coupled:
        return None
    if config.cell_clip or config.proj_clip:
        return None
    weight_ih, weight_hh, bias_ih, bias_hh = (cell.of_gates(space, GATES[config.family]) for space in _SPACES)
    # torch adds two biases for each gate, and a layer of its kind has the same parameter in both
    second = [own or other for own, other in zip(bias_hh, bias_ih, strict=True)]
    count, projection = 4 if cell.has_biases else 2, cell.matrix("P.h")
    names = [_names(array) for array in (weight_ih, weight_hh, bias_ih, second)[:count]]
    own_layout = (*names, *([(projection,)] if projection else []))
    return Fused(name, (weight_ih, weight_hh, bias_ih, bias_hh)[:count], projection, own_layout)


def run_fused(
    fused: Fused,
    layer: LayerInterface,
    values: Tensor,
    states: Sequence[Tensor] | None,
    *,
    packed: Sequence[Sequence[Tensor]] | None = None,
    like: PackedSequence | None = None,
    batch_first: bool = False,
) -> Results:
    """Run a whole layer by torch's function.

    - `values`: (time, batch, features), or (batch, time, features) with `batch_first`; or data packed as `like` is, and
      then so is the output.
    - `states`: every initial state (num_layers * num_directions, batch, size), in the caller's order of rows; zeros by
      default.
    - `packed`: the parameters of every direction of every level; the layer's own by default.
    """
    if packed is None:
        packed = [layer.packed_parameters(place) for place in range(len(layer.packed_cells))]
    pairs = zip(layer.packed_cells, packed, strict=True)
    weights = [weight for cell, parameters in pairs for weight in fused.weights(cell, parameters)]
    if states is None:
        # a tensor where there is one: torch.jit.trace would take a number for a constant
        batch: Any = values.shape[0 if batch_first else 1] if like is None else like.batch_sizes[0]
        states = [values.new_zeros(len(layer.packed_cells), batch, *shape) for shape in layer.state_shapes]
    elif like is not None:
        states = [order_states(state, like.sorted_indices) for state in states]
    if values.is_cuda:
        states = [state.contiguous() for state in states]  # cuDNN's functions refuse others
    hx = list(states) if fused.name == "lstm" else states[0]
    dropout = layer.dropout if layer.training else 0.0
    keeps = layer.training or _needs_gradient(values, *weights, *states)
    options = (fused.has_biases, layer.num_layers, dropout, keeps, layer.bidirectional)
    call = getattr(torch, fused.name)
    with nullcontext() if torch.compiler.is_compiling() or not values.is_cuda else _weights_anywhere():
        if like is None:
            output, *finals = call(values, hx, weights, *options, batch_first)
            return output, tuple(finals)
        output, *finals = call(values, like.batch_sizes, hx, weights, *options)
    return output, tuple(order_states(state, like.unsorted_indices) for state in finals)


@contextmanager
def _weights_anywhere() -> Generator[None]:
    """Without torch's warning that weights which do not lie in one piece of memory are copied at every call: there may
    be no other way, and no layer but torch.nn's has the `flatten_parameters` that it names."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "RNN module weights are not part of single contiguous chunk")
        yield


def _needs_gradient(*operands: Tensor) -> bool:
    """Whether a gradient may be taken on CUDA: cuDNN keeps what that needs only if it is told to train. An evaluation
    trains without dropout then."""
    return torch.is_grad_enabled() and any(operand.is_cuda and operand.requires_grad for operand in operands)
