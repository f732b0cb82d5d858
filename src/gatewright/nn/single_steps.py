"""Drop-ins for torch.nn.RNNCell, GRUCell and LSTMCell: one step a call, of the equations that the layers have."""

from collections.abc import Sequence
from operator import itemgetter
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from gatewright import cells
from gatewright.axes import HIDDEN, INPUT
from gatewright.backends.triton.chips import chip_of
from gatewright.errors import ShapeError
from gatewright.lang import Cell
from gatewright.lang.cell import BIAS_SPACE
from gatewright.lang.display import NotebookDisplay
from gatewright.nn import backends
from gatewright.nn.calls.arguments import check_dense, check_devices
from gatewright.nn.calls.cell_call import CellCall, run_cell
from gatewright.nn.calls.recorded import no_script
from gatewright.nn.calls.step_call import call_step
from gatewright.nn.engine.differentiable import DTYPES
from gatewright.nn.layers import GRU_GATES, LSTM_GATES, RNN_GATES, Gates, elman_of_torch, layout_of_torch
from gatewright.nn.modes import is_plain
from gatewright.nn.options import check_backend, check_sizes, trace_of
from gatewright.nn.packed_cell import PackedCell
from gatewright.nn.plans import LayerPlan
from gatewright.nn.precision import Precision
from gatewright.trace.simplify import without

States = Tensor | Sequence[Tensor]
_RECORDED = "torch.nn's own cell, whose operations are recorded or transformed"
_ON_DEVICE = "torch.nn's own cell, which is not compiled for {}"
_NO_UNITS = "torch.nn's own cell, which may have no inputs and no units"


def _no_fused() -> str:
    return "a single step is no sequence"


class _OneStep(nn.RNNCellBase, NotebookDisplay):
    """A cell of torch.nn that runs on the compiled engine.

    "auto" leaves a step to torch.nn's own cell where the engine cannot run it (a GPU, autocast), where operations are
    recorded or transformed (torch.compile, torch.jit.trace, torch.func), and where arguments do not fit, so that the
    errors are torch.nn's.
    """

    def _set_up(self, cell: Cell, gates: Gates, backend: str) -> None:
        """Set the backend; torch.nn has created the parameters already."""
        check_backend(backend)
        if backend == "llvm":  # torch.nn's own cells may have no units
            check_sizes({"input_size": self.input_size, "hidden_size": self.hidden_size})
        self.backend = backend
        trace = trace_of(cell)
        self.trace = trace if self.bias else without(trace, BIAS_SPACE)
        sizes = {INPUT: self.input_size, HIDDEN: self.hidden_size}
        self._cell = PackedCell(self.trace, layout_of_torch(self.trace, gates), sizes)
        self._names = [packed.name for packed in self._cell.layout]
        self._packed_of = itemgetter(*self._names)
        has_units = bool(self.input_size and self.hidden_size)
        self._tries_engine = backend == "llvm" or (backend == "auto" and has_units)

    def plan(self) -> backends.Plan:
        """Which backend runs this cell where its parameters are now, and why; of Triton's kernels also what they do."""
        like = self.weight_ih
        plan = self._plan(like)
        if plan.backend != "triton":
            return plan
        chip = chip_of(like.device) if like.is_cuda else None
        return LayerPlan(plan.backend, plan.reason, self.trace, (self._cell.sizes,), like.dtype, chip=chip)

    def _plan(self, like: Tensor) -> backends.Plan:
        if self.backend == "auto":
            if not self._tries_engine:
                return backends.Plan("torch", _NO_UNITS)
            if like.device.type != "cpu":
                return backends.Plan("torch", _ON_DEVICE.format(like.device.type))
            if not is_plain():
                return backends.Plan("torch", _RECORDED)
        precision: Precision | str = Precision(like.dtype, None, ())
        if torch.is_autocast_enabled("cpu"):
            precision = "autocast is on"
        elif like.dtype not in DTYPES:
            precision = f"the dtype is {str(like.dtype).removeprefix('torch.')}"
        return backends.choose(self.backend, self.trace, like, _no_fused, precision)

    def compile_ahead(self, *, gradient: bool, input_gradient: bool) -> None:
        """Compile the kernels of a step for any number of rows; see `gatewright.nn.compile_ahead`."""
        needed = [getattr(self, name).requires_grad for name in self._names]
        operation = self._cell.one_step(self.weight_ih.dtype)
        operation.compile(1, gradient=gradient, input_gradient=input_gradient, needed=needed)

    def __prepare_scriptable__(self) -> Self:
        """Raises GatewrightError, as a layer does: TorchScript cannot compile the Python code that runs a step."""
        raise no_script(self, self.trace.name)

    def forward(self, input: Tensor, hx: States | None = None) -> Any:
        """The states after one step from `hx`, or from zero: (batch, hidden_size), or (hidden_size,) for one row."""
        if self._tries_engine and is_plain():
            try:
                packed: Sequence[Any] = self._packed_of(self._parameters)
            except KeyError:  # computed from others: weight norm or the like
                packed = [getattr(self, name) for name in self._names]
            ends = call_step(self._cell, packed, input, hx)
            if ends is not None:
                return ends[0] if len(ends) == 1 else ends
        if self.backend == "auto" or (plan := self._plan(input)).backend == "torch":
            return super().forward(input, hx)
        (name, values), *states = self._read(input, hx).items()
        packed = [getattr(self, name) for name in self._names]
        _, *finals = run_cell(plan.backend, CellCall(self._cell, {name: values.unsqueeze(0)}, packed, dict(states)))
        ends = tuple(final[0] if input.dim() == 2 else final[0, 0] for final in finals)
        return ends[0] if len(ends) == 1 else ends

    def _read(self, input: Tensor, hx: States | None) -> dict[str, Tensor]:
        """The input and the states by name, each (batch, size)."""
        names = [self.trace.inputs[0].name, *(state.name for state in self.trace.states)]
        if hx is None:
            hx = [input.new_zeros(*input.shape[:-1], self.hidden_size)] * (len(names) - 1)
        tensors = [input, *([hx] if isinstance(hx, Tensor) else hx)]
        for name, tensor in zip(names, tensors, strict=False):
            check_dense(type(self).__name__, name, tensor)
        sizes = [self.input_size, *[self.hidden_size] * (len(names) - 1)]
        wanted = [(*input.shape[:-1], size) for size in sizes]
        fits = input.dim() in (1, 2) and [tuple(tensor.shape) for tensor in tensors] == wanted
        if not fits or any(tensor.dtype != self.weight_ih.dtype for tensor in tensors):
            shown = ", ".join(f"{tuple(tensor.shape)} of {tensor.dtype}" for tensor in tensors)
            raise ShapeError(
                f"{type(self).__name__} was given what does not fit",
                expected=", ".join(f"{name} (batch, {size})" for name, size in zip(names, sizes, strict=True))
                + f", each of {self.weight_ih.dtype}; or all of them without the batch",
                got=shown,
            )
        named = dict(zip(names, tensors, strict=True))
        check_devices(type(self).__name__, {**named, **dict(self.named_parameters())})
        rows = tensors if input.dim() == 2 else [tensor.unsqueeze(0) for tensor in tensors]
        return dict(zip(names, rows, strict=True))


class RNNCell(_OneStep, nn.RNNCell):
    """torch.nn.RNNCell, one step of `gw.nn.RNN`; on the compiled engine where that can run it."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        backend: str = "auto",
    ) -> None:
        cell = elman_of_torch(nonlinearity)
        super().__init__(input_size, hidden_size, bias, nonlinearity, device, dtype)
        self._set_up(cell, RNN_GATES, backend)


class _GatedStep(_OneStep):
    """A cell of torch.nn without a choice of nonlinearity."""

    _equations: ClassVar[Cell]
    _gates: ClassVar[Gates]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        backend: str = "auto",
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype)  # pyright: ignore[reportCallIssue, reportArgumentType] (torch.nn's)
        self._set_up(self._equations, self._gates, backend)


class GRUCell(_GatedStep, nn.GRUCell):
    """torch.nn.GRUCell, one step of `gw.nn.GRU`; on the compiled engine where that can run it."""

    _equations, _gates = cells.gru(reset="after"), GRU_GATES


class LSTMCell(_GatedStep, nn.LSTMCell):
    """torch.nn.LSTMCell, a step of `gw.nn.LSTM`; on the compiled engine where that can run it."""

    _equations, _gates = cells.lstm, LSTM_GATES
