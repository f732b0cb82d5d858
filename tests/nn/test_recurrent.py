"""`Recurrent`: any cell as a torch layer, against the reference, and as a citizen of torch."""

import copy
import io
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import gatewright as gw
from gatewright import cells
from gatewright.backends import numpy_ref
from gatewright.errors import CellError, OptionError, ShapeError
from gatewright.lang import Cell
from gatewright.nn import Recurrent
from gatewright.trace import Trace, to_text, trace_cell
from tests.parity.assertions import assert_parity

INPUT, HIDDEN, STEPS, BATCH = 3, 5, 7, 4
AXES = {"projection": 2, "context": 4, "input_rank": 2, "hidden_rank": 3}
RAGGED = [2, 0, 7, 5]


def layer(cell: str | Cell | Trace, *, input_size: int = INPUT, hidden_size: int = HIDDEN, **options: Any) -> Recurrent:
    """A layer of small sizes, float64 unless said, with the sizes that its cell asks for."""
    trace = cell if isinstance(cell, Trace) else trace_cell(cells.get(cell) if isinstance(cell, str) else cell)
    sizes = {axis: AXES[axis] for axis in trace.axes() if axis in AXES}
    return Recurrent(cell, input_size, hidden_size, sizes=sizes, **{"dtype": torch.float64, **options})


def x(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape or (STEPS, BATCH, INPUT), dtype=dtype)


def as_tuple(states: Any) -> tuple[Tensor, ...]:
    return states if isinstance(states, tuple) else (states,)


def arrays(tensors: dict[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: tensor.detach().numpy() for name, tensor in tensors.items()}


def reversed_rows(values: np.ndarray, lengths: list[int]) -> np.ndarray:
    """Each row's own steps in reverse."""
    turned = values.copy()
    for row, length in enumerate(lengths):
        turned[:length, row] = values[:length, row][::-1]
    return turned


def by_reference(module: Recurrent, values: Tensor, lengths: list[int] | None) -> tuple[np.ndarray, list[np.ndarray]]:
    """What a layer gives, put together by hand from runs of the reference."""
    array, finals = values.numpy(), []
    rows = lengths or [STEPS] * BATCH
    named = arrays(module.gate_parameters())
    for index in range(module.num_layers):
        pieces = []
        for suffix in ("", "_reverse") if module.bidirectional else ("",):
            prefix = f"l{index}{suffix}."
            params = {name.removeprefix(prefix): part for name, part in named.items() if name.startswith(prefix)}
            given = {"x": reversed_rows(array, rows) if suffix else array}
            if "mask" in {leaf.name for leaf in module.trace.inputs}:
                given["mask"] = (np.arange(STEPS)[:, None] < np.array(rows)).astype(float)
            run = numpy_ref.run(module.trace, given, params, lengths=rows)
            pieces.append(reversed_rows(run.output, rows) if suffix else run.output)
            finals.append(run.finals)
        array = np.concatenate(pieces, -1)
    return array, [np.stack([final[state.name] for final in finals]) for state in module.trace.states]


LAYERS = [(name, "torch") for name in cells.CATALOGUE]
LAYERS += [(name, "auto") for name in ("gru", "lstm_projected", "sru")]  # any other backend: of a few cells only


@pytest.mark.parametrize("lengths", [None, RAGGED], ids=["whole", "ragged"])
@pytest.mark.parametrize(("name", "backend"), LAYERS)
def test_layers_and_directions_are_what_the_reference_makes_of_them(
    name: str, backend: str, lengths: list[int] | None
) -> None:
    module, values = layer(name, num_layers=2, bidirectional=True, backend=backend), x()
    output, finals = module(values, lengths=lengths)
    want, want_finals = by_reference(module, values, lengths)
    got = {"output": output, "finals": list(as_tuple(finals))}
    assert_parity(got, {"output": want, "finals": want_finals}, dtype="float64", steps=2 * STEPS, cell=name)


@pytest.mark.parametrize(
    "cell",
    [gw.masked(cells.lstm), gw.layer_norm(cells.gru), gw.zoneout(0.3)(cells.sru), gw.masked(gw.residual(cells.gru))],
    ids=lambda cell: cell.name,
)
def test_a_transformed_cell_is_a_layer_too(cell: Cell) -> None:
    module, values = layer(cell, input_size=HIDDEN, num_layers=2).eval(), x(STEPS, BATCH, HIDDEN)
    output, finals = module(values, lengths=RAGGED)
    want, want_finals = by_reference(module, values, RAGGED)
    got = {"output": output, "finals": list(as_tuple(finals))}
    assert_parity(got, {"output": want, "finals": want_finals}, dtype="float64", steps=2 * STEPS, cell=cell.name)


@pytest.mark.parametrize("name", ["gru", "lstm_projected"])
def test_every_form_of_input_gives_its_form_of_output(name: str) -> None:
    options = {"num_layers": 2, "bidirectional": True}
    module = layer(name, **options)
    first = layer(name, **options, batch_first=True)
    first.load_state_dict(module.state_dict())
    values = x()
    output, finals = module(values)
    turned, turned_finals = first(values.transpose(0, 1))
    single, single_finals = module(values[:, 1])
    assert_parity(turned, output.transpose(0, 1), dtype="float64", steps=STEPS)
    assert_parity(single, output[:, 1], dtype="float64", steps=STEPS)
    for final, one, other in zip(*map(as_tuple, (finals, turned_finals, single_finals)), strict=True):
        assert final.shape[:2] == (4, BATCH)
        assert_parity(one, final.clone(), dtype="float64", steps=STEPS)
        assert_parity(other, final[:, 1], dtype="float64", steps=STEPS)


@pytest.mark.parametrize("name", ["gru", "lstm"])
@pytest.mark.parametrize("lengths", [None, [2, 0, 7, 5]], ids=["whole", "ragged"])
def test_in_pieces_with_the_states_handed_on_it_is_what_it_is_whole(name: str, lengths: list[int] | None) -> None:
    module, values = layer(name, num_layers=2), x()
    want = module(values, lengths=lengths)
    states, outputs = None, []
    for start in (0, 3, 6):
        piece = values[start : start + 3]
        left = lengths and [min(max(length - start, 0), len(piece)) for length in lengths]
        output, states = module(piece, states, lengths=left)
        outputs.append(output)
    assert_parity((torch.cat(outputs), states), want, dtype="float64", steps=STEPS, cell=name)


def test_no_steps_and_no_rows() -> None:
    module = layer("lstm", num_layers=2, bidirectional=True)
    h, c = torch.randn(2, 4, BATCH, HIDDEN, dtype=torch.float64)
    output, (h_n, c_n), gates = module(x(0, BATCH, INPUT), (h, c), return_gates=True)
    assert output.shape == (0, BATCH, 2 * HIDDEN)
    assert torch.equal(h_n, h)
    assert torch.equal(c_n, c)
    assert {gate.shape for gate in gates.values()} == {(0, BATCH, HIDDEN)}
    output, (h_n, _) = module(x(STEPS, 0, INPUT))
    assert output.shape == (STEPS, 0, 2 * HIDDEN)
    assert h_n.shape == (4, 0, HIDDEN)


def test_no_nan_in_the_padding_reaches_anything() -> None:
    module, values = layer("lstm", num_layers=2, bidirectional=True), x()
    poisoned = values.clone()
    for row, length in enumerate(RAGGED):
        poisoned[length:, row] = torch.nan
    results = []
    for given in (poisoned, values):
        leaf = given.clone().requires_grad_()
        output, (h, c) = module(leaf, lengths=RAGGED)
        loss = output.square().sum() + h.sum() + c.sum()
        results.append([output, h, c, *torch.autograd.grad(loss, [leaf, *module.parameters()])])
    assert_parity(*results, dtype="float64", steps=STEPS)


# What comes out besides: gates, views, the plan.


def test_gates_are_those_of_the_equations() -> None:
    module, values = layer("gru"), x()
    output, _, gates = module(values, return_gates=True)
    before = torch.cat([torch.zeros_like(output[:1]), output[:-1]])
    assert list(gates) == ["r", "z", "n"]
    assert_parity(gates["z"] * before + (1 - gates["z"]) * gates["n"], output, dtype="float64", steps=1)


def test_gates_of_layers_and_directions_have_their_names_and_the_form_of_the_input() -> None:
    module = layer("mgu", num_layers=2, bidirectional=True, batch_first=True)
    values = x(BATCH, STEPS, INPUT)
    _, _, gates = module(values, lengths=RAGGED, return_gates=True)
    assert list(gates) == [f"{place}.{g}" for place in ("l0", "l0_reverse", "l1", "l1_reverse") for g in "fn"]
    assert {gate.shape for gate in gates.values()} == {(BATCH, STEPS, HIDDEN)}
    for gate in gates.values():
        assert not gate[1].any()
        assert not gate[0, 2:].any()
        assert gate[0, :2].all()
    _, _, single = module(values[0], return_gates=True)
    assert_parity(
        single["l1_reverse.f"], module(values, return_gates=True)[2]["l1_reverse.f"][0], dtype="float64", steps=STEPS
    )


@pytest.mark.parametrize("name", cells.CATALOGUE)
def test_every_gate_of_every_cell_is_shown_at_every_step(name: str) -> None:
    module, values = layer(name, backend="torch"), x()
    _, _, gates = module(values, return_gates=True)
    want = numpy_ref.run(module.trace, {"x": values.numpy()}, arrays(_without_prefix(module.gate_parameters()))).gates
    assert_parity(gates, want, dtype="float64", steps=STEPS, cell=name)


def _without_prefix(named: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix("l0."): tensor for name, tensor in named.items()}


def test_parameters_by_the_names_of_the_equations_are_views() -> None:
    module = layer("gru", num_layers=2, bidirectional=True)
    named = module.gate_parameters()
    assert list(named)[:4] == ["l0.W.r", "l0.W.z", "l0.W.n", "l0.U.r"]
    assert named["l1_reverse.W.z"].shape == (HIDDEN, 2 * HIDDEN)
    with torch.no_grad():
        named["l1_reverse.W.z"].fill_(2.0)
    assert bool((module.W_l1_reverse[HIDDEN : 2 * HIDDEN] == 2).all())
    assert not bool((module.W_l1_reverse[:HIDDEN] == 2).any())
    torchs = gw.nn.GRU(INPUT, HIDDEN).gate_parameters()
    assert {"l0.b.r", "l0.b.r (2)", "l0.b.n", "l0.b.hn"} <= set(torchs)
    assert "l0.b.n (2)" not in torchs


def test_parameters_are_packed_by_space_unless_their_shapes_differ() -> None:
    names = [name for name, _ in layer("fastgrnn_low_rank").named_parameters()]
    assert names == ["V_x_l0", "V_h_l0", "W_l0", "U_l0", "b_l0", "a_l0"]
    shapes = {name: tuple(p.shape) for name, p in layer("fastgrnn").named_parameters()}
    assert shapes == {"W_l0": (5, 3), "U_l0": (5, 5), "b_l0": (10,), "a_l0": (2,)}


def test_without_biases() -> None:
    module = layer("gru", bias=False)
    assert [name for name, _ in module.named_parameters()] == ["W_l0", "U_l0"]
    with_bias = layer("gru", init="normal")  # whose biases are zero
    with_bias.load_state_dict({**with_bias.state_dict(), **module.state_dict()})
    values = x()
    assert_parity(module(values), with_bias(values), dtype="float64", steps=STEPS)


def test_it_shows_what_it_was_made_with() -> None:
    assert repr(layer("gru")) == "Recurrent(gru, 3, 5)"
    assert repr(layer(cells.gru(reset="after"), num_layers=2, bias=False, batch_first=True, dropout=0.5)) == (
        'Recurrent(gru(reset="after"), 3, 5, num_layers=2, bias=False, batch_first=True, dropout=0.5)'
    )
    assert repr(layer("scrn", bidirectional=True)) == "Recurrent(scrn, 3, 5, bidirectional=True, context=4)"


# The mask: rows that wait.


def test_where_the_mask_is_zero_a_row_waits_and_says_so_again() -> None:
    module, values = layer("lstm"), x(4, 2, INPUT)
    mask = torch.tensor([[1, 1], [0, 1], [0, 0], [1, 1]])
    output, (h, c) = module(values, mask=mask)
    kept, (kept_h, kept_c) = module(values[[0, 3], :1])
    assert_parity((output[[0, 3], :1], h[:, :1], c[:, :1]), (kept, kept_h, kept_c), dtype="float64", steps=4)
    assert torch.equal(output[1, 0], output[0, 0])
    assert torch.equal(output[2], output[1])
    values[mask == 0] = torch.nan
    leaf = values.requires_grad_()
    again, _ = module(leaf, mask=mask)
    assert torch.equal(again, output)
    gradients = torch.autograd.grad(again.sum(), [leaf, *module.parameters()])
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)


def test_a_masked_cell_takes_the_layer_s_mask_and_without_one_every_step() -> None:
    plain, module = layer("gru"), layer(gw.masked(cells.gru))
    module.load_state_dict(plain.state_dict())
    values, mask = x(), torch.randint(2, (STEPS, BATCH))
    assert_parity(module(values, mask=mask), plain(values, mask=mask), dtype="float64", steps=STEPS)
    assert_parity(module(values), plain(values), dtype="float64", steps=STEPS)
    assert_parity(module(values, lengths=RAGGED), plain(values, lengths=RAGGED), dtype="float64", steps=STEPS)


@pytest.mark.parametrize("lengths", [None, [4]], ids=["whole", "ragged"])
def test_a_mask_in_both_directions(lengths: list[int] | None) -> None:
    module, values = layer("gru", bidirectional=True), x(5, 1, INPUT)
    mask = torch.tensor([[1], [0], [1], [1], [1 if lengths else 0]])
    output, final = module(values, mask=mask, lengths=lengths)
    kept, kept_final = module(values[[0, 2, 3]])
    assert_parity((output[[0, 2, 3]], final), (kept, kept_final), dtype="float64", steps=4)
    assert torch.equal(output[1, :, :HIDDEN], output[0, :, :HIDDEN])
    assert torch.equal(output[1, :, HIDDEN:], output[2, :, HIDDEN:])
    last = torch.zeros(1, HIDDEN, dtype=torch.float64)
    assert torch.equal(output[4, :, :HIDDEN], last if lengths else output[3, :, :HIDDEN])
    assert torch.equal(output[4, :, HIDDEN:], last)


# Random values: drawn in training, means in evaluation.


def test_noise_is_drawn_in_training_alone_and_by_torch_s_generator() -> None:
    module, values = layer(gw.zoneout(0.5)(cells.gru)), x()
    torch.manual_seed(1)
    first = module(values)[0]
    assert not torch.equal(module(values)[0], first)
    torch.manual_seed(1)
    assert torch.equal(module(values)[0], first)
    module.eval()
    assert torch.equal(module(values)[0], module(values)[0])
    torch.manual_seed(1)
    assert not torch.equal(module(values)[0], first)


def test_zoneout_keeps_units_at_its_rate() -> None:
    module = layer(gw.zoneout(0.3)(cells.gru), hidden_size=50)
    output, _ = module(x(20, 40, INPUT))
    kept = (output[1:] == output[:-1]).double().mean()
    deviations = (float(kept) - 0.3) / (0.3 * 0.7 / (19 * 40 * 50)) ** 0.5
    assert abs(deviations) < 4


@pytest.mark.parametrize("per", ["step", "sequence"])
def test_recurrent_dropout_draws_for_each_row_and_for_each_step_or_once(per: str) -> None:
    @gw.cell
    def remember(x, h, U):
        return U.h @ h + 1.0

    module = Recurrent(gw.recurrent_dropout(0.5, per=per)(remember), 1, 1, dtype=torch.float64, bias=False)
    nn.init.constant_(module.U_l0, 0.5)
    output, _ = module(torch.zeros(12, 60, 1, dtype=torch.float64), torch.ones(1, 60, 1, dtype=torch.float64))
    # h' = 1 where h is dropped, and 1 + h, twice the half, where it is kept
    dropped = (output == 1).squeeze(-1)
    assert 0 < int(dropped[0].sum()) < 60
    assert bool((dropped == dropped[:1]).all()) == (per == "sequence")


def test_dropout_between_layers_in_training() -> None:
    module, values = layer("gru", num_layers=2, dropout=1.0), x()
    output, _ = module(values)
    alone = layer("gru", input_size=HIDDEN)
    alone.load_state_dict({name.replace("l1", "l0"): p for name, p in module.state_dict().items() if "l1" in name})
    assert_parity(
        output, alone(torch.zeros(STEPS, BATCH, HIDDEN, dtype=torch.float64))[0], dtype="float64", steps=STEPS
    )
    module.dropout = 0.0
    want = module(values)[0]
    module.dropout = 1.0
    assert torch.equal(module.eval()(values)[0], want)


# How parameters begin.


@pytest.fixture
def poisoned_memory() -> Any:
    """Memory that is not filled holds NaN."""
    before = torch.are_deterministic_algorithms_enabled(), torch.utils.deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    yield
    torch.use_deterministic_algorithms(before[0])
    torch.utils.deterministic.fill_uninitialized_memory = before[1]


@pytest.mark.usefixtures("poisoned_memory")
@pytest.mark.parametrize("name", cells.CATALOGUE)
def test_every_parameter_begins_somewhere(name: str) -> None:
    assert bool(torch.empty(1).isnan())
    wishes = ["torch", "orthogonal + glorot", "identity", "normal", "truncated_normal"]
    for wish in wishes:
        for cell in (cells.get(name), gw.layer_norm(cells.get(name))):
            module = layer(cell, init=wish, num_layers=2, bidirectional=True)
            assert all(bool(parameter.isfinite().all()) for parameter in module.parameters()), wish


@pytest.mark.parametrize("name", cells.CATALOGUE)
def test_a_layer_can_be_made_without_memory(name: str) -> None:
    module = layer(name, device="meta", init="orthogonal + glorot")
    assert {parameter.device.type for parameter in module.parameters()} == {"meta"}
    output, _finals = module(torch.empty(STEPS, BATCH, INPUT, device="meta", dtype=torch.float64))
    assert output.shape == (STEPS, BATCH, module.output_size)
    empty = module.to_empty(device="cpu")
    empty.reset_parameters()
    assert all(bool(parameter.isfinite().all()) for parameter in empty.parameters())


def test_constants_of_a_cell_stand_whatever_the_initialiser() -> None:
    for wish in ("torch", "normal"):
        named = layer("fastgrnn", init=wish, num_layers=2).gate_parameters()
        assert [float(named[f"{at}.a.{name}"].detach()) for at in ("l0", "l1") for name in ("zeta", "nu")] == [
            1,
            -4,
        ] * 2
        gains = layer(gw.layer_norm(cells.gru), init=wish).gate_parameters()
        assert all(bool((gains[f"l0.gain.{gate}"] == 1).all()) for gate in "rzn")


def test_what_is_asked_for_after_the_first_initialiser_stands_over_the_cell_s_constants() -> None:
    named = layer(
        "fastrnn", init=["torch", lambda parameters, sizes: parameters["a.beta"].fill_(0.5)]
    ).gate_parameters()
    assert (float(named["l0.a.beta"].detach()), float(named["l0.a.alpha"].detach())) == (0.5, -3.0)


def test_memory_begins_long_on_whichever_side_the_cell_writes_its_gate() -> None:
    def bias(cell: Cell | str, gate: str, **options: Any) -> Tensor:
        return layer(cell, **options).gate_parameters()[f"l0.b.{gate}"].detach()

    for wish in ("chrono(max_steps=50)", "forget_bias(2)"):
        assert bool((bias("gru", "z", init=wish) > 0).all())
        assert bool((bias(cells.gru(update="replaces"), "z", init=wish) < 0).all())
        assert bool((bias(gw.zoneout(0.1)(cells.mingru), "z", init=wish) < 0).all())
        assert bool((bias(trace_cell(cells.mgu), "f", init=wish) < 0).all())
    assert torch.equal(bias("lstm", "f", init="forget_bias"), torch.ones(HIDDEN, dtype=torch.float64))
    with pytest.raises(OptionError, match="chrono found no bias b.z to set"):
        layer("gru", bias=False, init="chrono(9)")
    with pytest.raises(OptionError, match="chrono found no gate that decides how much of the old state stays"):
        layer("elman", init="chrono(9)")


def test_the_same_seed_draws_the_same_parameters() -> None:
    made = []
    for _ in range(2):
        torch.manual_seed(4)
        made.append(layer("lstm", init="orthogonal + glorot + chrono(20)", num_layers=2))
    assert all(torch.equal(a, b) for a, b in zip(*(module.parameters() for module in made), strict=True))
    torch.manual_seed(4)
    made[0].reset_parameters()
    assert all(torch.equal(a, b) for a, b in zip(*(module.parameters() for module in made), strict=True))


# Copies.


def check_same(one: Recurrent, other: Recurrent) -> None:
    values = x()
    for module in (one, other):
        module.eval()
    assert_parity(one(values), other(values), dtype="float64", steps=STEPS, cell=one.trace.name, backend="copy")


@pytest.mark.parametrize("cell", ["gru", gw.zoneout(0.1)(gw.layer_norm(cells.lstm))], ids=["gru", "varied"])
def test_a_deep_copy_has_parameters_of_its_own_and_the_same_cell(cell: Cell | str) -> None:
    module = nn.Sequential(layer(cell, num_layers=2, init="orthogonal"))
    copied = copy.deepcopy(module)
    check_same(copied[0], module[0])
    assert copied[0].cell is module[0].cell
    assert {p.data_ptr() for p in copied.parameters()}.isdisjoint(p.data_ptr() for p in module.parameters())
    with torch.no_grad():
        copied[0].W_l0.zero_()
    assert bool(module[0].W_l0.any())
    assert copy.copy(module[0]).W_l0 is module[0].W_l0


def test_a_whole_module_can_be_pickled_and_then_runs_from_its_trace() -> None:
    @gw.cell(spaces={"a": ()}, initial={"a.s": 2.0})
    def of_my_own(x, h, W, U, a):
        return gw.tanh(W.h @ x + a.s * (U.h @ h))

    for module in (layer(of_my_own), layer("lstm", num_layers=2), gw.nn.GRU(INPUT, HIDDEN, dtype=torch.float64)):
        stream = io.BytesIO()
        torch.save(module, stream)
        stream.seek(0)
        loaded = torch.load(stream, weights_only=False)
        for read in (loaded, pickle.loads(pickle.dumps(loaded))):
            module.load_state_dict(read.state_dict())
            check_same(read, module)
            assert repr(read) == repr(module)
            assert to_text(read.cell) == to_text(trace_cell(module.cell))
            torch.manual_seed(2)
            read.reset_parameters()
            torch.manual_seed(2)
            module.reset_parameters()
            check_same(read, module)


def test_a_cell_itself_cannot_be_pickled_and_says_what_can() -> None:
    with pytest.raises(CellError) as raised:
        pickle.dumps(cells.gru(reset="after"))
    assert str(raised.value) == (
        "cell 'gru(reset=\"after\")' cannot be pickled, because it is code\n"
        "  do: pickle a layer of the cell, which keeps its Trace; save a model with gatewright.model_file.save; "
        "hand another process the name of a cell in the catalogue"
    )
    assert copy.deepcopy(cells.gru) is cells.gru


def test_state_dicts_are_plain_tensors() -> None:
    module = layer("lstm_peephole", num_layers=2, bidirectional=True)
    stream = io.BytesIO()
    torch.save(module.state_dict(), stream)
    stream.seek(0)
    other = layer("lstm_peephole", num_layers=2, bidirectional=True)
    other.load_state_dict(torch.load(stream, weights_only=True))
    check_same(module, other)
    with pytest.raises(RuntimeError, match="Missing key"):
        layer("lstm_peephole").load_state_dict(layer("gru").state_dict())


# Options.


def test_a_cell_is_taken_by_itself_by_name_by_alias_or_as_a_trace() -> None:
    modules = [layer("elman"), layer("rnn"), layer(cells.elman), layer(trace_cell(cells.elman))]
    for module in modules[1:]:
        module.load_state_dict(modules[0].state_dict())
        check_same(module, modules[0])


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (
            ("gru", 3, 5.0),
            {},
            "hidden_size is not a size\n  expected: a whole number of at least 1\n  got: 5.0",
        ),
        (("gru", 0, 5), {}, "input_size is not a size\n  expected: a whole number of at least 1\n  got: 0"),
        (("gru", 3, 5, True), {}, "num_layers is not a size\n  expected: a whole number of at least 1\n  got: True"),
        (("gru", 3, 5), {"dropout": 1.5}, "dropout is not a probability\n  expected: from 0 to 1\n  got: 1.5"),
        (("gru", 3, 5), {"dropout": "much"}, "dropout is not a probability\n  expected: from 0 to 1\n  got: 'much'"),
        (
            ("gru", 3, 5),
            {"sizes": {"context": 4}},
            (
                "sizes names an axis that cell 'gru' does not have\n"
                "  expected: no sizes besides input_size and hidden_size\n"
                "  got: 'context'"
            ),
        ),
        (
            ("scrn", 3, 5),
            {"sizes": {"hidden": 4}},
            "sizes names an axis that cell 'scrn' does not have\n  expected: context\n  got: 'hidden'",
        ),
        (
            ("scrn", 3, 5),
            {"sizes": {"context": 0}},
            "sizes['context'] is not a size\n  expected: a whole number of at least 1\n  got: 0",
        ),
        (
            ("scrn", 3, 5),
            {},
            (
                "the size of axis 'context' is not known\n"
                "  expected: a size for every axis that the cell uses\n"
                "  got: input=3, hidden=5\n"
                "  do: pass sizes={'context': ...}"
            ),
        ),
        (
            (torch.nn.GRU, 3, 5),
            {},
            (
                "cell is no cell\n"
                "  expected: a gatewright cell, the name of one in the catalogue, or a Trace\n"
                "  got: <class 'torch.nn.modules.rnn.GRU'>\n"
                "  do: write the equations of one step as a function and put @gw.cell above it"
            ),
        ),
    ],
    ids=lambda value: "" if isinstance(value, tuple | dict) else value.partition("\n")[0],
)
def test_options_that_cannot_be(arguments: tuple[Any, ...], options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError) as raised:
        Recurrent(*arguments, **options)
    assert str(raised.value) == message


def test_an_input_that_is_added_to_the_output_must_be_as_wide_in_every_layer() -> None:
    message = (
        "cell 'residual(gru)' adds input and hidden elementwise, so they must have one size\n"
        "  expected: input = hidden\n"
        "  got: input = {}, hidden = 5\n"
        "  do: make the layer's hidden size equal to its input size, or project the input first"
    )
    with pytest.raises(ShapeError) as raised:
        layer(gw.residual(cells.gru))
    assert str(raised.value) == message.format(3)
    with pytest.raises(ShapeError) as raised:
        layer(gw.residual(cells.gru), input_size=5, num_layers=2, bidirectional=True)
    assert str(raised.value) == message.format(10)


def test_a_backend_is_asked_for_by_name() -> None:
    assert layer("gru", backend="torch").plan().backend == "torch"
    with pytest.raises(OptionError, match="backend 'cuda' is not there"):
        layer("gru", backend="cuda")


@gw.cell(states={"q": "input"})
def sees_the_last_input(x, h, q, W, U):
    return gw.tanh(W.h @ x + W.q @ q + U.h @ h), x


def test_a_state_that_is_as_wide_as_the_input_has_one_size_in_all_layers() -> None:
    with pytest.raises(OptionError) as raised:
        Recurrent(sees_the_last_input, 3, 5, num_layers=2)
    assert str(raised.value) == (
        "the state 'q' of cell 'sees_the_last_input' is as wide as the input, and the 2 layers have inputs of two sizes"
        "\n  expected: an input_size of 5, as the layers above have, or num_layers=1\n  got: input_size=3"
        "\n  do: put layers of num_layers=1 above each other"
    )
    values = torch.randn(STEPS, BATCH, 5)
    output, (h, q) = Recurrent(sees_the_last_input, 5, 5, num_layers=2)(values)
    assert (output.shape, h.shape, q.shape) == ((STEPS, BATCH, 5), (2, BATCH, 5), (2, BATCH, 5))
    assert torch.equal(q[0], values[-1])
