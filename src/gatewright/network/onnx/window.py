"""The part of a graph that is around the layers of a network which corrects a linear forecast."""

import numpy as np

from gatewright.backends.onnx.graph import Graph, Tensor
from gatewright.network.forecast import Forecast
from gatewright.network.onnx.functions import softplus


class Window:
    """A window (history, batch, variables), by its own level and spread, and its linear forecast."""

    def __init__(self, graph: Graph, forecast: Forecast, window: Tensor, known: Tensor | None) -> None:
        self._graph, self._forecast, self._window = graph, forecast, window
        self._deviation = graph.initialiser("scaling.deviation", forecast.deviation)
        self._mean = graph.initialiser("scaling.mean", forecast.mean)
        self._known: Tensor | None = None
        if known is not None:
            moved = known - graph.initialiser("known_scaling.mean", forecast.known_mean)
            self._known = moved / graph.initialiser("known_scaling.deviation", forecast.known_deviation)
        past = self._into(window)
        if self._known is not None:
            self._effect = graph.emit("MatMul", self._known, graph.initialiser("effect", forecast.effect), ndim=3)
            past = past - graph.slice(self._effect, 0, forecast.history)
        self._level = _named(graph.reduce("ReduceMean", past, (0,)), "level")
        self._away = past - self._level
        variance = graph.reduce("ReduceMean", self._away * self._away, (0,))
        self._spread = _named(graph.emit("Max", graph.emit("Sqrt", variance), forecast.least_spread), "spread")
        self._base = _named(self._linear() + self._level, "linear")

    def read(self) -> Tensor:
        """What the layers read: the window and its linear forecast, what is known, and which steps are to come."""
        graph, forecast = self._graph, self._forecast
        seen = graph.emit("Concat", self._away, self._base - self._level, ndim=3, axis=0) / self._spread
        batch = graph.slice(graph.shape(self._window), 1, 2)
        shape = graph.join_counts(graph.counts(1), batch, graph.counts(1))
        flag = graph.expand(graph.initialiser("to_come", forecast.to_come), shape, ndim=3)
        parts = [seen, flag] if self._known is None else [seen, self._known, flag]
        return graph.emit("Concat", *parts, ndim=3, axis=2)

    def to_come(self, values: Tensor) -> Tensor:
        """The steps to come alone."""
        return self._graph.slice(values, -self._forecast.horizon, np.iinfo(np.int64).max)

    def forecast(self, outputs: Tensor) -> Tensor:
        """The linear forecast as it is changed by what the head says of the steps to come, with its interval."""
        graph, forecast = self._graph, self._forecast
        sizes = graph.counts(0, 0, len(forecast.mean), -1)  # 0: as it is
        whole = graph.emit("Reshape", outputs, sizes, ndim=4)
        change, learned = graph.slice(whole, 0, 1, axis=3), graph.slice(whole, 1, np.iinfo(np.int64).max, axis=3)
        spread = self._spread[(..., None)]
        changed = spread * forecast.share * change
        middle = self._base[(..., None)] + changed
        width = learned * forecast.trust + forecast.at_first
        widths = spread * graph.initialiser("width", forecast.width) * softplus(graph, width)
        widths = widths * graph.initialiser("widening", forecast.widening)
        below, above = graph.slice(widths, 0, 1, axis=3), graph.slice(widths, 1, 2, axis=3)
        ends = graph.emit("Concat", middle - below, middle, middle + above, ndim=4, axis=3)
        return self._outer(ends if self._known is None else ends + self.to_come(self._effect)[(..., None)])

    def _linear(self) -> Tensor:
        """What the regression adds to the level: (horizon, batch, variables)."""
        graph = self._graph
        spread, level = (graph.unsqueeze(tensor, 0) for tensor in (self._spread, self._level))
        features = graph.emit("Concat", self._away, spread, level, level * 0.0 + 1.0, ndim=3, axis=0)
        weight = graph.initialiser("linear.weight", self._forecast.weight)
        return graph.transpose(graph.emit("MatMul", graph.transpose(features, 2, 1, 0), weight, ndim=3), 2, 1, 0)

    def _into(self, window: Tensor) -> Tensor:
        """In deviations of the training part, or of its logarithms."""
        graph, forecast = self._graph, self._forecast
        scaled = _named((window - self._mean) / self._deviation, "scaled")
        if not forecast.logarithm.any():
            return scaled
        present = graph.emit("Max", window, graph.initialiser("least", forecast.least))
        moved = graph.emit("Log", present) - graph.initialiser("inner.mean", forecast.inner_mean)
        logs = moved / graph.initialiser("inner.deviation", forecast.inner_deviation)
        return graph.emit("Where", graph.initialiser("logarithm", forecast.logarithm), logs, scaled)

    def _outer(self, values: Tensor) -> Tensor:
        """In the units of the series."""
        graph, forecast = self._graph, self._forecast
        measured = values * self._deviation[(..., None)] + self._mean[(..., None)]
        if forecast.logarithm.any():
            # Where it is no logarithm the power would be of any number, and might be infinite.
            logarithm = graph.initialiser("is_logarithm", forecast.logarithm[:, None])
            powers = graph.emit("Where", logarithm, values, 0.0)
            powers = powers * graph.initialiser("outer.deviation", forecast.inner_deviation[:, None])
            powers = powers + graph.initialiser("outer.mean", forecast.inner_mean[:, None])
            measured = graph.emit("Where", logarithm, graph.emit("Exp", powers), measured)
        if not np.isfinite(forecast.lowest).any():
            return measured
        return graph.emit("Max", measured, graph.initialiser("lowest", forecast.lowest[:, None]))


def _named(value: Tensor, name: str) -> Tensor:
    value.name = name
    return value
