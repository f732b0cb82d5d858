"""Drop-ins for torch.nn.RNN, GRU and LSTM: the same constructor, call, results, parameter names and initialisation."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from gatewright import cells
from gatewright.errors import OptionError
from gatewright.lang import Cell, relu, tanh
from gatewright.nn.engine.checkpointed import Checkpoint
from gatewright.nn.init import Init, resolve
from gatewright.nn.recurrent import Recurrent
from gatewright.packing import Layout, Packed
from gatewright.trace import Trace

Gates = Mapping[str, tuple[str, ...]]
"""The gates of "all" packed parameters in torch.nn's order, and of those that have others."""
RNN_GATES: Gates = {"all": ("h",)}
GRU_GATES: Gates = {"all": ("r", "z", "n"), "bias_hh": ("r", "z", "hn")}
LSTM_GATES: Gates = {"all": ("i", "f", "g", "o"), "weight_hr": ("h",)}
_SPACES = {"weight_ih": "W", "weight_hh": "U", "bias_ih": "b", "bias_hh": "b", "weight_hr": "P"}


def layout_of_torch(trace: Trace, gates: Gates) -> Layout:
    """The parameters packed under torch.nn's names, with torch.nn's two biases."""
    present = trace.spaces()
    return tuple(
        Packed(name, tuple(f"{space}.{gate}" for gate in gates.get(name, gates["all"])))
        for name, space in _SPACES.items()
        if space in present
    )


def elman_of_torch(nonlinearity: str) -> Cell:
    """The cell of torch.nn.RNN and RNNCell.

    Raises OptionError where torch.nn has no such nonlinearity.
    """
    known = {"tanh": tanh, "relu": relu}
    if nonlinearity not in known:
        raise OptionError("nonlinearity is unknown", expected="'tanh' or 'relu'", got=repr(nonlinearity))
    return cells.elman(activation=known[nonlinearity])


class _TorchLayer(Recurrent, nn.RNNBase):  # pyright: ignore[reportIncompatibleMethodOverride, reportIncompatibleVariableOverride]
    """A layer that packs its parameters as torch.nn does.

    It is a torch.nn.RNNBase, by which tools tell recurrent layers, and has what that has. It is no torch.nn.GRU or
    LSTM: torch.compile breaks its graph at each of those.
    """

    _gates: ClassVar[Gates]
    mode: str

    def __init__(self, cell: Cell, *sizes: Any, proj_size: int = 0, **options: Any) -> None:
        """`sizes` and `options` are those of `Recurrent`."""
        super().__init__(cell, *sizes, sizes={"projection": proj_size} if proj_size else None, **options)
        self.proj_size = proj_size
        self.flatten_parameters()
        if self.dropout and self.num_layers == 1:
            warnings.warn(
                f"{type(self).__name__}: dropout={self.dropout} comes after every layer but the last, so that with "
                "num_layers=1 it does nothing",
                stacklevel=3,
            )

    def _choose_layout(self) -> Layout:
        return layout_of_torch(self.trace, self._gates)

    def reset_parameters(self) -> None:
        """Draw all parameters anew; with init="torch" the very numbers that torch.nn draws from the same seed."""
        if self.init != resolve("torch"):
            super().reset_parameters()
            return
        bound = self.hidden_size**-0.5
        for weight in self.parameters():
            nn.init.uniform_(weight, -bound, bound)

    @property
    def _all_weights(self) -> list[list[str]]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.packed_names

    @property
    def _flat_weights_names(self) -> list[str]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return [name for names in self.packed_names for name in names]

    @property
    def _flat_weights(self) -> list[Tensor]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return [getattr(self, name) for name in self._flat_weights_names]

    # torch.nn.RNNBase keeps a second list of its parameters up to date, and ours asks for them when it needs them
    __setattr__ = nn.Module.__setattr__  # pyright: ignore[reportAssignmentType]
    __setstate__ = nn.Module.__setstate__  # pyright: ignore[reportAssignmentType]
    _replicate_for_data_parallel = nn.Module._replicate_for_data_parallel  # pyright: ignore[reportPrivateUsage, reportAssignmentType]
    extra_repr = nn.RNNBase.extra_repr  # pyright: ignore[reportAssignmentType]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        nn.Module._apply(self, fn, recurse)  # pyright: ignore[reportPrivateUsage]
        self.flatten_parameters()
        return self


class RNN(_TorchLayer):
    """torch.nn.RNN: h' = tanh(W x + b_ih + U h + b_hh), or relu. Elman 1990."""

    _gates = RNN_GATES

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        init: Init = "torch",
        backend: str = "auto",
        checkpoint: Checkpoint = None,
    ) -> None:
        cell = elman_of_torch(nonlinearity)
        super().__init__(
            cell, input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
            init=init, backend=backend, checkpoint=checkpoint, device=device, dtype=dtype,
        )  # fmt: skip
        self.nonlinearity = nonlinearity
        self.mode = f"RNN_{nonlinearity.upper()}"


class GRU(_TorchLayer):
    """torch.nn.GRU: the reset gate acts after the recurrent product, and z = 1 keeps the old state.

    Cho et al. 2014 (1406.1078), in the form of cuDNN. The equations are those of `gw.cells.gru(reset="after")`.
    """

    _gates = GRU_GATES
    mode = "GRU"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        init: Init = "torch",
        backend: str = "auto",
        checkpoint: Checkpoint = None,
    ) -> None:
        super().__init__(
            cells.gru(reset="after"), input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
            init=init, backend=backend, checkpoint=checkpoint, device=device, dtype=dtype,
        )  # fmt: skip


class LSTM(_TorchLayer):
    """torch.nn.LSTM: gates i, f, g, o; without peepholes; `proj_size` as in Sak et al. 2014 (1402.1128).

    Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000.
    """

    _gates = LSTM_GATES
    mode = "LSTM"
    get_expected_cell_size = nn.LSTM.get_expected_cell_size
    check_forward_args = nn.LSTM.check_forward_args  # pyright: ignore[reportAssignmentType]
    permute_hidden = nn.LSTM.permute_hidden  # pyright: ignore[reportAssignmentType]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        init: Init = "torch",
        backend: str = "auto",
        checkpoint: Checkpoint = None,
    ) -> None:
        if not 0 <= proj_size < hidden_size:
            raise OptionError(
                "proj_size does not fit hidden_size",
                expected=f"from 0 (none) to {hidden_size - 1}",
                got=repr(proj_size),
            )
        super().__init__(
            cells.lstm_projected if proj_size else cells.lstm, input_size, hidden_size, num_layers, bias, batch_first,
            dropout, bidirectional, proj_size=proj_size, init=init, backend=backend, checkpoint=checkpoint,
            device=device, dtype=dtype,
        )  # fmt: skip
