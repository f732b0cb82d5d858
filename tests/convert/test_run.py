"""What parts of a network compute, held to their definitions."""

import numpy as np
import pytest

from gatewright import convert
from gatewright.convert import Activation, BatchNorm, LayerNorm, Masking, Network, Step
from gatewright.errors import ConversionError
from tests.convert.keras_models import INPUTS, drawn
from tests.convert.test_own_files import layer

STEPS, BATCH = 5, 4


def inputs() -> np.ndarray:
    return np.random.default_rng(2).standard_normal((STEPS, BATCH, INPUTS))


def test_layer_normalisation_is_that_of_the_paper() -> None:
    x, gain, bias = inputs(), drawn(INPUTS, seed=1), drawn(INPUTS, seed=2)
    centred = x - x.mean(-1, keepdims=True)
    wanted = gain * centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 0.1) + bias
    np.testing.assert_allclose(convert.run(Network((LayerNorm(0.1, gain, bias),)), x), wanted, atol=1e-12)
    alone = convert.run(Network((LayerNorm(0.1),)), x)
    np.testing.assert_allclose(alone * gain + bias, wanted, atol=1e-12)


def test_batch_normalisation_takes_the_statistics_of_training() -> None:
    x = inputs()
    mean, variance, gain, bias = (np.abs(drawn(INPUTS, seed=seed)).astype(float) for seed in range(4))
    wanted = gain * (x - mean) / np.sqrt(variance + 0.1) + bias
    got = convert.run(Network((BatchNorm(mean, variance, 0.1, gain, bias),)), x)
    np.testing.assert_allclose(got, wanted, atol=1e-12)


@pytest.mark.parametrize("index", [0, 2, -1])
def test_a_step_is_taken_where_it_lies_whether_or_not_it_is_padding(index: int) -> None:
    x = inputs()
    x[-1] = 0.5
    outputs = convert.run(Network((Masking(0.5), layer(INPUTS))), x)
    np.testing.assert_array_equal(convert.run(Network((Masking(0.5), layer(INPUTS), Step(index))), x), outputs[index])


def test_a_step_that_is_not_there_is_refused() -> None:
    for index in (STEPS, -STEPS - 1):
        with pytest.raises(ConversionError, match=f"there is no step {index} to take"):
            convert.run(Network((Step(index),)), inputs())
    with pytest.raises(ConversionError, match="there is no step 0 to take"):
        convert.run(Network((Step(0), Step(0))), inputs())


@pytest.mark.parametrize("returns", ["sequence", "last"])
def test_directions_are_merged(returns: str) -> None:
    x = inputs()
    first, second = np.split(convert.run(Network((layer(INPUTS, both=True, returns=returns),)), x), 2, axis=-1)
    wanted = {"sum": first + second, "mul": first * second, "ave": (first + second) / 2}
    for merge, each in wanted.items():
        merged = layer(INPUTS, both=True, returns=returns, merge=merge)
        assert merged.outputs == first.shape[-1]
        np.testing.assert_allclose(convert.run(Network((merged,)), x), each, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("leaky_relu(0.5)", [-1.0, -0.5, 0.0, 0.5, 1.0, 4.0]),
        ("elu(2.0)", [2 * np.expm1(-2.0), 2 * np.expm1(-1.0), 0.0, 0.5, 1.0, 4.0]),
        ("bounded_relu(0.0,0.0,3.0)", [0.0, 0.0, 0.0, 0.5, 1.0, 3.0]),
        ("bounded_relu(0.5,0.75,inf)", [-1.375, -0.875, -0.375, -0.125, 1.0, 4.0]),
        ("softsign", [-2 / 3, -0.5, 0.0, 1 / 3, 0.5, 0.8]),
    ],
)
def test_functions_with_numbers_of_their_own(name: str, wanted: list[float]) -> None:
    x = np.array([-2.0, -1.0, 0.0, 0.5, 1.0, 4.0]).reshape(6, 1, 1)
    np.testing.assert_allclose(convert.run(Network((Activation(name),)), x).ravel(), wanted, atol=1e-12)


@pytest.mark.parametrize("name", ["leaky_relu", "leaky_relu(0.1,0.2)", "leaky_relu(x)", "bounded_relu(nan,0,1)", "re"])
def test_a_function_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ConversionError, match=r"there is no function"):
        convert.run(Network((Activation(name),)), inputs())
