"""The cells that torch.nn has too give torch.nn's numbers, with torch.nn's weights."""

import numpy as np
import pytest

from gatewright import cells
from gatewright.backends import numpy_ref
from gatewright.lang import Cell, relu
from gatewright.trace import trace_cell
from tests.cells.cases import BATCH, SIZES, STEPS, Arrays
from tests.parity.assertions import assert_parity

torch = pytest.importorskip("torch", reason="needs PyTorch")

I, H, P = SIZES["input"], SIZES["hidden"], SIZES["projection"]  # noqa: E741


def arrays(module, gates: str) -> Arrays:
    """Our names for torch's stacked weights; its two biases are one of ours."""
    named = {key.removesuffix("_l0"): value.detach().numpy() for key, value in module.named_parameters()}
    b = named["bias_ih"] + named["bias_hh"]
    stacked = {"W": named["weight_ih"], "U": named["weight_hh"], "b": b}
    return {
        f"{space}.{gate}": part
        for space, matrix in stacked.items()
        for gate, part in zip(gates.split(), np.split(matrix, len(gates.split())), strict=True)
    }


def check(cell: Cell, module, params: Arrays, state_sizes: tuple[int, ...], rng: np.random.Generator) -> None:
    x = rng.normal(size=(STEPS, BATCH, I))
    states = {name: rng.normal(size=(BATCH, size)) for name, size in zip(cell.states, state_sizes, strict=True)}
    given = tuple(torch.from_numpy(value)[None] for value in states.values())
    with torch.no_grad():
        output, finals = module(torch.from_numpy(x), given if len(given) > 1 else given[0])
    run = numpy_ref.run(trace_cell(cell), {"x": x}, params, states)
    finals = finals if isinstance(finals, tuple) else (finals,)
    got = {"output": run.output, **run.finals}
    want = {"output": output, **dict(zip(cell.states, (final[0] for final in finals), strict=True))}
    assert_parity(got, want, dtype="float64", steps=STEPS, cell=cell.label, backend="torch")


@pytest.mark.parametrize(("cell", "word"), [(cells.rnn, "tanh"), (cells.rnn(activation=relu), "relu")])
def test_rnn(cell: Cell, word: str, rng: np.random.Generator) -> None:
    module = torch.nn.RNN(I, H, nonlinearity=word, dtype=torch.float64)
    check(cell, module, arrays(module, "h"), (H,), rng)


def test_gru(rng: np.random.Generator) -> None:
    module = torch.nn.GRU(I, H, dtype=torch.float64)
    params = arrays(module, "r z n")
    hn = module.bias_hh_l0.detach().numpy()[2 * H :]
    params |= {"b.n": params["b.n"] - hn, "b.hn": hn}
    check(cells.gru(reset="after"), module, params, (H,), rng)


def test_lstm(rng: np.random.Generator) -> None:
    module = torch.nn.LSTM(I, H, dtype=torch.float64)
    check(cells.lstm, module, arrays(module, "i f g o"), (H, H), rng)


def test_lstm_projected(rng: np.random.Generator) -> None:
    module = torch.nn.LSTM(I, H, proj_size=P, dtype=torch.float64)
    params = {**arrays(module, "i f g o"), "P.h": module.weight_hr_l0.detach().numpy()}
    check(cells.lstm_projected, module, params, (P, H), rng)
