"""gw.nn.FoldedEmbedding before a recurrent layer: what is folded has the same results."""

import copy
import io
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import gatewright as gw
from gatewright.nn.calls import embedding_fold
from gatewright.nn.embedding import rows_of
from gatewright.nn.engine import folded_embedding

EPS = torch.finfo(torch.bfloat16).eps
CLOSE = {torch.float32: {"rtol": 2e-5, "atol": 2e-5}, torch.float64: {"rtol": 1e-11, "atol": 1e-11}}


@pytest.fixture(autouse=True)
def folds_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small batches are folded too."""
    monkeypatch.setattr(embedding_fold, "MIN_PRODUCTS", 0)
    monkeypatch.setattr(embedding_fold, "MIN_FEATURES", {"training": 1, "inference": 1})


@pytest.fixture
def folds(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """An entry for each direction that is folded."""
    calls: list[str] = []
    run = embedding_fold.run_folded

    def counted(*args: object) -> tuple[Tensor, ...]:
        calls.append("folded")
        return run(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(embedding_fold, "run_folded", counted)
    return calls


class Network(nn.Module):
    def __init__(self, layer: nn.Module, vocabulary: int = 5, features: int = 4, **options: object) -> None:
        super().__init__()
        self.embedding: nn.Embedding = gw.nn.FoldedEmbedding(vocabulary, features, **options)  # type: ignore[arg-type]
        self.layer = layer

    def forward(self, symbols: Tensor, *args: object, **options: object) -> tuple[Tensor, ...]:
        output, states = self.layer(self.embedding(symbols), *args, **options)[:2]
        return (output, *(states if isinstance(states, tuple) else (states,)))


def unfolded(network: Network) -> Network:
    """The same network with torch's embedding."""
    other = copy.deepcopy(network)
    plain = nn.Embedding(1, 1)
    plain.__dict__ = other.embedding.__dict__
    other.embedding = plain
    return other


def warm(network: Network, symbols: Tensor, **options: object) -> None:
    """The first call makes the operations; later ones are fast, and may fold."""
    network(symbols, **options)


def check_equal(network: Network, symbols: Tensor, dtype: torch.dtype, **options: object) -> None:
    """Outputs, final states and the gradients of all parameters."""
    other = unfolded(network)
    results = []
    for subject in (network, other):
        warm(subject, symbols, **options)
        subject.zero_grad()
        outputs = subject(symbols, **options)
        torch.manual_seed(1)
        sum((output * torch.randn_like(output)).sum() for output in outputs).backward()
        results.append((outputs, [parameter.grad for parameter in subject.parameters()]))
    for own, expected in zip(*results, strict=True):
        torch.testing.assert_close(own, expected, **CLOSE[dtype])


LAYERS: dict[str, Callable[..., nn.Module]] = {
    "gru": lambda **o: gw.nn.GRU(4, 7, **o),
    "lstm, two levels, both directions": lambda **o: gw.nn.LSTM(4, 7, num_layers=2, bidirectional=True, **o),
    "rnn, batch first": lambda **o: gw.nn.RNN(4, 7, batch_first=True, **o),
    "without biases": lambda **o: gw.nn.GRU(4, 7, bias=False, **o),
    "minimal": lambda **o: gw.nn.Recurrent("mgu", 4, 7, **o),
    "no state in gates": lambda **o: gw.nn.Recurrent("mingru", 4, 7, **o),
}


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_results_and_gradients_are_those_of_every_vector(
    make: Callable[..., nn.Module], dtype: torch.dtype, folds: list[str]
) -> None:
    torch.manual_seed(0)
    network = Network(make(dtype=dtype), dtype=dtype)
    symbols = torch.randint(5, (6, 3))
    check_equal(network, symbols, dtype)
    assert folds
    with torch.no_grad():
        for own, expected in zip(network(symbols), unfolded(network)(symbols), strict=True):
            torch.testing.assert_close(own, expected, **CLOSE[dtype])


@pytest.mark.parametrize("options", [{"lengths": [6, 2, 4]}, {"resets": True}], ids=["lengths", "resets"])
def test_rows_that_end_and_rows_that_start_anew(options: dict[str, object], folds: list[str]) -> None:
    torch.manual_seed(0)
    if "resets" in options:
        options = {"resets": torch.rand(6, 3) < 0.3}
    network = Network(gw.nn.LSTM(4, 7, bidirectional=True, dtype=torch.float64), dtype=torch.float64)
    check_equal(network, torch.randint(5, (6, 3)), torch.float64, **options)
    assert folds


def test_gates_and_initial_states(folds: list[str]) -> None:
    torch.manual_seed(0)
    network = Network(gw.nn.GRU(4, 7))
    symbols, start = torch.randint(5, (6, 3)), torch.randn(1, 3, 7, requires_grad=True)
    results = []
    for subject in (network, unfolded(network)):
        subject.layer(subject.embedding(symbols), start, return_gates=True)
        start.grad = None
        output, _, gates = subject.layer(subject.embedding(symbols), start, return_gates=True)
        (output.sum() + sum(gate.square().sum() for gate in gates.values())).backward()
        results.append((output, gates, start.grad, [parameter.grad for parameter in subject.parameters()]))
    assert folds
    torch.testing.assert_close(*results, **CLOSE[torch.float32])


def test_padding_gets_no_gradient(folds: list[str]) -> None:
    torch.manual_seed(0)
    network = Network(gw.nn.GRU(4, 7), padding_idx=2)
    check_equal(network, torch.randint(5, (6, 3)), torch.float32)
    assert folds
    assert not network.embedding.weight.grad[2].any()


@pytest.mark.parametrize("frozen", ["embedding", "layer"])
def test_frozen_parts(frozen: str, folds: list[str]) -> None:
    torch.manual_seed(0)
    network = Network(gw.nn.GRU(4, 7))
    getattr(network, frozen).requires_grad_(False)
    check_equal(network, torch.randint(5, (6, 3)), torch.float32)
    assert folds


def test_a_table_that_is_the_output_matrix_too(folds: list[str]) -> None:
    torch.manual_seed(0)
    network = Network(gw.nn.GRU(4, 4))
    symbols = torch.randint(5, (6, 3))
    gradients = []
    for subject in (network, unfolded(network)):
        warm(subject, symbols)
        output = subject(symbols)[0] @ subject.embedding.weight.T
        output.square().sum().backward()
        gradients.append([parameter.grad for parameter in subject.parameters()])
    assert folds
    torch.testing.assert_close(*gradients, **CLOSE[torch.float32])


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("how", ["retained", "hook", "autograd.grad", "with the table", "inputs"])
def test_the_gradient_by_the_vectors_is_there_for_whoever_asks(how: str, batch_first: bool, folds: list[str]) -> None:
    torch.manual_seed(0)
    network = Network(gw.nn.GRU(4, 7, batch_first=batch_first, dtype=torch.float64), dtype=torch.float64)
    symbols = torch.randint(5, (6, 3))
    found = []
    for subject in (network, unfolded(network)):
        warm(subject, symbols)
        subject.zero_grad()
        vectors = subject.embedding(symbols)
        loss = subject.layer(vectors)[0].square().sum()
        weight = subject.embedding.weight
        match how:
            case "retained":
                vectors.retain_grad()
                loss.backward()
                found.append((vectors.grad, weight.grad))
            case "hook":
                seen: list[Tensor] = []
                vectors.register_hook(seen.append)  # type: ignore[arg-type]
                loss.backward()
                found.append((*seen, weight.grad))
            case "autograd.grad":
                found.append(torch.autograd.grad(loss, [vectors]))
            case "with the table":
                found.append(torch.autograd.grad(loss, [vectors, weight]))
            case _:
                vectors.retain_grad()
                loss.backward(inputs=[weight, vectors])
                found.append((vectors.grad, weight.grad))
    assert folds
    assert len(found[0]) == len(found[1])
    torch.testing.assert_close(*found, **CLOSE[torch.float64])


@pytest.mark.parametrize("batch_first", [False, True])
def test_vectors_that_became_a_leaf(batch_first: bool, folds: list[str]) -> None:
    torch.manual_seed(0)
    network = Network(gw.nn.GRU(4, 7, batch_first=batch_first, dtype=torch.float64), dtype=torch.float64)
    symbols = torch.randint(5, (6, 3))
    found = []
    for subject in (network, unfolded(network)):
        warm(subject, symbols)
        with torch.no_grad():
            vectors = subject.embedding(symbols)
        vectors.requires_grad_()
        subject.layer(vectors)[0].square().sum().backward()
        assert subject.embedding.weight.grad is None
        found.append(vectors.grad)
    assert folds
    torch.testing.assert_close(*found, **CLOSE[torch.float64])


def test_second_derivatives(folds: list[str]) -> None:
    torch.manual_seed(0)
    network = Network(gw.nn.GRU(4, 5, dtype=torch.float64), dtype=torch.float64)
    symbols = torch.randint(5, (6, 3))
    found = []
    for subject in (network, unfolded(network)):
        warm(subject, symbols)
        subject.zero_grad()
        parameters = list(subject.parameters())
        first = torch.autograd.grad(subject(symbols)[0].square().sum(), parameters, create_graph=True)
        sum(gradient.square().sum() for gradient in first).backward()
        found.append([parameter.grad for parameter in parameters])
    assert folds
    torch.testing.assert_close(*found, **CLOSE[torch.float64])


def test_the_output_may_be_changed_before_the_gradient(folds: list[str]) -> None:
    torch.manual_seed(0)
    network = Network(gw.nn.GRU(4, 7, dtype=torch.float64), dtype=torch.float64)
    symbols = torch.randint(5, (6, 3))
    found = []
    for subject in (network, unfolded(network)):
        warm(subject, symbols)
        subject.zero_grad()
        subject(symbols)[0].mul_(2).square().sum().backward()
        found.append([parameter.grad for parameter in subject.parameters()])
    assert folds
    torch.testing.assert_close(*found, **CLOSE[torch.float64])


def test_the_table_may_be_changed_before_the_gradient(folds: list[str]) -> None:
    torch.manual_seed(0)
    network = Network(gw.nn.GRU(4, 7, dtype=torch.float64), dtype=torch.float64)
    symbols = torch.randint(5, (6, 3))
    found = []
    for subject in (network, unfolded(network)):
        warm(subject, symbols)
        subject.zero_grad()
        loss = subject(symbols)[0].square().sum()
        with torch.no_grad():
            subject.embedding.weight.mul_(3)
        loss.backward()
        found.append([parameter.grad for parameter in subject.parameters()])
    assert folds
    torch.testing.assert_close(*found, **CLOSE[torch.float64])


def test_two_layers_and_two_backward_passes_read_the_same_vectors(folds: list[str]) -> None:
    torch.manual_seed(0)
    network = Network(gw.nn.GRU(4, 7, dtype=torch.float64), dtype=torch.float64)
    second = gw.nn.LSTM(4, 3, dtype=torch.float64)
    symbols = torch.randint(5, (6, 3))
    found = []
    for subject in (network, unfolded(network)):
        warm(subject, symbols)
        subject.zero_grad()
        vectors = subject.embedding(symbols)
        second(vectors)
        loss = subject.layer(vectors)[0].square().sum() + second(vectors)[0].square().sum() + vectors.square().sum()
        loss.backward(retain_graph=True)
        loss.backward()
        found.append([parameter.grad for parameter in subject.parameters()])
    assert len(folds) == 2
    torch.testing.assert_close(*found, **CLOSE[torch.float64])


def in_a_pack(network: Network, symbols: Tensor) -> nn.utils.rnn.PackedSequence:
    return nn.utils.rnn.pack_padded_sequence(network.embedding(symbols), torch.tensor([6, 5, 2]))


CHANGES: dict[str, Callable[[Network, Tensor], Any]] = {
    "scaled": lambda network, symbols: network.embedding(symbols) * 2,
    "scaled in place": lambda network, symbols: network.embedding(symbols).mul_(2),
    "detached": lambda network, symbols: network.embedding(symbols).detach(),
    "packed": in_a_pack,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_other_inputs_are_not_folded(change: Callable[[Network, Tensor], Any], folds: list[str]) -> None:
    network = Network(gw.nn.GRU(4, 7))
    for _ in range(2):
        network.layer(change(network, torch.randint(5, (6, 3))))
    assert not folds


def test_a_table_that_was_changed_since_is_not_used(folds: list[str]) -> None:
    torch.manual_seed(0)
    network = Network(gw.nn.GRU(4, 7))
    symbols = torch.randint(5, (6, 3))
    with torch.no_grad():
        warm(network, symbols)
        vectors = network.embedding(symbols)
        assert rows_of(vectors) is not None
        expected = network.layer(vectors.clone())[0]
        network.embedding.weight.mul_(2)
        assert rows_of(vectors) is None
        torch.testing.assert_close(network.layer(vectors)[0], expected)
    assert not folds


UNCOUNTED = {  # changes that no version counter of torch notices
    "table.data": lambda table, vectors, symbols: table.data.mul_(2),
    "vectors.data": lambda table, vectors, symbols: vectors.data[0].zero_(),
    "array of the vectors": lambda table, vectors, symbols: vectors.detach().numpy().fill(3),
    "array of the symbols": lambda table, vectors, symbols: symbols.numpy().fill(1),
}


@pytest.mark.parametrize("trains", [False, True])
@pytest.mark.parametrize("change", UNCOUNTED.values(), ids=UNCOUNTED)
def test_changes_that_torch_does_not_count_are_noticed(
    change: Callable[[Tensor, Tensor, Tensor], Any], trains: bool, folds: list[str]
) -> None:
    torch.manual_seed(0)
    network = Network(gw.nn.GRU(4, 7))
    warm(network, torch.randint(5, (6, 3)))
    folds.clear()
    for is_changed in (False, True):
        symbols = torch.randint(1, 5, (6, 3))
        with torch.set_grad_enabled(trains):
            vectors = network.embedding(symbols)
            if is_changed:
                change(network.embedding.weight, vectors, symbols)
            expected = network.layer(vectors.clone())[0]
            torch.testing.assert_close(network.layer(vectors)[0], expected)
        assert len(folds) == (not is_changed)
        folds.clear()


def test_in_inference_mode(folds: list[str]) -> None:
    torch.manual_seed(0)
    network = Network(gw.nn.GRU(4, 7))
    with torch.inference_mode():
        symbols = torch.randint(5, (6, 3))
        warm(network, symbols)
        vectors = network.embedding(symbols)
        torch.testing.assert_close(network.layer(vectors)[0], network.layer(vectors.clone())[0])
        assert folds == ["folded"]
        vectors[0] = 0
        torch.testing.assert_close(network.layer(vectors)[0], network.layer(vectors.clone())[0])
        assert folds == ["folded"]


def test_a_factor_of_ones_has_its_gradient(folds: list[str]) -> None:
    network, ones = Network(gw.nn.GRU(4, 7)), torch.ones(4, requires_grad=True)
    warm(network, torch.randint(5, (6, 3)))
    folds.clear()
    network.layer(network.embedding(torch.randint(5, (6, 3))).mul_(ones))[0].sum().backward()
    assert ones.grad is not None
    assert not folds


@pytest.mark.parametrize("options", [{"max_norm": 1.0}, {"sparse": True}, {"scale_grad_by_freq": True}])
def test_tables_that_torch_treats_in_a_special_way_are_not_folded(options: dict[str, object], folds: list[str]) -> None:
    network = Network(gw.nn.GRU(4, 7), **options)
    for _ in range(2):
        network(torch.randint(5, (6, 3)))
    assert not folds


def test_many_rows_few_products_and_narrow_vectors_are_not_folded(
    folds: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = gw.nn.GRU(4, 7)
    many, few = Network(layer, vocabulary=10), Network(layer, vocabulary=9)
    symbols = torch.randint(9, (6, 3))
    warm(many, symbols)
    many(symbols)
    assert not folds
    few(symbols)
    assert folds
    folds.clear()
    for name, value in (("MIN_PRODUCTS", 9 * 4 * 21 + 1), ("MIN_FEATURES", {"training": 5, "inference": 5})):
        with monkeypatch.context() as patch:
            patch.setattr(embedding_fold, name, value)
            few(symbols)
    assert not folds


NARROW_CASES = {  # the dtype of the network, and what autocast is to
    "bfloat16": (torch.bfloat16, None),
    "float16": (torch.float16, None),
    "autocast to bfloat16": (torch.float32, torch.bfloat16),
    "autocast to float16": (torch.float32, torch.float16),
}


@pytest.mark.parametrize("products", [1, 1 << 30], ids=["by the engine", "by torch"])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize(("dtype", "cast"), NARROW_CASES.values(), ids=NARROW_CASES)
def test_narrow_dtypes(
    dtype: torch.dtype,
    cast: torch.dtype | None,
    batch_first: bool,
    products: int,
    folds: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Beside float64: at most 1 % of the largest value and 0.5 % in the root mean square, in the dtypes of torch."""
    monkeypatch.setattr(folded_embedding, "MIN_PRODUCTS", products)
    torch.manual_seed(0)
    network = Network(gw.nn.GRU(32, 64, batch_first=batch_first), vocabulary=20, features=32).to(dtype)
    exact, symbols = unfolded(network).double(), torch.randint(20, (30, 4))
    seeds = torch.randn(30, 4, 64, dtype=dtype)

    def trained(subject: Network) -> list[Tensor]:
        subject.zero_grad()
        with torch.autocast("cpu", cast or torch.bfloat16, enabled=cast is not None and subject is not exact):
            output, state = subject(symbols)
        (output * seeds.to(output.dtype)).sum().backward()
        return [output.detach(), state.detach(), *(x.grad for x in subject.parameters() if x.grad is not None)]

    first, results, right = trained(network), trained(network), trained(exact)
    assert folds == ["folded"]  # the first call makes the operations
    assert [x.dtype for x in results] == [x.dtype for x in first]
    for result, wanted in zip(results, right, strict=True):
        error = (result.double() - wanted).abs()
        assert float(error.max()) <= 0.01 * float(wanted.abs().max())
        assert float(error.norm()) <= 0.005 * float(wanted.norm())


def test_narrow_vectors_have_their_gradient_for_whoever_asks(folds: list[str]) -> None:
    torch.manual_seed(0)
    network = Network(gw.nn.GRU(4, 7)).bfloat16()
    symbols = torch.randint(5, (6, 3))
    results = []
    for subject in (network, unfolded(network)):
        warm(subject, symbols)
        subject.zero_grad()
        vectors = subject.embedding(symbols)
        vectors.retain_grad()
        subject.layer(vectors)[0].float().square().sum().backward()
        results.append((vectors.grad, subject.embedding.weight.grad))
    assert folds
    torch.testing.assert_close(*results, rtol=2 * EPS, atol=2 * EPS)


def test_it_is_an_embedding_of_torchs() -> None:
    torch.manual_seed(0)
    own = gw.nn.FoldedEmbedding(5, 4, padding_idx=1)
    torch.manual_seed(0)
    plain = nn.Embedding(5, 4, padding_idx=1)
    assert isinstance(own, nn.Embedding)
    torch.testing.assert_close(own.weight, plain.weight, rtol=0, atol=0)
    assert own.state_dict().keys() == plain.state_dict().keys()
    vectors = own(torch.tensor([[1, 2]]))
    assert torch.equal(vectors, plain(torch.tensor([[1, 2]])))
    file = io.BytesIO()
    torch.save(vectors, file)
    assert len(file.getvalue()) < 4096


def test_a_table_of_rows_by_their_numbers_is_freed_with_its_vectors() -> None:
    embedding = gw.nn.FoldedEmbedding(5, 4)
    symbols = torch.randint(5, (6, 3))
    reference = weakref.ref(symbols)
    vectors = embedding(symbols)
    assert rows_of(vectors) is not None
    del symbols, vectors
    assert reference() is None


def test_rows_are_summed_in_the_order_of_the_lines() -> None:
    """Results do not depend on chance: the same bits each time."""
    torch.manual_seed(0)
    network = Network(gw.nn.GRU(4, 7))
    symbols = torch.randint(5, (6, 3))
    warm(network, symbols)
    gradients = []
    for _ in range(3):
        network.zero_grad()
        network(symbols)[0].square().sum().backward()
        gradients.append(network.embedding.weight.grad.clone())
    assert torch.equal(gradients[0], gradients[1])
    assert torch.equal(gradients[0], gradients[2])


def test_the_gradients_room_is_used_again() -> None:
    """A run whose gradient is taken late keeps what it needs, whatever other runs do meanwhile."""
    torch.manual_seed(0)
    network = Network(gw.nn.LSTM(4, 7, dtype=torch.float64), dtype=torch.float64)
    other = unfolded(network)
    batches = [torch.randint(5, (6, 3)) for _ in range(3)]
    for subject in (network, other):
        warm(subject, batches[0])
        subject.zero_grad()
        losses = [subject(symbols)[0].square().sum() for symbols in batches]
        for loss in reversed(losses):
            loss.backward()
    for own, expected in zip(network.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(own.grad, expected.grad, **CLOSE[torch.float64])
