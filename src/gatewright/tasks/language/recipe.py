"""What recipes for the language of a text have in common, whether they read its characters or its words."""

import hashlib
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from gatewright.errors import DataError, OptionError
from gatewright.tasks.data.batches.buckets import RaggedBatches
from gatewright.tasks.data.batches.sequential import SequentialBatches
from gatewright.tasks.data.published.sources import source_name
from gatewright.tasks.data.ragged import Ragged
from gatewright.tasks.data.texts.text import clean, read_text, split
from gatewright.tasks.data.texts.vocabulary import UNKNOWN, CharVocabulary
from gatewright.tasks.data.texts.word_texts import SentenceText, WordText, load_sentences, load_words
from gatewright.tasks.data.texts.words import END_OF_LINE, token_rule
from gatewright.tasks.language.beginnings import beginnings_of_text, beginnings_of_words
from gatewright.tasks.language.symbols import Characters, Script, Words, check_known, vocabulary_of
from gatewright.tasks.objectives import Symbols
from gatewright.tasks.recipe import Batches, Data, Encoding, Recipe, Sizes
from gatewright.tasks.settings import setting
from gatewright.tasks.signatures import Signature, WordSignature
from gatewright.untrusted.kinds import Misfit, misfit_of

if TYPE_CHECKING:
    from gatewright.tasks.answers.predictor import Predictor
    from gatewright.tasks.model import Model

_MEASURED_ROWS = 8  # streams of a text that is measured; each begins without knowing what came before it
_MEASURED_SENTENCES = 20
_LEAST_BATCHES = 10  # of an epoch; where sizes of their own would leave fewer, these are smaller
_LOOKED_AT = 1 << 16  # words, to see whether any is known
_STEPS_TO_ROWS = 8  # of a small text: it is cut into fewer rows first, so that the network still sees some context

Tokens = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class LanguageModel(Recipe):
    """The next symbol of a text."""

    next_command: ClassVar[str] = "gatewright generate {model}"
    sample_length: ClassVar[int] = 50  # symbols

    text: str = setting("python-docs", "the text, by name or path, where --data names none")
    held_out: float = setting(0.05, "share of the text for validation, and again for the test", least=0, below=0.5)
    steps: int = setting(64, "steps that gradients go back through", least=1)
    prompts: str = setting("", "what the finished model continues, separated by |; empty: what the text begins with")
    temperature: float = setting(0.5, "of these continuations; 0 takes the most probable", least=0)

    @abstractmethod
    def script(self, sizes: Sizes) -> Script:
        """How prompts are read, and how symbols are written."""

    def misfit(self, signature: Mapping[str, Any], sizes: Sizes) -> Misfit | None:
        """Symbols, and how a text becomes them."""
        if sizes.vocabulary is None:
            return "vocabulary: a list of symbols", None
        self.script(sizes)
        return misfit_of(WordSignature if isinstance(self, WordModel) else Signature, signature)

    def check_held_out(self, name: str, parts: Mapping[str, Tokens | Ragged], symbols: int) -> None:
        """Refuse a text of which too little would be held out to predict anything of it."""
        short = next((part for part, tokens in parts.items() if len(tokens) < 1 + isinstance(tokens, np.ndarray)), None)
        if short is not None:
            raise DataError(
                f"{name} is too short to hold out a part for the {short}",
                expected=f"a text that has two symbols in a share of {self.held_out:g} (held_out)",
                got=f"{symbols} symbols in all",
                do="take a longer text, or hold out nothing, with --set held_out=0",
            )

    def objective(self) -> Symbols:
        """Cross entropy of the next symbol."""
        return Symbols()

    def samples(self, model: "Model") -> Mapping[str, str]:
        """Some symbols after each of the prompts."""
        from gatewright.tasks.language.generator import Writer

        writer = Writer(model)
        options: dict[str, Any] = {"length": self.sample_length, "temperature": self.temperature, "seed": self.seed}
        return {prompt: "".join(writer.stream(prompt, **options)) for prompt in model.prompts}

    def chosen_prompts(self, beginnings: Sequence[str]) -> tuple[str, ...]:
        """The prompts that are set, or else what the text's own sentences begin with."""
        return tuple(filter(None, self.prompts.split("|"))) or tuple(beginnings)

    def fitted_to_stream(self, tokens: int) -> dict[str, int]:
        """Batch and steps that make some batches of so many tokens, where nobody has asked for others."""
        sizes = {"batch": self.batch, "steps": self.steps}
        while sizes["batch"] * sizes["steps"] * _LEAST_BATCHES > tokens:
            shrunk = [name for name, size in sizes.items() if size > 1 and self.is_own(name)]
            if not shrunk:
                break
            weight = {"batch": _STEPS_TO_ROWS * sizes["batch"], "steps": sizes["steps"]}
            sizes[max(shrunk, key=lambda name: weight[name])] //= 2
        return self.fitted(**sizes)


@dataclass(frozen=True)
class CharacterModel(LanguageModel):
    """The next character of a text, which is read in parallel streams with the state carried from batch to batch."""

    cleaning: Literal["none", "d2l"] = setting("none", "d2l keeps lower-case letters and single spaces")
    tokens: int | None = setting(None, "train on so many tokens at the start only", least=1)
    symbols: Literal["embedding", "one-hot"] = setting("embedding", "how characters reach the recurrent layers")

    def script(self, sizes: Sizes) -> Characters:
        """Characters."""
        return Characters(sizes)

    def input_encoding(self) -> Encoding:
        """As it is set."""
        return self.symbols

    def data(self, source: object) -> Data:
        """The beginning of the text to train on, its last shares for the validation and the test.

        Without a share held out the training part itself is measured.
        """
        source = self.text if source is None else source
        name, text = source_name(source), clean(read_text(source), self.cleaning)
        vocabulary = CharVocabulary.from_text(text, unknown=True)
        found = split(vocabulary.encode(text), validation=self.held_out, test=self.held_out)
        held_out = {"validation": found.validation, "test": found.test} if self.held_out else {}
        self.check_held_out(name, held_out, len(text))
        fitted = self.fitted(tokens=len(found.train))
        fitted |= self.fitted_to_stream(self._tokens_of(name, len(found.train), fitted))
        made = replace(self, **fitted)
        train = SequentialBatches(
            found.train[: made.tokens], made.batch, made.steps, random_offset=True, seed=self.seed
        )
        measured = {part: _measured(tokens, made.steps) for part, tokens in held_out.items()}
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        return Data(
            {"train": train, **measured},
            Sizes(len(vocabulary), len(vocabulary), vocabulary.symbols),
            measured=tuple(measured) or ("train",),
            origin={"text": name, "sha256": digest},
            fitted=fitted,
            prompts=self.chosen_prompts(beginnings_of_text(text)),
            signature={
                "input": "numbers of characters (Unicode code points), as the vocabulary has them",
                "output": "a score for each character to come next; softmax gives probabilities",
                "tokenise": "characters",
                "cleaning": self.cleaning,
                "unknown": 0,
            },
        )

    def predictor(self, model: "Model") -> "Predictor":
        """The log-probability of each character."""
        from gatewright.tasks.language.predictor import CharacterPredictor

        return CharacterPredictor(model)

    def _tokens_of(self, name: str, there: int, fitted: Mapping[str, int]) -> int:
        """How many characters are trained on, of those that are there."""
        wanted = fitted.get("tokens", self.tokens) or there
        if wanted > there:
            raise OptionError(
                f"setting 'tokens' is more than {name} has to train on",
                expected=f"1 to {there}, or none for all",
                got=str(wanted),
            )
        return wanted

    def evaluation(self, source: object, model: "Model") -> Data:
        """What was held out; of another text all of it, in the symbols that the model knows."""
        if source is None:
            return super().evaluation(None, model)
        text = clean(read_text(source), self.cleaning)
        tokens = vocabulary_of(model.sizes).encode(text)
        known = tokens > 0
        check_known(source_name(source), list(text[:_LOOKED_AT]), known[:_LOOKED_AT])
        parts = {"text": _measured(tokens, self.steps)}
        return Data(parts, model.sizes, measured=("text",), measures={"text": {"unknown": float(1 - known.mean())}})


@dataclass(frozen=True)
class WordModel(LanguageModel):
    """The next word of a text, which is read in parallel streams with the state carried, or sentence by sentence."""

    sample_length: ClassVar[int] = 20

    text: str = "ptb"
    steps: int = 35
    words: int | None = setting(None, "size of the vocabulary, other words are unknown; none: all words", least=4)
    read: Literal["stream", "sentences"] = setting("stream", "one stream, or sentences apart, the longest cut to steps")
    tied: bool = setting(False, "the matrix of the embedding is that of the output")
    embedding_init: str = setting("uniform(0.1)", "initialiser of the embedding")

    def script(self, sizes: Sizes) -> Words:
        """Words."""
        return Words(sizes)

    def input_encoding(self) -> Encoding:
        """Numbers of words."""
        return "embedding"

    def network_options(self) -> Mapping[str, Any]:
        """What it does with its words."""
        return {"tied": self.tied, "embedding_init": self.embedding_init}

    def data(self, source: object) -> Data:
        """The parts of the text, or its last shares held out; what has no held out part is measured itself."""
        source = self.text if source is None else source
        name, held = source_name(source), self.held_out
        loaded, found = self._loaded(source, size=self.words, validation=held, test=held)
        vocabulary = loaded.vocabulary
        words = found["train"].values if isinstance(found["train"], Ragged) else found["train"]
        held_out = {part: one for part, one in found.items() if part != "train"}
        self.check_held_out(name, held_out, len(words) + sum(map(len, held_out.values())))
        fitted = self.fitted_to_stream(len(words)) if self.read == "stream" else {}
        made = replace(self, **fitted)
        parts = {part: made.batches_of(one, trained=part == "train") for part, one in found.items()}
        digest = hashlib.sha256("\n".join(vocabulary.symbols).encode())
        for one in found.values():
            digest.update(one.values.tobytes() if isinstance(one, Ragged) else one.tobytes())
        return Data(
            parts,
            Sizes(len(vocabulary), len(vocabulary), vocabulary.symbols),
            measured=tuple(held_out) or ("train",),
            origin={"text": name, "sha256": digest.hexdigest()},
            fitted=fitted,
            prompts=self.chosen_prompts(beginnings_of_words(words, vocabulary.symbols)),
            signature={
                "input": "numbers of words, as the vocabulary has them",
                "output": "a score for each word to come next; softmax gives probabilities",
                "tokenise": loaded.tokenise,
                "token_rule": token_rule(loaded.tokenise),
                "read": self.read,
                **_divisions(loaded),
                "unknown": 0,
            },
        )

    def evaluation(self, source: object, model: "Model") -> Data:
        """What was held out; of another text all of it, or each of its parts, in the words that the model knows."""
        if source is None:
            return super().evaluation(None, model)
        tokenise = model.signature.get("tokenise")  # None in a file of an earlier version
        ends = {"end_of_line": model.signature.get("end_of_line", END_OF_LINE) is not None}
        options = ends if self.read == "stream" else {}
        loaded, found = self._loaded(source, tokenise=tokenise, validation=0.0, test=0.0, **options)
        symbols = loaded.vocabulary.symbols
        numbers = self.script(model.sizes).vocabulary.encode(symbols)
        known = {
            part: Ragged(numbers[one.values], one.starts, one.lengths) if isinstance(one, Ragged) else numbers[one]
            for part, one in found.items()
        }
        known = {part if len(known) > 1 else "text": one for part, one in known.items()}
        names = zip(known, found.values(), strict=True)
        shares = {part: self._unknown(source_name(source), symbols, one, numbers) for part, one in names}
        parts = {part: self.batches_of(one, trained=False) for part, one in known.items()}
        return Data(parts, model.sizes, measured=tuple(parts), measures=shares)

    def _unknown(self, name: str, symbols: Sequence[str], part: Tokens | Ragged, numbers: Tokens) -> dict[str, float]:
        """The share of words that the model does not know."""
        words = part.values if isinstance(part, Ragged) else part
        known = (numbers > 0) | (np.array(symbols) == UNKNOWN)
        check_known(name, [symbols[int(word)] for word in words[:_LOOKED_AT]], known[words[:_LOOKED_AT]])
        return {"unknown": float(1 - known[words].mean())}

    def predictor(self, model: "Model") -> "Predictor":
        """The log-probability of each word."""
        from gatewright.tasks.language.predictor import WordPredictor

        return WordPredictor(model)

    def _loaded(self, source: object, **options: Any) -> tuple[WordText | SentenceText, dict[str, Tokens | Ragged]]:
        """The text, and those of its parts that hold anything."""
        loaded = (load_words if self.read == "stream" else load_sentences)(source, **options)
        parts: Iterable[tuple[str, Tokens | Ragged]] = loaded.parts._asdict().items()
        return loaded, {part: one for part, one in parts if len(one)}

    def batches_of(self, part: Tokens | Ragged, *, trained: bool) -> Batches:
        """A part of the text as batches, to train on or to measure."""
        if isinstance(part, Ragged):
            part = part.shortened(self.steps + 1)
            rows, seed = (self.batch, self.seed) if trained else (_MEASURED_SENTENCES, None)
            padding = Symbols.padding
            return RaggedBatches(part.without_last(), part.without_first(), rows, seed=seed, target_fill=padding)
        if trained:
            return SequentialBatches(part, self.batch, self.steps, random_offset=True, seed=self.seed)
        return _measured(part, self.steps)


def _divisions(text: WordText | SentenceText) -> dict[str, str | None]:
    """What ends sentences or lines; a text of one line knows no end of lines."""
    if isinstance(text, SentenceText):
        return {"sentences": text.divided}
    return {"end_of_line": END_OF_LINE if END_OF_LINE in text.vocabulary else None}


def _measured(tokens: Tokens, steps: int) -> SequentialBatches:
    """All of the tokens but the first, in streams that are at least a batch long."""
    rows = max(1, min(_MEASURED_ROWS, len(tokens) // (2 * steps)))
    return SequentialBatches(tokens, rows, steps, keep_tail=True)
