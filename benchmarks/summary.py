"""Tables out of a result: what is shown of each section."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import exp, log
from typing import Any

from benchmarks.peers import LIBRARIES, OURS, TORCH
from benchmarks.races import Record
from benchmarks.tables import Table

SHORT = {"ONNX Runtime": "ONNX RT"}
UNTIMED = {"absent": "absent", "differs": "differs"}


def tables(result: Mapping[str, Any]) -> list[Table]:
    """The tables of all sections that a result has, in the order in which they are read."""
    sections = result["sections"]
    return [table for name, make in MAKERS.items() if name in sections for table in make(sections[name])]


def median(record: Record, name: str) -> float | None:
    """Seconds of one call, where it was timed."""
    return record["runs"].get(name, {}).get("median")


def fastest(record: Record, names: Iterable[str] = LIBRARIES) -> float | None:
    """Seconds of the fastest of the names."""
    return min((found for name in names if (found := median(record, name))), default=None)


def ratio(record: Record, names: Iterable[str] = LIBRARIES) -> float | None:
    """How many times as long as Gatewright the fastest of the names takes."""
    theirs, ours = fastest(record, names), median(record, OURS)
    return theirs / ours if theirs and ours else None


def rate(record: Record) -> float | None:
    """Gatewright's operations a second."""
    ours = median(record, OURS)
    return operations(record) / ours if ours else None


def operations(record: Record) -> int:
    """Those of the matrix products; backwards there are two products for one."""
    return record["flops"] * (3 if record["mode"] == "training" else 1)


def geometric_mean(values: Iterable[float | None]) -> float | None:
    """Of those that there are."""
    found = [log(value) for value in values if value is not None]
    return exp(sum(found) / len(found)) if found else None


def _layers(title: str) -> Callable[[Sequence[Record]], list[Table]]:
    def make(records: Sequence[Record]) -> list[Table]:
        names = [name for name in (OURS, *LIBRARIES) if any(name in record["runs"] for record in records)]
        head = ["T,B,I,H", *(SHORT.get(name, name) for name in names), "x best", "x torch", "peak"]
        rows = [
            [
                record["shape"],
                *(_microseconds(record, name) for name in names),
                _times(ratio(record)),
                _times(ratio(record, (TORCH,))),
                share(rate(record), record["peak"]),
            ]
            for record in records
        ]
        best, torch = (geometric_mean(ratio(record, who) for record in records) for who in (LIBRARIES, (TORCH,)))
        return [
            Table(
                title,
                head,
                rows,
                [f"Geometric mean: {_times(best)} times the fastest peer, {_times(torch)} times torch.nn."],
            )
        ]

    return make


def _microseconds(record: Record, name: str) -> str:
    run = record["runs"].get(name)
    if run is None:
        return "-"
    return f"{run['median'] * 1e6:.0f}" if "median" in run else UNTIMED[run["status"]]


def _times(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def share(value: float | None, of: float) -> str:
    """A percentage."""
    return "-" if value is None else f"{100 * value / of:.0f}%"


MAKERS: dict[str, Callable[[Sequence[Record]], list[Table]]] = {
    "forward": _layers("GRU forward, microseconds"),
    "training": _layers("GRU training step, microseconds"),
}
