"""What is shown of whole training steps: the times of all peers on each number of threads, and what threads gain."""

from collections.abc import Iterable, Sequence
from statistics import median as middle

from benchmarks.figures import over, time_text
from benchmarks.names import JAX, OURS, TORCH, TORCH_COMPILE, Record
from benchmarks.network_step.worker import PRODUCT
from benchmarks.tables import Table

PEERS = (TORCH, TORCH_COMPILE, JAX)
_SHORT = {OURS: "ours", TORCH: "torch", TORCH_COMPILE: "compile"}


def seconds(record: Record, peer: str, threads: int) -> float | None:
    """The median of a step, where it was timed."""
    return record["runs"].get(f"{peer} {threads}", {}).get("median")


def times_peer(record: Record, threads: int, peers: Iterable[str] = PEERS) -> float | None:
    """How many times as long as Gatewright the fastest of the peers takes on as many threads."""
    fastest = min((found for peer in peers if (found := seconds(record, peer, threads))), default=None)
    return over(fastest, seconds(record, OURS, threads))


def times_threads(record: Record, peer: str, several: int) -> float | None:
    """How many times as long one thread takes as several."""
    return over(seconds(record, peer, 1), seconds(record, peer, several))


def machine_gains(records: Sequence[Record], several: int) -> float | None:
    """The same of a plain parallel product, over all records: each has seen the machine for a while only."""
    found = [gain for record in records if (gain := times_threads(record, PRODUCT, several))]
    return middle(found) if found else None


def tables(records: Sequence[Record], threads: Sequence[int]) -> list[Table]:
    """A table for each number of threads, then one of what threads gain, then what ran in bfloat16."""
    made = [_times(records, count) for count in threads]
    if len(threads) > 1:
        made.append(_gains(records, threads[-1]))
    return [*made, *_what_ran(records, threads[-1])]


def _times(records: Sequence[Record], threads: int) -> Table:
    names = (OURS, *PEERS)
    rows = [
        [
            f"{record['title']}, {record['dtype']}",
            *(time_text(record, f"{name} {threads}", 1e3, 1) for name in names),
            _ratio(times_peer(record, threads, (TORCH,))),
            _ratio(times_peer(record, threads)),
        ]
        for record in records
    ]
    plural = "s" * (threads > 1)
    title = f"Whole training steps on {threads} thread{plural}, milliseconds"
    head = ["", *(_SHORT.get(name, name) for name in names), "x torch", "x best"]
    notes = [f"{name}: {reason}" for name, reason in _reasons(records, threads).items()]
    return Table(title, head, rows, notes)


def _reasons(records: Sequence[Record], threads: int) -> dict[str, str]:
    """Why peers were not timed, each reason once."""
    found: dict[str, str] = {}
    for record in records:
        for name, run in record["runs"].items():
            if "reason" in run and name.endswith(f" {threads}"):
                found.setdefault(f"{name.rpartition(' ')[0]} {run['status']}", run["reason"])
    return found


def _gains(records: Sequence[Record], several: int) -> Table:
    names = (OURS, *PEERS, PRODUCT)
    rows = [
        [f"{record['title']}, {record['dtype']}", *(_ratio(times_threads(record, name, several)) for name in names)]
        for record in records
    ]
    head = ["", *(_SHORT.get(name, name) for name in names)]
    return Table(f"How many times as long one thread takes as {several}", head, rows)


def _what_ran(records: Sequence[Record], threads: int) -> list[Table]:
    """What computed the steps in bfloat16: a layer that stayed in float32 is no measurement of bfloat16."""
    found = {
        name.rpartition(" ")[0]: run["ran"]
        for record in records
        if record["dtype"] == "bfloat16"
        for name, run in record["runs"].items()
        if run.get("ran") and name.endswith(f" {threads}")
    }
    return [Table("What ran in bfloat16", ["", ""], [[name, ran] for name, ran in found.items()])] if found else []


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
