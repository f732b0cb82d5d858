"""A test run keeps to itself: no network, no home folder, seeds that do not depend on the order."""

import os
import random
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.isolation import seed_everything, seed_of
from tests.paths import ROOT, subprocess_environment

ELSEWHERE = "192.0.2.1"  # an address that is reserved for documentation


def test_a_connection_fails_even_where_errors_are_swallowed() -> None:
    def careless() -> None:
        with socket.socket() as connection:
            try:
                connection.connect((ELSEWHERE, 80))
            except Exception:  # noqa: BLE001
                return

    with pytest.raises(pytest.fail.Exception, match="a test may not use the network: connection to .*192.0.2.1"):
        careless()


def test_a_look_up_fails() -> None:
    with pytest.raises(pytest.fail.Exception, match="a test may not use the network: look-up of 'example.com'"):
        socket.create_connection(("example.com", 80))


def test_this_machine_can_be_reached() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname(), timeout=5) as connection,
    ):
        assert connection.getpeername() == server.getsockname()


def test_a_child_process_has_no_network_through_a_client() -> None:
    program = "import urllib.request; urllib.request.urlopen('http://example.com', timeout=5)"
    run = subprocess.run(
        [sys.executable, "-c", program],
        env=subprocess_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode != 0
    assert "URLError" in run.stderr


@pytest.mark.parametrize("variable", ["HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "GATEWRIGHT_DATA", "GATEWRIGHT_CACHE"])
def test_folders_of_a_person_are_not_those_of_the_tests(variable: str) -> None:
    assert "gatewright-tests-" in os.environ[variable]
    assert Path(os.environ[variable]).is_dir()


def test_the_home_folder_is_the_isolated_one() -> None:
    assert str(Path.home()) == os.environ["HOME"]


def test_seeds_differ_between_tests_and_follow_the_base() -> None:
    seeds = {
        seed_of(base, name) for base in (0, 1) for name in ("tests/test_a.py::test_one", "tests/test_a.py::test_two")
    }
    assert len(seeds) == 4
    assert seed_of(0, "tests/test_a.py::test_one") == seed_of(0, "tests/test_a.py::test_one")


def test_every_loaded_generator_is_seeded(seed: int) -> None:
    def draw() -> tuple[float, float]:
        return random.random(), float(np.random.random_sample())

    first = draw()
    seed_everything(seed)
    assert draw() == first


@given(st.integers())
def test_hypothesis_works_beside_the_fixtures_of_every_test(number: int) -> None:
    assert isinstance(number, int)


FAILING = """
def test_that_fails(rng):
    assert rng.integers(10) == 10
"""


def test_a_failure_reports_its_seed(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(FAILING)
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.conftest", "--rootdir", ".", "--seed=3", "test_it.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == pytest.ExitCode.TESTS_FAILED
    assert "base seed 3" in run.stdout
    assert f"{seed_of(3, 'test_it.py::test_that_fails')} (run this test again with --seed=3)" in run.stdout
