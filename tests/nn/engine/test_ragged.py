"""RaggedRows batches on the engine: kernels go through the steps that rows take, and through nothing else."""

from collections.abc import Generator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import gatewright as gw
from gatewright.backends.llvm.parallel.work_partition import RunCost
from gatewright.backends.llvm.runtime import runner
from gatewright.backends.llvm.runtime.active_lines import ActiveLines
from gatewright.backends.llvm.runtime.buffer_plan import BufferPlan
from gatewright.nn import Recurrent
from gatewright.nn.engine import sequence_function
from gatewright.trace import trace_cell
from tests.backends.llvm.partitions import PartitionWork, by_rows, by_units
from tests.parity.assertions import assert_parity
from tests.parity.matrix import CELLS

AXES = {"projection": 2, "context": 4, "input_rank": 2, "hidden_rank": 3}
NAMES = [
    "gru",
    "lstm",
    "layer_norm(gru)",
    "zoneout(lstm)",
    "lstm_peephole",
    "lstm_projected",
    "fastgrnn_low_rank",
    "sru",
]
INPUT = 3
EXTENTS = [(1, 1, 5), (7, 1, 5), (7, 3, 16), (7, 17, 5), (5, 17, 16), (1, 3, 5)]
Results = dict[str, Tensor]


@pytest.fixture(autouse=True)
def _poison() -> Generator[None]:
    """Memory that nobody has written is NaN."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[ActiveLines | None]:
    """The lines that kernels were told to go through, run by run."""
    seen: list[ActiveLines | None] = []
    run = BufferPlan.run

    def noted(self: Any, *given: Any, active: ActiveLines | None = None, **options: Any) -> None:
        seen.append(active)
        run(self, *given, active=active, **options)

    monkeypatch.setattr(BufferPlan, "run", noted)
    return seen


def pair(name: str, hidden: int, **options: Any) -> tuple[Recurrent, Recurrent]:
    """The same layer on the engine and operation by operation."""
    sizes = {axis: AXES[axis] for axis in trace_cell(CELLS[name]).axes() if axis in AXES}
    options = {"sizes": sizes, "dtype": torch.float64, **options}
    compiled, eager = (Recurrent(CELLS[name], INPUT, hidden, backend=one, **options) for one in ("llvm", "torch"))
    with torch.no_grad():
        for weight in compiled.parameters():
            weight.uniform_(-0.7, 0.7)
    eager.load_state_dict(compiled.state_dict())
    return compiled, eager


def lengths_of(kind: str, steps: int, batch: int) -> Tensor | None:
    if kind == "none":
        return None
    if kind == "equal":
        return torch.full((batch,), max(steps - 1, 0))
    lengths = torch.randint(0, steps + 1, (batch,))
    lengths[batch // 2] = 0
    lengths[-1] = steps
    return lengths if kind == "any" else lengths.sort(descending=True).values


def states_of(layer: Recurrent, batch: int) -> tuple[Tensor, ...]:
    rows = layer.num_layers * (2 if layer.bidirectional else 1)
    shapes = ((rows, batch, *shape) for shape in (gw.axes.bind(s.shape, layer.sizes()) for s in layer.trace.states))
    return tuple(torch.randn(shape, dtype=torch.float64) for shape in shapes)


def results(layer: Recurrent, values: Tensor, lengths: Tensor | None, starts: tuple[Tensor, ...] | None) -> Results:
    """Outputs, final states and the gradients by all that went in, for a loss that sees all.

    In padding there is NaN, and so is what the loss says of it.
    """
    torch.manual_seed(1)  # of zoneout
    steps = len(values)
    ends = torch.full(values.shape[1:2], steps) if lengths is None else lengths
    idle = torch.arange(steps)[:, None] >= ends
    values = values.masked_fill(idle[..., None], torch.nan).requires_grad_()
    starts = starts and tuple(one.clone().requires_grad_() for one in starts)
    given = starts if starts is None or len(starts) > 1 else starts[0]
    output, finals = layer(values, given, lengths=lengths)
    finals = finals if isinstance(finals, tuple) else (finals,)
    generator = torch.Generator().manual_seed(2)
    seen = [(one, torch.randn(one.shape, dtype=one.dtype, generator=generator)) for one in (output, *finals)]
    seen[0] = (output, seen[0][1].masked_fill(idle[..., None], torch.nan))
    leaves = {"x": values, **dict(layer.named_parameters())}
    leaves |= {f"start{number}": one for number, one in enumerate(starts or ())}
    grads = torch.autograd.grad([one for one, _ in seen], list(leaves.values()), [flow for _, flow in seen])
    found = {f"d({name})": one for name, one in zip(leaves, grads, strict=True)}
    assert not output[idle].any()
    assert not found["d(x)"][idle].any()
    return {"output": output, **{f"final{n}": one for n, one in enumerate(finals)}, **found}


def check(compiled: Recurrent, eager: Recurrent, steps: int, batch: int, kind: str, *, started: bool = True) -> None:
    values, lengths = torch.randn(steps, batch, INPUT, dtype=torch.float64), lengths_of(kind, steps, batch)
    starts = states_of(compiled, batch) if started else None
    got, want = (results(layer, values, lengths, starts) for layer in (compiled, eager))
    assert_parity(got, want, dtype="float64", steps=steps, width=256, cell=compiled.trace.name)
    with torch.no_grad():
        alone, _ = compiled.eval()(values, lengths=lengths)
        assert_parity(alone, eager.eval()(values, lengths=lengths)[0], dtype="float64", steps=steps, width=256)


@pytest.mark.parametrize("extent", EXTENTS, ids=str)
@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_odd_sizes(name: str, extent: tuple[int, int, int], runs: list[ActiveLines | None]) -> None:
    steps, batch, hidden = extent
    for kind in ("any", "sorted", "equal"):
        check(*pair(name, hidden), steps, batch, kind)
    assert any(runs)


@pytest.mark.parametrize("options", [{}, {"bidirectional": True, "num_layers": 2}], ids=["one", "several"])
@pytest.mark.parametrize("name", NAMES)
def test_cells(name: str, options: dict[str, Any], runs: list[ActiveLines | None]) -> None:
    if options and trace_cell(CELLS[name]).noises:
        options = {"num_layers": 2}  # eager draws run forwards in either direction
    for started in (False, True):
        check(*pair(name, 5, **options), 7, 6, "any", started=started)
    assert all(runs)  # nothing took the way by a mask


def test_random_values_backwards(runs: list[ActiveLines | None]) -> None:
    """The same numbers are drawn for a layer that is given a mask, and goes all steps of all rows."""
    compiled, _ = pair("zoneout(lstm)", 5, bidirectional=True)
    values, lengths = torch.randn(7, 6, INPUT, dtype=torch.float64), lengths_of("any", 7, 6)
    found: list[Any] = []
    for mask in (None, torch.ones(7, 6)):
        torch.manual_seed(3)
        found.append(compiled(values, lengths=lengths, mask=mask))
    assert_parity(*found, dtype="float64", steps=7)
    assert [active is None for active in runs[:2]] == [False, False]


def test_nothing_is_taken_by_any_row(runs: list[ActiveLines | None]) -> None:
    compiled, _ = pair("lstm", 5)
    starts = states_of(compiled, 3)
    got = results(compiled, torch.randn(4, 3, INPUT, dtype=torch.float64), torch.zeros(3, dtype=torch.int64), starts)
    assert torch.equal(got["final0"], starts[0])
    assert torch.equal(got["final1"], starts[1])
    assert not any(got[f"d({name})"].any() for name, _ in compiled.named_parameters())
    assert [active.count for active in runs if active] == [0, 0]


def test_no_steps_at_all() -> None:
    compiled, _ = pair("gru", 5)
    (start,) = states_of(compiled, 3)
    output, final = compiled(torch.randn(0, 3, INPUT, dtype=torch.float64), start, lengths=[0, 0, 0])
    assert output.shape == (0, 3, 5)
    assert torch.equal(final, start)


def test_rows_of_full_length_are_a_dense_batch(runs: list[ActiveLines | None]) -> None:
    compiled, _ = pair("gru", 5)
    values = torch.randn(4, 3, INPUT, dtype=torch.float64)
    assert torch.equal(compiled(values, lengths=[4, 4, 4])[0], compiled(values)[0])
    assert runs == [None, None]


@pytest.mark.parametrize("enforce_sorted", [False, True])
def test_packed_sequences(enforce_sorted: bool, runs: list[ActiveLines | None]) -> None:
    compiled, eager = pair("lstm", 5, bidirectional=True)
    lengths = torch.tensor([6, 4, 4, 1] if enforce_sorted else [4, 6, 1, 4])
    values = torch.randn(6, 4, INPUT, dtype=torch.float64)
    packed = pack_padded_sequence(values, lengths, enforce_sorted=enforce_sorted)
    got, want = compiled(packed), eager(values, lengths=lengths)
    assert_parity(pad_packed_sequence(got[0])[0], want[0], dtype="float64", steps=6)
    assert_parity(got[1], want[1], dtype="float64", steps=6)
    assert all(runs)


@pytest.mark.parametrize(("way", "hidden"), [(by_rows, 18), (by_units, 35)], ids=["rows", "units"])
def test_results_do_not_depend_on_threads_or_on_other_rows(
    way: PartitionWork, hidden: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "partition_work", way)
    monkeypatch.setattr(RunCost, "is_small", lambda cost, lines: False)
    monkeypatch.setattr(runner, "SPIN_LIMITS", (10**7, 10**7))
    monkeypatch.setattr(runner.contention, "runs_alone", lambda: False)
    compiled, _ = pair("layer_norm(gru)", hidden, bidirectional=True)
    values, starts = torch.randn(7, 17, INPUT, dtype=torch.float64), states_of(compiled, 17)
    lengths = lengths_of("any", 7, 17)
    assert lengths is not None
    try:
        found = []
        for threads in (1, 2, 3, 5):
            gw.set_num_threads(threads)
            found.append(results(compiled, values, lengths, starts))
    finally:
        gw.set_num_threads(None)
    for other in found[1:]:
        assert all(torch.equal(found[0][name], other[name]) for name in other)
    dense, _ = compiled(values, starts[0])
    whole = lengths == 7
    assert torch.equal(found[0]["output"][:, whole], dense[:, whole])


@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_gradient_is_differentiable(bidirectional: bool) -> None:
    compiled, _ = pair("gru", 2, bidirectional=bidirectional)
    lengths = torch.tensor([1, 3, 0])
    values = torch.randn(3, 3, INPUT, dtype=torch.float64).requires_grad_()
    (start,) = states_of(compiled, 3)
    start.requires_grad_()
    assert gradcheck(lambda v, s: compiled(v, s, lengths=lengths), (values, start))
    assert gradgradcheck(lambda v, s: compiled(v, s, lengths=lengths), (values, start))


@pytest.mark.parametrize("kind", ["none", "any"])
@pytest.mark.parametrize("name", ["antisymmetric_rnn", "lstm(forget_bias=1.0)", "fastrnn", "layer_norm(lstm)"])
def test_cells_that_compute_something_of_their_parameters(
    name: str, kind: str, runs: list[ActiveLines | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the kernels, or of the sums that gradients are made of: that is done on packed parameters too."""
    monkeypatch.delattr(sequence_function, "run_named")  # which is how tensors by name are served
    check(*pair(name, 5, num_layers=2), 4, 3, kind)
    assert runs


def test_lengths_may_be_changed_after_the_call() -> None:
    compiled, _ = pair("gru", 5)
    values, lengths = torch.randn(3, 2, INPUT, dtype=torch.float64), torch.tensor([1, 3])
    want = torch.autograd.grad(compiled(values, lengths=[1, 3])[0].sum(), compiled.W_l0, create_graph=True)
    output, _ = compiled(values, lengths=lengths)
    lengths.fill_(2)
    got = torch.autograd.grad(output.sum(), compiled.W_l0, create_graph=True)
    assert_parity(got, want, dtype="float64", steps=3)


def test_a_cell_with_a_mask_of_its_own() -> None:
    check(*pair("masked(gru)", 5), 5, 4, "any")


def test_active_lines_and_their_division() -> None:
    active = ActiveLines(np.array([1, 3, 0, 2, 3]), 4)
    assert active.lines.tolist() == [1, 4, 3, 0, 6, 9, 8, 11, 14]
    assert active.starts.tolist() == [0, 4, 7, 9, 9]
    assert list(active.edges(1)) == [0, 5]
    assert list(active.edges(2)) == [0, 2, 5]  # 6 of 9 steps are those of the first two rows
    assert active.edges(0) is None
