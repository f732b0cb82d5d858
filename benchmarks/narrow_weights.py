"""The section about one row with matrices in fewer bits: bfloat16 and int8 beside float32, and torch's int8."""

import warnings
from typing import Any

import numpy as np
import torch

import gatewright as gw
from benchmarks.cells import CELLS
from benchmarks.names import BFLOAT16, FLOAT32, INT8, TORCH_INT8, Record
from benchmarks.problem import Problem
from benchmarks.races import as_record
from benchmarks.setup import Setup, rounded, tell
from benchmarks.shapes import Shape
from benchmarks.step import by_equation
from benchmarks.timing import Call, race

SIZES = (256, 512, 1024)
STEPS = 100
TOLERANCES = {FLOAT32: 2e-5, BFLOAT16: 0.02, INT8: 0.06, TORCH_INT8: 0.3}
"""The largest difference to float64 within so many steps, as a share of the largest output.

torch.ao has one scale for a whole matrix."""


def narrow_weights(setup: Setup) -> list[Record]:
    """A GRU of one row, as many inputs as units, without gradients."""
    return [_sized(setup, size) for size in (SIZES[:1] if setup.quick else SIZES)]


def _sized(setup: Setup, size: int) -> Record:
    problem = Problem(CELLS["gru"], Shape(STEPS, 1, size, size))
    want, xs = problem.reference("forward")["output"][:, 0], problem.x[:, 0]
    runs: dict[str, Record] = {}
    calls: dict[str, Call] = {}
    for name, (call, output) in {**_streams(problem, xs), **_torch_int8(problem, runs)}.items():
        difference = float(np.abs(output - want).max() / np.abs(want).max())
        runs[name] = {"difference": rounded(difference)}
        if difference <= TOLERANCES[name]:  # false for NaN
            calls[name] = call
        else:
            runs[name] |= {"status": "differs", "reason": f"off by {difference:.1e} of its largest number"}
    for name, timing in race(calls, setup.method).items():
        runs[name] |= {"status": "timed", **as_record(timing.shared_by(STEPS))}
    told = ", ".join(f"{name} {run['median'] * 1e6:.1f}" for name, run in runs.items() if "median" in run)
    tell(f"one row H={size}: {told} us a step")
    return {"hidden": size, "runs": runs}


def _streams(problem: Problem, xs: Any) -> dict[str, tuple[Call, Any]]:
    found: dict[str, tuple[Call, Any]] = {}
    for weights in (FLOAT32, BFLOAT16, INT8):
        cell, params = gw.cells.gru(reset="after"), by_equation(problem.params)
        stream = gw.stream.from_parameters(cell, params, weights=weights)
        found[weights] = (lambda stream=stream: stream.run(xs)), stream.run(xs)
    return found


def _torch_int8(problem: Problem, runs: dict[str, Record]) -> dict[str, tuple[Call, Any]]:
    """torch.ao's dynamic quantisation of torch.nn.GRU, which rounds activations in each step as well."""
    size = problem.shape.hidden
    layer = torch.nn.GRU(size, size)
    layer.load_state_dict({name: torch.tensor(value) for name, value in problem.params.items()})
    x = torch.from_numpy(problem.x)
    try:
        with warnings.catch_warnings(action="ignore"):  # it is deprecated, and there is no other for recurrent layers
            rounded_layer: Any = torch.ao.quantization.quantize_dynamic(
                torch.nn.Sequential(layer), {torch.nn.GRU}, dtype=torch.qint8
            )[0]

        @torch.inference_mode()
        def call() -> Any:
            return rounded_layer(x)[0]

        return {TORCH_INT8: (call, call()[:, 0].numpy())}
    except (AttributeError, ImportError, RuntimeError) as error:
        runs[TORCH_INT8] = {"status": "fails", "reason": str(error).partition("\n")[0]}
        return {}
