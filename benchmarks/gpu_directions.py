"""Layers in both directions: the two side by side on two streams, one after the other, and by cuDNN."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any
from unittest.mock import patch

from torch import Tensor

import gatewright as gw
from benchmarks.gpu_device import BenchmarkDevice
from benchmarks.gpu_layers import (
    LayerCase,
    methods_that_are_right,
    precision_of_case,
    problem,
    results_of,
    with_backend,
)
from benchmarks.names import Record
from benchmarks.setup import rounded, tell

METHODS = {"two streams": "triton", "one after the other": "triton", "cudnn": "cudnn"}
"""The backend of each."""


def direction_cases(quick: bool) -> Iterator[LayerCase]:
    """All cases, the most important ones first."""
    if quick:
        yield LayerCase("gru", 16, 3, 3, "tf32", "training")
        return
    for units in (128, 512):
        yield from (LayerCase("gru", units, 32, 512, "bfloat16", mode) for mode in ("training", "forward"))


def prepared_directions(case: LayerCase, on: BenchmarkDevice) -> Record:
    """Compile the kernels of a case: they do not depend on the number of steps."""
    layer, x = _problem(replace(case, steps=2), on)
    _results(layer, case, on, "two streams", x)
    return {}


def measured_directions(case: LayerCase, on: BenchmarkDevice) -> Record:
    """Microseconds of a call by each method that gives the right numbers; why the others have none."""
    layer, x = _problem(case, on)
    record: Record = {"case": str(case), "us": {}, "difference": {}, "absent": {}}
    results = partial(_results, layer, case, on)
    calls = {
        method: partial(results, method, x)
        for method in methods_that_are_right(METHODS, results, layer, x, case, record)
    }
    for method, timing in on.race(calls).items() if calls else ():
        record["us"][method] = rounded(timing.median * 1e6)
    tell(f"both directions of {case}: {record['us']} us, {record['absent']}")
    return record


def _problem(case: LayerCase, on: BenchmarkDevice) -> tuple[gw.nn.Recurrent, Tensor]:
    _, x = problem(case, on)
    return gw.nn.GRU(case.units, case.units, bidirectional=True).to(on.device).eval(), x


def _results(layer: gw.nn.Recurrent, case: LayerCase, on: BenchmarkDevice, method: str, x: Tensor) -> list[Tensor]:
    alone = _one_after_the_other() if method == "one after the other" else nullcontext()
    with alone:
        return results_of(with_backend(layer, METHODS[method]), x, case, precision_of_case(case, on))


def _one_after_the_other() -> AbstractContextManager[Any]:
    """Have both directions on the present stream, as `run_on_two_streams` has them on a CPU."""

    def run_both(like: Tensor, first: Callable[[], Any], second: Callable[[], Any], tensors_of: Any) -> tuple[Any, Any]:
        return first(), second()

    return patch("gatewright.nn.engine.sequence_pair.run_on_two_streams", run_both)
