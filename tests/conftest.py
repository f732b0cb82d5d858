"""Fixtures and options of every test; CONTRIBUTING.md says how the tests are organised."""

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from tests import isolation
from tests.golden_files import GoldenFiles
from tests.paths import GOLDEN, SHARED_DATA, SHARED_WEIGHTS

# Before the first import of NumPy by any test module: thread counts and folders are read at import.
_FOLDER = Path(tempfile.mkdtemp(prefix="gatewright-tests-"))
isolation.enter(_FOLDER)

import numpy as np  # noqa: E402
from hypothesis import settings  # noqa: E402

from tests.quick_runs import quick_run  # noqa: E402, F401 (a fixture)

settings.register_profile("fixed", derandomize=True, deadline=None, database=None, print_blob=True)
settings.register_profile("explore", deadline=None, max_examples=1000, print_blob=True)
settings.load_profile("fixed")

_GOLDEN_KEY = pytest.StashKey[GoldenFiles]()
_SEED_KEY = pytest.StashKey[int]()
_THREADS_KEY = pytest.StashKey[dict[str, int | None]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("gatewright")
    group.addoption("--update-golden", action="store_true", help="write the golden files anew instead of comparing")
    group.addoption("--seed", type=int, default=0, help="base of every test's own seed (default: 0)")


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # a shell starts what runs in the background deaf to interrupts, and its children inherit that
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.getoption("-m") == "gpu":  # before any test module imports triton, which reads it
        os.environ["TRITON_INTERPRET"] = "0"
    config.stash[_GOLDEN_KEY] = GoldenFiles(GOLDEN, update=config.getoption("--update-golden"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """`-n auto`: a worker for each processor that this process may use. Each loads torch, and takes about 1 GiB."""
    return min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, 16)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """`--update-golden` runs the tests that have golden files, and no others; `exhaustive` tests run when asked for."""
    if "exhaustive" not in config.getoption("-m"):
        long = [item for item in items if item.get_closest_marker("exhaustive")]
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]
    if config.getoption("--update-golden"):
        golden = [item for item in items if "golden" in getattr(item, "fixturenames", ())]
        config.hook.pytest_deselected(items=[item for item in items if item not in golden])
        items[:] = golden


def pytest_unconfigure() -> None:
    shutil.rmtree(_FOLDER, ignore_errors=True)


def pytest_report_header(config: pytest.Config) -> str:
    data = "here" if SHARED_DATA.is_dir() else "absent"
    return f"gatewright: base seed {config.getoption('--seed')}, shared data {data}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for name in config.stash[_GOLDEN_KEY].updated:
        terminalreporter.write_line(f"golden file written: {name}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and _SEED_KEY in item.stash:
        base = item.config.getoption("--seed")
        report.sections.append(("Seed", f"{item.stash[_SEED_KEY]} (run this test again with --seed={base})"))
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    item.stash[_THREADS_KEY] = isolation.thread_counts()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """A test that leaves another number of threads behind fails, and not the one after it."""
    result = yield
    before, after = item.stash[_THREADS_KEY], isolation.thread_counts()
    changed = {name: number for name, number in before.items() if after.get(name) != number}
    assert not changed, f"the numbers of threads were {before} before this test, and are {after} after it"
    return result


@pytest.fixture(autouse=True)
def _alone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test is seeded by its own name, and has no network."""
    seed = isolation.seed_of(request.config.getoption("--seed"), request.node.nodeid)
    request.node.stash[_SEED_KEY] = seed
    isolation.seed_everything(seed)
    isolation.forbid_network(monkeypatch)


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """This test's seed; the report of a failure prints it."""
    return request.node.stash[_SEED_KEY]


@pytest.fixture
def rng(seed: int) -> np.random.Generator:
    """A generator of this test's own."""
    return np.random.default_rng(seed)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """`golden("latex/gru.tex", text)` compares with that file under tests/golden."""
    return request.config.stash[_GOLDEN_KEY].check


def _folder_or_skip(folder: Path) -> Path:
    if not folder.is_dir():
        pytest.skip(f"needs real files: there is no folder ../shared/{folder.name} beside the project")
    return folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets beside the project; where it is absent, the test is skipped."""
    return _folder_or_skip(SHARED_DATA)


@pytest.fixture(scope="session")
def shared_weights() -> Path:
    """The folder of weights that others trained; where it is absent, the test is skipped."""
    return _folder_or_skip(SHARED_WEIGHTS)
