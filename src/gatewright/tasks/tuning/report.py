"""The report of a search: its trials, the best of them, and the importance of each setting."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from gatewright.files import write_atomically
from gatewright.tasks.formatting import csv_text
from gatewright.tasks.picture import new_figure, picture
from gatewright.tasks.tuning.study import ENDED, Search, is_complete, outcome

LEAST = 4  # trials to tell importance by
_SHOWN = 3  # settings that get a panel of their own


def ranked(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that have ended: the best first, those that were pruned last."""
    ended = study.get_trials(states=ENDED)
    sign = 1 if study.direction == optuna.study.StudyDirection.MINIMIZE else -1
    return sorted(ended, key=lambda trial: (False, sign * (trial.value or 0.0)) if is_complete(trial) else (True, 0.0))


def importance(study: optuna.Study) -> dict[str, float]:
    """How much of the differences between trials each setting accounts for; nothing where they are too few."""
    done = study.get_trials(states=(TrialState.COMPLETE,))
    if len(done) < LEAST or len({trial.value for trial in done}) < 2:
        return {}
    return optuna.importance.get_param_importances(study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0))


def keep(search: Search, study: optuna.Study) -> list[Path]:
    """Write the trials as CSV and the picture of importance, and say which files those are."""
    files = {search.out / "trials.csv": as_csv(search, ranked(study)).encode()}
    if importances := importance(study):
        files[search.out / "importance.png"] = draw_importance(search, ranked(study), importances)
    for path, content in files.items():
        write_atomically(path, content)
    return list(files)


def as_csv(search: Search, trials: Sequence[FrozenTrial]) -> str:
    """A line for each trial."""
    names = ["trial", search.measure, "outcome", "epochs", *search.space, "folder"]
    return csv_text((row(search, trial) for trial in trials), names)


def row(search: Search, trial: FrozenTrial) -> dict[str, Any]:
    """A trial, ready for CSV and JSON."""
    done = is_complete(trial)
    return {
        "trial": trial.number,
        search.measure: trial.value if done else None,
        "outcome": "complete" if done else outcome(trial),
        "epochs": trial.last_step,
        **trial.params,
        "folder": search.of_trial(trial).path.name,
    }


def draw_importance(search: Search, trials: Sequence[FrozenTrial], importances: dict[str, float]) -> bytes:
    """The importance of each setting, and for those that matter most the measure against their value: a PNG."""
    names, done = list(importances)[:_SHOWN], list(filter(is_complete, trials))
    figure = new_figure(4.2 + 2.9 * len(names), 3.6)
    first, *others = figure.subplots(1, 1 + len(names), width_ratios=[1.2, *(1 for _ in names)])
    first.barh(list(importances), list(importances.values()), color="#1f5fa8")
    first.invert_yaxis()
    first.set_xlabel("importance")
    first.set_xlim(0, 1)
    for axes, name in zip(others, names, strict=True):
        _draw_values(axes, done, name)
    for axes in others[1:]:
        axes.sharey(others[0])
        axes.label_outer()
    if others:
        others[0].set_ylabel(search.measure)
    figure.suptitle(f"{search.recipe.name}: which settings matter, by {len(done)} trials; red is the best", fontsize=11)
    return picture(figure)


def _draw_values(axes: Any, done: Sequence[FrozenTrial], name: str) -> None:
    """Trials by the value of a setting; the best one is filled with another colour."""
    values = [trial.params[name] for trial in done]
    numeric = all(isinstance(value, int | float) for value in values)
    places: list[Any] = values if numeric else list(map(str, values))
    colours = ["#d1495b", *("#7f7f7f" for _ in done[1:])]
    axes.scatter(places, [trial.value for trial in done], c=colours, s=18)
    if numeric and _is_wide(places):
        axes.set_xscale("log")
        _label_plainly(axes.xaxis)
    if _is_wide([trial.value for trial in done]):
        axes.set_yscale("log")
        _label_plainly(axes.yaxis)
    axes.set_xlabel(name)
    axes.grid(visible=True, alpha=0.25)


def _is_wide(values: Sequence[Any]) -> bool:
    """Whether they are better told apart by their logarithms."""
    return min(values) > 0 and max(values) >= 10 * min(values)


def _label_plainly(axis: Any) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axis.set_major_locator(LogLocator(subs=(1, 3), numticks=8))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())
