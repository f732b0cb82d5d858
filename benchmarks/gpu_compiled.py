"""Layers beside a step that torch.compile has compiled: what a cell of one's own is written as without us."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

import gatewright as gw
from benchmarks.gpu_device import BenchmarkDevice, told
from benchmarks.gpu_layers import (
    TOLERANCES,
    LayerCase,
    difference,
    precision_of_case,
    problem,
    results_of,
    with_backend,
)
from benchmarks.names import Record
from benchmarks.setup import rounded, tell

Step = Callable[..., Tensor]


def own_step(z: Tensor, n: Tensor, h: Tensor, matrices: Sequence[Tensor], p: Tensor) -> Tensor:
    """The cell `own`, from its products with the input."""
    z = torch.sigmoid(z + h @ matrices[0].T + p * h)
    n = torch.tanh(n + torch.relu(h @ matrices[1].T))
    return z * h + (1 - z) * n


def gru_step(r: Tensor, z: Tensor, n: Tensor, h: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """A GRU with its reset before the product, from its products with the input."""
    r = torch.sigmoid(r + h @ matrices[0].T)
    z = torch.sigmoid(z + h @ matrices[1].T)
    n = torch.tanh(n + (r * h) @ matrices[2].T)
    return z * h + (1 - z) * n


@dataclass(frozen=True)
class CompiledCell:
    """A step by hand, its gates in the order of its arguments, and its vectors."""

    step: Step
    gates: str
    vectors: tuple[str, ...] = ()


STEPS = {"own": CompiledCell(own_step, "zn", ("l0.p.z",)), "gru(before)": CompiledCell(gru_step, "rzn")}


def compiled_cases(quick: bool) -> Iterator[LayerCase]:
    """All cases, the most important ones first."""
    if quick:
        yield LayerCase("own", 8, 2, 3, "tf32", "training")
        return
    for cell in STEPS:
        yield from (LayerCase(cell, 128, 32, 128, "tf32", mode) for mode in ("training", "forward"))


def measured_compiled(case: LayerCase, on: BenchmarkDevice) -> Record:
    """The seconds of Gatewright's layer, and of a loop around the compiled step with the same parameters."""
    layer, x = problem(case, on)
    peer = partial(_looped, layer, STEPS[case.cell], torch.compile(STEPS[case.cell].step, dynamic=False))
    record: Record = {"case": str(case), "us_a_step": {}, "absent": {}}
    exact = precision_of_case(replace(case, dtype="float32"), on)
    expected = [numbers.double() for numbers in results_of(with_backend(layer, "torch"), x, case, exact)]
    with_backend(layer, "triton")
    calls: dict[str, Callable[[], object]] = {}
    for name, run in (("triton", None), ("torch.compile", peer)):
        call = partial(results_of, layer, x, case, precision_of_case(case, on), run)
        try:
            off = difference(call(), expected)
        except Exception as error:  # noqa: BLE001 (compilers raise what they like)
            record["absent"][name] = told(error)
            continue
        if not off <= TOLERANCES[case.dtype]:  # false for NaN
            record["absent"][name] = f"off by {off:.1e} of the largest number"
            continue
        calls[name] = call
    for name, timing in on.race(calls).items() if calls else ():
        record["us_a_step"][name] = rounded(timing.median * 1e6 / case.steps)
    tell(f"{case}: {record['us_a_step']} us a step, {record['absent']}")
    return record


def _looped(layer: gw.nn.Recurrent, cell: CompiledCell, step: Step, x: Tensor) -> tuple[Tensor, Tensor]:
    """The output of all steps and the last state; products with the input are done for all steps at once."""
    named = layer.gate_parameters()
    inputs = [x @ named[f"l0.W.{gate}"].T + named[f"l0.b.{gate}"] for gate in cell.gates]
    matrices = [named[f"l0.U.{gate}"] for gate in cell.gates]
    vectors = [named[name] for name in cell.vectors]
    h, outputs = x.new_zeros(x.shape[1], matrices[0].shape[0]), list[Tensor]()
    for parts in zip(*(part.unbind(0) for part in inputs), strict=True):
        h = step(*parts, h, matrices, *vectors)
        outputs.append(h)
    return torch.stack(outputs), h
