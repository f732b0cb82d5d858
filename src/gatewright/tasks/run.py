"""Training and asking from Python: `gw.tasks.train`, `gw.tasks.open`, and the run that both give."""

import os
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gatewright.errors import OptionError
from gatewright.model_file import FILE_NAME
from gatewright.tasks import recipes
from gatewright.tasks.answers.evaluate import Evaluation, evaluate
from gatewright.tasks.answers.predictor import Predictor
from gatewright.tasks.columns import reading_settings
from gatewright.tasks.model import Model, load_model
from gatewright.tasks.recipe import Recipe
from gatewright.tasks.training import session as training
from gatewright.tasks.training.run_folder import RunFolder
from gatewright.tasks.training.session import Result
from gatewright.terminal import Terminal

if TYPE_CHECKING:
    from pandas import DataFrame

RUNS = Path("runs")
"""The folder that runs without a folder of their own go into."""

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Run:
    """A trained model that answers; `train` and `open` give it. Nothing in it prints.

    `folder` is None where a model file was opened that lies in no run's folder, and `result` is None where there is no
    finished run beside it.
    """

    model: Model
    folder: Path | None = None
    result: Result | None = None

    def predict(self, data: object = None, **options: Any) -> "DataFrame":
        """The answers for new data, one in a row.

        `data` is a path, or what the recipe takes in memory: a DataFrame, a list of texts, an array
        (examples, steps, features) or a list of arrays (steps, features). `recipes RECIPE` on the command line says
        which. What else can be asked for depends on the recipe; a class has these answers:

            run.predict(["what a film"])           # columns line, class, probability, and p_NAME for each class
            run.predict("texts.csv", top=3)        # class_1, probability_1, ..., class_3, probability_3

        The recipe's settings of columns and files, such as `text`, `time` or `encoding`, may be given where this source
        needs other ones than the training data. Probabilities are float64 and add up to 1 over all classes. Raises
        DataError where the data cannot be read or does not fit the model, and OptionError for an option that the recipe
        does not have.
        """
        reading = {name: value for name, value in options.items() if name in reading_settings(type(self.model.recipe))}
        predictor = self.predictor(**reading)
        asked = {name: value for name, value in options.items() if name not in reading}
        predictor.check_options(asked)
        return predictor.predict(data, **asked)

    def predictor(self, **reading: Any) -> Predictor:
        """What answers, to be kept where many small questions are asked; `predict_line` takes a single text."""
        model = self.model.reading(reading)
        return model.recipe.predictor(model)

    def evaluate(self, data: object = None, *, any_scale: bool = False, **reading: Any) -> Evaluation:
        """The measures by part of the data, such as `["test"]["accuracy"]`, as `result.metrics` has them.

        `data` is what `train` takes; without it the model is measured on what it was trained for. For a classifier,
        `.reports["test"]` has `scores` by class (precision, recall, f1), `macro` averages and the `confusion` matrix
        (true classes, predicted classes). `reading` are settings of columns and files, as for `predict`.

        Raises DataError where the data has other classes or variables than the model, or numbers of an absurdly other
        scale, which `any_scale=True` accepts; and where it was trained on data in memory and none is given.
        """
        return evaluate(self.model.reading(reading), data, any_scale=any_scale)

    def generate(self, prompt: PathLike | None = None, *, length: int = 200, **options: Any) -> Any:
        """What a model of a text or of music makes up after a prompt; the prompt is not repeated.

        A model of a text writes `length` characters or words, a str. Without a prompt it begins with what a sentence of
        its own text begins with. `finish=True` writes the last sentence to its end; the other options are those of
        `gatewright.tasks.language.sampling.Sampling`: temperature, top_k, top_p, seed.

        A model of music gives `length` frames, an array (length, 88) of 0 and 1, uint8, from A0 to C8. The prompt is a
        MIDI file or notes such as "C4 E4 G4|C4 F4 A4"; without one it is the beginning of a piece of its own data.
        Options are temperature, seed, and `out`, a MIDI file that is written with the prompt and the frames, at `tempo`
        quarter notes a minute (120).

        Raises OptionError for a model of another recipe, and for options that it does not know.
        """
        from gatewright.tasks.recipes.music import Music

        if isinstance(self.model.recipe, Music):
            from gatewright.tasks.music.generator import MusicGenerator

            return MusicGenerator(self.model).generate(prompt, length=length, **options)
        from gatewright.tasks.language.generator import TextGenerator

        writer = TextGenerator(self.model)
        begin = writer.beginning(None if prompt is None else str(prompt))
        return "".join(writer.stream(begin, length=length, **options))


def train(
    recipe: str | Recipe,
    *,
    data: object = None,
    out: PathLike | None = None,
    quick: bool = False,
    overwrite: bool = False,
    progress: bool = False,
    watch: bool | int = False,
    **settings: Any,
) -> Run:
    """Train a recipe and return the run, whose `result` holds what was measured.

        run = gw.tasks.train("texts", data="mails.csv", epochs=5)

    `data` is a data set's name, a path, or an object in memory: a DataFrame, (texts, labels), (arrays, labels) or what
    else the recipe takes; without it the recipe's own data is used. `settings` are those of the recipe, such as
    `hidden`, `cell` or `preset`. The run goes into the folder `out`, otherwise into the first of runs/RECIPE,
    runs/RECIPE-2, ... that is not there yet. Nothing is printed; `progress=True` shows the progress on standard error.
    `watch` measures gradient norms by layer, gate and step every so many iterations, True 100 times in the run, into
    gradients.jsonl and gradients.png; `gw.inspect.watched_gradients` reads them. The result stays the same to the bit.

    Raises OptionError for a setting or folder that cannot be, DataError for data that cannot be read, and
    `gatewright.tasks.training.session.Interrupted` where Ctrl-C stopped it: `resume` goes on from there.
    """
    configured = _configured(recipe, quick, settings)
    folder = _free_folder(configured.name) if out is None else Path(out)
    console = Terminal(stderr=True, quiet=not progress)
    training.train(configured, out=folder, source=data, overwrite=overwrite, console=console, watch=watch)
    return open_run(folder)


def resume(folder: PathLike, *, data: object = None, progress: bool = False) -> Run:
    """Go on with a run that was stopped, from its last checkpoint; of a finished run nothing is done again.

    A run on data in memory needs the same `data` again. Raises OptionError where there is no run in the folder, and
    DataError where the data is no longer what the run began with.
    """
    training.resume(Path(folder), source=data, console=Terminal(stderr=True, quiet=not progress))
    return open_run(folder)


def open_run(path: PathLike) -> Run:
    """The run in a folder, or the model of a `.safetensors` file alone, ready to be asked.

    Raises ModelFileError where there is no model of a recipe, and DataError where the folder's files are damaged.
    """
    path = Path(path)
    model = load_model(path)
    folder = RunFolder(path if path.is_dir() else path.parent)
    beside = path.is_dir() or path.name == FILE_NAME
    if not (beside and folder.run.exists()):
        return Run(model)
    return Run(model, folder.path, training.read_result(folder) if folder.finished else None)


def _configured(recipe: str | Recipe, quick: bool, settings: dict[str, Any]) -> Recipe:
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in settings.items()}
    if isinstance(recipe, str):
        return recipes.get(recipe).composed(plain, quick=quick)
    if quick or settings:
        raise OptionError("a recipe that is made already takes no settings", do="name the recipe, or set them in it")
    return recipe


def _free_folder(name: str) -> Path:
    folders = (RUNS / (name if number == 1 else f"{name}-{number}") for number in count(1))
    return next(folder for folder in folders if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())))
