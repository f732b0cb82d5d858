"""The linear model of series in an ONNX graph."""

from gatewright.backends.onnx.graph import Graph, Kind, Tensor
from gatewright.backends.onnx.steps import Ends
from gatewright.export.linear_series import LinearSeries


def linear_outputs(graph: Graph, linear: LinearSeries, inputs: Tensor, ends: Ends | None) -> Tensor:
    """Standardised channels (time, batch, channels) -> outputs (batch, outputs), over the steps of each row."""
    features, _ = linear.weight.shape
    shape, intervals = graph.shape(inputs), graph.count(max(linear.times - 1, 1))
    batch = graph.squeeze(graph.slice(shape, 1, 2), 0)
    lengths = ends.lengths if ends else graph.slice(shape, 0, 1)  # (batch,), or one for all rows
    last = graph.emit("Max", _sum(graph, lengths, graph.count(-1)), graph.count(0), kind=Kind.COUNT)
    times = graph.emit("Range", graph.count(0), graph.count(linear.times), graph.count(1), ndim=1, kind=Kind.COUNT)
    reached = graph.emit("Mul", graph.unsqueeze(times, 1), graph.unsqueeze(last, 0), kind=Kind.COUNT)
    before = graph.emit("Div", reached, intervals, kind=Kind.COUNT)
    after = graph.emit("Min", _sum(graph, before, graph.count(1)), graph.unsqueeze(last, 0), kind=Kind.COUNT)
    rest = graph.cast(graph.emit("Mod", reached, intervals, kind=Kind.COUNT), Kind.NUMBER)
    share = graph.unsqueeze(graph.emit("Div", rest, float(max(linear.times - 1, 1))), 2)
    none = graph.counts(0)
    pads = graph.emit("Concat", none, none, none, graph.counts(1), none, none, ndim=1, kind=Kind.COUNT, axis=0)
    padded = graph.emit("Pad", inputs, pads, ndim=3)  # so that there is a step at least
    flat = graph.emit("Reshape", padded, graph.counts(-1, features // linear.times), ndim=2)
    first, second = (_read(graph, flat, place, batch) for place in (before, after))
    values = _sum(graph, graph.emit("Mul", first, graph.emit("Sub", 1.0, share)), graph.emit("Mul", second, share))
    some = graph.emit("Less", graph.count(0), graph.unsqueeze(lengths, 1), kind=Kind.TRUTH)
    present = graph.emit("Where", some, values, 0.0)
    rows = graph.emit("Reshape", graph.transpose(present, 1, 0, 2), graph.counts(-1, features), ndim=2)
    weight, bias = (graph.initialiser(f"linear.{name}", getattr(linear, name)) for name in ("weight", "bias"))
    return _sum(graph, graph.emit("MatMul", rows, weight), bias)


def _read(graph: Graph, flat: Tensor, steps: Tensor, batch: Tensor) -> Tensor:
    """(time * batch, channels) at those steps (times, batch) of each row: (times, batch, channels)."""
    rows = graph.emit("Range", graph.count(0), batch, graph.count(1), ndim=1, kind=Kind.COUNT)
    places = _sum(graph, graph.emit("Mul", steps, batch, kind=Kind.COUNT), graph.unsqueeze(rows, 0))
    return graph.emit("Gather", flat, places, ndim=3, axis=0)


def _sum(graph: Graph, one: Tensor, other: Tensor) -> Tensor:
    return graph.emit("Add", one, other, kind=one.kind)
