"""A run of each recipe at a quick size, which all tests share: it is trained when it is first asked for."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from gatewright.tasks.training.session import Result

QuickRun = Callable[[str], "tuple[Result, Path]"]

QUICKER = {
    "adding": ["epochs=6"],
    "digits": ["epochs=1", "hidden=16"],
    "images": ["validation=10", "hidden=16"],
    "longlag": ["epochs=2", "iterations=4", "hidden=8", "lag=5"],
    "music": ["hidden=16"],
    "texts": ["hidden=8", "epochs=1", "words=20"],
    "sequences": ["hidden=16"],
    "series": ["epochs=1", "history=24"],
    "sounds": ["hidden=12"],
    "speakers": ["hidden=16"],
    "tagging": ["epochs=2", "hidden=8"],
    "text": ["tokens=10000", "epochs=1", "hidden=32"],
    "words": ["epochs=1", "hidden=16", "words=200", "batch=4"],
}
"""What is smaller than with --quick; a recipe that reads files has small data of its own in OWN_DATA."""


@pytest.fixture(scope="session")
def quick_run(tmp_path_factory: pytest.TempPathFactory) -> QuickRun:
    """`quick_run("digits")` gives the result of a finished run and its folder; nobody may write into it."""
    from gatewright.tasks import recipes
    from gatewright.tasks.training.session import train
    from tests.tasks.own_data import OWN_DATA
    from tests.tasks.small import QUIET

    @cache
    def trained(name: str) -> "tuple[Result, Path]":
        made = recipes.get(name).configured(QUICKER[name], quick=True)
        folder = tmp_path_factory.mktemp(f"{name} data")
        source = OWN_DATA[name](folder) if name in OWN_DATA else None
        out = tmp_path_factory.mktemp(f"{name} runs") / "a run"
        return train(made, out=out, source=source, console=QUIET), out

    return trained
