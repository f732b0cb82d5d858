"""`resets`: a row of several sequences gives what these give when each is run alone, and no gradient passes a reset."""

import io
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.func import vmap
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import gatewright as gw
from gatewright.backends.llvm.parallel.work_partition import RunCost
from gatewright.backends.llvm.runtime import runner
from gatewright.errors import OptionError, ShapeError
from gatewright.nn import Recurrent
from gatewright.nn.calls import layer_call
from gatewright.nn.calls.layer_call import call_fast
from gatewright.nn.sequence import backward_resets
from tests.backends.llvm.partitions import PartitionWork, by_rows, by_units
from tests.nn.calls.test_recorded import Calls
from tests.parity.matrix import CELLS, sizes_for

STEPS, BATCH, INPUT, HIDDEN = 9, 5, 3, 4
NAMES = [
    "gru", "lstm", "slstm", "sru", "mingru", "lstm_peephole", "lstm_projected", "fastgrnn_low_rank", "scrn",
    "layer_norm(gru)", "masked(lstm)", "residual(gru)", "tau_gru",
]  # fmt: skip
Results = dict[str, Tensor]


def layer(name: str, backend: str = "llvm", **options: Any) -> Recurrent:
    sizes = {axis: size for axis, size in sizes_for(gw.trace.trace_cell(CELLS[name])).items() if axis != "input"}
    hidden = sizes.pop("hidden", HIDDEN)
    width = hidden if name.startswith("residual") else INPUT
    module = Recurrent(CELLS[name], width, hidden, sizes=sizes, backend=backend, dtype=torch.float64, **options)
    with torch.no_grad():
        for weight in module.parameters():
            weight.uniform_(-0.7, 0.7)
    return module


def values_of(module: Recurrent, steps: int = STEPS, batch: int = BATCH) -> Tensor:
    return torch.randn(steps, batch, module.input_size, dtype=torch.float64)


def states_of(module: Recurrent, batch: int = BATCH) -> tuple[Tensor, ...]:
    shapes = ((len(module.packed_cells), batch, *shape) for shape in module.state_shapes)
    return tuple(torch.rand(shape, dtype=torch.float64) + 0.1 for shape in shapes)


def resets_of(kind: str, steps: int = STEPS, batch: int = BATCH) -> Tensor:
    """Where rows start anew. "mixed" has a reset before the first step, before the last one, and none."""
    resets = torch.zeros(steps, batch, dtype=torch.bool)
    if kind == "all":
        resets[:] = True
    elif kind == "first":
        resets[0] = True
    elif kind == "mixed":
        resets = torch.rand(steps, batch) < 0.3
        resets[:, 0] = False
        resets[0, 1:] = False
        resets[0, 1] = resets[-1, 2] = True
        resets[3:5, 3] = True
    return resets


def as_states(finals: Any) -> tuple[Tensor, ...]:
    return finals if isinstance(finals, tuple) else (finals,)


def call(module: Recurrent, values: Tensor, states: tuple[Tensor, ...] | None, **options: Any) -> Any:
    return module(values, states if states is None or len(states) > 1 else states[0], **options)


def by_segments(
    module: Recurrent, values: Tensor, states: tuple[Tensor, ...] | None, resets: Tensor, lengths: list[int]
) -> tuple[Tensor, ...]:
    """The output and final states, each sequence of each row run by itself, operation by operation. The first starts
    from the forward initial states of its row, and the last from the backward ones.
    """
    backend, module.backend = module.backend, "torch"  # no kernels for every number of steps
    outputs, finals = [], []
    initial = states or tuple(torch.zeros_like(state) for state in states_of(module))
    is_backward = torch.tensor([bool(suffix) for _, suffix in module.directions()])
    for row, length in enumerate(lengths):
        starts = [step for step in range(1, length) if resets[step, row]]
        bounds = [0, *starts, length]
        first = [state[:, row : row + 1] for state in initial]
        if length and resets[0, row]:
            first = [state * is_backward[:, None, None] for state in first]
        pieces, ends = [], []
        for number in range(len(bounds) - 1):
            keep = (~is_backward if number == 0 else torch.zeros_like(is_backward)) | (
                is_backward if number == len(bounds) - 2 else torch.zeros_like(is_backward)
            )
            start = tuple(state * keep[:, None, None] for state in first)
            piece, end = call(module, values[bounds[number] : bounds[number + 1], row : row + 1], start)
            pieces.append(piece)
            ends.append(as_states(end))
        padding = values.new_zeros(len(values) - length, 1, pieces[0].shape[-1])
        outputs.append(torch.cat([*pieces, padding]))
        finals.append([torch.where(is_backward[:, None, None], *pair) for pair in zip(ends[0], ends[-1], strict=True)])
    module.backend = backend
    return torch.cat(outputs, 1), *(torch.cat(rows, 1) for rows in zip(*finals, strict=True))


def with_gradients(module: Recurrent, leaves: list[Tensor], results: tuple[Tensor, ...]) -> Results:
    generator = torch.Generator().manual_seed(2)
    flows = [torch.randn(result.shape, dtype=result.dtype, generator=generator) for result in results]
    leaves = [*leaves, *module.parameters()]
    gradients = torch.autograd.grad(results, leaves, flows, allow_unused=True, materialize_grads=True)
    named = {f"result {number}": result for number, result in enumerate(results)}
    return named | {f"gradient {number}": gradient for number, gradient in enumerate(gradients)}


def check_same(got: Results, want: Results) -> None:
    assert got.keys() == want.keys()
    for name, value in got.items():
        torch.testing.assert_close(value, want[name], rtol=1e-12, atol=1e-12, msg=lambda text, n=name: f"{n}: {text}")


def check(module: Recurrent, kind: str, lengths: list[int] | None = None, *, started: bool = True) -> None:
    values = values_of(module).requires_grad_()
    states = tuple(state.requires_grad_() for state in states_of(module)) if started else None
    resets, leaves = resets_of(kind), [values, *(states or ())]
    want = with_gradients(module, leaves, by_segments(module, values, states, resets, lengths or [STEPS] * BATCH))
    for _ in range(2):  # the generic path, then the fast one
        output, finals = call(module, values, states, lengths=lengths, resets=resets)
        check_same(with_gradients(module, leaves, (output, *as_states(finals))), want)
    with torch.no_grad():
        output, finals = call(module, values, states, lengths=lengths, resets=resets)
    check_same({f"result {n}": one for n, one in enumerate((output, *as_states(finals)))}, {
        name: value for name, value in want.items() if name.startswith("result")
    })  # fmt: skip


@pytest.mark.parametrize("backend", ["llvm", "torch"])
@pytest.mark.parametrize("name", NAMES)
def test_rows_are_their_sequences_run_alone(name: str, backend: str) -> None:
    check(layer(name, backend), "mixed")


@pytest.mark.parametrize("backend", ["llvm", "torch"])
@pytest.mark.parametrize("lengths", [None, [4, 0, 9, 7, 1]], ids=["whole", "ragged"])
@pytest.mark.parametrize("kind", ["none", "all", "first", "mixed"])
@pytest.mark.parametrize("name", ["gru", "slstm"])
def test_stacks_of_two_directions(name: str, kind: str, lengths: list[int] | None, backend: str) -> None:
    check(layer(name, backend, num_layers=2, bidirectional=True), kind, lengths)


@pytest.mark.parametrize("make", [gw.nn.RNN, gw.nn.GRU, gw.nn.LSTM])
def test_drop_ins(make: Callable[..., Recurrent]) -> None:
    check(make(INPUT, HIDDEN, bidirectional=True, dtype=torch.float64), "mixed", started=False)


def test_no_resets_give_what_a_call_without_them_gives() -> None:
    module = layer("lstm", num_layers=2)
    values, states = values_of(module), states_of(module)
    check_same(
        {f"{n}": one for n, one in enumerate(_flat(call(module, values, states, resets=torch.zeros(STEPS, BATCH))))},
        {f"{n}": one for n, one in enumerate(_flat(call(module, values, states)))},
    )


def _flat(results: Any) -> tuple[Tensor, ...]:
    output, finals, *gates = results
    return (output, *as_states(finals), *(gate for named in gates for gate in named.values()))


@pytest.mark.parametrize("backend", ["llvm", "torch"])
def test_gates_are_those_of_the_sequences(backend: str) -> None:
    module = layer("gru", backend, bidirectional=True)
    values, resets = values_of(module, 6, 1), torch.tensor([[0], [0], [1], [0], [1], [0]])
    for _ in range(2):
        _, _, gates = module(values, resets=resets, return_gates=True)
        pieces = [module(values[start : start + 2], return_gates=True)[2] for start in (0, 2, 4)]
        check_same(gates, {name: torch.cat([piece[name] for piece in pieces]) for name in pieces[0]})


def test_every_form_of_input() -> None:
    options = {"num_layers": 2, "bidirectional": True}
    module, first = layer("gru", **options), layer("gru", batch_first=True, **options)
    first.load_state_dict(module.state_dict())
    values, resets = values_of(module), resets_of("mixed")
    output, final = module(values, resets=resets)
    for dtype in (torch.bool, torch.int64, torch.float32, torch.float64):
        for _ in range(2):
            turned, turned_final = first(values.transpose(0, 1), resets=resets.T.to(dtype))
            check_same({"output": turned.transpose(0, 1), "final": turned_final}, {"output": output, "final": final})
    single, single_final = module(values[:, 2], resets=resets[:, 2])
    check_same({"output": single, "final": single_final}, {"output": output[:, 2], "final": final[:, 2]})
    listed, _ = module(values, resets=resets.tolist())  # type: ignore[arg-type]
    assert torch.equal(listed, output)
    lengths = torch.tensor([4, 2, 9, 7, 1])
    packed, packed_final = module(pack_padded_sequence(values, lengths, enforce_sorted=False), resets=resets)
    want, want_final = module(values, lengths=lengths, resets=resets)
    check_same({"output": pad_packed_sequence(packed)[0], "final": packed_final}, {"output": want, "final": want_final})


def test_no_steps_and_no_rows() -> None:
    module = layer("lstm", num_layers=2, bidirectional=True)
    states = states_of(module)
    output, finals = module(values_of(module, 0), states, resets=torch.ones(0, BATCH))
    assert output.shape == (0, BATCH, 2 * module.hidden_size)
    check_same({"h": finals[0], "c": finals[1]}, {"h": states[0], "c": states[1]})
    output, _ = module(values_of(module, STEPS, 0), resets=torch.ones(STEPS, 0))
    assert output.shape == (STEPS, 0, 2 * module.hidden_size)


@pytest.mark.parametrize("backend", ["llvm", "torch"])
def test_a_row_that_waits_starts_anew_all_the_same(backend: str) -> None:
    module = layer("lstm", backend)
    values, (h, c) = values_of(module, 4, 1), states_of(module, 1)
    mask, resets = torch.tensor([[1], [1], [0], [1]]), torch.tensor([[0], [0], [1], [0]])
    output, _ = module(values, (h, c), mask=mask, resets=resets)
    assert not output[2].any()
    check_same({"before": output[:2], "after": output[3:]}, {
        "before": module(values[:2], (h, c))[0], "after": module(values[3:])[0],
    })  # fmt: skip


def test_the_order_of_resets_backwards() -> None:
    resets = torch.tensor([[1, 0], [0, 0], [1, 1]])
    assert backward_resets(resets).tolist() == [[0, 0], [1, 1], [0, 0]]
    assert backward_resets(resets[:0]).shape == (0, 2)


@pytest.mark.parametrize("lengths", [None, [3, 0, 2]], ids=["whole", "ragged"])
@pytest.mark.parametrize("backend", ["llvm", "torch"])
def test_the_gradient_is_right_and_differentiable(backend: str, lengths: list[int] | None) -> None:
    module = Recurrent("gru", 2, 2, bidirectional=True, backend=backend, dtype=torch.float64)
    values, resets = values_of(module, 3, 3).requires_grad_(), torch.tensor([[0, 1, 0], [1, 0, 0], [0, 1, 1]])
    (start,) = (state.requires_grad_() for state in states_of(module, 3))
    weights = list(module.parameters())

    def run(values: Tensor, start: Tensor, *weights: Tensor) -> Any:
        named = dict(zip([name for name, _ in module.named_parameters()], weights, strict=True))
        return torch.func.functional_call(module, named, (values, start), {"lengths": lengths, "resets": resets})

    assert gradcheck(run, (values, start, *weights))
    assert gradgradcheck(run, (values, start, *weights))


@pytest.mark.parametrize("backend", ["llvm", "torch"])
def test_nothing_of_an_earlier_sequence_reaches_a_later_one(backend: str) -> None:
    """Not even a state that is not finite."""
    module = layer("lstm", backend)
    values = values_of(module, 6, 1)
    values[2] = torch.inf
    values.requires_grad_()
    resets = torch.tensor([0, 0, 0, 1, 0, 0])[:, None]
    output, _ = module(values, resets=resets)
    assert output[:2].isfinite().all()
    (gradient,) = torch.autograd.grad(output[3:].sum(), values)
    assert gradient[3:].isfinite().all()
    check_same({"output": output[3:]}, {"output": module(values[3:])[0]})
    output, _ = module(values.detach().masked_fill(values.isinf(), 1.0).requires_grad_(), resets=resets)
    _, finals = module(leaf := values.detach().masked_fill(values.isinf(), 1.0).requires_grad_(), resets=resets)
    (gradient,) = torch.autograd.grad(finals[1].sum(), leaf)
    assert not gradient[:3].any()
    assert gradient[3:].any()


def test_initial_states_of_rows_that_start_anew_have_no_gradient() -> None:
    module = layer("lstm")
    states = tuple(state.requires_grad_() for state in states_of(module, 2))
    output, _ = module(values_of(module, 3, 2), states, resets=torch.tensor([[0, 1], [0, 0], [0, 0]]))
    for gradient in torch.autograd.grad(output.sum(), states):
        assert gradient[:, 0].any()
        assert not gradient[:, 1].any()


def test_resets_may_be_changed_after_the_call() -> None:
    module = layer("gru")
    values, resets = values_of(module), resets_of("mixed").double()
    for create_graph in (False, False, True):
        wanted = module(values, resets=resets)[0].sum()
        want = torch.autograd.grad(wanted, module.W_l0, create_graph=create_graph)
        marks = resets.clone()
        output, _ = module(values, resets=marks)
        marks.zero_()
        assert torch.equal(torch.autograd.grad(output.sum(), module.W_l0, create_graph=create_graph)[0], want[0])


def test_the_fast_path_takes_calls_with_resets(monkeypatch: pytest.MonkeyPatch) -> None:
    module = layer("gru", num_layers=2, bidirectional=True)
    values, resets = values_of(module), resets_of("mixed")
    arguments = (module, values, None, None, False)
    assert call_fast(*arguments, resets) is None  # nothing was made for it yet
    want = module(values, resets=resets)
    assert call_fast(*arguments, resets) is not None
    assert call_fast(*arguments) is None  # which has operations of its own
    assert call_fast(*arguments, resets[:-1]) is None
    monkeypatch.setattr(layer_call, "call_generic", None)
    assert torch.equal(module(values, resets=resets)[0], want[0])


def test_dropout_and_random_values_are_drawn_as_without_resets() -> None:
    module = layer("zoneout(lstm)", num_layers=2, dropout=0.5)
    values = values_of(module)
    found = []
    for resets in (None, torch.zeros(STEPS, BATCH)):
        torch.manual_seed(3)
        found.append(module(values, resets=resets)[0])
    check_same({"output": found[1]}, {"output": found[0]})


# Graphs and transforms.


@pytest.mark.parametrize("lengths", [None, [4, 0, 9, 7, 1]], ids=["whole", "ragged"])
def test_torch_compile(lengths: list[int] | None) -> None:
    torch._dynamo.reset()
    module = layer("lstm", bidirectional=True)
    ends = None if lengths is None else torch.tensor(lengths)
    values, resets = values_of(module).requires_grad_(), resets_of("mixed")
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    got, want = (
        with_gradients(module, [values], _flat(run(values, lengths=ends, resets=resets))) for run in (compiled, module)
    )
    check_same(got, want)


def test_vmap() -> None:
    module = layer("gru")
    values = torch.randn(3, STEPS, BATCH, INPUT, dtype=torch.float64)
    resets = torch.stack([resets_of("mixed") for _ in range(3)])
    want = torch.stack([module(x, resets=marks)[0] for x, marks in zip(values, resets, strict=True)])
    check_same({"": vmap(lambda x, marks: module(x, resets=marks)[0])(values, resets)}, {"": want})
    want = torch.stack([module(x, resets=resets[0])[0] for x in values])
    check_same({"": vmap(lambda x: module(x, resets=resets[0])[0])(values)}, {"": want})


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning:torch")
@pytest.mark.parametrize("dynamo", [True, False], ids=["dynamo", "torchscript"])
def test_an_exported_layer_takes_resets(dynamo: bool) -> None:
    module = gw.nn.GRU(INPUT, HIDDEN, bidirectional=True).eval()
    model = Calls(module, lambda layer, x, resets: layer(x, resets=resets)).eval()
    example = (torch.randn(5, 2, INPUT), torch.zeros(5, 2))
    file = io.BytesIO()
    steps, batch = torch.export.Dim("steps"), torch.export.Dim("batch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            shapes = ((({0: steps, 1: batch}, {0: steps, 1: batch})),)
            torch.onnx.export(model, example, dynamo=True, dynamic_shapes=shapes, verbose=False).save(file)
        else:
            axes = {name: {0: "steps", 1: "batch"} for name in ("x", "resets")}
            torch.onnx.export(model, example, file, dynamo=False, input_names=["x", "resets"], dynamic_axes=axes)
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    for extent in ((STEPS, BATCH), (1, 1)):
        x, resets = torch.randn(*extent, INPUT), resets_of("mixed" if extent[0] > 1 else "all", *extent).float()
        names = [value.name for value in session.get_inputs()]
        results = session.run(None, dict(zip(names, (x.numpy(), resets.numpy()), strict=True)))
        for result, want in zip(results, model(x, resets), strict=True):
            np.testing.assert_allclose(result, want.detach().numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_torch_jit_trace_records_resets() -> None:
    module = layer("lstm")
    model = Calls(module, lambda layer, x, resets: layer(x, resets=resets))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        traced = torch.jit.trace(model, (values_of(module, 4, 2), torch.ones(4, 2)))
    values, resets = values_of(module), resets_of("mixed").float()
    check_same(dict(enumerate(traced(values, resets))), dict(enumerate(model(values, resets))))  # type: ignore[arg-type]


def test_torch_fx_records_resets() -> None:
    module = layer("gru")

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = module

        def forward(self, x: Tensor, resets: Tensor) -> Tensor:
            return self.layer(x, resets=resets)[0]

    values, resets = values_of(module), resets_of("mixed")
    assert torch.equal(torch.fx.symbolic_trace(Model())(values, resets), module(values, resets=resets)[0])


# What does not fit.


def test_torch_s_fused_function_is_refused_by_name() -> None:
    module = gw.nn.GRU(INPUT, HIDDEN, backend="torch-fused")
    with pytest.raises(OptionError) as raised:
        module(torch.randn(4, 2, INPUT), resets=torch.zeros(4, 2))
    assert str(raised.value) == (
        "backend 'torch-fused' cannot run 'gru(reset=\"after\")' here\n"
        "  expected: the equations of torch.nn's RNN, GRU or LSTM, called without a mask, resets or return_gates\n"
        "  got: it knows no resets\n"
        "  do: use backend='auto' or 'torch'"
    )


@pytest.mark.parametrize(
    ("marks", "got"),
    [
        ("x", "str, of which torch makes no tensor: new(): invalid data type 'str'"),
        ([[1, 0], [0]], "list, of which torch makes no tensor: expected sequence of length 2 at dim 1 (got 1)"),
        ({}, "dict, of which torch makes no tensor: Could not infer dtype of dict"),
    ],
)
@pytest.mark.parametrize(("name", "what"), [("resets", "resets that do not fit"), ("mask", "a mask that does not fit")])
def test_marks_of_which_no_tensor_can_be_made(name: str, what: str, marks: Any, got: str) -> None:
    module = Recurrent("gru", INPUT, HIDDEN)
    with pytest.raises(ShapeError) as raised:
        module(torch.randn(4, 2, INPUT), **{name: marks})
    assert str(raised.value) == (
        f"Recurrent(gru) was given {what}\n"
        "  expected: a tensor or an array of shape (4, 2), one number a step and row\n"
        f"  got: {got}"
    )


def test_resets_in_a_list_or_an_array_are_those_in_a_tensor() -> None:
    module, values, marks = Recurrent("gru", INPUT, HIDDEN), torch.randn(4, 2, INPUT), resets_of("some", 4, 2)
    want = module(values, resets=marks)[0]
    for given in (marks.tolist(), marks.numpy()):
        assert torch.equal(module(values, resets=given)[0], want)


@pytest.mark.parametrize(
    ("batch_first", "shape", "got", "expected"),
    [
        (False, (4, 2, INPUT), (2, 4), "(4, 2), one number a step and row"),
        (True, (2, 4, INPUT), (4, 2), "(2, 4), one number a step and row"),
        (False, (4, INPUT), (3,), "(4,), one number a step and row"),
    ],
)
def test_resets_that_do_not_fit(batch_first: bool, shape: tuple[int, ...], got: tuple[int, ...], expected: str) -> None:
    module = Recurrent("gru", INPUT, HIDDEN, batch_first=batch_first)
    for _ in range(2):
        if len(shape) == 3:
            module(torch.randn(shape), resets=torch.zeros(shape[:2]))
        with pytest.raises(ShapeError) as raised:
            module(torch.randn(shape), resets=torch.zeros(got))
        assert str(raised.value) == (
            f"Recurrent(gru) was given resets that do not fit\n  expected: {expected}\n  got: {got}"
        )


@pytest.mark.parametrize(
    "lengths", [None, [7, 3, 0, 7, 5, 6, 1, 7, 4, 7, 2, 7, 7, 6, 7, 7, 5]], ids=["whole", "ragged"]
)
@pytest.mark.parametrize(("way", "hidden"), [(by_rows, 18), (by_units, 35)], ids=["rows", "units"])
def test_results_do_not_depend_on_threads(
    way: PartitionWork, hidden: int, lengths: list[int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "partition_work", way)
    monkeypatch.setattr(RunCost, "is_small", lambda cost, lines: False)
    monkeypatch.setattr(runner, "SPIN_LIMITS", (10**7, 10**7))
    monkeypatch.setattr(runner.contention, "runs_alone", lambda: False)
    module = Recurrent("lstm", INPUT, hidden, bidirectional=True, dtype=torch.float64)
    values, resets = values_of(module, 7, 17).requires_grad_(), resets_of("mixed", 7, 17)
    found = []
    try:
        for threads in (1, 2, 3):
            gw.set_num_threads(threads)
            results = _flat(module(values, lengths=lengths, resets=resets))
            found.append(with_gradients(module, [values], results))
    finally:
        gw.set_num_threads(None)
    for other in found[1:]:
        assert all(torch.equal(found[0][name], other[name]) for name in other)
