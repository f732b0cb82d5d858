"""Initialisers: the law that each name stands for, how they combine, and the exact words of each error."""

import math
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from gatewright import cells
from gatewright.errors import OptionError
from gatewright.lang import Cell
from gatewright.nn import init
from gatewright.nn.init import resolve
from gatewright.trace import trace_cell

SIZES = {"input": 150, "hidden": 100}
BOUND = 100**-0.5  # of the law that torch draws from
KNOWN = (
    "one of chrono, forget_bias, glorot, glorot_uniform, identity, normal, orthogonal, "
    "torch, torch_uniform, truncated_normal, uniform"
)


def layer(gates: str, peepholes: bool = False) -> dict[str, Tensor]:
    """A layer's named parameters, views of packed tensors; they hold NaN, so that one left out is seen."""
    inputs, hidden = SIZES["input"], SIZES["hidden"]
    shapes = {"W": (hidden, inputs), "U": (hidden, hidden), "b": (hidden,), "p": (hidden,)}
    named = {}
    for name, (rows, *rest) in shapes.items():
        if name != "p" or peepholes:
            packed = torch.full((len(gates) * rows, *rest), math.nan, requires_grad=True)
            # Slices: torch forbids to change in place what split or unbind gave, even under no_grad.
            named |= {f"{name}.{gate}": packed[k * rows : (k + 1) * rows] for k, gate in enumerate(gates)}
    return named


def initialised(
    wish: init.Init, gates: str = "rzn", peepholes: bool = False, cell: Cell | None = None
) -> dict[str, Tensor]:
    parameters = layer(gates, peepholes)
    resolve(wish)(init.LayerParameters(parameters, trace_cell(cell)) if cell else parameters, SIZES)
    assert all(bool(tensor.isfinite().all()) for tensor in parameters.values())
    return parameters


def space(parameters: dict[str, Tensor], name: str) -> Tensor:
    """All values of one parameter space, the gates one below the other."""
    return torch.cat([t for key, t in parameters.items() if key.startswith(name + ".")]).detach()


def firsts(parameters: dict[str, Tensor], gates: str) -> list[float]:
    """The bias of the first unit, by gate."""
    return [float(parameters[f"b.{gate}"][0].detach()) for gate in gates]


def is_uniform(values: Tensor, bound: float) -> bool:
    """Within the bound, near to it, and with the standard deviation of a uniform law to a tenth."""
    spread = float(values.std()) / (bound / math.sqrt(3))
    return bound * 0.9 < float(values.abs().max()) <= bound and abs(spread - 1) < 0.15


def test_torch_draws_every_parameter_from_one_law():
    parameters = initialised("torch", peepholes=True)
    for name in "WUbp":
        assert is_uniform(space(parameters, name), BOUND), name


def test_torch_draws_what_torch_draws():
    """One gate's packed parameters in torch's order take the same numbers from the same seed."""
    torch.manual_seed(3)
    theirs = torch.nn.RNN(150, 100)
    torch.manual_seed(3)
    ours = {
        "W.h": torch.empty(100, 150),
        "U.h": torch.empty(100, 100),
        "b.h": torch.empty(100),
        "b2.h": torch.empty(100),
    }
    resolve("torch")(ours, SIZES)
    for got, want in zip(ours.values(), theirs.parameters(), strict=True):
        assert torch.equal(got, want)


def test_what_no_part_sets_begins_as_in_torch_with_zero_biases():
    for wish in ([], "orthogonal"):
        parameters = initialised(wish, peepholes=True)
        assert is_uniform(space(parameters, "W"), BOUND)
        assert is_uniform(space(parameters, "p"), BOUND)
        assert not space(parameters, "b").any()


@pytest.mark.parametrize("gain", [1.0, 1.5])
def test_orthogonal_makes_each_gate_orthogonal(gain):
    parameters = initialised(init.orthogonal(gain=gain))
    for gate in "rzn":
        matrix = parameters[f"U.{gate}"].detach()
        torch.testing.assert_close(matrix @ matrix.T, gain**2 * torch.eye(100), rtol=0, atol=1e-5)
    assert not torch.equal(parameters["U.r"], parameters["U.z"])


def test_orthogonal_takes_other_matrices_and_low_precision():
    parameters = initialised('orthogonal(spaces=("U", "W"))')
    torch.testing.assert_close(parameters["W.r"] @ parameters["W.r"].T, torch.eye(100), rtol=0, atol=1e-5)
    half = {"U.h": torch.empty(100, 100, dtype=torch.bfloat16)}
    init.orthogonal()(half, SIZES)
    torch.testing.assert_close(
        half["U.h"].float() @ half["U.h"].float().T,
        torch.eye(100),
        rtol=0,
        atol=torch.finfo(torch.bfloat16).eps,
    )


def test_glorot_counts_inputs_and_outputs_of_one_gate():
    parameters = initialised("glorot")
    assert is_uniform(space(parameters, "W"), math.sqrt(6 / 250))
    assert is_uniform(space(parameters, "U"), BOUND)


def test_identity_and_small_gaussians_make_an_irnn():
    parameters = initialised("normal(0.001) + identity", gates="h")
    assert torch.equal(parameters["U.h"], torch.eye(100))
    assert 0.0008 < float(space(parameters, "W").std()) < 0.0012
    assert torch.equal(initialised(init.identity(gain=0.5))["U.n"], 0.5 * torch.eye(100))


def test_normal_is_gaussian_with_zero_biases():
    parameters = initialised("normal", peepholes=True)
    for name in "WUp":
        assert 0.008 < float(space(parameters, name).std()) < 0.012, name
    assert float(space(parameters, "W").abs().max()) > 0.02
    assert not space(parameters, "b").any()


def test_truncated_normal_is_cut_and_draws_biases_too():
    parameters = initialised("truncated_normal(std=0.1)")
    for name in "WUb":
        values = space(parameters, name)
        assert 0.1 < float(values.abs().max()) <= 0.2, name
        assert 0.07 < float(values.std()) < 0.105, name


def test_the_forget_bias_is_one_and_the_others_zero():
    parameters = initialised("forget_bias", gates="ifgo", cell=cells.lstm)
    for gate in "ifgo":
        assert bool((parameters[f"b.{gate}"] == (gate == "f")).all())
    assert bool((initialised("forget_bias(2.5)", gates="nf", cell=cells.janet)["b.f"] == 2.5).all())


def test_a_gate_that_replaces_the_state_begins_the_other_way():
    for cell, gates, keep, value in [
        (cells.gru, "rzn", "z", 1.0),
        (cells.gru(update="replaces"), "rzn", "z", -1.0),
        (cells.mgu, "fn", "f", -1.0),
        (cells.mingru, "zn", "z", -1.0),
        (cells.lstm(coupled=True), "igo", "i", -1.0),
    ]:
        parameters = initialised("forget_bias", gates=gates, cell=cell)
        for gate in gates:
            assert bool((parameters[f"b.{gate}"] == (value if gate == keep else 0.0)).all()), cell.label
    forgets = initialised("forget_bias(2)", gates="fin", cell=cells.minlstm)
    assert firsts(forgets, "fin") == [2.0, 0.0, 0.0]  # its i replaces too, but is no forget gate


def test_gates_that_are_named_are_set_and_no_others():
    parameters = initialised('forget_bias(3, keep_gates="r", replace_gates="n")', cell=cells.gru)
    assert firsts(parameters, "rzn") == [3.0, 0.0, -3.0]
    parameters = initialised('chrono(100, replace_gates="z")', cell=cells.gru)
    assert bool((parameters["b.z"] < 0).all())


def test_the_gates_of_tensorflows_gru_cell_begin_at_one():
    parameters = initialised('forget_bias(keep_gates=("r", "z"))')
    for gate in "rzn":
        assert bool((parameters[f"b.{gate}"] == (gate != "n")).all())


@given(st.integers(2, 5000))
def test_chrono_spreads_the_memory_of_an_lstm(max_steps):
    parameters = initialised(init.chrono(max_steps=max_steps), gates="ifgo", cell=cells.lstm)
    forget = parameters["b.f"]
    assert bool((forget >= 0).all())
    assert bool((forget <= math.log(max_steps - 1) + 1e-5).all())
    assert torch.equal(parameters["b.i"], -forget)
    assert not parameters["b.g"].any()
    assert not parameters["b.o"].any()


def test_chrono_draws_the_time_and_not_its_logarithm_uniformly():
    parameters = {"b.f": torch.empty(20000)}
    init.chrono(max_steps=101, keep_gates="f")(parameters, SIZES)
    times = parameters["b.f"].exp()
    assert abs(float(times.mean()) - 50.5) < 1
    assert abs(float(times.std()) - 99 / math.sqrt(12)) < 1


def test_chrono_knows_both_sides_of_an_update_gate():
    for cell, gates, gate, sign in [
        (cells.gru, "rzn", "z", 1),
        (cells.gru(update="replaces"), "rzn", "z", -1),
        (cells.mingru, "zn", "z", -1),
        (cells.mgu, "fn", "f", -1),
        (cells.janet, "fn", "f", 1),
    ]:
        parameters = initialised("chrono(max_steps=100)", gates=gates, cell=cell)
        biases = parameters.pop(f"b.{gate}") * sign
        assert bool((biases > 0).all()), cell.label
        assert float(biases.detach().max()) <= math.log(99) + 1e-5
        assert not space(parameters, "b").any()
    with_both = initialised("chrono(max_steps=100)", gates="ifzo", cell=cells.slstm)
    assert not with_both["b.z"].any()
    assert torch.equal(with_both["b.i"], -with_both["b.f"])
    named = initialised('chrono(100, keep_gates=("j", "k"))', gates="jkz")
    assert [bool(named[f"b.{gate}"].any()) for gate in "jkz"] == [True, True, False]


@pytest.mark.parametrize("asker", ["forget_bias()", "chrono(max_steps=100)"])
@pytest.mark.parametrize("cell", [cells.elman, None], ids=["elman", "no equations"])
def test_without_a_gate_that_keeps_the_state_one_must_be_named(asker, cell):
    with pytest.raises(OptionError) as caught:
        initialised(asker, gates="h", cell=cell)
    name = asker.partition("(")[0]
    assert str(caught.value) == (
        f"{name} found no gate that decides how much of the old state stays\n"
        "  expected: equations such as z * h + (1 - z) * n, with a gate z\n"
        "  got: a layer with the parameters W.h, U.h, b.h\n"
        f'  do: name a gate that keeps the state when it is 1, {name}(..., keep_gates="k"), '
        'or one that replaces it, replace_gates="k"'
    )


def test_parts_are_applied_in_order():
    wish = "orthogonal + glorot + forget_bias"
    parameters = initialised(wish, gates="ifgo", cell=cells.lstm)
    torch.testing.assert_close(parameters["U.f"] @ parameters["U.f"].T, torch.eye(100), rtol=0, atol=1e-5)
    assert is_uniform(space(parameters, "W"), math.sqrt(6 / 250))
    assert bool((parameters["b.f"] == 1).all())
    assert bool((initialised("forget_bias + forget_bias(3)", gates="f", cell=cells.janet)["b.f"] == 3).all())
    assert is_uniform(initialised("torch+forget_bias", gates="ifgo", cell=cells.lstm)["b.o"].detach(), BOUND)


def test_a_list_mixes_names_initialisers_and_functions():
    def shift(parameters: init.Parameters, sizes: init.Sizes) -> None:
        parameters["b.n"].fill_(sizes["hidden"])

    parameters = initialised(["orthogonal", init.forget_bias(keep_gates="z"), shift])
    assert bool((parameters["b.n"] == 100).all())
    assert bool((parameters["b.z"] == 1).all())
    assert bool((initialised(shift)["b.n"] == 100).all())


def test_a_function_given_uncalled_is_called_with_its_defaults():
    assert repr(resolve(init.forget_bias)) == "torch_uniform(zero_biases=True) + forget_bias()"
    with pytest.raises(OptionError, match="missing a required argument: 'max_steps'"):
        resolve([init.chrono])


def test_resolving_twice_changes_nothing():
    once = resolve("orthogonal")
    assert resolve(once) is once
    assert repr(resolve("torch+orthogonal")) == "torch_uniform() + orthogonal()"
    assert resolve(" orthogonal(gain=2)") == resolve([init.orthogonal(gain=2)])


def test_an_initialiser_can_be_pickled():
    wish = resolve("orthogonal + chrono(max_steps=784)")
    assert pickle.loads(pickle.dumps(wish)) == wish
    assert repr(wish) == "torch_uniform(zero_biases=True) + orthogonal() + chrono(max_steps=784)"
    assert len({wish, resolve("orthogonal + chrono(max_steps=784)")}) == 1


def test_the_packed_parameters_need_no_graph():
    packed = torch.empty(200, 100, requires_grad=True)
    resolve("torch")({"U.r": packed[:100], "U.z": packed[100:]}, SIZES)
    assert packed.is_leaf
    assert is_uniform(packed.detach(), BOUND)


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ("xavier", f'no initialiser is called "xavier"\n  expected: {KNOWN}\n  got: init="xavier"'),
        (
            "orthogonal+chronos(3)",
            f'no initialiser is called "chronos"\n  expected: {KNOWN}\n  got: init="orthogonal+chronos(3)"',
        ),
        (
            ["orthogonal", 3],
            (
                f"init holds 3, which is no initialiser\n  expected: {KNOWN}\n"
                "  do: pass a name, or a function (parameters, sizes) that fills the parameters in place"
            ),
        ),
        (
            None,
            (
                f"init holds None, which is no initialiser\n  expected: {KNOWN}\n"
                "  do: pass a name, or a function (parameters, sizes) that fills the parameters in place"
            ),
        ),
        (
            "chrono",
            (
                "chrono cannot take these options: missing a required argument: 'max_steps'\n"
                "  expected: chrono(max_steps: int, "
                "keep_gates: str | collections.abc.Sequence[str] = (), "
                "replace_gates: str | collections.abc.Sequence[str] = ())"
            ),
        ),
        (
            "normal(variance=0.01)",
            (
                "normal cannot take these options: got an unexpected keyword argument 'variance'\n"
                "  expected: normal(std: float = 0.01)"
            ),
        ),
        *(
            (
                text,
                (
                    f'init="{text}" cannot be read\n'
                    "  expected: names joined by +, and plain values for options: "
                    '"orthogonal + chrono(max_steps=784)"\n'
                    "  do: write it so, or pass a list of names and functions"
                ),
            )
            for text in ("", "orthogonal+", "a b", "3", "normal(std=x)", "nn.normal()", "orthogonal * 2")
        ),
    ],
)
def test_a_wish_that_cannot_be_met_is_named(wish, message):
    with pytest.raises(OptionError) as caught:
        resolve(wish)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("wish", "asker", "gate"),
    [
        ('forget_bias(keep_gates="f")', "forget_bias", "f"),
        ('chrono(9, keep_gates=("z", "k"))', "chrono", "k"),
        ('chrono(9, replace_gates="u")', "chrono", "u"),
    ],
)
def test_a_gate_that_the_layer_has_not_is_named(wish, asker, gate):
    with pytest.raises(OptionError) as caught:
        initialised(wish, gates="rz")
    assert str(caught.value) == (
        f"{asker} found no bias b.{gate} to set\n"
        "  got: a layer with the parameters W.r, W.z, U.r, U.z, b.r, b.z\n"
        f'  do: leave bias=True, or name the gates whose biases are to be set: {asker}(..., keep_gates="k")'
    )


def test_chrono_needs_a_range():
    with pytest.raises(OptionError) as caught:
        initialised("chrono(max_steps=1)", gates="f")
    assert str(caught.value) == (
        "chrono(max_steps=1) has no range to draw from\n"
        "  expected: the number of steps that the longest dependency spans, at least 2"
    )
