"""The section about one step of a stream, called from Python."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

import gatewright as gw
from benchmarks.cells import CELLS
from benchmarks.names import BOUND, FORWARD, KERNEL, RUN, STEP, TORCH_CELL, Record
from benchmarks.problem import Array, Problem, Results, disagreement
from benchmarks.races import as_record
from benchmarks.setup import Setup, tell
from benchmarks.shapes import Shape
from benchmarks.timing import Call, race

SIZES = (32, 64, 128, 256, 512)
STEPS = 1000
CHECKED = 20


def step(setup: Setup) -> list[Record]:
    """One row, as many inputs as units."""
    return [_sized(setup, size) for size in (SIZES[:1] if setup.quick else SIZES)]


def _sized(setup: Setup, size: int) -> Record:
    problem = Problem(CELLS["gru"], Shape(CHECKED, 1, size, size))
    stream = gw.stream.from_parameters(gw.cells.gru(reset="after"), by_equation(problem.params))
    output = np.stack([stream.step(row).copy() for row in problem.x[:, 0]])[:, None]
    runs: dict[str, Record] = {}
    calls: dict[str, Call] = {}
    if _agrees(problem, output, STEP, runs):
        x, many = problem.x[0, 0].copy(), np.repeat(problem.x[:1, 0], STEPS, 0)
        calls |= {STEP: lambda: stream.step(x), KERNEL: lambda: stream.run(many), TORCH_CELL: _torch_cell(problem)}
    calls |= _of_onnx_runtime(problem, runs)
    timings = race(calls, setup.method)
    for name, timing in timings.items():
        runs[name] = {"status": "timed", **as_record(timing.shared_by(STEPS if name == KERNEL else 1))}
    told = ", ".join(f"{name} {run['median'] * 1e9:.0f}" for name, run in runs.items() if "median" in run)
    tell(f"step H={size}: {told} ns")
    return {"hidden": size, "runs": runs}


def by_equation(params: Mapping[str, Array]) -> dict[str, Array]:
    """A GRU's parameters by the names in its equations."""
    weights = {
        f"{space}.{gate}": part
        for space, name in (("W", "weight_ih_l0"), ("U", "weight_hh_l0"))
        for gate, part in zip("rzn", np.split(params[name], 3), strict=True)
    }
    of_input, of_state = (np.split(params[name], 3) for name in ("bias_ih_l0", "bias_hh_l0"))
    biases = {"r": of_input[0] + of_state[0], "z": of_input[1] + of_state[1], "n": of_input[2], "hn": of_state[2]}
    return weights | {f"b.{gate}": value for gate, value in biases.items()}


def _agrees(problem: Problem, output: Array, name: str, runs: dict[str, Record]) -> bool:
    results: Results = {"output": output}
    reason = disagreement(problem, FORWARD, results)[1]
    if reason:
        runs[name] = {"status": "differs", "reason": reason}
    return reason is None


def _torch_cell(problem: Problem) -> Call:
    size = problem.shape.hidden
    cell, x, state = torch.nn.GRUCell(size, size), torch.from_numpy(problem.x[0]), torch.zeros(1, size)
    cell.load_state_dict({name.removesuffix("_l0"): torch.tensor(value) for name, value in problem.params.items()})

    @torch.inference_mode()
    def call() -> torch.Tensor:
        return cell(x, state)

    return call


def _of_onnx_runtime(problem: Problem, runs: dict[str, Record]) -> dict[str, Call]:
    """Its ordinary call, and one whose arguments and results are bound to memory once: the cheapest it has."""
    try:
        from onnxruntime import OrtValue

        from benchmarks.peers.onnx_model import model
        from benchmarks.peers.onnx_runtime import session_of
    except ImportError as error:
        runs[RUN] = {"status": "absent", "reason": str(error)}
        return {}
    session = session_of(model(problem.first_step(), carries_state=True), threads=1)
    state = np.zeros((1, 1, problem.shape.hidden), np.float32)
    feed: dict[str, Any] = {"x": problem.x[:1], "h_0": state}
    output = [state]
    for x in problem.x:
        output.append(session.run(None, {"x": x[None], "h_0": output[-1]})[0])
    if not _agrees(problem, np.concatenate(output[1:]), RUN, runs):
        return {}

    def run() -> None:
        feed["h_0"] = session.run(None, feed)[0]

    bound = session.io_binding()
    values = {name: OrtValue.ortvalue_from_numpy(value.copy()) for name, value in feed.items()}
    for name, value in values.items():
        bound.bind_ortvalue_input(name, value)
    bound.bind_ortvalue_output("y_h", OrtValue.ortvalue_from_numpy(state.copy()))
    return {RUN: run, BOUND: lambda: session.run_with_iobinding(bound)}
