"""Model files that keep matrices in fewer bits: exact both ways, and what makes no sense in them is said."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.numpy import load as read_safetensors

from gatewright import cells, model_file
from gatewright.errors import ModelFileError
from gatewright.int8 import quantised
from gatewright.model_file import narrow
from gatewright.trace import trace_cell
from tests.test_model_file import header_of, message, model, record, rewritten

KINDS = {"rnn.W_l0": "int8", "rnn.U_l0": "bfloat16"}
SCALES, NO_SCALES = "rnn.W_l0.scales", "tensor 'rnn.W_l0.scales' has not a float32 scale for each of 15 rows"
MATRICES = arrays(
    np.float32,
    st.tuples(st.integers(0, 4), st.integers(1, 5)),
    elements=st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=True),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with a matrix of each kind."""
    return model_file.save(tmp_path / "model.safetensors", replace(model(record(trace_cell(cells.gru))), narrow=KINDS))


def test_matrices_lie_in_fewer_bits_and_come_back_in_float32(path: Path) -> None:
    exact, held, read = model(record(trace_cell(cells.gru))), read_safetensors(path.read_bytes()), model_file.load(path)
    assert {name: held[name].dtype.name for name in KINDS} == {"rnn.W_l0": "int8", "rnn.U_l0": "uint16"}
    assert held["rnn.W_l0.scales"].dtype == np.float32
    assert read.narrow == KINDS
    assert set(read.tensors) == set(exact.tensors)
    for name, kind in KINDS.items():
        np.testing.assert_array_equal(read.tensors[name], narrow.rounded(exact.tensors[name], kind))
        largest = np.abs(exact.tensors[name]).max(axis=1, keepdims=True)
        bound = largest / 127 / 2 if kind == "int8" else np.abs(exact.tensors[name]) * 2.0**-8
        assert (np.abs(read.tensors[name] - exact.tensors[name]) <= 1.001 * bound).all()
    np.testing.assert_array_equal(read.tensors["rnn.b_l0"], exact.tensors["rnn.b_l0"])
    assert json.loads(header_of(path.read_bytes())["__metadata__"][model_file.KEY])["format_version"] == 2


def test_a_file_without_such_matrices_has_the_earlier_format(tmp_path: Path) -> None:
    path = model_file.save(tmp_path / "model.safetensors", model())
    described = json.loads(header_of(path.read_bytes())["__metadata__"][model_file.KEY])
    assert described["format_version"] == 1
    assert "narrow" not in described


@settings(max_examples=200, deadline=None)
@given(MATRICES, st.sampled_from(narrow.KINDS))
@example(np.array([[1e-45, -1e-45]], np.float32), "int8")
@example(np.array([[1e-45, -3e-39]], np.float32), "bfloat16")
def test_rounding_again_changes_nothing(matrix: np.ndarray, kind: str) -> None:
    once = narrow.rounded(matrix, kind)
    np.testing.assert_array_equal(narrow.rounded(once, kind), once)
    largest = np.abs(matrix).max(axis=1, keepdims=True, initial=0)
    step = largest / 127 + 2.0**-110 if kind == "int8" else np.abs(matrix) / 128 + 2.0**-133
    assert (np.abs(once.astype(np.float64) - matrix) <= 0.5001 * step).all()


@settings(max_examples=100, deadline=None)
@given(MATRICES)
def test_the_engine_rounds_to_the_whole_numbers_of_the_file(matrix: np.ndarray) -> None:
    parts = narrow.exact_int8(narrow.rounded(matrix, "int8"))
    assert parts is not None
    own = quantised(narrow.rounded(matrix, "int8"))
    large = np.abs(matrix).max(axis=1, initial=0) > 2.0**-90
    np.testing.assert_array_equal(own.numbers[large], parts[0][large])
    np.testing.assert_array_equal(own.scales[large], parts[1][large])


def test_most_matrices_are_not_exactly_whole_numbers_times_scales(rng: np.random.Generator) -> None:
    assert narrow.exact_int8(rng.normal(size=(3, 9)).astype(np.float32)) is None
    assert narrow.exact_int8(np.full((2, 3), np.nan, np.float32)) is None
    assert narrow.exact_int8(np.ones(3, np.float32)) is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda tensors: tensors.pop(SCALES), NO_SCALES),
        (lambda tensors: _put(tensors, SCALES, np.ones(3, "f")), NO_SCALES),
        (lambda tensors: _put(tensors, SCALES, np.ones(15)), NO_SCALES),
        (lambda tensors: _scale(tensors, np.nan), "a scale in 'rnn.W_l0.scales' is not a positive number"),
        (lambda tensors: _scale(tensors, np.inf), "a scale in 'rnn.W_l0.scales' is not a positive number"),
        (lambda tensors: _scale(tensors, 0.0), "a scale in 'rnn.W_l0.scales' is not a positive number"),
        (lambda tensors: _scale(tensors, -1.0), "a scale in 'rnn.W_l0.scales' is not a positive number"),
        (lambda tensors: _scale(tensors, 3e38), "tensor 'rnn.W_l0' stands for numbers that are not finite"),
        (lambda tensors: _number(tensors, -128), "tensor 'rnn.W_l0' has whole numbers below -127"),
        (lambda tensors: _put(tensors, "rnn.W_l0", np.zeros((15, 3), "f")), "tensor 'rnn.W_l0' is no matrix of int8"),
        (lambda tensors: _put(tensors, "rnn.W_l0", np.zeros(45, "int8")), "tensor 'rnn.W_l0' is no matrix of int8"),
        (lambda tensors: _put(tensors, "rnn.U_l0", np.zeros((15, 5), "f")), "tensor 'rnn.U_l0' is no matrix of uint16"),
        (lambda tensors: _put(tensors, "rnn.U_l0", np.full((15, 5), 0x7FC0, "u2")), "tensor 'rnn.U_l0' stands for"),
    ],
)  # fmt: skip
def test_tensors_that_do_not_fit(change: Callable[[dict[str, np.ndarray]], object], reason: str, path: Path) -> None:
    tensors = {name: array.copy() for name, array in read_safetensors(path.read_bytes()).items()}
    change(tensors)
    rewritten(path, {}, tensors)
    assert message(path).startswith(f"the description in FILE makes no sense: {reason}")


@pytest.mark.parametrize(
    ("listed", "reason"),
    [
        (..., "it lists no matrices in fewer bits"),
        ([], "it lists no matrices in fewer bits"),
        ({"int8": []}, "it lists no matrices in fewer bits"),
        ({"int4": ["rnn.W_l0"]}, "matrices in 'int4', which this version does not know"),
        ({"int8": "rnn.W_l0"}, "matrices in 'int8', which this version does not know"),
        ({"int8": [3]}, "the matrices in int8 are no list of different names"),
        ({"int8": ["rnn.W_l0"], "bfloat16": ["rnn.W_l0"]}, "the matrices in bfloat16 are no list of different names"),
        ({"int8": ["nothing"]}, "tensor 'nothing' is no matrix of int8, which the one in int8 must be"),
    ],
)
def test_lists_that_make_no_sense(listed: Any, reason: str, path: Path) -> None:
    rewritten(path, {"narrow": listed})
    assert message(path).startswith(f"the description in FILE makes no sense: {reason}")


def test_a_list_in_a_file_of_the_earlier_format_is_not_passed_over(path: Path) -> None:
    rewritten(path, {"format_version": 1})
    assert "a list of matrices in fewer bits, which files of format 1 do not have" in message(path)


def test_matrices_that_cannot_be_kept_so(tmp_path: Path) -> None:
    whole = model(record(trace_cell(cells.gru)))
    odd = np.where(np.arange(15)[:, None] == 2, np.inf, whole.tensors["rnn.W_l0"]).astype(np.float32)
    cases = {
        "there is no tensor 'none'": replace(whole, narrow={"none": "int8"}),
        "tensor 'rnn.b_l0' is no matrix in float32, and cannot be kept in int8": replace(
            whole, narrow={"rnn.b_l0": "int8"}
        ),
        "tensor 'rnn.W_l0' has numbers that are not finite, and cannot be kept in bfloat16": replace(
            whole, tensors={**whole.tensors, "rnn.W_l0": odd}, narrow={"rnn.W_l0": "bfloat16"}
        ),
        "tensor 'rnn.W_l0' has numbers that are too large to be kept in int8": replace(
            whole,
            tensors={**whole.tensors, "rnn.W_l0": np.full((15, 3), np.finfo("f").max)},
            narrow={"rnn.W_l0": "int8"},
        ),
        "the name 'rnn.W_l0.scales' is needed for the scales of 'rnn.W_l0'": replace(
            whole, tensors={**whole.tensors, "rnn.W_l0.scales": np.ones(2)}, narrow={"rnn.W_l0": "int8"}
        ),
        "tensor 'rnn.W_l0' cannot be kept in 'int4'": replace(whole, narrow={"rnn.W_l0": "int4"}),
    }
    for text, given_model in cases.items():
        with pytest.raises(ModelFileError) as caught:
            model_file.save(tmp_path / "m.safetensors", given_model)
        assert str(caught.value).startswith(f"{tmp_path / 'm.safetensors'}: {text}")
    assert not (tmp_path / "m.safetensors").exists()


def _put(tensors: dict[str, np.ndarray], name: str, array: np.ndarray) -> None:
    tensors[name] = array


def _scale(tensors: dict[str, np.ndarray], value: float) -> None:
    tensors["rnn.W_l0.scales"][4] = value


def _number(tensors: dict[str, np.ndarray], value: int) -> None:
    tensors["rnn.W_l0"][1, 1] = value
