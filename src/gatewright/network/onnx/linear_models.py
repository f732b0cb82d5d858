"""Linear models beside a network in an ONNX graph: of n-grams, and of series."""

import numpy as np

from gatewright.backends.onnx.graph import ElementKind, Graph, Tensor
from gatewright.backends.onnx.steps import Ends, steps_of
from gatewright.network.beside import LinearSeriesPart, Ngrams
from gatewright.network.onnx.builder import NetworkGraph


def ngram_scores(builder: NetworkGraph, bag: Ngrams) -> Tensor:
    """Symbols (time, batch) -> scores (batch, classes), over the steps before the end of each row."""
    graph, inputs, ends = builder.graph, builder.inputs, builder.row_ends
    weight = graph.initialiser("bag.weight", bag.weight)
    energy = graph.initialiser("bag.energy", bag.energy[:, None])
    weights, energies, hashed = list[Tensor](), list[Tensor](), inputs
    for size in range(1, bag.longest + 1):
        if size > 1:
            scaled = graph.slice(hashed, 0, -1) * bag.factor
            last = graph.slice(inputs, size - 1, np.iinfo(np.int64).max)
            hashed = _whole(graph, "Mod", scaled + last, bag.modulus)
        # Runs of several symbols are numbered after the single symbols.
        numbers = hashed if size == 1 else _whole(graph, "Mod", hashed, bag.buckets) + bag.symbols
        for table, sums in ((weight, weights), (energy, energies)):
            gathered = graph.emit("Gather", table, numbers, ndim=3, axis=0)
            if ends is not None:
                gathered = graph.emit("Where", _present(graph, gathered, ends, size), gathered, 0.0)
            sums.append(graph.reduce("ReduceSum", gathered, (0,)))
    total, norm = (sums[0] if len(sums) == 1 else graph.emit("Sum", *sums) for sums in (weights, energies))
    root = graph.emit("Sqrt", graph.emit("Max", norm, 1.0))
    return total / root + graph.initialiser("bag.bias", bag.bias)


def _present(graph: Graph, runs: Tensor, ends: Ends, size: int) -> Tensor:
    """(runs, batch, 1): whether a run of that size ends before its row does."""
    last = steps_of(graph, runs) + (size - 1)
    before = graph.emit("Less", graph.unsqueeze(last, 1), graph.unsqueeze(ends.lengths, 0), kind=ElementKind.TRUTH)
    return graph.unsqueeze(before, 2)


def linear_outputs(builder: NetworkGraph, linear: LinearSeriesPart, inputs: Tensor) -> Tensor:
    """Standardised channels (time, batch, channels) -> outputs (batch, outputs), over the steps of each row."""
    graph, ends = builder.graph, builder.row_ends
    features, _ = linear.weight.shape
    shape, intervals = graph.shape(inputs), graph.count(max(linear.times - 1, 1))
    batch = graph.squeeze(graph.slice(shape, 1, 2), 0)
    lengths = ends.lengths if ends else graph.slice(shape, 0, 1)  # (batch,), or one for all rows
    last = _whole(graph, "Max", lengths + -1, 0)
    times = _range(graph, graph.count(linear.times))
    reached = graph.unsqueeze(times, 1) * graph.unsqueeze(last, 0)
    before = reached / intervals
    after = _whole(graph, "Min", before + 1, graph.unsqueeze(last, 0))
    rest = graph.cast(_whole(graph, "Mod", reached, intervals), ElementKind.NUMBER)
    share = graph.unsqueeze(rest / float(max(linear.times - 1, 1)), 2)
    none = graph.counts(0)
    pads = graph.join_counts(none, none, none, graph.counts(1), none, none)
    padded = graph.emit("Pad", inputs, pads, ndim=3)  # so that there is a step at least
    flat = graph.emit("Reshape", padded, graph.counts(-1, features // linear.times), ndim=2)
    first, second = (_read(graph, flat, place, batch) for place in (before, after))
    values = first * graph.emit("Sub", 1.0, share) + second * share
    some = graph.emit("Less", graph.count(0), graph.unsqueeze(lengths, 1), kind=ElementKind.TRUTH)
    present = graph.emit("Where", some, values, 0.0)
    rows = graph.emit("Reshape", graph.transpose(present, 1, 0, 2), graph.counts(-1, features), ndim=2)
    weight, bias = (graph.initialiser(f"linear.{name}", getattr(linear, name)) for name in ("weight", "bias"))
    return graph.emit("MatMul", rows, weight) + bias


def _read(graph: Graph, flat: Tensor, steps: Tensor, batch: Tensor) -> Tensor:
    """(time * batch, channels) at those steps (times, batch) of each row: (times, batch, channels)."""
    rows = _range(graph, batch)
    places = steps * batch + graph.unsqueeze(rows, 0)
    return graph.emit("Gather", flat, places, ndim=3, axis=0)


def _range(graph: Graph, end: Tensor) -> Tensor:
    return graph.emit("Range", graph.count(0), end, graph.count(1), ndim=1, kind=ElementKind.COUNT)


def _whole(graph: Graph, op: str, count: Tensor, other: Tensor | int) -> Tensor:
    return graph.emit(op, count, graph.count(other) if isinstance(other, int) else other, kind=ElementKind.COUNT)
