"""Plans: their texts, what is done where, what is kept; and that they depend on the equations alone."""

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from gatewright import cells, layer_norm, masked, residual
from gatewright.derive import vjp
from gatewright.lang import Cell, cell, relabel, sigmoid, tanh
from gatewright.schedule.plan import plan
from gatewright.schedule.program import Program, Storage
from gatewright.schedule.residuals import save
from gatewright.schedule.text import to_text
from gatewright.trace import Literal, Trace, Var, simplify, trace_cell
from gatewright.trace.ir import renamed
from tests.parity.matrix import CELLS
from tests.paths import subprocess_environment
from tests.schedule.running import check, draw

SHOWN: dict[str, Cell] = {
    "gru": cells.gru,
    "gru_reset_after": cells.gru(reset="after"),
    "lstm": cells.lstm,
    "layer_norm_gru": layer_norm(cells.gru),
}


def step(made: Cell) -> Trace:
    return simplify(trace_cell(made))


def counts(program: Program) -> list[tuple[str, int, int, int]]:
    """Of each stage that multiplies: its pass, its products, their terms, and its equations."""
    return [
        (name, len(stage.products), sum(len(one.terms) for one in stage.products), len(stage.equations))
        for name, stages in program.passes()
        for stage in stages
        if stage.products
    ]


def kept(program: Program, place: Storage) -> list[str]:
    return [name for name, own in program.storage.items() if own is place]


@pytest.mark.parametrize("name", SHOWN)
def test_texts(name: str, golden: Callable[[str, str], None]) -> None:
    pair = save(trace_cell(SHOWN[name]))
    golden(f"program/{name}.txt", to_text(plan(pair.forward)))
    golden(f"program/{name}_gradient.txt", to_text(plan(pair.backward)))


def test_a_text_says_all_that_a_program_holds() -> None:
    program = plan(vjp(step(cells.antisymmetric_rnn)))
    text = to_text(program)
    changed = [
        replace(program, loop=program.loop[::-1]),
        replace(program, loop=(*program.loop, *program.loop)),
        replace(program, row_sums=program.row_sums[1:]),
        replace(program, epilogue=program.epilogue[1:]),
        replace(program, sums=program.sums[::-1]),
        replace(program, trace=step(cells.antisymmetric_rnn)),
        replace(program, loop=(replace(program.loop[0], axis="input"), *program.loop[1:])),
        replace(program, loop=(replace(program.loop[0], stores=program.loop[0].stores[1:]), *program.loop[1:])),
    ]
    assert len({text, *map(to_text, changed)}) == 1 + len(changed)


def test_the_recurrent_products_alone_are_in_the_loop() -> None:
    assert counts(plan(step(cells.lstm))) == [("before", 4, 4, 4), ("loop", 4, 4, 13)]
    assert counts(plan(step(cells.gru))) == [("before", 3, 3, 3), ("loop", 2, 2, 5), ("loop", 1, 1, 6)]
    assert counts(plan(step(cells.gru(reset="after")))) == [("before", 3, 3, 3), ("loop", 3, 3, 12)]


def test_products_of_one_gradient_are_one() -> None:
    assert counts(plan(save(trace_cell(cells.lstm)).backward)) == [("loop", 1, 4, 0), ("after", 1, 4, 0)]


@pytest.mark.parametrize("name", ["mingru", "minlstm", "sru", "qrnn", "hgrn", "indrnn"])
def test_cells_whose_state_meets_no_matrix_have_none_in_the_loop(name: str) -> None:
    pair = save(trace_cell(CELLS[name]))
    for trace in (pair.forward, pair.backward):
        assert not any(stage.products or stage.reductions for stage in plan(trace).loop)


def test_what_is_kept_within_a_step_and_for_all_steps() -> None:
    forward, backward = (plan(trace) for trace in (step(cells.gru), save(trace_cell(cells.gru)).backward))
    assert kept(forward, Storage.ROW) == ["z", "%9"]
    assert kept(forward, Storage.SEQUENCE) == ["%3+0.0", "%7+0.0", "%12+0.0"]
    assert kept(backward, Storage.ROW) == ["%28"]
    assert kept(backward, Storage.SEQUENCE) == ["%9", "%23", "%35", "%46", "%53"]


def test_a_state_s_new_value_is_kept_as_that_state() -> None:
    program = plan(save(trace_cell(cells.elman)).forward)
    assert program.new_values == {"h'": "h"}
    assert program.storage["h'"] is Storage.NEW
    assert [store.name for stage in program.loop for store in stage.stores] == ["h"]


def test_what_is_cheap_is_computed_again() -> None:
    def doubled(x, h, U):
        a = tanh(U.a @ h)
        return tanh(U.b @ a + 2.0 * h + 1.0) * a

    program = plan(step(cell(doubled)))
    assert kept(program, Storage.ROW) == ["a"]
    assert [one.op for one in program.loop[0].equations] == ["tanh"]
    assert [one.op for one in program.loop[1].equations] == ["mul", "add", "add", "tanh", "mul"]


def test_one_source_is_kept_in_place_of_several_cheap_values() -> None:
    def several(x, h, U):
        a = tanh(U.a @ h)
        b = tanh(a)
        return tanh(U.b @ b + U.c @ (b * h)) * (a + 1.0) * (a - 1.0)

    program = plan(step(cell(several)))
    assert kept(program, Storage.ROW) == ["a", "b", "%2"]


@cell
def dressed(x, h, W, U):
    """What is added to a product of inputs, before the loop, needs more of the inputs than that product."""
    return tanh(W.a @ x * sigmoid(relabel(x, like=h)) + U.a @ h)


@pytest.mark.parametrize("made", [dressed, residual(masked(cells.sru)), masked(cells.lstm_projected)])
def test_odd_cells(made: Cell, rng: np.random.Generator) -> None:
    first = step(made)
    sizes = dict.fromkeys(first.axes(), 3)
    for trace in (first, vjp(first), vjp(vjp(first))):
        check(draw(trace, sizes, 4, 2, rng))


def test_numbers_leaves_and_parameters_may_be_given_out(rng: np.random.Generator) -> None:
    plain = step(cells.fastrnn)
    alpha = next(one.target for one in plain.equations if one.op == "sigmoid")
    bias = next(param for param in plain.params if param.name == "b.h")
    emits = (("two", Literal(2.0)), ("x", plain.inputs[0]), ("h", plain.states[0]), ("alpha", alpha), ("b", bias))
    for state in (Literal(0.5), plain.states[0], bias):
        trace = replace(plain, emits=emits, next_states=(state,))
        check(draw(trace, {"input": 2, "hidden": 3}, 3, 2, rng))


def test_a_gradient_that_is_a_number_has_its_leaf_s_shape() -> None:
    trace = vjp(step(masked(cells.elman)))
    emits = dict(trace.emits)
    assert emits["d(mask)"] == Literal(0.0)
    zero = Literal(0.0)
    assert trace.output_shape("d(mask)", zero) == ()
    assert trace.output_shape("d(x)", zero) == replace(trace, order=2).output_shape("d2(x)", zero) == ("input",)
    assert trace.output_shape("d(x)", Var("y", ("hidden",))) == ("hidden",)
    for name in ("d2(x)", "gate(r)", "d(y)"):
        assert trace.output_shape(name, zero) == ()
    assert step(cells.elman).output_shape("d(x)", zero) == ()


@pytest.mark.parametrize("name", ["fastgrnn", "layer_norm(gru)", "antisymmetric_rnn", "lem"])
def test_a_plan_does_not_depend_on_what_values_are_called(name: str, rng: np.random.Generator) -> None:
    """Object code is kept by the structure of a trace, so the order of buffers must not follow names."""
    for trace in (step(CELLS[name]), vjp(step(CELLS[name]))):
        numbers = rng.permutation(len(trace.equations))
        other = [f"v{number:03}" for number in numbers]
        first, second = (plan(renamed(trace, named(trace, names))) for names in (sorted(other), other))

        def spelled(text: str, other: list[str] = other) -> str:
            return re.sub(r"v(\d{3})", lambda found: other[int(found.group(1))], text)

        assert spelled(to_text(first)) == to_text(second)
        assert [spelled(value) for value in first.storage] == list(second.storage)


def named(trace: Trace, names: list[str]) -> dict[str, str]:
    return {one.target.name: name for one, name in zip(trace.equations, names, strict=True)}


SCRIPT = """
from gatewright.cells import CATALOGUE
from gatewright.schedule.plan import plan
from gatewright.schedule.residuals import save
from gatewright.schedule.text import to_text
from gatewright.trace import trace_cell
for cell in CATALOGUE.values():
    pair = save(trace_cell(cell))
    for trace in (pair.forward, pair.backward):
        program = plan(trace)
        print(to_text(program), list(program.storage), list(program.shapes), list(program.new_values))
"""


def test_a_plan_is_the_same_in_every_process() -> None:
    """Strings are hashed differently in every process, so no order may come from a set."""
    texts = [
        subprocess.run(
            [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True,
            env={**subprocess_environment(), "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert texts[0] == texts[1]
    assert texts[0].count("program ") == 2 * len(cells.CATALOGUE)


def test_the_time_to_plan_grows_with_the_length_of_a_trace_only() -> None:
    """A chain of sums, each used twice by the next: to look through it path by path would take for ever."""

    def chain(x, h, U):
        value = tanh(h)
        for _ in range(60):
            value = 0.5 * (value + value * value)
        return tanh(U.a @ h + value)

    program = plan(vjp(step(cell(chain))))
    assert sum(len(stage.equations) for stage in program.loop) > 120
