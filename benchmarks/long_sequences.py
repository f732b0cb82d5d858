"""The sections about long sequences: how training grows with the steps, and what bounds cells parallel in time."""

from dataclasses import replace
from math import inf

import torch

import gatewright as gw
from benchmarks.names import MACHINE, Record
from benchmarks.races import as_record
from benchmarks.setup import Setup, rounded, tell
from benchmarks.timing import Call, race

CELLS = {"mingru": 2, "minlstm": 3}
"""The cells, and how many matrix products each has in a step."""
BATCH, INPUTS, HIDDEN = 16, 32, 256
STEPS = (256, 512, 1024, 2048, 4096, 16_384, 65_536)
SERIAL = {"gru": 3, "lstm": 4}
"""Cells with a matrix product in the loop, and their gates."""
SERIAL_STEPS = (2048, 4096, 8192)
QUICK_STEPS = (256, 512)
CHECKED = 256
"""Steps whose results are held to float64: a loop in torch of thousands takes minutes."""
TOLERANCE = 2e-5


def linear(setup: Setup) -> list[Record]:
    """A training step at several lengths, in turn."""
    setup = _after_equal_calls(setup)
    return [_of_cell(setup, name, STEPS[:3] if setup.quick else STEPS) for name in CELLS]


def serial(setup: Setup) -> list[Record]:
    """The same for cells whose loop multiplies: a step is not to take longer, however long the sequence is."""
    setup = _after_equal_calls(setup)
    return [_of_cell(setup, name, QUICK_STEPS if setup.quick else SERIAL_STEPS) for name in SERIAL]


def _after_equal_calls(setup: Setup) -> Setup:
    """The setup for twice the time, with a call before each sample that is not counted, however long it takes.

    A long call returns more than 1 GiB to the system. A virtual machine passes on to its host what nobody uses for some
    seconds, and has to ask for it again in the next call: that is no time of the call.
    """
    return replace(setup, method=replace(setup.method.shorter(2.0), settles=inf))


def _of_cell(setup: Setup, name: str, lengths: tuple[int, ...]) -> Record:
    layer = gw.nn.Recurrent(name, INPUTS, HIDDEN, backend="llvm")
    record = {"cell": name, "batch": BATCH, "inputs": INPUTS, "hidden": HIDDEN, "bytes": needed_bytes()}
    widths = CELLS[name] * INPUTS if name in CELLS else SERIAL[name] * (INPUTS + HIDDEN)
    record |= {"flops": 3 * 2 * BATCH * widths * HIDDEN}
    difference = _difference(layer, name, CHECKED)
    if not difference <= TOLERANCE:
        tell(f"linear {name}: off by {difference:.1e}, so that it is not timed")
        return {**record, "status": "differs", "reason": f"off by {difference:.1e}"}
    calls: dict[str, Call] = {str(steps): _training(layer, steps) for steps in lengths}
    timings = race({**calls, MACHINE: setup.fma}, setup.method)
    peak = setup.peak_of(timings.pop(MACHINE), setup.threads)
    told = ", ".join(f"T={steps} {timing.median * 1e6 / int(steps):.2f}" for steps, timing in timings.items())
    tell(f"linear {name}: {told} us a step")
    runs = {steps: as_record(timing) for steps, timing in timings.items()}
    return {**record, "status": "timed", "difference": rounded(difference), "peak": rounded(peak), "runs": runs}


def needed_bytes() -> int:
    """What has to go over the bus in one step of all rows, whoever computes it.

    Forward x is read and the output written; backward x, the output and its gradient are read, the gradient by x is
    written. Whatever is kept between the two comes on top.
    """
    return 4 * BATCH * (3 * INPUTS + 3 * HIDDEN)


def _training(layer: torch.nn.Module, steps: int, dtype: torch.dtype = torch.float32) -> Call:
    torch.manual_seed(0)
    x = torch.randn(steps, BATCH, INPUTS, dtype=dtype, requires_grad=True)
    weight = torch.randn(steps, BATCH, HIDDEN, dtype=dtype)
    learned = [x, *layer.parameters()]

    def call() -> list[torch.Tensor]:
        for tensor in learned:
            tensor.grad = None
        output = layer(x)[0]
        output.backward(weight)
        return [output, *(tensor.grad for tensor in learned if tensor.grad is not None)]

    return call


def _difference(layer: torch.nn.Module, name: str, steps: int) -> float:
    """To the same layer operation by operation in float64, as a share of the largest number of each result."""
    exact = gw.nn.Recurrent(name, INPUTS, HIDDEN, backend="torch", dtype=torch.float64)
    exact.load_state_dict(layer.state_dict())
    torch.manual_seed(0)
    x, weight = torch.randn(steps, BATCH, INPUTS), torch.randn(steps, BATCH, HIDDEN)
    got, want = _results(layer, x, weight), _results(exact, x.double(), weight.double())
    return max(float((one - other).abs().max() / other.abs().max()) for one, other in zip(got, want, strict=True))


def _results(layer: torch.nn.Module, x: torch.Tensor, weight: torch.Tensor) -> list[torch.Tensor]:
    x = x.requires_grad_()
    output = layer(x)[0]
    return [output.detach(), *torch.autograd.grad(output, [x, *layer.parameters()], weight)]
