"""`QuantizedRecurrent`: a recurrent layer for inference whose matrices are whole numbers of eight bits."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn, Self, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from gatewright.backends.llvm.emit.vector_type import Products
from gatewright.errors import GatewrightError, OptionError, ShapeError
from gatewright.int8 import LARGEST
from gatewright.model_file.narrow import SCALES, stored
from gatewright.network.narrow import narrow_places
from gatewright.nn.engine.integer_weights import IntegerWeights
from gatewright.nn.engine.schedules import simplified_and_planned
from gatewright.nn.modes import is_forward_mode, is_transformed
from gatewright.nn.packed_cell import PackedCell, QuantizedCell
from gatewright.nn.plans import LayerPlan
from gatewright.nn.recurrent import Recurrent, States
from gatewright.packing import overlaps
from gatewright.trace.ir import names_of

_Pair = tuple[Tensor, Tensor]
"""The numbers of a matrix, int8, and the scale of each row, float32."""


class QuantizedRecurrent(Recurrent):
    """A recurrent layer for inference with its matrices in eight bits: what `gw.nn.quantize` makes of a layer.

    It is called as the layer that it was made of. It has no parameters and no gradients. A matrix is whole numbers of
    eight bits with a scale for each row, and is held once, in the order in which the kernels read it. Biases, and
    matrices of fewer than eight columns, are buffers in float32.

    - `state_dict()`: `weight_hh_l0`, int8, and `weight_hh_l0.scales`, float32, for every matrix, as they are in a model
      file of eight bits; the buffers. `load_state_dict` takes these, and torch.load(weights_only=True) reads them.
    - `matrices()`: the same numbers and scales by the matrix's name.
    - `dequantize()`: a float32 layer with the rounded matrices.
    - `weight_bytes`: the bytes that the weights take now.

    The layer runs on the CPU alone, by the compiled engine. Conversions of a model to another dtype leave it as it is:
    its input and results are float32. It is not recorded: torch.compile calls it between two graphs, and
    torch.jit.trace, torch.export and torch.onnx.export are refused.
    """

    _float_layer: Recurrent

    def __init__(self, layer: Recurrent) -> None:
        """Takes a float32 layer on the CPU over: it keeps its options, and loses its parameters.

        Raises OptionError where its matrices cannot be kept in eight bits.
        """
        tensors = [layer.packed_parameters(index) for index in range(len(layer.packed_cells))]
        cells: list[PackedCell] = []
        floats: dict[str, Tensor] = {}
        for cell, names, packed in zip(layer.packed_cells, layer.packed_names, tensors, strict=True):
            pairs: dict[int, _Pair] = {}
            places = _integer_places(cell)
            for place, (name, tensor) in enumerate(zip(names, packed, strict=True)):
                if place in places:
                    pairs[place] = _rounded(name, tensor)
                else:
                    floats[name] = tensor.detach().clone()
            weights = IntegerWeights(cell.layout, pairs)
            cells.append(
                QuantizedCell(
                    trace=cell.trace, layout=cell.layout, sizes=cell.sizes, backwards=cell.backwards, weights=weights
                )
            )
        nn.Module.__init__(self)
        own = {name: value for name, value in vars(layer).items() if name not in _REPLACED}
        self.__dict__.update(own)
        self.packed_cells = cells
        self._no_matrix = torch.empty(
            0, dtype=torch.float32, device="cpu"
        )  # in the place of a matrix among the operands of a call
        for name, tensor in floats.items():
            self.register_buffer(name, tensor)
        self.__dict__["_float_layer"] = _without_weights(layer)

    _products = "int8"

    @property
    def products(self) -> Products:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Of whole numbers; another dtype cannot be chosen."""
        return "int8"

    @property
    def backend(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The compiled engine; another backend cannot be chosen."""
        return "llvm"

    @property
    def weight_bytes(self) -> int:
        """The bytes of all weights as they are held now.

        One order of the matrices is there from the first call on. Calls of another kind (single steps, one row, many
        rows) may need another one, which takes as much again.
        """
        return sum(cell.weights.nbytes for cell in self._cells()) + sum(buffer.nbytes for buffer in self._own_buffers())

    def matrices(self) -> dict[str, _Pair]:
        """The numbers and scales of every matrix in eight bits, by its name in the state dict."""
        return {name: cell.weights.matrix(place) for name, cell, place in self._places()}

    def dequantize(self) -> Recurrent:
        """A float32 layer of the class that was quantised, with the rounded matrices, which quantise to the same."""
        layer = copy.deepcopy(self._float_layer)
        for name, tensor in self._float_tensors().items():
            layer._parameters[name] = nn.Parameter(tensor)  # pyright: ignore[reportPrivateUsage]
        layer.training = self.training
        return layer

    def packed_parameters(self, index: int) -> list[Tensor]:
        """The operands of a call of one direction: the float32 buffers, and an empty tensor for each matrix in eight
        bits."""
        buffers = self._buffers
        return [cast("Tensor", buffers.get(name, self._no_matrix)) for name in self.packed_names[index]]

    def gate_parameters(self) -> dict[str, Tensor]:
        """Every rounded parameter in float32, by the name that the equations give it; see `Recurrent`."""
        return self.dequantize().requires_grad_(requires_grad=False).gate_parameters()

    def reset_parameters(self) -> None:
        """Raises OptionError: the weights come from a layer that was trained."""
        raise OptionError("the weights of a quantised layer cannot be drawn", do="quantise a layer with new parameters")

    def flatten_parameters(self) -> None:
        """Does nothing, as for every layer on the CPU; programs call it before each forward."""

    def plan(self, chip: str | None = None) -> LayerPlan:
        """What runs this layer, and how; print it.

        Raises OptionError for a `chip`: no kernels for GPUs multiply weights in int8.
        """
        if chip is not None:
            raise OptionError("a quantised layer runs on a CPU", expected="plan()", got=f"plan({chip!r})")
        with torch.device("cpu"):
            planned = super().plan()
        reason = f"compiled for this processor; {_PLANNED}"
        return LayerPlan(planned.backend, reason, planned.trace, planned.sizes, torch.float32, "int8")

    def forward(
        self,
        input: Tensor | PackedSequence,
        hx: States | None = None,
        lengths: Tensor | Sequence[int] | None = None,
        mask: Tensor | None = None,
        return_gates: bool | None = None,
        resets: Tensor | None = None,
    ) -> Any:
        """Run the layer; see `Recurrent`. Raises OptionError where a gradient is needed or the call is recorded."""
        if torch.compiler.is_compiling():
            if torch.compiler.is_exporting():
                _refuse_recording(self.trace.name)
            return self._forward_between_graphs(input, hx, lengths, mask, return_gates, resets)  # pyright: ignore[reportCallIssue]
        if torch._C._is_tracing():  # pyright: ignore[reportPrivateUsage]
            _refuse_recording(self.trace.name)
        return super().forward(input, hx, lengths, mask, return_gates, resets)

    @torch.compiler.disable
    def _forward_between_graphs(self, *arguments: Any) -> Any:
        return super().forward(*arguments)

    def run_generic(
        self,
        input: Tensor | PackedSequence,
        hx: States | None,
        lengths: Tensor | Sequence[int] | None,
        mask: Tensor | None,
        return_gates: bool | None,
        resets: Tensor | None = None,
    ) -> Any:
        """Generic path; see `Recurrent`. Raises the errors of a call."""
        if is_transformed() or is_forward_mode():
            raise OptionError(
                "layers of weights in int8 have no derivatives, and are not mapped",
                expected="a call outside the transforms of torch.func and forward-mode differentiation",
                do="use layer.dequantize(), which has both",
            )
        states = hx if isinstance(hx, tuple) else () if hx is None else (hx,)
        if not torch.is_autocast_enabled("cpu"):
            for what, tensor in (("an input", input), *(("an initial state", state) for state in states)):
                self._check_float32(what, tensor.data if isinstance(tensor, PackedSequence) else tensor)
        return super().run_generic(input, hx, lengths, mask, return_gates, resets)

    def _check_float32(self, what: str, tensor: Any) -> None:
        if isinstance(tensor, Tensor) and tensor.dtype != torch.float32:
            raise ShapeError(
                f"{type(self).__name__}({self.trace.name}) was given {what} of another dtype than float32",
                expected=str(torch.float32),
                got=str(tensor.dtype),
                do="convert it, .to(torch.float32); conversions of the model leave a quantised layer as it is",
            )

    def _cells(self) -> list[QuantizedCell]:
        return cast("list[QuantizedCell]", self.packed_cells)

    def _places(self) -> Iterator[tuple[str, QuantizedCell, int]]:
        """Every matrix in eight bits: its name, its direction, and its place in the layout."""
        for cell, names in zip(self._cells(), self.packed_names, strict=True):
            yield from ((names[place], cell, place) for place in cell.weights.places)

    def _own_buffers(self) -> Iterator[Tensor]:
        names = {name for names in self.packed_names for name in names}
        return (buffer for name, buffer in self._buffers.items() if buffer is not None and name in names)

    def _float_tensors(self) -> dict[str, Tensor]:
        """Every packed parameter in float32."""
        pairs = {name: scales[:, None] * numbers for name, (numbers, scales) in self.matrices().items()}
        names = [name for names in self.packed_names for name in names]
        return {name: pairs[name] if name in pairs else cast("Tensor", self._buffers[name]).clone() for name in names}

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """What moves a model, converts it or shares its memory: only results of the same dtype on the CPU are taken."""
        probe = fn(torch.empty(0, dtype=torch.float32, device="cpu"))
        if probe.device.type != "cpu":
            raise OptionError(
                f"the quantised layer of {self.trace.name!r} cannot leave the CPU",
                expected="a device of type 'cpu'",
                got=repr(str(probe.device)),
                do="move the float32 model, which quantize left as it was, or layer.dequantize()",
            )

        def converted(tensor: Tensor) -> Tensor:
            result = fn(tensor)
            return result if result.dtype == tensor.dtype else tensor

        for cell in self._cells():
            cell.weights.apply(converted)
        for name, buffer in self._buffers.items():
            if buffer is not None:
                self._buffers[name] = converted(buffer)
        return self

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        pairs = self.matrices()
        for name in (name for names in self.packed_names for name in names):
            if name in pairs:
                numbers, scales = pairs[name]
                destination[prefix + name], destination[prefix + name + SCALES] = numbers, scales
            else:
                buffer = cast("Tensor", self._buffers[name])
                destination[prefix + name] = buffer if keep_vars else buffer.detach()

    def _load_from_state_dict(
        self,
        state_dict: Mapping[str, Any],
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Copy the numbers of a state dict. Nothing changes where any of them do not fit."""
        expected = [name for names in self.packed_names for name in names]
        expected += [name + SCALES for name, _, _ in self._places()]
        missing = [prefix + name for name in expected if prefix + name not in state_dict]
        wrong = list(self._misfits(state_dict, prefix))
        missing_keys += missing
        error_msgs += wrong
        if strict:
            known = {prefix + name for name in expected}
            unexpected_keys += [key for key in state_dict if key.startswith(prefix) and key not in known]
        if missing or wrong:
            return
        for cell, names in zip(self._cells(), self.packed_names, strict=True):
            pairs: dict[int, _Pair] = {}
            for place, name in enumerate(names):
                tensor = state_dict[prefix + name].detach()
                if place in cell.weights.shapes:
                    pairs[place] = tensor.cpu().clone(), state_dict[prefix + name + SCALES].detach().cpu().clone()
                else:
                    cast("Tensor", self._buffers[name]).copy_(tensor)
            cell.weights.replaced(pairs)

    def _misfits(self, tensors: Mapping[str, Any], prefix: str) -> Iterator[str]:
        """Why tensors of a state dict do not fit."""
        pairs = {name: tuple(cell.weights.shapes[place]) for name, cell, place in self._places()}
        for name in (name for names in self.packed_names for name in names if prefix + name in tensors):
            tensor: Tensor = tensors[prefix + name]
            shape = pairs.get(name) or tuple(cast("Tensor", self._buffers[name]).shape)
            if tuple(tensor.shape) != shape:
                yield f"{prefix}{name} has the shape {tuple(tensor.shape)}, and the layer's has {shape}"
            elif name in pairs and tensor.dtype != torch.int8:
                do = "load it into the float32 model, and quantise that"
                yield f"{prefix}{name} is {tensor.dtype} and not torch.int8: {do}"
            elif name in pairs and bool((tensor < -LARGEST).any()):
                yield f"{prefix}{name} has whole numbers below -{LARGEST}"
            elif name in pairs and prefix + name + SCALES in tensors:
                scales: Tensor = tensors[prefix + name + SCALES]
                fits = tuple(scales.shape) == shape[:1] and scales.dtype == torch.float32
                if not fits or not bool((scales.isfinite() & (scales > 0)).all()):
                    yield f"{prefix}{name}{SCALES} has not a positive float32 number for each of {shape[0]} rows"
            elif name not in pairs and not tensor.is_floating_point():
                yield f"{prefix}{name} is {tensor.dtype} and not torch.float32"


@torch.compiler.assume_constant_result  # torch.compile cannot follow how an error is made
def _refuse_recording(name: str) -> NoReturn:
    raise GatewrightError(
        f"the quantised layer of {name!r} cannot be recorded in a graph",
        expected="a call outside torch.jit.trace, torch.export and torch.onnx.export",
        do='call gw.export.onnx or gw.export.safetensors with weights="int8", or record layer.dequantize()',
    )


_PLANNED = "matrices in int8, packed once; products in int8"
_REPLACED = {"_parameters", "_buffers", "_modules", "packed_cells", "backend", "_products", "_checkpoint"}
"""What a quantised layer does not take over from the layer that it was made of."""


def _integer_places(cell: PackedCell) -> set[int]:
    """The places in the layout of the matrices that are kept in eight bits: those that only kernels read."""
    places = set(narrow_places(cell.trace, cell.layout, cell.sizes))
    shared = {
        place for overlap in overlaps(cell.layout, cell.trace, cell.sizes) for place in (overlap.first, overlap.second)
    }
    program = simplified_and_planned(cell.trace)[1]
    computed = names_of(arg for equation in program.prologue for arg in equation.args)
    return {place for place in places - shared if computed.isdisjoint(cell.layout[place].slots)}


def _rounded(name: str, tensor: Tensor) -> _Pair:
    try:
        parts = stored(name, tensor.detach().numpy(), "int8")
    except ValueError as error:
        raise OptionError(
            f"the layer cannot be quantised: {error}", do="train the model again, with a lower rate or with clip"
        ) from error
    return torch.from_numpy(parts[name]), torch.from_numpy(parts[name + SCALES])


def _without_weights(layer: Recurrent) -> Recurrent:
    """The layer without memory for its parameters, and without hooks."""
    for name, parameter in layer._parameters.items():  # pyright: ignore[reportPrivateUsage]
        if parameter is not None:
            empty = torch.empty(parameter.shape, dtype=parameter.dtype, device="meta")
            layer._parameters[name] = nn.Parameter(empty)  # pyright: ignore[reportPrivateUsage]
    plain = nn.Module()
    for name in vars(layer):
        if "_hook" in name:
            layer.__dict__[name] = copy.copy(vars(plain).get(name))
    return layer
