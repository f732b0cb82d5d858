"""The ONNX graph of a whole network: its inputs, its parts by their rules, its outputs."""

from collections.abc import Mapping, Sequence

import numpy as np

from gatewright.backends.onnx import layers
from gatewright.backends.onnx.graph import ElementKind, Extent, Graph, Tensor
from gatewright.backends.onnx.steps import BATCH, TIME, Ends
from gatewright.errors import ConversionError
from gatewright.network.forecast import Forecast, ForecastWindow
from gatewright.network.network import Network
from gatewright.network.onnx.builder import GraphOptions, NetworkGraph
from gatewright.network.onnx.rules import RULES
from gatewright.network.parts import Dense, SumEmbedding
from gatewright.network.recurrent import RecurrentPart


def build(network: Network, options: GraphOptions) -> NetworkGraph:
    """The graph of a network.

    Raises ConversionError for a part that has no operators.
    """
    first = next((part for part in network.parts if isinstance(part, RecurrentPart)), None)
    name = network.about.get("task") or (first.traces[0].name if first else "network")
    graph = Graph(str(name), options.dtype, options.opset, int8=options.int8)
    builder = NetworkGraph(graph, network, options)
    _inputs(builder)
    if options.states:
        builder.states = _states(builder)
    value = builder.inputs
    for index, (part, flow) in enumerate(zip(network.parts, network.flows(), strict=False)):
        builder.name, builder.features = network.name_of(index), flow.features
        rule = RULES.get(type(part))
        if rule is None:
            raise ConversionError(f"ONNX has no operators for a part of kind {part.kind}")
        value = rule(builder, part, value)
        value.name = value.name or (builder.name if builder.readable else "")
    _outputs(builder, value)
    return builder


def forecast_of(network: Network) -> Forecast | None:
    """How a network forecasts; None where it does something else."""
    return next((part.forecast for part in network.parts if isinstance(part, ForecastWindow)), None)


def _shown(extents: Sequence[Extent]) -> str:
    return f"({', '.join(map(str, extents))})"


def _exchanged(builder: NetworkGraph, value: Tensor) -> Tensor:
    """Time first becomes batch first, and the other way, where the network has the batch first."""
    if not builder.network.batch_first or value.ndim < 2:
        return value
    return builder.graph.transpose(value, 1, 0, *range(2, value.ndim))


def _inputs(builder: NetworkGraph) -> None:
    """What the network reads, time first, and the lengths of rows."""
    network, graph = builder.network, builder.graph
    if forecast := forecast_of(network):
        _inputs_of_forecast(builder, forecast)
        return
    time = network.reads[0] or TIME
    leading = (BATCH, time) if network.batch_first else (time, BATCH)
    if symbols := network.symbols:
        columns = next((part.columns for part in network.parts if isinstance(part, SumEmbedding)), ())
        extents: tuple[Extent, ...] = (*leading, *([len(columns)] if columns else []))
        doc = f"whole numbers from 0 to {symbols - 1} {_shown(extents)}"
        doc += f": of each step {', '.join(columns)}" if columns else ""
        given = graph.input("symbols" if builder.readable else "input", extents, doc, kind=ElementKind.COUNT)
    else:  # a network that begins with a Reshape reads one row of numbers, without steps
        extents = (BATCH, network.reads[0] or "features") if network.reads_rows else (*leading, network.width)
        given = graph.input("input", extents, f"features {_shown(extents)}")
    builder.inputs = given if network.reads_rows else _exchanged(builder, given)
    builder.row_ends = builder.ends = _ends(builder)


def _ends(builder: NetworkGraph) -> Ends | None:
    """Where rows end, if the file or who runs it says so."""
    graph, fixed = builder.graph, builder.network.lengths
    if builder.options.lengths:
        kind = ElementKind.SHORT_COUNT if builder.readable else ElementKind.COUNT
        builder.lengths = graph.input("lengths", (BATCH,), "the number of steps of each row, from 0 up", kind=kind)
    elif isinstance(fixed, tuple):
        builder.lengths = graph.initialiser("lengths", np.array(fixed, np.int32))
    if builder.lengths is None:
        return None
    return layers.ends_of(graph, builder.inputs, graph.cast(builder.lengths, ElementKind.COUNT))


def _inputs_of_forecast(builder: NetworkGraph, forecast: Forecast) -> None:
    """A window, and what is known beside it."""
    variables, known = len(forecast.mean), len(forecast.known_mean)
    extents: tuple[Extent, ...] = (forecast.history, BATCH, variables)
    unit = "as they were measured" if forecast.is_measured else "in deviations of the training part of each series"
    doc = f"the last {forecast.history} steps {unit} {_shown(extents)}"
    builder.inputs = builder.graph.input("input", extents, doc)
    if known:
        extents = (forecast.steps, BATCH, known)
        doc = f"what is known of these steps and of those to come {_shown(extents)}"
        builder.known = builder.graph.input("known", extents, doc)


def _states(builder: NetworkGraph) -> Mapping[str, Tensor]:
    states: dict[str, Tensor] = {}
    for name, (rows, size) in builder.network.state_shapes().items():
        doc = f"state {name} before the first step ({rows}, {BATCH}, {size}); zeros begin anew"
        states[name] = builder.graph.input(_state_name(builder, "state", name), (rows, BATCH, size), doc)
    return states


def _state_name(builder: NetworkGraph, kind: str, name: str) -> str:
    return kind if len(builder.network.state_shapes()) == 1 else f"{kind}_{name}"


def _outputs(builder: NetworkGraph, value: Tensor) -> None:
    graph, network = builder.graph, builder.network
    if forecast := forecast_of(network):
        extents: tuple[Extent, ...] = (forecast.horizon, BATCH, len(forecast.mean), len(forecast.values))
        doc = f"{', '.join(forecast.values)} of every variable in each step to come {_shown(extents)}"
        graph.output(value, "output", extents, doc)
        return
    time = network.reads[0] or TIME
    steps = (BATCH, time) if network.batch_first else (time, BATCH)
    extents = (*(steps if value.ndim == 3 else (BATCH,)), network.output_width or "features")
    doc = f"{_meaning(network)} {_shown(extents)}"
    graph.output(_exchanged(builder, value) if value.ndim == 3 else value, "output", extents, doc)
    if builder.options.states:
        for name, (rows, size) in network.state_shapes().items():
            doc = f"state {name} after each row's last step ({rows}, {BATCH}, {size})"
            finals = builder.finals[name]
            final = finals[0] if len(finals) == 1 else graph.emit("Concat", *finals, ndim=3, axis=0)
            graph.output(final, _state_name(builder, "final_state", name), (rows, BATCH, size), doc)


def _meaning(network: Network) -> str:
    """What is given out. A linear model beside the network is a part of its scores."""
    last = next((part for part in network.parts[::-1] if isinstance(part, Dense | RecurrentPart)), None)
    if isinstance(last, RecurrentPart):
        return f"the first state {'after the last step' if last.returns == 'last' else 'of every step'}"
    return "values" if last is None else "scores"
