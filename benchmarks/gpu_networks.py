"""A whole network on a GPU: the language model of The Time Machine, as Dive into Deep Learning trains it."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import gatewright as gw
from benchmarks.gpu_device import BenchmarkDevice, allow_tf32, told
from benchmarks.names import Record
from benchmarks.setup import rounded, tell

STEPS, ROWS, SYMBOLS, UNITS = 35, 32, 28, 256
"""Of "Concise implementation of recurrent neural networks": 35 characters, 32 rows, 28 symbols one-hot, 256 units."""


class CharacterModel(nn.Module):
    """One-hot characters, a recurrent layer, a linear layer."""

    def __init__(self, recurrent: nn.Module, units: int) -> None:
        super().__init__()
        self.recurrent, self.linear = recurrent, nn.Linear(units, SYMBOLS)

    def loss(self, symbols: Tensor) -> Tensor:
        """The mean cross-entropy of each next symbol; `symbols` are (time + 1, batch)."""
        inputs = F.one_hot(symbols[:-1], SYMBOLS).to(self.linear.weight.dtype)
        return F.cross_entropy(self.linear(self.recurrent(inputs)[0]).flatten(0, 1), symbols[1:].flatten())


def measured_text(on: BenchmarkDevice) -> Record:
    """Tokens a second of a whole training step, with clipped gradients and SGD, by each layer."""
    allow_tf32(allowed=True)
    units, rows, steps = (16, 3, 3) if on.quick else (UNITS, ROWS, STEPS)
    symbols = torch.randint(SYMBOLS, (steps + 1, rows), device=on.device)
    torch.manual_seed(0)
    layers: dict[str, nn.Module] = {"torch.nn": nn.GRU(SYMBOLS, units)}
    for backend in ("auto", "triton", "torch"):
        layer = gw.nn.GRU(SYMBOLS, units, backend=backend)
        layer.load_state_dict(layers["torch.nn"].state_dict())
        layers[f"Gatewright, {backend}"] = layer
    record: Record = {
        "steps": len(symbols) - 1,
        "rows": rows,
        "units": units,
        "symbols": SYMBOLS,
        "runs": {},
        "absent": {},
    }
    calls, losses = {}, dict[str, float]()
    for name, layer in layers.items():
        torch.manual_seed(1)
        model = CharacterModel(layer, units).to(on.device)
        try:
            losses[name] = model.loss(symbols).item()
        except Exception as error:  # noqa: BLE001 (Triton's errors have no common base)
            record["absent"][name] = told(error)
            continue
        if not abs(losses[name] - losses["torch.nn"]) <= 1e-3 * losses["torch.nn"]:  # false for NaN
            record["absent"][name] = f"the loss is {losses[name]}, that of torch.nn {losses['torch.nn']}"
            continue
        calls[name] = partial(_step, model, torch.optim.SGD(model.parameters(), lr=1.0), symbols)
    tokens = (len(symbols) - 1) * rows
    for name, timing in on.race(calls).items():
        record["runs"][name] = {"ms": rounded(timing.median * 1e3), "tokens_a_second": round(tokens / timing.median)}
    tell("The Time Machine: " + ", ".join(f"{name} {run['tokens_a_second']:,}" for name, run in record["runs"].items()))
    return record


def _step(model: CharacterModel, optimiser: torch.optim.Optimizer, symbols: Tensor) -> None:
    optimiser.zero_grad()
    model.loss(symbols).backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
