"""Who gives other results is refused, and says where they differ."""

import re

import numpy as np
import pytest

pytest.importorskip("torch")

from benchmarks.cells import CELLS
from benchmarks.names import EAGER, FORWARD, LOOP, OURS, TRAINING
from benchmarks.peers import PEERS
from benchmarks.problem import Problem, Results, disagreement
from benchmarks.shapes import SHAPES, Shape
from tests.benchmarks.tiny import problem


@pytest.fixture(scope="module")
def gru() -> Problem:
    return problem()


def results_of(one: Problem, name: str, mode: str) -> Results:
    job = PEERS[name].job(one, mode, 1)
    return {key: value.copy() for key, value in job.read(job.call()).items()}


@pytest.mark.parametrize("mode", [FORWARD, TRAINING])
@pytest.mark.parametrize("cell", CELLS)
def test_the_loops_agree_with_the_cells_as_gatewright_has_them(cell: str, mode: str) -> None:
    one = problem(cell)
    for name in (LOOP, EAGER):
        difference, reason = disagreement(one, mode, results_of(one, name, mode))
        assert reason is None
        assert difference < 1e-5


def test_the_compiled_layer_agrees(gru: Problem) -> None:
    for mode in (FORWARD, TRAINING):
        assert disagreement(gru, mode, results_of(gru, OURS, mode))[1] is None


def swap_gates(results: Results) -> None:
    reset, update, new = np.split(results["d(weight_hh_l0)"], 3)
    results["d(weight_hh_l0)"] = np.concatenate([update, reset, new])


def shift(results: Results) -> None:
    results["output"] = np.roll(results["output"], 1, axis=0)


def forget(results: Results) -> None:
    results["d(bias_ih_l0)"] *= 0


def spoil(results: Results) -> None:
    results["d(x)"][0, 0, 0] = np.nan


def blur(results: Results) -> None:
    results["output"] += 1e-4 * np.abs(results["output"]).max()


def reshape(results: Results) -> None:
    results["output"] = results["output"][:1]


def drop(results: Results) -> None:
    del results["d(x)"]


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (swap_gates, r"^d\(weight_hh_l0\) is off by .+ of its largest number, allowed are 2e-05$"),
        (shift, "^output is off by"),
        (forget, r"^d\(bias_ih_l0\) is off by 1\.0e\+00 "),
        (spoil, r"^d\(x\) is off by nan"),
        (blur, r"^output is off by 1\.0e-04 "),
        (reshape, r"^a result of shape \(1, 2, 5\) where \(3, 2, 5\) is wanted$"),
        (drop, r"^results \[.+\] where \[.+'d\(x\)'.+\] are wanted$"),
    ],
)
def test_wrong_results_are_refused(gru: Problem, harm: object, told: str) -> None:
    results = results_of(gru, LOOP, TRAINING)
    harm(results)  # type: ignore[operator]
    _, reason = disagreement(gru, TRAINING, results)
    assert reason is not None
    assert re.search(told, reason)


def test_shapes_are_read_as_they_are_written() -> None:
    assert [Shape.parse(str(shape)) for shape in SHAPES] == list(SHAPES)


@pytest.mark.parametrize("text", ["1,2,3", "1,2,3,0", "a,b,c,d", ""])
def test_what_is_no_shape_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"invalid literal|steps,batch,input,hidden"):
        Shape.parse(text)
