"""The comparing helper is fed wrong values of every kind it exists for, and must see each of them."""

import re
from typing import Any

import numpy as np
import pytest

from tests.parity.assertions import ParityError, assert_parity, tolerance

INPUT, HIDDEN, BATCH, STEPS = 3, 5, 2, 7
GATES = ("r", "z", "n")


def sigmoid(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


def gru(weights: dict[str, np.ndarray], x: np.ndarray, skip: int = 0) -> dict[str, Any]:
    """A GRU of the paper's equations, and its last state's gradient with respect to that step's gates."""
    h = np.zeros((BATCH, HIDDEN), x.dtype)
    outputs, gate_values, previous = [], {}, h
    for x_t in np.roll(x, -skip, axis=0):
        driven = {gate: x_t @ weights[f"W.{gate}"].T + weights[f"b.{gate}"] for gate in GATES}
        r, z = (sigmoid(driven[gate] + h @ weights[f"U.{gate}"].T) for gate in ("r", "z"))
        n = np.tanh(driven["n"] + (r * h) @ weights["U.n"].T)
        gate_values, previous = {"r": r, "z": z, "n": n}, h
        h = z * h + (1 - z) * n
        outputs.append(h)
    gradients = {"z": previous - gate_values["n"], "n": 1 - gate_values["z"]}
    return {
        "output": np.stack(outputs),
        "h_n": (h.copy(),),
        "gradients": gradients,
        "steps": np.array(len(outputs)),
    }


@pytest.fixture
def weights(rng: np.random.Generator) -> dict[str, np.ndarray]:
    spaces = {"W": (HIDDEN, INPUT), "U": (HIDDEN, HIDDEN), "b": (HIDDEN,)}
    return {f"{space}.{gate}": rng.normal(size=shape) for space, shape in spaces.items() for gate in GATES}


@pytest.fixture
def x(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(STEPS, BATCH, INPUT))


@pytest.fixture
def want(weights: dict[str, np.ndarray], x: np.ndarray) -> dict[str, Any]:
    return gru(weights, x)


@pytest.fixture
def got(weights: dict[str, np.ndarray], x: np.ndarray) -> dict[str, Any]:
    """The same in float32, which must pass before anything is broken in it."""
    narrow = {name: value.astype(np.float32) for name, value in weights.items()}
    return gru(narrow, x.astype(np.float32))


def expect_parity(got: Any, want: Any, **options: Any) -> None:
    options = {"dtype": "float32", "steps": STEPS, "cell": "gru", "backend": "test"} | options
    assert_parity(got, want, **options)


def expect_failure(got: Any, want: Any, *parts: str, **options: Any) -> None:
    """`expect_parity` must fail, and its message must name each of the `parts`."""
    with pytest.raises(ParityError) as caught:
        expect_parity(got, want, **options)
    message = str(caught.value)
    assert message.startswith("gru on test (float32, 7 steps):\n  ")
    for part in parts:
        assert part in message


def test_right_values_pass(got: dict[str, Any], want: dict[str, Any]) -> None:
    expect_parity(got, want)


def test_right_values_pass_as_torch_tensors(got: dict[str, Any], want: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    tensors = {
        "output": torch.tensor(got["output"], requires_grad=True),
        "h_n": (torch.tensor(got["h_n"][0]),),
    }
    expect_parity(tensors, {key: want[key] for key in tensors}, dtype=torch.float32)


def test_a_transposed_gate_fails(weights: dict[str, np.ndarray], x: np.ndarray, want: dict[str, Any]) -> None:
    wrong = {name: value.astype(np.float32) for name, value in weights.items()}
    wrong["U.r"] = wrong["U.r"].T
    expect_failure(gru(wrong, x.astype(np.float32)), want, "result['output'] at (", "result['h_n'][0] at (", "allowed ")


def test_an_off_by_one_step_fails(weights: dict[str, np.ndarray], x: np.ndarray, want: dict[str, Any]) -> None:
    narrow = {name: value.astype(np.float32) for name, value in weights.items()}
    expect_failure(gru(narrow, x.astype(np.float32), skip=1), want, "result['output'] at (", "of 70 elements differ")


def test_outputs_shifted_by_a_step_fail(got: dict[str, Any], want: dict[str, Any]) -> None:
    got["output"] = np.roll(got["output"], 1, axis=0)
    expect_failure(got, want, "result['output'] at (")


def test_a_zero_gradient_fails(got: dict[str, Any], want: dict[str, Any]) -> None:
    got["gradients"]["z"] = np.zeros_like(got["gradients"]["z"])
    expect_failure(got, want, "result['gradients']['z'] at (", "got 0.0, wanted ")


def test_a_zero_gradient_fails_beside_one_ten_million_times_larger(got: dict[str, Any], want: dict[str, Any]) -> None:
    want["gradients"] = {"small": np.full(3, 1e-7), "large": np.ones(3)}
    got["gradients"] = {"small": np.zeros(3, np.float32), "large": np.ones(3, np.float32)}
    expect_failure(got, want, "result['gradients']['small']: got zeros everywhere, wanted values up to 1e-07")


def test_noise_of_cancellation_passes_and_the_same_alone_fails() -> None:
    noise, zero = np.full(3, 1e-9, np.float32), np.zeros(3)
    expect_parity((noise, np.ones(3, np.float32)), (zero, np.ones(3)))
    expect_parity(noise, zero, scale=1.0)
    expect_failure(noise, zero, "result at (0,): got 9.99", "allowed 0, differs by 1e-09; 3 of 3 elements differ")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite_fails(got: dict[str, Any], want: dict[str, Any], value: float) -> None:
    got["output"][4, 1, 2] = value
    expect_failure(got, want, f"result['output'] at (4, 1, 2): got {value}, wanted ", "1 of 70 elements differ")


@pytest.mark.parametrize("values", [(0.5, np.nan), (np.inf, np.nan), (-np.inf, np.inf), (0.5, np.inf)])
def test_a_wanted_number_that_is_not_finite_must_be_met(values: tuple[float, float]) -> None:
    one, other = values
    expect_failure(np.array([1, one], np.float32), np.array([1, other]), f"result at (1,): got {one}, wanted {other}")
    expect_parity(np.array([1, other], np.float32), np.array([1, other]))


def test_results_that_are_nan_throughout_fail(got: dict[str, Any], want: dict[str, Any]) -> None:
    got["output"][:] = np.nan
    expect_failure(got, want, "70 of 70 elements differ")


def test_a_missing_output_fails(got: dict[str, Any], want: dict[str, Any]) -> None:
    del got["gradients"]["n"]
    expect_failure(got, want, "result['gradients']['n']: missing")


def test_an_output_that_nobody_wants_fails(got: dict[str, Any], want: dict[str, Any]) -> None:
    got["extra"] = got["output"]
    expect_failure(got, want, "result['extra']: not wanted")


def test_a_shorter_tuple_fails(got: dict[str, Any], want: dict[str, Any]) -> None:
    got["h_n"] = ()
    expect_failure(got, want, "result['h_n']: got 0 parts, wanted 1")


@pytest.mark.parametrize(
    ("value", "kind"),
    [(None, "nothing"), ([1.0], "a list"), (np.zeros(1, np.float32), "a tensor"), ({}, "a mapping")],
)
def test_another_structure_fails(got: dict[str, Any], want: dict[str, Any], value: Any, kind: str) -> None:
    got["h_n"] = value
    expect_failure(got, want, f"result['h_n']: got {kind}, wanted a tuple")


def test_nothing_to_compare_fails() -> None:
    expect_failure({}, {}, "there is nothing to compare: neither result holds a tensor")


def test_another_shape_fails_even_if_it_broadcasts(got: dict[str, Any], want: dict[str, Any]) -> None:
    got["h_n"] = (got["h_n"][0][:1],)
    expect_failure(got, want, "result['h_n'][0]: got shape (1, 5), wanted (2, 5)")


def test_the_wrong_dtype_fails(got: dict[str, Any], want: dict[str, Any]) -> None:
    got["output"] = got["output"].astype(np.float64)
    expect_failure(got, want, "result['output']: got dtype float64, wanted float32")


def test_a_wrong_integer_fails(got: dict[str, Any], want: dict[str, Any]) -> None:
    got["steps"] = got["steps"] + 1
    expect_failure(got, want, "result['steps'] at (): got 8, wanted 7 (must be equal")


def test_an_integer_of_another_dtype_fails(got: dict[str, Any], want: dict[str, Any]) -> None:
    got["steps"] = got["steps"].astype(np.int32)
    expect_failure(got, want, "result['steps']: got dtype int32, wanted int64")


def test_swapped_outputs_fail(got: dict[str, Any], want: dict[str, Any]) -> None:
    gradients = got["gradients"]
    gradients["z"], gradients["n"] = gradients["n"], gradients["z"]
    expect_failure(got, want, "result['gradients']['z'] at (", "result['gradients']['n'] at (")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_error_of_a_thousandth_in_one_element_fails(want: dict[str, Any], dtype: str) -> None:
    output = want["output"].astype(dtype)
    index = np.unravel_index(np.argsort(np.abs(output), axis=None)[output.size // 2], output.shape)
    output[index] *= 1.001
    where = re.escape(f"result at {tuple(int(i) for i in index)}")
    with pytest.raises(ParityError, match=rf"^gru \({dtype}, 7 steps\):\n  {where}: .*1 of 70 elements differ\)$"):
        assert_parity(output, want["output"], dtype=dtype, steps=STEPS, cell="gru")


def test_many_problems_are_counted_not_listed() -> None:
    expect_failure({}, {str(n): np.zeros(1) for n in range(20)}, "result['7']: missing\n  ... and 12 more")


def test_a_tensor_compared_with_itself_is_refused(got: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"result\['output'\]: a tensor is compared with itself, and that cannot fail"):
        expect_parity(got, got)


def test_a_tolerance_that_cannot_fail_is_refused() -> None:
    with pytest.raises(ValueError, match="50 steps in bfloat16 allow an error of 0.22, and a comparison that loose"):
        tolerance("bfloat16", 50)


def test_an_unknown_dtype_is_refused() -> None:
    with pytest.raises(ValueError, match="parity has no tolerance for int64: choose one of float64, float32"):
        tolerance("int64", 1)


def test_bfloat16_is_compared_at_its_own_precision() -> None:
    torch = pytest.importorskip("torch")
    want = torch.linspace(-1, 1, 9, dtype=torch.float64)
    assert_parity(want.bfloat16(), want, dtype=torch.bfloat16, steps=1)
    with pytest.raises(
        ParityError, match=r"^result \(bfloat16, 1 steps\):\n  result at \(0,\): got -0.9375, wanted -1"
    ):
        assert_parity(want.bfloat16() + 0.0625, want, dtype=torch.bfloat16, steps=1)


def test_no_steps_at_all_still_compare_shapes() -> None:
    expect_parity(np.zeros((0, 2, 5), np.float32), np.zeros((0, 2, 5)), steps=0)
    with pytest.raises(ParityError, match=r"got shape \(0, 2, 5\), wanted \(0, 2, 4\)"):
        expect_parity(np.zeros((0, 2, 5), np.float32), np.zeros((0, 2, 4)), steps=0)
