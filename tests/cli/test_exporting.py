"""`gatewright export` as a person meets it."""

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from gatewright import cells
from gatewright.export import c_check, onnx_check
from gatewright.model_file import save
from gatewright.tasks import recipes
from gatewright.tasks.model import Model
from gatewright.tasks.run_data import Sizes
from tests.backends.c99.compiled import compiler
from tests.export.running import model_of

Said = tuple[int, str, str]


@pytest.fixture
def export(invoke: Callable[..., Said]) -> Callable[..., Said]:
    """The command."""
    return partial(invoke, "export")


@pytest.fixture
def model(tmp_path: Path, rng: np.random.Generator) -> Path:
    return save(tmp_path / "model.safetensors", model_of(cells.lstm, rng))


def test_a_model_is_written_and_compared(export: Callable[..., Said], model: Path) -> None:
    code, out, _ = export(model, model.with_suffix(".onnx"), "--states", "--lengths")
    lines = out.splitlines()
    assert code == 0
    assert lines[0].startswith(f"{model.with_suffix('.onnx')}  ")
    assert lines[0].endswith(" bytes, opset 13")
    assert lines[1] == "computed by: LSTM"
    assert [line.partition(": ")[0] for line in lines[2:8]] == [
        "input", "lengths", "state_h", "state_c", "output", "final_state_h",
    ]  # fmt: skip
    assert lines[9] == "beside the NumPy reference, the worst difference as a share of the largest number:"
    assert [line.split()[:4] for line in lines[10:]] == [
        [str(steps), "steps,", str(rows), "rows:"] for steps, rows in onnx_check.EXTENTS
    ]
    assert all(0 < float(line.split()[-1]) < 1e-5 for line in lines[10:])


def test_the_result_as_json(export: Callable[..., Said], model: Path) -> None:
    code, out, err = export(model.parent, model.with_suffix(".onnx"), "--json", "--opset", 18)
    said = json.loads(out)
    assert (code, err) == (0, "")
    assert (said["operator"], said["opset"], said["right"]) == ("LSTM", 18, True)
    assert list(said["outputs"]) == ["output"]
    assert [one["steps"] for one in said["differences"]] == [steps for steps, _ in onnx_check.EXTENTS]


def test_numbers_are_rounded_to_the_precision_that_is_asked_for(
    export: Callable[..., Said], rng: np.random.Generator, tmp_path: Path
) -> None:
    double = save(tmp_path / "double.safetensors", model_of(cells.gru(reset="after"), rng, "float64"))
    for options, operator, most in (((), "Scan", 1e-12), (("--dtype", "float32"), "GRU", 1e-5)):
        code, out, _ = export(double, tmp_path / "model.onnx", "--json", *options)
        said = json.loads(out)
        assert (code, said["operator"]) == (0, operator)
        assert all(one["worst"] < most for one in said["differences"])
    code, _, err = export(double, tmp_path / "model.onnx", "--dtype", "float16")
    assert code == 2
    assert "an ONNX file cannot have this dtype" in err


def test_a_file_that_differs_is_a_failure(
    export: Callable[..., Said], model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_check, "ALLOWED", {"float32": 0.0})
    code, out, err = export(model, model.with_suffix(".onnx"))
    assert code == 1
    assert "computed by: LSTM" in out
    assert "does not compute what the model does" in err


def test_a_difference_is_seen(rng: np.random.Generator, tmp_path: Path) -> None:
    """A file of other numbers, and one of another cell."""
    from gatewright.export import onnx

    one, other = model_of(cells.gru, rng), model_of(cells.gru, rng)
    path = onnx(other, tmp_path / "m.onnx").path
    assert all(found.fits for found in onnx_check.differences(other, path))
    assert not any(found.fits for found in onnx_check.differences(one, path))


def test_without_onnx_runtime_it_is_written_all_the_same(
    export: Callable[..., Said], model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    code, out, _ = export(model, model.with_suffix(".onnx"))
    assert code == 0
    assert out.splitlines()[-1] == "not compared with the model: pip install onnxruntime, and it will be"
    assert model.with_suffix(".onnx").exists()


def test_a_forecast_is_compared_at_its_history(export: Callable[..., Said], tmp_path: Path) -> None:
    made = recipes.get("series").configured(["history=7", "hidden=4"])
    path = tmp_path / "model.safetensors"
    Model(made, Sizes(1, 3), made.network(Sizes(1, 3), "gru")).save(path)
    code, out, _ = export(path, tmp_path / "m.onnx")
    assert code == 0
    assert [line.split(":")[0] for line in out.splitlines()[-4:]] == [
        f"   7 steps, {rows} rows" for _, rows in onnx_check.EXTENTS
    ]
    code, _, err = export(path, tmp_path / "n.onnx", "--lengths")
    assert code == 2
    assert err.startswith("error: a model that forecasts has no lengths: it reads a window of 7 steps at once\n")


def test_what_cannot_be_is_refused(export: Callable[..., Said], model: Path) -> None:
    code, out, err = export(model, model.with_suffix(".tflite"))
    assert (code, out) == (2, "")
    assert err.splitlines()[1:] == [
        "  expected: .onnx or .c or .h or .safetensors",
        "  got: .tflite",
        "  do: name the file model.onnx",
    ]
    code, _, err = export(model, model.with_suffix(".onnx"), "--layer", "top")
    assert (code, err) == (2, "error: the model file has no recurrent layer 'top'\n  expected: 'recurrent'\n")
    assert not model.with_suffix(".onnx").exists()
    assert export(model.with_name("none"), "m.onnx")[0] == 2


def test_c_files_are_written_and_compared(export: Callable[..., Said], model: Path) -> None:
    compiler()
    code, out, _ = export(model, model.with_suffix(".c"), "--weights", "int8", "--name", "net")
    lines = out.splitlines()
    assert code == 0
    assert lines[0].startswith(f"{model.with_suffix('.c')} and model.h  ")
    assert [line.partition(":")[0] for line in lines[1:4]] == ["x", "y", "int8 weights"]
    assert lines[4].startswith("compiled by ")
    assert float(lines[4].split()[-1]) < 1e-5
    assert "void net_step(net_state *state" in model.with_suffix(".h").read_text()
    code, out, _ = export(model, model.with_suffix(".h"), "--json")
    said = json.loads(out)
    assert (code, said["right"], said["loss"], said["name"]) == (0, True, None, "model")


def test_without_a_compiler_c_files_are_not_compared(
    export: Callable[..., Said], model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(c_check, "COMPILERS", ("no-such-compiler",))
    code, out, _ = export(model, model.with_suffix(".c"))
    assert (code, out.splitlines()[-1]) == (0, "not compared with the model: there is no C compiler here")


def test_an_option_of_another_format_is_refused(export: Callable[..., Said], model: Path) -> None:
    code, _, err = export(model, model.with_suffix(".c"), "--states")
    assert code == 2
    assert "a .c file has no option --states" in err


def test_weights_in_eight_bits(export: Callable[..., Said], tmp_path: Path, rng: np.random.Generator) -> None:
    model = save(tmp_path / "model.safetensors", model_of(cells.lstm, rng, sizes={"input": 12, "hidden": 30}))
    code, out, _ = export(model, tmp_path / "small.safetensors", "--weights", "int8")
    lines = out.splitlines()
    assert code == 0
    assert lines[0].startswith(f"{tmp_path / 'small.safetensors'}  ")
    assert lines[1] == "in int8: recurrent.W_l0, recurrent.U_l0"
    assert lines[2].startswith("int8 weights: over 400 steps of random inputs the outputs are off by at most ")
    code, out, _ = export(tmp_path / "small.safetensors", tmp_path / "small.onnx", "--weights", "int8", "--json")
    facts = json.loads(out)
    assert (code, facts["right"], facts["loss"]["largest"]) == (0, True, 0.0)
    code, out, _ = export(model, tmp_path / "model.onnx", "--weights", "int8")
    assert code == 0
    assert "beside the NumPy reference with the rounded weights, the worst difference" in out
    code, out, _ = export(model, tmp_path / "half.safetensors", "--weights", "bfloat16", "--json")
    assert (code, json.loads(out)["weights"]) == (0, "bfloat16")


def test_a_model_file_without_other_weights_is_refused(export: Callable[..., Said], model: Path) -> None:
    code, _, err = export(model, model.with_name("other.safetensors"))
    assert (code, err) == (
        2,
        (
            f"error: {model} holds its weights in float32 already\n"
            "  expected: --weights int8 or --weights bfloat16\n  do: add one of them, or copy the file\n"
        ),
    )
    code, _, err = export(model, model.with_name("other.safetensors"), "--layer", "recurrent", "--weights", "int8")
    assert code == 2
    assert err.startswith("error: a .safetensors file has no option --layer\n")
