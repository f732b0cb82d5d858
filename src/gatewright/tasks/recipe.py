"""What a recipe is: data, network, optimiser, metric, expected result.

A recipe is a frozen dataclass in a file of its own under `recipes/`. Its fields are what `--set` can change, its
class variables and methods say what the trainer cannot know. Nothing here needs torch.
"""

import shlex
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from gatewright.errors import DataError, OptionError
from gatewright.tasks.answers.predictor import Predictor
from gatewright.tasks.data.published.sources import source_name
from gatewright.tasks.formatting import spell
from gatewright.tasks.objectives import Objective
from gatewright.tasks.run_data import Data, Directions, Encoding, Panel, Pooling, Sizes
from gatewright.tasks.settings import from_plain, from_texts, of_network, of_training, read_axes, setting
from gatewright.tasks.signatures import Signature
from gatewright.tasks.trained_model import TrainedModel
from gatewright.untrusted.kinds import Misfit, misfit_of

if TYPE_CHECKING:
    from torch import nn


Direction = Literal["min", "max"]
Schedule = Literal["constant", "cosine", "one-cycle", "decay"]


@dataclass(frozen=True)
class Expected:
    """What a recipe reaches with its settings as they are, and in how long on two CPU cores."""

    part: str
    metric: str
    seconds: float
    at_least: float | None = None
    at_most: float | None = None

    def __str__(self) -> str:
        bound = f"at least {self.at_least:g}" if self.at_least is not None else f"at most {self.at_most:g}"
        return f"{self.metric} on {self.part}: {bound}"

    def met(self, value: float) -> bool:
        """Whether a measured value is as good, in the figures that a person is shown of it."""
        value = float(spell(value))
        return value >= self.at_least if self.at_least is not None else value <= (self.at_most or 0.0)


@dataclass(frozen=True)
class Recipe(ABC):
    """The settings that every recipe has, and what each adds to them."""

    name: ClassVar[str]
    about: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()  # further names, such as those that earlier versions had
    encode: ClassVar[Encoding] = "values"  # what `input_encoding` gives where no setting decides
    pool: ClassVar[Pooling] = "each step"  # what `pooling` gives where no setting decides
    pool_setting: ClassVar[str] = ""  # the setting that is the pool
    source_setting: ClassVar[str] = ""  # the setting that names the data which is read where no source is given
    objective_class: ClassVar[type[Objective] | None] = None  # what `objective` makes
    monitor: ClassVar[tuple[str, Direction]] = ("loss", "min")  # what `monitored` gives where no setting decides
    expected: ClassVar[Mapping[str, Expected]] = {}  # by preset; "" for the settings as they are
    presets: ClassVar[Mapping[str, str]] = {}  # named settings, as they are written after --set, with spaces between
    earlier: ClassVar[Mapping[str, Any]] = {}  # what a file of an earlier version means where it lacks a setting
    renamed: ClassVar[Mapping[str, str]] = {}  # names that settings had in earlier versions, and those of today
    quick: ClassVar[str] = ""  # what --quick sets: the whole way, in a few seconds
    search: ClassVar[str] = "rate=log:1e-4..1e-1 hidden=32,64,128,256 dropout=0..0.5"  # what `tune` tries
    next_command: ClassVar[str] = "gatewright evaluate {model}"  # what to try with a trained model; {data} is its data
    predictor_class: ClassVar[type[Predictor] | None] = None  # what answers for new data with a model
    signature_type: ClassVar[type[Signature]] = Signature  # what a model file's signature has to hold
    data_forms: ClassVar[str] = ""  # what --data may be, for `--help`; nothing where a recipe makes its own data
    data_example: ClassVar[str] = ""  # three lines of such a file, or the paths of three such files

    preset: str = setting("", "a named set of settings; --set overrides it")
    cell: str = of_network("gru", "a cell of the catalogue, such as lstm or gru(reset=after), or file.py:name")
    hidden: int = of_network(128, "units in each recurrent layer", least=1)
    layers: int = of_network(1, "recurrent layers", least=1)
    dropout: float = of_network(0.0, "dropout between layers and before the output", least=0, below=1)
    input_dropout: float = of_network(0.0, "dropout of what the first recurrent layer reads", least=0, below=1)
    dropout_per: Literal["step", "sequence"] = of_network("step", "each step has a mask, or all of a sequence have one")
    weight_drop: float = of_network(0.0, "dropout of the recurrent matrices U, once a batch", least=0, below=1)
    axes: str = of_network("", "sizes of further axes that the cell has, such as projection=64")
    init: str = of_network("torch", "initialiser of the recurrent layers, such as 'orthogonal + glorot'")
    output_init: str = of_network("torch", "initialiser of the output layer")
    batch: int = of_training(32, "rows in a batch", least=1)
    epochs: int = of_training(20, "passes over the training data, at most", least=1)
    optimiser: Literal["adam", "adamw", "rmsprop", "adadelta", "sgd"] = of_training("adam", "the optimiser")
    rate: float = of_training(1e-3, "its rate, the highest where there is a schedule", least=0)
    schedule: Schedule = of_training("constant", "how the rate changes over the run")
    decay: float = of_training(0.5, "schedule=decay: the factor on the rate in each epoch after decay_after", least=0)
    decay_after: int = of_training(4, "schedule=decay: epochs with the whole rate", least=0)
    smoothing: float = of_training(0.99, "rmsprop: the share of its mean of squares that it keeps", least=0, below=1)
    weight_decay: float = of_training(0.0, "the optimiser's weight decay", least=0)
    clip: float = of_training(0.0, "largest norm of all gradients together; 0 does not clip", least=0)
    precision: Literal["float32", "bf16"] = of_training(
        "float32", "bf16 trains products in bfloat16, weights in float32"
    )
    gradient_checkpoint: bool | int = of_training(
        False, "yes, or steps at a time: less memory, by computing saved values again in the backward pass", least=1
    )
    patience: int = of_training(0, "validations without a better result before stopping; 0 never stops", least=0)
    keep: Literal["best", "last"] = of_training("best", "the network to keep: the best in validation, or the last one")
    validate_every: int = of_training(1, "epochs from one validation to the next", least=1)
    checkpoint_every: int = of_training(200, "iterations from one checkpoint to the next", least=1)
    seed: int = of_training(0, "seed of everything random", least=0, below=2**63)

    @abstractmethod
    def data(self, source: object) -> Data:
        """The data: of a name, a path or an object in memory, or the recipe's own where `source` is None."""

    def objective(self) -> Objective:
        """What is made small, and what is reported."""
        assert self.objective_class is not None, "a recipe names its objective, or makes it"
        return self.objective_class()

    def objective_of(self, sizes: Sizes) -> Objective:
        """The same for data of those sizes, where it has to know the names of the classes."""
        return self.objective()

    def measured_by(self, sizes: Sizes) -> Objective:
        """What a finished network is measured by: the objective, and what of it is too much for every epoch."""
        return self.objective_of(sizes)

    def monitored(self) -> tuple[str, Direction]:
        """The metric on "validation" that says which network is the best, and whether small or large is good."""
        return self.monitor

    def panels(self, network: "nn.Module", data: Data) -> Sequence[Panel]:
        """What is drawn beside the curves of a run."""
        return ()

    def input_encoding(self) -> Encoding:
        """How the inputs reach the recurrent layers: as the numbers that they are, or as symbols."""
        return self.encode

    def pooling(self) -> Pooling:
        """What of the states reaches the output layer."""
        return getattr(self, self.pool_setting) if self.pool_setting else self.pool

    def initialiser(self, cell: Any) -> str:
        """How the recurrent layers of that cell, or Trace of one, begin."""
        return self.init

    def timed_targets(self) -> bool:
        """Whether targets have a time axis before their rows, as they have where every step is answered."""
        return self.pooling() == "each step"

    def network(self, sizes: Sizes, cell: Any) -> "nn.Module":
        """The network, freshly initialised; `cell` is a cell, or a Trace out of a model file."""
        return self.network_class()(
            cell,
            sizes,
            encode=self.input_encoding(),
            pool=self.pooling(),
            hidden=self.hidden,
            layers=self.layers,
            directions=getattr(self, "directions", "forward"),
            dropout=self.dropout,
            input_dropout=self.input_dropout,
            dropout_per=self.dropout_per,
            weight_drop=self.weight_drop,
            axes=read_axes(self.axes),
            init=self.initialiser(cell),
            output_init=self.output_init,
            **self.network_options(),
        )

    def prepare(self, network: "nn.Module", data: Data) -> None:
        """Hand a new network what it keeps of its training data: the scaling, where it standardises."""
        from gatewright.tasks.network import standardise

        standardise(network, data.scaling)

    def conclude(self, network: "nn.Module", data: Data) -> None:
        """Set what of a trained network is chosen by the validation part. It is called once, before it is measured."""
        balance: Any = getattr(network, "balance", None)  # of a network beside a linear model
        if balance is not None:
            balance(data.parts.get("validation"))

    def network_class(self) -> "Callable[..., nn.Module]":
        """What makes the network of a cell, sizes and options."""
        from gatewright.tasks.network import RecipeNetwork

        return RecipeNetwork

    def network_options(self) -> Mapping[str, Any]:
        """What this recipe asks of its network beyond the settings that all recipes have."""
        return {}

    def described(self) -> dict[str, Any]:
        """What a model file says of the network around its layers, so that it can be read without the recipe."""
        return {"encoding": self.input_encoding(), "pooling": self.pooling()}

    def evaluation(self, source: object, model: TrainedModel) -> Data:
        """The data to measure a saved model on: what it was trained for, or that of a name or path."""
        data = self.data(model.source if source is None else source)
        sizes = data.sizes.named_as(model.sizes)
        if sizes != model.sizes:
            raise DataError(
                "the data does not fit the model",
                expected=model.sizes.beside(sizes),
                got=sizes.beside(model.sizes),
                do="give data of the kind that the model was trained on",
                shell="give data of the kind that the model was trained on, with --data",
            )
        return data

    def misfit(self, signature: Mapping[str, Any], sizes: Sizes) -> Misfit | None:
        """The entry of a model file's signature that cannot be read: what it should be, and what it is."""
        return misfit_of(self.signature_type, signature)

    def default_source(self) -> str | None:
        """The name of the data that is read where no source is given; None where that has no name or path."""
        return getattr(self, self.source_setting) if self.source_setting else None

    def needs_no_data(self, source: object) -> None:
        """Refuse a source, in a recipe that makes its own data."""
        if source is not None:
            raise OptionError(
                f"recipe {self.name!r} makes its own data", got=f"--data {source_name(source)}", do="leave it out"
            )

    def baselines(self, data: Data) -> Mapping[str, Mapping[str, float]]:
        """What simple methods reach on the parts that are measured, for comparison with the network.

        By part, and in it by measure and method, as in {"test": {"accuracy of TF-IDF + logistic regression": 0.79}}. It
        is called once a run, by the first process, after the training.
        """
        return {}

    def predictor(self, model: TrainedModel) -> Predictor:
        """What answers for new data with a model of this recipe."""
        if self.predictor_class is not None:
            return self.predictor_class(model)
        raise OptionError(
            f"a model of the recipe {self.name!r} has no answers to predict",
            do="measure it: run.evaluate()",
            shell="measure it: gatewright evaluate RUN",
        )

    def samples(self, model: TrainedModel) -> Mapping[str, str]:
        """What to show of a trained model beside its numbers: a title and a text each."""
        return {}

    @classmethod
    def configured(cls, assignments: Sequence[str] = (), *, quick: bool = False, **given: str | int | None) -> Self:
        """The recipe as a command line asks for it: preset, then --quick, then options, then `key=value` texts."""
        chosen = from_texts(cls, assignments)
        options = {key: value for key, value in given.items() if value is not None}
        twice = next((key for key in options if key in chosen), None)
        if twice is not None:
            raise OptionError(f"{twice} is given twice, as --{twice} and as --set {twice}=...", do="leave out one")
        return cls.composed({**options, **chosen}, quick=quick)

    @classmethod
    def composed(cls, chosen: Mapping[str, Any], *, quick: bool = False) -> Self:
        """The recipe with the settings that are chosen, over those of --quick, over those of the preset."""
        small = from_texts(cls, shlex.split(cls.quick)) if quick else {}
        return cls.restored({**cls.preset_settings(chosen.get("preset", "")), **small, **chosen})

    @classmethod
    def preset_settings(cls, name: str) -> dict[str, Any]:
        """The settings of that preset; none for no name."""
        if name and name not in cls.presets:
            raise OptionError(
                f"recipe {cls.name!r} has no preset {name!r}",
                expected="one of " + ", ".join(cls.presets) if cls.presets else "none, for it has no presets",
            )
        return from_texts(cls, shlex.split(cls.presets[name])) if name else {}

    @classmethod
    def restored(cls, settings: Mapping[str, Any]) -> Self:
        """The recipe with those settings, all checked."""
        return from_plain(cls, settings)

    @classmethod
    def reopened(cls, settings: Mapping[str, Any]) -> Self:
        """The recipe with all settings of a file, which an earlier version may have written."""
        named = {cls.renamed.get(name, name): value for name, value in settings.items()}
        return cls.restored({**cls.earlier, **named})

    def settings(self) -> dict[str, Any]:
        """Every setting, ready for JSON."""
        return asdict(self)

    def fitted(self, **largest: int) -> dict[str, int]:
        """Those of these settings that are larger than is possible and that nobody has asked for, each as it can be.

        A value that is asked for by name stays as it is, so that it is refused where it does not fit.
        """
        return {
            name: size
            for name, size in largest.items()
            if (now := getattr(self, name)) is not None and now > size >= 1 and self.is_own(name)
        }

    def is_own(self, name: str) -> bool:
        """Whether a setting is as the recipe or --quick has it, so that nobody has asked for its value."""
        own = next(field.default for field in fields(self) if field.name == name)
        quick = from_texts(type(self), shlex.split(self.quick))
        return not self.preset and getattr(self, name) in (own, quick.get(name, own))

    def fitted_remark(self, fitted: Mapping[str, Any]) -> str:
        """A line for a person, where settings were made smaller."""
        now = " ".join(f"{name}={size}" for name, size in fitted.items())
        asked = " ".join(f"{name}={getattr(self, name)}" for name in fitted)
        return f"there is little data, so that sizes are smaller: {now} (not {asked})" if fitted else ""

    def expectation(self) -> Expected | None:
        """What these settings reach, if it is known: of another seed the same, of other changes nothing."""
        known = {**self.preset_settings(self.preset), "preset": self.preset, "seed": self.seed}
        return self.expected.get(self.preset) if self == self.restored(known) else None

    def changed(self) -> dict[str, Any]:
        """The settings that differ from the recipe's own."""
        return {field.name: value for field in fields(self) if (value := getattr(self, field.name)) != field.default}


@dataclass(frozen=True)
class BidirectionalRecipe(Recipe):
    """A recipe whose network may look at all of a sequence before it answers."""

    earlier: ClassVar[Mapping[str, Any]] = {"directions": "forward"}

    directions: Directions = of_network("both", "read sequences both ways, or forward alone, as streams and C need it")
