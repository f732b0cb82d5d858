"""How many threads kernels use."""

import os
import sys
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from gatewright import threads
from gatewright.errors import OptionError
from gatewright.threads import get_num_threads, set_num_threads


@pytest.fixture(autouse=True)
def _default_again() -> Iterator[None]:
    yield
    set_num_threads(None)


def test_a_number_that_was_set_holds() -> None:
    set_num_threads(3)
    assert get_num_threads() == 3


@pytest.mark.parametrize("wrong", [0, -1, 2.0, "2", True])
def test_a_number_that_cannot_be_is_refused(wrong: object) -> None:
    with pytest.raises(OptionError) as refused:
        set_num_threads(wrong)
    assert str(refused.value) == (
        "set_num_threads was given a number of threads that cannot be\n"
        "  expected: a whole number from 1 up, or None for the default\n"
        f"  got: {wrong!r}"
    )


def test_torch_decides_where_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(get_num_threads=lambda: 5))
    assert get_num_threads() == 5
    set_num_threads(2)
    assert get_num_threads() == 2
    set_num_threads(None)
    assert get_num_threads() == 5


@pytest.mark.parametrize(
    ("said", "number"), [("3", 3), (" 4,2", 4), ("", 7), ("many", 7), ("0", 7), ("-2", 7), (None, 7)]
)
@pytest.mark.parametrize("torch", [None, SimpleNamespace()], ids=["no torch", "torch half imported"])
def test_without_torch_the_environment_decides_and_then_the_machine(
    monkeypatch: pytest.MonkeyPatch, torch: object, said: str | None, number: int
) -> None:
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setattr(os, "process_cpu_count", lambda: 7, raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if said is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert get_num_threads() == number


def test_the_machine_has_a_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "process_cpu_count", raising=False)
    assert 1 <= threads.processors() <= (os.cpu_count() or 1)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert threads.processors() == (os.cpu_count() or 1)
