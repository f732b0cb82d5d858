"""`accelerate` on models that are built as published ones are, in small: their layers in the roles they have there."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from gatewright.nn import accelerate
from tests.parity.assertions import assert_parity


class Codec(nn.Module):
    """An audio codec: normed convolutions around a stack of LSTMs with a skip, over channels-first frames."""

    def __init__(self) -> None:
        super().__init__()
        self.down = weight_norm(nn.Conv1d(1, 6, 4, stride=2))
        self.lstm = nn.LSTM(6, 6, 2)
        self.up = weight_norm(nn.ConvTranspose1d(6, 1, 4, stride=2))

    def forward(self, audio: Tensor) -> Tensor:
        frames = F.elu(self.down(audio[:, None]))
        x = frames.permute(2, 0, 1)
        y, _ = self.lstm(x)
        return self.up((y + x).permute(1, 2, 0))[:, 0]


class Separator(nn.Module):
    """A source separator: a bidirectional LSTM over overlapping pieces, a linear layer back to the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 4, 2, bidirectional=True)
        self.linear = nn.Linear(8, 4)

    def forward(self, audio: Tensor) -> Tensor:
        pieces = audio[:, None].expand(-1, 4, -1).unfold(2, 8, 4)
        batch, channels, count, width = pieces.shape
        x = pieces.permute(0, 2, 1, 3).reshape(-1, channels, width).permute(2, 0, 1)
        y = self.linear(self.lstm(x)[0])
        return y.permute(1, 2, 0).reshape(batch, count, channels, width)[..., 2:-2].flatten(1)


class DualPath(nn.Module):
    """A separator of speech: layers that go along the chunks and across them by turns, each with a residual."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = nn.LSTM(1, 3, bidirectional=True, batch_first=True)
        self.across = nn.GRU(6, 6, batch_first=True)

    def forward(self, audio: Tensor) -> Tensor:
        batch = len(audio)
        inside, _ = self.inside(audio.reshape(-1, 6, 1))
        chunks = inside.view(batch, -1, 6, 6).transpose(1, 2).contiguous()
        across, _ = self.across(chunks.view(batch * 6, -1, 6))
        return (across.contiguous().view(chunks.shape) + chunks).flatten(1)


class Speaker(nn.Module):
    """Text to speech: packed symbols through an encoder, then cells that attend to it and to their own last frame."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.LSTM(1, 3, batch_first=True, bidirectional=True)
        self.attention = nn.LSTMCell(2 + 6, 5)
        self.decoder = nn.LSTMCell(5 + 6, 4)
        self.query, self.frame = nn.Linear(5, 6), nn.Linear(4, 2)

    def forward(self, audio: Tensor) -> Tensor:
        self.encoder.flatten_parameters()
        lengths = torch.tensor([24, 9, 17])
        packed = pack_padded_sequence(audio[..., None], lengths, batch_first=True, enforce_sorted=False)
        memory, _ = pad_packed_sequence(self.encoder(packed)[0], batch_first=True, total_length=audio.shape[1])
        frame, context = audio.new_zeros(3, 2), memory[:, 0]
        first, second, frames = None, None, []
        for _ in range(5):
            first = self.attention(torch.cat([frame, context], -1), first)
            weights = (memory @ self.query(first[0])[..., None]).softmax(1)
            context = (weights * memory).sum(1)
            second = self.decoder(torch.cat([first[0], context], -1), second)
            frame = self.frame(second[0])
            frames.append(frame)
        return torch.cat(frames, -1)


class Translator(nn.Module):
    """An encoder whose last states, both directions together, are what a decoder of two layers begins with."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.GRU(1, 3, 2, bidirectional=True, dropout=0.3)
        self.decoder = nn.GRU(1, 6, 2)
        for name, parameter in self.named_parameters():
            if "weight_hh" in name:
                nn.init.orthogonal_(parameter)

    def forward(self, audio: Tensor) -> Tensor:
        x = audio.t()[..., None]
        _, ends = self.encoder(x)
        layers = ends.view(2, 2, len(audio), 3)
        states = torch.cat([layers[:, 0], layers[:, 1]], -1)
        seen = []
        for step in x[:4]:
            y, states = self.decoder(step[None], states)
            seen.append(y[0])
        return torch.cat(seen, -1)


class DroppedWeights(nn.Module):
    """A language model's regularisation: the recurrent matrix is drawn anew for each call, out of a raw one."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(1, 4, batch_first=True)
        self.raw = nn.Parameter(self.lstm.weight_hh_l0.data)
        self.lstm._parameters["weight_hh_l0"] = self.raw.clone()

    def forward(self, audio: Tensor) -> Tensor:
        self.lstm._parameters["weight_hh_l0"] = F.dropout(self.raw, 0.5, self.training)
        self.lstm._flat_weights = [self.lstm._parameters[name] for name in self.lstm._flat_weights_names]
        return self.lstm(audio[..., None])[0]


def outcome(model: nn.Module) -> tuple[Tensor, list[Tensor]]:
    """The output, and the gradients of all parameters."""
    torch.manual_seed(7)
    output = model(torch.randn(3, 24))
    weights = torch.randn_like(output)
    return output.detach(), list(torch.autograd.grad((output * weights).sum(), [*model.parameters()]))


@pytest.mark.parametrize("make", [Codec, Separator, DualPath, Speaker, Translator])
@pytest.mark.parametrize("backend", ["auto", "llvm"])
def test_models_compute_the_same(make: type[nn.Module], backend: str) -> None:
    torch.manual_seed(5)
    model = make().eval()
    types, names = [type(module) for module in model.modules()], list(model.state_dict())
    want = outcome(model)
    report = accelerate(model, backend)
    assert sum(swap.swapped for swap in report.swaps) > 0
    assert list(model.state_dict()) == names
    assert_parity(outcome(model), want, dtype="float32", steps=24, cell=make.__name__)
    copied = copy.deepcopy(model)
    assert_parity(outcome(copied), want, dtype="float32", steps=24, cell=make.__name__)
    report.undo()
    assert [type(module) for module in model.modules()] == types
    assert_parity(outcome(model)[0], want[0], dtype="float32", steps=1)


def test_a_layer_whose_weights_are_replaced_in_every_call_is_left() -> None:
    model = DroppedWeights()
    (swap,) = accelerate(model).swaps
    assert swap.reason == "its weights are not parameters of its own (weight norm, weight drop, pruning or the like)"
    assert model(torch.ones(2, 3)).shape == (2, 3, 4)


class Compiled(nn.Module):
    """A layer and a cell, for torch.compile."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.cell = nn.LSTM(3, 4), nn.GRUCell(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.cell(self.layer(x)[0][-1])


@torch.no_grad()  # torch.compile warns of gradients of what it passes from one of its graphs to the next
@pytest.mark.parametrize("way", ["torch.compile", "module.compile", "compiled layer"])
def test_models_that_were_compiled_before(way: str) -> None:
    """Their layers are replaced, and what was compiled with the old ones is not used any more."""
    torch.compiler.reset()
    model, x = Compiled(), torch.randn(6, 2, 3)
    want = model(x)
    called: nn.Module = model
    if way == "torch.compile":
        called = torch.compile(model, backend="eager")
    else:
        (model if way == "module.compile" else model.layer).compile(backend="eager")
    called(x)
    report = accelerate(called)
    assert [swap.swapped for swap in report.swaps] == [True, True]
    model.layer.weight_ih_l0.mul_(2)
    changed = called(x)
    report.undo()
    assert_parity(changed, called(x), dtype="float32", steps=6)
    assert (changed - want).abs().max() > 1e-4
    torch.compiler.reset()
