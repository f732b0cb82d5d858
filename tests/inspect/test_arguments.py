"""Arguments that are no numbers, or out of their range, give a sentence that names them; nothing is computed then."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
import torch
from torch import nn

import gatewright as gw
from gatewright.errors import DataError, GatewrightError, OptionError, OptionTypeError, ShapeError
from gatewright.inspect.arguments import numbers_of, real_number, whole_number
from tests.quick_runs import QuickRun

torch.manual_seed(0)
LAYER = gw.nn.GRU(3, 4)
READ = torch.randn(9, 2, 3)
RECORD = gw.inspect.record(LAYER, READ)
ZERO = np.zeros(3)
INPUTS = np.zeros((5, 3))


def test_whole_numbers() -> None:
    assert [whole_number("n", value) for value in (3, -1, np.int64(3), np.uint8(3))] == [3, -1, 3, 3]
    for value in (1.0, "1", None, True, np.bool_(True), np.ones(2)):
        with pytest.raises(OptionTypeError, match="n must be a whole number"):
            whole_number("n", value)


def test_numbers() -> None:
    assert [real_number("n", value) for value in (3, 0.5, np.float32(0.5), np.int64(3))] == [3, 0.5, 0.5, 3]
    for value in ("1", None, True, 1j, np.ones(2)):
        with pytest.raises(OptionTypeError, match="n must be a number"):
            real_number("n", value)


def test_arrays_of_numbers() -> None:
    given = torch.ones(2, requires_grad=True)
    for values in ([1, 1], (True, True), np.ones(2, np.float16), given, [np.float32(1), 1]):
        array = numbers_of("x", values)
        assert array.dtype == np.float64
        assert array.tolist() == [1, 1]
    for wrong in ("abc", None, [[1], [1, 2]], [1j], ["1"]):
        with pytest.raises(ShapeError, match="x must be an array of numbers"):
            numbers_of("x", wrong)  # pyright: ignore[reportArgumentType]


WRONG: dict[str, tuple[Callable[[], Any], type[GatewrightError], str]] = {
    "starts of text": (lambda: fixed(starts="a"), ShapeError, "the states must be an array of numbers"),
    "starts of a truth value": (lambda: fixed(starts=True), ShapeError, "the states do not fit the layer"),
    "no tolerance": (lambda: fixed(tolerance=float("nan")), OptionError, "tolerance is out of range\n  expected: 0 or"),
    "tolerance of text": (lambda: fixed(tolerance="x"), OptionTypeError, "tolerance must be a number\n  got: 'x'"),
    "slow below 0": (lambda: fixed(slow=-1), OptionError, "slow is out of range"),
    "apart below 0": (lambda: fixed(apart=-1), OptionError, "apart is out of range"),
    "half an iteration": (lambda: fixed(iterations=1.5), OptionTypeError, "iterations must be a whole number"),
    "fewer iterations than 0": (lambda: fixed(iterations=-1), OptionError, "iterations is out of range"),
    "a seed below 0": (lambda: fixed(seed=-1), OptionError, "seed is out of range"),
    "an input of text": (lambda: gw.inspect.fixed_points(LAYER, "abc"), ShapeError, "the input must be an array"),
    "no layer": (lambda: gw.inspect.fixed_points("runs/a", ZERO), OptionTypeError, "str is no layer"),
    "activations": (lambda: gw.inspect.eigenvalues(RECORD, ZERO), OptionTypeError, "Activations is no layer"),
    "a state of text": (lambda: gw.inspect.eigenvalues(LAYER, ZERO, "a"), ShapeError, "the states must be an array"),
    "exponents": (lambda: gw.inspect.lyapunov_spectrum(LAYER, INPUTS, count=1.5), OptionTypeError, "count must be"),
    "warm-up": (lambda: gw.inspect.lyapunov_spectrum(LAYER, INPUTS, warm_up="a"), OptionTypeError, "warm_up must be"),
    "inputs": (lambda: gw.inspect.lyapunov_spectrum(LAYER, "abc"), ShapeError, "the inputs must be an array"),
    "trained": (lambda: gw.inspect.drift(RECORD, 1.5), OptionTypeError, "trained must be a whole number"),
    "margin": (lambda: gw.inspect.drift(RECORD, 4, margin="a"), OptionTypeError, "margin must be a number"),
    "still": (lambda: gw.inspect.dead_units(RECORD, at_most=-1), OptionError, "at_most is a standard deviation"),
    "no plane": (lambda: gw.inspect.state_plane(LAYER), OptionError, "a GRU is no activations"),
    "no variable": (lambda: gw.inspect.find_variable(LAYER, INPUTS), OptionError, "a GRU is no activations"),
    "no copy": (lambda: gw.inspect.copied_input("x", 3), OptionError, "a str is no activations"),
    "half a step": (lambda: gw.inspect.copied_input(RECORD, 1.5), OptionTypeError, "step must be a whole number"),
    "held out": (lambda: gw.inspect.find_variable(RECORD, np.ones((9, 2)), held_out="a"), OptionError, "held_out must"),
    "courses": (lambda: gw.inspect.mean_and_spread(RECORD, "z", steps=1.5), OptionTypeError, "steps must be a whole"),
    "a span of one": (
        lambda: pattern((1,)),
        OptionTypeError,
        "a span is two steps\n  expected: its first step and the",
    ),
    "no span": (lambda: pattern(None), OptionTypeError, "a span is two steps"),
    "a span of text": (lambda: pattern("ab"), OptionTypeError, "a span is two steps"),
    "a row of text": (lambda: pattern(row="a"), OptionTypeError, "row must be a whole number"),
    "threshold": (lambda: pattern(threshold=-1), OptionError, "threshold is a distance from 0"),
    "no threshold": (lambda: pattern(threshold=float("nan")), OptionError, "threshold is a distance from 0"),
    "least": (lambda: pattern(least=2), OptionError, "least is a share of the units\n  expected: 0 to 1\n  got: 2"),
    "limit": (lambda: pattern(limit=2.5), OptionTypeError, "limit must be a whole number"),
    "context": (lambda: pattern(context=-3), OptionError, "context is a number of steps"),
    "no pattern": (lambda: gw.inspect.find_pattern(LAYER, (1, 3)), OptionError, "a GRU is no activations"),
    "saliency at half a step": (lambda: gw.inspect.saliency(LAYER, READ, step=1.5), OptionTypeError, "step must be a"),
    "half an output": (lambda: gw.inspect.saliency(LAYER, READ, output=1.5), OptionTypeError, "output must be a whole"),
    "half a lag": (lambda: gw.inspect.saliency_by_lag(LAYER, READ, lags=1.5), OptionTypeError, "lags must be a whole"),
    "half a point": (
        lambda: gw.inspect.integrated_gradients(LAYER, READ, points=1.5),
        OptionTypeError,
        "points must be a whole number",
    ),
    "no baseline": (
        lambda: gw.inspect.integrated_gradients(LAYER, READ, baseline="a"),
        ShapeError,
        "the baseline must be an array of numbers",
    ),
    "memory": (lambda: gw.inspect.effective_memory(LAYER, READ, lags="a"), OptionTypeError, "lags must be a whole"),
    "ends": (lambda: gw.inspect.effective_memory(LAYER, READ, ends=1.5), OptionTypeError, "ends must be a whole"),
}


def fixed(**options: Any) -> Any:
    return gw.inspect.fixed_points(LAYER, ZERO, **options)


def pattern(span: Any = (1, 3), **options: Any) -> Any:
    return gw.inspect.find_pattern(RECORD, span, **options)


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments(name: str) -> None:
    call, kind, text = WRONG[name]
    with pytest.raises(kind, match=f"^{text}"):
        call()


def test_the_corpus_of_a_pattern_comes_from_the_same_network() -> None:
    marked = np.zeros((9, 2, 4), np.float32)
    marked[3:5, 0, 1] = 1
    layer = RECORD.layer()
    activations = gw.inspect.Activations(
        {layer.name: gw.inspect.LayerActivations("l0", layer.trace, READ.numpy(), {}, {"h": marked}, layer.lengths)},
        RECORD.lengths,
    )
    assert len(gw.inspect.find_pattern(activations, (3, 5)).matches) == 1
    for other in (gw.nn.GRU(3, 2), gw.nn.LSTM(3, 4)):
        with pytest.raises(OptionError, match="the layer 'l0' of the corpus is not that of the span"):
            gw.inspect.find_pattern(activations, (3, 5), corpus=gw.inspect.record(other, READ))


class Stateful(nn.Module):
    """Keeps its state for two rows."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent = nn.GRU(3, 4)
        self.state = torch.zeros(1, 2, 4)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        output, state = self.recurrent(values, self.state)
        self.state = state.detach()
        return output


@pytest.mark.parametrize("lags", [3, 20])
def test_a_model_that_keeps_a_state_for_a_number_of_rows(lags: int) -> None:
    model = Stateful()
    assert gw.inspect.saliency(model, READ).gradient.shape == (9, 2, 3)
    with pytest.raises(OptionError, match="the Stateful cannot read 1 rows in place of 2\n.*\n.*\n  do: let the model"):
        gw.inspect.effective_memory(model, READ, lags=lags)
    with pytest.raises(OptionError, match="the Stateful cannot read 9 rows in place of 2"):
        gw.inspect.saliency_by_lag(model, READ, lags=lags)
    assert model.state.abs().max() == 0


def test_a_text_without_a_symbol_is_refused(quick_run: QuickRun) -> None:
    _, folder = quick_run("text")
    with pytest.raises(DataError, match="there is nothing to look at: the text has nothing that the model reads"):
        gw.inspect.observe(folder, text="")
    with pytest.raises(DataError, match="there is nothing to look at: the data has no rows"):
        gw.inspect.observe(folder, [""])
