"""Numbers out of records: ratios, rates, shares."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp, log

from benchmarks.names import (
    EAGER,
    FORWARD,
    GRADIENT,
    LIBRARIES,
    LOOP,
    MACHINE,
    OUR_GRU,
    OURS,
    PLAIN,
    RUN,
    STEP,
    TRAINING,
    Record,
)

Records = Sequence[Record]


def of_mode(records: Records, mode: str) -> list[Record]:
    """Those of forward or training."""
    return [record for record in records if record["mode"] == mode]


def of_cell(records: Records, cell: str) -> list[Record]:
    """Those of one cell."""
    return [record for record in records if record["cell"] == cell]


def sizes(record: Record) -> tuple[int, ...]:
    """T, B, I, H."""
    return tuple(map(int, record["shape"].split(",")))


def median(record: Record, name: str) -> float | None:
    """Seconds of one call, where it was timed."""
    return record["runs"].get(name, {}).get("median")


def fastest(record: Record, names: Iterable[str] = LIBRARIES) -> float | None:
    """Seconds of the fastest of the names."""
    return min((found for name in names if (found := median(record, name))), default=None)


def ratio(record: Record, names: Iterable[str] = LIBRARIES) -> float | None:
    """How many times as long as Gatewright the fastest of the names takes."""
    return over(fastest(record, names), median(record, OURS))


def loop_ratio(record: Record) -> float | None:
    """How many times as long as Gatewright the faster loop in torch takes."""
    return ratio(record, (LOOP, EAGER))


def step_ratio(record: Record) -> float | None:
    """How many times as long as a step of Gatewright's stream one of ONNX Runtime takes."""
    return over(median(record, RUN), median(record, STEP))


def thread_ratio(record: Record, what: str) -> float:
    """How many times as much several threads do in the same time as one."""
    one, all_ = (record["runs"][f"{what} {count}"]["median"] for count in (1, record["several"]))
    return one / all_ * (record["several"] if what == MACHINE else 1)


def forward_share(record: Record) -> float | None:
    """How many times as long a step of one row takes as a plain loop over its recurrent matrix: the rate's share."""
    return over(median(record, PLAIN), median(record, FORWARD))


def backward_share(record: Record) -> float | None:
    """The same of the gradient's loop, as training takes longer than forward."""
    forward, both = median(record, FORWARD), median(record, TRAINING)
    return over(median(record, PLAIN), both - forward) if forward is not None and both is not None else None


def rate(record: Record) -> float | None:
    """Gatewright's operations a second: those of the matrix products; backwards there are two products for one."""
    return over(record["flops"] * (3 if record["mode"] == TRAINING else 1), median(record, OURS))


def beside_gru(record: Record) -> float | None:
    """Gatewright's operations a second as a share of those of its GRU in the same rounds."""
    beside = over(median(record, OUR_GRU), median(record, OURS))
    return beside and beside * record["flops"] / record["gru_flops"]


def over(one: float | None, other: float | None) -> float | None:
    """A ratio, where there are both."""
    return one / other if one is not None and other is not None else None


def geometric_mean(values: Iterable[float | None]) -> float | None:
    """Of those that there are."""
    found = [log(value) for value in values if value is not None]
    return exp(sum(found) / len(found)) if found else None


@dataclass(frozen=True)
class LinearFigures:
    """A training step over a long sequence.

    `bandwidth` is bytes that must move a second, `bound` the seconds that the machine needs at least: for the bytes
    at the speed of a copy, or for the products at the peak, whichever is longer.
    """

    seconds: float
    a_step: float
    beside_shortest: float
    bandwidth: float
    bound: float


def linear_figures(record: Record, copy: float) -> dict[str, LinearFigures]:
    """Those of each length."""
    spent = {steps: run["median"] for steps, run in record["runs"].items()}
    shortest = next(seconds / int(steps) for steps, seconds in spent.items())
    least = max(record["bytes"] / copy, record["flops"] / record["peak"])
    return {
        steps: LinearFigures(
            seconds,
            seconds / int(steps),
            seconds / int(steps) / shortest,
            record["bytes"] * int(steps) / seconds,
            least * int(steps),
        )
        for steps, seconds in spent.items()
    }


def loop_rate(record: Record, mode: str) -> float:
    """The bytes a second that a loop reads and writes; `mode` is forward or gradient."""
    return record["bytes"][mode] * record["steps"] / record["runs"][f"{mode} loop"]["median"]


def sequence_bound(record: Record, mode: str) -> float:
    """The least seconds of a layer whose loop multiplies nothing: its products at the peak, then its loops at the speed
    of a copy. A gradient has two products for one."""
    training = mode == TRAINING
    loops = record["bytes"][FORWARD] + (record["bytes"][GRADIENT] if training else 0)
    return record["steps"] * (record["flops"] * (3 if training else 1) / record["peak"] + loops / record["copy"])


def time_text(record: Record, name: str, units_per_second: float, decimals: int = 0) -> str:
    """The median time of a run, or why there is none."""
    run = record["runs"].get(name)
    if run is None:
        return "-"
    return f"{run['median'] * units_per_second:.{decimals}f}" if "median" in run else run["status"]
