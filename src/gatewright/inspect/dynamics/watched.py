"""What `train --watch` measured, read from a run's folder."""

import os
from pathlib import Path

from gatewright.errors import DataError
from gatewright.tasks.run import Run
from gatewright.tasks.training.gradient_records import (
    GradientTrouble,
    WatchedGradients,
    gradient_troubles,
    read_gradients,
)
from gatewright.tasks.training.run_folder import RunFolder

__all__ = ["GradientTrouble", "WatchedGradients", "gradient_troubles", "watched_gradients"]


def watched_gradients(run: str | os.PathLike[str] | Run) -> list[WatchedGradients]:
    """The measurements of a run that was trained with `watch`, in the order of its iterations.

        last = gw.inspect.watched_gradients("runs/longlag")[-1]
        last.layers["recurrent.l0"].gates["z"].by_lag          # at last.lags

    Raises DataError where the run was not watched, or the file is damaged.
    """
    path = run.folder if isinstance(run, Run) else Path(run)
    measurements = [] if path is None else read_gradients(RunFolder(path).gradients)
    if not measurements:
        raise DataError(
            f"no gradients were measured in {path}" if path else "a model file alone has no measured gradients",
            do="train with watch=True",
            shell="train with --watch",
        )
    return measurements
