"""The graphs themselves, as text."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gatewright as gw
from gatewright import cells
from tests.export.listing import listing
from tests.export.running import model_of, onnx

CASES: dict[str, tuple[Any, dict[str, Any], dict[str, Any]]] = {
    "gru_update_only_scan": (cells.gru_update_only, {}, {}),
    "sru_scan_states_lengths": (cells.sru, {}, {"states": True, "lengths": True}),
    "lstm_native_states": (cells.lstm, {"bidirectional": True}, {"states": True}),
}


@pytest.mark.parametrize("name", CASES)
def test_graphs(name: str, golden: Callable[[str, str], None], tmp_path: Path, rng: np.random.Generator) -> None:
    cell, layer, options = CASES[name]
    path = gw.export.onnx(model_of(cell, rng, **layer), tmp_path / "m.onnx", **options).path
    golden(f"onnx/{name}.txt", listing(onnx.load(path)))


def test_the_same_model_is_the_same_file(tmp_path: Path, rng: np.random.Generator) -> None:
    model = model_of(cells.lstm, rng)
    one, other = (gw.export.onnx(model, tmp_path / name, states=True).path for name in ("a.onnx", "b.onnx"))
    assert one.read_bytes() == other.read_bytes()


def test_a_file_says_what_it_is(tmp_path: Path, rng: np.random.Generator) -> None:
    written = gw.export.onnx(model_of(cells.lstm, rng), tmp_path / "m.onnx", states=True)
    model = onnx.load(written.path)
    assert (model.producer_name, model.producer_version) == ("gatewright", gw.__version__)
    said = {one.key: one.value for one in model.metadata_props}
    assert said["equations"].splitlines()[-1] == "hₜ = oₜ ⊙ tanh(cₜ)"
    assert gw.trace.parse(said["trace"]).name == "lstm"
    assert model.doc_string.splitlines() == [
        "input: features (time, batch, 3)",
        "state_h: state h before the first step (1, batch, 5); zeros begin anew",
        "state_c: state c before the first step (1, batch, 5); zeros begin anew",
        "output: the first state of every step (time, batch, 5)",
        "final_state_h: state h after each row's last step (1, batch, 5)",
        "final_state_c: state c after each row's last step (1, batch, 5)",
    ]
    assert {**written.inputs, **written.outputs} == dict(line.split(": ", 1) for line in model.doc_string.splitlines())
    weights = {one.name: one.doc_string for one in model.graph.initializer}
    assert weights["recurrent.l0.W"] == "gates i, o, f, g of lstm"
