"""A label for each step: parts of speech, names and phrases of texts, or states of a recording."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from gatewright.errors import DataError
from gatewright.tasks.data.published.sources import source_name
from gatewright.tasks.data.ragged import Splits
from gatewright.tasks.data.tables.roles import Roles
from gatewright.tasks.data.tables.table import Table
from gatewright.tasks.data.tags import sentences as tag_texts
from gatewright.tasks.data.tags import steps
from gatewright.tasks.data.tags.token_features import FEATURES
from gatewright.tasks.recipe import Direction, Expected
from gatewright.tasks.run_data import Data, Encoding, Sizes
from gatewright.tasks.signatures import ChannelSignature, TokenSignature, no_classes
from gatewright.tasks.tagging.channels import channel_data, channel_evaluation
from gatewright.tasks.tagging.objective import EntityTags, Tags
from gatewright.tasks.tagging.settings import TaggingSettings
from gatewright.tasks.tagging.tokens import TokenData, token_data, token_evaluation
from gatewright.tasks.trained_model import TrainedModel
from gatewright.untrusted.kinds import Misfit, misfit_of

if TYPE_CHECKING:
    from torch import nn

    from gatewright.tasks.answers.predictor import Predictor

_DECIDED = ("inputs", "text", "label", "id", "time", "scheme", "best_by")


@dataclass(frozen=True)
class Tagging(TaggingSettings):
    """A label for each step. A network reads each token with its beginnings, endings and shape.

    The settings suit thousands of sentences. Tokens that occur less than `least` times become one unknown token, so
    that the network learns to tag new tokens by their other features.
    """

    name = "tagging"
    about = "label each step: parts of speech, named entities (BIO), rows of sensors"
    source_setting = "tagged"
    monitor = ("accuracy", "max")
    earlier = {"output": "softmax", "best_by": "accuracy"}
    expected = {"": Expected("test", "accuracy", at_least=0.95, seconds=75)}
    data_forms = (
        "a file with a token and its label in each line and an empty line after each sentence (CoNLL, CoNLL-U), or a "
        "folder of such files whose names hold train, dev and test; a CSV, TSV, JSON lines or Parquet file, or a "
        "DataFrame, with a row for each token and a column that tells sentences apart, or for each moment of a sensor; "
        "in memory: pairs of tokens and tags, or of arrays (steps, channels) and labels"
    )
    data_example = "Ada B-PER\nlives O\nin O"
    next_command = "gatewright predict {model} --data {data}"
    quick = "hidden=16 embedding=16 epochs=4"
    search = "rate=log:1e-3..1e-2 hidden=64,128,256 embedding=32,64,128 dropout=0..0.6"

    def objective(self) -> Tags:
        """Cross entropy of each step's tag."""
        return self.objective_of(Sizes(0, 0))

    def objective_of(self, sizes: Sizes) -> Tags:
        """The same, and the entities that the tags of those classes mark."""
        if self.scheme in ("infer", "none"):
            return Tags(sizes.classes or ())
        return EntityTags(sizes.classes or (), self.scheme)

    def monitored(self) -> tuple[str, Direction]:
        """F1 of entities where labels mark them, otherwise accuracy."""
        if self.best_by == "f1" or (self.best_by == "infer" and self.scheme in ("BIO", "BIOES")):
            return "f1", "max"
        return self.monitor

    def input_encoding(self) -> Encoding:
        """Tokens as a sum of embeddings; channels standardised."""
        return "standardised" if self.inputs == "channels" else "embedding-sum"

    def network_class(self) -> "Callable[..., nn.Module]":
        """The network with a conditional random field after it."""
        from gatewright.tasks.tagging.network import TagNetwork

        return TagNetwork

    def network_options(self) -> Mapping[str, Any]:
        """How tokens are read, and what decides on labels."""
        return {
            "output": self.output,
            "scheme": "none" if self.scheme == "infer" else self.scheme,
            "embedding": self.embedding,
            "embedding_init": self.embedding_init,
            "word_dropout": self.word_dropout,
        }

    def described(self) -> dict[str, Any]:
        """Encoding, pooling, and the symbols of a step."""
        return {**super().described(), **({"columns": FEATURES} if self.inputs != "channels" else {})}

    def data(self, source: object) -> Data:
        """The parts of the data; what it lacks of them is held out by seed: whole sentences, or stretches of rows."""
        source = self.tagged if source is None else source
        recordings = steps.recordings_in_memory(source) if self.inputs != "tokens" else None
        if recordings is not None:
            roles = Roles(channels=steps.channel_names(recordings))
            return channel_data(self, source, {"train": recordings}, roles)
        tables = steps.step_tables_of(source, self)
        if tables is None:
            return token_data(self, source, *self._sentences_of_files(source))
        roles = steps.step_roles(tables["train"], self)
        if roles.text:
            columns = tag_texts.TagColumns(roles.text[0], roles.label, roles.remark)
            return token_data(self, source, self._sentences_of_tables(tables, roles), columns)
        remarks = tables["train"].remarks
        parts = {part: steps.recordings_of(table, roles, self) for part, table in tables.items()}
        return channel_data(self, source, parts, roles, remarks)

    def measured_sentences(self, source: object) -> tag_texts.TaggedSentences:
        """The sentences of the test part, for a model that reads tokens."""
        tables = steps.step_tables_of(source, self)
        if tables is None:
            return self._sentences_of_files(source)[0].test
        return self._sentences_of_tables(tables, steps.step_roles(tables["train"], self)).test

    def _sentences_of_files(self, source: object) -> tuple[Splits[tag_texts.TaggedSentences], tag_texts.TagColumns]:
        share = self.held_out
        return tag_texts.load_tagged_sentences(source, self, validation=share, test=share, seed=self.seed)

    def _sentences_of_tables(self, tables: Mapping[str, Table], roles: Roles) -> Splits[tag_texts.TaggedSentences]:
        parts = {part: tag_texts.tagged(*steps.sentences_of(table, roles)[:2]) for part, table in tables.items()}
        return tag_texts.with_held_out(parts, self.held_out, self.held_out, self.seed)

    def evaluation(self, source: object, model: TrainedModel) -> Data:
        """The parts of the data; of other data all of it, in what the model knows."""
        if source is None:
            return super().evaluation(None, model)
        classes, sizes = model.sizes.classes or (), model.sizes
        recordings = steps.recordings_in_memory(source) if self.inputs == "channels" else None
        if recordings is not None:
            return channel_evaluation(source, {"test": recordings}, sizes, self.window)
        tables = steps.step_tables_of(source, self, needed=())
        if tables is None and self.inputs == "channels":
            raise DataError(
                f"{source_name(source)} is no table of channels, which is what the model reads",
                expected="a CSV, TSV, JSON lines or Parquet file, a DataFrame, or arrays with labels",
                do="give the channels as a table",
            )
        if tables is None:
            sentences = tag_texts.load_to_measure(source, self)
            return token_evaluation(source, sentences, classes, sizes, self.scheme)
        tables = {"test": next(iter(tables.values()))} if len(tables) == 1 else tables
        known = sizes.variables if self.inputs == "channels" else None
        roles = {part: steps.step_roles(table, self, channels=known) for part, table in tables.items()}
        if self.inputs == "channels":
            parts = {part: steps.recordings_of(table, roles[part], self) for part, table in tables.items()}
            return channel_evaluation(source, parts, sizes, self.window)
        sentences = {
            part: tag_texts.tagged(*steps.sentences_of(table, roles[part])[:2]) for part, table in tables.items()
        }
        return token_evaluation(source, sentences, classes, sizes, self.scheme)

    def prepare(self, network: "nn.Module", data: Data) -> None:
        """Take over the scaling of channels, or the vectors of words."""
        super().prepare(network, data)
        if isinstance(data, TokenData) and data.vectors is not None:
            from gatewright.tasks.network import load_vectors

            load_vectors(network.get_submodule("encode"), data.vectors)

    def misfit(self, signature: Mapping[str, Any], sizes: Sizes) -> Misfit | None:
        """How tokens or windows are read."""
        wrong = misfit_of(ChannelSignature if self.inputs == "channels" else TokenSignature, signature)
        wrong = wrong or no_classes(sizes)
        if wrong is None and signature["scheme"] != "none" and "" in (sizes.classes or ()):
            return "classes: tags with letters", list(sizes.classes or ())
        return wrong

    def baselines(self, data: Data) -> Mapping[str, Mapping[str, float]]:
        """The most frequent label (of each token), and a logistic regression on the steps around."""
        from gatewright.tasks.tagging.baselines import channel_baselines, token_baselines

        return channel_baselines(data) if self.inputs == "channels" else token_baselines(data)

    def expectation(self) -> Expected | None:
        """As for the defaults: settings that the data decides may have any value."""
        own = replace(self, **{name: type(self).__dataclass_fields__[name].default for name in _DECIDED})
        return super(Tagging, own).expectation()

    def predictor(self, model: TrainedModel) -> "Predictor":
        """A label for each token or row."""
        from gatewright.tasks.tagging.predictor import ChannelPredictor, TokenPredictor

        return ChannelPredictor(model) if self.inputs == "channels" else TokenPredictor(model)

    def fitted_remark(self, fitted: Mapping[str, Any]) -> str:
        """Nothing: what the data decides is among its remarks."""
        return ""
