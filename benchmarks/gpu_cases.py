"""The cases of each section of the GPU benchmark, and how one is measured."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks import gpu_compiled, gpu_directions, gpu_layers, gpu_loops, gpu_networks, gpu_newton, gpu_starts
from benchmarks.gpu_device import BenchmarkDevice
from benchmarks.names import Record


@dataclass(frozen=True)
class SectionOfCases:
    """The cases of a section in the order of their value; how one is measured, and its kernels compiled before."""

    cases: Callable[[bool], Iterable[Any]]
    measure: Callable[[Any, BenchmarkDevice], Record]
    prepare: Callable[[Any, BenchmarkDevice], Record] = lambda case, on: {}


def _layers(cases: Callable[[bool], Iterable[gpu_layers.LayerCase]]) -> SectionOfCases:
    return SectionOfCases(cases, gpu_layers.measured_layer, gpu_layers.prepared_layer)


CASES: Mapping[str, SectionOfCases] = {
    "device": SectionOfCases(lambda quick: ["device"], lambda case, on: on.description()),
    "layers": _layers(gpu_layers.main_cases),
    "forms": SectionOfCases(gpu_loops.form_cases, gpu_loops.measured_forms, gpu_loops.prepared_forms),
    "persistent": SectionOfCases(gpu_loops.persistent_cases, gpu_loops.measured_forms),
    "networks": SectionOfCases(lambda quick: ["text"], lambda case, on: gpu_networks.measured_text(on)),
    "scan": SectionOfCases(gpu_loops.scan_cases, gpu_loops.measured_scan),
    "newton": SectionOfCases(gpu_newton.newton_cases, gpu_newton.measured_newton),
    "variations": _layers(gpu_layers.variation_cases),
    "twice": _layers(gpu_layers.second_cases),
    "directions": SectionOfCases(
        gpu_directions.direction_cases, gpu_directions.measured_directions, gpu_directions.prepared_directions
    ),
    "extents": _layers(gpu_layers.extent_cases),
    "random": SectionOfCases(gpu_layers.random_cases, gpu_layers.measured_random),
    "starts": SectionOfCases(gpu_starts.start_cases, gpu_starts.measured_start),
    "compiled": SectionOfCases(gpu_compiled.compiled_cases, gpu_compiled.measured_compiled),
}
