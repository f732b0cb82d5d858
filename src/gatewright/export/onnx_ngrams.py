"""The classifier of n-grams in an ONNX graph."""

import numpy as np

from gatewright.backends.onnx.graph import Graph, Kind, Tensor
from gatewright.backends.onnx.steps import Ends, steps_of
from gatewright.export.ngrams import Ngrams


def ngram_scores(graph: Graph, bag: Ngrams, inputs: Tensor, ends: Ends | None) -> Tensor:
    """Symbols (time, batch) -> scores (batch, classes), over the steps before the end of each row."""
    weight = graph.initialiser("bag.weight", bag.weight)
    energy = graph.initialiser("bag.energy", bag.energy[:, None])
    weights, energies, hashed = list[Tensor](), list[Tensor](), inputs
    for size in range(1, bag.longest + 1):
        if size > 1:
            hashed = _longer(graph, bag, hashed, inputs, size)
        numbers = hashed if size == 1 else _in_buckets(graph, bag, hashed)
        for table, sums in ((weight, weights), (energy, energies)):
            gathered = graph.emit("Gather", table, numbers, ndim=3, axis=0)
            if ends is not None:
                gathered = graph.emit("Where", _present(graph, gathered, ends, size), gathered, 0.0)
            sums.append(graph.reduce("ReduceSum", gathered, (0,)))
    total, norm = (sums[0] if len(sums) == 1 else graph.emit("Sum", *sums) for sums in (weights, energies))
    root = graph.emit("Sqrt", graph.emit("Max", norm, 1.0))
    return graph.emit("Add", graph.emit("Div", total, root), graph.initialiser("bag.bias", bag.bias))


def _longer(graph: Graph, bag: Ngrams, hashed: Tensor, inputs: Tensor, size: int) -> Tensor:
    """The hashes of runs that are longer by a symbol."""
    scaled = graph.emit("Mul", graph.slice(hashed, 0, -1), graph.count(bag.factor), kind=Kind.COUNT)
    last = graph.slice(inputs, size - 1, np.iinfo(np.int64).max)
    return graph.emit(
        "Mod", graph.emit("Add", scaled, last, kind=Kind.COUNT), graph.count(bag.modulus), kind=Kind.COUNT
    )


def _in_buckets(graph: Graph, bag: Ngrams, hashed: Tensor) -> Tensor:
    """The numbers of runs, behind those of single symbols."""
    bucket = graph.emit("Mod", hashed, graph.count(bag.buckets), kind=Kind.COUNT)
    return graph.emit("Add", bucket, graph.count(bag.symbols), kind=Kind.COUNT)


def _present(graph: Graph, runs: Tensor, ends: Ends, size: int) -> Tensor:
    """(runs, batch, 1): whether a run of that size ends before its row does."""
    behind = graph.emit("Add", steps_of(graph, runs), graph.count(size - 1), kind=Kind.COUNT)
    before = graph.emit("Less", graph.unsqueeze(behind, 1), graph.unsqueeze(ends.lengths, 0), kind=Kind.TRUTH)
    return graph.unsqueeze(before, 2)
