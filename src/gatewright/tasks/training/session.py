"""Training a recipe: from its settings to a model file, a measured result and a picture of the curves."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, get_type_hints

import torch
from lightning.pytorch.callbacks import Callback

from gatewright import __version__
from gatewright.errors import DataError, GatewrightError, OptionError
from gatewright.files import write_atomically
from gatewright.nn import Recurrent, layer_records
from gatewright.tasks import recipes
from gatewright.tasks.answers.confusion import draw_confusion
from gatewright.tasks.answers.evaluate import measure_parts
from gatewright.tasks.cell_spec import read_cell
from gatewright.tasks.data.digest import digest
from gatewright.tasks.data.published.sources import IN_MEMORY
from gatewright.tasks.data.ragged import doubtful_classes
from gatewright.tasks.model import Model
from gatewright.tasks.picture import picture
from gatewright.tasks.recipe import Recipe
from gatewright.tasks.run_data import Data
from gatewright.tasks.training import checkpoints as checkpointing
from gatewright.tasks.training.checkpoints import Interrupted, RunObserver
from gatewright.tasks.training.curves import draw_curves
from gatewright.tasks.training.gradient_picture import gradient_figure
from gatewright.tasks.training.gradient_watch import GradientWatch, watch_interval
from gatewright.tasks.training.history import ITERATION, History
from gatewright.tasks.training.machine import machine
from gatewright.tasks.training.processes import Processes, from_the_first, part_at_the_end, was_lost
from gatewright.tasks.training.progress import ProgressCallback
from gatewright.tasks.training.run_folder import DESCRIPTION, RunFolder, absolute, damaged
from gatewright.tasks.training.trainer import STOP_SIGNALS, handling, quiet, trainer
from gatewright.tasks.training.training_module import TrainingModule
from gatewright.terminal import Terminal
from gatewright.trace import Trace
from gatewright.trace.parse import parse
from gatewright.trace.text import to_text

__all__ = ["Interrupted", "Result", "resume", "train"]

ALONE = Processes()


@dataclass(frozen=True)
class Result:
    """The result of a finished run, as stored in `result.json`."""

    recipe: str
    cell: str
    parameters: int
    seed: int
    metrics: dict[str, dict[str, float]]  # by the part of the data
    epochs: int
    best_epoch: int | None  # None where the last network is the one that was kept
    iterations: int
    seconds: float
    speed: dict[str, int]  # of training, without the validations
    samples: dict[str, str]
    settings: dict[str, Any] = field(repr=False)
    machine: dict[str, Any] = field(repr=False)
    best_score: float | None = None  # of the best epoch, by the measure that decides
    baselines: dict[str, dict[str, float]] = field(default_factory=dict[str, dict[str, float]])
    """What simple methods reach: by the part of the data, and in it by measure and method."""
    classes: dict[str, Any] = field(default_factory=dict[str, Any], repr=False)
    """Of a classifier, by part: `ClassReport.kept`."""


def train(
    recipe: Recipe,
    *,
    out: Path,
    source: object = None,
    overwrite: bool = False,
    processes: Processes = ALONE,
    console: Terminal | None = None,
    observer: RunObserver | None = None,
    watch: bool | int = False,
) -> Result:
    """Train the recipe on its own data, or on that of a name, a path or an object in memory, into the folder `out`.

    `watch` measures gradient norms every so many iterations, True 100 times in the run: see GradientWatch.

    Where there are several processes, each of them calls this, and gets the same result.

    Raises OptionError where the folder holds something already, NonFiniteError where the loss left the numbers,
    and Interrupted, with a state that `resume` goes on from, where the run was asked to stop.
    """
    folder = RunFolder(out)
    processes.check()
    if not processes.is_first:
        return _Session(folder, recipe, source, processes, None, observer).run(from_checkpoint=False)
    with folder.locked():
        folder.check_new(overwrite=overwrite)
        session = _Session(folder, recipe, source, processes, console, observer, watch=watch)
        folder.write(folder.run, session.description())
        return session.run(from_checkpoint=False)


def resume(
    out: Path,
    *,
    asked: Recipe | None = None,
    source: object = None,
    processes: Processes | None = None,
    console: Terminal | None = None,
    observer: RunObserver | None = None,
    watch: bool | int = False,
) -> Result:
    """Go on with the run in the folder `out`, from its last checkpoint; of a finished run, read the result.

    A run that was watched is watched on; `watch` begins to, or measures at another interval from here on.

    A run on data in memory needs that data as `source`, as its folder has nothing but a digest of it.

    Raises OptionError where there is no run, or where `asked`, `source` or `processes` asks for other settings than
    the run's, and DataError where the data is no longer what the run began with.
    """
    folder = RunFolder(out)
    if not folder.run.exists():
        raise OptionError(
            f"{out} holds no run to resume",
            do="name the folder of a run",
            shell="leave out --resume, or name its folder with --out",
        )
    kept = folder.description()
    if "devices" not in kept:
        raise OptionError(
            f"{out} holds a run of a version that trained in one process only, and cannot be resumed",
            do="train anew in another folder; a model.safetensors in this one can be used as it is",
        )
    folder.read(folder.run, DESCRIPTION, optional=frozenset({"asked", "watch"}))
    _check_asked(out, kept, asked, source, processes)
    if kept["data"] == IN_MEMORY and source is None and not folder.finished:
        raise OptionError(
            f"the run in {out} was trained on data in memory, of which it keeps nothing but a digest",
            do=f"give the same data again: gatewright.tasks.resume({str(out)!r}, data=...)",
            shell="go on with it in Python, where the data is; a command cannot be given data in memory",
        )
    recipe, trace = _described(folder, kept)
    own = Processes(kept["devices"], kept["nodes"])
    own.check()
    with folder.locked() if own.is_first else nullcontext():
        if folder.finished:
            return read_result(folder)
        torch.set_num_threads(kept["threads"])  # another number may add up in another order
        # The trace holds the equations; with which weights they begin, before there is a checkpoint, the cell knows.
        trace = trace if folder.checkpoint.exists() else None
        data = source if kept["data"] == IN_MEMORY else kept["data"]
        watch = watch or kept.get("watch", 0)
        session = _Session(folder, recipe, data, own, console, observer, trace, watch=watch)
        session.check_same(kept)
        return session.run(from_checkpoint=trace is not None)


def train_or_resume(recipe: Recipe, folder: RunFolder, source: str | None, observer: RunObserver) -> Result:
    """Train quietly into the folder, or go on with the run that is there; OptionError where that is another one."""
    console = Terminal(quiet=True)
    if folder.run.exists():
        folder.check_is(recipe.name, recipe.settings(), source)
        return resume(folder.path, console=console, observer=observer)
    return train(recipe, out=folder.path, source=source, console=console, observer=observer)


def read_result(folder: RunFolder) -> Result:
    """The result of the run in a folder. Raises DataError if its file is damaged."""
    kinds = get_type_hints(Result)
    kept = folder.read(folder.result, kinds, optional=frozenset({"best_score", "baselines", "classes"}))
    return Result(**{name: value for name, value in kept.items() if name in kinds})


MOST_THREADS = 1 << 12


def _described(folder: RunFolder, kept: Mapping[str, Any]) -> tuple[Recipe, Trace]:
    """The recipe and the equations of a run. Raises DataError if `run.json` is not valid."""
    for name in ("devices", "nodes", "threads"):
        if not 1 <= kept[name] <= MOST_THREADS:
            expected = f"{name} from 1 to {MOST_THREADS}"
            raise damaged(f"{folder.run} is damaged", expected=expected, got=str(kept[name])[:80])
    try:
        return recipes.get(kept["recipe"]).reopened(kept["settings"]), parse(kept["trace"])
    except GatewrightError as error:
        problem = f"{folder.run} is damaged: {error.problem}"
        raise damaged(problem, expected=error.expected, got=error.got) from error


def _check_asked(
    out: Path, kept: dict[str, Any], asked: Recipe | None, source: object, processes: Processes | None
) -> None:
    """Refuse settings other than the run's. Settings with the recipe's default were not asked for."""
    wanted = {} if asked is None else {"recipe": asked.name, **asked.changed()}
    if source is not None:
        wanted["data"] = absolute(source)
    if processes is not None:
        wanted |= asdict(processes)
    has = {**kept["settings"], **{key: kept[key] for key in ("data", "devices", "nodes")}}
    has["recipe"] = recipes.ALIASES.get(kept["recipe"], kept["recipe"])  # it may be kept under an earlier name
    asked_before = kept.get("asked", {})  # sizes that were smaller in the end
    differing = [
        f"{key}={value}, where the run has {has.get(key)}"
        for key, value in wanted.items()
        if value not in (has.get(key), asked_before.get(key, has.get(key)))
    ]
    if differing:
        raise OptionError(
            f"the run in {out} has other settings",
            got="; ".join(differing),
            do="resume without these options, or start another run in another folder",
        )


class _Session:
    """One process of a run: data, network, callbacks, and the steps from start to result."""

    def __init__(
        self,
        folder: RunFolder,
        recipe: Recipe,
        source: object,
        processes: Processes,
        console: Terminal | None,
        observer: RunObserver | None,
        trace: Trace | None = None,
        *,
        watch: bool | int = False,
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.folder, self.source, self.processes = folder, absolute(source), processes
        source = source if self.source == IN_MEMORY else self.source
        self.console = (console or Terminal(stderr=True)) if processes.is_first else Terminal(quiet=True)
        self.digest = {"in_memory": digest(source)} if self.source == IN_MEMORY else {}
        self.data: Data = recipe.data(source)
        self.asked = {name: getattr(recipe, name) for name in self.data.fitted}
        notes = (*doubtful_classes(self.data.sizes.classes or ()), recipe.fitted_remark(self.data.fitted))
        self.remarks = tuple(filter(None, (*self.data.remarks, *notes)))
        self.recipe = recipe = replace(recipe, **self.data.fitted)
        network = recipe.network(self.data.sizes, trace or read_cell(recipe.cell))
        recipe.prepare(network, self.data)
        self.model = Model(recipe, self.data.sizes, network, source, self.data.prompts, self.data.signature)
        self.module = TrainingModule(recipe, self.model.network, self.data)
        self.history = History(self.module, folder, self.data.parts.get("validation"))
        self.checkpoint_callback = checkpointing.CheckpointCallback(
            self.module, folder, self.history, lambda: self.model.save(folder.model), observer or RunObserver()
        )
        interval = watch_interval(watch, self.module.total_iterations)
        self.watch = GradientWatch(self.module, folder, interval) if interval else None

    def description(self) -> dict[str, Any]:
        """The content of `run.json`: all that is needed to resume."""
        return {
            "recipe": self.recipe.name,
            "settings": self.recipe.settings(),
            "asked": self.asked,
            "data": self.source,
            "origin": {**self.data.origin, **self.digest},
            "trace": to_text(layer_records(self.model.network)[0].trace),
            "threads": torch.get_num_threads(),
            **asdict(self.processes),
            "version": __version__,
            **({"watch": self.watch.interval} if self.watch else {}),
        }

    def check_same(self, kept: dict[str, Any]) -> None:
        """Check that data and equations are the ones that the run began with."""
        now = self.description()
        # Runs of earlier versions stored less about their data: only that is compared.
        now["origin"] = {name: value for name, value in now["origin"].items() if name in kept["origin"]}
        for key, what in (("origin", "data"), ("trace", "cell")):
            if kept[key] != now[key]:
                raise DataError(
                    f"the {what} of the run in {self.folder.path} has changed",
                    expected=str(kept[key]),
                    got=str(now[key]),
                    do=f"restore the {what}, or start a new run in another folder",
                )

    def run(self, *, from_checkpoint: bool) -> Result:
        """Train to the end, from the checkpoint or from the start."""
        progress = ProgressCallback(self.module, self.history, self.console)
        watching = [self.watch] if self.watch else []
        callbacks: list[Callback] = [*watching, self.history, progress, self.checkpoint_callback]
        checkpoints = checkpointing.PlainCheckpoints()
        lightning = trainer(self.recipe, self.processes, callbacks, checkpoints)
        if self.processes.total > 1:
            part_at_the_end()
        self._print_start()
        try:
            stop = self.checkpoint_callback.request_stop
            with quiet(), handling(lambda number, _: stop(number), *STOP_SIGNALS), self._restoring(checkpoints):
                lightning.fit(self.module, ckpt_path=self.folder.checkpoint if from_checkpoint else None)
            return from_the_first(self._finish, is_first=self.processes.is_first)
        except BaseException as error:
            if self.checkpoint_callback.started:  # otherwise the run stays as it was
                self._draw()
            if self.processes.total > 1 and was_lost(error):
                raise GatewrightError(
                    f"a process of the run in {self.folder.path} has ended before the others",
                    got=str(error).partition("\n")[0],
                    do="look at what it said; resume goes on from the last checkpoint",
                    shell="look at what it said; --resume goes on from the last checkpoint",
                ) from error
            raise

    @contextmanager
    def _restoring(self, checkpoints: checkpointing.PlainCheckpoints) -> Generator[None]:
        """Report an error between loading a checkpoint and the first iteration as a damaged checkpoint."""
        try:
            yield
        except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            others = isinstance(error, GatewrightError | torch.OutOfMemoryError)
            if others or not checkpoints.loaded or self.checkpoint_callback.started:
                raise
            path = self.folder.checkpoint
            raise damaged(f"the checkpoint {path} does not fit the run", got=checkpointing.in_a_line(error)) from error

    def _finish(self) -> Result:
        network = self.model.network
        network.load_state_dict(self.checkpoint_callback.best or network.state_dict())
        self.recipe.conclude(network, self.data)
        self.model.save(self.folder.model)
        self._draw()
        result = self._result()
        self.folder.write(self.folder.result, result.__dict__)
        self._print_gradients()
        return result

    @property
    def _parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.model.network.parameters())

    def _print_start(self) -> None:
        recipe, total = self.recipe, self.processes.total
        several = f", {total} processes" if total > 1 else ""
        self.console.print(
            f"{recipe.name}, {recipe.cell}, {self._parameters:,} parameters, seed {recipe.seed}{several}"
        )
        for remark in self.remarks:
            self.console.print(remark, soft_wrap=True)
        if recipe.precision == "bf16":
            kind = next(self.model.network.parameters()).device.type if not torch.cuda.is_available() else "cuda"
            with torch.autocast(kind, torch.bfloat16):
                layers = [layer for layer in self.model.network.modules() if isinstance(layer, Recurrent)]
                plans = dict.fromkeys(f"{plan.backend}: {plan.reason}" for plan in (layer.plan() for layer in layers))
            self.console.print("bf16, recurrent layers on " + "; ".join(plans), soft_wrap=True)

    def _draw(self) -> None:
        if self.history.rows and self.processes.is_first:
            panels = self.recipe.panels(self.model.network, self.data)
            kept = self.checkpoint_callback.kept_epoch
            write_atomically(self.folder.curves, draw_curves(self.history.rows, self._title, kept=kept, panels=panels))
        if self.watch and self.watch.measurements:
            figure = gradient_figure(self.watch.measurements, f"{self._title}: gradients", self.watch.troubles)
            write_atomically(self.folder.gradient_picture, picture(figure))

    def _print_gradients(self) -> None:
        """Where gradients vanish or explode, a line each."""
        if self.watch is None or not self.watch.measurements:
            return
        for trouble in self.watch.troubles:
            self.console.print(str(trouble), soft_wrap=True)
        if not self.watch.troubles:
            steps = int(self.watch.measurements[-1].lags[-1]) + 1
            self.console.print(f"gradients neither vanish nor explode within the {steps} steps of a batch")

    @property
    def _title(self) -> str:
        return f"{self.recipe.name}: {self.recipe.cell}, {self.recipe.hidden} units, seed {self.recipe.seed}"

    def _result(self) -> Result:
        """Measure the network that was kept, and return the result of the run."""
        objective, last = self.recipe.measured_by(self.data.sizes), self.history.rows[-1]
        evaluation = measure_parts(self.model.network, objective, self.data)
        for part, report in list(evaluation.reports.items())[-1:]:  # the test, where there is one
            write_atomically(self.folder.confusion, draw_confusion(report, f"{self._title}\n{part}"))
        return Result(
            recipe=self.recipe.name,
            cell=self.recipe.cell,
            parameters=self._parameters,
            seed=self.recipe.seed,
            metrics=dict(evaluation),
            epochs=int(last["epoch"]),
            best_epoch=self.checkpoint_callback.kept_epoch,
            iterations=int(last[ITERATION]),
            seconds=round(self.history.seconds, 3),
            speed={f"{objective.items} per second": round(self.history.speed)},
            samples=dict(self.recipe.samples(self.model)),
            settings=self.recipe.settings(),
            machine=machine(),
            best_score=None if self.checkpoint_callback.kept_epoch is None else self.checkpoint_callback.best_score,
            baselines={part: dict(reached) for part, reached in self.recipe.baselines(self.data).items()},
            classes={part: report.kept() for part, report in evaluation.reports.items()},
        )
