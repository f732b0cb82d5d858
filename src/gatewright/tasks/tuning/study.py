"""The search for the best settings of a recipe, by Optuna: each trial is a run, and poor ones are pruned."""

import math
import signal
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna import Study
from optuna.exceptions import ExperimentalWarning, OptunaError, TrialPruned
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from gatewright.errors import NonFiniteError, OptionError
from gatewright.tasks.comparing.overview import RunsProgress, overview, share_of
from gatewright.tasks.formatting import spell
from gatewright.tasks.recipe import Recipe
from gatewright.tasks.training.checkpoints import RunObserver
from gatewright.tasks.training.history import read_rows
from gatewright.tasks.training.run_folder import RunFolder
from gatewright.tasks.training.session import Interrupted, train_or_resume
from gatewright.tasks.tuning.space import Space
from gatewright.terminal import Terminal

ENDED = (TrialState.COMPLETE, TrialState.PRUNED)
_HEARTBEAT = 60  # seconds; a trial that is not heard of for twice as long is given to another process
_UNTOUCHED = 4  # trials that are not pruned, since there is too little to compare with
_FOLDER, _PROBLEM, _ABOUT = "folder", "problem", "gatewright"  # what trials and the study remember


@dataclass(frozen=True)
class Search:
    """What is searched, and where its trials are kept: `storage` is a database address, None a file in the folder."""

    recipe: Recipe
    space: Space
    source: str | None
    out: Path
    storage: str | None
    name: str

    @property
    def address(self) -> str:
        """Of the database."""
        return self.storage or f"sqlite:///{self.out / 'study.db'}"

    @property
    def measure(self) -> str:
        """What is made as good as possible."""
        return f"validation {self.recipe.monitored()[0]}"

    def about(self) -> dict[str, Any]:
        """What the study remembers, so that nobody goes on with another search under its name."""
        settings = {key: value for key, value in self.recipe.settings().items() if key not in self.space}
        searched = {key: str(choice) for key, choice in self.space.items()}
        return {"recipe": self.recipe.name, **settings, "data": self.source, **searched}

    def of_trial(self, trial: FrozenTrial | Trial) -> RunFolder:
        """The folder of a trial's run; one that was begun again has that of its first time."""
        return RunFolder(self.out / trial.user_attrs.get(_FOLDER, f"trial-{trial.number:04d}"))


def tune(search: Search, trials: int, console: Terminal) -> Study:
    """Go on until the study has that many trials, those of other processes and machines included.

    Raises Interrupted where it was asked to stop; the trial that was at work is then the next one's to go on with.
    """
    data = search.recipe.data(search.source)
    if "validation" not in data.parts:
        share = "validation" if hasattr(search.recipe, "validation") else "held_out"
        raise OptionError(
            "the data has no validation part to tell good settings by",
            do=f"hold out a part of it: {share}=0.2",
            shell=f"hold out a part of it, with --set {share}=0.2",
        )
    if data.fitted:
        console.print(search.recipe.fitted_remark(data.fitted), soft_wrap=True)
    study = open_study(search)
    at_work: list[int] = []

    def objective(trial: Trial) -> float:
        at_work[:] = [trial.number]
        return _perform(search, trial)

    with overview(console, lambda: _standing(search, study, trials)):
        while len(study.get_trials(deepcopy=False, states=ENDED)) < trials:
            try:
                study.optimize(objective, n_trials=1)
            except (Interrupted, KeyboardInterrupt) as stop:
                for number in at_work:
                    _go_on_later(study, study.trials[number])
                raise stop if isinstance(stop, Interrupted) else Interrupted(signal.SIGINT) from None
            at_work.clear()
    return study


def open_study(search: Search) -> Study:
    """The study of that name, made where there is none; OptionError where it is one of another search."""
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)  # we speak ourselves
    search.out.mkdir(parents=True, exist_ok=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            storage = RDBStorage(
                search.address,
                heartbeat_interval=_HEARTBEAT,
                grace_period=2 * _HEARTBEAT,
                heartbeat_stale_trial_callback=_go_on_later,
            )
        study = optuna.create_study(
            storage=storage,
            study_name=search.name,
            direction="minimize" if search.recipe.monitored()[1] == "min" else "maximize",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=_UNTOUCHED),
            load_if_exists=True,
        )
    except (OptunaError, SQLAlchemyError, ImportError, ValueError) as error:
        raise OptionError(
            f"the database {search.address} cannot be used",
            expected="an address such as sqlite:///study.db or postgresql://user@host/name",
            got=str(error).partition("\n")[0],
            do="see that it can be reached, and that its driver is installed",
        ) from error
    _check_same(study, search)
    # The same seed for the same search; another where it goes on; none where others may draw at the same time.
    there, seed = study.get_trials(deepcopy=False), None
    if search.storage is None and all(trial.state != TrialState.RUNNING for trial in there):
        seed = int(np.random.SeedSequence([search.recipe.seed, len(there)]).generate_state(1)[0])
    study.sampler = optuna.samplers.TPESampler(seed=seed)
    return study


def _check_same(study: Study, search: Search) -> None:
    kept, wanted = study.user_attrs.get(_ABOUT), search.about()
    if kept is None:
        study.set_user_attr(_ABOUT, wanted)
        return
    differing = [key for key in dict.fromkeys([*wanted, *kept]) if wanted.get(key) != kept.get(key)]
    if differing:
        raise OptionError(
            f"the study {search.name!r} searches something else",
            expected=", ".join(f"{key}={wanted.get(key)}" for key in differing),
            got=", ".join(f"{key}={kept.get(key)}" for key in differing),
            do="give the same options again, or start another study under another name or in another folder",
            shell="give the same options again, or start another study with --study or --out",
        )


def _go_on_later(study: Study, trial: FrozenTrial) -> None:
    """Put a trial that was cut short in the queue again, with its folder and what it has reported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        RetryHeartbeatStaleTrialCallback(inherit_intermediate_values=True)(study, trial)


def _perform(search: Search, trial: Trial) -> float:
    """Train as the trial proposes; the best validation, or TrialPruned."""
    drawn = {name: choice.draw(trial, name) for name, choice in search.space.items()}
    recipe = search.recipe.restored({**search.recipe.settings(), **drawn})
    folder = search.of_trial(trial)
    trial.set_user_attr(_FOLDER, folder.path.name)
    metric, direction = recipe.monitored()

    def validated(epoch: int, validation: Mapping[str, float]) -> None:
        with warnings.catch_warnings():  # a trial that goes on may repeat what it has reported
            warnings.simplefilter("ignore")
            trial.report(validation[metric], epoch)
        if trial.should_prune():
            raise TrialPruned

    try:
        train_or_resume(recipe, folder, search.source, RunObserver(validated=validated))
    except NonFiniteError as error:  # as bad as can be, which a sampler has to know
        trial.set_user_attr(_PROBLEM, error.problem)
        raise TrialPruned from error
    column = f"validation_{metric}"
    values = [row[column] for row in read_rows(folder.metrics) if math.isfinite(row.get(column, math.nan))]
    if not values:
        raise TrialPruned
    return min(values) if direction == "min" else max(values)


def _standing(search: Search, study: Study, trials: int) -> RunsProgress:
    all_trials = study.get_trials(deepcopy=False)
    ended = [trial for trial in all_trials if trial.state in ENDED]
    running = [trial for trial in all_trials if trial.state == TrialState.RUNNING]
    share = len(ended) + sum(share_of(search.of_trial(trial), search.recipe.epochs) for trial in running)
    values = [trial.value for trial in ended if is_complete(trial) and trial.value is not None]
    best = (min if search.recipe.monitored()[1] == "min" else max)(values, default=None)
    title = f"{len(ended)} of {trials} trials" + ("" if best is None else f", best {spell(best)}")
    return RunsProgress(min(share / trials, 1.0), tuple(trial_line(trial, search.measure) for trial in ended), title)


def trial_line(trial: FrozenTrial, measure: str) -> str:
    """A trial in one line."""
    settings = ", ".join(f"{name} {spelled(value)}" for name, value in trial.params.items())
    result = f"{measure} {spell(trial.value or 0.0)}" if is_complete(trial) else outcome(trial)
    return f"trial {trial.number}: {settings}: {result}"


def is_complete(trial: FrozenTrial) -> bool:
    """Whether it was trained to its end; the value of one that was pruned is no result."""
    return trial.state == TrialState.COMPLETE


def outcome(trial: FrozenTrial) -> str:
    """What became of a trial that is not complete."""
    return trial.user_attrs.get(_PROBLEM) or f"pruned at epoch {trial.last_step}"


def spelled(value: Any) -> str:
    """A setting's value as a person reads it."""
    return spell(value) if isinstance(value, float) else str(value)


def command(search: Search, params: Mapping[str, Any]) -> list[str]:
    """The command that trains with these settings."""
    settings = {**search.recipe.changed(), **params}
    words = ["gatewright", "train", search.recipe.name]
    if search.source is not None:
        words += ["--data", search.source]
    for name, value in settings.items():
        words += ["--set", f"{name}={value}"]
    return words
