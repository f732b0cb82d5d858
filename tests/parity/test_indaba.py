"""The numbers that the Deep Learning Indaba's practical on recurrent networks prints, from its seed."""

from dataclasses import dataclass

import numpy as np
import pytest

from gatewright import cells
from gatewright.backends import numpy_ref
from gatewright.trace import trace_cell

INPUT, HIDDEN, OUTPUT, STEPS = 8, 4, 2, 5
PRINTED = 0.5e-8  # half of the last of eight decimals

INPUTS = np.array(
    [
        [0.46439233, -3.56351666, 1.32110562, 0.15263055, 0.16452954, -0.43009569, 0.76736874, 0.98491984],
        [0.27083585, 1.39198619, 0.07984231, -0.39996458, -1.02785056, -0.58471821, 0.81659393, -0.08194705],
        [-0.34476601, 0.52828815, -1.06898878, -0.51188131, 0.29120536, 0.5665337, 0.50359176, 0.28529568],
        [0.48428811, 1.36348151, -0.78110528, -0.46801767, 1.22457436, -1.28110828, 0.8754755, -1.71071532],
        [-0.4507651, 0.74916381, -0.20393287, -0.18217541, 0.680656, -1.81849899, 0.04707164, 0.39484421],
    ]
)
TARGETS = np.array([1, 0, 0, 1, 0])
STATES = np.array(
    [
        [0.96177185, -0.9949211, -0.32244779, 0.73506912],
        [0.46602766, 0.82754901, 0.36055494, -0.95185866],
        [0.05420772, 0.99026303, 0.59787223, -0.29612811],
        [0.54636226, 0.72291255, 0.98786587, -0.98647387],
        [0.19868001, 0.98286478, 0.76491549, -0.91578737],
    ]
)
PREDICTIONS = np.array(
    [
        [0.55862327, 1.40120743, -1.08963098, -1.08400572, -0.28057832, -1.1015924, -0.11587845, -0.05159674],
        [0.34742921, -1.29286866, 2.47391689, -1.71784312, -1.5992273, 1.24601455, -0.88538448, -0.11095221],
        [0.8010615, -1.61368801, 2.09415036, 0.17450844, -0.9812788, 0.68753718, -0.38148559, 0.05024376],
        [0.99520914, -2.79581132, 3.78816447, -2.78201096, -1.48485321, 1.72724645, -1.47624028, 0.1877338],
        [0.64388666, -2.30770109, 3.12462806, -1.48085355, -1.28186319, 1.50545244, -0.98578343, 0.08359233],
    ]
)

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Practical:
    """The practical's network. Its head is as wide as the input: the text draws Why so, and scales it by the output."""

    weights: Arrays
    inputs: np.ndarray
    targets: np.ndarray

    def run(self) -> numpy_ref.ReferenceRun:
        return numpy_ref.run(trace_cell(cells.elman), {"x": self.inputs[:, None]}, self.params)

    @property
    def params(self) -> Arrays:
        """The text multiplies rows by matrices (input, hidden); a cell's are (hidden, input)."""
        return {"W.h": self.weights["Wxh"].T, "U.h": self.weights["Whh"].T, "b.h": self.weights["bh"][0]}

    def predictions(self) -> np.ndarray:
        return self.run().output[:, 0] @ self.weights["Why"] + self.weights["by"]

    def loss(self) -> float:
        """The cross entropy, added up over the steps."""
        return -float(np.log(_softmax(self.predictions())[range(STEPS), self.targets]).sum())

    def gradients(self) -> Arrays:
        d_predictions = _softmax(self.predictions()) - np.eye(INPUT)[self.targets]
        found = numpy_ref.gradient(
            trace_cell(cells.elman),
            {"x": self.inputs[:, None]},
            self.params,
            d_outputs={"h": (d_predictions @ self.weights["Why"].T)[:, None]},
        ).params
        return {
            "Wxh": found["W.h"].T,
            "Whh": found["U.h"].T,
            "Why": self.run().output[:, 0].T @ d_predictions,
            "bh": found["b.h"][None],
            "by": d_predictions.sum(axis=0)[None],
        }


@pytest.fixture
def practical() -> Practical:
    """Drawn in the text's order: the keywords of its dict(...), then the inputs, then the targets."""
    draw = np.random.RandomState(1234)
    weights = {
        "Wxh": draw.randn(INPUT, HIDDEN) / np.sqrt(INPUT / 2),
        "Whh": draw.randn(HIDDEN, HIDDEN) / np.sqrt(HIDDEN / 2),
        "Why": draw.randn(HIDDEN, INPUT) / np.sqrt(OUTPUT / 2),
        "bh": np.zeros((1, HIDDEN)),
        "by": np.zeros((1, INPUT)),
    }
    return Practical(weights, draw.randn(STEPS, INPUT), draw.randint(low=0, high=OUTPUT, size=STEPS))


def test_the_numbers_drawn_are_the_texts(practical: Practical) -> None:
    np.testing.assert_allclose(practical.inputs, INPUTS, rtol=0, atol=PRINTED)
    np.testing.assert_array_equal(practical.targets, TARGETS)


def test_every_state_and_prediction_is_the_texts(practical: Practical) -> None:
    np.testing.assert_allclose(practical.run().output[:, 0], STATES, rtol=0, atol=PRINTED)
    np.testing.assert_allclose(practical.predictions(), PREDICTIONS, rtol=0, atol=PRINTED)


def test_the_final_state_passes_the_texts_own_check(practical: Practical) -> None:
    final = practical.run().finals["h"][0]
    assert _relative(final, np.array([0.19868001, 0.98286478, 0.76491549, -0.91578737])).max() <= 2e-8


def test_the_texts_gradient_check_passes(practical: Practical) -> None:
    """By the text's quotient and step; its bound on the relative error is 0.01, and one of 1e-4 holds as well."""
    gradients = practical.gradients()
    assert {name: array.shape for name, array in gradients.items()} == {
        name: array.shape for name, array in practical.weights.items()
    }
    for name, gradient in gradients.items():
        estimated = _differences(practical, practical.weights[name], step=0.001)
        assert _relative(gradient, estimated).max() <= 1e-4, name


def test_the_texts_gradient_check_can_fail(practical: Practical) -> None:
    transposed = practical.gradients()["Whh"].T
    assert _relative(transposed, _differences(practical, practical.weights["Whh"], step=0.001)).max() > 0.01


def _softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _relative(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.abs(one - other) / np.maximum(1e-8, np.abs(one) + np.abs(other))


def _differences(practical: Practical, weights: np.ndarray, step: float) -> np.ndarray:
    """The central difference of the loss by each weight, which is moved in place."""
    estimated = np.empty_like(weights)
    for index, value in np.ndenumerate(weights.copy()):
        weights[index] = value + step
        above = practical.loss()
        weights[index] = value - step
        estimated[index] = (above - practical.loss()) / (2 * step)
        weights[index] = value
    return estimated
