"""A loss that leaves the numbers stops the run, and the message says where that began."""

from pathlib import Path

import pytest
import torch

import gatewright as gw
from gatewright.errors import NonFiniteError
from gatewright.tasks.network import RecipeNetwork, State
from gatewright.tasks.run_data import Sizes
from gatewright.tasks.training import nonfinite
from gatewright.tasks.training.run_folder import RunFolder
from gatewright.tasks.training.session import train
from gatewright.tasks.training.tensor_batches import TensorBatch
from tests.tasks.small import QUIET, small_recipe, small_text

ADVICE = (
    "\n  do: lower the rate, clip the gradients with clip=1, or look at the data; "
    "a checkpoint from before this iteration is kept, where there is one"
)
STEPS, ROWS, FEATURES = 6, 3, 2


@gw.cell
def exploding(x, h, W, U, b):
    """The gate e is infinite where its input is large; the other gate follows it."""
    calm = gw.sigmoid(W.calm @ x + U.calm @ h + b.calm)
    e = gw.exp(W.e @ x)
    return calm * gw.tanh(e) + gw.minimum(e, e * calm)


def network(cell: gw.Cell | str = "gru", *, layers: int = 1) -> RecipeNetwork:
    return RecipeNetwork(
        cell, Sizes(FEATURES, 1), encode="values", pool="each step", hidden=4, layers=layers, dropout=0.5
    )


def batch(*, large_at: int | None = None, value: float = 1e4) -> TensorBatch:
    inputs = torch.zeros(STEPS, ROWS, FEATURES)
    if large_at is not None:
        inputs[large_at, 1] = value
    return TensorBatch(inputs, torch.zeros(STEPS, ROWS, 1), None, continues=False)


def of_loss(made: RecipeNetwork, given: TensorBatch, state: State = None) -> str:
    return str(nonfinite.of_loss(made, given, state, value=float("nan"), iteration=17))


def message(place: str) -> str:
    return f"the loss is nan at iteration 17\n  expected: a finite loss\n  got: {place}{ADVICE}"


def test_the_gate_and_step() -> None:
    made = network(exploding)
    for name, weights in made.recurrent.gate_parameters().items():
        weights.data.fill_(1.0 if name == "l0.W.e" else 0.1)
    assert of_loss(made, batch(large_at=4)) == message(
        "it began in layer 0 of recurrent, gate e, at step 4 of the batch (inf)"
    )


def test_the_lowest_layer_comes_first_at_the_same_step() -> None:
    made = network(exploding, layers=2)
    for name, weights in made.recurrent.gate_parameters().items():
        weights.data.fill_(1.0 if name.endswith("W.e") else 0.0)
    made.recurrent.gate_parameters()["l1.W.e"].data.fill_(1e38)
    assert of_loss(made, batch(large_at=2)) == message(
        # Layer 1 reads exp(0) at every step, so that it is infinite long before layer 0 is.
        "it began in layer 1 of recurrent, gate e, at step 0 of the batch (inf)"
    )
    made.recurrent.gate_parameters()["l1.W.e"].data.fill_(1.0)
    assert of_loss(made, batch(large_at=2)) == message(
        "it began in layer 0 of recurrent, gate e, at step 2 of the batch (inf)"
    )


def test_a_parameter_that_an_update_broke() -> None:
    made = network(layers=2)
    made.recurrent.gate_parameters()["l1.U.z"].data[1, 2] = float("-inf")
    assert of_loss(made, batch()) == message(
        "it began in parameter l1.U.z of recurrent, which an earlier update broke (-inf)"
    )


def test_a_parameter_of_the_output_layer() -> None:
    made = network()
    made.output.bias.data[0] = float("nan")
    assert of_loss(made, batch()) == message("it began in parameter output.bias, which an earlier update broke (nan)")


def test_the_inputs() -> None:
    assert of_loss(network(), batch(large_at=3, value=float("nan"))) == message(
        "it began in the inputs, at step 3 of the batch (nan)"
    )


def test_the_carried_state() -> None:
    state = torch.zeros(1, ROWS, 4)
    state[0, 0, 0] = float("inf")
    assert of_loss(network(), batch(), state) == message("it began in the state carried from the batch before (inf)")


def test_the_output_layer() -> None:
    made = network()
    made.output.weight.data.fill_(3e38)
    made.recurrent.gate_parameters()["l0.b.n"].data.fill_(9.0)
    assert "it began in what output gives out, at step" in of_loss(made, batch())


def test_the_loss_alone() -> None:
    assert of_loss(network(), batch()) == message("every layer's output is finite; the loss of them is not")


def test_gradients() -> None:
    made = network()
    for parameter in made.parameters():
        parameter.grad = torch.zeros_like(parameter)
    made.output.weight.grad = torch.full_like(made.output.weight, float("nan"))
    assert str(nonfinite.of_gradient(made, iteration=3)) == (
        "the gradient is not finite at iteration 3, although the loss is\n"
        "  expected: finite gradients of all parameters\n"
        f"  got: not finite: output.weight{ADVICE}"
    )


def test_a_run_stops_and_keeps_what_it_has(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    wild = small_recipe("cell=elman(activation=relu)", "rate=1e38", "schedule=constant", "clip=0", "optimiser=sgd")
    with pytest.raises(NonFiniteError, match=r"the (loss|gradient) is .* at iteration \d+"):
        train(wild, out=folder.path, source=small_text(tmp_path), console=QUIET)
    assert folder.run.exists()
    assert not folder.finished
