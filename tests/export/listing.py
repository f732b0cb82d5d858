"""An ONNX file as text, for golden files: what onnx's own printer shows, without the numbers."""

from collections.abc import Iterator
from typing import Any

from tests.export.running import onnx

TYPES = {1: "float", 7: "int64", 9: "bool", 11: "double", 6: "int32"}


def listing(model: Any) -> str:
    """Every input, initialiser, node and output; bodies below their node."""
    opset = model.opset_import[0].version
    return "\n".join([f"onnx opset {opset}, ir {model.ir_version}", *_graph(model.graph, ""), ""])


def _graph(graph: Any, indent: str) -> Iterator[str]:
    yield from (f"{indent}in   {_declared(one)}" for one in graph.input)
    yield from (f"{indent}held {one.name!r} {TYPES[one.data_type]}{list(one.dims)}" for one in graph.initializer)
    for node in graph.node:
        yield from _node(node, indent)
    yield from (f"{indent}out  {_declared(one)}" for one in graph.output)


def _node(node: Any, indent: str) -> Iterator[str]:
    attributes = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
    body = attributes.pop("body", None)
    given = ", ".join([*map(repr, node.input), *(f"{name}={_plain(value)}" for name, value in attributes.items())])
    yield f"{indent}{', '.join(map(repr, node.output))} = {node.op_type}({given})"
    if body is not None:
        yield from _graph(body, f"{indent}    ")


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value.decode() if isinstance(value, bytes) else value


def _declared(value: Any) -> str:
    tensor = value.type.tensor_type
    extents = ", ".join(str(one.dim_param or one.dim_value) for one in tensor.shape.dim)
    return f"{value.name!r} {TYPES[tensor.elem_type]}({extents})"
