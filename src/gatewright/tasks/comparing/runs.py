"""The runs of a comparison: one for each cell and seed, on the same data with the same settings."""

import signal
import threading
from collections.abc import Generator, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import joblib

from gatewright.errors import GatewrightError, OptionError
from gatewright.tasks.cell_spec import read_cell
from gatewright.tasks.comparing.engines import engine
from gatewright.tasks.comparing.matching import count_parameters, matched
from gatewright.tasks.comparing.overview import RunsProgress, overview, share_of
from gatewright.tasks.data.published.registry import find_data_set
from gatewright.tasks.formatting import spell
from gatewright.tasks.recipe import Recipe
from gatewright.tasks.settings import from_texts
from gatewright.tasks.training.checkpoints import RunObserver
from gatewright.tasks.training.run_folder import RunFolder, absolute
from gatewright.tasks.training.session import Interrupted, Result, read_result, train_or_resume
from gatewright.tasks.training.trainer import STOP_SIGNALS, handling
from gatewright.terminal import Terminal

_STOP = ".stop"  # the file that asks every run of a comparison to stop, wherever it runs
_ONE_AT_A_TIME = threading.Lock()  # a run seeds the random numbers of its process


@dataclass(frozen=True)
class ComparedRun:
    """One run of a comparison; its folder is that of an ordinary run."""

    recipe: Recipe
    source: str | None
    folder: RunFolder
    over: str | None = None  # the setting that is varied, where one is
    measure: str | None = None  # what is asked for, such as "test accuracy"; None for what says most

    @property
    def value(self) -> Any:
        """Of the setting that is varied; None where none is."""
        return None if self.over is None else getattr(self.recipe, self.over)

    @property
    def group(self) -> str:
        """What to call it together with its other seeds."""
        return self.recipe.cell if self.over is None else f"{self.recipe.cell}, {self.over}={self.value}"

    @property
    def title(self) -> str:
        """What to call it."""
        return f"{self.group}, seed {self.recipe.seed}"


@dataclass(frozen=True)
class RunOutcome:
    """The outcome of a run: its result, or the problem; neither if it was stopped."""

    run: ComparedRun
    result: Result | None = None
    problem: str | None = None


@dataclass(frozen=True)
class VariedSetting:
    """A setting that is varied, and its values."""

    setting: str
    values: tuple[Any, ...]


def read_over(kind: type[Recipe], text: str) -> VariedSetting:
    """What a text such as lag=50,100,200 says is varied.

    Raises OptionError for a text that cannot be read, or a value that the setting cannot have.
    """
    name, _, values = map(str.strip, text.partition("="))
    texts = [value.strip() for value in values.split(",")]
    if name in ("cell", "seed", "preset") or not all(texts) or len(set(texts)) < len(texts):
        raise OptionError(
            "--over cannot be read",
            expected="a setting other than cell, seed and preset, with different values, as in hidden=64,128",
            got=repr(text),
        )
    varied = tuple(from_texts(kind, [f"{name}={value}"])[name] for value in texts)
    for value in varied:
        kind.restored({name: value})
    return VariedSetting(name, varied)


def plan(
    recipe: Recipe,
    cells: Sequence[str],
    seeds: Sequence[int],
    *,
    out: Path,
    source: str | None,
    match: bool = False,
    over: VariedSetting | None = None,
    measure: str | None = None,
) -> list[ComparedRun]:
    """The runs: for each cell every seed, and with `over` for each value of that setting.

    With `match` each cell gets the hidden size that brings its number of parameters closest to the first cell's.
    Raises OptionError for a cell that cannot be read or comes twice, and where a folder holds a run with other
    settings.
    """
    names = [slug(cell) for cell in cells]
    twice = next((cell for place, cell in enumerate(cells) if names[place] in names[:place]), None)
    if twice is not None or not cells:
        raise OptionError("cells to compare are different ones", got=f"{twice} twice" if twice else "none")
    for cell in cells:
        read_cell(cell)
    if source is not None and find_data_set(source) is None:
        recipe.data(source)  # what is wrong with it is said once, and before there are any folders
    setting = None if over is None else over.setting
    varied = [recipe] if over is None else [replace(recipe, **{over.setting: value}) for value in over.values]
    by_value = [_of_cells(variant, cells, source, match=match) for variant in varied]
    return [
        ComparedRun(
            replace(variant, seed=seed),
            absolute(source),
            RunFolder(out / _folder(variant, setting, seed)),
            setting,
            measure,
        )
        for of_cell in zip(*by_value, strict=True)
        for variant in of_cell
        for seed in seeds
    ]


def _of_cells(recipe: Recipe, cells: Sequence[str], source: str | None, *, match: bool) -> list[Recipe]:
    variants = [replace(recipe, cell=cell) for cell in cells]
    if not match:
        return variants
    sizes = recipe.data(source).sizes
    parameters = count_parameters(variants[0], sizes)
    return [variants[0], *(matched(variant, sizes, parameters) for variant in variants[1:])]


def _folder(recipe: Recipe, setting: str | None, seed: int) -> str:
    varied = "" if setting is None else f"-{slug(f'{setting}={getattr(recipe, setting)}')}"
    return f"{slug(recipe.cell)}{varied}-{seed}"


def slug(cell: str) -> str:
    """A cell's text as the name of a folder: gru-reset-after for gru(reset=after)."""
    words = "".join(letter if letter.isalnum() else " " for letter in cell).split()
    return "-".join(words)


def compare(
    runs: Sequence[ComparedRun],
    *,
    out: Path,
    jobs: int,
    console: Terminal,
    where: str = "processes",
    overwrite: bool = False,
) -> list[RunOutcome]:
    """Train what is not trained yet, `jobs` at a time, and go on with what was stopped.

    Raises Interrupted where it was asked to stop; every run then has its state kept.
    """
    stop = out / _STOP
    stop.unlink(missing_ok=True)
    for run in runs:
        if overwrite:
            run.folder.check_new(overwrite=True)
        elif run.folder.run.exists():
            run.folder.check_is(run.recipe.name, run.recipe.settings(), run.source)
    out.mkdir(parents=True, exist_ok=True)
    waiting = [run for run in runs if not run.folder.finished]
    order = sorted(runs, key=lambda run: not run.folder.finished)
    with overview(console, lambda: _standing(order)), _stopping(stop) as asked:
        performed = _perform_all(waiting, stop.resolve(), jobs, where) if waiting else []
    if stop.exists():
        stop.unlink()
        raise Interrupted(asked[0] if asked else signal.SIGINT)
    done = {outcome.run.folder.path: outcome for outcome in performed}
    return [done[path] if (path := run.folder.path) in done else perform(run, stop) for run in runs]


def _perform_all(runs: Sequence[ComparedRun], stop: Path, jobs: int, where: str) -> list[RunOutcome]:
    try:
        with engine(where, min(jobs, len(runs))):
            performed: Any = joblib.Parallel()(joblib.delayed(perform)(run, stop) for run in runs)
            return list(performed)
    except BrokenExecutor as error:
        if stop.exists():  # a process that was just starting was stopped in its own way
            return []
        raise GatewrightError(
            "a process that trained a run has ended, perhaps for lack of memory",
            got=str(error).splitlines()[0],
            do="call it again, which goes on with what is there; jobs=1 needs the least memory",
            shell="give the same command again, which goes on with what is there; --jobs 1 needs the least memory",
        ) from error


def perform(run: ComparedRun, stop: Path) -> RunOutcome:
    """Train, go on, or read the result, in whichever process; an error is told, so that it ends no other run."""
    observer = RunObserver(stop=stop.exists)
    with _ONE_AT_A_TIME:
        if stop.exists():
            return RunOutcome(run)
        try:
            return RunOutcome(run, train_or_resume(run.recipe, run.folder, run.source, observer))
        except Interrupted:
            stop.touch()  # whoever was interrupted, it is meant for all
            return RunOutcome(run)
        except GatewrightError as error:
            return RunOutcome(run, problem=error.in_shell())


def _standing(runs: Sequence[ComparedRun]) -> RunsProgress:
    ended = [run for run in runs if run.folder.finished]
    share = sum(share_of(run.folder, run.recipe.epochs) for run in runs) / len(runs)
    lines: list[str] = []
    for run in ended:
        result = read_result(run.folder)
        part, metric = headline(run, result)
        lines.append(f"{run.title}: {part} {metric} {spell(result.metrics[part][metric])}, {result.seconds:,.0f} s")
    return RunsProgress(share, tuple(lines), f"{len(ended)} of {len(runs)} runs")


def headline(run: ComparedRun, result: Result) -> tuple[str, str]:
    """The part and the measure that are asked for, or else say most: what the recipe promises, or the last part's."""
    part, _, metric = (run.measure or "").rpartition(" ")
    if metric in result.metrics.get(part, ()):
        return part, metric
    recipe = run.recipe
    expected = recipe.expected.get(recipe.preset)
    if expected is not None and expected.metric in result.metrics.get(expected.part, ()):
        return expected.part, expected.metric
    return list(result.metrics)[-1], recipe.objective().headline


@contextmanager
def _stopping(stop: Path) -> Generator[list[int]]:
    """Let Ctrl-C stop every run with its state kept; when asked again, at once."""
    asked: list[int] = []

    def handle(number: int, _: Any) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        stop.touch()

    with handling(handle, *STOP_SIGNALS):
        yield asked
