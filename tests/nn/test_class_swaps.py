"""accelerate and what is no recurrent layer: linear layers where they measure faster, embeddings, and the way back."""

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from gatewright.errors import OptionError
from gatewright.nn import FoldedEmbedding, Linear, accelerate, class_swaps
from gatewright.nn.calls import embedding_fold


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 8)
        self.other = nn.Embedding(5, 9)
        self.layer = nn.GRU(8, 256)
        self.head = nn.Linear(256, 256)
        self.again = self.head
        self.small = nn.Linear(256, 3)

    def forward(self, symbols: Tensor) -> Tensor:
        return self.small(self.head(self.layer(self.embedding(symbols))[0]) + self.other(symbols).sum())


@pytest.fixture(autouse=True)
def is_faster(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets what is measured; 1.5 at first."""

    def times(value: float) -> None:
        monkeypatch.setattr(class_swaps, "times_as_fast", lambda *_: value)

    times(1.5)
    return times


def test_the_report_says_what_was_done_and_why(is_faster: Callable[[float], None]) -> None:
    model = Model()
    layer, embedding, head = str(accelerate(model)).splitlines()
    assert layer.startswith("layer (GRU): swapped, llvm: ")
    assert embedding == (
        "embedding (Embedding): swapped, a recurrent layer multiplies its table once where it has at most half as many "
        "rows as a batch has steps"
    )
    assert head == (
        "head (Linear): swapped, with 256 rows, a step of a layer of about this size is 1.50 times as fast as torch's; "
        "with little work it is torch's"
    )
    assert type(model.head) is Linear
    assert type(model.embedding) is FoldedEmbedding
    assert type(model.small) is nn.Linear
    assert type(model.other) is nn.Embedding
    assert str(accelerate(model)) == "the model has no recurrent layer"
    is_faster(1.02)
    assert str(accelerate(nn.Sequential(nn.Linear(256, 256)))) == (
        "0 (Linear): left, too little to gain here: with 256 rows, a step of a layer of about this size is 1.02 times "
        "as fast as torch's"
    )


def test_other_dtypes_are_left() -> None:
    (swap,) = accelerate(nn.Sequential(nn.Linear(256, 256, dtype=torch.complex64))).swaps
    assert not swap.swapped
    assert swap.reason == "the engine runs floating-point numbers on the CPU, and this is complex64 on cpu"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_layers_go_to_the_engine_where_torch_has_no_instructions_for_them(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = str(dtype).removeprefix("torch.")
    for has, reason in (
        (True, f"this processor multiplies {name}: torch is as fast"),
        (False, f"this processor has no instructions that multiply {name}"),
    ):
        monkeypatch.setattr(class_swaps, "has_instructions", lambda dtype, has=has: has)
        model = nn.Sequential(nn.Linear(256, 256, dtype=dtype))
        (swap,) = accelerate(model).swaps
        assert (swap.swapped, swap.reason) == (not has, reason)
        assert type(model[0]) is (nn.Linear if has else Linear)


def test_a_special_embedding_is_left() -> None:
    swaps = accelerate(nn.Sequential(nn.Embedding(5, 8, max_norm=1.0), nn.GRU(8, 3))).swaps
    assert [(swap.name, swap.swapped) for swap in swaps] == [("1", True), ("0", False)]
    assert swaps[1].reason == "it has max_norm, sparse or scale_grad_by_freq"


def test_the_objects_names_hooks_and_numbers_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding_fold, "MIN_PRODUCTS", 0)
    monkeypatch.setattr(embedding_fold, "MIN_FEATURES", {"training": 1, "inference": 1})
    model = Model()
    before = copy.deepcopy(model)
    head, names, calls = model.head, list(model.state_dict()), []
    model.head.register_forward_hook(lambda *_: calls.append("called"))
    accelerate(model)
    assert model.head is head is model.again
    assert list(model.state_dict()) == names
    symbols = torch.randint(5, (40, 8))
    for _ in range(2):
        model.zero_grad()
        model(symbols).square().sum().backward()
    before(symbols).square().sum().backward()
    assert calls == ["called", "called"]
    for (name, own), expected in zip(model.named_parameters(), before.parameters(), strict=True):
        difference = (own.grad - expected.grad).abs().max() / expected.grad.abs().max()  # type: ignore[union-attr, operator]
        assert difference < 1e-4, name


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_are_accelerated_too(copied: Callable[[Model], Model]) -> None:
    model = Model()
    accelerate(model)
    other = copied(model)
    assert type(other.head) is Linear
    assert type(other.embedding) is FoldedEmbedding
    symbols = torch.randint(5, (4, 2))
    torch.testing.assert_close(other(symbols), model(symbols))


def test_undo() -> None:
    model = Model()
    report = accelerate(model)
    report.undo()
    assert type(model.head) is nn.Linear
    assert type(model.embedding) is nn.Embedding
    assert type(model.layer) is nn.GRU


def test_undo_after_another_class_has_come() -> None:
    model = Model()
    report = accelerate(model)
    parametrizations.weight_norm(model.head)
    with pytest.raises(
        OptionError,
        match=r"the layer 'head' cannot be put back\n  expected: it as accelerate left it\n"
        r"  got: its class is ParametrizedLinear by now\n  do: remove weight norm, pruning or the like first",
    ):
        report.undo()
    assert type(model.embedding) is FoldedEmbedding


def test_modules_with_a_forward_or_computed_weights_of_their_own_are_left() -> None:
    own, computed = nn.Linear(256, 256), parametrizations.weight_norm(nn.Linear(256, 256))
    own.forward = lambda input: input  # type: ignore[method-assign]
    assert accelerate(nn.Sequential(own, computed)).swaps == ()


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize(
    "record",
    [
        torch.jit.trace,
        lambda model, _: torch.fx.symbolic_trace(model),
        lambda model, symbols: torch.export.export(model, (symbols,)).module(),
        lambda model, _: torch.compile(model, backend="eager", fullgraph=True),
    ],
    ids=["jit.trace", "fx", "export", "compile"],
)
def test_accelerated_parts_are_recorded(record: Callable[[nn.Module, Tensor], Callable[[Tensor], Tensor]]) -> None:
    model = nn.Sequential(nn.Embedding(5, 256), nn.Linear(256, 256)).eval()
    model[0].__class__, model[1].__class__ = FoldedEmbedding, Linear
    symbols = torch.randint(5, (130, 1))
    torch.testing.assert_close(record(model, symbols)(symbols), model(symbols))


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_scripted_part_is_torchs() -> None:
    scripted = torch.jit.script(nn.Sequential(FoldedEmbedding(5, 4, padding_idx=1), Linear(4, 3)))
    assert scripted(torch.randint(5, (3, 2))).shape == (3, 2, 3)


def test_what_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    state = torch.get_rng_state()
    with torch.inference_mode():
        times = class_swaps.times_as_fast(256, 256, torch.float32)
    assert times > 0
    assert times == class_swaps.times_as_fast(256, 256, torch.float32)  # kept
    assert torch.equal(torch.get_rng_state(), state)
