"""torch.onnx.export of layers, by both of its exporters, held to ONNX Runtime at other lengths and batches."""

import io
import warnings
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

import gatewright as gw
from gatewright import cells
from tests.nn.calls.test_recorded import Calls, with_states
from tests.parity.assertions import assert_parity

INPUT, HIDDEN = 3, 4
STEPS, BATCH = torch.export.Dim("steps"), torch.export.Dim("batch")
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:torch"),
]


def recurrent(cell: Any, **options: Any) -> gw.nn.Recurrent:
    return gw.nn.Recurrent(cell, INPUT, HIDDEN, **options)


def ragged_with_states(module: gw.nn.Recurrent, values: Tensor, lengths: Tensor, *states: Tensor) -> Any:
    return module(values, states if len(states) > 1 else states[0], lengths=lengths)


def arguments(module: gw.nn.Recurrent, steps: int, batch: int, *, states: bool, lengths: bool) -> tuple[Tensor, ...]:
    dtype = next(module.parameters()).dtype
    ends = (torch.tensor([steps, *(row * 3 % steps for row in range(1, batch))]),) if lengths else ()
    shapes = [(len(module.packed_cells), batch, *shape) for shape in module.state_shapes] if states else []
    values = torch.randn(steps, batch, INPUT, dtype=dtype)
    return values, *ends, *(torch.randn(shape, dtype=dtype) for shape in shapes)


def exported(model: nn.Module, given: tuple[Tensor, ...], *, states: bool, lengths: bool, dynamo: bool) -> bytes:
    """The file for any number of steps and rows."""
    file = io.BytesIO()
    count = len(given) - 1 - lengths
    axes = [{0: STEPS, 1: BATCH}, *([{0: BATCH}] if lengths else []), *[{1: BATCH}] * count]
    names = [f"input_{place}" for place in range(len(given))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            shapes = (tuple(axes),) if isinstance(model, Calls) else tuple(axes)
            torch.onnx.export(model, given, dynamo=True, dynamic_shapes=shapes, verbose=False).save(file)
        else:
            named = {n: {axis: d.__name__ for axis, d in own.items()} for n, own in zip(names, axes, strict=True)}
            torch.onnx.export(model, given, file, dynamo=False, input_names=names, dynamic_axes=named)
    return file.getvalue()


def hold(content: bytes, model: nn.Module, module: gw.nn.Recurrent, **asked: bool) -> set[str]:
    """Hold the file to the model at other sizes than the exported ones; the operators in it."""
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    for steps, batch in ((9, 3), (1, 1)):
        given = arguments(module, steps, batch, **asked)
        names = [one.name for one in session.get_inputs()]
        results = session.run(None, {n: one.numpy() for n, one in zip(names, given, strict=True)})
        with torch.no_grad():
            output, finals = model(*given) if not isinstance(model, Calls) else ((r := model(*given))[0], r[1:])
        want = [output, *(finals if isinstance(finals, tuple) else [finals])]
        dtype = np.dtype(results[0].dtype).name
        assert_parity(results, [one.numpy() for one in want], dtype=dtype, steps=steps)
    return {node.op_type for node in onnx.load_from_string(content).graph.node}


BOTH = {"bidirectional": True}
NATIVE_AND_LOOPS = [
    ("GRU", lambda: gw.nn.GRU(INPUT, HIDDEN, 2, **BOTH), ragged_with_states, True, True, ("GRU", "Loop")),
    ("LSTM", lambda: gw.nn.LSTM(INPUT, HIDDEN), with_states, True, False, ("LSTM", "LSTM")),
    ("bare", lambda: gw.nn.RNN(INPUT, HIDDEN), None, False, False, ("RNN", "RNN")),
    ("projection", lambda: gw.nn.LSTM(INPUT, HIDDEN, proj_size=2, **BOTH), None, False, False, ("Scan", "Loop")),
    ("cell", lambda: recurrent("slstm", **BOTH), ragged_with_states, True, True, ("Scan", "Loop")),
    ("float64", lambda: gw.nn.GRU(INPUT, HIDDEN).double(), None, False, False, ("Scan", "Loop")),
    ("peepholes", lambda: recurrent(cells.lstm_peephole), None, False, False, ("LSTM", "Loop")),
]


@pytest.mark.parametrize("dynamo", [True, False], ids=["dynamo", "torchscript"])
@pytest.mark.parametrize(
    ("make", "call", "states", "lengths", "operators"),
    [row[1:] for row in NATIVE_AND_LOOPS],
    ids=[row[0] for row in NATIVE_AND_LOOPS],
)
def test_an_exported_layer_is_the_layer_at_any_size(
    make: Any, call: Any, states: bool, lengths: bool, operators: tuple[str, str], dynamo: bool
) -> None:
    module = make().eval()
    plain = call or (lambda layer, values: layer(values))
    model = module if call is None else Calls(module, plain).eval()
    given = arguments(module, 5, 2, states=states, lengths=lengths)
    content = exported(model, given, states=states, lengths=lengths, dynamo=dynamo)
    found = hold(content, model, module, states=states, lengths=lengths)
    assert found & {"GRU", "LSTM", "RNN", "Scan", "Loop"} == {operators[0 if dynamo else 1]}


def test_a_file_for_fixed_sizes_leaves_the_next_one_for_any_size() -> None:
    module = gw.nn.LSTM(INPUT, HIDDEN, proj_size=2).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (torch.randn(5, 2, INPUT),), dynamo=True, verbose=False)
    given = arguments(module, 5, 2, states=False, lengths=False)
    content = exported(module, given, states=False, lengths=False, dynamo=True)
    assert "Scan" in hold(content, module, module, states=False, lengths=False)


def test_a_program_of_torch_export_becomes_an_onnx_file() -> None:
    module = gw.nn.LSTM(INPUT, HIDDEN).eval()
    given = arguments(module, 5, 2, states=False, lengths=False)
    program = torch.export.export(module, given, dynamic_shapes=({0: STEPS, 1: BATCH},))
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(program, dynamo=True, verbose=False).save(file)
    assert "Scan" in hold(file.getvalue(), module, module, states=False, lengths=False)


def test_an_accelerated_model_is_exported_as_any_other() -> None:
    model = nn.Sequential(nn.GRU(INPUT, HIDDEN)).eval()
    gw.nn.accelerate(model)
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (torch.randn(5, 2, INPUT),), dynamo=True, verbose=False).save(file)
    assert [node.op_type for node in onnx.load_from_string(file.getvalue()).graph.node].count("GRU") == 1
