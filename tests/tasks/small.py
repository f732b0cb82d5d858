"""A small run for tests: every kind of state that a checkpoint must keep is in it, and it takes a second."""

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.console import Console

from gatewright import model_file
from gatewright.tasks.recipe import Recipe
from gatewright.tasks.recipes.text import Text
from gatewright.tasks.training.run_folder import RunFolder
from gatewright.tasks.training.training_module import TrainingModule

WORDS = "the quick brown fox jumps over the lazy dog; pack my box with five dozen liquor jugs. "
SETTINGS = (
    "hidden=6",
    "layers=2",  # dropout between layers draws random numbers
    "dropout=0.3",
    "batch=4",
    "steps=8",
    "held_out=0.1",
    "epochs=3",
    "checkpoint_every=3",
    "rate=0.01",
    "prompts=the",
    "temperature=0",
)
ITERATIONS = 12  # four an epoch
QUIET = Console(quiet=True)


def small_text(folder: Path) -> str:
    """The path of a text that the settings cut into four batches."""
    path = folder / "words.txt"
    path.write_text(WORDS * 2)
    return str(path)


def small_recipe(*assignments: str) -> Recipe:
    """The recipe `text` at that size."""
    changed = {one.partition("=")[0] for one in assignments}
    kept = [one for one in SETTINGS if one.partition("=")[0] not in changed]
    return Text.configured([*kept, *assignments])


class Killed(BaseException):
    """Stands for the end of the process: nothing handles it."""


@contextmanager
def killed_before(iteration: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The process ends as the step of that iteration begins, so what it left in memory is lost."""
    step = TrainingModule.training_step

    def until(module: TrainingModule, *arguments: object) -> object:
        if module.global_step == iteration:
            raise Killed
        return step(module, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(TrainingModule, "training_step", until)
        with pytest.raises(Killed):
            yield


def weights(folder: RunFolder) -> dict[str, bytes]:
    """Every bit of a model that was kept."""
    return {name: array.tobytes() for name, array in model_file.load(folder.model).tensors.items()}


def timeless(metrics: Path) -> list[dict[str, str]]:
    """The rows of a run without what depends on the clock."""
    rows = csv.DictReader(io.StringIO(metrics.read_text()))
    return [{k: v for k, v in row.items() if k != "seconds" and not k.endswith("_per_second")} for row in rows]
