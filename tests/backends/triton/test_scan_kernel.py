"""The kernel of scans in Triton's interpreter: the serial loop's numbers, in both forms and both directions of time."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

from gatewright import cells
from gatewright.backends.triton.kernel_precision import KernelPrecision
from gatewright.backends.triton.kernel_text import Argument, ArgumentKind
from gatewright.backends.triton.program_run import ProgramRun
from gatewright.backends.triton.scan_kernel import LENGTHS, scan_text
from gatewright.backends.triton.scan_launch import ScanKernel, number_of_spans
from gatewright.backends.triton.scan_stage import CoupledScan, ScanSource, ScanStage, scan_stage
from gatewright.backends.triton.torch_scan import coupled_scan
from gatewright.derive import vjp
from gatewright.schedule.fused import FusedScan, program_parts
from gatewright.schedule.interpret import scanned
from gatewright.schedule.plan import plan
from gatewright.schedule.program import Choices, Program, Stage, Storage, Store, Time
from gatewright.schedule.residuals import save
from gatewright.trace import Literal, Trace, Var, simplify, trace_cell
from gatewright.trace.ir import Atom
from tests.backends.triton.drawn import draw, seeds_of
from tests.parity.assertions import assert_parity
from tests.parity.matrix import CELLS, sizes_for
from tests.schedule.running import Given, after, oracle
from tests.schedule.test_scan import IN_CATALOGUE, MADE

DOUBLE = KernelPrecision("float64", "float64")
SCANS = Choices(time=Time.SCAN)
DTYPES = {"float64": DOUBLE, "float32": KernelPrecision()}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What the interpreter computes in padded lanes is thrown away."""
    with np.errstate(all="ignore"):
        yield


def coupled(count: int) -> ScanStage:
    """A stage of one scan of `count` states whose coefficients are sequences."""
    shape = ("hidden",)
    states = tuple(Var(f"s{row}", shape) for row in range(count))
    targets = tuple(Var(f"new{row}", shape) for row in range(count))
    slopes = tuple(tuple(Var(f"a{row}{column}", shape) for column in range(count)) for row in range(count))
    offsets = tuple(Var(f"b{row}", shape) for row in range(count))
    stores = tuple(Store(target, state.name, Storage.STATE) for target, state in zip(targets, states, strict=True))
    sequences = [*(slope for row in slopes for slope in row), *offsets]
    sources = {value.name: ScanSource(ArgumentKind.SEQUENCE, value.name) for value in sequences}
    scan = CoupledScan(targets, states, slopes, offsets)
    return ScanStage("made", Stage("hidden", (), (), stores), (scan,), sources)


class Problem:
    """Random coefficients and starts, and what the serial loop makes of them."""

    def __init__(self, count: int, steps: int, batch: int, features: int, rng: np.random.Generator) -> None:
        self.count, self.steps, self.batch = count, steps, batch
        self.slopes = rng.uniform(0.0, 1.0 / count, (count, count, steps, batch, features))
        self.offsets = rng.normal(size=(count, steps, batch, features))
        self.starts = rng.normal(size=(count, batch, features))

    def serial(self, backwards: bool, lengths: np.ndarray) -> np.ndarray:
        """All states (count, time + 1, batch, features); zero where no step has been."""
        whole = np.zeros((self.count, self.steps + 1, *self.starts.shape[1:]))
        for row, length in enumerate(lengths):
            state = self.starts[:, row]
            whole[:, length if backwards else 0, row] = state
            for t in reversed(range(length)) if backwards else range(length):
                state = np.einsum("ijh,jh->ih", self.slopes[:, :, t, row], state) + self.offsets[:, t, row]
                whole[:, t if backwards else t + 1, row] = state
        return whole

    def by_kernel(self, kernel: ScanKernel, lengths: np.ndarray | None, spans: int | None) -> np.ndarray:
        """The same by the kernel, whose arguments have the names that `coupled` gives."""
        dtype = getattr(torch, kernel.precision.numbers)
        shape = (self.steps + 1, *self.starts.shape[1:])
        states = torch.zeros((self.count, *shape), dtype=dtype)
        arrays: dict[Argument, torch.Tensor | None] = {}
        for argument in kernel.arguments:
            name = argument.name
            if argument == LENGTHS:
                arrays[argument] = None if lengths is None else torch.tensor(lengths, dtype=torch.int32)
            elif argument.kind is ArgumentKind.STATE:
                arrays[argument] = states[int(name[1:])]
            elif argument.kind is ArgumentKind.START:
                arrays[argument] = torch.tensor(self.starts[int(name[1:])], dtype=dtype)
            elif name.startswith("a"):
                arrays[argument] = torch.tensor(self.slopes[int(name[1]), int(name[2])], dtype=dtype)
            else:
                arrays[argument] = torch.tensor(self.offsets[int(name[1:])], dtype=dtype)
        kernel.run(arrays, self.steps, self.batch, spans=spans)
        return states.numpy()


@pytest.mark.parametrize(
    ("dtype", "backwards", "spans"),
    [*(("float64", backwards, spans) for backwards in (False, True) for spans in (1, 3)), ("float32", True, 3)],
)
@pytest.mark.parametrize(
    ("count", "steps", "batch", "features"),
    [(1, 0, 1, 5), (1, 1, 3, 1), (1, 7, 3, 5), (1, 65, 1, 9), (2, 0, 2, 3), (2, 7, 3, 3), (2, 33, 1, 2), (3, 9, 1, 2)],
)
def test_the_serial_loop(
    count: int, steps: int, batch: int, features: int, spans: int, backwards: bool, dtype: str, rng: np.random.Generator
) -> None:
    problem = Problem(count, steps, batch, features, rng)
    sizes = {"hidden": features}
    kernel = ScanKernel(coupled(count), sizes, DTYPES[dtype], backwards=backwards, features=4)
    got = problem.by_kernel(kernel, None, spans)
    assert_parity(got, problem.serial(backwards, np.full(batch, steps)), dtype=dtype, steps=steps)
    if count == 1:
        slope, offset, first = problem.slopes[0, 0], problem.offsets[0], problem.starts[0]
        turn = slice(None, None, -1 if backwards else 1)
        states = scanned(slope[turn], offset[turn], first)[turn]
        assert_parity(after(got[0], backwards), states, dtype=dtype, steps=steps)


@pytest.mark.parametrize("spans", [1, 4])
def test_a_thousand_steps(spans: int, rng: np.random.Generator) -> None:
    problem = Problem(1, 1000, 1, 1, rng)
    kernel = ScanKernel(coupled(1), {"hidden": 1}, DOUBLE, chunk=64, features=1)
    got = problem.by_kernel(kernel, None, spans)
    assert_parity(got, problem.serial(False, np.array([1000])), dtype="float64", steps=1000)


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("spans", [1, 2])
@pytest.mark.parametrize("garbage", [np.nan, np.inf])
def test_rows_that_end_early(backwards: bool, spans: int, garbage: float, rng: np.random.Generator) -> None:
    """What stands in the steps after a row's end reaches nothing."""
    problem = Problem(2, 9, 4, 3, rng)
    lengths = np.array([4, 0, 9, 5])
    want = problem.serial(backwards, lengths)
    over = np.arange(9)[:, None] >= lengths
    problem.slopes[:, :, over] = garbage
    problem.offsets[:, over] = garbage
    kernel = ScanKernel(coupled(2), {"hidden": 3}, DOUBLE, backwards=backwards)
    assert_parity(problem.by_kernel(kernel, lengths, spans), want, dtype="float64", steps=9)


@pytest.mark.parametrize("spans", [1, 3])
def test_products_of_slopes_underflow_quietly(spans: int, rng: np.random.Generator) -> None:
    problem = Problem(1, 40, 2, 3, rng)
    problem.slopes *= 1e-12
    problem.slopes[:, :, 20] = 0.0
    kernel = ScanKernel(coupled(1), {"hidden": 3}, KernelPrecision(), chunk=16)
    got = problem.by_kernel(kernel, None, spans)
    assert_parity(got, problem.serial(False, np.array([40, 40])), dtype="float32", steps=40)


def growing(count: int, steps: int, large: float, rng: np.random.Generator) -> Problem:
    """Products of slopes overflow; the states do not: they are 0 until late, or a step forgets what was before."""
    problem = Problem(count, steps, 2, 2, rng)
    problem.slopes *= large
    problem.offsets[..., :-2, 0, :] = 0.0
    problem.starts[:, 0] = 0.0
    problem.slopes[:, :, [1, -2], 1] = 0.0
    problem.offsets[..., 1:-2, 1, :] = 0.0
    return problem


@pytest.mark.parametrize(
    ("count", "dtype", "large"), [(1, "float32", 1e25), (1, "float64", 1e200), (2, "float32", 1e25)]
)
def test_zero_stays_zero_where_products_of_slopes_overflow(
    count: int, dtype: str, large: float, rng: np.random.Generator
) -> None:
    problem = growing(count, 20, large, rng)
    want = problem.serial(False, np.full(2, 20))
    assert np.isfinite(want.astype(dtype)).all()
    for spans in (1, 3):
        kernel = ScanKernel(coupled(count), {"hidden": 2}, DTYPES[dtype], chunk=8, features=2)
        assert_parity(problem.by_kernel(kernel, None, spans), want, dtype=dtype, steps=20)
    slopes, offsets, starts = (torch.tensor(part) for part in (problem.slopes, problem.offsets, problem.starts))
    by_torch = coupled_scan([list(row) for row in slopes], list(offsets), list(starts))
    assert_parity(torch.stack(by_torch).numpy(), want[:, 1:], dtype="float64", steps=20)
    if count == 1:
        assert_parity(
            scanned(problem.slopes[0, 0], problem.offsets[0], problem.starts[0]), want[0, 1:], dtype="float64", steps=20
        )


def test_slopes_that_are_nan_reach_states_of_zero(rng: np.random.Generator) -> None:
    problem = growing(1, 20, 1e25, rng)
    problem.slopes[:, :, 4, 0] = np.nan
    for spans in (1, 2):
        kernel = ScanKernel(coupled(1), {"hidden": 2}, KernelPrecision(), chunk=8, features=2)
        got = problem.by_kernel(kernel, None, spans)[0]
        np.testing.assert_array_equal(np.isnan(got[5:, 0]), np.ones((16, 2), bool))
        assert np.isfinite(got[:5]).all()


def test_a_feature_that_is_not_finite_stays_alone(rng: np.random.Generator) -> None:
    problem = Problem(1, 10, 2, 5, rng)
    problem.offsets[0, 4, 1, 2] = np.nan
    got = problem.by_kernel(ScanKernel(coupled(1), {"hidden": 5}, DOUBLE), None, 1)[0]
    bad = np.zeros((11, 2, 5), bool)
    bad[5:, 1, 2] = True
    np.testing.assert_array_equal(np.isnan(got), bad)


@pytest.mark.parametrize("value", [Literal(0.25), Var("scalar", ()), Var("shared", ("hidden",))])
def test_slopes_of_every_form(value: Atom, rng: np.random.Generator) -> None:
    """A number, a scalar of each row and step, and a parameter."""
    stage = coupled(1)
    (scan,) = stage.scans
    made = CoupledScan(scan.targets, scan.states, ((value,),), scan.offsets)
    sources = {
        "b0": stage.sources["b0"],
        "scalar": ScanSource(ArgumentKind.SEQUENCE, "scalar"),
        "shared": ScanSource(ArgumentKind.SHARED, "shared"),
    }
    problem = Problem(1, 6, 2, 3, rng)
    numbers = {
        "scalar": rng.uniform(size=(6, 2)), "shared": rng.uniform(size=3),
    }  # fmt: skip
    slope = np.asarray(value.value if isinstance(value, Literal) else numbers[value.name])
    problem.slopes[0, 0] = slope[..., None] if slope.ndim == 2 else slope
    kernel = ScanKernel(ScanStage("made", stage.stage, (made,), sources), {"hidden": 3}, DOUBLE)
    states = torch.zeros((7, 2, 3), dtype=torch.float64)
    tensors = {
        "s0": states, "b0": torch.tensor(problem.offsets[0]), **{n: torch.tensor(a) for n, a in numbers.items()},
    }  # fmt: skip
    arrays = {argument: tensors.get(argument.name) for argument in kernel.arguments}
    arrays[Argument(ArgumentKind.START, "s0")] = None  # zeros
    problem.starts[:] = 0.0
    kernel.run(arrays, 6, 2)
    assert_parity(states.numpy(), problem.serial(False, np.array([6, 6]))[0], dtype="float64", steps=6)


def step(name: str) -> Trace:
    return simplify(trace_cell(MADE[name] if name in MADE else CELLS[name]))


def ran(given: Given, program: Program, lengths: list[int] | None = None) -> dict[str, dict[str, np.ndarray]]:
    """A Program whose stages run by kernels."""

    def tensors(arrays: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
        return {name: torch.tensor(array) for name, array in arrays.items()}

    run = ProgramRun(program, given.sizes, DOUBLE, backwards=given.backwards)
    ends = None if lengths is None else torch.tensor(lengths, dtype=torch.int32)
    sequences = {**given.inputs, **seeds_of(given.trace, given.steps, given.batch)}
    result = run.run(tensors(sequences), tensors(given.params), tensors(given.states), ends, form="resident")
    groups = {"states": result.states, "emits": result.emits, "sums": result.sums}
    return {key: {name: tensor.numpy() for name, tensor in group.items()} for key, group in groups.items()}


@pytest.mark.parametrize("name", [*IN_CATALOGUE, "masked(sru)", "zoneout(sru)", *MADE])
def test_programs(name: str, rng: np.random.Generator) -> None:
    """A step that saves, its gradient, and the gradient of the gradient."""
    pair = save(step(name))
    for trace in (pair.forward, pair.backward, vjp(vjp(step(name)))):
        sizes = dict.fromkeys(trace.axes(), 3) if name in MADE else sizes_for(step(name))
        given = draw(trace, sizes, 5, 2, rng)
        got = ran(given, plan(trace, SCANS))
        got["states"] = {name: after(whole, given.backwards) for name, whole in got["states"].items()}
        assert_parity(got, oracle(given), dtype="float64", steps=5, width=256, cell=name, backend="triton")


@pytest.mark.parametrize("name", ["mingru", "sru"])
def test_programs_with_rows_that_end_early(name: str, rng: np.random.Generator) -> None:
    """Kernels give what torch's scans give."""
    pair = save(step(name))
    for trace in (pair.forward, pair.backward):
        given, lengths = draw(trace, sizes_for(step(name)), 6, 3, rng), [6, 0, 2]
        for sequence in given.inputs.values():
            sequence[np.arange(6)[:, None] >= np.array(lengths)] = 0.0
        program = plan(trace, SCANS)
        run = ProgramRun(program, given.sizes, DOUBLE, backwards=given.backwards)
        tensors = [
            {name: torch.tensor(array) for name, array in group.items()}
            for group in (given.sequences, given.params, given.states)
        ]
        ends = torch.tensor(lengths, dtype=torch.int32)
        want = run.run(tensors[0], tensors[1], tensors[2], ends, form="torch")
        wanted = {"states": want.states, "emits": want.emits, "sums": want.sums}
        assert_parity(ran(given, program, lengths), wanted, dtype="float64", steps=6, width=256, cell=name)


def test_spans_fill_a_gpu_and_are_not_short() -> None:
    assert number_of_spans(programs=10_000, steps=4096, processors=132) == 1
    assert number_of_spans(programs=32, steps=65_536, processors=132) == 17
    assert number_of_spans(programs=32, steps=256, processors=132) == 1
    assert number_of_spans(programs=8, steps=4096, processors=132) == 16


@pytest.mark.parametrize("part", ["forward", "backward"])
def test_texts(part: str, golden: Callable[[str, str], None]) -> None:
    trace = getattr(save(trace_cell(cells.minlstm)), part)
    program = plan(trace, SCANS)
    (fused,) = (one for one in program_parts(program) if isinstance(one, FusedScan))
    golden(f"triton/minlstm_scan_{part}.txt", scan_text(scan_stage(program, fused), {"hidden": 100}).text)
