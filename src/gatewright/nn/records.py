"""Recurrent layers as records of a model file, and back: a layer is its equations, its sizes and its packing."""

from collections.abc import Mapping

from torch import nn

from gatewright.axes import HIDDEN, INPUT
from gatewright.model_file import LayerRecord
from gatewright.nn.recurrent import Recurrent


def layer_records(model: nn.Module) -> tuple[LayerRecord, ...]:
    """A record of every recurrent layer in a model, under the name that it has there."""
    return tuple(_record(name, module) for name, module in model.named_modules() if isinstance(module, Recurrent))


def _record(name: str, layer: Recurrent) -> LayerRecord:
    return LayerRecord(
        name=name,
        trace=layer.trace,
        sizes=layer.sizes(),
        layout=layer.layout,
        num_layers=layer.num_layers,
        bidirectional=layer.bidirectional,
        batch_first=layer.batch_first,
        dropout=layer.dropout,
        dropout_per=layer.dropout_per,
        starts=layer.starts,
    )


def from_record(record: LayerRecord) -> Recurrent:
    """The layer that a record tells of, with freshly drawn parameters: load the file's tensors into it."""
    extra: Mapping[str, int] = {k: v for k, v in record.sizes.items() if k not in (INPUT, HIDDEN)}
    layer = Recurrent(
        record.trace,
        record.sizes[INPUT],
        record.sizes[HIDDEN],
        num_layers=record.num_layers,
        batch_first=record.batch_first,
        dropout=record.dropout,
        bidirectional=record.bidirectional,
        sizes=extra,
        layout=record.layout,
        dropout_per=record.dropout_per,
    )
    if record.starts:
        layer.starts = dict(record.starts)
        layer.reset_parameters()
    return layer
