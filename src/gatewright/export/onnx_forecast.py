"""The part of a graph that is around the layers of a network which corrects a naive forecast."""

import numpy as np

from gatewright.backends.onnx.graph import Graph, Kind, Tensor
from gatewright.export.forecast import Array, Forecast


class Window:
    """A window (history, batch, variables), by its own level and spread."""

    def __init__(self, graph: Graph, forecast: Forecast, window: Tensor) -> None:
        self._graph, self._forecast, self._window = graph, forecast, window
        self._deviation = graph.initialiser("scaling.deviation", forecast.deviation)
        moved = graph.emit("Sub", window, graph.initialiser("scaling.mean", forecast.mean))
        self._scaled = _named(graph.emit("Div", moved, self._deviation), "scaled")
        self._level = _named(graph.reduce("ReduceMean", self._scaled, (0,)), "level")
        away = graph.emit("Sub", self._scaled, self._level)
        variance = graph.reduce("ReduceMean", graph.emit("Mul", away, away), (0,))
        self._spread = _named(graph.emit("Max", graph.emit("Sqrt", variance), forecast.least_spread), "spread")

    def read(self) -> Tensor:
        """What the layers read: the window and its naive forecast, and which of the steps are to come."""
        graph = self._graph
        steps = self._picked("steps", self._scaled, self._forecast.steps)
        seen = graph.emit("Div", graph.emit("Sub", steps, self._level), self._spread)
        batch = graph.slice(graph.shape(self._window), 1, 2)
        shape = graph.emit("Concat", graph.counts(1), batch, graph.counts(1), ndim=1, kind=Kind.COUNT, axis=0)
        to_come = graph.expand(graph.initialiser("to_come", self._forecast.to_come), shape, ndim=3)
        return graph.emit("Concat", seen, to_come, ndim=3, axis=2)

    def to_come(self, values: Tensor) -> Tensor:
        """The steps to come alone."""
        return self._graph.slice(values, -len(self._forecast.repeated), np.iinfo(np.int64).max)

    def forecast(self, outputs: Tensor) -> Tensor:
        """The naive forecast as it is changed by what the head says of the steps to come."""
        graph, forecast = self._graph, self._forecast
        naive = _named(self._picked("repeated", self._window, forecast.repeated), "naive")
        spread = graph.emit("Mul", self._spread, self._deviation)
        changes = graph.emit("Mul", spread[(..., None)], self._changes(outputs), ndim=4)
        moved = graph.emit("Mul", naive[(..., None)], graph.initialiser("moved", forecast.moved), ndim=4)
        return graph.emit("Add", graph.emit("Add", moved, changes), graph.initialiser("least", forecast.least))

    def _changes(self, outputs: Tensor) -> Tensor:
        """(horizon, batch, variables, values) in spreads."""
        graph, forecast = self._graph, self._forecast
        shape = graph.counts(0, 0, *forecast.least.shape)  # 0: as it is
        whole = graph.emit("Reshape", outputs, shape, ndim=4)
        sizes = graph.counts(1, len(forecast.values) - 1)
        first, others = graph.emit_many("Split", (whole, sizes), (4, 4), attributes={"axis": 3})
        changes = graph.emit("Concat", first, self._softplus(others), ndim=4, axis=3)
        return graph.emit("CumSum", changes, graph.count(3), ndim=4) if forecast.rises else changes

    def _softplus(self, values: Tensor) -> Tensor:
        """log(1 + e^a), of operators that ONNX Runtime has in float64 too."""
        graph = self._graph
        small = graph.emit("Exp", graph.emit("Neg", graph.emit("Abs", values)))
        return graph.emit("Add", graph.emit("Max", values, 0.0), graph.emit("Log", graph.emit("Add", small, 1.0)))

    def _picked(self, name: str, values: Tensor, steps: Array) -> Tensor:
        return self._graph.emit("Gather", values, self._graph.initialiser(name, steps), ndim=3, axis=0)


def _named(value: Tensor, name: str) -> Tensor:
    value.name = name
    return value
