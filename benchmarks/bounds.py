"""What the machine allows: how much faster than a peer a call can be at all, by the rates measured in the same run."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.figures import fastest, median, over, sizes
from benchmarks.names import LIBRARIES, PLAIN, TRAINING, Record


def plain_loops(result: Mapping[str, Any]) -> dict[int, float]:
    """Seconds in which a plain loop reads the recurrent matrix of a GRU once, by hidden units."""
    records: Sequence[Record] = result["sections"].get("single_row", ())
    return {record["hidden"]: seconds for record in records if (seconds := median(record, PLAIN))}


def layer_seconds(record: Record, loops: Mapping[int, float], threads: int = 1) -> float:
    """The least seconds of a GRU: its products at the peak. With one row the matrix is read in every step.

    A gradient's loop reads one matrix a step as well. Products that are not in the loops may run while it is read.
    """
    steps, batch, _, hidden = sizes(record)
    training = record["mode"] == TRAINING
    operations = record["flops"] * (3 if training else 1)
    if batch > 1 or hidden not in loops:
        return operations / record["peak"]
    passes = 2 if training else 1
    return max(passes * steps * loops[hidden] / threads, operations / record["peak"])


def times_peer(
    record: Record, loops: Mapping[int, float], names: Iterable[str] = LIBRARIES, threads: int = 1
) -> float | None:
    """How many times as long as the least time the fastest peer takes."""
    return over(fastest(record, names), layer_seconds(record, loops, threads))


def step_seconds(record: Record, threads: int) -> float | None:
    """The least seconds of a whole training step: its products at the peak, in bfloat16 at twice that."""
    if "peak" not in record:
        return None
    return record["operations"] / (record["peak"] * threads * (2 if record["dtype"] == "bfloat16" else 1))
