"""Lightning's trainer, set up for a run: quiet, without files of its own, stopped cleanly by signals."""

import logging
import signal
import threading
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import lightning.pytorch as pl
import torch

from gatewright.tasks.recipe import Recipe
from gatewright.tasks.training.checkpoints import PlainCheckpoints
from gatewright.tasks.training.processes import Processes

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""What asks a run to stop with its state kept: Ctrl-C, and the signal that asks a process to end."""


def trainer(
    recipe: Recipe, processes: Processes, callbacks: list[pl.Callback], checkpoints: PlainCheckpoints
) -> pl.Trainer:
    """The trainer of a run."""
    with quiet():
        return pl.Trainer(
            accelerator="gpu" if torch.cuda.is_available() else "cpu",
            devices=processes.devices,
            num_nodes=processes.nodes,
            strategy="ddp" if processes.total > 1 else "auto",
            precision="bf16-mixed" if recipe.precision == "bf16" else "32-true",
            max_epochs=recipe.epochs,
            callbacks=callbacks,
            plugins=[checkpoints],
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            limit_val_batches=0,
            use_distributed_sampler=False,
        )


@contextmanager
def quiet() -> Generator[None]:
    """Without Lightning's banners and advice about settings that are chosen here."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\..*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def handling(handler: Callable[[int, Any], Any] | signal.Handlers, *signals: signal.Signals) -> Generator[None]:
    """Install handlers for these signals within the context. Does nothing outside of the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in signals}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
