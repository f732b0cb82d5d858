"""Numbers in other units than a model's are seen by their scale."""

import numpy as np
import pytest

from gatewright.errors import DataError
from gatewright.tasks.data.scaling import check_scales, variable_scales

DRAWN = np.random.default_rng(0).normal(size=(400, 1))


def scales(mean: float, deviation: float, values: np.ndarray = DRAWN) -> dict[str, dict[str, float]]:
    return variable_scales(mean + deviation * values, ["weight"])


def test_what_is_kept_of_a_variable() -> None:
    values = np.array([[1.0, np.nan], [3.0, np.nan]])
    assert variable_scales(values, ["a", "b"]) == {"a": {"mean": 2, "deviation": 1, "least": 1, "greatest": 3}}


@pytest.mark.parametrize(
    ("trained", "given"),
    [
        ((70, 15), (70_000, 15_000)),  # kilograms, grams
        ((70_000, 15_000), (70, 15)),
        ((0.5, 0.2), (50, 20)),  # shares, percent
        ((15, 8), (288, 8)),  # degrees Celsius, kelvin
        ((0, 1), (0, 1000)),
        ((5, 0), (5000, 0)),
    ],
)
def test_other_units_are_refused(trained: tuple[float, float], given: tuple[float, float]) -> None:
    with pytest.raises(DataError, match="are of another scale than those that the model was trained on"):
        check_scales(scales(*trained), scales(*given), "a.csv")


@pytest.mark.parametrize(
    ("trained", "given"),
    [
        ((213, 70), (450, 80)),  # passengers of airlines, the first years and the last ones
        ((100, 10), (100, 0)),  # a sensor at rest
        ((0, 1), (0.01, 0.01)),
        ((0, 1), (5, 3)),
        ((5, 0), (5, 0.5)),
    ],
)
def test_other_values_in_the_same_units_are_not(trained: tuple[float, float], given: tuple[float, float]) -> None:
    check_scales(scales(*trained), scales(*given), "a.csv")


def test_both_scales_are_told() -> None:
    ends = np.array([[-1.0], [1.0]])
    with pytest.raises(DataError) as caught:
        check_scales(scales(70, 15, ends), scales(70_000, 15_000, ends), "a.csv")
    assert str(caught.value) == (
        "a.csv: the numbers of 'weight' are of another scale than those that the model was trained on\n"
        "  expected: a mean of 70 with a deviation of 15, from 55 to 85\n"
        "  got: a mean of 7.000e+04 with a deviation of 1.500e+04, from 5.500e+04 to 8.500e+04\n"
        "  do: give them in the units of the training data, or accept any with any_scale=True"
    )
    assert caught.value.in_shell().endswith("or accept any with --any-scale")
    check_scales({}, scales(1e9, 1), "a.csv")  # a variable of which the model keeps nothing
