"""`Recurrent`: any cell as a torch layer."""

import copy
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, Literal, Self, overload

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from gatewright.axes import HIDDEN, INPUT, bind
from gatewright.backends.base import check_relabels
from gatewright.backends.triton.chips import OnChip, chip_named, chip_of
from gatewright.backends.triton.newton import Newton, NewtonReport
from gatewright.lang import Cell
from gatewright.lang.cell import BIAS_SPACE
from gatewright.lang.display import NotebookDisplay
from gatewright.nn import backends
from gatewright.nn import init as initialisers
from gatewright.nn.call_options import CallOptions
from gatewright.nn.calls.arguments import CallArguments, check_input, no_tensor, read_arguments
from gatewright.nn.calls.fused_call import call_fused, fused_or_reason
from gatewright.nn.calls.layer_call import (
    call_fast,
    call_fast_packed,
    call_generic,
)
from gatewright.nn.calls.recorded import no_packed_export, no_script, record_call
from gatewright.nn.dropout import check_per
from gatewright.nn.engine.checkpointed import Checkpoint
from gatewright.nn.kernel_listing import KernelListing
from gatewright.nn.layer_plans import layer_plan
from gatewright.nn.modes import is_simulated
from gatewright.nn.options import (
    as_cell,
    check_axes,
    check_options,
    check_stacked,
    newton_of,
    trace_of,
)
from gatewright.nn.packed_cell import PackedCell
from gatewright.nn.plans import LayerPlan
from gatewright.nn.precision import precision_of
from gatewright.nn.sequence import repack
from gatewright.nn.source import Source, check_no_chip, listing_of, source_of
from gatewright.nn.torch_fused import Fused
from gatewright.packing import Layout, layout_of, packed_shape, parts, tensor_name
from gatewright.trace import Trace
from gatewright.trace.simplify import without

States = Tensor | tuple[Tensor, ...]


class Recurrent(CallOptions, nn.Module, NotebookDisplay):
    """A recurrent layer of any cell, called as torch.nn.GRU is.

        output, h_n = gw.nn.Recurrent(cell, input_size, hidden_size)(x, h_0)

    - `cell`: a Cell, the name of one in the catalogue ("gru"), or a Trace (as a model file carries it).
    - `x` (time, batch, input_size), or (batch, time, input_size) with `batch_first`, or without the batch axis; or a
      PackedSequence. `output` has the same form with num_directions * output_size features.
    - `h_0`, `h_n` (num_layers * num_directions, batch, size); for a cell of several states a tuple of these in the
      order of the cell's signature. Zero where it is not given.
    - `lengths` (batch,): rows end there; the output is 0 after the end and the final state is that at the end.
    - `mask` (time, batch): where it is 0 the row keeps its state and emits it again.
    - `resets` (time, batch): where it is not 0 the row's states start anew, from 0, before that step. A row is then
      several sequences one after the other, and no gradient flows from one to another. `h_0` starts the first of them,
      and the final state is that of the last one. The backward direction starts anew at the same boundaries: before it
      reads the step that precedes a reset. With `batch_first` it is (batch, time), as is `mask`.
    - `return_gates=True` gives a third result: every gate at every step, {"r": (time, batch, hidden_size), ...}; with
      several layers or directions the names are "l0.r", "l0_reverse.r", "l1.r", ...

    Parameters are packed by space: `W_l0`, `U_l0`, `b_l0`, ..., `W_l0_reverse`; `gate_parameters()` has a view of each.
    `sizes` gives the sizes of axes that the cell declares besides input and hidden. `init` is explained in
    gatewright.nn.init; `layout` packs the parameters in another way (gatewright.packing). `dropout` is applied to the
    outputs of every layer but the last, in training; `dropout_per="sequence"` keeps its mask over all steps.
    `products` of a float32 layer may be set to "bfloat16": operands of products are rounded to that dtype, as under
    torch.autocast, and everything else stays float32.
    `checkpoint=True` trains with less memory: see gatewright.nn.engine.checkpointed. Saved values are not kept but
    computed again, for sqrt(T) steps at a time, or for the number of steps that is given; it may be set later.
    `newton=True` solves all steps at once by Newton's iterations, for a cell whose units recur each by itself (p.g * h
    in place of U.g @ h), and `newton=gw.nn.Newton(...)` sets how; it may be set later. `newton_reports` tells how the
    last call went, for every direction of every level.
    `backend` is "auto", or asks by name for "llvm" (compiled, on the CPU), "triton" (compiled, on a GPU), "cudnn"
    (torch.gru and its like on CUDA, for the equations of torch.nn's layers), "torch-fused" (the same functions on any
    device) or "torch" (operation by operation); `plan()` tells what runs.

    Raises OptionError for options that cannot be, ShapeError for arrays that do not fit.
    """

    _newton: Newton | None = None
    newton_reports: tuple[NewtonReport, ...] = ()

    def __init__(
        self,
        cell: Cell | Trace | str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        sizes: Mapping[str, int] | None = None,
        init: initialisers.Init = "torch",
        backend: str = "auto",
        layout: Layout | None = None,
        dropout_per: str = "step",
        checkpoint: Checkpoint = None,
        newton: Newton | bool | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        nn.Module.__init__(self)  # a drop-in is a torch.nn.RNNBase too, whose constructor makes parameters of its own
        check_options(input_size, hidden_size, num_layers, dropout, backend, {"bias": bias, "batch_first": batch_first})
        check_per(dropout_per)
        self.checkpoint = checkpoint
        self.cell = as_cell(cell)
        trace = trace_of(self.cell)
        check_axes(trace, sizes or {})
        self.trace = trace if bias else without(trace, BIAS_SPACE)
        names = [param.name for param in self.trace.params]
        self.newton = newton
        self.starts = {} if isinstance(self.cell, Trace) else self.cell.starts(names)  # not drawn by `init`
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout = bias, batch_first, float(dropout)
        self.dropout_per = dropout_per
        self.bidirectional, self.backend, self.init = bidirectional, backend, initialisers.resolve(init)
        self._extra = dict(sizes or {})
        self.layout = layout or self._choose_layout()
        below = self.output_size * (2 if bidirectional else 1)
        self._sizes = (self._sizes_above(input_size), self._sizes_above(below))
        check_stacked(self.trace, *self._sizes, num_layers)
        self.state_shapes = tuple(bind(state.shape, self._sizes[0]) for state in self.trace.states)  # of one row
        self.packed_names: list[list[str]] = []
        self.packed_cells: list[PackedCell] = []
        for layer, suffix in self.directions():
            check_relabels(self.trace, self.sizes(layer))
            self.packed_cells.append(PackedCell(self.trace, self.layout, self.sizes(layer), bool(suffix)))
            self.packed_names.append([tensor_name(packed, layer, bool(suffix)) for packed in self.layout])
            for name, packed in zip(self.packed_names[-1], self.layout, strict=True):
                shape = packed_shape(packed, self.trace, self.sizes(layer))
                self.register_parameter(name, nn.Parameter(torch.empty(shape, device=device, dtype=dtype)))
        self.reset_parameters()

    def _choose_layout(self) -> Layout:
        return layout_of(self.trace)

    def directions(self) -> list[tuple[int, str]]:
        """The level and the suffix of every direction, in the order of the states."""
        suffixes = ("", "_reverse") if self.bidirectional else ("",)
        return [(layer, suffix) for layer in range(self.num_layers) for suffix in suffixes]

    @property
    def newton(self) -> Newton | None:
        """How Newton's iterations solve all steps at once; None where a loop takes them. It may be set to True. Setting
        it raises OptionError where the cell's units need one another."""
        return self._newton

    @newton.setter
    def newton(self, newton: Newton | bool | None) -> None:
        self._newton = newton_of(newton, self.trace)

    @property
    def output_size(self) -> int:
        """The features that one direction emits: the size of the cell's first state."""
        return bind(self.trace.states[0].shape, {**self._extra, HIDDEN: self.hidden_size})[0]

    def sizes(self, layer: int = 0) -> dict[str, int]:
        """The size of every axis of the cell in one layer."""
        return self._sizes[min(layer, 1)]

    def _sizes_above(self, input_size: int) -> dict[str, int]:
        sizes = {**self._extra, INPUT: input_size, HIDDEN: self.hidden_size}
        bind(self.trace.axes(), sizes)
        return sizes

    def reset_parameters(self) -> None:
        """Draw all parameters anew, as `init` and the cell say."""
        for index, (layer, _) in enumerate(self.directions()):
            sizes = self.sizes(layer)
            named: dict[str, Tensor] = {}
            for packed, tensor in zip(self.layout, self.packed_parameters(index), strict=True):
                for name, part in parts(packed, tensor.detach(), self.trace, sizes).items():
                    if name in named:
                        nn.init.zeros_(part)  # the second of two parts that are added, such as b_ih and b_hh
                    named.setdefault(name, part)
            self.init(initialisers.LayerParameters(named, self.trace), sizes, self.starts)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        copied = type(self).__new__(type(self))
        memo[id(self)] = copied
        copied.__dict__ = copy.deepcopy(self.__dict__, memo)
        return copied

    def __getstate__(self) -> dict[str, Any]:
        """The state for pickle and torch.save. A cell is code and cannot be pickled: its Trace takes its place."""
        return {**self.__dict__, "cell": trace_of(self.cell)}

    def packed_parameters(self, index: int) -> list[Tensor]:
        """The parameters of one direction of one level, as they are now: some may be computed from others."""
        parameters = self._parameters  # reading an attribute of a module is slower
        packed: list[Any] = []
        for name in self.packed_names[index]:
            tensor = parameters.get(name)
            packed.append(getattr(self, name) if tensor is None else tensor)
        return packed

    def gate_parameters(self) -> dict[str, Tensor]:
        """A view of every parameter under the name that the equations give it: {"l0.W.r": (hidden_size, input_size),
        ...}.

        A parameter that torch keeps in two parts (b_ih and b_hh of the same gate) has a second view, "l0.b.r (2)".
        """
        views: dict[str, Tensor] = {}
        for index, (layer, suffix) in enumerate(self.directions()):
            for packed, tensor in zip(self.layout, self.packed_parameters(index), strict=True):
                for name, view in parts(packed, tensor, self.trace, self.sizes(layer)).items():
                    key = f"l{layer}{suffix}.{name}"
                    views[key if key not in views else f"{key} (2)"] = view
        return views

    def plan(self, chip: str | None = None) -> LayerPlan:
        """Which backend runs this layer where its parameters are now, why, and what it does; print it.

        With the name of a `chip`, such as "sm_90" or "gfx942", it is the plan on such a GPU, which need not be there.
        """
        like = next(self.parameters(), torch.empty(0))
        return layer_plan(self, self.backend, like if chip is None else OnChip(like.dtype, chip_named(chip)))

    @overload
    def source(
        self, backend: Literal["llvm"] = "llvm", *, gradient: bool = ..., layer: int = ..., steps: int = ...,
        batch: int = ..., chip: None = ...
    ) -> Source: ...  # fmt: skip

    @overload
    def source(
        self, backend: Literal["triton"], *, gradient: bool = ..., layer: int = ..., steps: int = ...,
        batch: int = ..., chip: str | None = ...
    ) -> KernelListing: ...  # fmt: skip

    def source(
        self,
        backend: str = "llvm",
        *,
        gradient: bool = False,
        layer: int = 0,
        steps: int = 100,
        batch: int = 1,
        chip: str | None = None,
    ) -> Source | KernelListing:
        """The code that runs a layer, or its gradient: `print(layer.source())`, or its `program`, `ir`, `assembly`.

        It is the code for `steps` steps of `batch` rows: tiles depend on them. For "triton" it is what the kernels are
        on a `chip`, such as "sm_90" or "gfx942": without one on the GPU at hand, else on an H100. No GPU is needed. Its
        string has the text of every kernel with the registers and the shared memory that it takes; `assembly` is PTX.
        Raises OptionError if the layer runs on another backend, or kernels for GPUs cannot run it.
        """
        if backend != "triton":
            check_no_chip(backend, chip)
            return source_of(self.plan(), backend, gradient=gradient, layer=layer, steps=steps, batch=batch)
        like = next(self.parameters(), torch.empty(0))
        place = chip_of(like.device) if chip is None else chip_named(chip)
        plan = layer_plan(self, "triton", OnChip(like.dtype, place))
        return listing_of(plan, place, gradient=gradient, layer=layer, steps=steps, batch=batch)

    def forward(
        self,
        input: Tensor | PackedSequence,
        hx: States | None = None,
        lengths: Tensor | Sequence[int] | None = None,
        mask: Tensor | None = None,
        return_gates: bool | None = None,
        resets: Tensor | None = None,
    ) -> tuple[Tensor | PackedSequence, States] | tuple[Tensor | PackedSequence, States, dict[str, Tensor]]:
        """Run the layer; see the class.

        torch.onnx.export by TorchScript passes every default by position, and a False as a tensor: so `return_gates`
        is None by default, and no argument is by keyword only.
        """
        if mask is None and isinstance(input, Tensor):
            results = call_fast(self, input, hx, lengths, bool(return_gates), resets)
            if results is not None:
                output, finals, gates = results
                h_n = finals[0] if len(finals) == 1 else finals
                return (output, h_n, gates) if return_gates else (output, h_n)
        elif isinstance(input, PackedSequence) and mask is None and lengths is None and resets is None:
            results = call_fast_packed(self, input, hx, bool(return_gates))
            if results is not None:
                output, finals, gates = PackedSequence(results.output, *input[1:]), *results[1:]
                h_n = finals[0] if len(finals) == 1 else finals
                return (output, h_n, gates) if return_gates else (output, h_n)
        if not torch.compiler.is_compiling():
            options = {"lengths": lengths, "mask": mask, "return_gates": return_gates, "resets": resets}
            recorded = record_call(self, input, hx, options)
            if recorded is not None:
                return recorded
        return self.run_generic(input, hx, lengths, mask, return_gates, resets)

    def __prepare_scriptable__(self) -> Self:
        """Called by torch.jit.script. Raises GatewrightError: TorchScript cannot compile the code that runs a layer."""
        raise no_script(self, self.trace.name)

    def run_generic(
        self,
        input: Tensor | PackedSequence,
        hx: States | None,
        lengths: Tensor | Sequence[int] | None,
        mask: Tensor | None,
        return_gates: bool | None,
        resets: Tensor | None = None,
    ) -> Any:
        """Generic path: any arguments, by any backend, within any mode of torch. Raises the errors of a call."""
        like = input.data if isinstance(input, PackedSequence) else input
        if not isinstance(like, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise no_tensor(self, input)
        check_input(self, like)
        empty = not torch.compiler.is_compiling() and not like.numel()  # a graph serves any number of steps
        find_fused = partial(
            fused_or_reason,
            self,
            like,
            mask=mask is not None,
            gates=bool(return_gates),
            resets=resets is not None,
            empty=empty,
            unread_lengths=lengths is not None and (torch.compiler.is_compiling() or is_simulated(like)),
        )
        states = [state for state in (hx if isinstance(hx, tuple | list) else (hx,)) if isinstance(state, Tensor)]
        precision = precision_of(self, like, states, packed=isinstance(input, PackedSequence))
        plan = backends.choose(self.backend, self.trace, like, find_fused, precision, self.newton)
        stay_packed = plan.backend in backends.FUSED
        if isinstance(input, PackedSequence) and not stay_packed and torch.compiler.is_exporting():
            raise no_packed_export(self)
        arguments = read_arguments(self, input, hx, lengths, mask, resets, stay_packed=stay_packed)
        packed = [self.packed_parameters(index) for index in range(len(self.packed_cells))]
        if self.checkpoint:
            backends.check_checkpoint(plan.backend, self.trace, [like, *states, *chain.from_iterable(packed)])
        fused = find_fused() if stay_packed else None
        if isinstance(fused, Fused):
            results = call_fused(self, fused, arguments, packed, precision)
        else:
            computed = (
                precision if plan.backend in (*backends.ENGINES, "newton") and not isinstance(precision, str) else None
            )
            results = call_generic(self, plan.backend, arguments, packed, gates=bool(return_gates), precision=computed)
        output = self._output_as_called(results.output, arguments, stay_packed)
        finals = results.finals if arguments.batched else tuple(final.squeeze(1) for final in results.finals)
        h_n = finals[0] if len(finals) == 1 else finals
        if not return_gates:
            return output, h_n
        return output, h_n, {name: self._as_called(gate, arguments) for name, gate in results.gates.items()}

    def _output_as_called(self, output: Tensor, arguments: CallArguments, stay_packed: bool) -> Tensor | PackedSequence:
        if arguments.packed is None:
            return self._as_called(output, arguments)
        return PackedSequence(output, *arguments.packed[1:]) if stay_packed else repack(output, arguments.packed)

    def _as_called(self, values: Tensor, arguments: CallArguments) -> Tensor:
        """A time-major sequence with the axes that the caller's input had."""
        if not arguments.batched:
            return values.squeeze(1)
        return values.transpose(0, 1) if self.batch_first else values

    def extra_repr(self) -> str:
        """The arguments that differ from their defaults, as torch.nn shows them."""
        shown = [f"{self.trace.name}, {self.input_size}, {self.hidden_size}"]
        options = {
            "num_layers": 1,
            "bias": True,
            "batch_first": False,
            "dropout": 0.0,
            "dropout_per": "step",
            "bidirectional": False,
            "checkpoint": None,
            "newton": None,
        }
        shown += [f"{name}={getattr(self, name)}" for name, value in options.items() if getattr(self, name) != value]
        return ", ".join([*shown, *(f"{axis}={size}" for axis, size in self._extra.items())])
