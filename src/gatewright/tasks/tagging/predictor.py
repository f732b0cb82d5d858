"""Predictions of a trained tagger: a label for each token or row."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError
from gatewright.tasks.answers.network_inputs import MANY, NetworkInputs, padded
from gatewright.tasks.answers.predictor import ANY_SCALE, Predictor, evaluated, own_source
from gatewright.tasks.data.published.sources import files_of, source_name
from gatewright.tasks.data.ragged import Ragged
from gatewright.tasks.data.tables.roles import Roles
from gatewright.tasks.data.tags import steps
from gatewright.tasks.data.tags.schemes import Transitions, best_paths, entities_of
from gatewright.tasks.data.tags.sentences import part_files
from gatewright.tasks.data.tags.token_features import FeatureVocabulary
from gatewright.tasks.data.tags.tokens import Sentences, named_tokenising, read_sentences
from gatewright.tasks.tagging.channels import overlapping
from gatewright.tasks.tagging.tokens import encoded_tokens, measured_batches
from gatewright.tasks.trained_model import TrainedModel

if TYPE_CHECKING:
    from pandas import DataFrame
    from torch import nn


Scores = NDArray[np.float64]


class StepScores(NamedTuple):
    """The outputs for the steps of a sequence, (steps, classes), and the log-probabilities of the classes."""

    outputs: Scores
    log_probabilities: Scores


class TokenPredictor(Predictor):
    """The label of each token, with its probability.

    Labels are the most probable sequence of a sentence, so that entities are whole. A probability is the marginal one
    of the label at its step. Plain text is divided into tokens by the rule in the model's signature.

    A row for each token: columns `sentence` (or `line`), `step`, `token`, `label` and `probability`. A source is a file
    in CoNLL's columns, with labels or without; a text file with a sentence in each line; a table with a token in each
    row, with a column of ids first; a list of texts; or a list of sentences as lists of tokens. `step`
    counts from 1 in each sentence.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".conll",)

    def __init__(self, model: TrainedModel) -> None:
        super().__init__(model)
        self.classes: tuple[str, ...] = model.sizes.classes or ()
        self._vocabulary = FeatureVocabulary(model.sizes.vocabulary or ())
        objective: Any = model.recipe.objective_of(model.sizes).with_network(model.network)
        self._transitions: Transitions = objective.transitions
        self._tokenising = named_tokenising(model.signature["tokenise"])

    def table(self, source: object, **options: Any) -> dict[str, list[Any]]:
        """The columns."""
        sentences = self._sentences(source)
        answers = list(self._answers(sentences.tokens))
        return {
            sentences.key: [key for key, tokens in zip(sentences.keys, sentences.tokens, strict=True) for _ in tokens],
            "step": [step for tokens in sentences.tokens for step in range(1, len(tokens) + 1)],
            "token": [token for tokens in sentences.tokens for token in tokens],
            "label": [label for labels, _ in answers for label in labels],
            "probability": [probability for _, probabilities in answers for probability in probabilities],
        }

    def predict_line(self, line: str, **options: Any) -> Mapping[str, Any]:
        """The `tokens` of a sentence and their `labels`; with `entities`, where labels mark them, as type and text."""
        tokens = self._tokenising.divide(line)
        (labels, _), *_ = [*self._answers([tokens])] if tokens else [([], [])]
        answer = {"tokens": tokens, "labels": labels}
        if self.model.signature["scheme"] == "none":
            return answer
        entities = [
            {"type": entity.kind, "text": " ".join(tokens[entity.start : entity.end])} for entity in entities_of(labels)
        ]
        return {**answer, "entities": entities}

    def encode(self, answers: "DataFrame", suffix: str, source: object) -> bytes:
        """A `.conll` file: a token, a tab and its label in each line, and an empty line between sentences."""
        if suffix != ".conll":
            return super().encode(answers, suffix, source)
        lines: list[str] = []
        for step, token, label in zip(answers["step"], answers["token"], answers["label"], strict=True):
            lines += ["", f"{token}\t{label}"] if step == 1 and lines else [f"{token}\t{label}"]
        return "".join(f"{line}\n" for line in lines).encode()

    def network_inputs(self, source: object) -> Iterator[NetworkInputs]:
        """All sentences, with their tokens."""
        return self._inputs_of(self._sentences(source))

    def own_inputs(self) -> Iterator[NetworkInputs]:
        """The sentences that the network was measured on."""
        source = own_source(self.model, self.no_data("look at"))
        tokens = self.recipe.measured_sentences(source).tokens
        return self._inputs_of(
            Sentences("sentence", tuple(f"test {place + 1}" for place in range(len(tokens))), tokens)
        )

    def _inputs_of(self, sentences: Sentences) -> Iterator[NetworkInputs]:
        encoded = encoded_tokens(sentences.tokens, self._vocabulary)
        for first in range(0, len(encoded), MANY):
            stop = min(first + MANY, len(encoded))
            values, lengths = padded(encoded, first, stop)
            rows, tokens = [str(key) for key in sentences.keys[first:stop]], sentences.tokens[first:stop]
            yield NetworkInputs(
                values, lengths, rows, tokens, labels=self.classes, reads_lengths=True, output_kind="label"
            )

    def _sentences(self, source: object) -> Sentences:
        tables = steps.step_tables_of(source, self.recipe, needed=())
        if tables is None:
            return read_sentences(source, self._tokenising, self.recipe.text, self.recipe)
        table, text = next(iter(tables.values())), self.recipe.text
        numbered = text.isdecimal() and text not in table.columns  # as columns of a CoNLL file are
        roles = None if numbered else steps.step_roles(table, self.recipe, labelled=False)
        if roles is None or not roles.text or len(tables) > 1:
            raise DataError(
                f"{table.name} does not show which column holds the tokens",
                expected="a row for each token",
                got=", ".join(table.columns)[:200],
                do="name it: text='COLUMN'",
                shell="name it: add --set text=COLUMN",
            )
        tokens, _, ids = steps.sentences_of(table, replace(roles, label=""))
        return Sentences(roles.id, tuple(ids), tuple(map(tuple, tokens)))

    def _answers(self, sentences: Sequence[Sequence[str]]) -> Iterator[tuple[list[str], list[float]]]:
        scores = step_scores(self.model.network, encoded_tokens(sentences, self._vocabulary), symbols=True)
        for outputs, log_probabilities in scores:
            (path,) = best_paths(outputs[:, None], np.array([len(outputs)]), self._transitions)
            probabilities = np.exp(log_probabilities[np.arange(len(path)), path]).tolist()
            yield [self.classes[tag] for tag in path], probabilities


class ChannelPredictor(Predictor):
    """The label of each row of a recording, with its probability.

    A row for each row of the source: its id and times where it has such, `step`, `label` and `probability`. A source is
    a table with the model's channels, with labels or without, or a list of arrays (steps, channels). `step` counts from
    1 in each recording, in order of time.
    """

    options: ClassVar[Mapping[str, str]] = ANY_SCALE

    def table(self, source: object, **options: Any) -> dict[str, list[Any]]:
        """The columns. A DataError where a channel is of another scale than in training, unless `any_scale=True`."""
        recordings, roles = self._recordings(source)
        values = Ragged.join([recording.values for recording in recordings])
        if not options.get("any_scale"):
            self.check_scale(values, source)
        scores = self._scores(values)
        places = [rows.argmax(-1) for rows in scores]
        classes, lengths = self.model.sizes.classes or (), [len(rows) for rows in scores]
        columns: dict[str, list[Any]] = {}
        if roles.id:
            columns[roles.id] = [recording.id for recording in recordings for _ in recording.values]
        if roles.time:
            columns[",".join(roles.time)] = [time for recording in recordings for time in recording.times]
        columns["step"] = [step for length in lengths for step in range(1, length + 1)]
        columns["label"] = [classes[place] for row in places for place in row]
        columns["probability"] = np.exp(np.concatenate([rows.max(-1) for rows in scores])).tolist()
        return columns

    def network_inputs(self, source: object) -> Iterator[NetworkInputs]:
        """Each recording whole, in a batch of its own. `predict` reads long ones in windows."""
        sizes = self.model.sizes
        for place, recording in enumerate(self._recordings(source)[0], 1):
            values, lengths = recording.values[:, None], np.array([len(recording.values)], np.int64)
            name = str(recording.id) or str(place)
            times = [str(time) for time in recording.times]
            yield NetworkInputs(
                values,
                lengths,
                [name],
                [times] if len(times) == len(recording.values) else None,
                sizes.variables,
                sizes.classes,
                reads_lengths=True,
                output_kind="label",
            )

    def own_inputs(self) -> Iterator[NetworkInputs]:
        """The test file; the whole file where there is only one."""
        source = own_source(self.model, self.no_data("look at"))
        files = part_files(files_of(source, "tagged texts"), needed=())
        return self.network_inputs(files.get("test", next(iter(files.values()))))

    def _recordings(self, source: object) -> tuple[list[steps.Recording], Roles]:
        """The recordings of a source, with the channels that the model reads, and the columns of its table."""
        recipe, channels = self.recipe, self.model.sizes.variables or ()
        recordings = steps.recordings_in_memory(source, labelled=False)
        if recordings is not None:
            if len(names := steps.channel_names(recordings)) != len(channels):
                raise DataError(
                    "the arrays have another number of channels than the model reads",
                    expected=f"{len(channels)}: {', '.join(channels)}",
                    got=str(len(names)),
                )
            return recordings, Roles(id="recording" if len(recordings) > 1 else "", channels=names)
        tables = steps.step_tables_of(source, recipe, needed=())
        if tables is None or len(tables) > 1:
            raise DataError(
                f"{source_name(source)} is not one table of channels",
                expected="a CSV, TSV, JSON lines or Parquet file, a DataFrame, or a list of arrays (steps, channels)",
                do="give one table",
            )
        table = next(iter(tables.values()))
        roles = replace(steps.step_roles(table, recipe, labelled=False, channels=channels), label="")
        return steps.recordings_of(table, roles, recipe), roles

    def _scores(self, values: Ragged) -> list[Scores]:
        """For each recording (steps, classes): each step from the window that predicts it."""
        windows = overlapping(values.lengths.tolist(), self.model.signature["window"]["steps"])
        read = Ragged(values.values, values.starts[windows.sequence] + windows.start, windows.length)
        scores: list[list[Scores]] = [[] for _ in range(len(values))]
        answers = step_scores(self.model.network, read, symbols=False)
        for sequence, first, count, answer in zip(
            windows.sequence, windows.first, windows.answered, answers, strict=True
        ):
            scores[sequence].append(answer.log_probabilities[first : first + count])
        return [np.concatenate(parts) for parts in scores]


def step_scores(network: "nn.Module", sequences: Ragged, *, symbols: bool) -> list[StepScores]:
    """The outputs and probabilities of each sequence; with a random field its marginals.

    Sequences are batched by length; padding has no effect.
    """
    import torch

    targets = Ragged(np.zeros(len(sequences.values), np.int64), sequences.starts, sequences.lengths)
    scores: dict[int, StepScores] = {}
    crf = getattr(network, "crf", None)
    for rows, lengths, outputs in evaluated(network, measured_batches(sequences, targets, symbols=symbols)):
        with torch.no_grad():
            log_probabilities = outputs.log_softmax(-1) if crf is None else crf.log_marginals(outputs, lengths)
        both = outputs.cpu().numpy(), log_probabilities.cpu().numpy()
        for place, (row, length) in enumerate(zip(rows.tolist(), lengths.tolist(), strict=True)):
            scores[row] = StepScores(*(values[:length, place] for values in both))
    return [scores[row] for row in range(len(sequences))]
