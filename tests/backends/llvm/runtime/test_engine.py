"""The compiled engine against the float64 reference: cells, sizes, dtypes, processors, threads, odd values."""

import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gatewright import cells
from gatewright.backends.llvm.codegen.kernels import Kernels
from gatewright.backends.llvm.codegen.module import emit_module
from gatewright.backends.llvm.jit.target import runnable, target_named
from gatewright.backends.llvm.runtime import engine as engines_of_programs
from gatewright.backends.llvm.runtime.engine import Engine
from gatewright.derive import vjp
from gatewright.errors import OptionError, ShapeError
from gatewright.lang import Cell, cell, relabel, tanh
from gatewright.schedule.plan import plan
from gatewright.schedule.program import Choices, Time
from gatewright.schedule.residuals import save
from gatewright.trace import Literal, Trace, simplify, trace_cell
from tests.backends.llvm.engines import On, check, engine, leaves, run, run_by_name, sizes_of
from tests.backends.llvm.guarded import Guarded
from tests.parity.assertions import assert_parity
from tests.parity.matrix import CELLS
from tests.paths import subprocess_environment
from tests.schedule.running import Given, draw, oracle

VARIED = [
    'gru(reset="after")', "antisymmetric_rnn(gated=True, epsilon=0.3, gamma=0.2)", "hgrn(learned_bound=True)",
    "masked(lstm_projected)", "zoneout(lstm)", "recurrent_dropout(gru)", "recurrent_dropout(gru, per=step)",
    "layer_norm(lstm)", "layer_norm(sru)", "residual(gru)", "residual(lstm_projected)", "all at once",
]  # fmt: skip
FEW = ["gru", "lstm_projected", "layer_norm(gru)", "fastgrnn_low_rank", "slstm", "sru"]
"""Products of products, of another axis, sums of features, scalars, many equations, nothing but scans."""
SHAPES = {  # steps, batch, input, hidden: no vector, less than one, one and a bit, whole ones
    (7, 2, 3, 1): "float64",
    (1, 7, 1, 3): "float32",
    (5, 9, 17, 5): "float64",
    (4, 17, 16, 16): "float32",
    (2, 1, 33, 33): "float32",
}


def pair_of(name: str) -> tuple[Trace, Trace]:
    """The step that saves, and the gradient that is given what was saved."""
    pair = save(trace_cell(CELLS[name]))
    return pair.forward, pair.backward


def given_for(trace: Trace, shape: tuple[int, int, int, int], seed: int = 0) -> Given:
    steps, batch, wide, hidden = shape
    return draw(trace, sizes_of(trace, wide, hidden), steps, batch, np.random.default_rng(seed))


@pytest.mark.parametrize("name", [*cells.CATALOGUE, *VARIED])
def test_every_cell_and_its_gradient(name: str) -> None:
    for trace in pair_of(name):
        check(given_for(trace, (5, 3, 5, 17)))


def test_programs_with_scans_are_refused() -> None:
    step = simplify(trace_cell(CELLS["minlstm"]))
    for trace, state in ((step, "h"), (vjp(step), "d(h)")):
        with pytest.raises(OptionError) as caught:
            Engine(plan(trace, Choices(time=Time.SCAN)), {"input": 2, "hidden": 3}, "float32")
        assert str(caught.value) == (
            f"the program of {trace.name!r} has scans, for which no kernels are made\n"
            "  expected: a program that goes from step to step\n"
            f"  got: scans of {state}\n"
            "  do: plan(trace), without Choices(time=Time.SCAN)"
        )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", FEW)
def test_odd_sizes(name: str, shape: tuple[int, int, int, int]) -> None:
    for trace in pair_of(name):
        check(given_for(trace, shape), On(SHAPES[shape]))


@pytest.mark.parametrize("target", ["x86-64-v2", "x86-64-v3", "x86-64-v4", "neon"])
@pytest.mark.parametrize(("name", "dtype"), [("lstm", "float32"), ("layer_norm(gru)", "float64")])
def test_kinds_of_processors(name: str, dtype: str, target: str) -> None:
    if not runnable(target_named(target)):
        pytest.skip(f"this machine does not run code for {target}")
    for trace in pair_of(name):
        check(given_for(trace, (3, 5, 5, 11)), On(dtype, target))


@pytest.mark.parametrize("name", ["gru", "layer_norm(elman)", "masked(fastgrnn)"])
def test_gradients_of_gradients(name: str) -> None:
    step = simplify(trace_cell(CELLS[name]))
    check(given_for(vjp(vjp(step)), (3, 2, 5, 9)), On("float64"))


@pytest.mark.parametrize(("steps", "batch"), [(0, 3), (3, 0), (0, 0)])
def test_nothing_to_do(steps: int, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """No kernel is compiled; states stay, sums are zero."""
    monkeypatch.setattr(Engine, "kernels", lambda *_, **__: pytest.fail("a kernel is compiled"))
    for trace in pair_of("layer_norm(gru)"):
        given = given_for(trace, (steps, batch, 3, 4))
        got = check(given)
        assert not any(total.any() for total in got["sums"].values())


def test_results_do_not_depend_on_other_rows() -> None:
    """A row is the same, to the bit, whatever stands beside it: tiles overlap, and threads cut where they like."""
    for trace in pair_of("gru"):
        given = given_for(trace, (4, 17, 16, 16))
        changed = {name: array.copy() for name, array in given.sequences.items()}
        for array in changed.values():
            array[:, 5:] = 9.0
        one, other = run(given), run(replace(given, inputs=changed))
        for kind in ("states", "emits"):
            for name, array in one[kind].items():
                assert np.array_equal(array[:, :5], other[kind][name][:, :5])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["gru", "lstm", "masked(lstm_projected)", "layer_norm(sru)"])
def test_what_is_not_finite_comes_out_where_it_should(name: str, value: float) -> None:
    for trace in pair_of(name):
        given = given_for(trace, (5, 3, 5, 17))
        given.inputs["x"][2, 1, 3] = value
        got, want = run(given), oracle(given)
        for kind in ("states", "emits"):
            assert_parity(got[kind], want[kind], dtype="float32", steps=5, width=256)
        for total, right in zip(got["sums"].values(), want["sums"].values(), strict=True):
            assert np.array_equal(np.isfinite(total), np.isfinite(right))


def test_numbers_leaves_and_parameters_may_be_given_out() -> None:
    plain = simplify(trace_cell(cells.fastrnn))
    alpha = next(one.target for one in plain.equations if one.op == "sigmoid")
    bias = next(param for param in plain.params if param.name == "b.h")
    emits = (("two", Literal(2.0)), ("x", plain.inputs[0]), ("h", plain.states[0]), ("alpha", alpha), ("b", bias))
    for state in (Literal(0.5), plain.states[0], bias):
        check(given_for(replace(plain, emits=emits, next_states=(state,)), (3, 2, 2, 3)))


@cell
def one_vector_twice(x, y, z, h, U):
    """Two matrices for one vector in one sum, beside a vector whose name the first might be given."""
    new = tanh(U.h @ h + relabel(x, like=h))
    return tanh(U.a @ h + U.b @ h), tanh(U.c @ new + U.d @ h), new


@cell
def sixteen_gates(x, h, W, U, b):
    total = 0.0
    for gate in "abcdefghijklmnop":
        total = total + tanh(W[gate] @ x + U[gate] @ h + b[gate])
    return 0.1 * total


@pytest.mark.parametrize("made", [one_vector_twice, sixteen_gates])
def test_many_products(made: Cell) -> None:
    pair = save(trace_cell(made))
    for trace in (pair.forward, pair.backward):
        check(given_for(trace, (3, 5, 6, 6)), On("float64"))


def layout(name: str | Cell, target: str, rows: int) -> str:
    made = CELLS[name] if isinstance(name, str) else name
    trace = simplify(trace_cell(made))
    return Kernels(plan(trace), sizes_of(trace, 64, 64), "float32", target_named(target), False, rows, rows).layout


def test_layouts() -> None:
    """Registers are filled with sums, and not more of them than there are."""
    assert layout("gru", "x86-64-v4", 64) == (
        "before0 16 lanes, 8x1x1 of 3; loop0 16 lanes, 4x2x1 of 2; loop1 16 lanes, 4x4x1 of 1"
    )
    assert layout("gru", "x86-64-v4", 1) == (
        "before0 16 lanes, 1x2x1 of 3 by 1; loop0 16 lanes, 1x4x1 of 2; loop1 16 lanes, 1x4x2 of 1"
    )
    assert layout("lstm", "x86-64-v3", 64) == "before0 8 lanes, 2x2x1 of 2; loop0 8 lanes, 2x2x1 of 2"
    assert layout(sixteen_gates, "x86-64-v4", 64) == "before0 16 lanes, 4x1x1 of 6; loop0 16 lanes, 4x1x1 of 6"


def test_the_key_tells_kernels_apart() -> None:
    trace, other = (simplify(trace_cell(made)) for made in (cells.gru, cells.gru(reset="after")))
    sizes = {"input": 3, "hidden": 4}
    engines = [
        Engine(plan(trace), sizes, "float32"),
        Engine(plan(other), sizes, "float32"),
        Engine(plan(trace), {**sizes, "hidden": 5}, "float32"),
        Engine(plan(trace), sizes, "float64"),
        Engine(plan(trace), sizes, "float32", backwards=True),
    ]
    assert len({one.key for one in engines}) == len(engines)
    assert Engine(plan(trace), dict(reversed(sizes.items())), "float32").key == engines[0].key


WRONG: list[tuple[str, Callable[[Given], None], str]] = [
    ("x", lambda given: given.inputs.update(x=given.inputs["x"][:, :, 1:]), "(5, 3, 5)|(5, 3, 4)"),
    ("noise0", lambda given: given.noises.update(noise0=given.noises["noise0"][1:]), "(5, 3, 17)|(4, 3, 17)"),
    ("U.i", lambda given: given.params.update({"U.i": given.params["U.i"][1:]}), "(17, 17)|(16, 17)"),
    ("c", lambda given: given.states.update(c=given.states["c"][1:]), "(3, 17)|(2, 17)"),
]


def test_axes_that_are_used_for_one_another_have_one_size() -> None:
    trace = simplify(trace_cell(CELLS["residual(gru)"]))
    with pytest.raises(ShapeError, match="input = 3, hidden = 4"):
        Engine(plan(trace), {"input": 3, "hidden": 4}, "float32")


def test_two_threads_may_call_one_engine() -> None:
    givens = [given_for(pair_of("gru")[0], (5, 3, 5, 17), seed) for seed in range(4)]
    want = [run(given) for given in givens]
    got: dict[int, list[np.ndarray]] = {}

    def call(index: int) -> None:
        for _ in range(20):
            got[index] = leaves(run(givens[index]))

    threads = [threading.Thread(target=call, args=(index,)) for index in range(len(givens))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, right in enumerate(want):
        assert all(np.array_equal(a, b) for a, b in zip(got[index], leaves(right), strict=True))


def test_kernels_that_were_written_ahead_are_not_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWRIGHT_CACHE", str(tmp_path))
    first = engine(given_for(pair_of("gru")[1], (5, 3, 5, 17)))
    ahead, plain, other = (
        Engine(first.program, first.sizes, first.dtype, first.backwards, first.target) for _ in range(3)
    )
    written: list[Kernels] = []

    def emit(kernels: Kernels) -> str:
        written.append(kernels)
        return emit_module(kernels)

    monkeypatch.setattr(engines_of_programs, "emit_module", emit)
    ahead.write(5, 3)
    ahead.write(5, 3)
    library = ahead.kernels(5, 3)[1]
    assert (len(written), library.from_cache) == (1, False)
    assert plain.kernels(5, 3)[1].from_cache
    assert library.ir == plain.kernels(5, 3)[1].ir
    plain.write(5, 3)
    other.write(5, 3)
    assert len(written) == 3, "once to compile, twice to read: nothing is written whose code is in memory or on disk"


def test_code_from_the_cache_gives_the_same() -> None:
    """An engine of the same Program, as another process would make it, finds the code of the first."""
    for trace in pair_of("layer_norm(gru)"):
        given = given_for(trace, (5, 3, 5, 17))
        first = engine(given)
        again = Engine(first.program, first.sizes, first.dtype, first.backwards, first.target)
        want, got = (run_by_name(one, Guarded("float32"), given) for one in (first, again))
        assert again.kernels(5, 3)[1].from_cache
        for arrays, arrays_again in zip(want, got, strict=True):
            for name, array in arrays.items():
                np.testing.assert_array_equal(arrays_again[name], array)


EMIT = """
from gatewright import cells, layer_norm
from gatewright.backends.llvm.codegen.kernels import Kernels
from gatewright.backends.llvm.codegen.module import emit_module
from gatewright.backends.llvm.jit.target import target_named
from gatewright.schedule.program import Choices, Time
from gatewright.schedule.plan import plan
from gatewright.schedule.residuals import save
from gatewright.trace import trace_cell
for cell in (cells.gru, layer_norm(cells.fastrnn)):
    pair = save(trace_cell(cell))
    for trace in (pair.forward, pair.backward):
        kernels = Kernels(plan(trace), {"input": 3, "hidden": 5}, "float32", target_named(), False, 2, 4)
        print(emit_module(kernels), kernels.bound.slots, kernels.layout)
"""


def test_the_same_code_is_generated_in_every_process() -> None:
    """What another process has compiled reads and writes the buffers that this one lays before it."""
    texts = [
        subprocess.run(
            [sys.executable, "-c", EMIT], capture_output=True, text=True, check=True,
            env={**subprocess_environment(), "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert texts[0] == texts[1]
    assert texts[0].count("define void @") > 8
