"""What is recorded of models that change what they read, call layers several times, or have layers with other steps."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import gatewright as gw
from gatewright.errors import OptionError, ShapeError
from gatewright.inspect import record
from tests.inspect.recorded import Halving


class Scribbling(nn.Module):
    """Overwrites what its layer has read, and keeps its state in one tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        state, read, outputs = torch.zeros(1, x.shape[1], 4), torch.empty(1, *x.shape[1:]), []
        for step in x:
            read.copy_(step[None])
            output, after = self.rnn(read, state)
            state.copy_(after)
            outputs.append(output)
        return torch.cat(outputs)


def test_arguments_that_the_model_overwrites_afterwards() -> None:
    torch.manual_seed(0)
    model, x = Scribbling(), torch.randn(5, 2, 3)
    layer = record(model, x).layer()
    np.testing.assert_allclose(layer.states["h"], model.rnn(x)[0].detach(), atol=1e-6)
    np.testing.assert_array_equal(layer.inputs, x)


class Twice(nn.Module):
    """Reads two packed batches with the same layer."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(3, 4, batch_first=True)

    def forward(self, x: Tensor, first: list[int], y: Tensor, second: list[int]) -> None:
        for values, lengths in ((x, first), (y, second)):
            self.rnn(pack_padded_sequence(values, lengths, batch_first=True, enforce_sorted=False))


def test_rows_of_several_ragged_calls_have_no_gaps() -> None:
    torch.manual_seed(0)
    model, x, y = Twice(), torch.randn(2, 5, 3), torch.randn(2, 4, 3)
    layer = record(model, x, [5, 2], y, [1, 4]).layer()
    assert layer.lengths.tolist() == [6, 6]
    np.testing.assert_array_equal(layer.inputs[:, 0], torch.cat([x[0], y[0, :1]]))
    np.testing.assert_array_equal(layer.inputs[:, 1], torch.cat([x[1, :2], y[1]]))
    ended = model.rnn(x[1:, :2])[0][0].detach()
    np.testing.assert_allclose(layer.states["h"][:2, 1], ended, atol=1e-6)


class Mixed(nn.Module):
    """The same layer reads packed rows and then padded ones, batch first."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(3, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        self.rnn(pack_padded_sequence(x, [5, 5], batch_first=True))
        return self.rnn(x)[0]


def test_packed_and_padded_calls_of_one_layer() -> None:
    torch.manual_seed(0)
    model, x = Mixed(), torch.randn(2, 5, 3)
    states = record(model, x).layer().states["h"]
    expected = model(x).detach().transpose(0, 1)
    np.testing.assert_allclose(states, np.concatenate([expected, expected]), atol=1e-6)


def test_positional_arguments_of_our_layers() -> None:
    class Positional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = gw.nn.Recurrent("gru", 3, 4)

        def forward(self, x: Tensor) -> Any:
            return self.rnn(x, None, torch.tensor([5, 2]), None, True)

    activations = record(Positional(), torch.randn(5, 2, 3))
    assert activations.lengths.tolist() == [5, 2]


def test_a_backward_direction_has_read_the_padding() -> None:
    """Without lengths of its own the layer began at the end of the padded row: that is what it did."""
    torch.manual_seed(0)
    layer, x = nn.GRU(3, 4, bidirectional=True), torch.randn(5, 2, 3)
    activations = record(layer, x, lengths=[5, 2])
    expected = layer(x)[0].detach().numpy()
    np.testing.assert_allclose(activations.layer("l0_reverse").states["h"][:2, 1], expected[:2, 1, 4:], atol=1e-6)
    assert np.isnan(activations.layer("l0_reverse").states["h"][2:, 1]).all()


def test_lengths_of_a_layer_that_is_called_a_step_at_a_time() -> None:
    activations = record(Scribbling(), torch.randn(5, 2, 3), lengths=[5, 2])
    assert activations.lengths.tolist() == [5, 2]
    assert np.isnan(activations.layer().states["h"][2:, 1]).all()


class Read(nn.Module):
    """A layer that reads (batch, time) or (time, batch), packed or not, and outputs in either order of axes."""

    def __init__(self, *, batch_first: bool, transposed: bool, packed: bool, kind: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.rnn, self.out = nn.LSTM(3, 4, 2, batch_first=batch_first), nn.Linear(4, 2)
        self.transposed, self.packed, self.kind = transposed, packed, kind

    def forward(self, x: Tensor) -> Tensor:
        batch_first = self.rnn.batch_first
        if self.packed:
            lengths = [2, 3, 1]
            read = pack_padded_sequence(x, lengths, batch_first=batch_first, enforce_sorted=False)
            outputs, (last, _) = self.rnn(read)
            outputs, _ = pad_packed_sequence(outputs, batch_first=batch_first)
        else:
            outputs, (last, _) = self.rnn(x)
        match self.kind:
            case "last":
                scores = last[-1] @ torch.ones(4, 3).cumsum(0)
            case "one a step":
                scores = self.out(outputs)[..., 0]
            case "labels":
                return (outputs.transpose(0, 1) if self.transposed else outputs) > 0
            case _:
                scores = self.out(outputs)
        return scores.transpose(0, 1) if self.transposed else scores


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("kind", ["by step", "one a step", "labels"])
def test_as_many_rows_as_steps(kind: str, batch_first: bool, transposed: bool, packed: bool) -> None:
    """Sizes do not tell which axis of the outputs is time."""
    model = Read(batch_first=batch_first, transposed=transposed, packed=packed, kind=kind)
    x = torch.randn(3, 3, 3)
    expected = model(x).detach()
    has_rows_first = batch_first != transposed
    if kind == "one a step":  # with rows first these are taken for several outputs a row, as other shapes are
        expected = expected if has_rows_first else expected[..., None]
    elif has_rows_first:
        expected = expected.transpose(0, 1)
    outputs = record(model, x).outputs
    assert outputs is not None
    np.testing.assert_array_equal(outputs, expected)


def test_as_many_rows_as_steps_and_classes() -> None:
    model, x = Read(batch_first=False, transposed=False, packed=False, kind="last"), torch.randn(3, 3, 3)
    outputs = record(model, x).outputs
    assert outputs is not None
    np.testing.assert_array_equal(outputs, model(x).detach())


def test_axes_that_cannot_be_told_apart() -> None:
    class Mixing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.GRU(3, 4)

        def forward(self, x: Tensor) -> Tensor:
            states = self.rnn(x)[0]
            return states - states.mean((0, 1))  # rows read one another

    with pytest.warns(UserWarning, match="the outputs of the Mixing are left out: there are as many rows as steps"):
        activations = record(Mixing(), torch.randn(3, 3, 3))
    assert activations.outputs is None
    assert record(Mixing(), torch.randn(3, 2, 3)).outputs is not None


def test_what_a_model_keeps_from_call_to_call_is_as_before() -> None:
    class Keeping(nn.Module):
        """Private attributes, lists, dicts and a list in itself change in each call."""

        def __init__(self) -> None:
            super().__init__()
            self.rnn, self._state, self._calls = nn.GRU(3, 4), torch.zeros(1, 2, 4), 0
            self.seen: list[Any] = [torch.ones(1)]
            self.seen.append(self.seen)
            self.by_name: dict[str, Any] = {"last": torch.zeros(4), "sums": {"all": 0.0}}

        def forward(self, x: Tensor) -> Tensor:
            output, self._state = self.rnn(x, self._state)
            self._calls += 1
            self.seen.append(output)
            self.by_name["last"].copy_(output[-1, 0].detach())
            self.by_name["sums"]["all"] += output.sum().item()
            self.by_name["new"] = 1
            return output

    torch.manual_seed(0)
    model, x = Keeping(), torch.randn(5, 2, 3)
    kept = vars(model)
    state, seen, last = kept["_state"], list(model.seen), model.by_name["last"]
    for measure in (record, gw.inspect.saliency, gw.inspect.integrated_gradients):
        measure(model, x)
        assert kept["_state"] is state
        assert kept["_calls"] == 0
        assert [id(value) for value in model.seen] == [id(value) for value in seen]
        assert model.by_name == {"last": last, "sums": {"all": 0.0}}
        assert not state.any()
        assert not last.any()


def test_layers_with_fewer_steps_have_lengths_of_their_own() -> None:
    activations = record(Halving(), torch.randn(6, 2, 3))
    assert activations.lengths.tolist() == [6, 6]
    assert activations.layer("above.l0").lengths.tolist() == [3, 3]
    assert activations.has_steps_of(activations.layer("below.l0"))
    assert not activations.has_steps_of(activations.layer("above.l0"))


class Letters(nn.Module):
    """One layer reads the letters of each word, and another one the words."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.letters = nn.GRU(4, 5), nn.GRU(3, 4)

    def forward(self, x: Tensor) -> Tensor:  # (letters, words, batch, features)
        letters, words, batch, features = x.shape
        last = self.letters(x.reshape(letters, words * batch, features))[1]
        return self.words(last.reshape(words, batch, 4))[0]


def test_layers_with_other_rows_and_the_order_in_which_layers_ran() -> None:
    activations = record(Letters(), torch.randn(7, 3, 2, 3))
    assert list(activations.layers) == ["letters.l0", "words.l0"]
    assert activations.lengths.tolist() == [3, 3]
    assert activations.layer("letters.l0").lengths.tolist() == [7] * 6


class Scores(nn.Module):
    def __init__(self, *, batch_first: bool = False, is_flat: bool = False) -> None:
        super().__init__()
        self.rnn, self.out = nn.GRU(3, 4, batch_first=batch_first), nn.Linear(4, 5)
        self.is_flat = is_flat

    def forward(self, x: Tensor) -> Tensor:
        scores = self.out(self.rnn(x)[0])
        return scores.flatten(0, 1) if self.is_flat else scores


@pytest.mark.parametrize("steps", [2, 6])
def test_outputs_have_time_first(steps: int) -> None:
    model, x = Scores(batch_first=True), torch.randn(2, steps, 3)
    np.testing.assert_array_equal(record(model, x).outputs, model(x).detach().transpose(0, 1))


def test_outputs_of_a_single_row_without_an_axis() -> None:
    model, x = Scores(), torch.randn(6, 3)
    np.testing.assert_array_equal(record(model, x).outputs, model(x).detach()[:, None])


def test_outputs_without_an_axis_of_rows_are_none() -> None:
    assert record(Scores(is_flat=True), torch.randn(6, 2, 3)).outputs is None


def test_one_number_a_row_is_an_output() -> None:
    class Number(Scores):
        def forward(self, x: Tensor) -> Tensor:
            return self.rnn(x)[0][-1, :, 0]

    assert record(Number(), torch.randn(6, 2, 3)).outputs.shape == (2, 1)


class Stateful(nn.Module):
    """Keeps its state in an attribute and in a buffer, and counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.state, self.calls = nn.GRU(3, 4), None, 0
        self.register_buffer("last", torch.zeros(2, 4))

    def forward(self, x: Tensor) -> Tensor:
        output, self.state = self.rnn(x, self.state)
        self.calls += 1
        self.latest = output
        self.last.copy_(output[-1])
        return output


@pytest.mark.parametrize(
    "look", [record, gw.inspect.saliency, gw.inspect.integrated_gradients, gw.inspect.effective_memory]
)
def test_attributes_and_buffers_are_as_before(look: Any) -> None:
    model, x = Stateful(), torch.randn(5, 2, 3)
    look(model, x)
    assert model.state is None
    assert model.calls == 0
    assert not hasattr(model, "latest")
    assert not model.last.any()
    assert model.training


class Wrapping(nn.GRU):
    """Reads packed rows, and gives what the layer gives times a factor."""

    factor = 1.0

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Any:
        lengths = torch.full((input.shape[1],), len(input))
        packed = pack_padded_sequence(input, lengths)
        output, state = super().forward(packed, hx)
        return nn.utils.rnn.pad_packed_sequence(output)[0] * self.factor, state


def test_a_subclass_that_computes_something_else_is_refused() -> None:
    layer, x = Wrapping(3, 4), torch.randn(5, 2, 3)
    np.testing.assert_allclose(record(layer, x).layer().states["h"], layer(x)[0].detach(), atol=1e-6)
    layer.factor = 2.0
    with pytest.raises(OptionError, match="the layer '' is a Wrapping with a forward of its own"):
        record(layer, x)


def test_arrays_are_read_as_tensors() -> None:
    layer, x = nn.GRU(3, 4), np.random.default_rng(0).normal(size=(5, 2, 3))
    expected = record(layer, torch.as_tensor(x, dtype=torch.float32)).layer().states["h"]
    np.testing.assert_array_equal(record(layer, x).layer().states["h"], expected)


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        ({"symbols": [list("abcde")]}, "there is not a sequence of symbols for each row"),
        ({"symbols": "abcde"}, "row 0 has fewer symbols than steps"),
        ({"symbols": [list("abcde"), ["a"]]}, "row 1 has fewer symbols than steps"),
        ({"labels": "abc"}, "the labels do not fit the outputs"),
        ({"series": np.zeros((2, 5, 1))}, "the series does not fit the rows"),
    ],
)
def test_names_that_do_not_fit(names: Any, problem: str) -> None:
    with pytest.raises((OptionError, ShapeError), match=problem):
        record(Scores(), torch.randn(5, 2, 3), **names)


def test_clamps_that_cannot_be() -> None:
    layer = gw.nn.GRU(3, 4)
    for unit in (1.5, -1, 4):
        with pytest.raises(OptionError, match=f"has no unit {unit}"):
            gw.inspect.clamped(layer, [gw.inspect.Clamp("l0", "z", unit, 0.0)])  # pyright: ignore[reportArgumentType]
    with pytest.raises(OptionError, match="gate 'z' cannot be held at nan"):
        gw.inspect.clamped(layer, [gw.inspect.Clamp("l0", "z", 1, np.nan)])


def test_errors() -> None:
    with pytest.raises(OptionError, match="a str is no torch module"):
        record("runs/text")
    with pytest.warns(DeprecationWarning, match="torch.jit.script"):
        scripted = torch.jit.script(nn.Sequential(nn.Linear(3, 3)).train())
    with pytest.raises(OptionError, match="no recurrent layer ran in the RecursiveScriptModule"):
        record(scripted, torch.randn(5, 2, 3))
    assert scripted.training
    with pytest.raises(OptionError, match="the lengths do not fit the rows"):
        record(nn.GRU(3, 4), torch.randn(5, 2, 3), lengths=[5])
