"""The graph of a whole network: what is before a recurrent layer, the layer, what is behind it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gatewright.backends.onnx import layers
from gatewright.backends.onnx.graph import Extent, Graph, Kind, Tensor
from gatewright.backends.onnx.steps import BATCH, TIME, Ends, steps_of
from gatewright.export.forecast import Forecast
from gatewright.export.network import Network
from gatewright.export.ngrams import Ngrams
from gatewright.export.onnx_forecast import Window
from gatewright.export.onnx_linear_series import linear_outputs
from gatewright.export.onnx_ngrams import ngram_scores


def build(
    network: Network, opset: int, *, states: bool, lengths: bool, operators: bool, dtype: str | None = None
) -> tuple[Graph, str]:
    """The graph of a network, and the operator that computes its layer."""
    made = _Builder(network, opset, operators, np.dtype(dtype) if dtype else network.dtype)
    return made.graph, made.run(states, lengths)


class _Builder:
    def __init__(self, network: Network, opset: int, operators: bool, dtype: np.dtype[Any]) -> None:
        self.network, self.operators = network, operators
        name = str((network.about or {}).get("task") or network.layer.trace.name)
        self.graph = Graph(name, dtype, opset)
        self.prefix = f"{network.layer.name}." if network.layer.name else ""
        self.leading = (BATCH, TIME) if network.layer.batch_first else (TIME, BATCH)

    def run(self, states: bool, lengths: bool) -> str:
        """Everything from the inputs to the outputs."""
        graph, network = self.graph, self.network
        if network.forecast:
            return self._forecast(network.forecast)
        inputs = self._input()
        encoded = self._encoded(inputs)
        rows_end = self._ends(encoded) if lengths else None
        x, ends = self._patched(encoded, rows_end)
        given = self._states() if states else {}
        result = self._layers(x, given, ends)
        values = self._headed(self._pooled(result.output, ends))
        self._output(self._mixed(values, inputs, encoded, rows_end))
        if states:
            for name, (rows, size) in network.state_shapes().items():
                doc = f"state {name} after each row's last step ({rows}, {BATCH}, {size})"
                graph.output(result.finals[name], self._state_name("final_state", name), (rows, BATCH, size), doc)
        return result.operator

    def _mixed(self, values: Tensor, inputs: Tensor, encoded: Tensor, ends: Ends | None) -> Tensor:
        """The mean of the outputs and those of the linear model beside the network, if there is one."""
        graph, linear = self.graph, self.network.linear
        if linear is None:
            return values
        if isinstance(linear, Ngrams):
            beside = ngram_scores(graph, linear, inputs, ends)
        else:
            beside = linear_outputs(graph, linear, encoded, ends)
        return graph.emit("Mul", graph.emit("Add", values, beside), 0.5)

    def _forecast(self, forecast: Forecast) -> str:
        """A window in, a forecast out; neither has states or lengths."""
        variables, known = len(forecast.mean), len(forecast.known_mean)
        extents = (forecast.history, BATCH, variables)
        unit = "as they were measured" if forecast.is_measured else "in deviations of the training part of each series"
        doc = f"the last {forecast.history} steps {unit} ({', '.join(map(str, extents))})"
        given, beside = self.graph.input("input", extents, doc), None
        if known:
            extents = (forecast.steps, BATCH, known)
            doc = f"what is known of these steps and of those to come ({', '.join(map(str, extents))})"
            beside = self.graph.input("known", extents, doc)
        window = Window(self.graph, forecast, given, beside)
        result = self._layers(window.read(), {}, None)
        made = window.forecast(self._headed(window.to_come(result.output)))
        extents = (forecast.horizon, BATCH, variables, len(forecast.values))
        doc = f"{', '.join(forecast.values)} of every variable in each step to come ({', '.join(map(str, extents))})"
        self.graph.output(made, "output", extents, doc)
        return result.operator

    def _layers(self, x: Tensor, states: Mapping[str, Tensor], ends: Ends | None) -> layers.StackOutputs:
        network = self.network
        return layers.stack(
            self.graph, network.layer.trace, network.levels, x, states, ends, self.prefix, operators=self.operators
        )

    def _input(self) -> Tensor:
        """What goes in, time first."""
        network, graph = self.network, self.graph
        if network.reads_symbols:
            extents: tuple[Extent, ...] = (*self.leading, *([len(network.columns)] if network.columns else []))
            doc = f"whole numbers from 0 to {network.symbols - 1} ({', '.join(map(str, extents))})"
            doc += f": of each step {', '.join(network.columns)}" if network.columns else ""
            given = graph.input("input", extents, doc, kind=Kind.COUNT)
        else:
            extents = (*self.leading, network.input_size)
            given = graph.input("input", extents, f"features ({', '.join(map(str, extents))})")
        return self._exchanged(given)

    def _exchanged(self, value: Tensor) -> Tensor:
        """Time first becomes batch first, and the other way, where the layer has the batch first."""
        if not self.network.layer.batch_first:
            return value
        return self.graph.transpose(value, 1, 0, *range(2, value.ndim))

    def _encoded(self, given: Tensor) -> Tensor:
        graph, network = self.graph, self.network
        encoder = {name: graph.initialiser(f"encode.{name}", array) for name, array in (network.encoder or {}).items()}
        match network.encode:
            case "embedding":
                return graph.emit("Gather", encoder["weight"], given, ndim=3, axis=0)
            case "embedding-sum":
                vectors = graph.emit("Gather", encoder["weight"], given, ndim=4, axis=0)
                return graph.reduce("ReduceSum", vectors, (2,))
            case "one-hot":
                return self._one_hot(given)
            case "standardised":
                return graph.emit("Div", graph.emit("Sub", given, encoder["mean"]), encoder["deviation"])
            case "values":
                return given

    def _patched(self, x: Tensor, ends: Ends | None) -> tuple[Tensor, Ends | None]:
        """The steps that the layer reads, where it reads several as one; zeros fill up the last patch of a row."""
        graph, patches, size = self.graph, self.network.patches, self.network.patch
        if not patches:
            return x, ends
        x = graph.emit("Where", ends.active[(..., None)], x, 0.0) if ends else x
        steps, shape, features = self._steps(x), graph.shape(x), self.network.input_size
        count = self._patches(steps)
        none = graph.counts(0)
        total = graph.emit("Mul", count, graph.count(size), kind=Kind.COUNT)
        added = graph.emit("Sub", total, steps, kind=Kind.COUNT)
        pads = graph.emit("Concat", none, none, none, added, none, none, ndim=1, kind=Kind.COUNT, axis=0)
        batch = graph.slice(shape, 1, 2)
        divided = graph.emit("Concat", count, graph.counts(size), batch, graph.counts(features), ndim=1,
                             kind=Kind.COUNT, axis=0)  # fmt: skip
        joined = graph.emit("Concat", count, batch, graph.counts(size * features), ndim=1, kind=Kind.COUNT, axis=0)
        parts = graph.emit("Reshape", graph.emit("Pad", x, pads, ndim=3), divided, ndim=4)
        flat = graph.emit("Reshape", graph.transpose(parts, 0, 2, 1, 3), joined, ndim=3)
        weight, bias = (graph.initialiser(f"patch.{name}", patches[name]) for name in ("weight", "bias"))
        read = graph.emit("Add", graph.emit("MatMul", flat, graph.transpose(weight, 1, 0)), bias)
        return read, layers.ends_of(graph, read, self._patches(ends.lengths)) if ends else None

    def _patches(self, steps: Tensor) -> Tensor:
        """How many patches those steps are, of which the last may not be full."""
        graph, size = self.graph, self.network.patch
        whole = graph.emit("Add", steps, graph.count(size - 1), kind=Kind.COUNT)
        return graph.emit("Div", whole, graph.count(size), kind=Kind.COUNT)

    def _one_hot(self, given: Tensor) -> Tensor:
        """Whole numbers first: runtimes have this operator for few types."""
        graph, symbols = self.graph, self.graph.count(self.network.symbols)
        values = graph.initialiser("zero_and_one", np.array([0, 1], np.int64))
        places = graph.emit("OneHot", given, symbols, values, ndim=3, kind=Kind.COUNT, axis=-1)
        return graph.cast(places, Kind.NUMBER)

    def _ends(self, x: Tensor) -> Ends:
        lengths = self.graph.input("lengths", (BATCH,), "the number of steps of each row, from 0 up", kind=Kind.COUNT)
        return layers.ends_of(self.graph, x, lengths)

    def _states(self) -> Mapping[str, Tensor]:
        states: dict[str, Tensor] = {}
        for name, (rows, size) in self.network.state_shapes().items():
            doc = f"state {name} before the first step ({rows}, {BATCH}, {size}); zeros begin anew"
            states[name] = self.graph.input(self._state_name("state", name), (rows, BATCH, size), doc)
        return states

    def _state_name(self, kind: str, name: str) -> str:
        return kind if len(self.network.layer.trace.states) == 1 else f"{kind}_{name}"

    def _pooled(self, values: Tensor, ends: Ends | None) -> Tensor:
        """Over the steps of each row; a row of no step gives zeros, as padding does."""
        graph = self.graph
        match self.network.pool:
            case "each step":
                return values
            case "mean":
                total = graph.reduce("ReduceSum", values, (0,))
                steps = graph.unsqueeze(ends.lengths, 1) if ends else self._steps(values)
                present = graph.emit("Max", steps, graph.count(1), kind=Kind.COUNT)
                return graph.emit("Div", total, graph.cast(present, Kind.NUMBER))
            case "max":
                return self._greatest(values, ends)
            case "last":
                return self._ended(values, ends)

    def _steps(self, values: Tensor) -> Tensor:
        return self.graph.slice(self.graph.shape(values), 0, 1)

    def _greatest(self, values: Tensor, ends: Ends | None) -> Tensor:
        graph = self.graph
        if ends:
            values = graph.emit("Where", ends.active[(..., None)], values, -np.inf)
        steps = graph.unsqueeze(ends.lengths, 1) if ends else self._steps(values)
        greatest = graph.reduce("ReduceMax", values, (0,))
        some = graph.emit("Less", graph.count(0), steps, kind=Kind.TRUTH)
        return graph.emit("Where", some, greatest, 0.0)

    def _ended(self, values: Tensor, ends: Ends | None) -> Tensor:
        """Of each direction its own end: the backward one, the second half of the features, ends at the first step."""
        graph, network = self.graph, self.network
        if network.directions == 1:
            return self._last(values, ends)
        half, end = network.emitted, np.iinfo(np.int64).max
        forward = self._last(graph.slice(values, 0, half, axis=2), ends)
        backward = graph.reduce("ReduceSum", graph.slice(graph.slice(values, half, end, axis=2), 0, 1), (0,))
        return graph.emit("Concat", forward, backward, axis=1)

    def _last(self, values: Tensor, ends: Ends | None) -> Tensor:
        graph = self.graph
        if ends:
            step = steps_of(graph, values)
            before = graph.emit("Sub", ends.lengths, graph.count(1), kind=Kind.COUNT)
            is_last = graph.emit("Equal", graph.unsqueeze(step, 1), graph.unsqueeze(before, 0), kind=Kind.TRUTH)
            values = graph.emit("Where", is_last[(..., None)], values, 0.0)
        else:
            values = graph.slice(values, -1, np.iinfo(np.int64).max)
        return graph.reduce("ReduceSum", values, (0,))

    def _output(self, values: Tensor) -> None:
        graph, network = self.graph, self.network
        each = network.pool == "each step"
        leading = self.leading if each else (BATCH,)
        what = "scores" if network.head else "the first state of every step"
        doc = f"{what} ({', '.join(leading)}, {network.output_size})"
        graph.output(self._exchanged(values) if each else values, "output", (*leading, network.output_size), doc)

    def _headed(self, values: Tensor) -> Tensor:
        graph, head = self.graph, self.network.head
        if not head:
            return values
        bias = graph.initialiser("output.bias", head["bias"])
        return graph.emit("Add", graph.emit("MatMul", values, graph.transpose(self._matrix(), 1, 0)), bias)

    def _matrix(self) -> Tensor:
        """The head's matrix: the embedding, where the two are one."""
        graph, network = self.graph, self.network
        assert network.head
        weight = network.head["weight"]
        for value, array in graph.initialisers.items():
            if value.name == "encode.weight" and np.array_equal(array, weight):
                return value
        return graph.initialiser("output.weight", weight)
