"""The table of rules: an operator for every op, each beside the reference's, and random cells as graphs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatewright.axes import bind
from gatewright.backends import numpy_ref
from gatewright.backends.onnx.graph import Graph
from gatewright.backends.onnx.rules import RULES, compute, ops_of
from gatewright.export import onnx
from gatewright.lang import OPS, Op
from gatewright.lang.ops import ELEMENTWISE, result_shape
from gatewright.trace import Equation, Trace, Var
from tests.export.running import Session, inputs_of, model_of, network_of, onnxruntime, states_of, wanted
from tests.parity.assertions import assert_parity
from tests.properties.strategies import axis_sizes, traces

serialise = pytest.importorskip("gatewright.backends.onnx.serialise")

CORNERS = [-2.5, -1.0, 0.0, 1.0, 2.5, 3.0]
SIZES = {"hidden": 5, "input": 3}
SHAPES = {  # of the operands of what is not elementwise, for one row
    Op.MATMUL: [("hidden", "input"), ("input",)],
    Op.TRANSPOSE: [("hidden", "input")],
    Op.OUTER: [("hidden",), ("input",)],
    Op.SUM: [("hidden",)],
    Op.MEAN: [("hidden", "input")],
    Op.EXPAND: [()],
    Op.SIZE: [],
    Op.RELABEL: [("hidden",)],
}
ATTRS = {
    Op.EXPAND: (("axes", "hidden,input"),),
    Op.SIZE: (("axes", "hidden,input"),),
    Op.RELABEL: (("axes", "input"),),
    Op.HARD_SIGMOID: (("slope", 0.2),),
}


def run(dtype: str, opset: int, equation: Equation, arrays: list[np.ndarray]) -> np.ndarray:
    """One equation in ONNX Runtime; every operand is an input of the graph."""
    graph = Graph("one", np.dtype(dtype), opset)
    values: dict[str, Any] = {
        arg.name: graph.input(arg.name, array.shape) for arg, array in zip(equation.args, arrays, strict=True)
    }
    unused = graph.input("unused", (1,))
    compute(graph, (equation,), values, SIZES, "")
    result = graph.emit("Add", values["y"], graph.emit("Mul", unused, 0.0)) if not arrays else values["y"]
    graph.output(graph.number(result), "result", [f"axis{axis}" for axis in range(result.ndim)])
    content = serialise.serialised(graph, producer_version="", doc="", metadata={})
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    feed = {arg.name: array for arg, array in zip(equation.args, arrays, strict=True)}
    return session.run(None, {**feed, "unused": np.ones(1, dtype)})[0]


def test_there_is_a_rule_for_every_op() -> None:
    assert set(RULES) == set(Op)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("op", sorted(ELEMENTWISE), ids=str)
def test_an_elementwise_op_gives_what_the_reference_s_gives(op: Op, dtype: str) -> None:
    if op not in ops_of(np.dtype(dtype)):
        pytest.skip(f"made of simpler ops in {dtype}, which tests/export holds to the reference")
    columns = list(np.array(np.meshgrid(*[CORNERS] * OPS[op].arity)).reshape(OPS[op].arity, -1).astype(dtype))
    attrs = ATTRS.get(op, ())
    args = tuple(Var(name, ("hidden",)) for name in "abc"[: len(columns)])
    with np.errstate(all="ignore"):
        want = np.asarray(numpy_ref.RULES[op](*columns, **dict(attrs)))
    got = run(dtype, 13, Equation(Var("y", ("hidden",)), op, args, attrs), columns)
    finite = np.isfinite(want)
    assert np.array_equal(np.isfinite(got), finite)
    assert_parity(got[finite], want[finite], dtype=dtype, steps=1, width=1)


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize("leading", [(), (2,), (4, 2)], ids=["parameters", "rows", "rows of all steps"])
@pytest.mark.parametrize("op", SHAPES, ids=str)
def test_other_ops_give_what_the_reference_s_give(
    op: Op, leading: tuple[int, ...], opset: int, rng: np.random.Generator
) -> None:
    args = tuple(Var(f"operand{place}", shape) for place, shape in enumerate(SHAPES[op]))
    arrays = [rng.normal(size=(*leading, *bind(arg.shape, SIZES))) for arg in args]
    shape = result_shape(op, tuple(arg.shape for arg in args), ATTRS.get(op, ()))
    equation = Equation(Var("y", shape), op, args, ATTRS.get(op, ()))
    static = {"rank": len(SHAPES[op][0])} if op in (Op.SUM, Op.MEAN) else {}
    static |= {"sizes": (5, 3)} if op is Op.EXPAND else {"count": 15} if op is Op.SIZE else {}
    want = np.asarray(numpy_ref.RULES[op](*arrays, **static))
    want = want.reshape(1) if op is Op.SIZE else want
    assert_parity(run("float64", opset, equation, arrays), want, dtype="float64", steps=1)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(traces(lines=6), st.integers(1, 4), st.integers(1, 3), st.integers(0, 2**32 - 1), st.data())
def test_random_cells(tmp_path: Path, trace: Trace, steps: int, batch: int, seed: int, data: st.DataObject) -> None:
    generator = np.random.default_rng(seed)
    model = model_of(trace, generator, "float64", sizes={"input": 1, "hidden": 1, **data.draw(axis_sizes(trace))})
    network = network_of(model)
    session = Session(onnx(model, tmp_path / "m.onnx", states=True).path)
    x, states = inputs_of(network, steps, batch, generator), states_of(network, batch, generator)
    assert_parity(session.run(x, states), wanted(network, x, states), dtype=network.dtype, steps=steps, width=4096)
