"""Tables out of a result: what is shown of each section."""

from collections.abc import Callable, Mapping, Sequence
from math import nan
from typing import Any

from benchmarks.figures import (
    backward_share,
    beside_gru,
    forward_share,
    geometric_mean,
    linear_figures,
    loop_rate,
    loop_ratio,
    median,
    of_cell,
    of_mode,
    over,
    rate,
    ratio,
    sequence_bound,
    step_ratio,
    thread_ratio,
    time_text,
)
from benchmarks.names import (
    BFLOAT16,
    FLOAT32,
    FORWARD,
    GRADIENT,
    INT8,
    LAYER,
    LIBRARIES,
    MACHINE,
    ONNX_RUNTIME,
    OURS,
    PLAIN,
    TORCH,
    TORCH_INT8,
    TRAINING,
    Record,
)
from benchmarks.tables import Table

Result = Mapping[str, Any]
Records = Sequence[Record]
SHORT = {ONNX_RUNTIME: "ONNX RT"}
CELLS = {
    "lstm": "LSTM",
    "elman": "Elman",
    "lstm_peephole": "peephole",
    "layer_norm_gru": "norm GRU",
    "swing": "own cell",
}
MODES = {"forward": "forward", "training": "training step"}


def tables(result: Result) -> dict[str, list[Table]]:
    """The tables of each section that a result has, in the order in which they are read."""
    sections = result["sections"]
    made = {name: make(result, sections[name]) for name, make in MAKERS.items() if sections.get(name)}
    return {name: found for name, found in made.items() if found}


def by_least(result: Result) -> Result:
    """The same result with the least of the rounds in place of their median."""

    def changed(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: changed(value["least" if key == "median" else key]) for key in value}
        return [changed(one) for one in value] if isinstance(value, list) else value

    return changed(result)


def layers(title: str, records: Records) -> Table:
    """One cell at every shape, beside the peers."""
    names = [name for name in (OURS, *LIBRARIES) if any(name in record["runs"] for record in records)]
    rows = [
        [
            record["shape"],
            *(time_text(record, name, 1e6) for name in names),
            times(ratio(record)),
            times(ratio(record, (TORCH,))),
            percent(rate(record), record["peak"]),
        ]
        for record in records
    ]
    best, torch = (geometric_mean(ratio(record, who) for record in records) for who in (LIBRARIES, (TORCH,)))
    note = f"Geometric mean: {times(best)} times the fastest peer, {times(torch)} times torch.nn."
    head = ["T,B,I,H", *(SHORT.get(name, name) for name in names), "x best", "x torch", "peak"]
    return Table(title, head, rows, [note])


def _of_gru(result: Result, records: Records) -> list[Table]:
    return [layers(f"GRU, {MODES[records[0]['mode']]}, microseconds", records)]


def _cells(result: Result, records: Records) -> list[Table]:
    made = [_beside_gru(of_mode(records, mode), title) for mode, title in MODES.items()]
    loops = [record for record in records if loop_ratio(record)]
    if loops:
        made += [_beside_loops(of_mode(loops, mode), title) for mode, title in MODES.items()]
    made.append(_beside_peers(records))
    lstm = of_cell(records, "lstm")
    return made + [layers(f"LSTM, {title}, microseconds", of_mode(lstm, mode)) for mode, title in MODES.items()]


def _by_shape(records: Records, value: Callable[[Record], float | None]) -> list[list[str]]:
    shapes = dict.fromkeys(record["shape"] for record in records)
    found = {(record["shape"], record["cell"]): times(value(record)) for record in records}
    return [[shape, *(found.get((shape, cell), "-") for cell in CELLS)] for shape in shapes]


def _beside_gru(records: Records, title: str) -> Table:
    rows = _by_shape(records, beside_gru)
    return Table(f"Operations a second beside the GRU's, {title}", ["T,B,I,H", *CELLS.values()], rows)


def _beside_loops(records: Records, title: str) -> Table:
    rows = _by_shape(records, loop_ratio)
    return Table(f"How many times as fast as a loop in torch, {title}", ["T,B,I,H", *CELLS.values()], rows)


def _beside_peers(records: Records) -> Table:
    def row(cell: str) -> list[str]:
        found = of_cell(records, cell)
        return [
            CELLS[cell],
            *(
                times(geometric_mean(ratio(record, who) for record in of_mode(found, mode)))
                for mode in MODES
                for who in (LIBRARIES, (TORCH,))
            ),
        ]

    head = ["", "forward: x best", "x torch", "training: x best", "x torch"]
    return Table(
        "Geometric means over the shapes, beside the peers that have the cell", head, [row(cell) for cell in CELLS]
    )


def _step(result: Result, records: Records) -> list[Table]:
    names = list(records[0]["runs"])
    rows = [
        [
            str(record["hidden"]),
            *(nanoseconds(median(record, name)) for name in names),
            times(step_ratio(record)),
        ]
        for record in records
    ]
    head = [
        "H",
        *(name.replace("Gatewright ", "").replace("ONNX Runtime", "ORT").replace("torch.nn.", "") for name in names),
    ]
    return [Table("One step of a GRU for one row, nanoseconds", [*head, "run / step"], rows)]


def _threads(result: Result, records: Records) -> list[Table]:
    records = [record for record in records if record["status"] == "timed"]
    if not records:
        return []
    several = records[0]["several"]
    rows = [
        [
            record["shape"],
            record["mode"],
            *(f"{record['runs'][f'{LAYER} {count}']['median'] * 1e6:.0f}" for count in (1, several)),
            times(thread_ratio(record, LAYER)),
            times(thread_ratio(record, MACHINE)),
        ]
        for record in records
    ]
    head = ["T,B,I,H", "", "1 thread", f"{several} threads", "times", "the machine"]
    return [Table("GRU on one thread and on several, microseconds", head, rows)]


def _two_threads(result: Result, records: Records) -> list[Table]:
    return [
        layers(f"GRU, {title}, two threads, microseconds", found)
        for mode, title in MODES.items()
        if (found := of_mode(records, mode))
    ]


def _single_row(result: Result, records: Records) -> list[Table]:
    rows = [
        [
            str(record["hidden"]),
            *(f"{record['bytes'] / record['runs'][name]['median'] / 1e9:.0f}" for name in (PLAIN, FORWARD)),
            *(percent(share, 1.0) for share in (forward_share(record), backward_share(record))),
        ]
        for record in records
    ]
    head = ["H", "plain loop, GB/s", "forward, GB/s", "forward", "backward"]
    return [Table("The recurrent matrix read once a step for one row, and the share of a plain loop", head, rows)]


def _narrow_weights(result: Result, records: Records) -> list[Table]:
    names = (FLOAT32, BFLOAT16, INT8, TORCH_INT8)
    rows = [
        [
            str(record["hidden"]),
            *(time_text(record, name, 1e6) for name in names),
            times(over(median(record, FLOAT32), median(record, BFLOAT16))),
            times(over(median(record, FLOAT32), median(record, INT8))),
            *(f"{record['runs'].get(name, {}).get('difference', nan):.0e}" for name in (INT8, TORCH_INT8)),
        ]
        for record in records
    ]
    head = ["H", *names, "x bfloat16", "x int8", "int8 off", "torch.ao off"]
    return [Table("A step of one row with its matrices in fewer bits, microseconds", head, rows)]


def _single_cells(result: Result, records: Records) -> list[Table]:
    rows = [
        [
            f"{record['cell']}, {record['hidden']} units",
            str(record["batch"]),
            *(time_text(record, name, 1e6) for name in (OURS, TORCH)),
            times(ratio(record, (TORCH,))),
        ]
        for record in records
        if record["status"] == "timed"
    ]
    return [Table("One call of a cell, microseconds", ["", "rows", OURS, TORCH, "x torch"], rows)]


def _compile(result: Result, records: Records) -> list[Table]:
    titles = {"gru": "GRU", **CELLS}
    rows = [
        [titles[record["cell"]], milliseconds(record["cold"]), milliseconds(record["cached"])] for record in records
    ]
    first = records[0]
    note = (
        f"Import, milliseconds: gatewright {milliseconds(first['import'])}; "
        f"gatewright.nn after torch {milliseconds(first['import_nn'])}."
    )
    title = "What a first forward and backward run takes beyond a later one, milliseconds"
    return [Table(title, ["", "compiled", "from disk"], rows, [note])]


def _linear(result: Result, records: Records) -> list[Table]:
    copy = result["machine"]["copy"][str(result["threads"])]
    return [_long(record, copy) for record in records if record["status"] == "timed"]


def _long(record: Record, copy: float) -> Table:
    rows = [
        [
            steps,
            f"{figures.seconds * 1e6:.0f}",
            f"{figures.a_step * 1e6:.2f}",
            times(figures.beside_shortest),
            f"{figures.bandwidth / 1e9:.2f}",
            percent(figures.bandwidth, copy),
            percent(figures.bound, figures.seconds),
        ]
        for steps, figures in linear_figures(record, copy).items()
    ]
    sizes = f"B={record['batch']}, I={record['inputs']}, H={record['hidden']}"
    head = ["T", "us", "us a step", "x shortest", "GB/s", "of a copy", "of the bound"]
    return Table(f"{record['cell']}, training step, {sizes}", head, rows)


def _recurrent_part(result: Result, records: Records) -> list[Table]:
    return [_recurrent_table(cell, of_cell(records, cell)) for cell in dict.fromkeys(one["cell"] for one in records)]


def _recurrent_table(cell: str, records: Records) -> Table:
    rows = [
        [
            ",".join(str(record[name]) for name in ("steps", "batch", "inputs", "hidden")),
            *(text for mode in (FORWARD, TRAINING) for text in _sequence_texts(record, mode)),
            *(text for mode in (FORWARD, GRADIENT) for text in _loop_texts(record, mode)),
        ]
        for record in records
    ]
    modes = [("forward", "training"), ("forward loop", "gradient's loop")]
    head = [text for mode in modes[0] for text in (f"{mode}, us a step", "of the bound")]
    head += [text for mode in modes[1] for text in (f"{mode}, GB/s", "of a copy")]
    return Table(f"{cell}, the layer and its loop", ["T,B,I,H", *head], rows)


def _sequence_texts(record: Record, mode: str) -> tuple[str, str]:
    seconds = median(record, mode)
    assert seconds is not None
    return f"{seconds / record['steps'] * 1e6:.2f}", percent(sequence_bound(record, mode), seconds)


def _loop_texts(record: Record, mode: str) -> tuple[str, str]:
    rate = loop_rate(record, mode)
    return f"{rate / 1e9:.1f}", percent(rate, record["copy"])


def nanoseconds(seconds: float | None) -> str:
    """A time."""
    return "-" if seconds is None else f"{seconds * 1e9:.0f}"


def milliseconds(spread: Record) -> str:
    """A median."""
    return f"{spread['median'] * 1e3:.0f}"


def times(value: float | None) -> str:
    """A ratio."""
    return "-" if value is None else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def percent(value: float | None, of: float) -> str:
    """A share."""
    return "-" if value is None else f"{100 * value / of:.0f}%"


MAKERS: dict[str, Callable[[Result, Records], list[Table]]] = {
    "forward": _of_gru,
    "training": _of_gru,
    "cells": _cells,
    "step": _step,
    "single_row": _single_row,
    "narrow_weights": _narrow_weights,
    "single_cells": _single_cells,
    "threads": _threads,
    "two_threads": _two_threads,
    "compile": _compile,
    "linear": _linear,
    "recurrent_part": _recurrent_part,
    "serial": _linear,
}
