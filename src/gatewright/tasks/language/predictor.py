"""The log-probability of each token of a text under a language model, and the perplexity of the text."""

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from gatewright.tasks.answers.network_inputs import NetworkInputs
from gatewright.tasks.answers.predictor import Predictor, measured_part, run_network
from gatewright.tasks.data.batches.buckets import RaggedBatches
from gatewright.tasks.data.batches.sequential import SequentialBatches
from gatewright.tasks.data.published.sources import source_name
from gatewright.tasks.data.texts.text import clean, read_text
from gatewright.tasks.data.texts.vocabulary import END, END_OF_LINE, START, UNKNOWN, CharVocabulary, tokeniser
from gatewright.tasks.data.texts.word_texts import split_sentences
from gatewright.tasks.language.symbols import check_known, vocabulary_of
from gatewright.tasks.run_data import Batches

_OWN_STEPS = 2000  # of its own text that are looked at: more than a page shows would need memory for nothing
_STEPS = 1024  # read at once, so that the probabilities of a large vocabulary fit into memory

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class ScoredText:
    """The tokens of a text, and how probable each is after those before it.

    `log_probabilities` (tokens,) are natural logarithms, NaN for a token that has nothing before it; `known` (tokens,)
    tells which tokens have a number of their own. `characters` is the length of the text that was predicted.
    """

    tokens: tuple[str, ...]
    log_probabilities: NDArray[np.float64]
    known: NDArray[np.bool_]
    characters: int


def summary(texts: Sequence[ScoredText]) -> dict[str, Any]:
    """The number of predicted tokens, their log-probability, the perplexity, and so on, of texts taken together."""
    scores = np.concatenate([text.log_probabilities[~np.isnan(text.log_probabilities)] for text in texts])
    characters, total = sum(text.characters for text in texts), float(scores.sum())
    mean = -total / len(scores) if len(scores) else math.nan
    return {
        "tokens": len(scores),
        "unknown": int(sum((~text.known).sum() for text in texts)),
        "log_probability": total,
        "perplexity": (math.exp(mean) if mean < 700 else math.inf) if len(scores) else None,
        "bits_per_character": -total / math.log(2) / characters if characters and len(scores) else None,
    }


class LanguagePredictor(Predictor):
    """The log-probability of each token of a text, and the perplexity of the whole.

    Logarithms are natural ones. A token that the model does not know has the probability of the symbol "<unk>", and
    `known` is False in its row; it counts as every other. What tokens are, and what is before the first, is said by
    each kind of model.

    A row for each token of a text: `position` (from 1), `token`, `log_probability`, `known`. A source is the path of a
    text, or a list of texts; these have a column `text` more, their place from 1. The DataFrame's `attrs` hold what is
    true of the whole: `tokens` that were predicted, `unknown` ones, `log_probability`, `perplexity`,
    `bits_per_character`.
    """

    def table(self, source: object, **options: Any) -> dict[str, list[Any]]:
        """The columns. Raises DataError where the model knows nothing of a text."""
        several = not isinstance(source, str) and isinstance(source, Sequence)
        texts = [str(text) for text in cast("Sequence[object]", source)] if several else [read_text(source)]
        name = "the text" if several else source_name(source)
        scored = [self.score(text, f"{name} {place}" if several else name) for place, text in enumerate(texts, 1)]
        self.totals = summary(scored) if scored else {}
        return {
            **({"text": [place for place, text in enumerate(scored, 1) for _ in text.tokens]} if several else {}),
            "position": [place for text in scored for place in range(1, len(text.tokens) + 1)],
            "token": [token for text in scored for token in text.tokens],
            "log_probability": [value for text in scored for value in text.log_probabilities.tolist()],
            "known": [known for text in scored for known in text.known.tolist()],
        }

    def predict_line(self, line: str, **options: Any) -> Mapping[str, Any]:
        """The summary of a line, which is a text of its own."""
        return summary([self.score(line, "the line")])

    def network_inputs(self, source: object) -> Iterator[NetworkInputs]:
        """Each text, or each sentence where the model reads sentences, in a batch of its own."""
        several = not isinstance(source, str) and isinstance(source, Sequence)
        texts = [str(text) for text in cast("Sequence[object]", source)] if several else [read_text(source)]
        for place, text in enumerate(texts, 1):
            for before, tokens in self.parts(text):
                numbers = self.numbers(tokens)
                read = np.concatenate([[] if before is None else [before], numbers]).astype(np.int64)
                names = tokens if before is None else [(self.model.sizes.vocabulary or ())[before], *tokens]
                yield NetworkInputs(
                    read[:, None],
                    np.array([len(read)], np.int64),
                    [str(place)],
                    [names],
                    labels=self.model.sizes.vocabulary,
                    output_kind="next",
                )

    def own_inputs(self) -> Iterator[NetworkInputs]:
        """The beginning of the text that the network was measured on; all sentences where it reads sentences apart."""
        part, batches = measured_part(self.model, self.no_data("look at"))
        vocabulary: tuple[str, ...] = self.model.sizes.vocabulary or ()
        for place, numbers in enumerate(_measured_rows(batches), 1):
            yield NetworkInputs(
                numbers[:, None],
                np.array([len(numbers)], np.int64),
                [f"{part} {place}"],
                [[vocabulary[int(number)] for number in numbers]],
                labels=vocabulary,
                output_kind="next",
            )

    def score(self, text: str, name: str = "the text") -> ScoredText:
        """The tokens of a text and how probable each is.

        Raises DataError where the model knows none of them but white space.
        """
        tokens, numbers, scores = list[str](), list[Numbers](), list[NDArray[np.float64]]()
        for before, part in self.parts(text):
            tokens += part
            numbers.append(self.numbers(part))
            scores.append(self._scores(before, numbers[-1]))
        joined = np.concatenate(numbers) if numbers else np.zeros(0, np.int64)
        known = np.array([number > 0 or token == UNKNOWN for token, number in zip(tokens, joined, strict=True)], bool)
        check_known(name, tokens, known)
        characters = self.characters(text, tokens)
        return ScoredText(tuple(tokens), np.concatenate(scores) if scores else np.zeros(0), known, characters)

    @abstractmethod
    def parts(self, text: str) -> Iterator[tuple[int | None, list[str]]]:
        """The tokens of a text in parts, which the network reads one by one from a state of zeros.

        The number before each part is of the symbol that the network reads before its first token.
        """

    @abstractmethod
    def numbers(self, tokens: Sequence[str]) -> Numbers:
        """The number of each token; 0 is the unknown one."""

    @abstractmethod
    def characters(self, text: str, tokens: Sequence[str]) -> int:
        """How many characters of the text are predicted."""

    def _scores(self, before: int | None, numbers: Numbers) -> NDArray[np.float64]:
        """The log-probability of each token of a part, read with the state carried."""
        import torch

        read = np.concatenate([[] if before is None else [before], numbers]).astype(np.int64)
        targets, state = torch.from_numpy(read[1:]), None
        scores = torch.full((len(numbers),), torch.nan, dtype=torch.float64)
        first = len(numbers) - len(targets)  # tokens that nothing stands before
        for start in range(0, len(targets), _STEPS):
            wanted = targets[start : start + _STEPS]
            outputs, state = run_network(self.model.network, read[start : start + len(wanted), None], state)
            of_all = torch.log_softmax(outputs[:, 0], -1)
            scores[first + start : first + start + len(wanted)] = of_all.gather(1, wanted[:, None])[:, 0]
        return scores.numpy()


class CharacterPredictor(LanguagePredictor):
    """Tokens are characters, after the cleaning that the model was trained with; the first one is not predicted."""

    def parts(self, text: str) -> Iterator[tuple[int | None, list[str]]]:
        """All characters in one part, with nothing before them."""
        yield None, list(clean(text, self.recipe.cleaning))

    def numbers(self, tokens: Sequence[str]) -> Numbers:
        """The numbers of the characters."""
        return self._vocabulary.encode("".join(tokens)).astype(np.int64)

    def characters(self, text: str, tokens: Sequence[str]) -> int:
        """All but the first."""
        return max(0, len(tokens) - 1)

    @cached_property
    def _vocabulary(self) -> CharVocabulary:
        return vocabulary_of(self.model.sizes)


class WordPredictor(LanguagePredictor):
    """Tokens are words, divided as the text that the model was trained on, and the ends of lines or sentences.

    In a stream every line ends with "<eos>", the last one too, and "<eos>" is before the first; a model of a text
    without lines knows no "<eos>", and does not predict the first word. A model of sentences reads each from "<s>" to
    "</s>", from a state of zeros.
    """

    def parts(self, text: str) -> Iterator[tuple[int | None, list[str]]]:
        """The words of the text, or of each of its sentences."""
        signature = self.model.signature
        divide = tokeniser(signature.get("tokenise", "words"))
        known = self._numbers
        if signature.get("read", "stream") == "sentences":
            for sentence in split_sentences(text, by_lines=signature.get("sentences") == "lines"):
                if words := divide(sentence):
                    yield known.get(START), [*words, END]
            return
        lines, before = text.removesuffix("\n").split("\n") if text else [], known.get(END_OF_LINE)
        ends = [] if before is None else [END_OF_LINE]
        tokens = [token for line in lines for token in (*divide(line), *ends)]
        if tokens:
            yield before, tokens

    def numbers(self, tokens: Sequence[str]) -> Numbers:
        """The numbers of the words."""
        known = self._numbers
        return np.array([known.get(token, 0) for token in tokens], np.int64)

    def characters(self, text: str, tokens: Sequence[str]) -> int:
        """All that the text has."""
        return len(text)

    @cached_property
    def _numbers(self) -> Mapping[str, int]:
        return {word: number for number, word in enumerate(self.model.sizes.vocabulary or ())}


def _measured_rows(batches: Batches) -> Iterator[Numbers]:
    """The first steps of a stream, or each sentence."""
    if isinstance(batches, SequentialBatches):
        yield batches.tokens[:_OWN_STEPS].astype(np.int64)
    elif isinstance(batches, RaggedBatches):
        for place in range(len(batches.inputs)):
            yield batches.inputs[place].astype(np.int64)
